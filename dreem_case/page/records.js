// The list of nights, one page of it: `?after=` names the record that the page follows.

import { address, getPatiently } from "./api.js";
import { byId, html } from "./elements.js";
import { hideNotice, showMessage, showProblem, showWaiting, untilNextTry } from "./notice.js";

const RECORDS_PER_PAGE = 100;

function showRecords({ source, records, next }, after) {
  byId("source").textContent = source;
  if (records.length === 0 && !after) {
    showMessage("No nights here yet", "The store is empty. A night is one HDF5 file, named after its record.");
  } else {
    hideNotice();
    const count = records.length === 1 ? "1 night" : `${records.length} nights`;
    byId("count").textContent = after || next ? `${count} on this page.` : `${count}.`;
  }
  byId("nights").replaceChildren(
    ...records.map((record) => html("li", {}, html("a", { href: address("night", record) }, record))),
  );
  byId("first-page").hidden = !after;
  byId("next-page").hidden = !next;
  if (next) byId("next-page").href = `?${new URLSearchParams({ after: next })}`;
  byId("pages").hidden = byId("open").hidden = !after && !next;
}

byId("open").addEventListener("submit", (event) => {
  event.preventDefault();
  location.assign(address("night", byId("name").value.trim()));
});

const after = new URLSearchParams(location.search).get("after") ?? "";
const url = address("records");
url.searchParams.set("limit", RECORDS_PER_PAGE);
if (after) url.searchParams.set("after", after);

showWaiting("Reading the list", "The store is asked for its nights.");
try {
  showRecords(await getPatiently(url, untilNextTry), after);
} catch (problem) {
  showProblem(problem);
}
