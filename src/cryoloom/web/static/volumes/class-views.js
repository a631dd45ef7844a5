/** All classes of a run side by side: the same section of each, with one contrast and one zoom. */

import { base, make } from "../app.js";
import "../pictures/slice-view.js";

export class ClassViews {
  /** classes: {item, title, percent, n, base}. place: element that shows them. slider: the page's contrast. */
  constructor(place, classes, slider) {
    this.place = place;
    this.classes = classes;
    this.slider = slider;
    this.views = [];
  }

  get isShown() {
    return !this.place.hidden;
  }

  /** Show them at a section, or hide them. */
  async show(on, index = null) {
    this.place.hidden = !on;
    if (!on) return;
    if (!this.views.length) {
      this.views = this.classes.map((one) => make("slice-view", { "aria-label": `XY slice of ${one.title}` }));
      this.place.replaceChildren(
        ...this.classes.map((one, i) => make("figure", {}, this.views[i], make("figcaption", {}, make("a", { href: `${base}/average/${one.item}` }, one.title), make("span", { class: "quiet" }, `${one.percent === null ? "" : `${one.percent} %, `}${one.n === null ? "" : `${one.n.toLocaleString("en")} particles`}`)))),
      );
      await Promise.all(this.views.map((view, i) => view.open(this.classes[i].base, { index })));
      this.#link();
    }
    for (const view of this.views) if (index !== null) view.go(index);
    this.slider.attach(...this.views);
  }

  #link() {
    // One range for all, so that a weaker class looks weaker.
    const known = this.views.filter((view) => view.info);
    const low = Math.min(...known.map((view) => view.info.low));
    const high = Math.max(...known.map((view) => view.info.high));
    for (const view of known) view.setWindow(low, high);
    let linking = false;
    const follow = (view, change) => () => {
      if (linking) return;
      linking = true;
      for (const other of known) if (other !== view) change(other);
      linking = false;
    };
    for (const view of known) {
      view.addEventListener("index", follow(view, (other) => other.go(view.index)));
      view.addEventListener("moved", follow(view, (other) => other.centreOn(...view.centre, view.zoom)));
    }
  }

  /** The view that keys control. */
  get first() {
    return this.views[0];
  }
}
