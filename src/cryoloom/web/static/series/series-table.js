/** The table of all series. */

import { addKeys, attempt, base, follow, get, make, pageData, tell } from "../app.js";
import "../data-table.js";
import { decide as record, notYetIn } from "../decisions.js";

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
  else if (!gallery.hidden) showGallery(true); // pictures of series that have been read since
});

table.addEventListener("arranged", (event) => {
  drawGallery();
  says.textContent = event.detail === table.rows.length ? `${table.rows.length} series` : `${event.detail} of ${table.rows.length} series`;
});

// Gallery

const gallery = document.getElementById("gallery");
const MOST_PICTURES = 600;
const BADNESS = { failed: 3, outdated: 1 };
let pictures = null;

/** A card for each filtered series; worst first unless the table is sorted differently. */
function drawGallery() {
  if (gallery.hidden || !pictures) return;
  const badness = (row) => 1e6 * (BADNESS[row[1]] ?? 0) + 1e3 * (row[5] ?? 0) + (row[4] ?? 0);
  const rows = address().has("sort") ? table.shown : [...table.shown].sort((a, b) => badness(b) - badness(a));
  gallery.replaceChildren(...rows.slice(0, MOST_PICTURES).map((row) => make("a", { href: page(row[0]), class: `series-card is-${row[1]}`, "data-name": row[0], title: row.at(-1) ?? "" },
    pictures[row[0]] ? make("img", { src: pictures[row[0]], loading: "lazy", alt: "", width: "180", height: "150" }) : make("span", { class: "no-picture quiet" }, "no picture"),
    make("span", { class: "row tight spread" }, make("b", {}, row[0]), make("span", { class: `sign ${row[1]}` }, row[1])),
    make("span", { class: row[5] ? "sign flagged" : "quiet" }, row[5] ? `${row[5]} flagged` : `${row[3] ?? "?"} tilts, ${row[4] ?? 0} left out`))));
  if (rows.length > MOST_PICTURES) gallery.append(make("p", { class: "quiet" }, `${rows.length - MOST_PICTURES} more: filter to see them.`));
}

const address = () => new URLSearchParams(location.search);

async function showGallery(on) {
  gallery.hidden = !on;
  table.hidden = on;
  document.getElementById("as-gallery").setAttribute("aria-pressed", String(on));
  document.getElementById("as-table").setAttribute("aria-pressed", String(!on));
  const now = address();
  if (on) now.set("view", "gallery");
  else now.delete("view");
  history.replaceState(null, "", now.size ? `?${now}` : location.pathname);
  if (on) pictures = (await attempt(() => get(`${base}/gallery.json`)))?.pictures ?? {};
  drawGallery();
}
document.getElementById("as-table").addEventListener("click", () => showGallery(false));
document.getElementById("as-gallery").addEventListener("click", () => showGallery(true));

/** Exclude the selected series, or include it again; shown immediately. */
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
  { key: "v", does: "table or gallery", run: () => void showGallery(gallery.hidden) },
  { key: "/", does: "filter", run: () => filter.focus() },
]);
await refresh();
if (address().get("view") === "gallery") await showGallery(true);
