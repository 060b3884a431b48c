// The one place that says what the page is doing, or why it shows nothing.

import { byId, html } from "./elements.js";

const message = byId("message"); // in sight and in its place from the start, so that changes are read out
const actions = byId("actions");

function show(kind, heading, text, ...parts) {
  const focused = actions.contains(document.activeElement);
  message.replaceChildren(html("h2", {}, heading), html("p", {}, text));
  actions.replaceChildren(...parts);
  byId("notice").className = `notice ${kind}`;
  if (focused) parts.at(-1)?.focus(); // a button that was pressed is replaced by its successor
}

export const showMessage = (heading, text) => show("message", heading, text);
export const showWaiting = (heading, text) => show("waiting", heading, text);

export function hideNotice() {
  message.replaceChildren();
  actions.replaceChildren();
  byId("notice").className = "";
}

const HEADINGS = {
  0: "The server does not answer",
  404: "There is no night of this name",
  422: "This night cannot be staged",
  503: "Not available just now",
};

function showFailure(problem, ...parts) {
  const heading = HEADINGS[problem.status] ?? "The server cannot answer this";
  const code = html("p", { class: "code" }, "Code: ", html("code", {}, problem.code || String(problem.status)));
  show("problem", heading, problem.message, code, ...parts);
}

const button = (text) => html("button", { type: "button" }, text);

export function showProblem(problem) {
  const again = button("Try again");
  again.addEventListener("click", () => location.reload());
  const lasting = problem.status === 404 || (problem.status === 422 && problem.code !== "too_expensive");
  showFailure(problem, ...(lasting ? [] : [again]));
}

// Count down to the next try; the button tries at once.
export function untilNextTry(problem) {
  const left = html("span", {}, String(problem.wait_s));
  const now = button("Try now");
  showFailure(problem, html("p", { class: "countdown" }, "Trying again in ", left, " s."), now);
  return new Promise((resolve) => {
    const stopAt = performance.now() + 1000 * problem.wait_s;
    const ticking = setInterval(() => {
      const seconds = Math.ceil((stopAt - performance.now()) / 1000);
      left.textContent = String(Math.max(seconds, 0));
      if (seconds <= 0) done();
    }, 250);
    function done() {
      clearInterval(ticking);
      resolve();
    }
    now.addEventListener("click", done);
  });
}
