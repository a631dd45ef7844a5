/** An average: three slices, FSC, surface. */

import { addKeys, base, make, pageData, tell } from "./app.js";
import { Plot } from "./plot.js";
import "./slice-view.js";
import "./surface-view.js";
import "./window-slider.js";
import { viewKeys } from "./view-keys.js";

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
  facts.resolution_angstrom !== null ? `${facts.resolution_angstrom.toFixed(1)} Å (FSC 0.143)` : facts.resolution_note || "resolution not known",
].filter(Boolean).join(", ");

const x1 = 1 / (2 * facts.voxel_size_angstrom);
const fsc = new Plot(byId("fsc"), {
  title: facts.curves.length ? `FSC: ${facts.curves.map((one) => one.name).join(", ")}` : "FSC not computed",
  xTitle: `spatial frequency, 1/Å (Nyquist ${(1 / x1).toFixed(1)} Å)`,
  lines: facts.curves.map((one, i) => ({ x: one.x, y: one.y, shape: "line", width: i ? 1.2 : 2, dash: i ? "5 3" : "none" })),
  yRange: [-0.1, 1.05],
  limits: [{ y: 0.143 }, { y: 0.5 }],
  pointTitle: (i) => (facts.curves.length ? `${(1 / facts.curves[0].x[i]).toFixed(1)} Å: ${facts.curves.map((one) => one.y[i]?.toFixed(3)).join(" / ")}` : ""),
});
fsc.draw();

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
    // Mean and 3 deviations: most of a particle's density, none of the noise around it.
    let [sum, squares] = [0, 0];
    for (const value of bytes) {
      sum += value;
      squares += value * value;
    }
    const mean = sum / bytes.length;
    byId("level").value = String(Math.max(1, Math.min(99, Math.round((100 * (mean + 3 * Math.sqrt(Math.max(squares / bytes.length - mean * mean, 1)))) / 255))));
    surface.isSet = true;
  }
  level();
}

function level() {
  byId("level-says").textContent = `${byId("level").value} %`;
  byId("surface").setLevel((Number(byId("level").value) * 255) / 100);
}

byId("level").addEventListener("input", level);
byId("maps").append(...facts.maps.map((map, i) => make("button", { title: `${map.title} (${i + 1})`, onclick: () => show(i) }, map.title)));
for (const view of views) view.addEventListener("pointerdown", () => (active = view));
addKeys([
  ...viewKeys({ step: (by) => active.step(by), go: (i) => active.go(i), zoomBy: (f) => active.zoomBy(f), fit: () => views.forEach((view) => view.fit()), requestFullscreen: () => active.requestFullscreen(), get info() { return active.info; }, get axis() { return active.axis; } }, byId("window")),
  ...facts.maps.map((map, i) => ({ key: String(i + 1), does: map.title, run: () => void show(i) })),
  { key: "H", does: "between the halves", run: () => void show(shown === 1 ? 2 : 1) },
]);
await show(0);
