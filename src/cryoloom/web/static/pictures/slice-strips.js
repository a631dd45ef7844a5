/**
 * Strips of consecutive small slices in one picture, so that every slice can be shown during fast scrubbing over a slow
 * connection.
 */

import { decoded } from "./decoded.js";

const LONGEST_PX = 400; // of a slice in a strip
const TALLEST_PX = 4096; // of a strip
const MOST_SLICES = 16;
const QUALITY = 70;
const N_KEPT = 12;

export class SliceStrips {
  #made = new Map(); // address -> strip
  #flying = null;
  #arrived;

  /** arrived() is called when a strip has arrived. */
  constructor(arrived) {
    this.#arrived = arrived;
  }

  close() {
    this.#flying?.abort();
    for (const strip of this.#made.values()) strip.bitmap.close();
    this.#made.clear();
  }

  /** The strip of a slice; null if slices of this image are already small. */
  #of({ info, axis, thickness }, levelSize, index) {
    const level = info.levels.findIndex((_, one) => Math.max(...levelSize(one)) <= LONGEST_PX);
    if (level < 1 || !info.ready) return null;
    const step = info.kind === "volume" || axis !== "z" ? 2 ** level : 1;
    const count = Math.max(1, Math.min(MOST_SLICES, Math.floor(TALLEST_PX / levelSize(level)[1])));
    const long = step * count;
    const first = Math.floor(index / long) * long;
    const url = `${info.base}/${info.key}/${level}/${axis}/strip/${first}.jpg?count=${count}&n=${thickness}&q=${QUALITY}`;
    return { url, level, first, step, long };
  }

  /** Fetch the strip of a slice, and the next one before it is needed; one after the other. */
  async want(view, levelSize, index, direction, n) {
    const here = this.#of(view, levelSize, index);
    if (!here || this.#flying) return;
    const ahead = index + (direction * here.long) / 2;
    const wanted = [here, ahead >= 0 && ahead < n ? this.#of(view, levelSize, ahead) : null];
    const next = wanted.find((one) => one && !this.#made.has(one.url));
    if (!next) return;
    this.#flying = new AbortController();
    try {
      const response = await fetch(next.url, { signal: this.#flying.signal });
      if (response.status !== 200) return; // 202: not made yet
      const ranges = response.headers.get("x-ranges").split(";").map((pair) => pair.split(",").map(Number));
      const bitmap = await decoded(await response.arrayBuffer());
      this.#made.set(next.url, { bitmap, ranges });
      while (this.#made.size > N_KEPT) {
        const [url, oldest] = this.#made.entries().next().value;
        oldest.bitmap.close();
        this.#made.delete(url);
      }
      this.#arrived();
    } catch {
      return; // the requests of slices report the error
    } finally {
      this.#flying = null;
    }
  }

  /** The small picture of a slice, or null. */
  picture(view, levelSize, index) {
    const at = this.#of(view, levelSize, index);
    const strip = at && this.#made.get(at.url);
    if (!strip) return null;
    const which = Math.min(strip.ranges.length - 1, Math.floor((index - at.first) / at.step));
    const height = strip.bitmap.height / strip.ranges.length;
    const [low, high] = strip.ranges[which];
    return { url: `${at.url}#${which}`, bitmap: strip.bitmap, part: [0, which * height, strip.bitmap.width, height], level: at.level, index, axis: view.axis, key: view.info.key, thickness: view.thickness, quality: QUALITY, low, high };
  }
}
