/** Values with an axis (such as astigmatism): each point is drawn at its angle and at the opposite angle. */

import { svg, ticks } from "./plot.js";

const EM = parseFloat(getComputedStyle(document.documentElement).fontSize) / 14; // larger on a large screen

export class PolarPlot {
  /** options: title, help, unit, mark(i): "excluded" | "flagged" | "", onPick(i). */
  constructor(container, options) {
    this.container = container;
    this.options = options;
    this.radii = [];
    this.angles = [];
    this.selected = -1;
    container.classList.add("plot");
    this.heading = document.createElement("h3");
    this.heading.textContent = options.title;
    if (options.help) this.heading.title = options.help;
    this.picture = svg("svg", { role: "img", "aria-label": options.title });
    container.replaceChildren(this.heading, this.picture);
    this.picture.addEventListener("pointerdown", (event) => this.#pick(event));
    new ResizeObserver(() => this.draw()).observe(container);
  }

  /** Lengths, and angles in degrees, counterclockwise from the right; NaN if not measured. */
  set(radii, angles) {
    [this.radii, this.angles] = [radii, angles];
    this.draw();
  }

  select(i) {
    this.selected = i;
    this.draw();
  }

  /** Positions of a point and its opposite in the picture. */
  #places(i) {
    const angle = (this.angles[i] * Math.PI) / 180;
    const [dx, dy] = [Math.cos(angle), -Math.sin(angle)].map((part) => part * this.radii[i] * this.scale);
    return [[this.middle[0] + dx, this.middle[1] + dy], [this.middle[0] - dx, this.middle[1] - dy]];
  }

  #isKnown(i) {
    return Number.isFinite(this.radii[i]) && Number.isFinite(this.angles[i]);
  }

  draw() {
    const width = this.container.clientWidth - 8;
    const height = this.container.clientHeight - this.heading.offsetHeight - 8;
    if (width < 40 || height < 40) return;
    for (const [name, value] of Object.entries({ viewBox: `0 0 ${width} ${height}`, width, height })) this.picture.setAttribute(name, String(value));
    const known = this.radii.map((_, i) => i).filter((i) => this.#isKnown(i));
    if (!known.length) {
      this.picture.replaceChildren(svg("text", { x: width / 2, y: height / 2, class: "plot-none", "text-anchor": "middle" }, "not measured"));
      return;
    }
    const most = Math.max(...known.map((i) => this.radii[i])) || 1;
    const room = Math.min(width, height) / 2 - 10 * EM;
    this.middle = [width / 2, height / 2];
    this.scale = room / (1.08 * most);
    const [x, y] = this.middle;
    const parts = [];
    for (const tick of ticks(0, 1.08 * most, 3).filter((value) => value > 0)) {
      parts.push(svg("circle", { cx: x, cy: y, r: tick * this.scale, class: "plot-grid", fill: "none" }));
      parts.push(svg("text", { x, y: y - tick * this.scale - 2, class: "plot-tick", "text-anchor": "middle" }, `${Number(tick.toPrecision(4))} ${this.options.unit}`));
    }
    parts.push(svg("line", { x1: x - room, x2: x + room, y1: y, y2: y, class: "plot-grid" }), svg("line", { x1: x, x2: x, y1: y - room, y2: y + room, class: "plot-grid" }));
    for (const i of known) {
      const state = this.options.mark(i);
      const places = this.#places(i);
      if (i === this.selected) parts.push(svg("line", { x1: places[0][0], y1: places[0][1], x2: places[1][0], y2: places[1][1], class: "plot-here" }));
      for (const [px, py] of places) {
        if (state === "flagged") parts.push(svg("path", { d: `M${px} ${py - 5 * EM}l${5 * EM} ${9 * EM}h${-10 * EM}z`, class: "plot-flagged" }));
        else parts.push(svg("circle", { cx: px, cy: py, r: 3 * EM, stroke: "#56b4e9", fill: state === "excluded" ? "none" : "#56b4e9", class: state === "excluded" ? "plot-excluded" : "" }));
        if (i === this.selected) parts.push(svg("circle", { cx: px, cy: py, r: 7 * EM, class: "plot-chosen" }));
      }
    }
    this.picture.replaceChildren(...parts);
  }

  #pick(event) {
    if (!this.scale) return;
    const box = this.picture.getBoundingClientRect();
    const away = (i) => Math.min(...this.#places(i).map(([x, y]) => Math.hypot(x + box.left - event.clientX, y + box.top - event.clientY)));
    const known = this.radii.map((_, i) => i).filter((i) => this.#isKnown(i));
    const nearest = known.reduce((best, i) => (best < 0 || away(i) < away(best) ? i : best), -1);
    if (nearest >= 0 && away(nearest) < 20 * EM) this.options.onPick?.(nearest);
  }
}
