/** Another volume of the same shape over a slice, in one colour, such as an average at its particles, or a mask. */

const N_KEPT = 24;
const QUALITY = 75;

export class SliceOverlay {
  colour = "#e69f00";
  opacity = 0.7;
  /** Info of the volume, or null if none is shown. */
  info = null;
  /** Number of drawn pictures, for tests. */
  nDrawn = 0;
  #base = "";
  #pictures = new Map(); // address -> tinted picture, or null while it is being fetched
  #redraw;

  /** redraw() is called when a picture has arrived. */
  constructor(redraw) {
    this.#redraw = redraw;
  }

  /** Show the image of an address; throws an Error with a message if its shape differs. */
  async open(base, shape) {
    this.close();
    const response = await fetch(`${base}/info.json`);
    const info = await response.json();
    if (!response.ok) throw new Error(info.error);
    if (String(info.shape) !== String(shape)) throw new Error(`It has ${info.shape.join(" x ")} voxels, and the tomogram ${shape.join(" x ")}: make it with the tomogram's voxels.`);
    [this.#base, this.info] = [base, info];
    this.#redraw();
  }

  close() {
    for (const picture of this.#pictures.values()) picture?.close();
    this.#pictures.clear();
    this.info = null;
    this.#redraw();
  }

  async #fetch(url) {
    this.#pictures.set(url, null);
    const response = await fetch(url).catch(() => null);
    if (response?.status === 202) setTimeout(() => this.#again(url), 500); // its levels are being made
    if (response?.status !== 200) return;
    const bitmap = await createImageBitmap(await response.blob());
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    const context = canvas.getContext("2d");
    context.drawImage(bitmap, 0, 0);
    context.globalCompositeOperation = "multiply";
    context.fillStyle = this.colour;
    context.fillRect(0, 0, canvas.width, canvas.height);
    bitmap.close();
    if (!this.#pictures.has(url)) return; // closed in the meantime
    this.#pictures.set(url, canvas.transferToImageBitmap());
    this.#forget();
    this.#redraw();
  }

  #forget() {
    for (const [url, picture] of this.#pictures) {
      if (this.#pictures.size <= N_KEPT) return;
      if (!picture) continue;
      picture.close();
      this.#pictures.delete(url);
    }
  }

  #again(url) {
    this.#pictures.delete(url);
    this.#redraw();
  }

  /** Draw over the picture on the canvas. */
  draw(context, view) {
    if (!this.info) return;
    const level = Math.max(0, Math.min(this.info.levels.length - 1, Math.floor(Math.log2(1 / view.zoom) + 0.25)));
    const url = `${this.#base}/${this.info.key}/${level}/${view.axis}/${view.index}.jpg?n=${view.thickness}&q=${QUALITY}`;
    if (!this.#pictures.has(url)) this.#fetch(url);
    const picture = this.#pictures.get(url);
    if (!picture) return;
    const scale = 2 ** level;
    const [x, y] = view.toScreen(0, picture.height * scale);
    context.save();
    context.globalCompositeOperation = "lighter";
    context.globalAlpha = this.opacity;
    context.drawImage(picture, x, y, picture.width * scale * view.zoom, picture.height * scale * view.zoom);
    context.restore();
    this.nDrawn += 1;
  }
}
