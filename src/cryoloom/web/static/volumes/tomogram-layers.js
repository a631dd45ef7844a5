/** Layers over the slices of a tomogram: slab, picks, models. Positions are xyz in angstrom from the centre. */

import { EM } from "../pictures/slice-view.js";

const COLOURS = ["#e69f00", "#56b4e9", "#cc79a7", "#f0e442", "#009e73", "#d55e00"];
const SHOWN_WITHIN = 14; // slices: a pick becomes smaller with its distance and is hidden beyond
const FIXED = { x: 0, y: 1, z: 2 };
const COLUMNS = { z: [2, 0, 1], y: [1, 0, 2], x: [0, 2, 1] }; // axes along the view, to the right and upwards, as indices of x, y, z

/** Plane coordinates (u, v) of voxel coordinates x, y, z. */
export function inPlane(axis, [x, y, z]) {
  return { z: [x, y], y: [x, z], x: [z, y] }[axis];
}

const rings = new Map(); // colour, radius and pixel ratio -> a picture of the ring
const sorted = new WeakMap(); // picks of a set -> their number, and for each axis their sorted positions

/** A ring that is drawn once, because thousands of arcs in one path take longer than a frame. */
function ring(colour, radius, ratio) {
  const name = `${colour} ${radius} ${ratio}`;
  if (!rings.has(name)) {
    const side = 2 * Math.ceil((radius + 2) * ratio); // in pixels of the screen, so that it is copied without resampling
    const canvas = new OffscreenCanvas(side, side);
    const context = canvas.getContext("2d");
    context.translate(side / 2, side / 2);
    context.scale(ratio, ratio);
    context.strokeStyle = colour;
    context.lineWidth = 1.6 * EM;
    context.arc(0, 0, radius, 0, 6.2832);
    context.stroke();
    rings.set(name, { bitmap: canvas.transferToImageBitmap(), side: side / ratio });
  }
  return rings.get(name);
}

const MOST_PICKS = 2 ** 20; // of a set

/** Positions of a set in angstrom, sorted along an axis: [along it, to the right, upwards]. */
function inOrder(points, axis) {
  let known = sorted.get(points);
  if (known && known.n + 1 === points.length) addTo(known, points.at(-1));
  if (known?.n !== points.length) sorted.set(points, (known = { n: points.length, columns: [1, 2, 3].map((column) => Float32Array.from(points, (pick) => pick[column])) }));
  if (!known[axis]) {
    const [along, right, up] = COLUMNS[axis].map((column) => known.columns[column]);
    // One number contains tenths of an angstrom and the index in the set: numbers are sorted many times faster than picks.
    const order = along.reduce((keys, value, i) => ((keys[i] = (Math.round(10 * value) + 1e8) * MOST_PICKS + i), keys), new Float64Array(along.length)).sort().map((key) => key % MOST_PICKS);
    known[axis] = [along, right, up].map((values) => Float32Array.from(order, (i) => values[i]));
  }
  return known[axis];
}

/** Insert a new pick of a set at its position in every order. */
function addTo(known, [, ...place]) {
  for (const axis of Object.keys(COLUMNS)) {
    if (!known[axis]) continue;
    const values = COLUMNS[axis].map((column) => place[column]);
    const at = firstFrom(known[axis][0], values[0]);
    known[axis] = known[axis].map((old, i) => inserted(old, at, values[i]));
  }
  known.columns = known.columns.map((old, i) => inserted(old, old.length, place[i]));
  known.n += 1;
}

function inserted(values, at, value) {
  const more = new Float32Array(values.length + 1);
  more.set(values.subarray(0, at));
  more[at] = value;
  more.set(values.subarray(at), at + 1);
  return more;
}

/** The known picks of a set if new data are the same, so that they stay sorted. */
export function sameOrNew(known, found) {
  const isSame = known?.length === found.length && found.every((pick, i) => pick[0] === known[i][0] && pick[1] === known[i][1] && pick[2] === known[i][2] && pick[3] === known[i][3]);
  return isSame ? known : found;
}

/** First index at which ascending values are not less than a value. */
function firstFrom(values, least) {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < least) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Draw the picks near the slice; thousands of them take a few milliseconds. */
export function drawPicks(context, view, scene) {
  let which = 0;
  const { size } = scene;
  const here = view.index - Math.floor(scene.shape[2 - FIXED[view.axis]] / 2);
  // The map from plane to screen is linear: computed once and not for every pick.
  const [u0, v0] = inPlane(view.axis, scene.toVoxel([0, 0, 0]));
  const [x0, y0] = view.toScreen(u0, v0);
  const scale = view.zoom / size;
  const { clientWidth: width, clientHeight: height } = view;
  const ratio = devicePixelRatio || 1;
  const onPixel = (v) => Math.round(v * ratio) / ratio;
  for (const points of Object.values(scene.picks)) {
    const colour = COLOURS[which++ % COLOURS.length];
    const [along, right, up] = inOrder(points, view.axis);
    const end = (here + SHOWN_WITHIN) * size;
    for (let i = firstFrom(along, (here - SHOWN_WITHIN) * size); i < along.length && along[i] <= end; i++) {
      const x = x0 + right[i] * scale;
      const y = y0 - up[i] * scale;
      if (x < -10 || y < -10 || x > width + 10 || y > height + 10) continue;
      const off = Math.abs(along[i] / size - here);
      const { bitmap, side } = ring(colour, Math.round(14 * (1 - off / (SHOWN_WITHIN + 2))) / 2, ratio);
      context.drawImage(bitmap, onPixel(x - side / 2), onPixel(y - side / 2), side, side);
    }
  }
}

/** Draw picks and positions of models near a plane of any direction, and the current drawing. */
export function drawOnOblique(context, view, scene, places) {
  const mark = (at, radius, colour) => {
    const [x, y, off] = view.toScreen(scene.toVoxel(at));
    if (Math.abs(off) > SHOWN_WITHIN) return;
    context.strokeStyle = colour;
    context.beginPath();
    context.arc(x, y, Math.max(1.5, radius * (1 - Math.abs(off) / (SHOWN_WITHIN + 2))), 0, 6.2832);
    context.stroke();
  };
  context.lineWidth = 1.6 * EM;
  Object.values(scene.picks).forEach((points, which) => points.forEach((pick) => mark(pick.slice(1, 4), 7, COLOURS[which % COLOURS.length])));
  scene.models.forEach((model, which) => places.get(model.id)?.places.forEach((place) => mark(place, 3, COLOURS[(which + 2) % COLOURS.length])));
  for (const point of scene.draft?.points ?? []) mark(point, 4, "#fff");
  const [x, y] = view.toScreen(scene.at);
  context.strokeStyle = "rgba(86,180,233,.75)";
  context.lineWidth = 1 * EM;
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    context.beginPath();
    context.moveTo(x + dx * 8, y + dy * 8);
    context.lineTo(x + dx * 26, y + dy * 26);
    context.stroke();
  }
}

/** Draw positions of models near the slice with their normals, and the current drawing. */
export function drawModels(context, view, scene, places) {
  const fixed = FIXED[view.axis];
  const middle = view.index + 0.5;
  scene.models.forEach((model, which) => {
    const found = places.get(model.id);
    if (!found) return;
    context.strokeStyle = context.fillStyle = COLOURS[(which + 2) % COLOURS.length];
    context.lineWidth = 1.2 * EM;
    found.places.forEach((place, i) => {
      const voxel = scene.toVoxel(place);
      const off = Math.abs(voxel[fixed] - middle);
      if (off > 5) return;
      const [x, y] = view.toScreen(...inPlane(view.axis, voxel));
      const [nu, nv] = inPlane(view.axis, found.normals[i]);
      context.globalAlpha = 1 - off / 7;
      context.fillRect(x - 2, y - 2, 4, 4);
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(x + nu * 12, y - nv * 12);
      context.stroke();
    });
    context.globalAlpha = 1;
  });
  const draft = scene.draft;
  if (!draft) return;
  context.strokeStyle = "#fff";
  context.lineWidth = 1.5 * EM;
  if (draft.centre && draft.radius) {
    const centre = scene.toVoxel(draft.centre);
    const off = (centre[fixed] - middle) * scene.size;
    const radius = Math.sqrt(Math.max(0, draft.radius ** 2 - off ** 2)) / scene.size;
    const [x, y] = view.toScreen(...inPlane(view.axis, centre));
    context.beginPath();
    context.arc(x, y, radius * view.zoom, 0, 6.2832);
    context.stroke();
  }
  for (const point of [...(draft.rim ?? []), ...(draft.centre ? [] : draft.points)]) {
    const voxel = scene.toVoxel(point);
    if (Math.abs(voxel[fixed] - middle) > 6) continue;
    const [x, y] = view.toScreen(...inPlane(view.axis, voxel));
    context.strokeRect(x - 3, y - 3, 6, 6);
  }
  if (draft.shape === "ruler" || draft.shape === "filament") {
    context.beginPath();
    draft.points.forEach((point, i) => {
      const [x, y] = view.toScreen(...inPlane(view.axis, scene.toVoxel(point)));
      if (i) context.lineTo(x, y);
      else context.moveTo(x, y);
    });
    context.stroke();
  }
}

/**
 * The slab's two surfaces. Its middle plane passes through (0, 0, z offset) and is rotated by Ry(tilt y) Rx(tilt x):
 * its normal is n = Ry Rx (0, 0, 1), and a surface at distance d is where n . (r - offset) = d.
 */
export function drawSlab(context, view, scene) {
  const slab = scene.slab;
  if (!slab || view.axis === "z") return;
  const [tx, ty] = [slab.tilt_x_deg, slab.tilt_y_deg].map((v) => ((v ?? 0) * Math.PI) / 180);
  // Rx rotates (0, 0, 1) to (0, -sin, cos); Ry adds z sin to x and subtracts x sin from z (conventions: x' = x cos + z sin).
  const normal = [Math.cos(tx) * Math.sin(ty), -Math.sin(tx), Math.cos(tx) * Math.cos(ty)];
  const here = [0, 0, 0];
  const fixed = FIXED[view.axis];
  const along = view.axis === "y" ? 0 : 1;
  const n = scene.shape[2 - along];
  const origin = scene.toVoxel([0, 0, 0]);
  here[fixed] = (view.index + 0.5 - origin[fixed]) * scene.size;
  context.strokeStyle = "#e69f00";
  context.lineWidth = 1.5 * EM;
  context.setLineDash(slab.by === "user" ? [] : [7, 4]);
  for (const side of [-0.5, 0.5]) {
    context.beginPath();
    for (const end of [0, n]) {
      here[along] = (end - origin[along]) * scene.size;
      here[2] = slab.z_offset_angstrom + (side * slab.thickness_angstrom - normal[0] * here[0] - normal[1] * here[1]) / normal[2];
      const voxel = scene.toVoxel(here);
      voxel[along] = end;
      const [x, y] = view.toScreen(...inPlane(view.axis, voxel));
      if (end) context.lineTo(x, y);
      else context.moveTo(x, y);
    }
    context.stroke();
  }
  context.setLineDash([]);
}
