/** The form of a run, made from the declared parameters of the step. The server checks values with the step's model. */

import { addKeys, attempt, base, get, make, pageData, send, tell } from "../app.js";
import { showJobs } from "../jobs.js";

const { runs, series, pixels } = pageData();
const byId = (id) => document.getElementById(id);
const form = byId("form");
const address = new URLSearchParams(location.search);
let catalogue = null;
let step = null;
let fields = new Map(); // name -> {read, set, box, schema}
let inputs = new Map(); // role -> select
let items = null;
let timer = 0;
let asked = 0;

const UNITS = [["_per_angstrom2", "e/Å²"], ["_angstrom", "Å"], ["_deg", "°"], ["_px", "px"], ["_percent", "%"], ["_kv", "kV"]];
const unitOf = (name) => UNITS.find(([end]) => name.endsWith(end)) ?? ["", ""];
const kindsOf = (schema) => schema.anyOf ?? [schema];
const isOptional = (schema) => kindsOf(schema).some((kind) => kind.type === "null");
const mainKind = (schema) => kindsOf(schema).find((kind) => kind.type !== "null") ?? {};

/** Outputs of the run to continue from: kind of result -> the run, or its output, as an input; null without such a run. */
function givenBy(id) {
  const run = runs.find((one) => String(one.id) === id);
  const maker = run && catalogue.steps.find((one) => one.name === run.step);
  if (!maker) return null;
  return new Map([...Object.entries(maker.also_gives).map(([output, kind]) => [kind, `${run.id}.${output}`]), [maker.gives, String(run.id)]]);
}

function drawSteps() {
  const given = givenBy(address.get("from"));
  byId("from").hidden = !given;
  byId("from-says").textContent = given ? `on the results of run ${address.get("from")}` : "";
  const wanted = byId("search").value.trim().toLowerCase();
  const groups = { project: "Raw data", tilt_series: "Tilt series", tomogram: "Tomograms", particle_set: "Particles" };
  const parts = [];
  for (const [per, title] of Object.entries(groups)) {
    const found = catalogue.steps.filter((one) => one.per === per && (!given || given.has(one.needs) || (one.needs && given.has("object"))) && `${one.name} ${one.summary}`.toLowerCase().includes(wanted));
    if (!found.length) continue;
    parts.push(make("h3", {}, title), ...found.map((one) =>
      make("button", { type: "button", title: one.summary, "data-step": one.name, "aria-current": one.name === step?.name ? "true" : false, onclick: () => choose(one.name) }, one.name)));
  }
  byId("steps").replaceChildren(...parts);
}

/** A field of the form, with functions that read and set it. */
function fieldOf(name, schema) {
  const kind = mainKind(schema);
  const optional = isOptional(schema);
  const [end, unit] = unitOf(name);
  const id = `field-${name}`;
  let control;
  let read;
  let set;
  if (kind.enum || kind.const !== undefined) {
    const values = kind.enum ?? [kind.const];
    control = make("select", { id }, optional ? make("option", { value: "null" }, "automatic") : null, ...values.map((value) => make("option", { value: JSON.stringify(value) }, String(value))));
    read = () => JSON.parse(control.value);
    set = (value) => (control.value = value === null || value === undefined ? "null" : JSON.stringify(value));
  } else if (kind.type === "boolean" && !optional) {
    control = make("input", { id, type: "checkbox" });
    read = () => control.checked;
    set = (value) => (control.checked = Boolean(value));
  } else if (kind.type === "boolean") {
    control = make("select", { id }, ...[["null", "automatic"], ["true", "yes"], ["false", "no"]].map(([value, title]) => make("option", { value }, title)));
    read = () => JSON.parse(control.value);
    set = (value) => (control.value = JSON.stringify(value ?? null));
  } else if (kind.type === "number" || kind.type === "integer") {
    const lowest = kind.minimum ?? kind.exclusiveMinimum;
    const highest = kind.maximum ?? kind.exclusiveMaximum;
    control = make("input", { id, type: "number", step: kind.type === "integer" ? "1" : "any", min: lowest, max: highest, placeholder: optional ? "automatic" : "" });
    read = () => (control.value === "" ? null : Number(control.value));
    set = (value) => (control.value = value === null || value === undefined ? "" : String(value));
  } else if (kind.type === "string") {
    control = make("input", { id, type: "text", placeholder: optional ? "automatic" : "", list: kind.format === "path" ? "folders" : false });
    read = () => (control.value === "" && optional ? null : control.value);
    set = (value) => (control.value = value ?? "");
  } else {
    // Lists and tables, in the notation of a workflow.
    control = make("input", { id, type: "text", placeholder: optional ? "automatic" : "[ ]" });
    read = () => {
      if (control.value.trim() === "") return optional ? null : kind.type === "object" ? {} : [];
      const text = control.value.trim();
      try {
        return JSON.parse(text);
      } catch {
        return text.split(/[\s,]+/).map((word) => (Number.isNaN(Number(word)) ? word : Number(word)));
      }
    };
    set = (value) => (control.value = value === null || value === undefined ? "" : JSON.stringify(value));
  }
  const limits = [["minimum", "≥"], ["exclusiveMinimum", ">"], ["maximum", "≤"], ["exclusiveMaximum", "<"]]
    .filter(([key]) => kind[key] !== undefined).map(([key, mark]) => `${mark} ${kind[key]}`);
  const reset = make("button", { type: "button", class: "reset", title: "Back to the default", "aria-label": `Reset ${name}`, onclick: () => { set(initial); changed(); } }, "↺");
  const wrong = make("span", { class: "wrong", role: "alert", hidden: true });
  const title = name.slice(0, name.length - end.length).replaceAll("_", " ");
  const box = make("div", { class: "field", "data-name": name },
    make("label", { for: id, title: name }, title, unit ? make("span", { class: "quiet" }, ` ${unit}`) : ""), make("span", {}, control), reset,
    make("span", { class: "help" }, [schema.description, limits.length ? `Allowed: ${limits.join(", ")}.` : ""].filter(Boolean).join(" ")), wrong);
  // Lengths in pixels as well, as in most programs.
  const inPixels = unit === "Å" && pixels.length ? make("span", { class: "quiet in-pixels" }) : null;
  const sayPixels = () => {
    const value = read();
    if (inPixels) inPixels.textContent = typeof value === "number" ? `= ${pixels.map(([what, size]) => `${Number((value / size).toPrecision(3))} ${what}`).join(" = ")}` : "";
  };
  if (inPixels) control.after(" ", inPixels);
  control.addEventListener("input", () => changed());
  set(schema.default);
  const initial = schema.default === undefined ? read() : schema.default;
  return { read, set, box, initial, wrong, control, sayPixels, words: `${name} ${title} ${schema.description ?? ""}`.toLowerCase() };
}

/** Runs, and further outputs of runs, with a kind of result. */
function runSelect(role, wanted, value) {
  const fits = (kind) => kind === wanted || kind === "object" || wanted === null;
  const options = runs.flatMap((run) => {
    const maker = catalogue.steps.find((one) => one.name === run.step);
    const outputs = Object.entries(maker?.also_gives ?? {}).filter(([, kind]) => kind === wanted);
    return [
      ...(fits(maker?.gives) ? [[String(run.id), `run ${run.id} ${run.node}`]] : []),
      ...outputs.map(([output]) => [`${run.id}.${output}`, `run ${run.id} ${run.node}: ${output}`]),
    ];
  });
  const select = make("select", { id: `input-${role}` }, ...options.map(([key, title]) => make("option", { value: key }, title)));
  select.value = String(value ?? options.at(-1)?.[0] ?? "");
  select.addEventListener("change", () => changed());
  return select;
}

let likeRun = null; // the copied run

function choose(name, like = null) {
  likeRun = like;
  step = catalogue.steps.find((one) => one.name === name);
  if (!step) return;
  address.set("step", name);
  if (!like) address.delete("like");
  history.replaceState(null, "", `?${address}`);
  drawSteps();
  byId("title").textContent = step.name;
  byId("summary").textContent = step.summary;
  byId("about").replaceChildren(...step.description.split("\n\n").map((part) => make("p", {}, part)), ...step.citations.map((one) => make("p", { class: "quiet" }, one)));
  fields = new Map(Object.entries(step.schema.properties ?? {}).map(([key, schema]) => [key, fieldOf(key, schema.$ref ? step.schema.$defs[schema.$ref.split("/").at(-1)] : schema)]));
  inputs = new Map();
  const parts = [];
  if (step.needs) {
    // Same inputs as the last run of this step, because the newest matching results are its own.
    const before = like ?? runs.filter((run) => run.step === name).at(-1);
    inputs.set("input", runSelect("input", step.needs, givenBy(address.get("from"))?.get(step.needs) ?? before?.input));
    for (const role of step.also_needs) inputs.set(role, runSelect(role, null, before?.links?.[role]));
    for (const [role, select] of inputs) parts.push(make("div", { class: "field" }, make("label", { for: select.id }, role.replaceAll("_", " ")), select));
    items = make("select", { id: "items", multiple: true, size: "3" }, ...series.map((one) => make("option", { value: one }, one)));
    items.addEventListener("change", () => changed());
    parts.push(make("div", { class: "field" }, make("label", { for: "items" }, "only these"), items, make("span"), make("span", { class: "help" }, "None chosen: all of them.")));
  } else items = null;
  for (const [key, field] of fields) {
    if (like && key in like.parameters) field.set(like.parameters[key]);
    parts.push(field.box);
  }
  form.replaceChildren(make("datalist", { id: "folders" }), ...parts);
  showAll();
  changed();
}

const same = (a, b) => JSON.stringify(a ?? null) === JSON.stringify(b ?? null);
const required = (name) => (step.schema.required ?? []).includes(name);

function showAll() {
  // The first eight parameters of the step are shown, and changed ones always.
  const wanted = byId("find").value.trim().toLowerCase();
  [...fields.values()].forEach((field, i) => {
    const isFirst = byId("all").checked || i < 8 || field.box.classList.contains("is-changed");
    field.box.hidden = wanted ? !field.words.includes(wanted) : !isFirst;
  });
}

function request() {
  const parameters = {};
  for (const [name, field] of fields) {
    const value = field.read();
    if (!same(value, field.initial) || required(name)) parameters[name] = value;
  }
  const links = Object.fromEntries([...inputs].filter(([role]) => role !== "input").map(([role, select]) => [role, select.value]));
  return { after: Number(byId("after").value), step: step.name, input: inputs.get("input")?.value || null, links, items: items ? [...items.selectedOptions].map((one) => one.value) : [], parameters };
}

function changed() {
  for (const [, field] of fields) {
    field.box.classList.toggle("is-changed", !same(field.read(), field.initial));
    field.sayPixels();
  }
  byId("start").disabled = true;
  clearTimeout(timer);
  timer = setTimeout(check, 250);
}

async function check() {
  const number = ++asked;
  const answer = await attempt(() => send(`${base}/check`, request()));
  if (!answer || number !== asked) return;
  for (const [name, field] of fields) {
    const text = Object.entries(answer.errors).find(([at]) => at === name || at.startsWith(`${name}.`))?.[1];
    field.wrong.textContent = text ?? "";
    field.wrong.hidden = !text;
    if (text) field.box.hidden = false;
    field.control.setAttribute("aria-invalid", String(Boolean(text)));
  }
  const nWrong = Object.keys(answer.errors).length;
  byId("start").disabled = nWrong > 0;
  byId("command").textContent = answer.command ?? "";
  sayDifferences();
  const preview = byId("preview");
  if (nWrong) preview.replaceChildren(...Object.entries(answer.errors).map(([name, text]) => make("p", { class: "problem" }, `${name}: ${text}`)));
  else if (answer.problem) preview.replaceChildren(make("p", { class: "problem" }, answer.problem));
  else if (answer.preview) {
    const { n_there: nThere, n_now: nNow, n_later: nLater, n_unfit: nUnfit } = answer.preview;
    preview.replaceChildren(make("p", {}, make("span", { class: "sign cached" }, `${nThere} from cache`)), make("p", {}, make("span", { class: "sign queued" }, `${nNow + nLater} to run`)),
      nUnfit ? make("p", {}, make("span", { class: "sign failed" }, `${nUnfit} cannot be run`)) : "");
  } else preview.replaceChildren(make("p", { class: "quiet" }, "The raw data are read when it starts."));
}

/** Differences between the form and the copied run. */
function sayDifferences() {
  const differing = likeRun ? [...fields].filter(([name, field]) => !same(field.read(), likeRun.parameters[name] ?? field.initial)) : [];
  const text = (value) => (value === null || value === undefined || value === "" ? "automatic" : typeof value === "string" ? value : JSON.stringify(value));
  byId("differences").hidden = !likeRun;
  byId("differences").replaceChildren(make("p", { class: "quiet" }, likeRun ? `${differing.length ? "Differs from" : "As"} run ${likeRun.id} ${likeRun.node}` : ""),
    ...differing.map(([name, field]) => make("p", { class: "mono" }, `${name}: ${text(likeRun.parameters[name] ?? field.initial)} → ${text(field.read())}`)));
}

async function start() {
  if (byId("start").disabled) return;
  byId("start").disabled = true;
  const job = await attempt(() => send(`${base}/start`, request()));
  if (job) {
    tell(`Started: ${job.title}. It goes on when this page is closed.`);
    showJobs(job.number);
  }
  byId("start").disabled = false;
}

/** Jobs that have not ended, as choices to wait for. */
async function offerToWait() {
  const open = (await get(`${base}/jobs.json`).catch(() => [])).filter((job) => ["running", "queued"].includes(job.state));
  byId("after").append(...open.map((job) => make("option", { value: String(job.number) }, `${job.number} ${job.title}`)));
  byId("after-row").hidden = !open.length;
}

byId("start").addEventListener("click", start);
byId("any").addEventListener("click", () => {
  address.delete("from");
  history.replaceState(null, "", `?${address}`);
  drawSteps();
});
byId("search").addEventListener("input", () => catalogue && drawSteps());
byId("all").addEventListener("change", showAll);
byId("find").addEventListener("input", showAll);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.target.tagName !== "INPUT") return;
  event.preventDefault();
  clearTimeout(timer); // otherwise the waiting check would replace this one
  check().then(start); // the last input is checked before the start
});
addKeys([{ key: "/", does: "find a step", run: () => byId("search").focus() }, { key: "Enter", does: "start", run: () => (step ? start() : false) }]);
offerToWait();
catalogue = await attempt(() => get(`${base}/steps.json`));
if (catalogue) {
  drawSteps();
  const like = runs.find((run) => String(run.id) === address.get("like"));
  if (like) choose(like.step, like);
  else if (address.get("step")) choose(address.get("step"));
  const wanted = fields.get(address.get("field"));
  if (wanted) {
    wanted.box.hidden = false;
    wanted.control.focus();
    wanted.control.select?.();
  }
}
