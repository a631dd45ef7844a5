/** CTF: small multiples of all series, worst fit first; one series with points, model, profile and rings. */

import { addKeys, attempt, base, counted, follow, get, keepInAddress, make, pageData, sendInOrder, tell } from "../app.js";
import { Plot } from "../plot.js";
import { PolarPlot } from "../polar-plot.js";
import { decideTilts, withDecisions } from "./tilt-decisions.js";

const byId = (id) => document.getElementById(id);
const isOwner = document.body.dataset.role === "owner";
const address = new URLSearchParams(location.search);
let { grid, reasons } = pageData();
let facts = null;
let rows = [];
let at = 0;
let chosen = [];
const WAIT_MS = 2000; // while tilts are still being read
let waitTimer = 0;
let nAsked = 0;

const mark = (i) => (rows[i].excluded ? "excluded" : rows[i].flag?.reason === 5 ? "flagged" : "");
const big = { lines: [], mark, onPick: (i) => go(i), onSelect: (found) => ((chosen = found), says()), xTitle: "tilt, °" };
const defocus = new Plot(byId("defocus"), { ...big, title: "defocus, µm: U dots, V rings, mean and its error (drag selects)", help: "Underfocus along the two principal directions, and their mean with its standard deviation as a band; tilts without a fit, or far from all others, stand in the lane under the axis and do not widen it" });
const resolution = new Plot(byId("resolution"), { ...big, title: "CTF fit, Å", help: "Finest detail that the CTF fits; small is good, and above", isInverted: true });
const astigmatism = new PolarPlot(byId("astigmatism"), { title: "astigmatism", unit: "nm", mark, onPick: (i) => go(i), help: "U less V, at the angle of U; a good series lies in one spot. Both ends of a direction are the same" });
const phase = new Plot(byId("phase"), { ...big, title: "phase shift, °", help: "Phase shift of a phase plate" });
const profile = new Plot(byId("profile"), { title: "spectrum and model", xTitle: "spatial frequency, 1/Å", lines: [] });
const background = new Plot(byId("background"), { title: "background", xTitle: "spatial frequency, 1/Å", lines: [] });

function drawGrid() {
  byId("grid").replaceChildren(...grid.curves.map((one) => {
    const canvas = make("canvas", { width: "316", height: "84" });
    small(canvas, one);
    return make("button", { role: "option", "data-series": one.series, "aria-selected": String(one.series === facts?.name), title: one.series, onclick: () => open(one.series) },
      make("span", { class: one.worst ? "name sign flagged" : "name" }, one.series), canvas);
  }));
  const more = grid.n_found > grid.curves.length ? `; the first ${grid.curves.length} of ${grid.n_found.toLocaleString("en")} are shown` : "";
  const waiting = grid.n_waiting ? `; ${grid.n_waiting.toLocaleString("en")} are still being read` : "";
  byId("facts").textContent = `${counted(grid.n, "series", "series")}, ${grid.n_doubtful} with doubtful fits${more}${waiting}`;
  clearTimeout(waitTimer);
  if (grid.n_waiting) waitTimer = setTimeout(readGrid, WAIT_MS);
}

function markSelected() {
  for (const one of byId("grid").children) one.setAttribute("aria-selected", String(one.dataset.series === facts?.name));
}

/** The sorted and filtered curves of the grid. */
async function readGrid() {
  const mine = ++nAsked;
  const asked = new URLSearchParams({ order: byId("sort").value, q: byId("filter").value.trim() });
  const found = await get(`${base}/ctf/grid.json?${asked}`).catch(() => null);
  if (!found || mine !== nAsked) return;
  grid = found;
  drawGrid();
  if (!facts && grid.curves.length) await open(grid.curves[0].series); // the first readable series
}

/** Defocus over tilt; values far from the median do not widen the axis. */
function small(canvas, { tilt_deg: x, defocus_um: y, state }) {
  const context = canvas.getContext("2d");
  const sorted = [...y].sort((a, b) => a - b);
  const middle = sorted[Math.floor(sorted.length / 2)] ?? 0;
  const [x0, x1] = [Math.min(...x), Math.max(...x)];
  x.forEach((tilt, i) => {
    const px = 8 + ((tilt - x0) / (x1 - x0 || 1)) * 300;
    const py = 43 - Math.max(-34, Math.min(34, ((y[i] - middle) / 0.6) * 34)); // values outside the range are drawn at the edge
    context.fillStyle = { excluded: "#cc79a7", flagged: "#e69f00" }[state[i]] ?? "#56b4e9";
    context.beginPath();
    if (state[i] === "flagged") {
      context.moveTo(px, py - 8);
      context.lineTo(px + 8, py + 6);
      context.lineTo(px - 8, py + 6);
    } else context.arc(px, py, 4, 0, 6.2832);
    context.fill();
  });
}

const numbers = (name, scale = 1) => rows.map((row) => (row[name] ?? NaN) * scale);

let nOpened = 0;
async function open(name) {
  const [mine, asked] = [++nOpened, performance.now()];
  const next = await attempt(() => get(`${base}/ctf/${encodeURIComponent(name)}/facts.json`));
  if (!next || mine !== nOpened) return; // another one was requested in the meantime
  const selected = facts?.name === name ? chosen.map((i) => rows[i].acquisition_index) : [];
  const here = facts?.name === name ? rows[at]?.acquisition_index : Number(address.get("tilt") ?? NaN);
  facts = next;
  rows = withDecisions(name, facts.rows, asked);
  address.set("series", name);
  chosen = selected.map((index) => rows.findIndex((row) => row.acquisition_index === index)).filter((i) => i >= 0);
  for (const plot of [defocus, resolution, phase]) plot.chosen = new Set(chosen);
  byId("title").textContent = name;
  byId("hand").textContent = Number.isFinite(facts.handedness) ? `hand ${facts.handedness > 0 ? "+1" : "-1"}${Number.isFinite(facts.handedness_gain_nats) ? `, evidence ${facts.handedness_gain_nats.toFixed(0)} nats (20 are asked for)` : ""}` : "";
  byId("refit").href = `${base}/new?step=estimate_ctf${facts.run ? `&like=${facts.run}` : ""}`;
  const x = numbers("tilt_deg");
  const [u, v] = [numbers("defocus_u_angstrom", 1e-4), numbers("defocus_v_angstrom", 1e-4)];
  const sorted = [...u, ...v].filter(Number.isFinite).sort((a, b) => a - b);
  const [q1, q3] = [0.1, 0.9].map((q) => sorted[Math.floor(q * (sorted.length - 1))]);
  const pad = Math.max(0.1, 0.8 * (q3 - q1));
  const yRange = sorted.length ? [q1 - pad, q3 + pad] : null;
  const isFar = (value) => !Number.isFinite(value) || value < yRange[0] || value > yRange[1];
  const mean = u.map((value, i) => (value + v[i]) / 2);
  const lane = { title: "no fit", has: (i) => !yRange || isFar(u[i]) || isFar(v[i]) };
  const curve = mean.map((value, i) => (lane.has(i) ? NaN : value));
  defocus.set({
    lines: [{ x, y: u, label: "U" }, { x, y: v, label: "V", shape: "ring" }, { x, y: mean, half: numbers("defocus_sd_angstrom", 1e-4), shape: "band", colour: "#009e73" }, { x, y: curve, shape: "line", dash: "5 3", colour: "#009e73" }],
    yRange, lane, pointTitle: (i) => (Number.isFinite(u[i]) ? `U ${u[i].toFixed(3)}  V ${v[i].toFixed(3)}${rows[i].ctf_is_predicted ? ", predicted" : ""}` : "no CTF"),
  });
  const fitted = numbers("fit_resolution_angstrom");
  resolution.set({ lines: [{ x, y: fitted }], lane: { title: "no fit", has: (i) => !Number.isFinite(fitted[i]) } });
  astigmatism.set(u.map((value, i) => 1e3 * (value - v[i])), numbers("astigmatism_angle_deg"));
  const phases = numbers("phase_shift_deg");
  byId("phase").hidden = !phases.some((value) => value > 0);
  phase.set({ lines: [{ x, y: phases }] });
  const flagged = rows.findIndex((row) => row.flag?.reason === 5 && !row.excluded);
  const wanted = rows.findIndex((row) => row.acquisition_index === here);
  go(wanted >= 0 ? wanted : Math.max(0, flagged));
  markSelected();
}

function go(i) {
  if (!rows.length) return;
  at = Math.max(0, Math.min(rows.length - 1, i));
  const row = rows[at];
  address.set("tilt", String(row.acquisition_index));
  keepInAddress(address);
  defocus.select(at);
  for (const plot of [resolution, astigmatism, phase]) plot.select(at);
  const curve = facts.curves[row.acquisition_index];
  if (curve) {
    const x = curve.frequency_per_angstrom;
    profile.set({ title: `tilt ${row.tilt_deg.toFixed(1)}°: spectrum (blue), model (orange)`, lines: [{ x, y: curve.spectrum, shape: "line" }, { x, y: curve.model, shape: "line", dash: "5 3" }] });
    background.set({ lines: curve.background ? [{ x, y: curve.background, shape: "line", colour: "#a3abb6" }] : [] });
  } else {
    profile.set({ title: "spectrum: not recorded for this tilt", lines: [] });
    background.set({ lines: [] });
  }
  rings(curve, row);
  says();
}

/** Left half: the measured profile, rotated; right half: the model with its astigmatism. */
function rings(curve, row) {
  const canvas = byId("rings");
  const context = canvas.getContext("2d");
  const n = canvas.width;
  const image = context.createImageData(n, n);
  if (curve) {
    const top = curve.frequency_per_angstrom.at(-1);
    const step = curve.frequency_per_angstrom[1] - curve.frequency_per_angstrom[0];
    const first = curve.frequency_per_angstrom[0];
    const mean = (row.defocus_u_angstrom + row.defocus_v_angstrom) / 2;
    const half = (row.defocus_u_angstrom - row.defocus_v_angstrom) / 2;
    const axis = ((row.astigmatism_angle_deg ?? 0) * Math.PI) / 180;
    // One grey range for both halves, which contains most of their values.
    const sorted = [...curve.spectrum, ...curve.model].filter(Number.isFinite).sort((a, b) => a - b);
    const [low, high] = [0.03, 0.97].map((part) => sorted[Math.floor(part * (sorted.length - 1))]);
    for (let y = 0; y < n; y++) {
      for (let x = 0; x < n; x++) {
        const [dx, dy] = [x - n / 2 + 0.5, n / 2 - 0.5 - y];
        let frequency = (Math.hypot(dx, dy) / (n / 2)) * top;
        // Each direction has rings of its own defocus; they depend on q^2 defocus.
        const defocusHere = mean + half * Math.cos(2 * (Math.atan2(dy, dx) - axis));
        frequency *= Math.sqrt(Math.max(defocusHere, 1) / Math.max(mean, 1));
        const place = (frequency - first) / step;
        const i = Math.floor(place);
        const values = dx < 0 ? curve.spectrum : curve.model;
        const value = i >= 0 && i + 1 < values.length ? values[i] + (place - i) * (values[i + 1] - values[i]) : null;
        const grey = value === null ? 0 : Math.max(0, Math.min(255, (255 * (value - low)) / Math.max(high - low, 1e-12)));
        image.data.set([grey, grey, grey, 255], 4 * (y * n + x));
      }
    }
  }
  context.putImageData(image, 0, 0);
}

function says() {
  const n = chosen.length || 1;
  const picked = selected();
  const words = { near: "is fitted where the others expect it", predict: "is predicted from the others: its fit is rejected" };
  const row = rows[at];
  const how = row && facts.choices[row.acquisition_index];
  byId("choice").textContent = row ? `tilt ${row.tilt_deg.toFixed(1)}°: ${!Number.isFinite(row.defocus_u_angstrom) ? "no CTF" : row.ctf_is_predicted ? "the CTF is predicted" : `fits to ${row.fit_resolution_angstrom?.toFixed(1) ?? "?"} Å`}${how ? `; by decision it ${words[how]}` : ""}` : "";
  byId("command").textContent = picked.length ? `cryoloom run estimate_ctf --project . ${facts.run ? `--like ${facts.run} ` : ""}--item '${facts.name.replaceAll("'", "'\\''")}' --set 'predict_tilts=[${picked.map((one) => one.acquisition_index)}]'` : "";
  for (const id of ["exclude", "keep", "near", "predict"]) byId(id).disabled = !isOwner || !rows.length;
  byId("exclude").title = `Leave ${n} tilt${n > 1 ? "s" : ""} out (x)`;
}

/** Rows of the selected points, otherwise of the current one. */
const selected = () => (chosen.length ? chosen.map((i) => rows[i]) : rows[at] ? [rows[at]] : []);

/** Fit the selected tilts again near the others, reject their fits, or restore their own fits. */
async function fitAgain(how) {
  const picked = selected();
  if (!isOwner || !picked.length) return;
  const isSo = picked.every((row) => facts.choices[row.acquisition_index] === how);
  const tilts = picked.map((row) => row.acquisition_index);
  const job = await attempt(() => sendInOrder(`${base}/ctf/${encodeURIComponent(facts.name)}/fit`, { tilts, how: isSo ? "own" : how }));
  if (!job) return;
  tell(`Started: ${job.command}`);
  await refresh();
}

async function decide(keep) {
  if (!isOwner || !rows.length) return;
  const picked = selected();
  await decideTilts(facts.name, picked, keep, keep ? "kept on the CTF page" : reasons[5], "ctf", () => {
    for (const plot of [defocus, resolution, astigmatism, phase]) plot.draw();
  });
}

const refresh = follow(async () => {
  await readGrid();
  if (facts) await open(facts.name);
});

const stepSeries = (by) => {
  const names = [...byId("grid").children].map((one) => one.dataset.series);
  const next = names[names.indexOf(facts?.name) + by];
  if (next) open(next);
};

byId("exclude").addEventListener("click", () => decide(false));
byId("keep").addEventListener("click", () => decide(true));
byId("near").addEventListener("click", () => fitAgain("near"));
byId("predict").addEventListener("click", () => fitAgain("predict"));
byId("sort").addEventListener("change", readGrid);
byId("filter").addEventListener("input", readGrid);
addKeys([
  { key: "ArrowRight", does: "next tilt", run: () => go(at + 1) },
  { key: "ArrowLeft", does: "previous tilt", run: () => go(at - 1) },
  { key: "]", does: "next series", run: () => stepSeries(1) },
  { key: "[", does: "previous series", run: () => stepSeries(-1) },
  { key: "x", does: "leave the selected tilts out", run: () => void decide(false) },
  { key: "c", does: "keep the selected tilts", run: () => void decide(true) },
  { key: " ", does: "leave out or keep", run: () => void decide(Boolean(rows[at]?.excluded)) },
  { key: "r", does: "fit the selected tilts again near the others", run: () => void fitAgain("near") },
  { key: "R", does: "reject their fits, keep their images", run: () => void fitAgain("predict") },
]);
drawGrid();
if (address.get("series")) await open(address.get("series"));
if (!facts && grid.curves.length) await open(grid.curves[0].series); // also if the series of the address does not exist
