/** Bead fixer: residuals (worst first), gaps, and manual positions, solved again in the page. Keys are those of IMOD. */

import { addKeys, attempt, base, follow, get, keepInAddress, make, pageData, sendInOrder, tell } from "../app.js";
import { decide } from "../decisions.js";
import { Plot } from "../plot.js";
import { EM } from "../pictures/slice-view.js";
import "../pictures/window-slider.js";
import { viewKeys } from "../pictures/view-keys.js";

const byId = (id) => document.getElementById(id);
const isOwner = document.body.dataset.role === "owner";
const view = byId("view");
const zooms = [byId("before"), byId("this"), byId("after")];
const slider = byId("window");
const matrix = byId("matrix");
const CIVIDIS = [[0, 34, 78], [65, 77, 107], [124, 123, 120], [187, 175, 113], [254, 232, 56]];
let facts = pageData();
let now = null; // numbers before solving
let at = { track: null, tilt: 0 };
let size = 1;
let scaleMax = 10;
const visited = new Set();

const plots = {
  residual: new Plot(byId("plot-residual"), { title: "residual, Å", lines: [], zero: true, onPick: (i) => goTilt(i) }),
  shift: new Plot(byId("plot-shift"), { title: "shift across and along the axis, nm", lines: [], onPick: (i) => goTilt(i) }),
  axis: new Plot(byId("plot-axis"), { title: "axis, °", lines: [], onPick: (i) => goTilt(i) }),
};

const key = (track, tilt) => `${track}/${tilt}`;
let seen = new Map(); // "track/tilt" -> observation

/** Plane coordinates of a position in angstrom from the image centre. */
function toPlane([x, y]) {
  const [, ny, nx] = view.info.shape;
  return [x / size + Math.floor(nx / 2) + 0.5, y / size + Math.floor(ny / 2) + 0.5];
}

function toAngstrom([u, v]) {
  const [, ny, nx] = view.info.shape;
  return [(u - Math.floor(nx / 2) - 0.5) * size, (v - Math.floor(ny / 2) - 0.5) * size];
}

function take(next) {
  facts = next;
  seen = new Map(facts.observations.map((one) => [key(one[0], one[1]), one]));
  const lengths = facts.observations.map((one) => Math.hypot(one[4], one[5])).sort((a, b) => a - b);
  scaleMax = Math.max(4, lengths[Math.floor(lengths.length * 0.97)] ?? 10);
  byId("title").textContent = facts.name;
  document.title = `${facts.name} alignment`;
  byId("problem").hidden = !facts.problem;
  byId("problem").textContent = facts.problem ?? "";
  byId("previous").disabled = !facts.previous;
  byId("next").disabled = !facts.next;
  byId("ranking").replaceChildren(...facts.ranking.map((one) => make("option", { value: one.series, selected: one.series === facts.name }, `${one.series}  ${one.left_out_angstrom.toFixed(1)} Å`)));
  const x = facts.tilts.map((tilt) => tilt.tilt_deg);
  plots.residual.set({ lines: [{ x, y: facts.tilts.map((tilt) => tilt.residual_angstrom ?? NaN) }] });
  const turned = facts.tilts.map((tilt) => {
    const a = (-tilt.axis_deg * Math.PI) / 180;
    return [(tilt.shift[0] * Math.cos(a) - tilt.shift[1] * Math.sin(a)) / 10, (tilt.shift[0] * Math.sin(a) + tilt.shift[1] * Math.cos(a)) / 10];
  });
  plots.shift.set({ lines: [{ x, y: turned.map((one) => one[0]) }, { x, y: turned.map((one) => one[1]), shape: "ring" }] });
  plots.axis.set({ lines: [{ x, y: facts.tilts.map((tilt) => tilt.axis_deg) }] });
  byId("facts").textContent = facts.tracks ? `${facts.tracks.length} tracks in ${facts.tilts.length} tilts, ${facts.n_by_hand} positions by hand` : "";
  says();
}

/** Current and solved numbers, side by side. */
function says(solved = null) {
  const words = { residual_angstrom: "fitted, Å", left_out_angstrom: "left out, Å", axis_deg: "axis, °" };
  if (!solved) now = facts.summary ?? null;
  document.querySelector("#numbers tbody").replaceChildren(...Object.entries(words).map(([name, title]) =>
    make("tr", { "data-name": name }, make("td", {}, title), make("td", { class: "number" }, now ? String(now[name]) : ""), make("td", { class: "number" }, solved ? String(solved[name]) : ""))));
  byId("accept").disabled = !solved || !isOwner;
  byId("revert").disabled = !isOwner || !facts.n_by_hand;
  for (const id of ["accept-arrow", "unseen"]) byId(id).disabled = !isOwner;
}

function drawHere() {
  const one = seen.get(key(at.track, at.tilt));
  const tilt = facts.tilts[at.tilt];
  if (!tilt) return;
  byId("here").textContent = at.track === null ? `tilt ${tilt.tilt_deg}°`
    : one ? `track ${at.track}, tilt ${tilt.tilt_deg}°: residual ${Math.hypot(one[4], one[5]).toFixed(1)} Å${one[6] === null ? "" : `, left out ${one[6].toFixed(1)} Å`}${one[8] ? ", by hand" : ""}${one[7] ? "" : ", an outlier"}`
      : `track ${at.track}, tilt ${tilt.tilt_deg}°: a gap; click the bead`;
  for (const plot of Object.values(plots)) plot.select(at.tilt);
  drawMatrix();
}

/** Height of a track in the matrix: the available height, up to a size that is easy to click. */
const rowHeight = (height) => Math.min(22 * EM, height / facts.tracks.length);

function drawMatrix() {
  if (!facts.tracks) return;
  const ratio = devicePixelRatio || 1;
  const [width, height] = [matrix.clientWidth, matrix.clientHeight];
  matrix.width = width * ratio;
  matrix.height = height * ratio;
  const context = matrix.getContext("2d");
  context.scale(ratio, ratio);
  const [cw, ch] = [width / facts.tilts.length, rowHeight(height)];
  facts.tracks.forEach((track, row) => {
    facts.tilts.forEach((_, column) => {
      const one = seen.get(key(track, column));
      if (!one) return;
      const part = Math.min(1, Math.hypot(one[4], one[5]) / scaleMax) * (CIVIDIS.length - 1);
      const i = Math.min(CIVIDIS.length - 2, Math.floor(part));
      const rgb = CIVIDIS[i].map((v, channel) => Math.round(v + (part - i) * (CIVIDIS[i + 1][channel] - v)));
      context.fillStyle = `rgb(${rgb})`;
      context.fillRect(column * cw + 0.5, row * ch + 0.5, Math.max(1, cw - 1), Math.max(1, ch - 1));
      if (one[8]) {
        context.fillStyle = "#fff";
        context.fillRect(column * cw + cw / 2 - 1.5, row * ch + ch / 2 - 1.5, 3, 3);
      }
    });
    if (track === at.track) {
      context.strokeStyle = "#56b4e9";
      context.lineWidth = 2 * EM;
      context.strokeRect(at.tilt * cw + 1, row * ch + 1, cw - 2, ch - 2);
    }
  });
}

/** Beads, arrows and the predicted path of the current track. */
function layer(context, shown) {
  const tilt = facts.tilts.findIndex((one) => one.section === shown.index);
  if (tilt < 0 || !view.info) return;
  const factor = Number(byId("arrows").value);
  const radius = Math.max(4, (facts.bead_angstrom / size / 2) * shown.zoom);
  for (const one of facts.observations) {
    if (one[1] !== tilt) continue;
    const [x, y] = shown.toScreen(...toPlane([one[2], one[3]]));
    const isHere = one[0] === at.track;
    context.strokeStyle = isHere ? "#56b4e9" : one[8] ? "#f0e442" : one[7] ? "#e69f00" : "#cc79a7";
    context.lineWidth = (isHere ? 2 : 1.2) * EM;
    context.beginPath();
    context.arc(x, y, radius, 0, 6.2832);
    // The arrow points from the tracked position to the position in the solution.
    context.moveTo(x, y);
    context.lineTo(x - (one[4] / size) * shown.zoom * factor, y + (one[5] / size) * shown.zoom * factor);
    context.stroke();
  }
  const path = facts.predicted?.[at.track];
  if (!path) return;
  context.strokeStyle = "rgba(255,255,255,.55)";
  context.setLineDash([3, 4]);
  context.beginPath();
  path.forEach((place) => place && context.lineTo(...shown.toScreen(...toPlane(place))));
  context.stroke();
  context.setLineDash([]);
  if (path[tilt]) {
    const [x, y] = shown.toScreen(...toPlane(path[tilt]));
    context.strokeStyle = "#fff";
    context.strokeRect(x - 3, y - 3, 6, 6);
  }
}

const redraw = () => [view, ...zooms].forEach((one) => one.draw());

function goTilt(tilt) {
  at.tilt = Math.max(0, Math.min(facts.tilts.length - 1, tilt));
  show();
}

function show(centre = false) {
  const tilt = facts.tilts[at.tilt];
  if (!tilt || !view.info) return;
  view.go(tilt.section);
  const place = at.track === null ? null : seen.get(key(at.track, at.tilt))?.slice(2, 4) ?? facts.predicted?.[at.track]?.[at.tilt];
  zooms.forEach((zoom, i) => {
    const near = facts.tilts[at.tilt + i - 1];
    zoom.style.visibility = near ? "" : "hidden";
    if (!near || !zoom.info) return;
    zoom.go(near.section);
    const its = at.track === null ? null : seen.get(key(at.track, at.tilt + i - 1))?.slice(2, 4) ?? facts.predicted?.[at.track]?.[at.tilt + i - 1];
    if (its) zoom.centreOn(...toPlane(its), Math.min(12, zoom.clientWidth / (6 * (facts.bead_angstrom / size))));
  });
  if (place && centre) view.centreOn(...toPlane(place));
  drawHere();
  redraw();
  keepInAddress(`?tilt=${tilt.acquisition_index}${at.track === null ? "" : `&track=${at.track}`}`);
}

/** Go to the next largest residual that was not visited; back with by = -1. */
const trail = [];
function nextWorst(by) {
  if (by < 0) {
    trail.pop();
    const before = trail.at(-1);
    if (before) [at.track, at.tilt] = before;
    return show(true);
  }
  const sorted = [...facts.observations].sort((a, b) => Math.hypot(b[4], b[5]) - Math.hypot(a[4], a[5]));
  const next = sorted.find((one) => !visited.has(key(one[0], one[1])));
  if (!next) return tell("All residuals were looked at.");
  visited.add(key(next[0], next[1]));
  at = { track: next[0], tilt: next[1] };
  trail.push([next[0], next[1]]);
  show(true);
}

/** Go to the next gap: a tilt without a position of a track that is expected in the field. */
function nextGap() {
  const [, ny, nx] = view.info.shape;
  const cells = facts.tracks.flatMap((track) => facts.tilts.map((_, tilt) => [track, tilt]));
  const start = cells.findIndex(([track, tilt]) => track === at.track && tilt === at.tilt);
  for (let n = 1; n <= cells.length; n++) {
    const [track, tilt] = cells[(start + n) % cells.length];
    const expected = facts.predicted[track]?.[tilt];
    if (seen.has(key(track, tilt)) || !expected) continue;
    const [u, v] = toPlane(expected);
    if (u < 2 || v < 2 || u > nx - 2 || v > ny - 2 || visited.has(`gap ${key(track, tilt)}`)) continue;
    visited.add(`gap ${key(track, tilt)}`);
    at = { track, tilt };
    return show(true);
  }
  return tell("There are no more gaps in the field.");
}

async function setPosition(position) {
  if (!isOwner || at.track === null) return;
  const { acquisition_index: acquisition } = facts.tilts[at.tilt];
  const value = position ? { x_angstrom: Number(position[0].toFixed(2)), y_angstrom: Number(position[1].toFixed(2)) } : { x_angstrom: null, y_angstrom: null };
  const done = await attempt(() => decide([{ kind: "track", item: facts.name, target: `${at.track}/${acquisition}`, value }], "", "alignment"));
  if (done) await refresh();
}

function acceptArrow() {
  const one = seen.get(key(at.track, at.tilt));
  if (one) setPosition([one[2] - one[4], one[3] - one[5]]);
}

async function clicked(event, shown, place) {
  if (event.button !== 0 || event.shiftKey || !isOwner) return;
  const here = toAngstrom(place);
  const near = facts.observations.filter((one) => one[1] === at.tilt).map((one) => [Math.hypot(one[2] - here[0], one[3] - here[1]), one]).sort((a, b) => a[0] - b[0])[0];
  if (shown === view && near && near[0] < facts.bead_angstrom && near[1][0] !== at.track) {
    at.track = near[1][0];
    return show();
  }
  if (at.track === null) return;
  const { acquisition_index: acquisition } = facts.tilts[at.tilt];
  const found = await attempt(() => get(`${base}/align/${encodeURIComponent(facts.name)}/centre?acquisition_index=${acquisition}&x=${here[0].toFixed(2)}&y=${here[1].toFixed(2)}`));
  if (found) await setPosition([found.x_angstrom, found.y_angstrom]);
}

const refresh = follow(async () => {
  const name = facts.name;
  const next = await get(`${base}/align/${encodeURIComponent(name)}/facts.json`).catch(() => null);
  if (!next || name !== facts.name) return;
  take(next);
  show();
}, ["decided"]); // not at every change of the project, because a new solution would replace the compared one

async function solveAgain() {
  const before = facts.summary;
  const next = await attempt(() => get(`${base}/align/${encodeURIComponent(facts.name)}/facts.json?again=true&rotation_per_tilt=${byId("free").checked}`));
  if (!next || next.problem) return;
  take(next);
  now = before;
  says(next.summary);
  show();
}

async function acceptSolution() {
  const job = await attempt(() => sendInOrder(`${base}/align/${encodeURIComponent(facts.name)}/accept`, { axis: byId("free").checked ? "per_view" : "one" }));
  if (job) byId("job").textContent = `started: ${job.command}`;
}

async function revert() {
  const changes = facts.observations.filter((one) => one[8]).map((one) => ({ kind: "track", item: facts.name, target: `${one[0]}/${facts.tilts[one[1]].acquisition_index}`, value: null }));
  if (changes.length && (await attempt(() => decide(changes, "", "alignment")))) await refresh();
}

const open = (name) => location.assign(`${base}/align/${encodeURIComponent(name)}`);

for (const shown of [view, ...zooms]) {
  shown.layers.push(layer);
  shown.tool = { down: (event, place) => {
    const i = zooms.indexOf(shown);
    if (i >= 0 && i !== 1) return false;
    clicked(event, shown, place);
    return false;
  } };
}
view.addEventListener("index", (event) => {
  const i = facts.tilts.findIndex((tilt) => tilt.section === event.detail);
  if (i >= 0 && i !== at.tilt) goTilt(i);
});
matrix.addEventListener("click", (event) => {
  const box = matrix.getBoundingClientRect();
  const tilt = Math.floor(((event.clientX - box.left) / box.width) * facts.tilts.length);
  const row = Math.floor((event.clientY - box.top) / rowHeight(box.height));
  if (row >= facts.tracks.length) return;
  at = { track: facts.tracks[row], tilt };
  show(true);
});
new ResizeObserver(drawMatrix).observe(matrix);
byId("arrows").addEventListener("input", () => {
  byId("arrows-says").textContent = byId("arrows").value;
  redraw();
});
byId("ranking").addEventListener("change", (event) => open(event.target.value));
byId("previous").addEventListener("click", () => open(facts.previous));
byId("next").addEventListener("click", () => open(facts.next));
byId("worst").addEventListener("click", () => nextWorst(1));
byId("gap").addEventListener("click", nextGap);
byId("accept-arrow").addEventListener("click", acceptArrow);
byId("unseen").addEventListener("click", () => setPosition(null));
byId("solve").addEventListener("click", solveAgain);
byId("accept").addEventListener("click", acceptSolution);
byId("revert").addEventListener("click", revert);
const whenShown = (run) => () => (view.info ? run() : false);
addKeys([
  ...viewKeys(view, slider),
  { key: "]", does: "next series", run: () => facts.next && open(facts.next) },
  { key: "[", does: "previous series", run: () => facts.previous && open(facts.previous) },
  { key: "'", does: "next largest residual", run: whenShown(() => void nextWorst(1)) },
  { key: '"', does: "back to the one before", run: whenShown(() => void nextWorst(-1)) },
  { key: ";", does: "move it by its residual", run: acceptArrow },
  { key: " ", does: "next gap", run: whenShown(() => void nextGap()) },
  { key: "n", does: "not visible here", run: () => void setPosition(null) },
  { key: "Delete", does: "not visible here", run: () => void setPosition(null) },
  { key: "Enter", does: "solve again", run: () => void solveAgain() },
]);
take(facts);
if (facts.images && facts.tilts.length) {
  const address = new URLSearchParams(location.search);
  const tilt = facts.tilts.findIndex((one) => String(one.acquisition_index) === address.get("tilt"));
  at.tilt = tilt >= 0 ? tilt : Math.floor(facts.tilts.length / 2);
  if (address.has("track")) at.track = Number(address.get("track"));
  const index = facts.tilts[at.tilt].section;
  await view.open(facts.images, { index });
  size = view.info?.pixel_size_angstrom || 1;
  await Promise.all(zooms.map((one) => one.open(facts.images, { index })));
  slider.attach(view, ...zooms);
  show();
  view.focus();
}
