/**
 * Level of slices during scrubbing: the finest level whose slices arrive as fast as the index changes.
 *
 * The cost of a slice is the time between arrivals while several are requested, which includes connection, server and
 * browser. A slice that was requested alone costs at most its own time.
 */

const MARGIN = 0.9; // chosen: of the time between slices
const FINER = 4; // ratio of pixels between two levels
const SHARE = 0.2; // chosen: weight of a new time in the mean
const PASSED_TO_CLIMB = 24; // chosen: slices that arrive in time before a finer level is tried again

export class ScrubPace {
  /** Milliseconds between slices. */
  between = 100;
  /** Milliseconds from the request of a slice to its picture. */
  latency = 0;
  #cost = new Map(); // level -> milliseconds per slice
  #lastArrival = 0;
  #inTime = 0;
  #climbAfter = PASSED_TO_CLIMB;

  /** Record a slice: time since the one before, whether it arrived in time, its level, and the sharp level. */
  passed(ms, isThere, level, sharp) {
    this.between = 0.7 * this.between + 0.3 * ms;
    this.#inTime = isThere ? this.#inTime + 1 : 0;
    if (this.#inTime < this.#climbAfter || level === sharp) return;
    // The known cost of a finer slice is old and can be lower now.
    const hoped = FINER * this.costOf(level);
    this.#inTime = 0;
    if (!(hoped < this.costOf(level - 1))) return;
    this.#cost.set(level - 1, hoped);
    this.#climbAfter = Math.min(2000, 2 * this.#climbAfter);
  }

  /** Record the arrival of a slice of a level, requested at a time. */
  arrived(level, began, now) {
    const wasAlone = began > this.#lastArrival;
    const each = now - Math.max(began, this.#lastArrival);
    this.#lastArrival = now;
    this.latency = this.latency ? 0.7 * this.latency + 0.3 * (now - began) : now - began;
    const known = this.#cost.get(level);
    if (known === undefined) this.#cost.set(level, wasAlone ? each / 2 : each); // several at the same time take less each
    else if (!wasAlone || each < known) this.#cost.set(level, known + SHARE * (each - known));
  }

  /** Cost of a slice of a level in milliseconds, from the nearest known level; 0 if none is known. */
  costOf(level) {
    let best = null;
    for (const known of this.#cost.keys()) if (best === null || Math.abs(known - level) < Math.abs(best - level)) best = known;
    return best === null ? 0 : this.#cost.get(best) * FINER ** (best - level);
  }

  /** Level for scrubbing. */
  level(sharp, coarsest) {
    let level = sharp;
    while (level < coarsest && this.costOf(level) > MARGIN * this.between) level += 1;
    return level;
  }
}
