/**
 * How fine slices can be while they pass by: the finest level whose slices arrive as fast as they pass.
 *
 * What a slice costs is the time between arrivals while several are on their way: what line, server and browser can do
 * together. A slice that was alone on the line costs that at most.
 */

const MARGIN = 0.9; // of the time between slices that pass
const FINER = 4; // times the pixels, the next finer level
const SHARE = 0.2; // of a new time in what is known
const PASSED_TO_CLIMB = 24; // slices in time before a finer level is tried again

export class ScrubPace {
  /** Milliseconds between slices that pass by. */
  between = 100;
  /** Milliseconds from asking for a slice to having its picture. */
  latency = 0;
  #cost = new Map(); // level -> milliseconds a slice
  #lastArrival = 0;
  #inTime = 0;
  #climbAfter = PASSED_TO_CLIMB;

  /** A slice passed: so long after the one before, there in time or not, at a level where another is sharp. */
  passed(ms, isThere, level, sharp) {
    this.between = 0.7 * this.between + 0.3 * ms;
    this.#inTime = isThere ? this.#inTime + 1 : 0;
    if (this.#inTime < this.#climbAfter || level === sharp) return;
    // What a finer slice cost was learnt long ago: it may cost less now.
    const hoped = FINER * this.costOf(level);
    this.#inTime = 0;
    if (!(hoped < this.costOf(level - 1))) return;
    this.#cost.set(level - 1, hoped);
    this.#climbAfter = Math.min(2000, 2 * this.#climbAfter);
  }

  /** A slice of a level arrived, asked for at a time. */
  arrived(level, began, now) {
    const wasAlone = began > this.#lastArrival;
    const each = now - Math.max(began, this.#lastArrival);
    this.#lastArrival = now;
    this.latency = this.latency ? 0.7 * this.latency + 0.3 * (now - began) : now - began;
    const known = this.#cost.get(level);
    if (known === undefined) this.#cost.set(level, wasAlone ? each / 2 : each); // several at once take less each
    else if (!wasAlone || each < known) this.#cost.set(level, known + SHARE * (each - known));
  }

  /** Milliseconds that a slice of a level costs, from the nearest level known; 0 before anything is known. */
  costOf(level) {
    let best = null;
    for (const known of this.#cost.keys()) if (best === null || Math.abs(known - level) < Math.abs(best - level)) best = known;
    return best === null ? 0 : this.#cost.get(best) * FINER ** (best - level);
  }

  /** Level for slices that pass by. */
  level(sharp, coarsest) {
    let level = sharp;
    while (level < coarsest && this.costOf(level) > MARGIN * this.between) level += 1;
    return level;
  }
}
