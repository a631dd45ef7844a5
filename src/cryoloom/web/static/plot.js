/** Small plots of one value against another, drawn as SVG; a click picks the nearest point. */

const NS = "http://www.w3.org/2000/svg";
export const COLOURS = ["#56b4e9", "#e69f00", "#009e73", "#cc79a7"];
const EM = parseFloat(getComputedStyle(document.documentElement).fontSize) / 14; // larger on a large screen

export function svg(tag, attributes, text) {
  const element = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  if (text !== undefined) element.textContent = text;
  return element;
}

/** At most n round ticks that cover a range. */
export function ticks(low, high, n = 4, isWhole = false) {
  const rough = Math.max((high - low) / n || 1, isWhole ? 1 : 0);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((s) => s * power).find((s) => s >= rough) ?? power * 10;
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-6; value += step) found.push(Math.abs(value) < step * 1e-6 ? 0 : Number(value.toPrecision(10)));
  return found;
}

/** Edges of bins from their equally spaced middles. */
function edgesOf(middles) {
  const half = middles.length > 1 ? (middles[1] - middles[0]) / 2 : 0.5;
  return [...middles.map((middle) => middle - half), (middles.at(-1) ?? 0) + half];
}

export class Plot {
  /**
   * options: title, xTitle, isCounted (x is a number of something: ticks are whole), zero (the y axis begins at 0), isInverted (y grows downwards), lines: [{x, y, label,
   * shape: "dot" | "ring" | "line" | "steps" (of a histogram) | "band" (y plus and minus its half), dash, half}], lane: {title, has(i)} (points that have no place on the axis stand in a lane
   * under it), mark(i): "excluded" | "flagged" | "" of a point, limits: [{y, label}], onPick(i, of which line),
   * onSelect([i...]).
   */
  constructor(container, options) {
    this.container = container;
    this.options = options;
    this.selected = -1;
    this.chosen = new Set();
    container.classList.add("plot");
    this.heading = document.createElement("h3");
    this.heading.textContent = options.title;
    if (options.help) this.heading.title = options.help;
    this.picture = svg("svg", { role: "img", "aria-label": options.title });
    container.replaceChildren(this.heading, this.picture);
    this.picture.addEventListener("pointerdown", (event) => this.#down(event));
    this.picture.addEventListener("pointermove", (event) => this.#hover(event));
    new ResizeObserver(() => this.draw()).observe(container);
  }

  set(options) {
    Object.assign(this.options, options);
    if (options.title) {
      this.heading.textContent = options.title;
      this.picture.setAttribute("aria-label", options.title);
    }
    this.draw();
  }

  /** Mark a point. Only the mark is moved, because a held key passes many points. */
  select(i) {
    this.selected = i;
    this.#markSelected();
  }

  #markSelected() {
    this.here?.remove();
    const x = this.options.lines[0]?.x[this.selected];
    if (!this.scale || this.selected < 0 || !Number.isFinite(x)) return;
    const { X, top, bottom, height } = this.scale;
    this.here = svg("line", { x1: X(x), x2: X(x), y1: top, y2: height - bottom, class: "plot-here" });
    this.picture.prepend(this.here);
  }

  draw() {
    const width = this.container.clientWidth - 8;
    const height = this.container.clientHeight - this.heading.offsetHeight - 8;
    if (width < 40 || height < 30) return;
    this.picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.picture.setAttribute("width", String(width));
    this.picture.setAttribute("height", String(height));
    const { lines, zero = false, limits = [], mark = () => "", xTitle = "" } = this.options;
    const known = (values) => values.filter((v) => Number.isFinite(v));
    const xs = lines.flatMap((line) => known(line.shape === "steps" ? edgesOf(line.x) : line.x));
    const { lane } = this.options;
    const inLane = (i) => Boolean(lane?.has(i));
    const ys = [...lines.flatMap((line) => known(line.y.filter((_, i) => !inLane(i)))), ...limits.map((l) => l.y)];
    const parts = [];
    if (!xs.length || !ys.length) {
      this.scale = null;
      parts.push(svg("text", { x: width / 2, y: height / 2, class: "plot-none", "text-anchor": "middle" }, "not measured"));
      this.picture.replaceChildren(...parts);
      return;
    }
    let [x0, x1] = [Math.min(...xs), Math.max(...xs)];
    let [y0, y1] = this.options.yRange ?? [zero ? 0 : Math.min(...ys), Math.max(...ys)];
    const padX = (x1 - x0 || 1) * 0.03;
    const padY = (y1 - y0 || Math.abs(y1) || 1) * 0.08;
    [x0, x1] = [x0 - padX, x1 + padX];
    [y0, y1] = this.options.yRange ?? [zero ? 0 : y0 - padY, y1 + padY];
    const laneHeight = lane && lines[0].x.some((_, i) => inLane(i)) ? 18 : 0;
    const under = (xTitle ? 30 : 16) * EM; // the tick labels of x
    const [left, right, top, bottom] = [44 * EM, 6 * EM, 4 * EM, under + laneHeight * EM];
    const X = (x) => left + ((x - x0) / (x1 - x0)) * (width - left - right);
    const part = (y) => (this.options.isInverted ? (y1 - y) / (y1 - y0) : (y - y0) / (y1 - y0));
    const Y = (y) => height - bottom - part(y) * (height - top - bottom);
    const laneY = height - under - (laneHeight / 2) * EM;
    this.scale = { X, Y, x0, x1, y0, y1, left, right, top, bottom, width, height };
    for (const y of ticks(y0, y1, Math.max(2, Math.floor(height / (34 * EM))))) {
      parts.push(svg("line", { x1: left, x2: width - right, y1: Y(y), y2: Y(y), class: "plot-grid" }));
      parts.push(svg("text", { x: left - 5, y: Y(y) + 4 * EM, class: "plot-tick", "text-anchor": "end" }, Number(y.toPrecision(6))));
    }
    for (const x of ticks(x0, x1, Math.max(2, Math.floor(width / (70 * EM))), this.options.isCounted)) {
      parts.push(svg("text", { x: X(x), y: height - under + 12 * EM, class: "plot-tick", "text-anchor": "middle" }, Number(x.toPrecision(6))));
    }
    if (laneHeight) {
      parts.push(svg("rect", { x: left, y: height - bottom, width: width - left - right, height: laneHeight * EM, class: "plot-lane" }));
      parts.push(svg("text", { x: left - 5, y: laneY + 4 * EM, class: "plot-tick", "text-anchor": "end" }, lane.title));
    }
    if (xTitle) parts.push(svg("text", { x: (left + width - right) / 2, y: height - 3, class: "plot-tick", "text-anchor": "middle" }, xTitle));
    for (const limit of limits) parts.push(svg("line", { x1: left, x2: width - right, y1: Y(limit.y), y2: Y(limit.y), class: limit.strong ? "plot-limit is-set" : "plot-limit" }));
    lines.forEach((line, which) => {
      const colour = line.colour ?? COLOURS[which % COLOURS.length];
      if (line.shape === "steps") {
        const edges = edgesOf(line.x).map(X);
        const tops = line.y.map((y, i) => `L${edges[i].toFixed(1)} ${Y(y).toFixed(1)}H${edges[i + 1].toFixed(1)}`);
        parts.push(svg("path", { d: `M${edges[0].toFixed(1)} ${Y(0)}${tops.join("")}V${Y(0)}z`, fill: colour, "fill-opacity": 0.35, stroke: colour }));
        return;
      }
      if (line.shape === "band") {
        const there = line.x.map((_, i) => i).filter((i) => !inLane(i) && Number.isFinite(line.y[i]) && Number.isFinite(line.half[i]));
        const edge = (by) => there.map((i) => `${X(line.x[i]).toFixed(1)} ${Y(line.y[i] + by * line.half[i]).toFixed(1)}`);
        if (there.length > 1) parts.push(svg("path", { d: `M${[...edge(1), ...edge(-1).reverse()].join("L")}z`, fill: colour, "fill-opacity": 0.25, class: "plot-model" }));
        return;
      }
      if (line.shape === "line") {
        let path = "";
        line.x.forEach((x, i) => {
          const is = Number.isFinite(line.y[i]) && Number.isFinite(x);
          path += is ? `${path && Number.isFinite(line.y[i - 1]) ? "L" : "M"}${X(x).toFixed(1)} ${Y(line.y[i]).toFixed(1)}` : "";
        });
        parts.push(svg("path", { d: path, fill: "none", stroke: colour, "stroke-width": (line.width ?? 1.5) * EM, "stroke-dasharray": line.dash ?? "none", opacity: line.opacity ?? 1 }));
        return;
      }
      line.x.forEach((x, i) => {
        const y = line.y[i];
        const isIn = inLane(i);
        if (isIn ? which !== this.#firstOfPoints(lines) : !Number.isFinite(y)) return; // once in the lane
        const state = mark(i);
        const at = isIn ? laneY : Math.max(top + 3, Math.min(height - bottom, Y(y)));
        if (state === "flagged") parts.push(svg("path", { d: `M${X(x)} ${at - 5 * EM}l${5 * EM} ${9 * EM}h${-10 * EM}z`, class: "plot-flagged" }));
        else parts.push(svg("circle", { cx: X(x), cy: at, r: 3.4 * EM, stroke: colour, "stroke-width": EM, fill: state === "excluded" || line.shape === "ring" ? "none" : colour, class: state === "excluded" ? "plot-excluded" : "" }));
        if (this.chosen.has(i)) parts.push(svg("circle", { cx: X(x), cy: at, r: 7 * EM, class: "plot-chosen" }));
      });
    });
    this.picture.replaceChildren(...parts);
    this.#markSelected();
  }

  /** Index of the first line that is drawn as points. */
  #firstOfPoints(lines) {
    return lines.findIndex((line) => !["line", "band", "steps"].includes(line.shape));
  }

  #nearest(event) {
    if (!this.scale) return -1;
    const box = this.picture.getBoundingClientRect();
    const [px, py] = [event.clientX - box.left, event.clientY - box.top];
    let best = -1;
    let least = Infinity;
    for (const [which, line] of this.options.lines.entries()) {
      const isPoints = (one) => !["line", "band"].includes(one.shape);
      if (!isPoints(line) && this.options.lines.some(isPoints)) continue;
      line.x.forEach((x, i) => {
        const y = Number.isFinite(line.y[i]) ? this.scale.Y(line.y[i]) : py;
        const distance = Math.hypot(this.scale.X(x) - px, 0.3 * (y - py));
        if (distance < least) [least, best, this.nearestLine] = [distance, i, which];
      });
    }
    return best;
  }

  #hover(event) {
    const i = this.#nearest(event);
    const { lines, pointTitle } = this.options;
    if (i < 0) return;
    this.picture.setAttribute("aria-label", this.options.title);
    this.heading.textContent = `${this.options.title}   ${pointTitle ? pointTitle(i) : lines.filter((l) => l.shape !== "band").map((l) => (Number.isFinite(l.y[i]) ? Number(l.y[i].toPrecision(4)) : "-")).join(" / ")}`;
  }

  #down(event) {
    if (!this.options.onSelect || event.button !== 0) {
      const i = this.#nearest(event);
      if (i >= 0) this.options.onPick?.(i, this.nearestLine);
      return;
    }
    // Drag selects a range of x; a click picks.
    const box = this.picture.getBoundingClientRect();
    const begin = event.clientX - box.left;
    const band = svg("rect", { class: "plot-band", y: this.scale.top, height: this.scale.height - this.scale.top - this.scale.bottom, x: begin, width: 0 });
    this.picture.append(band);
    this.picture.setPointerCapture(event.pointerId);
    const move = (moved) => {
      const now = moved.clientX - box.left;
      band.setAttribute("x", String(Math.min(begin, now)));
      band.setAttribute("width", String(Math.abs(now - begin)));
    };
    this.picture.addEventListener("pointermove", move);
    this.picture.addEventListener("pointerup", (ended) => {
      this.picture.removeEventListener("pointermove", move);
      band.remove();
      const end = ended.clientX - box.left;
      if (Math.abs(end - begin) < 4) {
        const i = this.#nearest(ended);
        if (i >= 0) this.options.onPick?.(i, this.nearestLine);
        return;
      }
      const [low, high] = [Math.min(begin, end), Math.max(begin, end)];
      const found = [];
      this.options.lines[0].x.forEach((x, i) => {
        const at = this.scale.X(x);
        if (at >= low && at <= high) found.push(i);
      });
      this.chosen = new Set(found);
      this.draw();
      this.options.onSelect(found);
    }, { once: true });
  }
}
