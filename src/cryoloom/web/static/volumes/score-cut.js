/** <score-cut>: a histogram of scores with a cut-off that can be dragged; `cut` is the lowest kept score. */

const N_BINS = 40;

class ScoreCut extends HTMLElement {
  cut = -Infinity;
  #scores = [];
  #edges = [0, 1];
  #counts = [];

  connectedCallback() {
    if (this.canvas) return;
    this.tabIndex = 0;
    this.setAttribute("role", "slider");
    this.setAttribute("aria-label", "Least score");
    this.canvas = document.createElement("canvas");
    this.says = document.createElement("span");
    this.says.className = "quiet";
    this.append(this.canvas, this.says);
    const drag = (event) => {
      const box = this.canvas.getBoundingClientRect();
      this.#set(this.#edges[0] + ((event.clientX - box.left) / box.width) * (this.#edges[1] - this.#edges[0]));
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      drag(event);
    });
    this.canvas.addEventListener("pointermove", (event) => this.canvas.hasPointerCapture(event.pointerId) && drag(event));
    this.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      event.preventDefault();
      event.stopPropagation();
      this.#set(Math.max(this.cut, this.#edges[0]) + (by * (this.#edges[1] - this.#edges[0])) / N_BINS);
    });
    new ResizeObserver(() => this.#draw()).observe(this);
  }

  /** Set the scores of all particles; particles without a finite score are always kept. */
  set(scores) {
    this.#scores = scores.filter(Number.isFinite);
    const [low, high] = this.#scores.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
    this.#edges = high > low ? [low, high] : [low - 0.5, low + 0.5];
    this.#counts = Array(N_BINS).fill(0);
    for (const score of this.#scores) this.#counts[Math.min(N_BINS - 1, Math.floor(((score - this.#edges[0]) / (this.#edges[1] - this.#edges[0])) * N_BINS))] += 1;
    this.#draw();
  }

  /** 0 for the lowest score, 1 for the highest. */
  part(score) {
    return Math.max(0, Math.min(1, (score - this.#edges[0]) / (this.#edges[1] - this.#edges[0])));
  }

  #set(cut) {
    const [low, high] = this.#edges;
    this.cut = cut <= low ? -Infinity : Math.min(high, cut);
    this.#draw();
    this.dispatchEvent(new CustomEvent("cut", { detail: this.cut }));
  }

  #draw() {
    const ratio = devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width) return;
    [this.canvas.width, this.canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    const context = this.canvas.getContext("2d");
    context.scale(ratio, ratio);
    const most = Math.max(1, ...this.#counts);
    const at = this.cut === -Infinity ? 0 : this.part(this.cut) * width;
    this.#counts.forEach((count, i) => {
      const x = (i * width) / N_BINS;
      context.fillStyle = x + width / N_BINS / 2 < at ? "#4b535f" : "#56b4e9";
      context.fillRect(x, height * (1 - count / most), width / N_BINS - 1, (height * count) / most);
    });
    context.fillStyle = "#e69f00";
    context.fillRect(Math.min(width - 2, at), 0, 2, height);
    const n = this.#scores.filter((score) => score >= this.cut).length;
    this.says.textContent = this.cut === -Infinity ? `${n}, all scores` : `${n} of ${this.#scores.length} with a score of ${Number(this.cut.toPrecision(3))} or more`;
    this.setAttribute("aria-valuenow", String(this.cut === -Infinity ? this.#edges[0] : this.cut));
    this.setAttribute("aria-valuetext", this.says.textContent);
  }
}

customElements.define("score-cut", ScoreCut);
export { ScoreCut };
