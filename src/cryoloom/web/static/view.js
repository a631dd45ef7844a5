/** Files looked at without a project. */

import { addKeys, make, pageData } from "./app.js";
import "./slice-view.js";
import "./window-slider.js";
import { sizeOf } from "./slice-view.js";
import { playKeys, viewKeys } from "./view-keys.js";

const { number, tilts } = pageData();
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
  history.replaceState(null, "", `?${address}`);
}

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
