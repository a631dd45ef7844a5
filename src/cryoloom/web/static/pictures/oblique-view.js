/**
 * <oblique-view>: a plane of any direction through a position in a volume, as in 3dmod's Slicer.
 *
 * Dragging rotates it, the wheel moves it along its normal. One picture is requested at a time; during a rotation the
 * newest direction is requested as soon as the last picture has arrived.
 */

const MOST_PX = 1000;
const DEG_PER_PX = 0.35;

class ObliqueView extends HTMLElement {
  /** A <slice-view> of the volume, whose zoom, contrast and image are used. */
  source = null;
  /** Voxel coordinates x, y, z at the middle of the picture; voxel i spans i to i + 1. */
  at = [0, 0, 0];
  turn = [0, 0]; // about x, then about y, degrees
  thickness = 1;
  layers = [];
  /** {down, move, up}(event, voxel): true if the event was used, so that the plane is not rotated. */
  tool = null;
  nShown = 0;
  #picture = null;
  #isAsking = false;
  #isOld = false;
  #frame = 0;
  #axes = null;
  #axesOf = null; // the rotation of the axes

  connectedCallback() {
    if (this.canvas) return;
    this.tabIndex = 0;
    this.canvas = document.createElement("canvas");
    this.badge = document.createElement("span");
    this.badge.className = "slice-badge";
    this.append(this.canvas, this.badge);
    new ResizeObserver(() => this.refresh()).observe(this);
    let from = null;
    const place = (event) => {
      const box = this.getBoundingClientRect();
      return this.toVoxel(event.clientX - box.left, event.clientY - box.top);
    };
    this.addEventListener("pointerdown", (event) => {
      this.focus({ preventScroll: true });
      this.setPointerCapture(event.pointerId);
      if (!this.tool?.down?.(event, place(event)) && event.button === 0) from = [event.clientX, event.clientY, ...this.turn];
    });
    this.addEventListener("pointermove", (event) => {
      if (!from) return void this.tool?.move?.(event, place(event));
      this.turnTo(from[2] + (event.clientY - from[1]) * DEG_PER_PX, from[3] + (event.clientX - from[0]) * DEG_PER_PX);
    });
    this.addEventListener("pointerup", (event) => {
      const wasClick = from && Math.hypot(event.clientX - from[0], event.clientY - from[1]) < 3;
      if (!from || wasClick) this.tool?.up?.(event, place(event));
      from = null;
    });
    this.addEventListener("wheel", (event) => {
      event.preventDefault();
      const [, , out] = this.axes();
      const by = event.deltaY < 0 ? 1 : -1;
      this.dispatchEvent(new CustomEvent("moved", { detail: this.at.map((v, i) => v + by * out[i]) }));
    }, { passive: false });
    this.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  /** Right, up, and out of the plane: the columns of Ry(turn 1) Rx(turn 0). */
  axes() {
    if (this.#axesOf === this.turn) return this.#axes; // called for every pick
    const [x, y] = this.turn.map((v) => (v * Math.PI) / 180);
    const [cx, sx, cy, sy] = [Math.cos(x), Math.sin(x), Math.cos(y), Math.sin(y)];
    this.#axesOf = this.turn;
    this.#axes = [[cy, 0, -sy], [sx * sy, cx, sx * cy], [cx * sy, -sx, cx * cy]];
    return this.#axes;
  }

  turnTo(x, y) {
    this.turn = [x, y].map((v) => ((((v + 180) % 360) + 360) % 360) - 180);
    this.dispatchEvent(new CustomEvent("turned", { detail: this.turn }));
    this.refresh();
  }

  toVoxel(x, y) {
    const [right, up] = this.axes();
    const [u, v] = [(x - this.clientWidth / 2) / this.source.zoom, (this.clientHeight / 2 - y) / this.source.zoom];
    return this.at.map((value, i) => value + u * right[i] + v * up[i]);
  }

  /** Screen position of voxel coordinates, and their distance from the plane in voxels. */
  toScreen(voxel) {
    const off = voxel.map((value, i) => value - this.at[i]);
    const [u, v, d] = this.axes().map((axis) => axis.reduce((sum, value, i) => sum + value * off[i], 0));
    return [this.clientWidth / 2 + u * this.source.zoom, this.clientHeight / 2 - v * this.source.zoom, d];
  }

  /** Request the current plane. */
  async refresh() {
    if (this.hidden || !this.source?.info || !this.clientWidth) return;
    this.draw();
    if (this.#isAsking) {
      this.#isOld = true;
      return;
    }
    this.#isAsking = true;
    const { info, window: [low, high], zoom } = this.source;
    const shrink = Math.max(1, Math.max(this.clientWidth, this.clientHeight) / MOST_PX);
    const [w, h] = [this.clientWidth, this.clientHeight].map((v) => Math.max(8, Math.round(v / shrink)));
    const [x, y, z] = this.at;
    const asked = { x, y, z, rx: this.turn[0].toFixed(2), ry: this.turn[1].toFixed(2), n: this.thickness, w, h, step: Math.min(64, shrink / zoom), lo: low, hi: high };
    try {
      const response = await fetch(`${info.base}/${info.key}/oblique.jpg?${new URLSearchParams(asked)}`);
      if (response.status === 200) {
        const bitmap = await createImageBitmap(await response.blob());
        this.#picture?.close();
        this.#picture = bitmap;
        this.nShown += 1;
        this.badge.textContent = `oblique ${this.turn.map((v) => `${v.toFixed(0)}°`).join(" / ")}`;
      } else this.badge.textContent = (await response.json().catch(() => ({}))).error ?? "cannot be shown";
    } catch {
      this.badge.textContent = "The server does not answer.";
    }
    this.#isAsking = false;
    this.draw();
    if (this.#isOld) {
      this.#isOld = false;
      this.refresh();
    }
  }

  draw() {
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#paint());
  }

  #paint() {
    this.#frame = 0;
    if (this.hidden) return;
    const ratio = devicePixelRatio || 1;
    const [width, height] = [this.clientWidth, this.clientHeight];
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    const context = this.canvas.getContext("2d");
    context.scale(ratio, ratio);
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    if (this.#picture) context.drawImage(this.#picture, 0, 0, width, height);
    if (this.source?.inverted) {
      context.globalCompositeOperation = "difference";
      context.fillStyle = "#fff";
      context.fillRect(0, 0, width, height);
      context.globalCompositeOperation = "source-over";
    }
    for (const layer of this.layers) layer(context, this);
  }
}

customElements.define("oblique-view", ObliqueView);
export { ObliqueView };
