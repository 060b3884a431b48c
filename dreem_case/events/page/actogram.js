// One wearer: days under each other, from noon to noon of the wearer's clock, and a table of the nights.

import { address, getPatiently, nameHere, wait } from "../page/api.js";
import { byId, html, svg } from "../page/elements.js";

const DAY_MIN = 1440;
const NOON_MIN = 720;
const STEP_S = 5;

const path = (name, d) => svg("path", { class: name, d });
const clock = (time) => (time ? time.slice(11, 16) : "");
const sinceNoon = (minute) => (minute - NOON_MIN + DAY_MIN) % DAY_MIN;

// [{ first, last, day }] of places in the list that belong to one day, the end not included; day 0 is that of the first
function daysOf(minutes) {
  const found = [];
  let at = sinceNoon(minutes[0]);
  minutes.forEach((minute, place) => {
    if (place) at += (minute - minutes[place - 1] + 1.5 * DAY_MIN) % DAY_MIN - DAY_MIN / 2; // less: the clock is put back
    const day = Math.floor(at / DAY_MIN);
    if (day === found.at(-1)?.day) return;
    if (place) found.at(-1).last = place;
    found.push({ first: place, last: minutes.length, day });
  });
  return found;
}

function drawDay(details, { first, last }) {
  const { every_min: width, local_minute: minutes } = details;
  const x = (place) => sinceNoon(minutes[place]);
  const areas = { movement: "", asleep: "", unworn: "" };
  for (let place = first; place < last; place += 1) {
    areas.movement += `M${x(place)} 1V${1 - 0.85 * details.movement[place]}h${width}V1Z`;
    if (details.asleep[place] > 0.5) areas.asleep += `M${x(place)} 0h${width}V0.12h${-width}Z`;
  }
  const place = (step) => (step - details.first_step) * STEP_S / 60 / width;
  for (const [start, stop] of details.unworn_steps) {
    const [from, to] = [Math.max(place(start), first), Math.min(place(stop), last)];
    if (from < to) {
      const left = x(Math.min(Math.floor(from), last - 1));
      areas.unworn += `M${left} 0h${(to - from) * width}V1h${-(to - from) * width}Z`;
    }
  }
  const events = details.events
    .filter(({ step }) => place(step) >= first && place(step) < last)
    .map(({ time }) => `M${sinceNoon(60 * Number(time.slice(11, 13)) + Number(time.slice(14, 16)))} 0V1`);
  const hours = Array.from({ length: 5 }, (_, i) => `M${(i + 1) * 240} 0V1`);
  return svg(
    "svg",
    { viewBox: `0 0 ${DAY_MIN} 1`, preserveAspectRatio: "none", "aria-hidden": "true" },
    path("hour", hours.join("")), path("unworn", areas.unworn), path("movement", areas.movement),
    path("asleep", areas.asleep), path("event", events.join("")),
  );
}

function show(details) {
  document.title = `${details.series}: actogram`;
  const nights = details.nights.filter(({ hours }) => hours !== null);
  const hours = nights.map((night) => night.hours).sort((a, b) => a - b);
  const median = hours.length ? `, ${hours[Math.floor(hours.length / 2)].toFixed(1)} h long in the median` : "";
  byId("summary").textContent =
    `${details.days.toFixed(1)} days by ${details.channels.join(", ")}; ${nights.length} nights${median}. Model ${details.model}.`;
  byId("hours").replaceChildren(
    ...Array.from({ length: 7 }, (_, i) => {
      const mark = html("span", {}, `${(12 + 4 * i) % 24}`);
      mark.style.left = `${(100 * i) / 6}%`;
      return mark;
    }),
  );
  const start = Date.parse(`${details.start.slice(0, 10)}T00:00:00Z`) - (details.local_minute[0] < NOON_MIN ? 864e5 : 0);
  const date = ({ day }) => new Date(start + day * 864e5).toISOString().slice(5, 10);
  byId("days").replaceChildren(
    ...daysOf(details.local_minute).map((day) =>
      html("div", { class: "day" }, html("span", {}, date(day)), drawDay(details, day))),
  );
  byId("rows").replaceChildren(
    ...details.nights.map((night) => {
      const ends = [night.onset, night.wakeup];
      const sure = [night.onset_confidence, night.wakeup_confidence]
        .map((one) => (one === null ? "–" : `${Math.round(100 * one)}\u00a0%`)).join(", ");
      const cells = ends.some(Boolean)
        ? [...ends.map((time) => (time ? clock(time) : "–")), night.hours?.toFixed(1) ?? night.reason, sure]
          .map((text) => html("td", {}, text))
        : [html("td", { colspan: 4, class: "why" }, night.reason)];
      return html("tr", {}, html("th", { scope: "row" }, night.day), ...cells);
    }),
  );
  byId("notes").replaceChildren(...details.notes.map((note) => html("li", {}, note)));
  byId("message").textContent = "";
  byId("figure").hidden = byId("nights").hidden = false;
}

const name = nameHere();
byId("name").textContent = name;
try {
  show(await getPatiently(address("events", name, "details"), wait));
} catch (problem) {
  byId("message").textContent = problem.message;
}
