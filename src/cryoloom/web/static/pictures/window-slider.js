/** <window-slider>: black and white of one or more <slice-view>s. Moving it makes no request. */

import { make } from "../app.js";

class WindowSlider extends HTMLElement {
  #views = [];
  #thumbs = [];

  connectedCallback() {
    if (this.#thumbs.length) return;
    this.track = make("span", { class: "track" });
    this.#thumbs = ["Black", "White"].map((name, which) => {
      const thumb = make("button", { class: "thumb", role: "slider", "aria-label": name, title: `${name}: drag, or arrow keys` });
      thumb.addEventListener("pointerdown", (event) => {
        thumb.setPointerCapture(event.pointerId);
        event.preventDefault();
        thumb.focus();
      });
      thumb.addEventListener("pointermove", (event) => {
        if (!thumb.hasPointerCapture(event.pointerId)) return;
        const box = this.track.getBoundingClientRect();
        this.#set(which, (event.clientX - box.left) / box.width);
      });
      thumb.addEventListener("keydown", (event) => {
        const by = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
        if (!by) return;
        event.preventDefault();
        event.stopPropagation();
        this.#set(which, this.#parts()[which] + by);
      });
      return thumb;
    });
    this.track.append(...this.#thumbs);
    this.append(
      make("span", { class: "quiet is-extra" }, "contrast"),
      this.track,
      make("button", { title: "Automatic contrast (b)", onclick: () => this.auto() }, "auto"),
      make("button", { title: "Invert (i)", onclick: () => this.invert() }, "invert"),
    );
  }

  /** Set the controlled views; the track is the range of the first one. */
  attach(...views) {
    this.#views = views;
    for (const view of views) view.addEventListener("window", () => this.#show());
    this.#show();
  }

  auto() {
    this.#views[0]?.autoWindow();
    const [low, high] = this.#views[0]?.window ?? [0, 1];
    for (const view of this.#views.slice(1)) view.setWindow(low, high);
  }

  invert() {
    for (const view of this.#views) view.invert();
  }

  #range() {
    const info = this.#views[0]?.info;
    if (!info || info.kind === "stack") return [0, 1];
    return [info.low, info.high];
  }

  #parts() {
    const [low, high] = this.#range();
    const window = this.#views[0]?.info ? this.#views[0].window : [low, high];
    return window.map((value) => (value - low) / (high - low));
  }

  #set(which, part) {
    const parts = this.#parts();
    parts[which] = Math.max(-0.25, Math.min(1.25, part));
    if (which === 0) parts[0] = Math.min(parts[0], parts[1] - 0.01);
    else parts[1] = Math.max(parts[1], parts[0] + 0.01);
    const [low, high] = this.#range();
    for (const view of this.#views) view.setWindow(...parts.map((p) => low + p * (high - low)));
  }

  #show() {
    this.#parts().forEach((part, which) => {
      this.#thumbs[which].style.left = `${100 * Math.max(0, Math.min(1, part))}%`;
      this.#thumbs[which].setAttribute("aria-valuenow", part.toFixed(3));
    });
  }
}

customElements.define("window-slider", WindowSlider);
export { WindowSlider };
