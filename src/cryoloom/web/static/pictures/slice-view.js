/**
 * <slice-view>: one slice of a volume or stack on a canvas, scrubbed by keys, wheel and pointer.
 *
 * Keys, prefetch, contrast and zoom live here: the server is asked for pictures only. A picture never changes
 * under its address, so it is fetched once. While the index changes, 8-bit slices are shown at the size that the
 * connection carries, at least small ones from strips; on rest the stored values are asked for and the badge says
 * "exact".
 *
 * Plane coordinates (u, v) are in pixels of level 0 from the lower left corner; pixel i spans i to i + 1.
 */

import { decoded } from "./decoded.js";
import { ScrubPace } from "./scrub-pace.js";
import { SliceStrips } from "./slice-strips.js";

export const EM = parseFloat(getComputedStyle(document.documentElement).fontSize) / 14; // larger on a large screen
const N_IN_FLIGHT = 4; // browsers open six connections a server, and the events take one
const MOST_WAITING = 4; // keys: at 30 a second an eighth of a second, longer than a browser usually pauses
const N_AHEAD = 6;
const N_KEPT = 96;
const SHARP_MS = 120; // without a key, at most: longer than between two repeated ones
const EXACT_MS = 250;
const SCRUB_MS = 250; // slower than that nobody scrubs
const MOST_COARSER = 2; // below the sharp level: beyond, strips are as good
const SLOW_MS = 120; // a sharp slice that takes longer comes in fewer bytes first
const AXES = { z: ["x", "y", "z"], y: ["x", "z", "y"], x: ["z", "y", "x"] }; // u, v, and the axis of the slices

/** Size of the image along an axis. */
const sizeOf = (info, axis) => info.shape["zyx".indexOf(axis)];

/** Where in its bitmap a picture is: left, top, width, height. */
const partOf = ({ bitmap, part }) => part ?? [0, 0, bitmap.width, bitmap.height];

class SliceView extends HTMLElement {
  /** @type {any} */ info = null;
  axis = "z";
  index = 0;
  thickness = 1;
  zoom = 1;
  centre = [0, 0];
  /** Black and white as parts of the range each picture is shown in, or as values where the image is a volume. */
  window = [0, 1];
  inverted = false;
  /** Functions (context, view) that draw over the picture, in the order of the array. */
  layers = [];
  /** What is drawn into the picture itself, over its greys: {draw(context, view)}. */
  overlays = [];
  /** What the pointer does instead of panning: {down, move, up}, each (event, [u, v]) and true where it was used. */
  tool = null;
  /** Where a tilt image is placed, from its index: {axis_deg, shift: [x, y] in pixels}, or null; as recorded without. */
  placement = null;
  nDrawn = 0;
  lastDrawMs = 0;
  #pictures = new Map();
  #flying = new Map();
  #wanted = [];
  #pace = new ScrubPace();
  #strips = new SliceStrips(() => this.draw());
  #isFirst = false; // nothing of this view was shown yet: the slice itself comes before its neighbours
  #shown = null;
  #restTimer = 0;
  #valueTimer = 0;
  #pollTimer = 0;
  #frame = 0;
  #direction = 1;
  #lastMove = 0;
  #waiting = []; // steps whose slice comes after that of the present one was drawn
  #isDrawn = true; // the slice of the present index
  #overlaid = ""; // what the layer above shows, where it shows no more than the scale
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

  /** Show an image by the address of its info; keeps index, zoom and window where the shape is the same. */
  async open(base, { index = null, keep = false } = {}) {
    const mine = ++this.#nOpened;
    const response = await fetch(`${base}/info.json`);
    const info = await response.json().catch(() => ({}));
    if (mine !== this.#nOpened) return false; // another was opened meanwhile
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
      // Another variant of the same volume: black and white at the same parts of its range.
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
   * Have the server prepare an image that may be opened next, and fetch its first picture: one like that which is shown
   * now, at this slice.
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
   * Go on by so many slices. A key that comes before the slice of the key before it was drawn waits for that: after a
   * pause of the browser every slice is shown, a frame each.
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

  /** Set black and white (values of a volume, parts of each picture's range of a stack); no request is made. */
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

  /** Black and white from what is on screen: its mean and 3.5 standard deviations. */
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

  /** Show all of the plane. */
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

  /** Zoom by a factor about a place on screen, or about the middle. */
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

  /** Put a place of the plane into the middle. */
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

  /** Place on screen of a place of the plane. */
  toScreen(u, v) {
    return [
      this.clientWidth / 2 + (u - this.centre[0]) * this.zoom,
      this.clientHeight / 2 - (v - this.centre[1]) * this.zoom,
    ];
  }

  /** Place of the plane at a place on screen. */
  toPlane(x, y) {
    return [
      (x - this.clientWidth / 2) / this.zoom + this.centre[0],
      this.centre[1] - (y - this.clientHeight / 2) / this.zoom,
    ];
  }

  /** Voxel indices (z, y, x) under a place of the plane. */
  voxelAt(u, v) {
    const [au, av, an] = AXES[this.axis];
    const at = { [au]: Math.floor(u), [av]: Math.floor(v), [an]: this.index };
    return [at.z, at.y, at.x];
  }

  /** What is on screen: for tests, and for pages that say how an image is shown. */
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

  /** Draw picture and layers at the next frame. */
  draw() {
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#paint());
  }

  // What is fetched

  #url(level, index, quality, more = "", { base, key } = this.info) {
    return `${base}/${key}/${level}/${this.axis}/${index}.jpg?n=${this.thickness}&q=${quality}${more}`;
  }

  /** Coarsest level that still fills the screen's pixels. */
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

  /** Level and quality while slices pass by. */
  #scrubLevel() {
    const sharp = this.#sharpLevel();
    const level = this.#pace.level(sharp, Math.min(sharp + MOST_COARSER, this.info.levels.length - 1));
    return [level, level === sharp ? 80 : 50];
  }

  /** Whether there is a picture of a slice as this view shows it, at any level. */
  #has(index) {
    const start = `?n=${this.thickness}&`;
    for (const one of this.#pictures.values()) if (one.index === index && one.axis === this.axis && one.key === this.info.key && one.url.includes(start)) return true;
    return false;
  }

  #changed(isScrubbing) {
    if (!this.info) return;
    const [level, quality] = isScrubbing ? this.#scrubLevel() : [this.#sharpLevel(), 80];
    if (!this.#has(this.index) && (!isScrubbing || this.axis !== this.#shown?.axis)) this.#isFirst = true;
    // What would arrive when its slice has passed is not asked for: its time goes to those that follow.
    const lead = isScrubbing && !this.#has(this.index) ? Math.min(N_AHEAD, Math.floor(this.#pace.latency / this.#pace.between)) : 0;
    this.#wanted = this.#around(level, quality, lead);
    if (lead) this.#wanted.push(this.#entry(level, this.index, quality));
    else if (!isScrubbing || !this.#has(this.index)) this.#wanted.unshift(this.#entry(level, this.index, quality));
    // Across the sections a slice takes long to read: half as fine it is there at once.
    if (this.#isFirst && this.axis !== "z" && level + 1 < this.info.levels.length) this.#wanted.unshift(this.#entry(level + 1, this.index, 75));
    this.#abandon((entry) => {
      const ahead = (entry.index - this.index) * this.#direction;
      const isOfView = entry.axis === this.axis && entry.key === this.info.key && entry.thickness === this.thickness;
      // Large pictures on their way must not hold up the smaller ones that are to be in time.
      return isOfView && ahead >= -12 && ahead <= 2 * N_AHEAD && (!isScrubbing || entry.level >= level);
    });
    if (!this.#isFirst) this.#wantStrips();
    this.#pump();
    this.draw();
    this.#restSoon();
  }

  #wantStrips() {
    this.#strips.want(this, (level) => this.#levelSize(level), this.index, this.#direction, sizeOf(this.info, this.axis));
  }

  /** The slices that come next, and the one before. What is there at another level need not come again. */
  #around(level, quality, lead = 0) {
    const n = sizeOf(this.info, this.axis);
    const offsets = [...Array.from({ length: N_AHEAD }, (_, i) => lead + i + 1), ...(lead ? [] : [-1])];
    return offsets.map((offset) => this.index + this.#direction * offset)
      .filter((index) => index >= 0 && index < n && !this.#has(index)).map((index) => this.#entry(level, index, quality));
  }

  /** Give up what is being fetched and is of no use any more. */
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
    // Keys that are held come at an even pace: one that is late by more than half of it does not come.
    this.#restTimer = setTimeout(() => this.#rest(), Math.min(SHARP_MS, Math.max(60, 1.6 * this.#pace.between)));
  }

  /** The index has come to rest: a sharp picture first, alone on the line; then the stored values; then the neighbours. */
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
    this.#wanted.push(...this.#around(...this.#scrubLevel()));
    if (isSharp) this.#wantStrips();
    this.#pump();
  }

  #entry(level, index, quality, more = "") {
    return { url: this.#url(level, index, quality, more), level, index, quality, axis: this.axis, key: this.info.key, thickness: this.thickness };
  }

  #pump() {
    if (!this.info || (!this.info.ready && this.axis !== "z")) return; // #poll comes back when it is ready
    const mostAtOnce = this.#isFirst ? 1 : this.#mostAtOnce();
    for (const entry of this.#wanted) {
      if (this.#flying.size >= mostAtOnce) return;
      if (entry.index >= sizeOf(this.info, entry.axis)) continue; // the page changed the axis and opens another image
      if (entry.notBefore > performance.now() || this.#pictures.has(entry.url) || this.#flying.has(entry.url)) continue;
      this.#fetch(entry);
    }
  }

  /** Over a long line several slices are on their way; over a short one more than a second only takes processors from drawing. */
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
        this.#shown = picture; // slices pass by faster than they arrive: better a near one than one that stands still
        this.draw();
      }
    } catch (error) {
      if (error.name !== "AbortError") this.#failed = "The server does not answer.";
    } finally {
      this.#flying.delete(entry.url);
      this.#pump();
    }
  }

  /** Whether a picture of another slice is nearer to the present one than what is shown. */
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

  /** Best picture there is of the present slice. */
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

  /** That, else the last one shown. */
  #picture() {
    if (!this.info) return null;
    const best = this.#best();
    if (best) this.#shown = best;
    else if (this.#shown?.bitmap.width === 0) this.#shown = null; // of a strip that was forgotten
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

  // What is drawn

  /** Black and white as parts of a picture's range. */
  #parts(picture) {
    if (picture.exact) return [0, 1];
    if (this.info.kind === "stack") return this.window;
    const range = picture.high - picture.low;
    return this.window.map((value) => (value - picture.low) / range);
  }

  /**
   * Map [low, high] of what is drawn to black and white by fills of one grey: Skia does them in a few milliseconds
   * without a GPU, where a filter on the element takes a tenth of a second. At 0 to 1 nothing is done.
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

  /** What lies over the picture. Nothing is done where that is the scale alone, and there already. */
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

  /** Turn and move a tilt image so that its axis is upright through the middle: aligned = R(-axis) (image - shift). */
  #place(context, index) {
    const placement = this.placement?.(index);
    if (!placement) return;
    const [nu, nv] = this.planeSize();
    // Index n // 2 is the origin, and its pixel spans one: its middle is half a pixel on.
    const [x, y] = this.toScreen(Math.floor(nu / 2) + 0.5, Math.floor(nv / 2) + 0.5);
    context.translate(x, y);
    context.rotate((placement.axis_deg * Math.PI) / 180); // the screen's y points down: this turns by -axis
    context.translate(-placement.shift[0] * this.zoom, placement.shift[1] * this.zoom);
    context.translate(-x, -y);
  }

  /** Place in the plane, as it is shown, of a place in the image as recorded. */
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

  // What the user does

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
