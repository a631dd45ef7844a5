/** A session during acquisition. Limits are dragged in the plots and stored in the project, where alerts use them. */

import { addKeys, attempt, base, bytesText, follow, get, make, pageData, send, tell } from "../app.js";
import { Plot } from "../plot.js";

const byId = (id) => document.getElementById(id);
const isOwner = document.body.dataset.role === "owner";
let facts = pageData();
const dragged = {}; // figure -> limits that are not sent yet
const plots = new Map();

const page = (name) => `${base}/series/${encodeURIComponent(name)}`;

/** Limits of a plot: the dragged ones during a drag, otherwise those of the server. */
const limitsOf = (plot) => dragged[plot.key] ?? plot.limits ?? [null, null];

const isBeyond = (plot, i) => {
  const [low, high] = limitsOf(plot);
  const value = plot.values[i];
  return Number.isFinite(value) && ((low !== null && value < low) || (high !== null && value > high));
};

/** A duration as text. */
const duration = (seconds) => (seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`);
const ago = (seconds) => (seconds < 172800 ? `${duration(seconds)} ago` : `${Math.round(seconds / 86400)} days ago`);

function draw() {
  const files = facts.last_file === null ? [] : [`last file ${ago((Date.parse(facts.now) / 1000) - facts.last_file)}`, facts.bytes_per_second ? `${bytesText(facts.bytes_per_second)}/s` : null];
  const rest = facts.is_running && facts.seconds_to_go ? `about ${duration(facts.seconds_to_go)} to go` : null;
  byId("transfer").textContent = [...files, rest].filter(Boolean).join(", ");
  byId("facts").textContent = `${facts.n_series} series, ${facts.n_failed} failed${facts.per_hour ? `, ${facts.per_hour} an hour` : ""}${facts.is_running ? ", running" : ", nothing runs now"}`;
  const strip = facts.strip.map((one) => make("a", { href: page(one.series), class: one.failed ? "is-failed" : "", title: one.failed ? `failed in ${one.failed}` : one.step },
    make("span", { class: one.failed ? "sign failed" : one.done >= 1 || !facts.is_running ? "sign done" : "sign running" }, one.series),
    make("span", { class: "bar" }, make("i", { style: `width:${Math.min(100, 100 * one.done)}%` })), make("small", {}, one.failed ? `failed in ${one.failed}` : one.step)));
  const open = facts.watched.map((one) => make("a", { href: page(one.series), class: "is-open", title: one.note },
    make("span", { class: "sign queued" }, one.series), make("span", { class: "bar" }, make("i", { style: `width:${one.n_told ? (100 * one.n_whole) / one.n_told : 0}%` })), make("small", {}, `${one.n_whole} of ${one.n_told} tilts`)));
  byId("strip").replaceChildren(...strip, ...open);
  if (!strip.length && !open.length) byId("strip").replaceChildren(make("p", { class: "quiet" }, "Nothing is acquired yet: choose the folder that movies come to with “Watch a folder”, or start ", make("code", {}, "cryoloom watch RAW --project DIR"), "."));
  if (byId("follow").checked) byId("strip").scrollLeft = byId("strip").scrollWidth;
  for (const plot of facts.plots) {
    if (!plots.has(plot.key)) {
      const box = make("div", {});
      byId("plots").append(box);
      plots.set(plot.key, new Plot(box, { title: `${plot.title}, ${plot.unit}`, lines: [], xTitle: "series in order of time", isCounted: true }));
      box.addEventListener("pointerdown", (event) => drag(event, plot.key), true); // before the plot handles it as a click
    }
    plots.get(plot.key).set({
      lines: [{ x: plot.values.map((_, i) => i + 1), y: plot.values.map((v) => v ?? NaN) }],
      mark: (i) => (isBeyond(plot, i) ? "flagged" : ""),
      limits: limitsOf(plot).filter((value) => value !== null).map((y) => ({ y, strong: plot.is_set })),
      pointTitle: (i) => `${facts.names[i]}: ${plot.values[i] ?? "not measured"}`,
      onPick: (i) => byId("follow").checked || location.assign(page(facts.names[i])),
    });
  }
  const beyond = facts.names.map((name, i) => [name, facts.plots.filter((plot) => isBeyond(plot, i))]).filter(([, which]) => which.length);
  byId("beyond").replaceChildren(...(beyond.length ? beyond.reverse().map(([name, which]) => make("p", {}, make("a", { href: page(name) }, name), ": ",
    make("span", { class: "sign flagged" }, which.map((plot) => `${plot.title} ${Number(plot.values[facts.names.indexOf(name)].toPrecision(4))} ${plot.unit}`).join(", ")))) : [make("p", { class: "quiet" }, "No series is beyond a limit.")]));
  byId("alerts").replaceChildren(...facts.alerts.map((alert) => make("p", { class: `row tight ${alert.is_muted ? "quiet" : "problem"}` }, make("span", { class: "grow" }, alert.text),
    isOwner ? make("button", { title: alert.is_muted ? "Raise alerts of this again" : "Raise no alerts of this any more", onclick: () => take("alerts/mute", { subject: alert.subject, mute: !alert.is_muted }) }, alert.is_muted ? "muted: raise again" : "mute") : "")));
  const [atLeast, ofLast] = facts.rule;
  byId("channels").replaceChildren(`An alert is raised when ${atLeast} of the last ${ofLast} series are beyond a limit or failed; it is shown here`, ...facts.channels.flatMap((one) => [", ", `${one.kind} ${one.name}`, one.problem ? make("span", { class: "sign failed" }, one.problem) : ""]), facts.channels.length ? "." : ". To send alerts to a file, a program or a web hook: cryoloom alerts --help.");
  byId("said").replaceChildren(...(facts.said.length ? facts.said.map((one) => make("p", {}, make("span", { class: "quiet mono" }, new Date(one.when).toLocaleString(undefined, { dateStyle: "short", timeStyle: "short" })), " ", one.text)) : [make("p", { class: "quiet" }, "No alert was raised yet.")]));
  drawLatest();
  byId("command").textContent = facts.command;
  if (byId("stop")) byId("stop").hidden = !facts.is_running;
}

/** Middle section of the latest tomogram; not replaced if it is the same. */
function drawLatest() {
  const latest = facts.latest;
  if (latest && byId("latest").dataset.picture === latest.picture) return;
  byId("latest").dataset.picture = latest?.picture ?? "";
  byId("latest").replaceChildren(latest
    ? make("a", { href: latest.page, title: "Look at it" }, make("img", { src: latest.picture, alt: `Middle of ${latest.series}` }), latest.series)
    : make("p", { class: "quiet" }, "No tomogram is here yet."));
}

/** Change the settings; the answer is the current state. */
async function take(path, data) {
  const answer = await attempt(() => send(`${base}/${path}`, data));
  if (answer) facts = answer;
  draw();
}

async function keep(figure, [low, high]) {
  await take("alerts/limits", { figure, low, high });
  delete dragged[figure];
  draw();
}

/** Drag the nearer limit of a plot. */
function drag(event, key) {
  const plot = facts.plots.find((one) => one.key === key);
  const shown = plots.get(key);
  const pair = limitsOf(plot);
  if (!isOwner || !shown.scale) return;
  const top = shown.picture.getBoundingClientRect().top;
  const which = pair.findIndex((value) => value !== null && Math.abs(shown.scale.Y(value) - (event.clientY - top)) < 7);
  if (which < 0) return;
  event.preventDefault();
  event.stopPropagation();
  const { y0, y1, bottom, height, top: inset } = shown.scale;
  let next = pair;
  const move = (moved) => {
    const part = (height - bottom - (moved.clientY - top)) / (height - inset - bottom);
    next = [...pair];
    next[which] = Number((y0 + part * (y1 - y0)).toPrecision(4));
    if (next[0] !== null && next[1] !== null && next[0] >= next[1]) return;
    dragged[key] = next;
    draw();
  };
  const end = () => {
    removeEventListener("pointermove", move);
    if (dragged[key]) keep(key, dragged[key]);
  };
  addEventListener("pointermove", move);
  addEventListener("pointerup", end, { once: true });
}

/** Limits derived from the session. */
async function asAtFirst() {
  for (const plot of facts.plots) if (plot.is_set) await keep(plot.key, [null, null]);
}

byId("watch-form")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const job = await attempt(() => send(`${base}/watch`, { raw: byId("raw").value.trim(), tilts: byId("tilts").value === "" ? null : Number(byId("tilts").value) }));
  if (!job) return;
  byId("watching").open = false;
  tell(`Started: ${job.command}. It goes on when this page is closed.`);
});
byId("stop")?.addEventListener("click", async () => {
  const job = await attempt(() => send(`${base}/stop`));
  if (job) tell("Asked to stop; what is finished stays, and the same command goes on from there.");
});

const refresh = follow(async () => {
  facts = (await get(`${base}/live.json`).catch(() => null)) ?? facts;
  draw();
});
setInterval(refresh, 10000);
addKeys([{ key: "F", does: "follow the newest, or not", run: () => byId("follow").click() }, { key: "L", does: "limits as they were at first", run: () => void (isOwner && asAtFirst()) }]);
draw();
