/** One run: its items, parameters, note; stop, resume, delete. */

import { addKeys, attempt, base, follow, get, make, pageData, send, tell } from "./app.js";
import { decide, notYetIn } from "./decisions.js";
import { showJobs } from "./jobs.js";

let facts = pageData();
let other = null;
const byId = (id) => document.getElementById(id);
const words = (value) => (typeof value === "string" ? value : JSON.stringify(value));
const quoted = (text) => (/^[\w./=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

function draw() {
  byId("state").className = `sign ${facts.state}`;
  byId("state").textContent = facts.state;
  byId("facts").textContent = `${facts.items.length} items`;
  const short = (name) => name.replaceAll("_", " ").replace(/ (angstrom|deg)$/, (_, unit) => (unit === "deg" ? ", °" : ", Å"));
  document.querySelector("#items thead").replaceChildren(
    make("tr", {}, make("th", {}, "item"), make("th", {}, "state"), make("th", {}, "says"), ...facts.figures.map((name) => make("th", { class: "number", title: name }, short(name))), make("th", { class: "number", title: "seconds" }, "s")));
  document.querySelector("#items tbody").replaceChildren(
    ...facts.items.map((item) => make("tr", {},
      make("td", {}, make("a", { href: `${base}/series/${encodeURIComponent(item.name)}` }, item.name)),
      make("td", {}, make("span", { class: `sign ${item.state === "left_out" ? "excluded" : item.state}` }, item.state.replace("_", " "))),
      make("td", { class: "says" }, item.says),
      ...item.figures.map((value) => make("td", { class: "number" }, Number.isFinite(value) ? String(Number(value.toPrecision(4))) : "")),
      make("td", { class: "number" }, String(item.seconds)))));
  const names = [...new Set([...Object.keys(facts.parameters), ...Object.keys(other?.parameters ?? {})])];
  document.querySelector("#parameters tbody").replaceChildren(
    ...names.map((name) => {
      const [mine, its] = [facts.parameters[name], other?.parameters[name]];
      const differs = other && words(mine) !== words(its);
      return make("tr", {}, make("td", {}, name), make("td", { class: differs ? "differs" : "" }, words(mine) ?? "not set"), other ? make("td", { class: differs ? "differs" : "quiet" }, words(its) ?? "not set") : null);
    }));
  if (!names.length) document.querySelector("#parameters tbody").replaceChildren(make("tr", {}, make("td", { class: "quiet" }, "all at their defaults")));
  byId("inputs").replaceChildren(...(Object.keys(facts.inputs).length
    ? Object.entries(facts.inputs).map(([role, run]) => make("span", {}, `${role}: `, make("a", { href: `${base}/run/${run}` }, `run ${run}`), "  "))
    : ["raw data"]));
  if (document.activeElement !== byId("comment")) byId("comment").value = facts.comment;
  const settings = Object.entries(facts.parameters).map(([name, value]) => `--set ${quoted(`${name}=${JSON.stringify(value)}`)}`);
  const inputs = Object.entries(facts.inputs).map(([role, run]) => `--${role.replaceAll("_", "-")} ${run}`);
  byId("command").textContent = [["cryoloom run", facts.step, "--project .", ...inputs].join(" "), ...settings].join(" \\\n  ");
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
    : `Delete run ${facts.id} with the files of its ${facts.items.length} items? This cannot be undone.`;
  byId("sure-yes").hidden = facts.followers.length > 0;
  byId("sure").showModal();
});
byId("sure-no").addEventListener("click", () => byId("sure").close());
byId("sure-yes").addEventListener("click", async () => {
  byId("sure").close();
  await start(`${base}/run/${facts.id}`, "DELETE")();
});
addKeys([{ key: "e", does: "copy and edit", run: () => location.assign(`${base}/new?like=${facts.id}`) }]);
draw();
