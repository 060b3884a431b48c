// The list of records.

import { address, getPatiently } from "../page/api.js";
import { byId, html } from "../page/elements.js";

const wait = (problem) => new Promise((resolve) => setTimeout(resolve, 1000 * problem.wait_s));

try {
  const { records } = await getPatiently(address("beats"), wait);
  byId("message").textContent = records.length === 1 ? "1 record." : `${records.length} records.`;
  byId("records").replaceChildren(
    ...records.map((name) => html("li", {}, html("a", { href: address("strips", name) }, name))),
  );
} catch (problem) {
  byId("message").textContent = problem.message;
}
