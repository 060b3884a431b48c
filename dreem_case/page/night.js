// One night: its hypnogram as soon as there is one, then everything else about it.

import { address, getJson, getPatiently, nameHere } from "./api.js";
import { drawHypnogram, drawProbabilities, drawQuality, drawReview, shadeUnusable, timeAxis } from "./charts.js";
import { byId, html } from "./elements.js";
import { hideNotice, showProblem, showWaiting, untilNextTry } from "./notice.js";
import { startReading } from "./reading.js";
import { scoringRows, stageRows, statisticsRows, summarize, swatch } from "./report.js";
import { DISPLAY_ORDER, QUALITIES } from "./stages.js";
import { percent } from "./times.js";

const record = nameHere();
const hypnogramUrl = address("hypnogram", record);
const detailsUrl = address("hypnogram", record, "details");

const keyEntries = (kind, names) => names.map((name) => html("span", {}, swatch(`${kind}-${name}`), name));

function showHypnogram(stages) {
  byId("stage-axis").replaceChildren(...DISPLAY_ORDER.map((stage) => html("span", {}, stage)));
  byId("hypnogram").replaceChildren(drawHypnogram(stages));
  for (const axis of document.querySelectorAll(".time")) axis.replaceChildren(...timeAxis(stages.length));
  byId("night").hidden = false;
}

function showDetails(details) {
  const { statistics, channels, notes, review, usable, source } = details;
  byId("source").textContent = source;
  byId("summary").textContent = summarize(statistics, review, usable);
  shadeUnusable(byId("hypnogram").firstChild, usable);
  byId("review").replaceChildren(drawReview(review));
  const lost = usable.includes(false);
  byId("hypnogram-key").replaceChildren(...(lost ? [html("span", {}, swatch("unusable"), "no usable EEG: WAKE stands in, not counted")] : []));
  byId("stage-key").replaceChildren(...keyEntries("stage", DISPLAY_ORDER));
  byId("probabilities").replaceChildren(drawProbabilities(details.probabilities, details.stage_names));
  byId("quality-key").replaceChildren(...keyEntries("quality", QUALITIES));
  byId("channel-axis").replaceChildren(...channels.map(channelLabel));
  byId("quality").replaceChildren(...channels.map(({ quality }) => drawQuality(quality)));
  byId("statistics").tBodies[0].replaceChildren(...statisticsRows(statistics));
  byId("stage-times").tBodies[0].replaceChildren(...stageRows(statistics));
  byId("scoring").tBodies[0].replaceChildren(...scoringRows(details));
  byId("notes").replaceChildren(...notes.map((note) => html("li", {}, note)));
  byId("notes-section").hidden = notes.length === 0;
  startReading(details);
  byId("night").classList.remove("pending");
}

function channelLabel({ name, quality }) {
  const good = quality.filter((value) => value === "GOOD").length / quality.length;
  return html("span", {}, name, " ", html("small", { title: "share of good epochs" }, percent(good, 0)));
}

// The source belongs on the page whatever becomes of the night; the list knows it, and the next night.
async function showPlaceInTheList() {
  const url = address("records");
  url.searchParams.set("limit", 1);
  url.searchParams.set("after", record);
  const { source, records } = await getJson(url);
  byId("source").textContent = source;
  byId("next-night").hidden = records.length === 0;
  if (records.length) byId("next-night").href = address("night", records[0]);
}

async function showNight() {
  showWaiting("Staging this night", "The first time takes a few seconds; the result is kept.");
  const stages = await getPatiently(hypnogramUrl, untilNextTry);
  showHypnogram(stages);
  const details = await getPatiently(detailsUrl, untilNextTry);
  if (details.stages.join() !== stages.join()) showHypnogram(details.stages); // the night has changed in between
  showDetails(details);
  hideNotice();
}

document.title = `${record} · night`;
byId("record").textContent = record;
byId("hypnogram-json").href = hypnogramUrl;
byId("details-json").href = detailsUrl;
const place = showPlaceInTheList();
try {
  await showNight();
} catch (problem) {
  showProblem(problem);
}
await place.catch(() => (byId("next-night").hidden = true)); // the night is there without its place in the list
