/** An average: three slices, FSC, surface. */

import { addKeys, attempt, base, get, make, pageData, send, sentence, tell } from "../app.js";
import { AveragePasses, sectionOf } from "./average-passes.js";
import { ClassViews } from "./class-views.js";
import { Plot } from "../plot.js";
import "../pictures/slice-view.js";
import "../pictures/surface-view.js";
import "../pictures/window-slider.js";
import { viewKeys } from "../pictures/view-keys.js";

const facts = pageData();
const byId = (id) => document.getElementById(id);
const views = [["xy", "z"], ["xz", "y"], ["yz", "x"]].map(([id, axis]) => Object.assign(byId(id), { axis }));
let active = views[0];
let shown = 0;

byId("all").append(...facts.all.map((one) => make("option", { value: String(one.item), selected: one.item === facts.item }, one.title)));
byId("all").addEventListener("change", (event) => location.assign(`${base}/average/${event.target.value}`));
byId("facts").textContent = [
  facts.symmetry,
  facts.n_particles !== null ? `${facts.n_particles.toLocaleString("en")} particles` : null,
  facts.resolution_angstrom !== null ? `${facts.resolution_angstrom.toFixed(1)} Å (FSC 0.143)` : "no resolution is given",
].filter(Boolean).join(", ");
byId("facts").title = byId("facts").textContent;
byId("doubt").hidden = !facts.why_no_resolution;
byId("doubt").textContent = sentence(facts.why_no_resolution);

const MOST_LEVEL = 65; // chosen: per cent of the box in the first surface, so that a map that fills its box is shown as well
const x1 = 1 / (2 * facts.voxel_size_angstrom);
/** Curves of the average, with thin curves of all passes behind them; the selected one is thick. */
const curves = (chosen = -1) => [
  ...facts.curves.map((one, i) => ({ x: one.x, y: one.y, shape: "line", width: i ? 1.2 : 2, dash: i ? "5 3" : "none" })),
  ...facts.passes.map((one, i) => ({ x: one.x, y: one.y, shape: "line", width: i === chosen ? 2.4 : 0.8, colour: i === chosen ? "#f0e442" : "#5f6670" })),
];
const fsc = new Plot(byId("fsc"), {
  title: facts.curves.length ? `FSC: ${facts.curves.map((one) => one.name).join(", ")}${facts.passes.length ? "; thin: after each pass" : ""}` : "FSC not computed",
  xTitle: `spatial frequency, 1/Å (Nyquist ${(1 / x1).toFixed(1)} Å)`,
  lines: curves(),
  yRange: [-0.1, 1.05],
  limits: [{ y: 0.143 }, { y: 0.5 }],
  pointTitle: (i) => (facts.curves.length ? `${(1 / facts.curves[0].x[i]).toFixed(1)} Å: ${facts.curves.map((one) => one.y[i]?.toFixed(3)).join(" / ")}` : ""),
});
fsc.draw();

byId("classes").hidden = !facts.classes.length;
byId("classes").append(make("span", { class: "quiet" }, "classes"), ...facts.classes.map((one) => make("a", { class: "button", role: "button", href: `${base}/average/${one.item}`, "aria-pressed": String(one.item === facts.item), title: `${one.n ?? "?"} particles (c: next class)` }, `${one.title}${one.percent === null ? "" : ` ${one.percent} %`}`)));

// Without a curve its place is used for the passes.
const hasCurve = facts.curves.length > 0 || facts.passes.length > 0;
if (!hasCurve && facts.iterations.length) byId("fsc").replaceWith(Object.assign(byId("iterations"), { className: "in-place" }));
const passes = new AveragePasses({ tabs: byId("passes"), plot: byId("iterations"), says: byId("iteration-says"), tabSays: make("span", { class: "quiet", id: "pass-says" }) }, facts.iterations, facts.passes, (pass, sections) => {
  if (hasCurve) fsc.set({ lines: curves(pass) });
  views.forEach((view, at) => {
    view.querySelector(".pass-picture")?.remove();
    if (sections) view.append(sectionOf(sections, at, pass));
  });
});

/** A record of the step as rows of named values. */
function tableOf({ title, rows }) {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cell = (value) => (Number.isFinite(value) ? String(Number(value.toPrecision(4))) : value === null || value === undefined ? "" : Array.isArray(value) ? value.join(", ") : String(value));
  return make("details", { class: "record" }, make("summary", {}, `${title} (${rows.length})`), make("div", { class: "scroll" }, make("table", { class: "data" }, make("thead", {}, make("tr", {}, ...names.map((name) => make("th", {}, name.replaceAll("_", " "))))), make("tbody", {}, ...rows.map((row) => make("tr", {}, ...names.map((name) => make("td", { class: Number.isFinite(row[name]) ? "number" : "" }, cell(row[name])))))))));
}
byId("records").append(...facts.tables.map(tableOf));

// Classes side by side
const classViews = new ClassViews(byId("beside"), facts.classes, byId("window"));
async function sideBySide() {
  if (!facts.classes.length) return false;
  const on = !classViews.isShown;
  byId("side-by-side").setAttribute("aria-pressed", String(on));
  for (const view of views) view.hidden = on;
  await classViews.show(on, views[0].index);
  active = on ? classViews.first : views[0];
  if (!on) byId("window").attach(...views);
  return true;
}
if (facts.classes.length) byId("classes").append(make("button", { id: "side-by-side", "aria-pressed": "false", title: "The same section of all classes (v)", onclick: () => void sideBySide() }, "side by side"));

const rows = [["voxel size", `${facts.voxel_size_angstrom} Å`], ["FSC below 0.143 at", facts.crossing_angstrom === null ? "nowhere" : `${facts.crossing_angstrom} Å`], ...Object.entries(facts.figures).map(([name, value]) => [name.replaceAll("_", " "), Number.isFinite(value) ? String(Number(value.toPrecision(4))) : "not measured"])];
document.querySelector("#figures tbody").append(...rows.map(([title, value]) => make("tr", {}, make("td", {}, title), make("td", { class: "number" }, value))));
byId("others").textContent = `chimerax ${facts.path}/${facts.name}/*.mrc\n3dmod ${facts.path}/${facts.name}/map.mrc`;

async function show(i) {
  const map = facts.maps[i];
  if (!map) return;
  shown = i;
  [...byId("maps").children].forEach((button, at) => button.setAttribute("aria-pressed", String(at === i)));
  const opened = await Promise.all(views.map((view) => view.open(map.base, { keep: true })));
  if (!opened[0]) return;
  byId("window").attach(...views);
  const role = map.base.split("/").at(-1);
  const response = await fetch(`${base}/average/${facts.item}/${role}/volume.u8`);
  if (!response.ok) return tell((await response.json()).error, true);
  const surface = byId("surface");
  const bytes = new Uint8Array(await response.arrayBuffer());
  surface.set(bytes, response.headers.get("x-shape").split(",").map(Number));
  if (i === 0 && !surface.isSet) {
    // Three standard deviations above the mean: most of a particle's density, and no noise around it.
    let [sum, squares] = [0, 0];
    for (const value of bytes) {
      sum += value;
      squares += value * value;
    }
    const mean = sum / bytes.length;
    byId("level").value = String(Math.max(1, Math.min(MOST_LEVEL, Math.round((100 * (mean + 3 * Math.sqrt(Math.max(squares / bytes.length - mean * mean, 1)))) / 255))));
    surface.isSet = true;
  }
  level();
}

function level() {
  byId("level-says").textContent = `${byId("level").value} %`;
  const eight = (Number(byId("level").value) * 255) / 100;
  byId("surface").setLevel(eight);
  const role = facts.maps[shown]?.base.split("/").at(-1);
  for (const [id, kind] of [["to-gltf", "glb"], ["to-chimerax", "cxc"]]) byId(id).href = `${base}/average/${facts.item}/${role}/surface.${kind}?level=${eight.toFixed(1)}`;
}

byId("export")?.addEventListener("change", async ({ target }) => {
  if (!target.value) return;
  const job = await attempt(() => send(`${base}/export`, { format: target.value }));
  if (job) tell(`Started: the results are written into ${job.to}.`);
  target.value = "";
});
byId("level").addEventListener("input", level);
byId("maps").append(...facts.maps.map((map, i) => make("button", { title: `${map.title} (${i + 1})`, onclick: () => show(i) }, map.title)));
for (const view of views) view.addEventListener("pointerdown", () => (active = view));
addKeys([
  ...viewKeys({ step: (by) => active.step(by), go: (i) => active.go(i), zoomBy: (f) => active.zoomBy(f), fit: () => views.forEach((view) => view.fit()), requestFullscreen: () => active.requestFullscreen(), get info() { return active.info; }, get axis() { return active.axis; } }, byId("window")),
  ...facts.maps.map((map, i) => ({ key: String(i + 1), does: map.title, run: () => void show(i) })),
  { key: "c", does: "next class", run: () => (facts.classes.length ? location.assign(`${base}/average/${facts.classes[(facts.classes.findIndex((one) => one.item === facts.item) + 1) % facts.classes.length].item}`) : false) },
  { key: "v", does: facts.classes.length ? "classes side by side" : null, run: () => (facts.classes.length ? void sideBySide() : false) },
  { key: ".", does: "next pass", run: () => (byId("passes").hidden ? false : passes.step(1)) },
  { key: ",", does: "previous pass", run: () => (byId("passes").hidden ? false : passes.step(-1)) },
  { key: "H", does: "between the halves", run: () => void show(shown === 1 ? 2 : 1) },
]);
/** Directions of the reference's z axes in the tomograms, as an equal-area Mollweide map. */
async function showParticles() {
  const found = await get(`${base}/average/${facts.item}/particles.json`).catch(() => null);
  if (!found?.n) {
    byId("sphere").hidden = true;
    byId("angles-says").textContent = "Its particles are not in this project.";
    return;
  }
  const canvas = byId("sphere");
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const [nz, na] = [found.directions.length, found.directions[0].length];
  const most = Math.max(2, ...found.directions.flat());
  for (let py = 0; py < canvas.height; py++) {
    for (let px = 0; px < canvas.width; px++) {
      // Snyder, Map projections (1987), 31-7: latitude from the auxiliary angle, longitude scaled by its cosine.
      const [x, y] = [(2 * (px + 0.5)) / canvas.width - 1, 1 - (2 * (py + 0.5)) / canvas.height];
      const theta = Math.asin(y);
      const turn = x / Math.cos(theta);
      if (Math.abs(turn) > 1) continue;
      const z = (2 * theta + Math.sin(2 * theta)) / Math.PI;
      const value = found.directions[Math.min(nz - 1, Math.floor(((z + 1) / 2) * nz))][Math.min(na - 1, Math.floor(((turn + 1) / 2) * na))];
      const part = Math.log1p(value) / Math.log1p(most);
      image.data.set([0, 34, 78].map((from, i) => from + part * ([254, 232, 56][i] - from)).concat(255), 4 * (py * canvas.width + px));
    }
  }
  context.putImageData(image, 0, 0);
  const empty = found.directions.flat().filter((value) => value === 0).length / (nz * na);
  byId("angles-says").textContent = `z axes of ${found.n.toLocaleString("en")} particles in the tomograms; most crowded ${most.toFixed(1)} times even, ${(100 * empty).toFixed(0)} % of directions without any`;
  if (found.scores) {
    const { edges, n } = found.scores;
    new Plot(byId("scores"), { title: "scores", lines: [{ x: n.map((_, i) => (edges[i] + edges[i + 1]) / 2), y: n, shape: "steps" }], zero: true }).draw();
  }
  byId("by-series").replaceChildren(...found.series.map(([name, n]) => make("p", { class: "row tight" }, make("a", { href: `${base}/tomo/${encodeURIComponent(name)}?particles=${found.item}`, title: "These particles on their tomogram" }, name), make("span", { class: "quiet" }, String(n)))));
}

showParticles();
await show(0);
