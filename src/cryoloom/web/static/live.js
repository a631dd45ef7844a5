/** A session as it is acquired. Limits are dragged in the plots and kept in this browser. */

import { addKeys, base, follow, get, make, pageData } from "./app.js";
import { Plot } from "./plot.js";

const byId = (id) => document.getElementById(id);
const store = `limits ${base}`;
let facts = pageData();
let limits = JSON.parse(localStorage.getItem(store) ?? "{}");
const plots = new Map();

const page = (name) => `${base}/series/${encodeURIComponent(name)}`;

/** Limits of a plot: those that were dragged, else median and 4.5 robust deviations of the session. */
function limitsOf(plot) {
  if (limits[plot.key]) return limits[plot.key];
  const known = plot.values.filter(Number.isFinite).sort((a, b) => a - b);
  if (known.length < 4) return [];
  const middle = known[Math.floor(known.length / 2)];
  const spread = known.map((v) => Math.abs(v - middle)).sort((a, b) => a - b)[Math.floor(known.length / 2)];
  const reach = Math.max(4.5 * 1.4826 * spread, 0.02 * Math.abs(middle), 1e-6);
  return [middle - reach, middle + reach];
}

const isBeyond = (plot, i) => {
  const [low, high] = limitsOf(plot);
  const value = plot.values[i];
  return Number.isFinite(value) && low !== undefined && (value < low || value > high);
};

function draw() {
  byId("facts").textContent = `${facts.n_series} series, ${facts.n_failed} failed${facts.per_hour ? `, ${facts.per_hour} an hour` : ""}${facts.is_running ? ", running" : ", nothing runs now"}`;
  const strip = facts.strip.map((one) => make("a", { href: page(one.series), class: one.failed ? "is-failed" : "", title: one.failed ? `failed in ${one.failed}` : one.step },
    make("span", { class: one.failed ? "sign failed" : one.done >= 1 ? "sign done" : "sign running" }, one.series),
    make("span", { class: "bar" }, make("i", { style: `width:${Math.min(100, 100 * one.done)}%` })), make("small", {}, one.failed ? `failed in ${one.failed}` : one.step)));
  const open = facts.watched.map((one) => make("a", { href: page(one.series), class: "is-open", title: one.note },
    make("span", { class: "sign queued" }, one.series), make("span", { class: "bar" }, make("i", { style: `width:${one.n_told ? (100 * one.n_whole) / one.n_told : 0}%` })), make("small", {}, `${one.n_whole} of ${one.n_told} tilts`)));
  byId("strip").replaceChildren(...strip, ...open);
  if (!strip.length && !open.length) byId("strip").replaceChildren(make("p", { class: "quiet" }, "Nothing is acquired yet: start `cryoloom watch RAW --project DIR`."));
  if (byId("follow").checked) byId("strip").scrollLeft = byId("strip").scrollWidth;
  for (const plot of facts.plots) {
    if (!plots.has(plot.key)) {
      const box = make("div", {});
      byId("plots").append(box);
      plots.set(plot.key, new Plot(box, { title: `${plot.title}, ${plot.unit}`, lines: [], xTitle: "series in order of time" }));
      box.addEventListener("pointerdown", (event) => drag(event, plot.key));
    }
    const [low, high] = limitsOf(plot);
    plots.get(plot.key).set({
      lines: [{ x: plot.values.map((_, i) => i + 1), y: plot.values.map((v) => v ?? NaN) }],
      mark: (i) => (isBeyond(plot, i) ? "flagged" : ""),
      limits: low === undefined ? [] : [{ y: low }, { y: high }],
      pointTitle: (i) => `${facts.names[i]}: ${plot.values[i] ?? "not measured"}`,
      onPick: (i) => byId("follow").checked || location.assign(page(facts.names[i])),
    });
  }
  const beyond = facts.names.map((name, i) => [name, facts.plots.filter((plot) => isBeyond(plot, i))]).filter(([, which]) => which.length);
  byId("beyond").replaceChildren(...(beyond.length ? beyond.reverse().map(([name, which]) => make("p", {}, make("a", { href: page(name) }, name), ": ",
    make("span", { class: "sign flagged" }, which.map((plot) => `${plot.title} ${plot.values[facts.names.indexOf(name)]} ${plot.unit}`).join(", ")))) : [make("p", { class: "quiet" }, "No series is beyond a limit.")]));
  const last = facts.names.slice(-5);
  byId("alerts").replaceChildren(...facts.plots.map((plot) => [plot, last.filter((name) => isBeyond(plot, facts.names.indexOf(name))).length]).filter(([, n]) => n >= 3)
    .map(([plot, n]) => make("p", { class: "problem" }, `${n} of the last ${last.length} series are beyond the limits of ${plot.title}.`)));
}

/** Drag the nearer limit of a plot. */
function drag(event, key) {
  const plot = facts.plots.find((one) => one.key === key);
  const shown = plots.get(key);
  const pair = limitsOf(plot);
  if (!pair.length || !shown.scale) return;
  const top = shown.picture.getBoundingClientRect().top;
  const which = pair.findIndex((value) => Math.abs(shown.scale.Y(value) - (event.clientY - top)) < 7);
  if (which < 0) return;
  event.preventDefault();
  const { y0, y1, bottom, height, top: inset } = shown.scale;
  const move = (moved) => {
    const part = (height - bottom - (moved.clientY - top)) / (height - inset - bottom);
    const next = [...pair];
    next[which] = y0 + part * (y1 - y0);
    limits = { ...limits, [key]: next.sort((a, b) => a - b) };
    localStorage.setItem(store, JSON.stringify(limits));
    draw();
  };
  const end = () => removeEventListener("pointermove", move);
  addEventListener("pointermove", move);
  addEventListener("pointerup", end, { once: true });
}

const refresh = follow(async () => {
  facts = (await get(`${base}/live.json`).catch(() => null)) ?? facts;
  draw();
});
setInterval(refresh, 10000);
addKeys([{ key: "F", does: "follow the newest, or not", run: () => byId("follow").click() }, { key: "L", does: "limits as they were at first", run: () => { limits = {}; localStorage.removeItem(store); draw(); } }]);
draw();
