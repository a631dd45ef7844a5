/** A tomogram: three linked slices, variants, the slab, picks and their models. */

import { addKeys, attempt, base, follow, get, keepInAddress, make, pageData, send, sendInOrder, tell } from "../app.js";
import { decide as record, notYetIn } from "../decisions.js";
import "../pictures/oblique-view.js";
import { SliceOverlay } from "../pictures/slice-overlay.js";
import { EM } from "../pictures/slice-view.js";
import "../pictures/window-slider.js";
import { drawModels, drawOnOblique, drawPicks, drawSlab, inPlane, sameOrNew } from "./tomogram-layers.js";
import { ParticleLayer } from "./tomogram-particles.js";
import { viewKeys } from "../pictures/view-keys.js";

const byId = (id) => document.getElementById(id);
const isOwner = document.body.dataset.role === "owner";
const views = { z: byId("xy"), x: byId("yz"), y: byId("xz") };
const all = Object.values(views);
const oblique = byId("oblique");
const slider = byId("window");
const address = new URLSearchParams(location.search);
const scene = { at: [0, 0, 0], size: 1, shape: [1, 1, 1], picks: {}, models: [], slab: null, draft: null };
let facts = pageData();
let variant = 0;
let lastVariant = 1; // the one shown before, for the key that returns to it
let beside = null; // a variant shown beside the other, instead of YZ
let tool = "select";
let inwards = false;
let placing = 0;
let active = views.z;
const places = new Map(); // model id -> {places, normals, size}

for (const [axis, view] of Object.entries(views)) {
  view.axis = axis;
  view.layers.push((context, shown) => drawSlab(context, shown, scene), (context, shown) => drawModels(context, shown, scene, places), (context, shown) => drawPicks(context, shown, scene), (context, shown) => particles.draw(context, shown), crosshair);
}

/** xyz in angstrom from the centre, of continuous voxel coordinates x, y, z; and back. */
const toAngstrom = (at) => at.map((v, i) => (v - Math.floor(scene.shape[2 - i] / 2) - 0.5) * scene.size);
const toVoxel = (at) => at.map((v, i) => v / scene.size + Math.floor(scene.shape[2 - i] / 2) + 0.5);
scene.toVoxel = toVoxel;

function crosshair(context, view) {
  const [u, v] = view.toScreen(...inPlane(view.axis, scene.at));
  context.strokeStyle = "rgba(86,180,233,.75)";
  context.lineWidth = 1 * EM;
  for (const [dx, dy] of [[1, 0], [0, 1]]) {
    context.beginPath();
    for (const sign of [-1, 1]) {
      context.moveTo(u + sign * dx * 8, v + sign * dy * 8);
      context.lineTo(u + sign * dx * 26, v + sign * dy * 26);
    }
    context.stroke();
  }
}

const overlay = new SliceOverlay(() => all.forEach((view) => view.draw()));
for (const view of all) view.overlays.push(overlay);

const redraw = () => [...all, oblique].forEach((view) => view.draw());
const particles = new ParticleLayer(byId("particles"), scene, redraw);

/** Go to a position in voxels x, y, z; every view shows the slice through it. */
function goTo(at) {
  scene.at = at.map((v, i) => Math.max(0.5, Math.min(scene.shape[2 - i] - 0.5, v)));
  for (const view of all) view.go(Math.floor(scene.at[{ x: 0, y: 1, z: 2 }[view.axis]]));
  oblique.at = scene.at;
  oblique.refresh();
  address.set("at", scene.at.map((v) => v.toFixed(1)).join(","));
  keepInAddress(address);
  redraw();
}

/** Voxel coordinates x, y, z of a position in a view's plane, in its slice. */
function voxelOf(view, [u, v]) {
  const n = view.index + 0.5;
  return { z: [u, v, n], y: [u, n, v], x: [n, v, u] }[view.axis];
}

/** Volumes that can be shown over the current one; first those that were drawn by a step, such as an average at its particles. */
function offerOverlays() {
  const others = facts.variants.filter((_, i) => i !== variant).sort((a, b) => b.is_drawn - a.is_drawn);
  byId("over").replaceChildren(make("option", { value: "" }, "nothing"), ...others.map((one) => make("option", { value: String(one.run), selected: String(one.run) === address.get("over") }, one.title)));
  byId("over-row").hidden = !others.length;
  showOverlay();
}

async function showOverlay() {
  const over = facts.variants.find((one) => String(one.run) === byId("over").value);
  if (over) address.set("over", String(over.run));
  else address.delete("over");
  keepInAddress(address);
  overlay.opacity = Number(byId("over-opacity").value) / 100;
  if (over) await attempt(() => overlay.open(over.base, scene.shape));
  else overlay.close();
}

// Linked zoom and slices
let linking = false;
for (const view of all) {
  view.addEventListener("index", () => {
    if (linking) return;
    const at = [...scene.at];
    at[{ x: 0, y: 1, z: 2 }[view.axis]] = view.index + 0.5;
    linking = true;
    goTo(at);
    linking = false;
  });
  view.addEventListener("moved", () => {
    if (linking) return;
    linking = true;
    const [u, v] = view.centre;
    const middle = voxelOf(view, [u, v]);
    for (const other of all) {
      if (other === view || !other.info) continue;
      const [cu, cv] = inPlane(other.axis, middle);
      const shared = view.axis === other.axis ? view.centre : { z: { y: [cu, null], x: [null, cv] }, y: { z: [cu, null], x: [cu, null] }, x: { z: [null, cv], y: [null, cv] } }[view.axis][other.axis];
      other.centreOn(shared[0] ?? other.centre[0], shared[1] ?? other.centre[1], view.zoom);
    }
    linking = false;
  });
  view.addEventListener("focus", () => (active = view));
  view.addEventListener("pointerdown", () => (active = view));
  view.tool = Object.fromEntries(["down", "move", "up"].map((what) => [what, (event, at) => pointer(what, view, event, voxelOf(view, at), at)]));
  view.addEventListener("window", () => oblique.refresh());
}
oblique.source = views.z;
oblique.layers.push((context, shown) => drawOnOblique(context, shown, scene, places));
oblique.tool = Object.fromEntries(["down", "move", "up"].map((what) => [what, (event, voxel) => pointer(what, oblique, event, voxel)]));
oblique.addEventListener("moved", (event) => goTo(event.detail));
oblique.addEventListener("turned", (event) => {
  address.set("oblique", event.detail.map((v) => v.toFixed(1)).join(","));
  keepInAddress(address);
});

/** Show the oblique plane instead of XY, or hide it. */
function showOblique(on) {
  oblique.hidden = !on;
  byId("slicer").setAttribute("aria-pressed", String(on));
  if (!on) address.delete("oblique");
  else if (!address.has("oblique")) address.set("oblique", oblique.turn.map((v) => v.toFixed(1)).join(","));
  keepInAddress(address);
  oblique.refresh();
}

/** One zoom for all views, at which the widest fits. */
function fit() {
  const zoom = Math.min(...all.map((view) => {
    const [nu, nv] = view.planeSize();
    return Math.min(view.clientWidth / nu, view.clientHeight / nv);
  }).slice(0, 1), views.z.clientWidth / scene.shape[2]);
  linking = true;
  for (const view of all) {
    const [nu, nv] = view.planeSize();
    view.centreOn(nu / 2, nv / 2, zoom);
  }
  linking = false;
}

// Variants

async function showVariant(i, keep = true) {
  const chosen = facts.variants[i];
  if (!chosen) return;
  if (i !== variant) lastVariant = variant;
  variant = i;
  linking = true;
  const opened = await Promise.all(all.map((view) => view.open(view === views.x && beside !== null ? facts.variants[beside].base : chosen.base, { keep })));
  linking = false;
  if (!opened[0]) return;
  scene.size = views.z.info.pixel_size_angstrom || 1;
  scene.shape = views.z.info.shape;
  address.set("variant", String(chosen.run));
  byId("more-variants")?.setAttribute("href", `${base}/new?like=${chosen.run}`);
  [...byId("variants").children].forEach((button, at) => button.setAttribute("aria-pressed", String(at === i)));
  slider.attach(...all);
  offerOverlays();
  scene.slab = slabNow ?? chosen.slab;
  says();
  oblique.refresh();
  if (!keep) fit();
  redraw();
}

let slabNow = null; // a drawn slab that is not in the server's data yet
/** Data requested at a time, with the decisions since then. */
function withNewer(found, asked) {
  for (const [target, { change }] of notYetIn("pick", found.name, asked)) {
    const [set, number] = target.split("/");
    const points = (found.picks[set] ?? []).filter((pick) => pick[0] !== number);
    found.picks[set] = change.value ? [...points, [number, ...change.value, "you"]] : points;
    if (!found.picks[set].length) delete found.picks[set];
  }
  for (const [target, { change }] of notYetIn("model", found.name, asked)) {
    found.models = found.models.filter((model) => model.id !== target);
    if (change.value) found.models.push({ id: target, ...change.value, who: "you" });
  }
  return found;
}

/** Show the previous variant and this one side by side in the same direction; or XY, YZ and XZ again. */
async function sideBySide() {
  if (facts.variants.length < 2) return tell("There is one tomogram of this series; reconstruct another to compare.");
  beside = beside === null ? (lastVariant !== variant && facts.variants[lastVariant] ? lastVariant : facts.variants.findIndex((_, i) => i !== variant)) : null;
  views.x.axis = beside === null ? "x" : "z";
  document.querySelector(".tomogram-page").classList.toggle("is-side-by-side", beside !== null);
  byId("yz").setAttribute("aria-label", beside === null ? "YZ slice" : facts.variants[beside].title);
  byId("compare").setAttribute("aria-pressed", String(beside !== null));
  linking = true;
  const { base: shown } = facts.variants[beside ?? variant];
  await views.x.open(shown, { index: views.z.index });
  linking = false;
  fit();
  goTo(scene.at);
}

function take(next, isNew, asked) {
  facts = withNewer(next, asked);
  document.title = `${facts.name} tomogram`;
  byId("title").textContent = facts.name;
  byId("previous").disabled = !facts.previous;
  byId("next").disabled = !facts.next;
  for (const [set, points] of Object.entries(facts.picks)) facts.picks[set] = isNew ? points : sameOrNew(scene.picks[set], points);
  scene.picks = facts.picks;
  scene.models = facts.models;
  slabNow = notYetIn("slab", facts.name, asked).size ? scene.slab : null;
  scene.slab = slabNow ?? facts.variants[variant]?.slab ?? null;
  for (const kind of ["csv", "mod"]) byId(kind).href = `${base}/tomo/${encodeURIComponent(facts.name)}/picks.${kind}`;
  if (isNew) {
    byId("variants").replaceChildren(...facts.variants.map((one, i) => make("button", { title: `${one.title} (${i + 1})`, onclick: () => showVariant(i) }, `${i + 1} ${one.title}`)));
    places.clear();
  }
  for (const model of scene.models) loadPlaces(model);
  says();
}

async function loadPlaces(model) {
  const value = { shape: model.shape, points: model.points, spacing_angstrom: model.spacing_angstrom, inwards: model.inwards };
  const text = JSON.stringify(value);
  if (places.get(model.id)?.text === text) return;
  const found = await send(`${base}/places`, value).catch((error) => ({ error: error.message, places: [], normals: [], size: "" }));
  places.set(model.id, { ...found, text });
  says();
  redraw();
}

/** Button that makes particles from a set of picks. */
function useButton(name) {
  if (!isOwner) return "";
  return make("button", { title: `Give the picks of ${name} to pick_by_hand; only tomograms whose picks differ are worked on`, onclick: () => startJob("picks/use", { set: name, run: facts.variants[variant].run }) }, "make particles");
}

async function startJob(path, data = {}) {
  const job = await attempt(() => sendInOrder(`${base}/${path}`, data));
  if (job) tell(`Started: ${job.command}`);
}

/** Texts of the panel: slab, sets, command. */
function says() {
  const slab = scene.slab;
  byId("slab-says").textContent = slab
    ? `slab ${(slab.thickness_angstrom / 10).toFixed(0)} nm${facts.unbinned_pixel_angstrom ? ` = ${Math.round(slab.thickness_angstrom / facts.unbinned_pixel_angstrom)} px unbinned` : ""}, offset ${(slab.z_offset_angstrom / 10).toFixed(1)} nm, by ${slab.by}`
    : "slab not measured";
  const rows = Object.entries(scene.picks).map(([name, points]) =>
    make("div", { class: "pick-set" }, make("button", { title: "Pick into this set", onclick: () => (byId("set").value = name) }, name), make("span", {}, `${points.length} points`), useButton(name)));
  for (const model of scene.models) {
    const found = places.get(model.id);
    rows.push(make("div", { class: "pick-set" },
      make("button", { title: "Go there", onclick: () => found?.centre && goTo(toVoxel(found.centre)) }, `${model.shape} ${scene.models.indexOf(model) + 1}`),
      make("span", { title: found?.error ?? "" }, found ? (found.error ? "too few points" : `${found.size}, ${found.places.length} places`) : "…"),
      isOwner ? make("button", { title: "Take it away", "aria-label": `Take ${model.id} away`, onclick: () => decide([{ kind: "model", item: facts.name, target: model.id, value: null }]) }, "×") : ""));
  }
  for (const name of new Set(scene.models.map((model) => model.id.split("/")[0]))) if (!scene.picks[name]) rows.push(make("div", { class: "pick-set" }, make("span", {}, `set ${name}`), useButton(name)));
  byId("use-slab").hidden = !isOwner || scene.slab?.by !== "user";
  byId("picks").replaceChildren(...(rows.length ? rows : [make("p", { class: "quiet" }, "No picks yet: choose a tool and click into a slice.")]));
  byId("command").textContent = `# Python\nfrom cryoloom.store.decisions import in_force\nproject = cryoloom.Project.open(".")\nin_force(project.decisions(), kind="pick", item=${JSON.stringify(facts.name)})`;
}

async function decide(changes, why = "") {
  if (!isOwner) return false;
  try {
    await record(changes, why, "tomogram");
  } catch (error) {
    tell(`Not kept: ${error.message}`, true);
    return false;
  }
  await refresh();
  return true;
}

const refresh = follow(async () => {
  const [name, asked] = [facts.name, performance.now()];
  const next = await get(`${base}/tomo/${encodeURIComponent(name)}/facts.json`).catch(() => null);
  if (!next || facts.name !== name) return;
  take(next, next.variants.length !== facts.variants.length, asked);
  redraw();
});

// Tools

const HINTS = {
  select: "Click: go there; o: a plane of any direction. Right click: take the nearest pick away.",
  point: "Click: a pick, kept at once. Right click takes it away.",
  line: "Click along the filament; Enter ends it.",
  sphere: "Drag from the centre to the rim: the sphere is fitted to the shell.",
  ellipsoid: "Drag from the centre to the rim, then click up to five places of the rim; Enter keeps it.",
  membrane: "Click on the membrane in several slices; Enter fits a surface.",
  ruler: "Drag: the length is shown.",
  slab: "Drag an edge of the slab in XZ or YZ; it is kept when you let go.",
};
const TOOLS = [["select", "v"], ["point", "p"], ["line", "l"], ["sphere", "s"], ["ellipsoid", "e"], ["membrane", "m"], ["ruler", "r"], ["slab", "t"]];

function choose(name) {
  tool = name;
  scene.draft = null;
  byId("hint").textContent = HINTS[name];
  [...byId("toolbox").children].forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.tool === name)));
  redraw();
}

byId("toolbox").append(...TOOLS.map(([name, key]) => make("button", { "data-tool": name, title: `${HINTS[name]} (${key})`, onclick: () => choose(name) }, name)));

const number = () => `${Date.now().toString(36)}${(placing += 1)}`;
const setName = () => byId("set").value.trim().replaceAll("/", "-") || "picks";
const rounded = (at) => at.map((v) => Number(v.toFixed(1)));

/** Pointer actions; true if the event was used, so that the picture is not panned. */
function pointer(what, view, event, voxel, at) {
  if (what === "down" && event.button === 2) {
    if (at) removeNear(view, at);
    return true;
  }
  if (what === "down" && event.button !== 0) return false;
  if (event.shiftKey || event.altKey) return false; // panning with every tool
  const here = toAngstrom(voxel);
  const draft = scene.draft;
  if (tool === "select") {
    if (what === "down") scene.pressed = [event.clientX, event.clientY];
    if (what === "up" || what !== "down") return false;
    goTo(voxel);
    return false;
  }
  if (tool === "point") {
    if (what !== "down" || !isOwner) return false;
    const pick = [number(), ...rounded(here), "you"];
    const set = setName();
    (scene.picks[set] ??= []).push(pick);
    says();
    redraw();
    decide([{ kind: "pick", item: facts.name, target: `${set}/${pick[0]}`, value: pick.slice(1, 4) }]).then((isKept) => isKept || withoutPick(set, pick));
    return true;
  }
  if (tool === "slab") return dragSlab(what, view, here);
  if (tool === "ruler") {
    if (what === "down") scene.draft = { shape: "ruler", points: [here, here] };
    else if (what === "move" && draft && event.buttons) draft.points[1] = here;
    else return false;
    const [a, b] = scene.draft.points;
    byId("hint").textContent = `${(Math.hypot(...a.map((v, i) => v - b[i])) / 10).toFixed(1)} nm`;
    redraw();
    return true;
  }
  if (!isOwner) return false;
  if (tool === "line" || tool === "membrane") {
    if (what !== "down") return false;
    scene.draft ??= { shape: tool === "line" ? "filament" : "membrane", points: [] };
    scene.draft.points.push(rounded(here));
    byId("hint").textContent = `${scene.draft.points.length} points; Enter ends it, Backspace takes the last back.`;
    redraw();
    return true;
  }
  // sphere and ellipsoid
  if (what === "down" && draft?.fitted && tool === "ellipsoid") {
    draft.rim.push(rounded(here));
    byId("hint").textContent = `${draft.rim.length} places of the rim; Enter keeps it.`;
    redraw();
    return true;
  }
  if (what === "down") scene.draft = { shape: tool, centre: here, radius: 0, rim: [], points: [] };
  else if (what === "move" && draft && !draft.fitted && event.buttons) draft.radius = Math.hypot(...here.map((v, i) => v - draft.centre[i]));
  else if (what === "up" && draft && !draft.fitted) fitShell(draft);
  else return false;
  redraw();
  return true;
}

async function fitShell(draft) {
  if (draft.radius < 3 * scene.size) {
    scene.draft = null;
    return redraw();
  }
  const item = Number(/image\/(\d+)\//.exec(facts.variants[variant].base)[1]);
  const found = await attempt(() => send(`${base}/shell`, { item, centre: draft.centre, radius_angstrom: draft.radius }));
  if (!found) {
    scene.draft = null;
    return redraw();
  }
  Object.assign(draft, { fitted: true, centre: found.centre, radius: found.radius_angstrom, points: found.points });
  byId("hint").textContent = `radius ${(found.radius_angstrom / 10).toFixed(1)} nm, rms ${(found.rms_angstrom / 10).toFixed(1)} nm`;
  if (tool === "sphere") await keepModel();
  else byId("hint").textContent += "; click places of the rim, Enter keeps it.";
  redraw();
}

/** Enter: the drawing becomes a model of the set. */
async function keepModel() {
  const draft = scene.draft;
  if (!draft || draft.shape === "ruler") return false;
  // Clicks and the points found around them have the same weight; otherwise clicks would change nothing.
  const points = draft.rim?.length ? [...draft.points, ...draft.rim.flatMap((one) => Array(Math.max(1, Math.round(draft.points.length / 12))).fill(one))] : draft.points;
  const least = { filament: 2, membrane: 3, sphere: 4, ellipsoid: 6 }[draft.shape];
  if (points.length < least) {
    tell(`A ${draft.shape} needs ${least} points, got ${points.length}.`, true);
    return true;
  }
  scene.draft = null;
  redraw();
  const value = { shape: draft.shape, points, spacing_angstrom: Number(byId("spacing").value), inwards };
  const isKept = await decide([{ kind: "model", item: facts.name, target: `${setName()}/${number()}`, value }]);
  if (!isKept && !scene.draft) scene.draft = draft; // for another attempt
  redraw();
  return true;
}

/** Remove a pick from the view. */
function withoutPick(set, pick) {
  scene.picks[set] = (scene.picks[set] ?? []).filter((one) => one[0] !== pick[0]);
  if (!scene.picks[set].length) delete scene.picks[set];
  says();
  redraw();
}

function removeNear(view, at) {
  if (!isOwner) return;
  let best = null;
  let least = 14 / view.zoom;
  for (const [name, points] of Object.entries(scene.picks)) {
    for (const pick of points) {
      const voxel = toVoxel(pick.slice(1, 4));
      const [u, v] = inPlane(view.axis, voxel);
      const off = Math.abs(voxel[{ x: 0, y: 1, z: 2 }[view.axis]] - view.index - 0.5);
      const distance = Math.hypot(u - at[0], v - at[1]);
      if (distance < least && off < 12) [least, best] = [distance, [name, pick]];
    }
  }
  if (!best) return;
  const [name, pick] = best;
  withoutPick(name, pick);
  decide([{ kind: "pick", item: facts.name, target: `${name}/${pick[0]}`, value: null }]).then((isKept) => {
    if (isKept) return;
    (scene.picks[name] ??= []).push(pick);
    says();
    redraw();
  });
}

let edge = 0;
let slabBefore = null;
function dragSlab(what, view, here) {
  if (!["x", "y"].includes(view.axis) || !isOwner) return false;
  const slab = scene.slab ?? { thickness_angstrom: 1000, z_offset_angstrom: 0, tilt_x_deg: 0, tilt_y_deg: 0, by: "user" };
  const middle = slab.z_offset_angstrom;
  if (what === "down") [edge, slabBefore] = [here[2] > middle ? 1 : -1, scene.slab];
  else if (!edge) return false;
  const other = middle - (edge * slab.thickness_angstrom) / 2;
  if (edge * (here[2] - other) > scene.size) {
    scene.slab = { ...slab, thickness_angstrom: edge * (here[2] - other), z_offset_angstrom: (here[2] + other) / 2, by: "user" };
  }
  if (what === "up") {
    edge = 0;
    const { thickness_angstrom: thickness, z_offset_angstrom: offset, tilt_x_deg: x, tilt_y_deg: y } = scene.slab;
    decide([{ kind: "slab", item: facts.name, value: { thickness_angstrom: Number(thickness.toFixed(1)), z_offset_angstrom: Number(offset.toFixed(1)), tilt_x_deg: x, tilt_y_deg: y, run: facts.variants[variant].run } }]).then((isKept) => {
      if (isKept) return;
      scene.slab = slabBefore;
      says();
      redraw();
    });
  }
  says();
  redraw();
  return true;
}

let nOpened = 0;
async function open(name) {
  const [mine, asked] = [++nOpened, performance.now()];
  const next = await attempt(() => get(`${base}/tomo/${encodeURIComponent(name)}/facts.json`));
  if (!next || mine !== nOpened) return; // another one was requested in the meantime
  history.pushState(null, "", `${base}/tomo/${encodeURIComponent(name)}?${address}`);
  const before = facts.variants[variant]?.title;
  if (beside !== null) await sideBySide();
  take(next, true, asked);
  particles.open(facts.name, particles.items.map(String));
  await showVariant(Math.max(0, facts.variants.findIndex((one) => one.title === before)));
}

byId("previous").addEventListener("click", () => facts.previous && open(facts.previous));
byId("next").addEventListener("click", () => facts.next && open(facts.next));
byId("fit").addEventListener("click", fit);
byId("over").addEventListener("change", showOverlay);
byId("over-opacity").addEventListener("input", () => {
  overlay.opacity = Number(byId("over-opacity").value) / 100;
  all.forEach((view) => view.draw());
});
byId("slicer").addEventListener("click", () => showOblique(oblique.hidden));
byId("compare").addEventListener("click", sideBySide);
byId("use-slab").addEventListener("click", () => startJob("slabs/use"));
byId("thickness").addEventListener("input", (event) => {
  byId("thickness-says").textContent = event.target.value;
  all.forEach((view) => view.setThickness(Number(event.target.value)));
  oblique.thickness = Number(event.target.value);
  oblique.refresh();
});
byId("spacing").addEventListener("input", () => (byId("spacing-says").textContent = `${(Number(byId("spacing").value) / 10).toFixed(1)} nm`));
byId("spacing").addEventListener("change", () => respaced());
const flip = () => {
  inwards = !inwards;
  byId("flip").textContent = `normals ${inwards ? "in" : "out"}`;
  respaced();
};
byId("flip").addEventListener("click", flip);

/** Spacing and side of the last model of this set follow the controls. */
function respaced() {
  const model = scene.models.filter((one) => one.id.startsWith(`${setName()}/`)).at(-1);
  if (!model || !isOwner) return;
  const value = { shape: model.shape, points: model.points, spacing_angstrom: Number(byId("spacing").value), inwards };
  decide([{ kind: "model", item: facts.name, target: model.id, value }]);
}

/** Query for another program: this variant and the shown particles. */
const askedOf = () => new URLSearchParams({ run: String(facts.variants[variant]?.run ?? ""), particles: particles.items.join(","), at: scene.at.map((v) => v.toFixed(1)).join(",") });

/** Show the command for another program, and the file that it needs. */
async function openIn(program) {
  const here = `${base}/tomo/${encodeURIComponent(facts.name)}`;
  const found = await attempt(() => get(`${here}/others.json?${askedOf()}`));
  if (!found) return;
  byId("other-command").textContent = found[program];
  byId("other-hint").textContent = "Type this where the project is; the file was downloaded. Positions and directions are those of this page.";
  make("a", { href: program === "3dmod" ? `${here}/picks.mod?run=${facts.variants[variant].run}` : `${here}/${program}.py?${askedOf()}`, download: "" }).click();
}
for (const program of ["chimerax", "napari", "3dmod"]) byId(`to-${program}`).addEventListener("click", () => openIn(program));
byId("to-neuroglancer").addEventListener("click", (event) => {
  event.currentTarget.href = `${base}/tomo/${encodeURIComponent(facts.name)}/neuroglancer?${askedOf()}`;
});

addEventListener("popstate", () => location.reload());
addKeys([
  ...viewKeys({ step: (by) => active.step(by), go: (i) => active.go(i), zoomBy: (f) => active.zoomBy(f), fit, requestFullscreen: () => active.requestFullscreen(), get info() { return active.info; }, get axis() { return active.axis; } }, slider),
  { key: "]", does: "next series", run: () => facts.next && open(facts.next) },
  { key: "[", does: "previous series", run: () => facts.previous && open(facts.previous) },
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => ({ key: String(n), does: n <= facts.variants.length ? `variant ${n}: ${facts.variants[n - 1].title}` : null, run: () => (facts.variants[n - 1] ? void showVariant(n - 1) : false) })),
  { key: "d", does: "the variant shown before, and back", run: () => void showVariant(lastVariant) },
  { key: "V", does: "two variants side by side", run: () => void sideBySide() },
  { key: "o", does: "a plane of any direction: drag turns it, the wheel moves it", run: () => showOblique(oblique.hidden) },
  ...TOOLS.map(([name, key]) => ({ key, does: `${name} tool`, run: () => choose(name) })),
  { key: "n", does: "normals in or out", run: flip },
  { key: "\\", does: "thick slice of 12, and back", run: () => { const n = views.z.thickness > 1 ? 1 : 12; byId("thickness").value = String(n); byId("thickness").dispatchEvent(new Event("input")); } },
  { key: "Enter", does: "keep what was drawn", run: () => (scene.draft ? void keepModel() : false) },
  { key: "Backspace", does: "take the last point back", run: () => { scene.draft?.points?.pop(); redraw(); } },
  { key: "Escape", does: "leave the tool", run: () => choose("select") },
]);
choose("select");
take(facts, true, 0);
const wanted = facts.variants.findIndex((one) => String(one.run) === address.get("variant"));
const chosen = facts.variants.findIndex((one) => one.run === facts.chosen);
const newest = facts.variants.findLastIndex((one) => !one.is_drawn);
await showVariant([wanted, chosen, newest].find((i) => i >= 0) ?? facts.variants.length - 1, false);
const at = (address.get("at") ?? "").split(",").map(Number);
goTo(at.length === 3 && at.every(Number.isFinite) ? at : [scene.shape[2] / 2, scene.shape[1] / 2, scene.shape[0] / 2]);
if (address.has("oblique")) {
  const turn = address.get("oblique").split(",").map(Number);
  if (turn.length === 2 && turn.every(Number.isFinite)) oblique.turn = turn;
  showOblique(true);
}
particles.open(facts.name, (address.get("particles") ?? "").split(","));
views.z.focus();
