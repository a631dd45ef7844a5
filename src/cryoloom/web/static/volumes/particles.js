/** Sets of particles: scores with a cut-off, positions in their tomograms, and averaging. */

import { addKeys, attempt, base, get, keepInAddress, make, pageData, send, sentence, tell } from "../app.js";
import { showJobs } from "../jobs.js";
import { Plot } from "../plot.js";

const byId = (id) => document.getElementById(id);
const { sets } = pageData();
const address = new URLSearchParams(location.search);
const histogram = new Plot(byId("scores"), { title: "scores", lines: [], zero: true });
let chosen = null;
let scores = null;

function drawSets() {
  document.querySelector("#sets tbody").replaceChildren(...sets.map((one) => make("tr", { "data-run": String(one.run), "aria-selected": String(one === chosen), tabindex: "0", onclick: () => choose(one) },
    make("td", { class: "number" }, String(one.run)), make("td", {}, one.node), make("td", { class: "number" }, `${one.n.toLocaleString("en")}${one.is_all_read ? "" : " and more"}`),
    make("td", {}, one.species), make("td", { class: "number" }, String(one.items.length)))));
}

async function choose(one) {
  chosen = one;
  scores = null;
  address.set("run", String(one.run));
  keepInAddress(address);
  drawSets();
  byId("title").textContent = `run ${one.run} ${one.node}`;
  byId("facts").textContent = [`${one.n.toLocaleString("en")} particles`, one.diameter_angstrom ? `diameter ${one.diameter_angstrom.toFixed(0)} Å` : null].filter(Boolean).join(", ");
  byId("doubt").hidden = !one.why_no_resolution;
  byId("doubt").textContent = sentence(one.why_no_resolution);
  byId("tomograms").replaceChildren(...one.items.map((item) => make("p", { class: "row tight" },
    make("a", { href: `${base}/tomo/${encodeURIComponent(item.name)}?particles=${item.item}`, title: "These particles on their tomogram" }, item.name), make("span", { class: "quiet" }, item.n.toLocaleString("en")))));
  byId("symmetry").value = one.symmetry;
  byId("diameter").value = one.diameter_angstrom ?? "";
  byId("diameter").required = !one.diameter_angstrom;
  byId("start-from").value = one.has_map ? "map" : "nothing";
  byId("start-from").querySelector("[value=map]").disabled = !one.has_map;
  command();
  byId("cut-row").hidden = true;
  byId("scores").hidden = !one.has_scores;
  if (!one.has_scores) return;
  const found = await attempt(() => get(`${base}/particles/${one.run}/scores.json`));
  if (!found || one !== chosen || !found.total) return;
  scores = found;
  byId("cut").value = "0";
  byId("cut-row").hidden = false;
  drawScores();
}

/** Scores above the cut-off, and their number. */
function cutOff() {
  const [low, high] = [scores.edges[0], scores.edges.at(-1)];
  return low + (Number(byId("cut").value) / 1000) * (high - low);
}

function drawScores() {
  const { edges, n, quantiles, total } = scores;
  const value = cutOff();
  const below = quantiles.findIndex((one) => one >= value);
  const kept = Math.round(total * (1 - (below < 0 ? quantiles.length : below) / (quantiles.length - 1)));
  byId("cut-says").textContent = `${value.toPrecision(3)}: ${Math.max(0, kept).toLocaleString("en")} of ${total.toLocaleString("en")}`;
  const x = n.map((_, i) => (edges[i] + edges[i + 1]) / 2);
  histogram.set({ lines: [{ x, y: n, shape: "steps", colour: "#767676" }, { x, y: n.map((count, i) => (x[i] >= value ? count : 0)), shape: "steps", colour: "#56b4e9" }], pointTitle: (i) => `score ${x[i].toPrecision(3)}: ${n[i]}` });
}

function wanted() {
  return { input: chosen.given_as, symmetry: byId("symmetry").value, diameter_angstrom: byId("diameter").value === "" ? null : Number(byId("diameter").value), start_from: byId("start-from").value };
}

function command() {
  const { input, symmetry, diameter_angstrom: diameter, start_from: from } = wanted();
  const settings = `--set symmetry=${symmetry}${diameter ? ` --set diameter_angstrom=${diameter}` : ""}`;
  if (from === "as they lie") {
    byId("command").textContent = `cryoloom run reconstruct_particle --project . --input ${input} ${settings}`;
    return;
  }
  byId("command").textContent = [
    from === "nothing" ? `cryoloom run initial_model --project . --input ${input} ${settings}` : null,
    `cryoloom run refine --project . --input ${from === "nothing" ? "initial_model.particles" : input} ${settings}`,
    "cryoloom run postprocess --project . --input refine",
  ].filter(Boolean).join("\n");
}

async function start() {
  if (!byId("form").reportValidity()) return;
  const jobs = await attempt(() => send(`${base}/particles/average`, wanted()));
  if (!jobs) return;
  tell("Started. It goes on when this page is closed; the average appears under Averages.");
  showJobs(jobs[0].number);
}

byId("cut").addEventListener("input", drawScores);
byId("keep")?.addEventListener("click", async () => {
  const job = await attempt(() => send(`${base}/particles/cut`, { input: chosen.given_as, min_score: Number(cutOff().toPrecision(6)) }));
  if (job) showJobs(job.number);
});
for (const id of ["symmetry", "diameter", "start-from"]) byId(id).addEventListener("input", command);
byId("start")?.addEventListener("click", start);
byId("form").addEventListener("submit", (event) => event.preventDefault());
const move = (by) => choose(sets[Math.max(0, Math.min(sets.length - 1, sets.indexOf(chosen) + by))]);
addKeys([
  { key: "ArrowDown", does: "next set", run: () => void move(1) },
  { key: "ArrowUp", does: "previous set", run: () => void move(-1) },
  { key: "Enter", does: "average these", run: () => void start() },
]);
await choose(sets.find((one) => String(one.run) === address.get("run")) ?? sets[0]);
