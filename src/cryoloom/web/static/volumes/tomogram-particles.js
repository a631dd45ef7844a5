/**
 * Particles of runs over the slices of a tomogram: outlines and directions of their z axes. A set with scores has a
 * histogram with a cut-off, and colours by score; points on membranes are drawn along the membrane.
 */

import { attempt, base, get, make } from "../app.js";
import "./score-cut.js";
import { inPlane } from "./tomogram-layers.js";
import { EM } from "../pictures/slice-view.js";

const COLOURS = ["#56b4e9", "#cc79a7", "#f0e442", "#009e73", "#d55e00", "#e69f00"];
const FIXED = { x: 0, y: 1, z: 2 };
const MOST_OUTLINES = 4000; // chosen: on one slice; for more, marks are drawn
const MOST_SHAPES = 400; // chosen: particles on one slice that are drawn as their average
const MEMBRANE_REACH_ANGSTROM = 40; // chosen: length on either side of a point, slightly more than half the usual spacing

/** Cividis (Nuñez et al. 2018), thinned: colours that readers with colour blindness can order. */
const CIVIDIS = ["#00224e", "#2a3f6d", "#575c6d", "#7d7c78", "#a59c74", "#d2c060", "#fee838"];

/** Largest distance of an average's surface from its centre, in angstrom. */
const reachOf = (shape) => (shape.reach ??= Math.max(...shape.vertices.map((at) => Math.hypot(...at))));

export class ParticleLayer {
  nSegments = 0; // line segments of averages in the last slice, for tests
  #shown = new Map(); // item -> data with positions in angstrom
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
      return make("div", { class: "particle-set" }, make("label", { class: "row tight" }, choice, one.title, make("span", { class: "quiet" })));
    }));
    for (const choice of this.#box.querySelectorAll("input[data-item]")) {
      if (!wanted.includes(choice.dataset.item)) continue;
      choice.checked = true;
      await this.#choose(Number(choice.dataset.item), true);
    }
  }

  get items() {
    return [...this.#shown.keys()];
  }

  async #choose(item, on) {
    const box = this.#box.querySelector(`input[data-item="${item}"]`)?.closest(".particle-set");
    box?.querySelector(".of-set")?.remove();
    if (on) {
      const facts = await attempt(() => get(`${base}/tomo/${encodeURIComponent(this.name)}/particles/${item}.json`));
      if (!facts) return;
      this.#shown.set(item, facts);
      if (box) {
        box.querySelector("span").textContent = `${facts.places.length}`;
        if (facts.scores?.some(Number.isFinite)) this.#offerScores(box, facts);
        if (!facts.surfaces) this.#offerShape(box, item, facts);
      }
    } else this.#shown.delete(item);
    this.#redraw();
  }

  /** The average at every particle: intersection of the slice with its surface. */
  #offerShape(box, item, facts) {
    const choice = make("input", { type: "checkbox", "data-shape": String(item) });
    choice.addEventListener("change", async () => {
      if (choice.checked && !facts.shape) {
        facts.shape = await attempt(() => get(`${base}/tomo/${encodeURIComponent(this.name)}/particles/${item}/outline.json`));
        choice.checked = Boolean(facts.shape);
      }
      facts.hasShape = choice.checked;
      this.#redraw();
    });
    const label = make("label", { class: "row tight", title: "The surface of their average at every particle, cut by the slice" }, choice, "as their average");
    (box.querySelector(".of-set") ?? box.appendChild(make("div", { class: "of-set" }))).append(label);
  }

  /** Histogram with its cut-off, and colours by score. */
  #offerScores(box, facts) {
    facts.cut = make("score-cut", {});
    const coloured = make("input", { type: "checkbox", "aria-label": "Colour by score" });
    coloured.addEventListener("change", () => {
      facts.isColoured = coloured.checked;
      this.#redraw();
    });
    const keep = make("a", { href: `${base}/particles?run=${facts.run}`, title: "Keep those above a cut-off, of all tomograms, on the page of particles" }, "keep…");
    box.append(make("div", { class: "of-set" }, facts.cut, make("span", { class: "row tight spread" }, make("label", { class: "row tight" }, coloured, "colour by score"), keep)));
    facts.cut.set(facts.scores);
    facts.cut.addEventListener("cut", () => this.#redraw());
  }

  /** Draw on a slice. A particle is a sphere of its diameter; its outline is the intersection with the slice. */
  draw(context, view) {
    this.nSegments = 0;
    const { size, shape } = this.#scene;
    const fixed = FIXED[view.axis];
    const origin = Math.floor(shape[2 - fixed] / 2) + 0.5;
    let which = 0;
    for (const facts of this.#shown.values()) {
      const colour = COLOURS[which++ % COLOURS.length];
      const isShape = facts.hasShape && facts.shape;
      const reach = (facts.surfaces ? MEMBRANE_REACH_ANGSTROM : isShape ? reachOf(facts.shape) : (facts.diameter_angstrom ?? 16 * size) / 2) / size;
      const near = [];
      facts.places.forEach((place, i) => {
        const off = place[fixed] / size + origin - view.index - 0.5;
        const isBelow = facts.cut && Number.isFinite(facts.scores[i]) && facts.scores[i] < facts.cut.cut;
        if (Math.abs(off) < reach && !isBelow) near.push([off, i]);
      });
      context.lineWidth = 1.4 * EM;
      for (const [shade, members] of this.#byColour(facts, near, colour)) {
        context.strokeStyle = shade;
        context.beginPath();
        for (const one of members) {
          if (facts.surfaces) this.#membrane(context, view, facts, one, reach);
          else if (isShape && near.length <= MOST_SHAPES) this.#cut(context, view, facts, one);
          else this.#outline(context, view, facts, one, reach, near.length > MOST_OUTLINES);
        }
        context.stroke();
      }
    }
  }

  /** Particles on the slice by their colour. */
  #byColour(facts, near, colour) {
    const shadeOf = facts.isColoured
      ? (i) => (Number.isFinite(facts.scores[i]) ? CIVIDIS[Math.min(CIVIDIS.length - 1, Math.floor(facts.cut.part(facts.scores[i]) * CIVIDIS.length))] : "#767676")
      : facts.surfaces ? (i) => COLOURS[facts.surfaces[i] % COLOURS.length] : () => colour;
    const found = new Map();
    for (const one of near) {
      const shade = shadeOf(one[1]);
      if (!found.has(shade)) found.set(shade, []);
      found.get(shade).push(one);
    }
    return found;
  }

  #outline(context, view, { places, axes }, [off, i], radius, isCrowded) {
    const [x, y] = view.toScreen(...inPlane(view.axis, this.#scene.toVoxel(places[i])));
    const r = isCrowded ? 2 : Math.sqrt(radius ** 2 - off ** 2) * view.zoom;
    context.moveTo(x + r, y);
    context.arc(x, y, r, 0, 6.2832);
    const [nu, nv] = inPlane(view.axis, axes[i]);
    context.moveTo(x, y);
    context.lineTo(x + nu * radius * view.zoom, y - nv * radius * view.zoom);
  }

  /** Intersection of the slice with the average's surface at a particle: a line segment for every cut triangle. */
  #cut(context, view, { places, shape }, [, i]) {
    const { size } = this.#scene;
    const [fixed, right, up] = { z: [2, 0, 1], y: [1, 0, 2], x: [0, 2, 1] }[view.axis];
    const turn = shape.rotations[i];
    const place = places[i];
    const middle = (view.index - Math.floor(this.#scene.shape[2 - fixed] / 2)) * size;
    const n = shape.vertices.length;
    const [off, u, v] = [new Float32Array(n), new Float32Array(n), new Float32Array(n)];
    const [x0, y0] = view.toScreen(...inPlane(view.axis, this.#scene.toVoxel(place)));
    const scale = view.zoom / size;
    shape.vertices.forEach(([x, y, z], k) => {
      const along = (row) => turn[3 * row] * x + turn[3 * row + 1] * y + turn[3 * row + 2] * z;
      off[k] = along(fixed) + place[fixed] - middle;
      u[k] = x0 + along(right) * scale;
      v[k] = y0 - along(up) * scale;
    });
    for (const corners of shape.triangles) {
      const ends = [];
      for (let k = 0; k < 3; k++) {
        const [a, b] = [corners[k], corners[(k + 1) % 3]];
        if (off[a] < 0 === off[b] < 0) continue;
        const part = off[a] / (off[a] - off[b]);
        ends.push(u[a] + part * (u[b] - u[a]), v[a] + part * (v[b] - v[a]));
      }
      if (ends.length < 4) continue;
      context.moveTo(ends[0], ends[1]);
      context.lineTo(ends[2], ends[3]);
      this.nSegments += 1;
    }
  }

  /** A piece of membrane: a line perpendicular to its normal, up to the next points. */
  #membrane(context, view, { places, axes }, [, i], reach) {
    const [x, y] = view.toScreen(...inPlane(view.axis, this.#scene.toVoxel(places[i])));
    const [nu, nv] = inPlane(view.axis, axes[i]);
    const length = Math.hypot(nu, nv);
    if (length < 0.3) return; // the membrane is in the slice, so there is no line
    const [du, dv] = [(-nv / length) * reach * view.zoom, (nu / length) * reach * view.zoom];
    context.moveTo(x - du, y + dv);
    context.lineTo(x + du, y - dv);
  }
}
