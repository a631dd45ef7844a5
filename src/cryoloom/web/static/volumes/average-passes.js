/**
 * Passes of an average: a plot of their figures with a line for each start, and the map after each pass if it is
 * stored.
 */

import { make } from "../app.js";
import { COLOURS, Plot } from "../plot.js";

const words = (name) => name.replaceAll("_", " ");
const FIRST = ["resolution_angstrom", "log_likelihood"]; // shown first, if every pass has it

/** Passes in order, by start; one list if there are no starts. */
export function byStart(iterations) {
  const found = new Map();
  for (const one of iterations) found.set(one.start ?? 0, [...(found.get(one.start ?? 0) ?? []), one]);
  return [...found.values()];
}

/** Names of the figures that every pass has. */
export function figuresOf(iterations) {
  const names = Object.keys(iterations[0] ?? {}).filter((name) => name !== "start" && iterations.every((one) => Number.isFinite(one[name])));
  return names.sort((a, b) => (FIRST.indexOf(b) >= 0) - (FIRST.indexOf(a) >= 0) || FIRST.indexOf(a) - FIRST.indexOf(b));
}

export class AveragePasses {
  /**
   * elements: {tabs, plot, says, tabSays}. sections: curve and central sections of every pass, or empty.
   * onChoose(pass, sections): a pass is selected, or none (-1).
   */
  constructor({ tabs, plot, says, tabSays }, iterations, sections, onChoose) {
    this.elements = { tabs, says, tabSays };
    this.starts = byStart(iterations);
    this.sections = sections;
    this.onChoose = onChoose;
    this.names = figuresOf(iterations);
    this.at = { start: Math.max(0, this.starts.length - 1), pass: -1 };
    this.nPasses = () => Math.max(this.starts[this.at.start]?.length ?? 0, sections.length);
    plot.hidden = !this.names.length;
    tabs.hidden = !sections.length && !this.names.length;
    this.choice = make("select", { "aria-label": "Figure of the passes" }, ...this.names.map((name) => make("option", { value: name }, words(name))));
    this.choice.addEventListener("change", () => this.#draw());
    this.#makeTabs();
    if (!this.names.length) return;
    const place = make("div", { class: "passes-plot" });
    plot.replaceChildren(place, this.choice);
    this.choice.hidden = this.names.length < 2;
    this.plot = new Plot(place, {
      title: "",
      xTitle: "pass",
      isCounted: true,
      lines: [],
      onPick: (i, line) => this.choose(i, Math.min(this.starts.length - 1, line % this.starts.length)),
    });
    this.#draw();
  }

  /** Select a pass of a start; -1 or a number beyond the last selects the average. */
  choose(pass, start = this.at.start) {
    this.at = { start, pass };
    if (pass < 0 || pass >= this.nPasses()) this.at.pass = -1;
    const one = this.starts[start]?.[this.at.pass];
    const said = Object.entries(one ?? {}).filter(([name]) => name !== "start");
    const where = this.starts.length > 1 ? `Start ${start + 1}, pass` : "After pass";
    this.elements.says.textContent = one ? `${where} ${this.at.pass + 1}: ${said.map(([name, value]) => `${words(name)} ${value}`).join(", ")}` : "";
    this.#makeTabs();
    this.#draw();
    this.onChoose(this.at.pass, this.sections[this.at.pass] ?? null);
  }

  /** Select the next or previous pass; after the last one, the average. */
  step(by) {
    const n = this.nPasses();
    this.choose(this.at.pass < 0 ? (by > 0 ? 0 : n - 1) : this.at.pass + by);
  }

  #makeTabs() {
    const { tabs, tabSays } = this.elements;
    if (tabs.hidden) return;
    const { start, pass } = this.at;
    const tab = (text, title, isOn, onclick, data = {}) => make("button", { ...data, "aria-pressed": String(isOn), title, onclick }, text);
    const what = this.sections.length ? "The map after pass" : "What was measured in pass";
    const starts = this.starts.length > 1 ? [make("span", { class: "quiet" }, "start"), ...this.starts.map((_, i) => tab(String(i + 1), `Passes of start ${i + 1}`, i === start, () => this.choose(-1, i), { "data-start": String(i) }))] : [];
    const shown = this.sections[pass] && this.starts[start]?.[pass];
    tabSays.textContent = !this.sections[pass] ? "" : `sections through the middle after pass ${pass + 1}${Number.isFinite(shown?.resolution_angstrom) ? `, ${shown.resolution_angstrom.toFixed(1)} Å` : ""}`;
    tabs.replaceChildren(
      ...starts,
      make("span", { class: "quiet" }, "passes"),
      ...Array.from({ length: this.nPasses() }, (_, i) => tab(String(i + 1), `${what} ${i + 1} (, and . go through them)`, i === pass, () => this.choose(i), { "data-pass": String(i) })),
      tab("final", "The average itself", pass < 0, () => this.choose(-1), { "data-pass": "-1" }),
      tabSays,
    );
  }

  #draw() {
    if (!this.plot) return;
    const name = this.choice.value;
    const values = this.starts.map((passes) => ({ x: passes.map((_, i) => i + 1), y: passes.map((one) => one[name]) }));
    const isOne = values.length === 1;
    const opacity = (i) => (isOne || i === this.at.start ? 1 : 0.35);
    this.plot.set({
      title: `${words(name)} of every pass${isOne ? "" : ", a line a start"}`,
      lines: [...values.map((one, i) => ({ ...one, colour: COLOURS[i % COLOURS.length], shape: "line", opacity: opacity(i), width: i === this.at.start && !isOne ? 2.4 : 1.2 })), ...values.map((one, i) => ({ ...one, colour: COLOURS[i % COLOURS.length] }))],
    });
    this.plot.select(this.at.pass);
  }
}

/** A section as a picture, with data rows upwards. */
export function sectionOf({ side, sections }, at, pass) {
  const bytes = Uint8Array.from(atob(sections), (one) => one.charCodeAt(0)).subarray(at * side * side, (at + 1) * side * side);
  const picture = make("canvas", { class: "pass-picture", width: String(side), height: String(side), role: "img", "aria-label": `Section after pass ${pass + 1}` });
  const context = picture.getContext("2d");
  const image = context.createImageData(side, side);
  bytes.forEach((value, i) => image.data.set([value, value, value, 255], 4 * ((side - 1 - Math.floor(i / side)) * side + (i % side))));
  context.putImageData(image, 0, 0);
  return picture;
}
