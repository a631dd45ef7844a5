/**
 * <surface-view>: the surface of a small 8-bit volume at a level, drawn by casting a ray for every pixel.
 *
 * It needs neither WebGL nor a mesh: at 96 voxels a side a picture takes some tens of milliseconds. Coarse while it is
 * turned, fine on rest.
 */

class SurfaceView extends HTMLElement {
  #volume = null;
  #shape = [1, 1, 1];
  #turn = [0.5, 0.35];
  #level = 128;
  #frame = 0;
  #timer = 0;
  nPixels = 0; // of the surface, in the last picture

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
      this.#draw(120);
    });
    this.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, -0.15], ArrowDown: [0, 0.15] }[event.key];
      if (!by) return;
      event.preventDefault();
      event.stopPropagation();
      this.#turn = [this.#turn[0] + by[0], Math.max(-1.5, Math.min(1.5, this.#turn[1] + by[1]))];
      this.#draw(120);
    });
  }

  /** Take a volume (z, y, x) of bytes. */
  set(bytes, shape) {
    this.#volume = bytes;
    this.#shape = shape;
    this.#draw(260);
  }

  /** Where the surface lies, 0 to 255. */
  setLevel(level) {
    this.#level = level;
    this.#draw(120);
  }

  #draw(size) {
    clearTimeout(this.#timer);
    if (size < 260) this.#timer = setTimeout(() => this.#draw(260), 180);
    if (this.#frame) cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      if (this.#volume) this.#cast(size);
    });
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
    const reach = Math.hypot(nx, ny, nz) / 2;
    const at = (x, y, z) => (x < 0 || y < 0 || z < 0 || x >= nx || y >= ny || z >= nz ? 0 : volume[(z * ny + y) * nx + x]);
    let n = 0;
    for (let v = 0; v < size; v++) {
      for (let u = 0; u < size; u++) {
        const [p, q] = [((u + 0.5) / size - 0.5) * 2 * reach, (0.5 - (v + 0.5) / size) * 2 * reach];
        const start = [0, 1, 2].map((i) => right[i] * p + up[i] * q - into[i] * reach);
        let [x, y, z] = [start[0] + nx / 2, start[1] + ny / 2, start[2] + nz / 2];
        const o = 4 * (v * size + u);
        image.data[o + 3] = 255;
        [image.data[o], image.data[o + 1], image.data[o + 2]] = [18, 20, 24];
        for (let step = 0; step < 2 * reach; step++) {
          const [ix, iy, iz] = [x | 0, y | 0, z | 0];
          if (at(ix, iy, iz) >= level && x >= 0 && y >= 0 && z >= 0) {
            const gx = at(ix + 1, iy, iz) - at(ix - 1, iy, iz);
            const gy = at(ix, iy + 1, iz) - at(ix, iy - 1, iz);
            const gz = at(ix, iy, iz + 1) - at(ix, iy, iz - 1);
            const length = Math.hypot(gx, gy, gz) || 1;
            // Lit from the eye, a little from above: the normal points against the gradient.
            const facing = Math.max(0, (gx * into[0] + gy * into[1] + gz * into[2]) / length);
            const above = Math.max(0, -(gx * up[0] + gy * up[1] + gz * up[2]) / length);
            const light = 0.22 + 0.6 * facing + 0.18 * above;
            const far = 1 - 0.35 * (step / (2 * reach));
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
}

customElements.define("surface-view", SurfaceView);
export { SurfaceView };
