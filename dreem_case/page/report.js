// The night in words and tables.

import { html } from "./elements.js";
import { DISPLAY_ORDER } from "./stages.js";
import { duration, percent } from "./times.js";

const NONE = "–";
const minutes = (value) => (value === null ? NONE : `${value.toFixed(1)} min`);
const row = (...cells) => html("tr", {}, html("th", { scope: "row" }, cells[0]), ...cells.slice(1).map(dataCell));
const dataCell = (text) => html("td", {}, text);

export const swatch = (name) => html("span", { class: `swatch ${name}`, "aria-hidden": "true" });

export function statisticsRows(statistics) {
  const { recorded_min, unscored_min, sleep_min, efficiency, onset_latency_min, waso_min, rem_latency_min } = statistics;
  return [
    row("Recorded time with usable EEG", minutes(recorded_min)),
    row("Unscored time, in no other figure", minutes(unscored_min)),
    row("Total sleep time (TST)", minutes(sleep_min)),
    row("Sleep efficiency", efficiency === null ? NONE : percent(efficiency)),
    row("Sleep onset latency", minutes(onset_latency_min)),
    row("Wake after sleep onset (WASO)", minutes(waso_min)),
    row("REM latency from sleep onset", minutes(rem_latency_min)),
  ];
}

export function stageRows({ stage_min, sleep_min }) {
  return DISPLAY_ORDER.map((stage) => {
    const share = stage === "WAKE" || sleep_min === 0 ? NONE : percent(stage_min[stage] / sleep_min);
    const name = html("th", { scope: "row" }, swatch(`stage-${stage}`), stage);
    return html("tr", {}, name, dataCell(stage_min[stage].toFixed(1)), dataCell(share));
  });
}

// Of the epochs that have a stage of their own.
function reviewed(review, usable) {
  const [n, of] = [review.filter(Boolean).length, usable.filter(Boolean).length];
  return `${n} (${percent(n / of)})`;
}

export function scoringRows(details) {
  const { n_epochs, epoch_s, review, usable, bridged, confidence, feature_shift, model_version } = details;
  const staged = confidence.filter((_, epoch) => usable[epoch]);
  const mean = staged.reduce((sum, value) => sum + value, 0) / staged.length;
  return [
    row("Epochs", `${n_epochs} of ${epoch_s} s`),
    row("Epochs without usable EEG, unscored", String(n_epochs - staged.length)),
    row("Epochs staged by their neighbours", String(bridged.filter(Boolean).length)),
    row("Epochs to review", reviewed(review, usable)),
    row("Mean confidence", percent(mean)),
    row("Distance from the training nights", feature_shift === null ? NONE : `${feature_shift.toFixed(2)} spreads`),
    row("Model", model_version),
  ];
}

// What somebody who does not see the drawing should know of it.
export function summarize(statistics, review, usable) {
  const { unscored_min } = statistics;
  const lost = unscored_min > 0 ? ` ${duration(unscored_min)} without usable EEG are in none of these figures.` : "";
  const marks = review.includes(true) ? ` Marked for review: ${reviewed(review, usable)} of the epochs.` : "";
  return inWords(statistics) + lost + marks;
}

function inWords(statistics) {
  const { recorded_min, sleep_min, efficiency, onset_latency_min, waso_min, rem_latency_min, stage_min } = statistics;
  if (sleep_min === 0) return `${duration(recorded_min)} recorded, no sleep found.`;
  const rem = rem_latency_min === null ? "no REM" : `first REM ${duration(rem_latency_min)} later`;
  const times = DISPLAY_ORDER.map((stage) => `${stage} ${duration(stage_min[stage])}`);
  return (
    `${duration(recorded_min)} recorded, ${duration(sleep_min)} asleep (${percent(efficiency)}). ` +
    `Sleep onset after ${duration(onset_latency_min)}, ${rem}, ` +
    `${duration(waso_min)} awake after sleep onset. ${times.join(", ")}.`
  );
}
