/** The table of all series. */

import { addKeys, attempt, base, follow, get, pageData, tell } from "./app.js";
import "./data-table.js";
import { decide as record, notYetIn } from "./decisions.js";

const table = document.getElementById("table");
const filter = document.getElementById("filter");
const says = document.getElementById("says");
const isOwner = document.body.dataset.role === "owner";
const page = (name) => `${base}/series/${encodeURIComponent(name)}`;
let timer = 0;

filter.value = table.setUp(pageData().columns, { href: (row) => page(row[0]) });
filter.addEventListener("input", () => table.filter(filter.value));

const shownState = (keep) => (keep ? "done" : "excluded");

const refresh = follow(async () => {
  clearTimeout(timer);
  const asked = performance.now();
  const facts = await attempt(() => get(`${base}/series.json`));
  if (!facts) return;
  for (const row of facts.rows) {
    const newer = notYetIn("series", row[0], asked).get("");
    if (newer) row[1] = shownState(newer.change.value.keep);
  }
  table.set(facts.rows);
  const nOpen = facts.rows.reduce((n, row) => n + (row[5] ?? 0), 0);
  document.getElementById("review").textContent = nOpen ? `Review ${nOpen} flagged` : "Review";
  if (facts.n_waiting) timer = setTimeout(refresh, 1500);
});

table.addEventListener("arranged", (event) => {
  says.textContent = event.detail === table.rows.length ? `${table.rows.length} series` : `${event.detail} of ${table.rows.length} series`;
});

/** Leave the selected series out, or take it in again; shown at once. */
async function decide(keep) {
  const name = table.selected;
  const row = table.rows.find((one) => one[0] === name);
  if (!isOwner || !row) return;
  const before = row[1];
  row[1] = shownState(keep);
  table.set(table.rows);
  table.step(1);
  try {
    const changes = [{ kind: "series", item: name, value: { keep } }];
    await record(changes, keep ? "kept by hand" : "left out by hand", "series table");
  } catch (error) {
    row[1] = before;
    table.set(table.rows);
    tell(`Not kept: ${error.message}`, true);
  }
}

for (const [id, keep] of [["out", false], ["in", true]]) {
  const button = document.getElementById(id);
  button.hidden = !isOwner;
  button.addEventListener("click", () => decide(keep));
}
addKeys([
  { key: "ArrowDown", does: "next series", run: () => table.step(1) },
  { key: "ArrowUp", does: "previous series", run: () => table.step(-1) },
  { key: "]", does: "next series", run: () => table.step(1) },
  { key: "[", does: "previous series", run: () => table.step(-1) },
  { key: "Enter", does: "open the series", run: () => (table.selected ? location.assign(page(table.selected)) : false) },
  { key: "X", does: "leave the series out", run: () => decide(false) },
  { key: "C", does: "keep the series", run: () => decide(true) },
  { key: "/", does: "filter", run: () => filter.focus() },
]);
await refresh();
