/** Particles that runs have found, over the slices of a tomogram: their outline, and where their z axes point. */

import { attempt, base, get, make } from "./app.js";
import { inPlane } from "./tomogram-layers.js";

const COLOURS = ["#56b4e9", "#cc79a7", "#f0e442", "#009e73", "#d55e00", "#e69f00"];
const FIXED = { x: 0, y: 1, z: 2 };
const MOST_OUTLINES = 4000; // on one slice; beyond, marks are drawn

export class ParticleLayer {
  #shown = new Map(); // item -> facts with places in voxels
  #box;
  #scene;
  #redraw;
  name = "";

  constructor(box, scene, redraw) {
    this.#box = box;
    this.#scene = scene;
    this.#redraw = redraw;
  }

  /** Offer the sets of a tomogram; those of `wanted` (item numbers) are shown. */
  async open(name, wanted = []) {
    this.name = name;
    this.#shown.clear();
    const sets = (await get(`${base}/tomo/${encodeURIComponent(name)}/particles.json`).catch(() => [])) ?? [];
    if (this.name !== name) return;
    this.#box.replaceChildren(...sets.map((one) => {
      const choice = make("input", { type: "checkbox", "data-item": String(one.item) });
      choice.addEventListener("change", () => this.#choose(one.item, choice.checked));
      return make("label", { class: "row tight" }, choice, one.title, make("span", { class: "quiet" }));
    }));
    for (const choice of this.#box.querySelectorAll("input")) {
      if (!wanted.includes(choice.dataset.item)) continue;
      choice.checked = true;
      await this.#choose(Number(choice.dataset.item), true);
    }
  }

  get items() {
    return [...this.#shown.keys()];
  }

  async #choose(item, on) {
    if (on) {
      const facts = await attempt(() => get(`${base}/tomo/${encodeURIComponent(this.name)}/particles/${item}.json`));
      if (!facts) return;
      this.#shown.set(item, facts);
      const says = this.#box.querySelector(`input[data-item="${item}"]`)?.parentElement.querySelector("span");
      if (says) says.textContent = `${facts.places.length}`;
    } else this.#shown.delete(item);
    this.#redraw();
  }

  /** Draw on a slice. A particle is a ball of its diameter: its outline is where the slice cuts it. */
  draw(context, view) {
    const { size, shape } = this.#scene;
    const fixed = FIXED[view.axis];
    const origin = Math.floor(shape[2 - fixed] / 2) + 0.5;
    let which = 0;
    for (const { places, axes, diameter_angstrom: diameter } of this.#shown.values()) {
      const radius = (diameter ?? 16 * size) / 2 / size;
      const cut = places.map((place, i) => [place[fixed] / size + origin - view.index - 0.5, i]).filter(([off]) => Math.abs(off) < radius);
      context.strokeStyle = COLOURS[which++ % COLOURS.length];
      context.lineWidth = 1.4;
      context.beginPath();
      for (const [off, i] of cut) {
        const [x, y] = view.toScreen(...inPlane(view.axis, this.#scene.toVoxel(places[i])));
        const r = cut.length > MOST_OUTLINES ? 2 : Math.sqrt(radius ** 2 - off ** 2) * view.zoom;
        context.moveTo(x + r, y);
        context.arc(x, y, r, 0, 6.2832);
        const [nu, nv] = inPlane(view.axis, axes[i]);
        context.moveTo(x, y);
        context.lineTo(x + nu * radius * view.zoom, y - nv * radius * view.zoom);
      }
      context.stroke();
    }
  }
}
