/** One tilt series: view, exclude, keep. Decisions are stored immediately. */

import { addKeys, attempt, base, follow, get, keepInAddress, make, pageData } from "../app.js";
import "../pictures/slice-view.js";
import "../pictures/window-slider.js";
import { Plot } from "../plot.js";
import { decideTilts, proposedReason, sign, stateOf, withDecisions } from "./tilt-decisions.js";
import { playKeys, viewKeys } from "../pictures/view-keys.js";

const view = document.getElementById("view");
const slider = document.getElementById("window");
const address = new URLSearchParams(location.search);
const isOwner = document.body.dataset.role === "owner";
let facts = pageData();
let rows = [];
let at = 0; // position in rows: order of angle
let isAligned = address.get("aligned") === "1";
let lastDecided = null;
const bySection = new Map();

const numbers = (name) => rows.map((row) => row[name] ?? NaN);
const angles = () => numbers("tilt_deg");
const mark = (i) => (rows[i].excluded ? "excluded" : rows[i].is_open ? "flagged" : "");
const plotOf = (id, title, help, more = {}) =>
  new Plot(document.getElementById(id), { title, help, lines: [], mark, onPick: (i) => go(i), ...more });
const plots = {
  mean: plotOf("plot-mean", "mean / cos tilt", "Mean counts, relative to those expected of a slab at this tilt", { zero: true }),
  motion: plotOf("plot-motion", "motion, Å", "Path of the specimen during the exposure", { zero: true }),
  ctf: plotOf("plot-ctf", "CTF fit, Å", "Finest detail that the CTF fits", { zero: true }),
  residual: plotOf("plot-residual", "residual, Å", "Mean distance between tracked and predicted positions", { zero: true }),
};

const framePath = new Plot(document.getElementById("plot-path"), { title: "frames of this tilt, Å", help: "Where the specimen was in each frame, from its mean place; the ring is the first frame", lines: [] });

/** Path of the specimen through the frames of the current tilt, with one scale for both axes. */
function drawPath() {
  const path = facts.paths[rows[at]?.acquisition_index] ?? [];
  const [x, y] = [0, 1].map((axis) => path.map((place) => place[axis]));
  const reach = Math.max(1, ...[...x, ...y].map(Math.abs));
  framePath.set({ lines: path.length ? [{ x: [-reach, reach], y: [NaN, NaN], shape: "line" }, { x, y, shape: "line" }, { x: x.slice(0, 1), y: y.slice(0, 1), shape: "ring" }] : [], yRange: [-1.1 * reach, 1.1 * reach] });
}

/** Mean counts over those expected from the series' brightest third and the attenuation of a slab; 1 is expected. */
function relativeMeans() {
  const means = numbers("mean_counts");
  const known = rows.filter((row, i) => Number.isFinite(means[i]) && !row.excluded);
  if (known.length < 3) return means;
  // log(mean) = a - b / cos(tilt), by least squares over the used tilts
  let [n, sx, sy, sxx, sxy] = [0, 0, 0, 0, 0];
  for (const row of known) {
    const x = 1 / Math.cos((row.tilt_deg * Math.PI) / 180);
    const y = Math.log(Math.max(row.mean_counts, 1e-9));
    n += 1; sx += x; sy += y; sxx += x * x; sxy += x * y;
  }
  const slope = (n * sxy - sx * sy) / (n * sxx - sx * sx || 1);
  const level = (sy - slope * sx) / n;
  return rows.map((row, i) => means[i] / Math.exp(level + slope / Math.cos((row.tilt_deg * Math.PI) / 180)));
}

/** Apply data requested at a time. */
function take(next, asked) {
  facts = next;
  rows = withDecisions(facts.name, facts.rows, asked);
  bySection.clear();
  rows.forEach((row, i) => row.section !== null && bySection.set(row.section, i));
  document.title = `${facts.name}`;
  document.getElementById("title").textContent = facts.name;
  document.getElementById("previous").disabled = !facts.previous;
  document.getElementById("next").disabled = !facts.next;
  const failure = document.getElementById("failure");
  const imported = rows.length === 0 && facts.has_tomogram ? "This tomogram was imported without tilt images; it is shown under Tomograms." : "";
  failure.textContent = facts.failure ? `${facts.failure[0]} failed: ${facts.failure[1]}` : imported;
  failure.hidden = !failure.textContent;
  const which = document.getElementById("which");
  const title = which.selectedOptions[0]?.textContent;
  which.replaceChildren(...facts.images.map((image, i) => make("option", { value: String(i), selected: image.title === title }, image.title)));
  which.hidden = facts.images.length < 2;
  const x = angles();
  plots.mean.set({ lines: [{ x, y: relativeMeans() }] });
  plots.motion.set({ lines: [{ x, y: numbers("motion_angstrom") }] });
  plots.ctf.set({ lines: [{ x, y: numbers("fit_resolution_angstrom") }] });
  plots.residual.set({ lines: [{ x, y: numbers("residual_angstrom") }] });
  drawHistory();
}

function drawHistory() {
  document.getElementById("n-history").textContent = facts.history.length ? `(${facts.history.length})` : "";
  document.getElementById("history").replaceChildren(
    ...facts.history.map((one) =>
      make("li", { class: one.is_undone ? "is-undone" : "" }, `${one.text} - ${one.who}${one.when ? `, ${one.when}` : ""}`)),
  );
}

/** Draw table, strip, plots and title for the current rows. */
function redraw() {
  const nExcluded = rows.filter((row) => row.excluded).length;
  const nOpen = rows.filter((row) => row.is_open).length;
  document.getElementById("facts").textContent =
    `${rows.length} tilts, ${nExcluded} left out, ${nOpen} flagged · series ${facts.position[0]} of ${facts.position[1]}`;
  const body = document.querySelector("#tilts tbody");
  const show = (value, digits) => (Number.isFinite(value) ? value.toFixed(digits) : "");
  const means = relativeMeans();
  body.replaceChildren(
    ...rows.map((row, i) =>
      make("tr", { "aria-selected": String(i === at), "data-acquisition": String(row.acquisition_index), onclick: () => go(i) },
        make("td", { class: "number" }, String(row.acquisition_index)),
        make("td", { class: "number" }, show(row.tilt_deg, 1)),
        make("td", { class: "number" }, show(row.dose_end_per_angstrom2, 0)),
        make("td", { class: "number" }, show(means[i], 2)),
        make("td", { class: "number" }, show(row.motion_angstrom ?? NaN, 1)),
        make("td", { class: "number" }, show(row.fit_resolution_angstrom ?? NaN, 1)),
        make("td", { class: "number" }, show(row.residual_angstrom ?? NaN, 1)),
        make("td", {}, sign(row)))),
  );
  document.querySelectorAll("#strip button").forEach((button, i) => {
    const [state, words] = stateOf(rows[i]);
    button.classList.toggle("is-excluded", rows[i].excluded);
    button.classList.toggle("is-open", rows[i].is_open);
    button.setAttribute("aria-selected", String(i === at));
    button.title = `${rows[i].tilt_deg}° ${words}`;
    button.querySelector(".state").className = `state sign ${state}`;
  });
  for (const plot of Object.values(plots)) {
    plot.selected = at;
    plot.draw();
  }
  drawPath();
  for (const id of ["exclude", "keep"]) document.getElementById(id).disabled = !isOwner || !rows.length;
  const out = rows.filter((row) => row.excluded && row.by_user).map((row) => row.acquisition_index);
  document.getElementById("command").textContent = out.length
    ? `cryoloom exclude ${quoted(facts.name)} ${out.join(" ")} --project .`
    : `cryoloom exclude ${quoted(facts.name)} ACQUISITION_INDEX ... --project .`;
}

/** Move the marks of the current tilt; nothing else has changed. */
function markHere() {
  for (const list of [document.querySelectorAll("#tilts tbody tr"), document.querySelectorAll("#strip button")]) {
    list.forEach((one, i) => one.setAttribute("aria-selected", String(i === at)));
  }
  for (const plot of Object.values(plots)) plot.select(at);
  drawPath();
  document.querySelector('#tilts tr[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
  document.querySelector('#strip button[aria-selected="true"]')?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

let marking = 0;
let frame = 0;
/** Show the state of one row now, and the others in the next frame. */
function redrawSoon(row) {
  document.querySelector(`#tilts tr[data-acquisition="${row.acquisition_index}"] td:last-child`)?.replaceChildren(sign(row));
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(redraw);
}

const quoted = (name) => (/^[\w.-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`);

function go(i, fromView = false) {
  if (!rows.length) return;
  at = Math.max(0, Math.min(rows.length - 1, i));
  const row = rows[at];
  if (!fromView && row.section !== null) view.go(row.section);
  address.set("tilt", String(row.acquisition_index));
  keepInAddress(address);
  cancelAnimationFrame(marking);
  marking = requestAnimationFrame(markHere);
}

async function showImages(keep) {
  const chosen = facts.images[Number(document.getElementById("which").value) || 0];
  if (!chosen) return;
  const section = rows[at]?.section ?? 0;
  const opened = await view.open(chosen.base, { index: section, keep });
  if (!opened) return;
  const { key } = view.info;
  document.getElementById("strip").replaceChildren(
    ...rows.map((row, i) =>
      make("button", { role: "option", onclick: () => go(i) },
        row.section === null ? "" : make("img", { loading: "lazy", alt: "", width: "78", height: "80", "data-src": `${chosen.base}/${key}/thumb/${row.section}.jpg?s=120` }),
        make("span", { class: "angle" }, `${row.tilt_deg.toFixed(0)}°`),
        make("span", { class: "state" }))),
  );
  if (view.info.ready) showThumbnails();
  slider.attach(view);
}

/** Thumbnails come from the small copies that are made on first view; before that, each one would read its whole tilt. */
function showThumbnails() {
  for (const one of document.querySelectorAll("#strip img[data-src]")) {
    one.src = one.dataset.src;
    one.removeAttribute("data-src");
  }
}
for (const event of ["ready", "unready"]) view.addEventListener(event, showThumbnails);

/** First shown image of a series: the least tilted one. */
const leastTilted = (list) => list.reduce((best, row, i) => (Math.abs(row.tilt_deg) < Math.abs(list[best]?.tilt_deg ?? 999) ? i : best), 0);

let ahead = null; // data of the next series, requested while this one is shown
let aheadTimer = 0;
const factsOf = (name) => get(`${base}/series/${encodeURIComponent(name)}/facts.json`);
function lookAhead() {
  ahead = null;
  clearTimeout(aheadTimer);
  aheadTimer = setTimeout(() => {
    if (!facts.next) return;
    ahead = { name: facts.next, asked: performance.now(), found: factsOf(facts.next).catch(() => null) };
    ahead.found.then(loadImageAhead);
  }, 150);
}

/** Prepare the first image of the next series when that of this one is shown. */
async function loadImageAhead(next) {
  if (!next) return;
  if (view.state.shownIndex === null) await new Promise((done) => view.addEventListener("drawn", done, { once: true }));
  if (ahead?.name !== next.name || preloaded === next.name) return;
  preloaded = next.name;
  const title = document.getElementById("which").selectedOptions[0]?.textContent;
  const image = next.images.find((one) => one.title === title) ?? next.images[0];
  const section = next.rows[leastTilted(next.rows)]?.section;
  if (image && section !== null && section !== undefined) await view.preload(image.base, section);
}
let preloaded = "";

for (const event of ["changed", "decided"]) document.addEventListener(event, lookAhead);

let nOpened = 0;
async function open(name) {
  const known = ahead?.name === name ? ahead : null;
  const [mine, asked] = [++nOpened, known?.asked ?? performance.now()];
  const next = (await known?.found) ?? (await attempt(() => factsOf(name)));
  if (!next || mine !== nOpened) return; // another one was requested in the meantime
  address.delete("tilt");
  history.pushState(null, "", `${base}/series/${encodeURIComponent(name)}?${address}`);
  await show(next, asked);
}

async function show(next, asked) {
  take(next, asked);
  const wanted = rows.findIndex((row) => String(row.acquisition_index) === address.get("tilt"));
  at = wanted >= 0 ? wanted : leastTilted(rows);
  await showImages(true);
  redraw();
  go(at);
  lookAhead();
}

/** Decide on the current tilt and go to the next tilt without a decision, otherwise to the neighbour. */
async function decide(keep, why = null, advance = true) {
  if (!isOwner || !rows.length) return;
  const row = rows[at];
  const series = facts.name;
  const text = keep ? "kept by hand" : why ?? proposedReason(row, facts.reasons);
  lastDecided = keep ? null : { row, series };
  const place = at;
  const durable = decideTilts(series, [row], keep, text, "series", () => redrawSoon(row));
  if (advance) {
    const next = rows.findIndex((other, i) => i > place && other.is_open);
    go(next >= 0 ? next : Math.min(place + 1, rows.length - 1));
  }
  if (await durable) refresh();
}

/** 1 to 6 after x: the reason for the last exclusion. */
function giveReason(number) {
  if (!lastDecided || lastDecided.series !== facts.name) return false;
  const reason = facts.reasons[number];
  decideTilts(facts.name, [lastDecided.row], false, reason, "series", redraw).then((is) => is && refresh());
  return true;
}

const refresh = follow(async () => {
  const [name, asked] = [facts.name, performance.now()];
  const next = await get(`${base}/series/${encodeURIComponent(name)}/facts.json`).catch(() => null);
  if (!next || facts.name !== name) return;
  const here = rows[at]?.acquisition_index;
  take(next, asked);
  at = Math.max(0, rows.findIndex((row) => row.acquisition_index === here));
  redraw();
});

function setAligned(on) {
  isAligned = on;
  address.set("aligned", on ? "1" : "0");
  document.getElementById("aligned").setAttribute("aria-pressed", String(on));
  view.placement = on
    ? (index) => {
        const pose = facts.alignment[index];
        const size = view.info.pixel_size_angstrom || 1;
        return pose ? { axis_deg: pose[0], shift: [pose[1] / size, pose[2] / size] } : null;
      }
    : null;
  view.draw();
}

let guideParts = (address.get("guides") ?? "").split(",").map(Number).filter((part) => part > 0 && part < 1);
if (!guideParts.length) guideParts = [0.25, 0.5, 0.75]; // fractions of the image height
let dragged = -1;

/** Draw the tilt axis and guide lines: aligned features move along the rows. */
function guides(context, shown) {
  if (!isAligned) return;
  const [nu, nv] = shown.planeSize();
  context.strokeStyle = "rgba(230,159,0,.7)";
  context.setLineDash([6, 5]);
  for (const [u0, v0, u1, v1] of [[nu / 2, 0, nu / 2, nv], ...guideParts.map((part) => [0, part * nv, nu, part * nv])]) {
    context.beginPath();
    context.moveTo(...shown.toScreen(u0, v0));
    context.lineTo(...shown.toScreen(u1, v1));
    context.stroke();
  }
  context.setLineDash([]);
}

/** Drag a guide line onto a feature, to see whether the feature stays on it while the series plays. */
view.tool = {
  down(event, [, v]) {
    if (!isAligned || event.button !== 0) return false;
    const nv = view.planeSize()[1];
    const distances = guideParts.map((part) => Math.abs(part * nv - v) * view.zoom);
    const nearest = distances.indexOf(Math.min(...distances));
    dragged = distances[nearest] < 8 ? nearest : -1;
    return dragged >= 0;
  },
  move(event, [, v]) {
    if (dragged < 0) return false;
    guideParts[dragged] = Math.max(0.001, Math.min(0.999, v / view.planeSize()[1]));
    view.draw();
    return true;
  },
  up() {
    if (dragged < 0) return;
    dragged = -1;
    address.set("guides", guideParts.map((part) => part.toFixed(3)).join(","));
    keepInAddress(address);
  },
};
view.layers.push(guides);
view.addEventListener("index", (event) => {
  const i = bySection.get(event.detail);
  if (i !== undefined && i !== at) go(i, true);
});
document.getElementById("which").addEventListener("change", () => showImages(true));
document.getElementById("aligned").addEventListener("click", () => setAligned(!isAligned));
document.getElementById("previous").addEventListener("click", () => facts.previous && open(facts.previous));
document.getElementById("next").addEventListener("click", () => facts.next && open(facts.next));
document.getElementById("exclude").addEventListener("click", () => decide(false));
document.getElementById("keep").addEventListener("click", () => decide(true));
document.getElementById("reasons").append(
  make("span", { class: "quiet" }, "because"),
  ...Object.entries(facts.reasons).map(([number, reason]) =>
    make("button", { title: `${reason}: reason of what was just left out (${number})`, "aria-label": reason, onclick: () => giveReason(number) || decide(false, reason) }, number)),
);
addEventListener("popstate", () => location.reload());

addKeys([
  ...viewKeys(view, slider),
  ...playKeys(view, document.getElementById("play")),
  { key: "]", does: "next series", run: () => facts.next && open(facts.next) },
  { key: "[", does: "previous series", run: () => facts.previous && open(facts.previous) },
  { key: "a", does: "aligned or raw images", run: () => setAligned(!isAligned) },
  { key: "x", does: "leave the tilt out, and go on", run: () => decide(false) },
  { key: "c", does: "keep the tilt, and go on", run: () => decide(true) },
  { key: " ", does: "leave out or keep, and stay", run: () => decide(rows[at]?.excluded, null, false) },
  ...Object.entries(facts.reasons).map(([number, reason]) => ({ key: number, does: `after x: the reason is ${reason}`, run: () => giveReason(number) })),
]);
setAligned(isAligned);
await show(facts, 0);
view.focus();
