/**
 * <surface-view>: the surface of a small 8-bit volume at a level, drawn by ray casting.
 *
 * It needs neither WebGL nor a mesh: with 96 voxels a side a picture takes some tens of milliseconds. It is coarse during
 * rotation and fine at rest.
 */

const MARGIN = 1.06; // over the longest side of the box
const FINE = 320; // pixels at rest
const COARSE = 120; // pixels during rotation

class SurfaceView extends HTMLElement {
  #volume = null;
  #shape = [1, 1, 1];
  #turn = [0.5, 0.35];
  #level = 128;
  #frame = 0;
  #timer = 0;
  nPixels = 0; // pixels of the surface in the last picture

  connectedCallback() {
    if (this.canvas) return;
    this.tabIndex = 0;
    this.canvas = document.createElement("canvas");
    this.append(this.canvas);
    this.addEventListener("pointerdown", (event) => this.setPointerCapture(event.pointerId));
    this.addEventListener("pointermove", (event) => {
      if (!this.hasPointerCapture(event.pointerId)) return;
      this.#turn[0] += event.movementX * 0.012;
      this.#turn[1] = Math.max(-1.5, Math.min(1.5, this.#turn[1] + event.movementY * 0.012));
      this.#draw(COARSE);
    });
    this.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, -0.15], ArrowDown: [0, 0.15] }[event.key];
      if (!by) return;
      event.preventDefault();
      event.stopPropagation();
      this.#turn = [this.#turn[0] + by[0], Math.max(-1.5, Math.min(1.5, this.#turn[1] + by[1]))];
      this.#draw(COARSE);
    });
  }

  /** Set the volume (z, y, x) of bytes. */
  set(bytes, shape) {
    this.#volume = bytes;
    this.#shape = shape;
    this.#draw(FINE);
  }

  /** Level of the surface, 0 to 255. */
  setLevel(level) {
    this.#level = level;
    this.#draw(COARSE);
  }

  #draw(size) {
    clearTimeout(this.#timer);
    if (size < FINE) this.#timer = setTimeout(() => this.#draw(FINE), 180);
    if (this.#frame) cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      if (this.#volume) this.#cast(size);
    });
  }

  /** Interpolated value at a position; the value of a voxel is at its middle. */
  #valueAt(x, y, z) {
    const [nz, ny, nx] = this.#shape;
    const volume = this.#volume;
    const fx = Math.min(nx - 1.001, Math.max(0, x - 0.5));
    const fy = Math.min(ny - 1.001, Math.max(0, y - 0.5));
    const fz = Math.min(nz - 1.001, Math.max(0, z - 0.5));
    const [ix, iy, iz] = [fx | 0, fy | 0, fz | 0];
    const [dx, dy, dz] = [fx - ix, fy - iy, fz - iz];
    const o = (iz * ny + iy) * nx + ix;
    const row = (at) => volume[at] + dx * (volume[at + 1] - volume[at]);
    const plane = (at) => row(at) + dy * (row(at + nx) - row(at));
    return plane(o) + dz * (plane(o + nx * ny) - plane(o));
  }

  #cast(size) {
    const [nz, ny, nx] = this.#shape;
    const volume = this.#volume;
    const level = this.#level;
    this.canvas.width = this.canvas.height = size;
    const context = this.canvas.getContext("2d");
    const image = context.createImageData(size, size);
    const [a, b] = this.#turn;
    const [ca, sa, cb, sb] = [Math.cos(a), Math.sin(a), Math.cos(b), Math.sin(b)];
    // Columns of the view: right, up, and into the picture.
    const right = [ca, sa, 0];
    const up = [sa * sb, -ca * sb, cb];
    const into = [sa * cb, -ca * cb, -sb].map((v) => -v);
    const depth = Math.hypot(nx, ny, nz) / 2;
    const reach = MARGIN * (Math.max(nx, ny, nz) / 2); // corners of the box are empty
    const at = (x, y, z) => (x < 0 || y < 0 || z < 0 || x >= nx || y >= ny || z >= nz ? 0 : volume[((z | 0) * ny + (y | 0)) * nx + (x | 0)]);
    let n = 0;
    for (let v = 0; v < size; v++) {
      for (let u = 0; u < size; u++) {
        const [p, q] = [((u + 0.5) / size - 0.5) * 2 * reach, (0.5 - (v + 0.5) / size) * 2 * reach];
        const start = [nx, ny, nz].map((side, i) => right[i] * p + up[i] * q - into[i] * depth + side / 2);
        let [x, y, z] = start;
        const o = 4 * (v * size + u);
        image.data[o + 3] = 255;
        [image.data[o], image.data[o + 1], image.data[o + 2]] = [18, 20, 24];
        for (let step = 0; step < 2 * depth; step++) {
          if (at(x, y, z) >= level) {
            const hit = this.#hit(start, into, Math.max(0, step - 1.5), step + 0.5);
            const place = start.map((value, i) => value + hit * into[i]);
            const gradient = [0, 1, 2].map((i) => {
              const [more, less] = [[...place], [...place]];
              more[i] += 1;
              less[i] -= 1;
              return this.#valueAt(...more) - this.#valueAt(...less);
            });
            const length = Math.hypot(...gradient) || 1;
            const along = (axis) => (gradient[0] * axis[0] + gradient[1] * axis[1] + gradient[2] * axis[2]) / length;
            // Light comes from the viewer and slightly from above; the normal is opposite to the gradient.
            const light = 0.22 + 0.6 * Math.max(0, along(into)) + 0.18 * Math.max(0, -along(up));
            const far = 1 - 0.35 * (hit / (2 * depth));
            [image.data[o], image.data[o + 1], image.data[o + 2]] = [150, 190, 225].map((c) => c * light * far);
            n += 1;
            break;
          }
          x += into[0];
          y += into[1];
          z += into[2];
        }
      }
    }
    context.putImageData(image, 0, 0);
    this.nPixels = n;
    this.dispatchEvent(new CustomEvent("drawn"));
  }

  /** Position along a ray, between two points, at which it crosses the level. */
  #hit(start, into, from, to) {
    let [low, high] = [from, to];
    for (let i = 0; i < 5; i++) {
      const middle = (low + high) / 2;
      if (this.#valueAt(start[0] + middle * into[0], start[1] + middle * into[1], start[2] + middle * into[2]) >= this.#level) high = middle;
      else low = middle;
    }
    return high;
  }
}

customElements.define("surface-view", SurfaceView);
export { SurfaceView };
