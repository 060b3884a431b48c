// The list of wearers.

import { address, getPatiently } from "../page/api.js";
import { byId, html } from "../page/elements.js";

const wait = (problem) => new Promise((resolve) => setTimeout(resolve, 1000 * problem.wait_s));

try {
  const { series } = await getPatiently(address("events"), wait);
  byId("message").textContent = series.length === 1 ? "1 wearer." : `${series.length} wearers.`;
  byId("series").replaceChildren(
    ...series.map((name) => html("li", {}, html("a", { href: address("actogram", name) }, name))),
  );
} catch (problem) {
  byId("message").textContent = problem.message;
}
