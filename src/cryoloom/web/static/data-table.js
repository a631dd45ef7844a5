/**
 * <data-table>: thousands of rows; only those on screen are drawn.
 *
 * columns: [key, title, kind, help]; kinds: text, number, link, state. rows: arrays in this order. Filter and order
 * are stored in the address (q, sort). All words of the filter must match; `key>value` and `key<value` compare.
 */

import { make } from "./app.js";

const EM = parseFloat(getComputedStyle(document.documentElement).fontSize) / 14; // larger on a large screen
const ROW_PX = 26 * EM;
const WIDTHS = { text: 102, link: 134, state: 84 }; // pixels; numbers have the width of their heading

class DataTable extends HTMLElement {
  columns = [];
  rows = [];
  shown = [];
  selected = null; // value of the first column
  #query = "";
  #sort = "";

  setUp(columns, { href = null } = {}) {
    this.columns = columns;
    this.href = href;
    const address = new URLSearchParams(location.search);
    this.#query = address.get("q") ?? "";
    this.#sort = address.get("sort") ?? "";
    this.selected = address.get("at");
    const widths = columns.map(([, title, kind]) => EM * (WIDTHS[kind] ?? Math.max(56, 22 + 8.2 * title.length)));
    const last = columns.length - 1;
    this.style.setProperty("--columns", widths.map((width, i) => (i === last ? "minmax(11rem, 1fr)" : `${width}px`)).join(" "));
    this.style.setProperty("--least", `${widths.slice(0, last).reduce((a, b) => a + b, 154 * EM)}px`);
    this.head = make("div", { class: "head", role: "row" });
    columns.forEach(([key, title, kind, help]) =>
      this.head.append(make("button", { class: kind === "number" ? "number" : "", title: help, "data-key": key, onclick: () => this.sortBy(key) }, title)));
    this.body = make("div", { class: "body", role: "rowgroup" });
    this.setAttribute("role", "grid");
    this.replaceChildren(this.head, this.body);
    this.addEventListener("scroll", () => this.#draw());
    new ResizeObserver(() => this.#draw()).observe(this);
    return this.#query;
  }

  /** Set the rows; filter, order, selection and scroll position are kept. */
  set(rows) {
    this.rows = rows;
    this.#arrange();
  }

  filter(query) {
    this.#query = query;
    this.#keep("q", query);
    this.#arrange();
  }

  sortBy(key) {
    this.#sort = this.#sort === key ? `-${key}` : this.#sort === `-${key}` ? "" : key;
    this.#keep("sort", this.#sort);
    this.#arrange();
  }

  select(name, { scroll = true } = {}) {
    this.selected = name;
    this.#keep("at", name ?? "");
    const at = this.shown.findIndex((row) => row[0] === name);
    if (scroll && at >= 0) {
      const top = at * ROW_PX;
      const room = this.clientHeight - this.head.offsetHeight;
      if (top < this.scrollTop) this.scrollTop = top;
      else if (top + ROW_PX > this.scrollTop + room) this.scrollTop = top + ROW_PX - room;
    }
    this.#draw();
    this.dispatchEvent(new CustomEvent("selected", { detail: name }));
  }

  step(by) {
    if (!this.shown.length) return;
    const at = this.shown.findIndex((row) => row[0] === this.selected);
    this.select(this.shown[Math.max(0, Math.min(this.shown.length - 1, at < 0 ? 0 : at + by))][0]);
  }

  #keep(name, value) {
    const address = new URLSearchParams(location.search);
    if (value) address.set(name, value);
    else address.delete(name);
    history.replaceState(null, "", address.size ? `?${address}` : location.pathname);
  }

  #arrange() {
    const tests = this.#query.trim().toLowerCase().split(/\s+/).filter(Boolean).map((word) => this.#test(word));
    this.shown = tests.length ? this.rows.filter((row) => tests.every((test) => test(row))) : [...this.rows];
    const key = this.#sort.replace(/^-/, "");
    const at = this.columns.findIndex(([name]) => name === key);
    if (at >= 0) {
      const sign = this.#sort.startsWith("-") ? -1 : 1;
      const text = new Intl.Collator(undefined, { numeric: true });
      this.shown.sort((a, b) => {
        const [x, y] = [a[at], b[at]];
        if (x === null || x === undefined || y === null || y === undefined) return (x === null || x === undefined) - (y === null || y === undefined);
        return sign * (typeof x === "number" ? x - y : text.compare(x, y));
      });
    }
    for (const button of this.head.children) {
      const [, title] = this.columns.find(([name]) => name === button.dataset.key);
      button.textContent = title + (this.#sort === button.dataset.key ? " ↑" : this.#sort === `-${button.dataset.key}` ? " ↓" : "");
    }
    this.body.style.height = `${this.shown.length * ROW_PX}px`;
    this.#draw();
    this.dispatchEvent(new CustomEvent("arranged", { detail: this.shown.length }));
  }

  #test(word) {
    const compare = /^([a-z]+)([<>=])(-?[\d.]+)$/.exec(word);
    const at = compare ? this.columns.findIndex(([key, title]) => key === compare[1] || title.toLowerCase().startsWith(compare[1])) : -1;
    if (at >= 0) {
      const value = Number(compare[3]);
      const tests = { "<": (v) => v < value, ">": (v) => v > value, "=": (v) => v === value };
      return (row) => typeof row[at] === "number" && tests[compare[2]](row[at]);
    }
    return (row) => row.some((cell) => typeof cell === "string" && cell.toLowerCase().includes(word));
  }

  #draw() {
    if (!this.head) return;
    const first = Math.max(0, Math.floor(this.scrollTop / ROW_PX) - 5);
    const last = Math.min(this.shown.length, Math.ceil((this.scrollTop + this.clientHeight) / ROW_PX) + 5);
    const lines = [];
    for (let i = first; i < last; i++) lines.push(this.#line(this.shown[i], i));
    if (!this.shown.length) lines.push(make("p", { class: "none" }, this.rows.length ? "Nothing fits the filter." : "No series is here yet: import raw data with a new run."));
    this.body.replaceChildren(...lines);
  }

  #line(row, i) {
    const line = make("div", { class: "line", role: "row", "aria-selected": String(row[0] === this.selected), style: `top:${i * ROW_PX}px`, "data-name": row[0], onclick: () => this.select(row[0], { scroll: false }) });
    row.forEach((cell, at) => {
      const [, , kind] = this.columns[at];
      const text = cell === null || cell === undefined ? "" : String(cell);
      const box = make("span", { class: kind === "number" ? "number" : "", role: "gridcell" });
      if (kind === "link" && this.href) box.append(make("a", { href: this.href(row) }, text));
      else if (kind === "state") box.append(make("span", { class: `sign ${text}` }, text));
      else box.textContent = text;
      if (kind === "text") box.title = text;
      line.append(box);
    });
    return line;
  }
}

customElements.define("data-table", DataTable);
export { DataTable };
