/** A new project: raw data, workflow, start. Nothing is written before the start. */

import { addKeys, attempt, counted, get, make, pageData, send } from "../app.js";

const NS = "http://www.w3.org/2000/svg";
const [CARD_WIDTH, CARD_HEIGHT] = [162, 92];
const byId = (id) => document.getElementById(id);
const { roots } = pageData();
let cards = [];
let chosen = "tomogram";
let yaml = "";
let isData = false;
let asked = 0;

/** A workflow as a small picture: a box for each step. */
function picture({ nodes, edges }) {
  const svg = document.createElementNS(NS, "svg");
  const [width, height] = [Math.max(...nodes.map((one) => one.x)) + CARD_WIDTH, Math.max(...nodes.map((one) => one.y)) + CARD_HEIGHT];
  svg.setAttribute("viewBox", `-4 -4 ${width + 8} ${height + 8}`);
  svg.setAttribute("aria-hidden", "true");
  const add = (tag, attributes) => {
    const element = document.createElementNS(NS, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
    svg.append(element);
  };
  for (const [from, to] of edges) {
    const [a, b] = [nodes[from], nodes[to]];
    add("line", { x1: a.x + CARD_WIDTH, y1: a.y + CARD_HEIGHT / 2, x2: b.x, y2: b.y + CARD_HEIGHT / 2, stroke: "#7d8792", "stroke-width": 5 });
  }
  for (const one of nodes) add("rect", { x: one.x, y: one.y, width: CARD_WIDTH, height: CARD_HEIGHT, rx: 14, fill: "#2c5f7c", stroke: "#56b4e9", "stroke-width": 5 });
  return svg;
}

function drawCards() {
  byId("cards").replaceChildren(...cards.map((one) => {
    const card = make("button", { type: "button", role: "radio", "aria-checked": String(one.name === chosen), "data-workflow": one.name, title: one.nodes.map((node) => node.name).join(", "), onclick: () => choose(one.name) },
      make("strong", {}, one.name), make("span", { class: "quiet" }, one.description));
    card.append(picture(one));
    return card;
  }));
}

function choose(name) {
  chosen = name;
  yaml = cards.find((one) => one.name === name)?.yaml ?? "";
  drawCards();
  says();
}

function spark(values) {
  const canvas = make("canvas", { width: "300", height: "52" });
  const context = canvas.getContext("2d");
  const [low, high] = [Math.min(...values), Math.max(...values)];
  context.strokeStyle = "#56b4e9";
  context.lineWidth = 2.5;
  values.forEach((value, i) => context.lineTo(4 + (i * 292) / Math.max(1, values.length - 1), 48 - ((value - low) / (high - low || 1)) * 44));
  context.stroke();
  return canvas;
}

const MOST_FOLDERS = 60;

/** Folders to choose by a click: those in the current folder, and its parent. */
function offer(path, folders) {
  const isRoot = roots.includes(path);
  const above = path && !isRoot ? path.slice(0, path.lastIndexOf("/")) : null;
  const button = (folder, text) => make("button", { type: "button", title: folder, onclick: () => take(folder) }, text);
  byId("inside").replaceChildren(
    ...(above ? [button(above, "↑ above")] : roots.length > 1 && path ? roots.filter((root) => root !== path).map((root) => button(root, root)) : []),
    ...folders.slice(0, MOST_FOLDERS).map((folder) => button(folder, path ? folder.split("/").at(-1) : folder)),
    folders.length > MOST_FOLDERS ? make("span", { class: "quiet" }, `${folders.length - MOST_FOLDERS} more: type the path`) : "",
    folders.length || above ? "" : make("span", { class: "quiet" }, path ? "no folder is in it" : ""));
}

function take(folder) {
  byId("raw").value = folder;
  look();
}

async function look() {
  const mine = ++asked;
  const path = byId("raw").value.trim();
  isData = false;
  says();
  if (!path) return;
  const listed = await get(`/folders.json?path=${encodeURIComponent(path)}`).catch((error) => ({ error: error.message }));
  if (mine !== asked) return;
  if (listed.error) return void (byId("found").textContent = listed.error);
  byId("folders").replaceChildren(...listed.folders.map((folder) => make("option", { value: folder })));
  offer(listed.path, listed.folders);
  byId("found").textContent = "reading the mdocs…";
  const facts = await get(`/raw.json?path=${encodeURIComponent(path)}`).catch((error) => ({ error: error.message }));
  if (mine !== asked) return;
  if (facts.error) return void (byId("found").textContent = facts.error);
  // Movies are often in a separate folder given by the mdocs; if there are mdocs, their movies are counted.
  const nTilts = facts.series.reduce((sum, one) => sum + one.n_tilts, 0);
  byId("found").textContent = `${facts.series.length} series, ${counted(facts.n_mdocs, "mdoc")}, ${facts.n_mdocs ? counted(nTilts, "tilt") : `${counted(facts.n_movies, "movie")} in this folder`}`;
  byId("doubts").replaceChildren(...facts.doubts.slice(0, 12).map((text) => make("li", {}, text)));
  document.querySelector("#facts tbody").replaceChildren(...Object.entries(facts.facts).map(([title, values]) => make("tr", {}, make("td", {}, title), make("td", { class: "number" }, values.length ? values.slice(0, 6).join(", ") : "not given"))));
  byId("series").replaceChildren(...facts.series.slice(0, 60).map((one) => make("div", { class: "row" }, make("span", { class: "mono" }, one.name), make("span", { class: "quiet" }, `${one.n_tilts} tilts; angle, dose in order of acquisition`), spark(one.tilt_deg), spark(one.dose_per_angstrom2))));
  isData = facts.n_movies > 0 || facts.series.length > 0;
  if (!byId("name").value) byId("name").value = `${path.split("/").filter(Boolean).at(-1) ?? "new"}_project`.replace(/[^A-Za-z0-9 _.-]/g, "-");
  says();
}

function says() {
  const name = byId("name").value.trim();
  byId("start").disabled = !isData || !name || !byId("name").checkValidity() || document.body.dataset.role !== "owner";
  byId("command").textContent = `cryoloom process ${byId("raw").value.trim() || "RAW"} --project ${name || "DIR"} --workflow ${yaml ? "workflow.yaml" : chosen}`;
}

async function translate(file) {
  if (!file) return;
  const found = await attempt(async () => send("/workflows/translate", { text: await file.text() }));
  if (!found) return;
  const name = file.name.replace(/\.\w+$/, "");
  cards = [{ name, description: `from Scipion: ${found.nodes.length} steps, ${found.left.length} things not translated`, ...found }, ...cards.filter((one) => one.name !== name)];
  byId("left").replaceChildren(make("details", { open: found.left.length > 0 }, make("summary", {}, `Not translated: ${found.left.length}`), make("ul", {}, ...found.left.map((text) => make("li", {}, text)))));
  choose(name);
}

async function start() {
  byId("start").disabled = true;
  const made = await attempt(() => send("/new-project", { raw: byId("raw").value.trim(), name: byId("name").value.trim(), ...(yaml ? { yaml } : { workflow: chosen }) }));
  if (made) location.assign(`/p/${made.slug}`);
  else says();
}

let timer = 0;
byId("raw").addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(look, 300);
});
byId("name").addEventListener("input", says);
byId("start").addEventListener("click", start);
byId("scipion").addEventListener("change", (event) => translate(event.target.files[0]));
for (const [name, on] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
  byId("drop").addEventListener(name, (event) => {
    event.preventDefault();
    byId("drop").classList.toggle("is-over", on);
    if (name === "drop") translate(event.dataTransfer.files[0]);
  });
}
addKeys([{ key: "Enter", does: "start", run: () => (byId("start").disabled ? false : void start()) }]);
byId("folders").append(...roots.map((folder) => make("option", { value: folder })));
if (roots.length === 1) get(`/folders.json?path=${encodeURIComponent(roots[0])}`).then((listed) => byId("raw").value || offer(listed.path, listed.folders), () => {});
else offer("", roots);
cards = (await attempt(() => get("/workflows.json"))) ?? [];
cards.sort((a, b) => (b.name === chosen) - (a.name === chosen)); // the default first
drawCards();
says();
