// Drawings on one time axis: x counts epochs, so every path can be read against the data as it is.
// The view box is stretched to the width of the page; line widths are not.

import { html, svg } from "./elements.js";
import { DISPLAY_ORDER, EPOCH_S, QUALITIES } from "./stages.js";
import { clock } from "./times.js";

// [["N1", 0, 3], ["N2", 3, 9]]: stretches of equal values, the end not included
function runs(values) {
  const found = [];
  values.forEach((value, epoch) => {
    if (epoch && values[epoch - 1] === value) found.at(-1)[2] = epoch + 1;
    else found.push([value, epoch, epoch + 1]);
  });
  return found;
}

const path = (name, d) => svg("path", { class: name, d });

function plot(nEpochs, height, ...children) {
  const marks = timeMarks(nEpochs).map((epoch) => `M${epoch} 0V${height}`);
  return svg(
    "svg",
    { viewBox: `0 0 ${nEpochs} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    path("grid", marks.join("")),
    ...children,
    svg("g", { class: "cursor" }, path("halo", `M0 0V${height}`), path("line", `M0 0V${height}`)),
  );
}

const blocks = (spans, height) => spans.map(([, start, stop]) => `M${start} 0H${stop}V${height}H${start}Z`).join("");

// The stages as steps, wake on top: a band in the stage's colour, and one line through the night.
export function drawHypnogram(stages) {
  const level = (stage) => DISPLAY_ORDER.indexOf(stage) + 0.5;
  const spans = runs(stages);
  const bands = DISPLAY_ORDER.map((stage) => {
    const here = spans.filter(([value]) => value === stage);
    return path(`band stage-${stage}`, here.map(([, start, stop]) => `M${start} ${level(stage)}H${stop}`).join(""));
  });
  const steps = spans.map(([stage, , stop]) => `V${level(stage)}H${stop}`).join("");
  return plot(stages.length, DISPLAY_ORDER.length, ...bands, path("trace", `M0 ${level(stages[0])}${steps}`));
}

// Shade the long spans without usable signal, behind the WAKE that stands in for a stage.
export function shadeUnusable(drawing, usable) {
  const spans = runs(usable).filter(([value]) => !value);
  drawing.querySelector(".grid").after(path("unusable", blocks(spans, DISPLAY_ORDER.length)));
}

// Mark the epochs that a person should look at.
export function drawReview(review) {
  const spans = runs(review).filter(([value]) => value);
  return plot(review.length, 1, path("review", blocks(spans, 1)));
}

// Stacked in the order of the hypnogram. Each area reaches down to the bottom, and the next lies on it.
export function drawProbabilities(probabilities, stageNames) {
  const top = probabilities.map(() => 0);
  const areas = DISPLAY_ORDER.map((stage) => {
    const column = stageNames.indexOf(stage);
    const steps = top.map((y, epoch) => `V${+y.toFixed(4)}H${epoch + 1}`).join("");
    probabilities.forEach((row, epoch) => (top[epoch] += row[column]));
    return path(`area stage-${stage}`, `M0 1${steps}V1Z`);
  });
  return plot(probabilities.length, 1, ...areas);
}

// One row for a channel, coloured by the quality of each epoch.
export function drawQuality(quality) {
  const spans = runs(quality);
  const colours = QUALITIES.map((name) =>
    path(`quality-${name}`, blocks(spans.filter(([value]) => value === name), 1)),
  );
  return plot(quality.length, 1, ...colours);
}

// Marks of the time axis: the finest step that leaves room for its labels.
const STEPS = [[30, 4], [120, 5], [300, 6], [600, 6], [1800, 6], [3600, 12], [7200, Infinity]]; // s, most steps
const UNITS = [[3600, "hours"], [60, "h:min"], [30, "min:s"]]; // for steps of so many seconds or more

const timeStep = (nEpochs) => STEPS.find(([seconds, most]) => (nEpochs * EPOCH_S) / seconds <= most)[0];

function timeMarks(nEpochs) {
  const step = timeStep(nEpochs) / EPOCH_S;
  return Array.from({ length: Math.floor(nEpochs / step) + 1 }, (_, mark) => mark * step);
}

export function timeAxis(nEpochs) {
  const [size, unit] = UNITS.find(([seconds]) => timeStep(nEpochs) >= seconds);
  const label = (epoch) => {
    const [hours, minutes, seconds] = clock(epoch * EPOCH_S).split(":");
    return { 3600: hours, 60: `${hours}:${minutes}`, 30: `${+minutes}:${seconds}` }[size];
  };
  const marks = timeMarks(nEpochs).map((epoch) => {
    const mark = html("span", { class: "mark" }, label(epoch));
    mark.style.left = `${(100 * epoch) / nEpochs}%`;
    return mark;
  });
  return [html("span", {}, unit), html("div", { class: "marks" }, ...marks)];
}
