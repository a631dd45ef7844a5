/** One run: its items, parameters, note; stop, resume, delete. */

import { addKeys, attempt, base, bytesText, counted, follow, get, make, pageData, send, tell } from "../app.js";
import { decide, notYetIn } from "../decisions.js";
import { showJobs } from "../jobs.js";
import { Plot } from "../plot.js";

let facts = pageData();
let other = null;
const byId = (id) => document.getElementById(id);
const isOwner = document.body.dataset.role === "owner";
let defaults = {}; // of the step, when they are known
let plotted = null;
const figure = new Plot(byId("figure"), { title: "", lines: [] });
const said = (value) => (value === null || value === undefined ? "automatic" : words(value));
const words = (value) => (typeof value === "string" ? value : JSON.stringify(value));
const quoted = (text) => (/^[\w./=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

function draw() {
  byId("state").className = `sign ${facts.state}`;
  byId("state").textContent = facts.state;
  byId("facts").textContent = counted(facts.items.length, "item");
  const short = (name) => name.replaceAll("_", " ").replace(/ (angstrom|deg)$/, (_, unit) => (unit === "deg" ? ", °" : ", Å"));
  document.querySelector("#items thead").replaceChildren(
    make("tr", {}, make("th", {}, "item"), make("th", {}, "state"), make("th", {}, "says"), ...facts.figures.map((name) => make("th", { class: "number" }, make("button", { class: "heading", title: `${facts.meanings[name] ?? name} Click: plot it over the items.`, "aria-pressed": String(name === plotted), onclick: () => plot(name) }, short(name)))), make("th", { class: "number" }, "time, s")));
  document.querySelector("#items tbody").replaceChildren(
    ...facts.items.map((item) => make("tr", {},
      make("td", {}, item.link ? make("a", { href: item.link }, item.name) : item.name),
      make("td", {}, make("span", { class: `sign ${item.state === "left_out" ? "excluded" : item.state}` }, item.state.replace("_", " "))),
      make("td", { class: "says" }, item.says),
      ...item.figures.map((value) => make("td", { class: "number" }, Number.isFinite(value) ? String(Number(value.toPrecision(4))) : "")),
      make("td", { class: "number" }, String(item.seconds)))));
  const names = [...new Set([...Object.keys(facts.parameters), ...Object.keys(other?.parameters ?? {}), ...Object.keys(defaults)])];
  document.querySelector("#parameters tbody").replaceChildren(
    ...names.map((name) => {
      const isGiven = name in facts.parameters;
      const [mine, its] = [facts, other].map((one) => one && (name in one.parameters ? one.parameters[name] : defaults[name]));
      const differs = other && words(mine) !== words(its);
      const title = isOwner ? make("a", { href: `${base}/new?like=${facts.id}&field=${name}`, title: "Change it in a copy of this run" }, name) : name;
      return make("tr", {}, make("td", {}, title), make("td", { class: differs ? "differs" : isGiven ? "" : "quiet" }, said(mine)), other ? make("td", { class: differs ? "differs" : "quiet" }, said(its)) : null);
    }));
  byId("inputs").replaceChildren(...(Object.keys(facts.inputs).length
    ? Object.entries(facts.inputs).map(([role, run]) => make("span", {}, `${role}: `, make("a", { href: `${base}/run/${run}` }, `run ${run}`), "  "))
    : ["raw data"]));
  if (document.activeElement !== byId("comment")) byId("comment").value = facts.comment;
  const settings = Object.entries(facts.parameters).map(([name, value]) => `--set ${quoted(`${name}=${JSON.stringify(value)}`)}`);
  const inputs = Object.entries(facts.inputs).map(([role, run]) => `--${role.replaceAll("_", "-")} ${run}`);
  byId("command").textContent = [["cryoloom run", facts.step, "--project .", ...inputs].join(" "), ...settings].join(" \\\n  ");
  byId("provenance").replaceChildren(...facts.provenance.map(([title, text]) => make("p", {}, make("span", { class: "quiet" }, `${title} `), text)));
  drawFigure();
  for (const id of ["stop", "delete"]) if (byId(id)) byId(id).disabled = id === "stop" ? facts.state !== "running" : facts.state === "running";
}

follow(async () => {
  const asked = performance.now();
  facts = (await get(`${base}/run/${facts.id}/facts.json`).catch(() => null)) ?? facts;
  facts.comment = notYetIn("comment", `run:${facts.id}`, asked).get("")?.change.value ?? facts.comment;
  draw();
});

byId("compare").append(...facts.same.map(([id, node]) => make("option", { value: String(id) }, `run ${id} ${node}`)));
byId("compare-row").hidden = !facts.same.length;
byId("compare").addEventListener("change", async (event) => {
  other = event.target.value ? await attempt(() => get(`${base}/run/${event.target.value}/facts.json`)) : null;
  draw();
});
byId("comment").addEventListener("change", () =>
  attempt(async () => {
    await decide([{ kind: "comment", item: `run:${facts.id}`, value: byId("comment").value }], "", "run");
    tell("The note is kept.");
  }));
const start = (path, method) => async () => {
  const job = await attempt(() => send(path, {}, method));
  if (job) showJobs(job.number);
};
byId("resume")?.addEventListener("click", start(`${base}/resume`));
byId("stop")?.addEventListener("click", start(`${base}/stop`));
byId("delete")?.addEventListener("click", () => {
  byId("sure-text").textContent = facts.followers.length
    ? `Runs ${facts.followers.map(([id]) => id).join(", ")} need run ${facts.id}; delete them first.`
    : `Delete run ${facts.id} with the files of its ${facts.items.length} items (${bytesText(facts.n_bytes)})? This cannot be undone.`;
  byId("sure-yes").hidden = facts.followers.length > 0;
  byId("sure").showModal();
});
byId("sure-no").addEventListener("click", () => byId("sure").close());
byId("sure-yes").addEventListener("click", async () => {
  byId("sure").close();
  await start(`${base}/run/${facts.id}`, "DELETE")();
});
/** Show or hide a figure of all items. */
function plot(name) {
  plotted = plotted === name ? null : name;
  byId("figure").hidden = plotted === null;
  draw();
}

function drawFigure() {
  if (plotted === null) return;
  const at = facts.figures.indexOf(plotted);
  const y = facts.items.map((item) => item.figures[at] ?? NaN);
  figure.set({ title: plotted.replaceAll("_", " "), xTitle: "items in the order of the table", lines: [{ x: y.map((_, i) => i + 1), y }], pointTitle: (i) => `${facts.items[i].name}: ${y[i]}`, onPick: (i) => facts.items[i].link && location.assign(facts.items[i].link) });
  figure.heading.textContent = figure.options.title;
}

/** Declaration of the step: all parameters with their defaults, and references. It comes from another process, which can take a moment. */
async function declared() {
  const catalogue = await get(`${base}/steps.json`).catch(() => null);
  const step = catalogue?.steps.find((one) => one.name === facts.step);
  if (!step) return;
  defaults = Object.fromEntries(Object.entries(step.schema.properties ?? {}).map(([name, schema]) => [name, schema.default ?? null]));
  byId("cite").replaceChildren(...(step.citations.length ? step.citations.map((one) => make("p", {}, one)) : [make("p", { class: "quiet" }, "This step has nothing to cite of its own.")]));
  draw();
}

addKeys([{ key: "n", does: "next step: on these results", run: () => location.assign(`${base}/new?from=${facts.id}`) }, { key: "e", does: "copy and edit", run: () => location.assign(`${base}/new?like=${facts.id}`) }]);
draw();
declared();
const named = byId(location.hash.slice(1));
if (named?.closest("details")) named.closest("details").open = true;
named?.scrollIntoView();
