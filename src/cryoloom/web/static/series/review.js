/** Flagged tilts of all series, worst first, decided with one key. */

import { addKeys, base, counted, follow, get, keepInAddress, make, pageData } from "../app.js";
import "../pictures/slice-view.js";
import "../pictures/window-slider.js";
import { decideTilts, proposedReason, stateOf, withDecisions } from "./tilt-decisions.js";
import { viewKeys } from "../pictures/view-keys.js";

const view = document.getElementById("view");
const slider = document.getElementById("window");
const isOwner = document.body.dataset.role === "owner";
const infos = new Map(); // base -> key, fetched once
let facts = pageData();
let tilts = [];
let at = 0;
let lastDecided = null;
let attached = false;

const idOf = (tilt) => `${tilt.series}\n${tilt.acquisition_index}`;

/** Apply data requested at a time; shown tilts keep their order, new ones are added at the end. */
function take(next, asked) {
  facts = next;
  for (const tilt of next.tilts) withDecisions(tilt.series, [tilt], asked);
  const fresh = new Map(next.tilts.map((tilt) => [idOf(tilt), tilt]));
  // Tilts of a series that is being read again are missing in the answer and do not change.
  const kept = tilts.map((tilt) => fresh.get(idOf(tilt)) ?? (next.n_waiting ? tilt : null)).filter(Boolean);
  const known = new Set(kept.map(idOf));
  tilts = [...kept, ...next.tilts.filter((tilt) => !known.has(idOf(tilt)))];
  document.getElementById("page").hidden = !tilts.length;
  document.getElementById("empty").hidden = Boolean(tilts.length) || facts.n_waiting > 0 || !facts.n_series;
  document.getElementById("no-series").hidden = facts.n_series + facts.n_waiting > 0;
  const reading = document.getElementById("reading");
  reading.hidden = Boolean(tilts.length) || !facts.n_waiting;
  reading.querySelector("p").textContent = `${facts.n_series.toLocaleString("en")} of ${counted(facts.n_series + facts.n_waiting, "series", "series")} are read; none of their tilts is doubted yet.`;
}

async function keyOf(address) {
  if (!infos.has(address)) infos.set(address, get(`${address}/info.json`).then((info) => info.key));
  return infos.get(address);
}

let drawn = "";
function drawStrip() {
  const ids = tilts.map(idOf).join("\n\n");
  if (ids === drawn) return;
  drawn = ids;
  document.getElementById("strip").replaceChildren(
    ...tilts.map((tilt, i) => {
      const picture = make("img", { loading: "lazy", alt: "", width: "96", height: "92" });
      if (tilt.base && tilt.section !== null) {
        keyOf(tilt.base).then((key) => (picture.src = `${tilt.base}/${key}/thumb/${tilt.section}.jpg?s=120`)).catch(() => {});
      }
      return make("button", { role: "option", onclick: () => go(i) }, picture,
        make("span", { class: "angle" }, `${tilt.series} ${tilt.tilt_deg.toFixed(0)}°`), make("span", { class: "state" }));
    }),
  );
}

function redraw() {
  const nOpen = tilts.filter((tilt) => tilt.is_open).length;
  document.getElementById("facts").textContent =
    `${nOpen} of ${tilts.length} flagged tilts are open, worst first, over ${facts.n_series} series${facts.n_waiting ? `; ${facts.n_waiting} are still being read` : ""}`;
  document.querySelectorAll("#strip button").forEach((button, i) => {
    const [state] = stateOf(tilts[i]);
    button.classList.toggle("is-excluded", tilts[i].excluded);
    button.classList.toggle("is-open", tilts[i].is_open);
    button.setAttribute("aria-selected", String(i === at));
    button.querySelector(".state").className = `state sign ${state}`;
  });
  const tilt = tilts[at];
  if (!tilt) return;
  document.getElementById("what").textContent = `${tilt.series}, tilt ${tilt.tilt_deg.toFixed(1)}°, acquisition index ${tilt.acquisition_index}`;
  const [state, words] = stateOf(tilt);
  document.getElementById("why").replaceChildren(
    make("span", { class: "sign flagged" }, tilt.flag.text), make("br"),
    make("span", { class: `sign ${state}` }, tilt.is_open ? (tilt.excluded ? `left out by ${tilt.excluded_by}` : "not decided yet") : words || "kept"));
  const line = (title, value) => make("tr", {}, make("td", {}, title), make("td", { class: "number" }, value));
  const show = (value, digits, unit) => (Number.isFinite(value) ? `${value.toFixed(digits)} ${unit}` : "not measured");
  document.querySelector("#figures tbody").replaceChildren(
    line("mean counts", show(tilt.mean_counts ?? NaN, 1, "")), line("shift of the field", show(100 * (tilt.shift_fraction ?? NaN), 0, "%")),
    line("motion", show(tilt.motion_angstrom ?? NaN, 1, "Å")), line("defocus", show((tilt.defocus_u_angstrom ?? NaN) / 1e4, 2, "µm")),
    line("CTF fit", show(tilt.fit_resolution_angstrom ?? NaN, 1, "Å")), line("residual", show(tilt.residual_angstrom ?? NaN, 1, "Å")),
    line("dose", `${tilt.dose_start_per_angstrom2.toFixed(0)} to ${tilt.dose_end_per_angstrom2.toFixed(0)} e/Å²`));
  document.getElementById("open").href = `${base}/series/${encodeURIComponent(tilt.series)}?tilt=${tilt.acquisition_index}`;
}

async function go(i) {
  if (!tilts.length) return;
  at = Math.max(0, Math.min(tilts.length - 1, i));
  const tilt = tilts[at];
  keepInAddress(`?series=${encodeURIComponent(tilt.series)}&tilt=${tilt.acquisition_index}`);
  redraw();
  document.querySelector('#strip button[aria-selected="true"]')?.scrollIntoView({ block: "nearest", inline: "nearest" });
  if (!tilt.base) return;
  if (view.info?.base === tilt.base) view.go(tilt.section ?? 0);
  else if (await view.open(tilt.base, { index: tilt.section ?? 0, keep: true })) {
    if (!attached) slider.attach(view);
    attached = true;
  }
}

async function decide(keep, why = null) {
  const tilt = tilts[at];
  if (!isOwner || !tilt) return;
  lastDecided = keep ? null : tilt;
  const durable = decideTilts(tilt.series, [tilt], keep, keep ? "kept in review" : why ?? proposedReason(tilt, facts.reasons), "review", redraw);
  const next = tilts.findIndex((other, i) => i > at && other.is_open);
  const first = tilts.findIndex((other) => other.is_open);
  await go(next >= 0 ? next : first >= 0 ? first : at + 1);
  await durable;
}

function giveReason(number) {
  if (!lastDecided) return false;
  decideTilts(lastDecided.series, [lastDecided], false, facts.reasons[number], "review", redraw);
  return true;
}

const refresh = follow(async () => {
  const asked = performance.now();
  const next = await get(`${base}/review.json`).catch(() => null);
  if (!next) return;
  const here = tilts[at] && idOf(tilts[at]);
  take(next, asked);
  drawStrip();
  at = Math.max(0, tilts.findIndex((tilt) => idOf(tilt) === here));
  redraw();
  if (!here) go(0);
  if (facts.n_waiting) setTimeout(refresh, 1500);
});

document.getElementById("exclude").addEventListener("click", () => decide(false));
document.getElementById("keep").addEventListener("click", () => decide(true));
for (const id of ["exclude", "keep"]) document.getElementById(id).disabled = !isOwner;
document.getElementById("reasons").append(
  ...Object.entries(facts.reasons).map(([number, reason]) =>
    make("button", { title: `${reason} (${number})`, "aria-label": reason, onclick: () => giveReason(number) || decide(false, reason) }, `${number} ${reason}`)));
addKeys([
  ...viewKeys(view, slider).filter(({ key }) => !["ArrowUp", "ArrowDown", "PageUp", "PageDown", "Home", "End"].includes(key)),
  { key: "ArrowRight", does: "next doubted tilt", run: () => void go(at + 1) },
  { key: "ArrowLeft", does: "previous doubted tilt", run: () => void go(at - 1) },
  { key: "ArrowUp", does: "next image of this series", run: () => view.step(1) },
  { key: "ArrowDown", does: "previous image of this series", run: () => view.step(-1) },
  { key: "x", does: "agree: leave it out, and go on", run: () => void decide(false) },
  { key: "c", does: "keep it, and go on", run: () => void decide(true) },
  { key: " ", does: "leave out or keep", run: () => void decide(Boolean(tilts[at]?.excluded)) },
  ...Object.entries(facts.reasons).map(([number, reason]) => ({ key: number, does: `after x: the reason is ${reason}`, run: () => giveReason(number) })),
  { key: "Enter", does: "open the series", run: () => location.assign(document.getElementById("open").href) },
]);
take(facts, 0);
drawStrip();
const wanted = new URLSearchParams(location.search);
await go(Math.max(0, tilts.findIndex((tilt) => tilt.series === wanted.get("series") && String(tilt.acquisition_index) === wanted.get("tilt"))));
if (facts.n_waiting) setTimeout(refresh, 1000);
