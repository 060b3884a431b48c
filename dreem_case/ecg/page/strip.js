// One record: some seconds at a time, the class of each beat, and labels that a person gives by pointing or by key.

import { address, getJson, getPatiently, nameHere, wait } from "../page/api.js";
import { byId, html, svg } from "../page/elements.js";

const WINDOW_S = matchMedia("(max-width: 40rem)").matches ? 5 : 10; // so that a finger can tell beats apart
const KINDS = { N: "normal", S: "supraventricular", V: "ventricular", F: "fusion", Q: "cannot say" };
const record = nameHere();

let answer; // of the server: beats in order
let labels = {}; // time_s -> class, given here
let asked = []; // times, in the order of asking
let chosen = -1; // place of a beat in the answer
let drawn = 0; // counts requests, so that a late strip is not drawn over a later one

const beatAt = (time_s) =>
  answer.beats.reduce((best, beat, i) => (Math.abs(beat.time_s - time_s) < Math.abs(answer.beats[best].time_s - time_s) ? i : best), 0);
const label = (beat) => labels[beat.time_s] ?? beat.class ?? "?";
const percent = (share) => `${Math.round(100 * share)} %`;

const post = (url, body) =>
  getJson(url, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

function drawLead(name, values, width) { // width: of the window in samples; the record may end within it
  const known = values.filter((value) => value !== null).sort((a, b) => a - b);
  const middle = known[Math.floor(known.length / 2)] ?? 0;
  const reach = Math.max(0.5, middle - (known[0] ?? 0), (known.at(-1) ?? 0) - middle);
  let d = "";
  let pen = "M";
  values.forEach((value, i) => {
    if (value !== null) d += `${pen}${i} ${(middle - value).toFixed(3)}`;
    pen = value === null ? "M" : "L";
  });
  const grid = Array.from({ length: WINDOW_S - 1 }, (_, i) => `M${((i + 1) * width) / WINDOW_S} ${-reach}V${reach}`);
  const view = { viewBox: `0 ${-1.05 * reach} ${width} ${2.1 * reach}`, preserveAspectRatio: "none", role: "img" };
  return html("div", { class: "one" }, html("span", { class: "lead-name" }, `${name}, ±${reach.toFixed(1)} mV`),
    svg("svg", { ...view, "aria-label": `lead ${name}` }, svg("path", { class: "grid", d: grid.join("") }), svg("path", { d })));
}

function drawBeats(from) {
  const inside = answer.beats.map((beat, i) => [beat, i]).filter(([{ time_s: t }]) => t >= from && t < from + WINDOW_S);
  const at = document.activeElement;
  const held = at === document.body || byId("beats").contains(at); // Safari does not focus what is clicked
  byId("beats").replaceChildren(...inside.map(([beat, i]) => {
    const kind = label(beat);
    const classes = ["beat", kind === "?" || kind === "Q" ? "none" : kind];
    if (labels[beat.time_s]) classes.push("mine");
    else if (beat.review) classes.push("doubtful");
    const sure = beat.paced ? "paced" : beat.class ? percent(beat.confidence) : beat.why ? `no class, ${beat.why}` : "no class";
    const said = labels[beat.time_s] ? "labelled here" : beat.review ? `${sure}, doubtful` : sure;
    const mark = html("button", { type: "button", class: classes.join(" "), "aria-pressed": String(i === chosen),
      title: `${kind} at ${beat.time_s.toFixed(2)} s, ${said}`, "aria-label": `${kind} at ${beat.time_s.toFixed(2)} s, ${said}` }, kind);
    mark.style.left = `${(100 * (beat.time_s - from)) / WINDOW_S}%`;
    mark.addEventListener("click", () => choose(i));
    return mark;
  }));
  if (held) byId("beats").querySelector("[aria-pressed=true]")?.focus(); // who goes by keyboard stays where they were
}

async function show(from) {
  const last = Number(byId("from").max);
  from = Math.min(Math.max(Math.floor(from), 0), last);
  byId("from").value = from;
  byId("place").textContent = `${from} s`;
  byId("seconds").replaceChildren(...Array.from({ length: WINDOW_S + 1 }, (_, i) => {
    const mark = html("span", {}, `${from + i}`);
    mark.style.left = `${(100 * i) / WINDOW_S}%`;
    return mark;
  }));
  drawBeats(from);
  const mine = (drawn += 1);
  const url = address("beats", record, "strip");
  url.search = `from=${from}&seconds=${WINDOW_S}`;
  const strip = await getPatiently(url, wait);
  if (mine !== drawn) return;
  const share = Math.min((strip.duration_s - from) / WINDOW_S, 1);
  byId("leads").replaceChildren(
    ...Object.entries(strip.leads).map(([name, values]) => drawLead(name, values, values.length / share)));
}

function choose(place) {
  chosen = place;
  const { time_s: time } = answer.beats[place];
  const from = Number(byId("from").value);
  const open = asked.filter((t) => !labels[answer.beats[beatAt(t)].time_s]).length;
  byId("question").textContent = `Which beat is at ${time.toFixed(2)} s?${asked.length ? ` ${open} of ${asked.length} questions are open.` : ""}`;
  for (const button of byId("kinds").children) button.disabled = false;
  if (time >= from + 1 && time < from + WINDOW_S - 1) drawBeats(from);
  else show(time - WINDOW_S / 2).catch(tell);
}

function give(kind) {
  if (chosen < 0) return;
  labels[answer.beats[chosen].time_s] = kind;
  byId("teach").disabled = false;
  const link = byId("save");
  URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob([JSON.stringify(labels, null, 1)], { type: "application/json" }));
  link.download = `${record}-labels.json`;
  link.hidden = false;
  const open = asked.find((t) => !labels[answer.beats[beatAt(t)].time_s]);
  if (open !== undefined) choose(beatAt(open));
  else {
    drawBeats(Number(byId("from").value));
    byId("question").textContent = `Labels given: ${Object.keys(labels).length}.`;
  }
}

function summary() {
  const counts = answer.classes.map((kind) => `${answer.counts[kind]} ${kind}`).join(", ");
  const doubtful = answer.beats.filter((beat) => beat.review).length;
  const good = Object.entries(answer.quality).map(([lead, { good: n = 0, ...rest }]) =>
    `${lead} ${percent(n / Object.values(rest).reduce((sum, seconds) => sum + seconds, n))}`);
  byId("summary").textContent =
    `${answer.beats.length} beats: ${counts}, ${answer.without_class} without a class; ${doubtful} doubtful. ` +
    `Good seconds: ${good.join(", ")}. Model ${answer.model}.`;
  byId("notes").replaceChildren(...answer.notes.map((note) => html("li", {}, note)));
}

function doubtful(step) {
  const middle = chosen >= 0 ? answer.beats[chosen].time_s : Number(byId("from").value);
  const found = answer.beats.map((beat, i) => [beat, i]).filter(([beat]) => (beat.review || !beat.class) && step * (beat.time_s - middle) > 0.001);
  const nearest = step > 0 ? found[0] : found.at(-1);
  if (nearest) choose(nearest[1]);
  else byId("question").textContent = step > 0 ? "No doubtful beat behind this one." : "No doubtful beat before this one.";
}

function tell(problem) {
  byId("message").textContent = problem.message;
}

const tried = (action) => () => {
  byId("message").textContent = ""; // it was about what was tried before
  action().catch(tell);
};

async function ask() {
  const url = address("beats", record, "ask");
  url.search = `n=${Number(byId("n").value)}`;
  asked = (await getPatiently(url, wait)).time_s;
  choose(beatAt(asked[0]));
}

async function teach() {
  const n = Math.max(Number(byId("n").value), 2);
  answer = await post(address("beats", record, "labels"), { n, labels });
  summary();
  drawBeats(Number(byId("from").value));
  byId("question").textContent = "All beats are named by your labels.";
}

document.title = `${record}: beats`;
byId("name").textContent = record;
for (const [kind, words] of Object.entries(KINDS)) {
  const button = html("button", { type: "button", disabled: "" }, `${kind} ${words}`);
  button.addEventListener("click", () => give(kind));
  byId("kinds").append(button);
}
byId("from").addEventListener("input", tried(() => show(Number(byId("from").value))));
byId("before").addEventListener("click", () => doubtful(-1));
byId("next").addEventListener("click", () => doubtful(1));
byId("ask").addEventListener("click", tried(ask));
byId("teach").addEventListener("click", tried(teach));
document.addEventListener("keydown", (event) => {
  const here = byId("all").contains(event.target) && event.target.tagName !== "INPUT"; // letters elsewhere may be spoken words
  if (!here || event.ctrlKey || event.metaKey || event.altKey) return;
  const kind = event.key.toUpperCase();
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (kind in KINDS) give(kind);
  else if (step) choose(Math.min(Math.max(chosen + step, 0), answer.beats.length - 1));
  else return;
  event.preventDefault();
});
try {
  answer = await getPatiently(address("beats", record), wait);
  const { duration_s: duration } = await getJson(address("beats", record, "strip"));
  byId("from").max = Math.max(Math.ceil(duration - WINDOW_S), 0);
  summary();
  byId("all").hidden = false;
  byId("message").textContent = "";
  await show(0);
} catch (problem) {
  tell(problem);
}
