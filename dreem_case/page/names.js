// A list of names, each a link to its page.

import { address, getPatiently, wait } from "./api.js";
import { byId, html } from "./elements.js";

// `at` answers with the names under `key`; a name's page is at `page`/name; `one` is what it is called
export async function listNames(at, key, page, one) {
  try {
    const names = (await getPatiently(address(at), wait))[key];
    byId("message").textContent = names.length === 1 ? `1 ${one}.` : `${names.length} ${one}s.`;
    byId(key).replaceChildren(...names.map((name) => html("li", {}, html("a", { href: address(page, name) }, name))));
  } catch (problem) {
    byId("message").textContent = problem.message;
  }
}
