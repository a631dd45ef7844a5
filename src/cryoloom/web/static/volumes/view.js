/** Files shown without a project. */

import { addKeys, keepInAddress, make, pageData } from "../app.js";
import "../pictures/slice-view.js";
import "../pictures/window-slider.js";
import { sizeOf } from "../pictures/slice-view.js";
import { playKeys, viewKeys } from "../pictures/view-keys.js";

const { number, tilts, placements, points } = pageData();
const COLOURS = ["#e69f00", "#56b4e9", "#cc79a7", "#f0e442", "#009e73"];
const SHOWN_WITHIN = 8; // sections: a point becomes smaller with its distance and is hidden beyond
const hidden = new Set();
const view = document.getElementById("view");
const slider = document.getElementById("window");
const index = document.getElementById("index");
const address = new URLSearchParams(location.search);
const wanted = address.get("index");

function says() {
  const n = sizeOf(view.info, view.axis);
  index.max = String(n - 1);
  index.value = String(view.index);
  const tilt = tilts.length ? `  ${tilts[view.index].toFixed(1)}°` : "";
  document.getElementById("index-says").textContent = `${view.axis} ${view.index} of ${n}${tilt}`;
  address.set("index", String(view.index));
  address.set("axis", view.axis);
  keepInAddress(address);
}

/** Draw points of files given with the image; points of one model of a stack are its contour. */
function drawPoints(context, shown) {
  const fixed = { x: 0, y: 1, z: 2 }[shown.axis];
  const within = shown.info.kind === "stack" ? 0.5 : SHOWN_WITHIN;
  points.forEach((set, which) => {
    if (hidden.has(set.name)) return;
    context.strokeStyle = COLOURS[which % COLOURS.length];
    context.lineWidth = 1.6;
    context.beginPath();
    for (const [x, y, z] of set.points) {
      const off = Math.abs([x, y, z][fixed] - shown.index - 0.5);
      if (off > within) continue;
      const [u, v] = shown.placed(shown.index, ...{ z: [x, y], y: [x, z], x: [z, y] }[shown.axis]);
      const [sx, sy] = shown.toScreen(u, v);
      const radius = 7 * (1 - off / (within + 2));
      context.moveTo(sx + radius, sy);
      context.arc(sx, sy, radius, 0, 6.2832);
    }
    context.stroke();
  });
}
view.layers.push(drawPoints);
document.getElementById("points").append(...points.map((set) => make("button", { "aria-pressed": "true", title: "Show these points or not", onclick: (event) => {
  if (!hidden.delete(set.name)) hidden.add(set.name);
  event.target.setAttribute("aria-pressed", String(!hidden.has(set.name)));
  view.draw();
} }, `${set.name} ${set.points.length}`)));

/** Show images with the transforms of their .xf, or as recorded. */
function setAligned(on) {
  view.placement = on ? (at) => placements[at] && { axis_deg: placements[at][0], shift: placements[at].slice(1) } : null;
  document.getElementById("aligned").setAttribute("aria-pressed", String(on));
  view.draw();
}
const aligned = document.getElementById("aligned");
aligned.hidden = !placements.length;
aligned.addEventListener("click", () => setAligned(!view.placement));
if (placements.length) addKeys([{ key: "a", does: "aligned or as recorded", run: () => setAligned(!view.placement) }]);

document.getElementById("file").addEventListener("change", (event) => location.assign(`/files/${event.target.value}`));
document.getElementById("fit").addEventListener("click", () => view.fit());
document.getElementById("thickness").addEventListener("input", (event) => {
  view.setThickness(Number(event.target.value));
  document.getElementById("thickness-says").textContent = event.target.value;
});
index.addEventListener("input", () => view.go(Number(index.value)));
view.addEventListener("index", says);

if (await view.open(`/files/image/${number}/image`)) {
  const { kind, shape, pixel_size_angstrom: size } = view.info;
  document.getElementById("facts").textContent = `${shape[2]} × ${shape[1]} × ${shape[0]}${size ? `, ${+size.toPrecision(4)} Å` : ""}`;
  const axes = document.getElementById("axes");
  if (kind === "volume" && shape[0] > 1) {
    for (const [axis, title] of [["z", "XY"], ["y", "XZ"], ["x", "YZ"]]) {
      axes.append(make("button", { "data-axis": axis, title: axis === "y" ? "XZ (\\)" : title, onclick: () => turn(axis) }, title));
    }
  } else document.getElementById("thickness").closest("label").hidden = kind === "stack";
  const turn = (axis) => {
    view.setAxis(axis);
    for (const button of axes.children) button.setAttribute("aria-pressed", String(button.dataset.axis === axis));
    says();
  };
  if (axes.children.length) {
    turn(["x", "y", "z"].includes(address.get("axis")) ? address.get("axis") : "z");
    addKeys([{ key: "\\", does: "XZ and back", run: () => turn(view.axis === "y" ? "z" : "y") }]);
  }
  if (wanted !== null) view.go(Number(wanted));
  slider.attach(view);
  says();
  view.focus();
}
addKeys(viewKeys(view, slider));
addKeys(playKeys(view, document.getElementById("play")));
