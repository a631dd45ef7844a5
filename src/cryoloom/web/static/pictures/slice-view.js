/**
 * <slice-view>: one slice of a volume or stack on a canvas, scrubbed by keys, wheel and pointer.
 *
 * Keys, prefetch, contrast and zoom are handled here; the server only makes pictures. The picture of an address never
 * changes, so it is fetched once. While the index changes, 8-bit slices are shown at the size that the connection
 * allows, at least small ones from strips. At rest the stored values are requested and the badge says "exact".
 *
 * Plane coordinates (u, v) are in pixels of level 0 from the lower left corner; pixel i spans i to i + 1.
 */

import { decoded } from "./decoded.js";
import { ScrubPace } from "./scrub-pace.js";
import { SliceStrips } from "./slice-strips.js";

export const EM = parseFloat(getComputedStyle(document.documentElement).fontSize) / 14; // larger on a large screen
const N_IN_FLIGHT = 4; // browsers open six connections per server, and the events use one
const MOST_WAITING = 4; // keys: an eighth of a second at 30 per second, longer than usual pauses of a browser
const N_AHEAD = 6;
const N_KEPT = 96;
const SHARP_MS = 120; // longest wait without a key: longer than between two repeated keys
const EXACT_MS = 250;
const SCRUB_MS = 250; // chosen: slower changes are not scrubbing
const MOST_COARSER = 2; // levels below the sharp one: beyond, strips are as good
const COSTLY_PX = 4e6; // of a section; reading a larger one takes longer than a frame
const SLOW_MS = 120; // a sharp slice that takes longer is first sent in fewer bytes
const AXES = { z: ["x", "y", "z"], y: ["x", "z", "y"], x: ["z", "y", "x"] }; // u, v, and the axis of the slices

/** Size of the image along an axis. */
const sizeOf = (info, axis) => info.shape["zyx".indexOf(axis)];

/** Position of a picture in its bitmap: left, top, width, height. */
const partOf = ({ bitmap, part }) => part ?? [0, 0, bitmap.width, bitmap.height];

class SliceView extends HTMLElement {
  /** @type {any} */ info = null;
  axis = "z";
  index = 0;
  thickness = 1;
  zoom = 1;
  centre = [0, 0];
  /** Black and white as fractions of each picture's range, or as values for a volume. */
  window = [0, 1];
  inverted = false;
  /** Functions (context, view) that draw over the picture, in the order of the array. */
  layers = [];
  /** Drawn into the picture, over its grey values: {draw(context, view)}. */
  overlays = [];
  /** Pointer actions instead of panning: {down, move, up}, each (event, [u, v]), true if the event was used. */
  tool = null;
  /** Placement of a tilt image by its index: {axis_deg, shift: [x, y] in pixels}; null to show it as recorded. */
  placement = null;
  nDrawn = 0;
  lastDrawMs = 0;
  #pictures = new Map();
  #flying = new Map();
  #wanted = [];
  #pace = new ScrubPace();
  #strips = new SliceStrips(() => this.draw());
  #isFirst = false; // nothing was shown in this view yet: the slice is fetched before its neighbours
  #shown = null;
  #restTimer = 0;
  #valueTimer = 0;
  #pollTimer = 0;
  #frame = 0;
  #direction = 1;
  #lastMove = 0;
  #waiting = []; // steps that wait until the current slice is drawn
  #isDrawn = true; // whether the slice of the current index is drawn
  #overlaid = ""; // content of the upper layer, if it is only the scale bar
  #nOpened = 0;
  #fitted = true;
  #failed = "";

  connectedCallback() {
    if (this.canvas) return;
    this.tabIndex = 0;
    this.setAttribute("role", "img");
    this.innerHTML = "";
    this.canvas = document.createElement("canvas");
    this.overlay = document.createElement("canvas");
    this.overlay.className = "slice-overlay";
    this.badge = document.createElement("span");
    this.badge.className = "slice-badge";
    this.readout = document.createElement("span");
    this.readout.className = "slice-readout";
    this.notice = document.createElement("p");
    this.notice.className = "slice-notice";
    this.notice.hidden = true;
    this.append(this.canvas, this.overlay, this.badge, this.readout, this.notice);
    this.#listen();
    this.observer = new ResizeObserver(() => this.#resize());
    this.observer.observe(this);
  }

  disconnectedCallback() {
    this.observer?.disconnect();
    for (const { controller } of this.#flying.values()) controller.abort();
    for (const picture of this.#pictures.values()) picture.bitmap.close();
    this.#pictures.clear();
    this.#strips.close();
    clearTimeout(this.#pollTimer);
  }

  /** Show an image by the address of its info; index, zoom and window are kept if the shape is the same. */
  async open(base, { index = null, keep = false } = {}) {
    const mine = ++this.#nOpened;
    const response = await fetch(`${base}/info.json`);
    const info = await response.json().catch(() => ({}));
    if (mine !== this.#nOpened) return false; // another image was opened in the meantime
    const before = this.info;
    if (!response.ok) {
      this.#say(info.error ?? `The image cannot be shown (${response.status}).`);
      this.info = null;
      this.#clear();
      return false;
    }
    this.#say("");
    const isSame = keep && before && String(before.shape) === String(info.shape) && before.kind === info.kind;
    this.info = { ...info, base };
    this.#shown = null;
    this.#failed = "";
    const n = sizeOf(info, this.axis);
    if (isSame && before.key !== info.key && info.kind === "volume") {
      // Another variant of the same volume: black and white at the same fractions of its range.
      this.window = this.window.map((v) => info.low + ((v - before.low) / (before.high - before.low)) * (info.high - info.low));
    }
    if (!isSame) {
      this.window = info.kind === "volume" ? [info.low, info.high] : [0, 1];
      this.index = Math.floor(n / 2);
      this.#fitted = true;
    }
    if (index !== null) this.index = Math.max(0, Math.min(n - 1, index));
    if (this.#fitted) this.fit();
    this.#changed(false);
    if (!info.ready) this.#poll();
    return true;
  }

  /**
   * Let the server prepare an image that may be opened next, and fetch its first picture, for the current view and
   * slice.
   */
  async preload(base, index) {
    const info = await fetch(`${base}/info.json`).then((response) => (response.ok ? response.json() : null)).catch(() => null);
    if (!info || !this.info || String(info.shape) !== String(this.info.shape) || info.kind !== this.info.kind) return;
    const url = this.#url(this.#sharpLevel(), index, 80, "", { ...info, base });
    await fetch(url, { priority: "low" }).then((response) => response.arrayBuffer()).catch(() => null);
  }

  /** Go to a slice. */
  go(index) {
    if (!this.info || index === this.index) return;
    this.#waiting = [];
    this.#goTo(index);
  }

  /**
   * Move by a number of slices. A key waits until the slice of the previous key is drawn, so that after a pause of the
   * browser every slice is shown, one per frame.
   */
  step(by) {
    if (!this.info) return;
    this.#waiting.push(by);
    if (this.#isDrawn || !this.#best()) this.go(this.index + this.#waiting.reduce((sum, one) => sum + one, 0));
    else if (this.#waiting.length > MOST_WAITING) this.#goOn();
  }

  #goOn() {
    const before = this.index;
    while (this.#waiting.length && this.index === before) this.#goTo(this.index + this.#waiting.shift());
  }

  #goTo(index) {
    const next = Math.max(0, Math.min(sizeOf(this.info, this.axis) - 1, Math.round(index)));
    if (next === this.index) return;
    this.#direction = Math.sign(next - this.index);
    const now = performance.now();
    const isScrubbing = now - this.#lastMove < SCRUB_MS;
    const ms = now - this.#lastMove;
    this.#lastMove = now;
    this.index = next;
    this.#isDrawn = false;
    if (isScrubbing) this.#pace.passed(ms, this.#has(next), this.#scrubLevel()[0], this.#sharpLevel());
    this.#changed(true);
    this.dispatchEvent(new CustomEvent("index", { detail: next }));
  }

  setThickness(n) {
    this.thickness = Math.max(1, n);
    this.#changed(false);
  }

  setAxis(axis) {
    this.axis = axis;
    if (!this.info) return;
    this.index = Math.floor(sizeOf(this.info, axis) / 2);
    this.#shown = null;
    this.fit();
    this.#changed(false);
  }

  /** Set black and white (values for a volume, fractions of each picture's range for a stack) without a request. */
  setWindow(low, high) {
    this.window = [low, Math.max(high, low + 1e-9 * Math.max(1, Math.abs(low)))];
    this.draw();
    this.#restSoon();
    this.dispatchEvent(new CustomEvent("window", { detail: this.window }));
  }

  invert() {
    this.inverted = !this.inverted;
    this.draw();
  }

  /** Black and white from the screen's content: its mean and 3.5 standard deviations. */
  autoWindow() {
    const picture = this.#picture();
    if (!picture) return;
    const small = new OffscreenCanvas(128, 128);
    const context = small.getContext("2d", { willReadFrequently: true });
    context.drawImage(picture.bitmap, ...partOf(picture), 0, 0, 128, 128);
    const data = context.getImageData(0, 0, 128, 128).data;
    let sum = 0;
    let squares = 0;
    for (let i = 0; i < data.length; i += 4) {
      sum += data[i];
      squares += data[i] * data[i];
    }
    const n = data.length / 4;
    const mean = sum / n;
    const deviation = Math.sqrt(Math.max(squares / n - mean * mean, 1));
    const [low, high] = [mean - 3.5 * deviation, mean + 3.5 * deviation].map((v) => v / 255);
    if (this.info.kind === "stack") this.setWindow(low, high);
    else {
      const range = picture.high - picture.low;
      this.setWindow(picture.low + low * range, picture.low + high * range);
    }
  }

  /** Show the whole plane. */
  fit() {
    if (!this.info) return;
    const [nu, nv] = this.planeSize();
    const { clientWidth: width, clientHeight: height } = this;
    this.#fitted = true;
    if (!width || !height) return;
    this.zoom = Math.min(width / nu, height / nv);
    this.centre = [nu / 2, nv / 2];
    this.draw();
  }

  /** Zoom by a factor about a screen position, or about the middle. */
  zoomBy(factor, at = null) {
    if (!this.info) return;
    const x = at ? at[0] - this.clientWidth / 2 : 0;
    const y = at ? at[1] - this.clientHeight / 2 : 0;
    const zoom = Math.max(0.02, Math.min(40, this.zoom * factor));
    this.centre[0] += x / this.zoom - x / zoom;
    this.centre[1] -= y / this.zoom - y / zoom;
    this.zoom = zoom;
    this.#fitted = false;
    this.#moved();
  }

  /** Centre the view on a position in the plane. */
  centreOn(u, v, zoom = null) {
    this.centre = [u, v];
    if (zoom) this.zoom = zoom;
    this.#fitted = false;
    this.#moved();
  }

  planeSize() {
    const [u, v] = AXES[this.axis];
    return [sizeOf(this.info, u), sizeOf(this.info, v)];
  }

  /** Screen position of a position in the plane. */
  toScreen(u, v) {
    return [
      this.clientWidth / 2 + (u - this.centre[0]) * this.zoom,
      this.clientHeight / 2 - (v - this.centre[1]) * this.zoom,
    ];
  }

  /** Position in the plane at a screen position. */
  toPlane(x, y) {
    return [
      (x - this.clientWidth / 2) / this.zoom + this.centre[0],
      this.centre[1] - (y - this.clientHeight / 2) / this.zoom,
    ];
  }

  /** Voxel indices (z, y, x) at a position in the plane. */
  voxelAt(u, v) {
    const [au, av, an] = AXES[this.axis];
    const at = { [au]: Math.floor(u), [av]: Math.floor(v), [an]: this.index };
    return [at.z, at.y, at.x];
  }

  /** State of the view, for tests and for pages that describe it. */
  get state() {
    const picture = this.#picture();
    return {
      index: this.index,
      axis: this.axis,
      thickness: this.thickness,
      zoom: this.zoom,
      window: [...this.window],
      shownIndex: picture?.index ?? null,
      level: picture?.level ?? null,
      exact: Boolean(picture?.exact),
      ready: Boolean(this.info?.ready),
      nDrawn: this.nDrawn,
      failed: this.#failed,
    };
  }

  /** Draw picture and layers in the next frame. */
  draw() {
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#paint());
  }

  // Requests

  #url(level, index, quality, more = "", { base, key } = this.info) {
    return `${base}/${key}/${level}/${this.axis}/${index}.jpg?n=${this.thickness}&q=${quality}${more}`;
  }

  /** Coarsest level with at least the screen's resolution. */
  #sharpLevel() {
    const ratio = devicePixelRatio || 1;
    const level = Math.floor(Math.log2(1 / Math.max(this.zoom * ratio, 1e-6)) + 0.25);
    return Math.max(0, Math.min(this.info.levels.length - 1, Math.max(level, this.#coarseEnough())));
  }

  /** Finest level whose planes are small enough for one picture. */
  #coarseEnough() {
    return this.info.levels.findIndex((_, level) => Math.max(...this.#levelSize(level)) <= 4096);
  }

  #levelSize(level) {
    const [u, v] = AXES[this.axis];
    const shape = this.info.levels[level];
    return [shape["zyx".indexOf(u)], shape["zyx".indexOf(v)]];
  }

  /** Level and quality during scrubbing. */
  #scrubLevel() {
    const sharp = this.#sharpLevel();
    const level = this.#pace.level(sharp, Math.min(sharp + MOST_COARSER, this.info.levels.length - 1));
    return [level, level === sharp ? 80 : 50];
  }

  /** Whether there is a picture of a slice for this view, at any level. */
  #has(index) {
    const start = `?n=${this.thickness}&`;
    for (const one of this.#pictures.values()) if (one.index === index && one.axis === this.axis && one.key === this.info.key && one.url.includes(start)) return true;
    return false;
  }

  #changed(isScrubbing) {
    if (!this.info) return;
    const [level, quality] = isScrubbing ? this.#scrubLevel() : [this.#sharpLevel(), 80];
    if (!this.#has(this.index) && (!isScrubbing || this.axis !== this.#shown?.axis)) this.#isFirst = true;
    // Slices that would arrive too late are not requested, which leaves time for the next ones.
    const lead = isScrubbing && !this.#has(this.index) ? Math.min(N_AHEAD, Math.floor(this.#pace.latency / this.#pace.between)) : 0;
    this.#wanted = isScrubbing || !this.#isCostly() ? this.#around(level, quality, lead) : [];
    if (lead) this.#wanted.push(this.#entry(level, this.index, quality));
    else if (!isScrubbing || !this.#has(this.index)) this.#wanted.unshift(this.#entry(level, this.index, quality));
    // A slice across the sections takes long to read; with half the resolution it is fast.
    if (this.#isFirst && this.axis !== "z" && level + 1 < this.info.levels.length) this.#wanted.unshift(this.#entry(level + 1, this.index, 75));
    this.#abandon((entry) => {
      const ahead = (entry.index - this.index) * this.#direction;
      const isOfView = entry.axis === this.axis && entry.key === this.info.key && entry.thickness === this.thickness;
      // Requested large pictures must not delay the smaller ones.
      return isOfView && ahead >= -12 && ahead <= 2 * N_AHEAD && (!isScrubbing || entry.level >= level);
    });
    if (!this.#isFirst) this.#wantStrips();
    this.#pump();
    this.draw();
    this.#restSoon();
  }

  /** Whether each slice reads a large section, because there are no levels yet: neighbours would hold up the next image. */
  #isCostly() {
    const [, height, width] = this.info.shape;
    return !this.info.ready && height * width > COSTLY_PX;
  }

  #wantStrips() {
    this.#strips.want(this, (level) => this.#levelSize(level), this.index, this.#direction, sizeOf(this.info, this.axis));
  }

  /** The next slices, and the previous one, except those that exist at another level. */
  #around(level, quality, lead = 0) {
    const n = sizeOf(this.info, this.axis);
    const offsets = [...Array.from({ length: N_AHEAD }, (_, i) => lead + i + 1), ...(lead ? [] : [-1])];
    return offsets.map((offset) => this.index + this.#direction * offset)
      .filter((index) => index >= 0 && index < n && !this.#has(index)).map((index) => this.#entry(level, index, quality));
  }

  /** Cancel requests that are no longer needed. */
  #abandon(isUseful) {
    for (const { entry, controller } of this.#flying.values()) if (!isUseful(entry)) controller.abort();
  }

  #moved() {
    this.draw();
    this.#restSoon();
    this.dispatchEvent(new CustomEvent("moved"));
  }

  #restSoon() {
    clearTimeout(this.#restTimer);
    // A held key repeats at a constant interval: if it is late by more than half of this, it was released.
    this.#restTimer = setTimeout(() => this.#rest(), Math.min(SHARP_MS, Math.max(60, 1.6 * this.#pace.between)));
  }

  /** The index is at rest: request first a sharp picture alone, then the stored values, then the neighbours. */
  #rest() {
    if (!this.info) return;
    const level = this.#sharpLevel();
    const isSlow = this.#pace.costOf(level) > SLOW_MS;
    const sharp = this.#entry(level, this.index, isSlow ? 30 : 85);
    const isSharp = this.#best()?.level <= level;
    this.#wanted = [];
    if (!isSharp) {
      this.#wanted.push(sharp);
      this.#abandon((entry) => entry.url === sharp.url);
    }
    if (this.info.exact_axes.includes(this.axis) && this.info.kind === "volume") {
      const [low, high] = this.window;
      const exact = { ...this.#entry(level, this.index, 92, `&lo=${low}&hi=${high}`), exact: true, notBefore: performance.now() + EXACT_MS - SHARP_MS };
      this.#wanted.push(exact);
      setTimeout(() => this.#pump(), EXACT_MS - SHARP_MS + 1);
    }
    if (!this.#isCostly()) this.#wanted.push(...this.#around(...this.#scrubLevel()));
    if (isSharp) this.#wantStrips();
    this.#pump();
  }

  #entry(level, index, quality, more = "") {
    return { url: this.#url(level, index, quality, more), level, index, quality, axis: this.axis, key: this.info.key, thickness: this.thickness };
  }

  #pump() {
    if (!this.info || (!this.info.ready && this.axis !== "z")) return; // #poll calls again when it is ready
    const mostAtOnce = this.#isFirst ? 1 : this.#mostAtOnce();
    for (const entry of this.#wanted) {
      if (this.#flying.size >= mostAtOnce) return;
      if (entry.index >= sizeOf(this.info, entry.axis)) continue; // the page has changed the axis and opens another image
      if (entry.notBefore > performance.now() || this.#pictures.has(entry.url) || this.#flying.has(entry.url)) continue;
      this.#fetch(entry);
    }
  }

  /** Number of requests at the same time: the slices that pass during the latency, and one; more would only slow the drawing. */
  #mostAtOnce() {
    if (performance.now() - this.#lastMove > SCRUB_MS) return N_IN_FLIGHT;
    return Math.min(N_IN_FLIGHT, 1 + Math.ceil(this.#pace.latency / this.#pace.between));
  }

  async #fetch(entry) {
    const controller = new AbortController();
    this.#flying.set(entry.url, { entry, controller });
    const began = performance.now();
    try {
      const response = await fetch(entry.url, { signal: controller.signal });
      if (response.status !== 200) { // 202: its levels are being made
        const facts = await response.json().catch(() => ({}));
        this.#failed = facts.error ?? String(response.status);
        if (entry.index === this.index) this.#say(facts.error ?? "This slice cannot be shown.");
        this.#wanted = this.#wanted.filter((other) => other.url !== entry.url);
        this.#isFirst = false;
        return;
      }
      const [low, high] = response.headers.get("x-range").split(",").map(Number);
      const bitmap = await decoded(await response.arrayBuffer());
      if (!entry.exact) this.#pace.arrived(entry.level, began, performance.now());
      const picture = { ...entry, bitmap, low, high };
      this.#keep(entry, picture);
      if (entry.index === this.index) {
        this.#isFirst = false;
        if (!this.#failed) this.#say("");
        this.#failed = "";
        this.draw();
        this.#wantStrips();
      } else if (this.#isNearer(picture)) {
        this.#shown = picture; // slices arrive too slowly: a near one is better than a frozen one
        this.draw();
      }
    } catch (error) {
      if (error.name !== "AbortError") this.#failed = "The server does not answer.";
    } finally {
      this.#flying.delete(entry.url);
      this.#pump();
    }
  }

  /** Whether a picture of another slice is nearer to the current slice than the shown one. */
  #isNearer(picture) {
    const shown = this.#shown;
    if (picture.key !== this.info?.key || picture.axis !== this.axis || !picture.url.includes(`?n=${this.thickness}&`)) return false;
    if (!shown || shown.key !== picture.key || shown.axis !== this.axis) return false;
    return Math.abs(picture.index - this.index) < Math.abs(shown.index - this.index);
  }

  #keep(entry, picture) {
    this.#pictures.set(entry.url, picture);
    while (this.#pictures.size > N_KEPT) {
      const [url, oldest] = this.#pictures.entries().next().value;
      if (oldest === this.#shown) break;
      oldest.bitmap.close();
      this.#pictures.delete(url);
    }
  }

  /** Best available picture of the current slice. */
  #best() {
    let best = null;
    const start = `?n=${this.thickness}&`;
    for (const picture of this.#pictures.values()) {
      if (picture.index !== this.index || picture.axis !== this.axis || picture.key !== this.info.key) continue;
      if (!picture.url.includes(start)) continue;
      if (picture.exact && !picture.url.endsWith(`&lo=${this.window[0]}&hi=${this.window[1]}`)) continue;
      if (!best || this.#isBetter(picture, best)) best = picture;
    }
    return best ?? this.#strips.picture(this, (level) => this.#levelSize(level), this.index);
  }

  /** Best picture of the current slice, otherwise the last shown one. */
  #picture() {
    if (!this.info) return null;
    const best = this.#best();
    if (best) this.#shown = best;
    else if (this.#shown?.bitmap.width === 0) this.#shown = null; // from a strip that was dropped
    return this.#shown;
  }

  #isBetter(picture, than) {
    if (Boolean(picture.exact) !== Boolean(than.exact)) return Boolean(picture.exact);
    return picture.level !== than.level ? picture.level < than.level : picture.quality > than.quality;
  }

  async #poll() {
    clearTimeout(this.#pollTimer);
    const { base, key } = this.info;
    const response = await fetch(`${base}/${key}/levels.json`).catch(() => null);
    if (!response || this.info?.key !== key) return;
    const facts = await response.json().catch(() => ({}));
    if (!response.ok) {
      this.#say(facts.error ?? "");
      this.dispatchEvent(new CustomEvent("unready"));
      return;
    }
    this.info.ready = facts.part >= 1;
    if (this.info.ready) {
      this.#say("");
      this.#changed(false);
      this.dispatchEvent(new CustomEvent("ready"));
      return;
    }
    if (this.axis !== "z") this.#say(`Preparing this view: ${Math.round(100 * facts.part)} %`);
    this.#pollTimer = setTimeout(() => this.#poll(), 300);
  }

  // Drawing

  /** Black and white as fractions of a picture's range. */
  #parts(picture) {
    if (picture.exact) return [0, 1];
    if (this.info.kind === "stack") return this.window;
    const range = picture.high - picture.low;
    return this.window.map((value) => (value - picture.low) / range);
  }

  /**
   * Map [low, high] of the drawn picture to black and white by fills with one grey value. Without a GPU, Skia needs a
   * few milliseconds for them; a filter on the element takes a tenth of a second. For 0 to 1 nothing is done.
   */
  #toneMap(context, picture) {
    const [low, high] = this.#parts(picture);
    const fill = (operation, part) => {
      context.globalCompositeOperation = operation;
      context.fillStyle = `rgb(${Array(3).fill(Math.round(255 * Math.max(0, Math.min(1, part)))).join(",")})`;
      context.fillRect(0, 0, this.clientWidth, this.clientHeight);
    };
    const scale = 1 / Math.max(high - low, 1e-3);
    const stretch = () => {
      if (scale > 1.002) fill("color-dodge", 1 - 1 / scale); // x / (1 - grey)
      else if (scale < 0.998) fill("multiply", scale);
    };
    if (low > 0.002) {
      fill("difference", 1); // 1 - x
      fill("lighter", low); // 1 - x + low, at most 1
      fill("difference", 1); // x - low, at least 0
      stretch();
    } else {
      stretch();
      if (low < -0.002) fill("lighter", -low * scale);
    }
    if (this.inverted) fill("difference", 1);
    context.globalCompositeOperation = "source-over";
  }

  #paint() {
    this.#frame = 0;
    if (!this.info || !this.clientWidth) return;
    const began = performance.now();
    const picture = this.#picture();
    const ratio = devicePixelRatio || 1;
    const context = this.canvas.getContext("2d", { alpha: false });
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.clientWidth, this.clientHeight);
    if (picture) {
      const scale = 2 ** picture.level;
      const part = partOf(picture);
      const [width, height] = [part[2] * scale, part[3] * scale];
      const [x, y] = this.toScreen(0, height);
      context.imageSmoothingEnabled = this.zoom * scale < 3;
      context.save();
      this.#place(context, picture.index);
      context.drawImage(picture.bitmap, ...part, x, y, width * this.zoom, height * this.zoom);
      context.restore();
      this.#toneMap(context, picture);
      for (const overlay of this.overlays) overlay.draw(context, this);
      this.badge.textContent = picture.exact ? "exact" : picture.level ? `8 bit, 1/${scale}` : "8 bit";
      this.badge.classList.toggle("is-exact", Boolean(picture.exact));
    }
    this.#overlay(ratio);
    this.nDrawn += 1;
    this.lastDrawMs = performance.now() - began;
    this.#isDrawn = true;
    this.dispatchEvent(new CustomEvent("drawn"));
    this.#goOn();
  }

  /** Draw the layer over the picture. Nothing is done if it is only the scale bar and already drawn. */
  #overlay(ratio) {
    const shown = this.layers.length ? "" : [this.zoom, this.overlay.width, this.overlay.height, this.info.pixel_size_angstrom].join();
    if (shown && shown === this.#overlaid) return;
    this.#overlaid = shown;
    const over = this.overlay.getContext("2d");
    over.setTransform(ratio, 0, 0, ratio, 0, 0);
    over.clearRect(0, 0, this.clientWidth, this.clientHeight);
    for (const layer of this.layers) layer(over, this);
    this.#scaleBar(over);
  }

  /** Rotate and shift a tilt image so that its axis is vertical through the middle: aligned = R(-axis) (image - shift). */
  #place(context, index) {
    const placement = this.placement?.(index);
    if (!placement) return;
    const [nu, nv] = this.planeSize();
    // The origin is the middle of pixel n // 2, half a pixel from its edge.
    const [x, y] = this.toScreen(Math.floor(nu / 2) + 0.5, Math.floor(nv / 2) + 0.5);
    context.translate(x, y);
    context.rotate((placement.axis_deg * Math.PI) / 180); // the screen's y points down, so this rotates by -axis
    context.translate(-placement.shift[0] * this.zoom, placement.shift[1] * this.zoom);
    context.translate(-x, -y);
  }

  /** Position in the shown plane of a position in the recorded image. */
  placed(index, u, v) {
    const placement = this.placement?.(index);
    if (!placement) return [u, v];
    const [nu, nv] = this.planeSize();
    const [cu, cv] = [Math.floor(nu / 2) + 0.5, Math.floor(nv / 2) + 0.5];
    const [x, y] = [u - cu - placement.shift[0], v - cv - placement.shift[1]];
    const angle = (-placement.axis_deg * Math.PI) / 180;
    return [cu + x * Math.cos(angle) - y * Math.sin(angle), cv + x * Math.sin(angle) + y * Math.cos(angle)];
  }

  #scaleBar(context) {
    const size = this.info.pixel_size_angstrom;
    if (!size) return;
    const about = (this.clientWidth * 0.2 * size) / this.zoom;
    const power = 10 ** Math.floor(Math.log10(about));
    const length = [5, 2, 1].map((n) => n * power).find((n) => n <= about) ?? power;
    const width = (length / size) * this.zoom;
    const [x, y] = [12, this.clientHeight - 12];
    context.fillStyle = "rgba(0,0,0,.6)";
    context.fillRect(x - 4, y - 20 * EM, Math.max(width, 46 * EM) + 8, 26 * EM);
    context.fillStyle = "#fff";
    context.fillRect(x, y - 3, width, 3);
    context.font = `${12 * EM}px system-ui, sans-serif`;
    context.fillText(length >= 10 ? `${+(length / 10).toPrecision(3)} nm` : `${+length.toPrecision(3)} Å`, x, y - 7);
  }

  #clear() {
    this.#overlaid = "";
    for (const canvas of [this.canvas, this.overlay]) canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
  }

  #resize() {
    const ratio = devicePixelRatio || 1;
    for (const canvas of [this.canvas, this.overlay]) {
      canvas.width = Math.round(this.clientWidth * ratio);
      canvas.height = Math.round(this.clientHeight * ratio);
    }
    this.#overlaid = "";
    if (this.#fitted) this.fit();
    this.draw();
  }

  #say(text) {
    this.notice.textContent = text;
    this.notice.hidden = !text;
  }

  // User input

  #listen() {
    let panning = null;
    const place = (event) => {
      const box = this.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    this.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (event.ctrlKey || event.metaKey) this.zoomBy(event.deltaY < 0 ? 1.25 : 0.8, place(event));
      else this.step(event.deltaY < 0 ? 1 : -1);
    }, { passive: false });
    this.addEventListener("pointerdown", (event) => {
      if (!this.info) return;
      this.focus({ preventScroll: true });
      const at = this.toPlane(...place(event));
      this.setPointerCapture(event.pointerId);
      if (this.tool?.down?.(event, at)) {
        event.preventDefault();
        return;
      }
      if (event.button === 0 || event.button === 1) panning = place(event);
    });
    this.addEventListener("pointermove", (event) => {
      if (!this.info) return;
      const [x, y] = place(event);
      if (panning) {
        this.centre[0] -= (x - panning[0]) / this.zoom;
        this.centre[1] += (y - panning[1]) / this.zoom;
        panning = [x, y];
        this.#fitted = false;
        this.#moved();
        return;
      }
      const at = this.toPlane(x, y);
      if (this.tool?.move?.(event, at)) return;
      this.#read(at);
    });
    const end = (event) => {
      if (panning) panning = null;
      else if (this.info) this.tool?.up?.(event, this.toPlane(...place(event)));
    };
    this.addEventListener("pointerup", end);
    this.addEventListener("pointercancel", end);
    this.addEventListener("contextmenu", (event) => event.preventDefault());
    this.addEventListener("pointerleave", () => {
      this.readout.textContent = "";
    });
  }

  /** Show position and stored value under the pointer. */
  #read([u, v]) {
    const [nu, nv] = this.planeSize();
    clearTimeout(this.#valueTimer);
    if (u < 0 || v < 0 || u >= nu || v >= nv) {
      this.readout.textContent = "";
      return;
    }
    const [z, y, x] = this.voxelAt(u, v);
    const text = `x ${x}  y ${y}  ${this.info.kind === "stack" ? "image" : "z"} ${z}`;
    this.readout.textContent = text;
    this.#valueTimer = setTimeout(async () => {
      const { base, key } = this.info;
      const response = await fetch(`${base}/${key}/value?z=${z}&y=${y}&x=${x}`).catch(() => null);
      if (!response?.ok) return;
      const { value } = await response.json();
      if (this.readout.textContent === text) this.readout.textContent = `${text}  = ${Number(value).toPrecision(5)}`;
    }, 80);
  }
}

customElements.define("slice-view", SliceView);
export { AXES, SliceView, sizeOf };
