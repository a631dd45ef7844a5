/** Functions of every page: keys and their help, events from the server, undo, messages, writes. */

import { followEvents } from "./events.js";

/** `fetch` with a message if the server does not answer. */
async function reach(path, options) {
  try {
    return await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. The page goes on by itself when it is back.");
  }
}

const MOST_KEPT_ALIVE = 20000; // characters: browsers finish requests of up to 64 kB after a page is closed

/** Send a change and return the answer's JSON. It is sent even if the page is closed. Throws an Error with the server's message. */
export async function send(path, data = {}, method = "POST") {
  const body = method === "DELETE" ? null : JSON.stringify(data);
  const response = await reach(path, {
    method,
    headers: { "content-type": "application/json", "x-cryoloom": "1" },
    body,
    keepalive: !body || body.length < MOST_KEPT_ALIVE,
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error ?? `The server refused (${response.status}).`);
  return answer;
}

let lastSent = Promise.resolve();

/**
 * Send a change after all earlier ones have been answered, so that two decisions about one subject keep their order and
 * started work includes all earlier decisions.
 * isWanted() is called before the change is sent.
 */
export function sendInOrder(path, data, isWanted = () => true) {
  const answer = lastSent.then(() => (isWanted() ? send(path, data) : {}));
  lastSent = answer.catch(() => {});
  return answer;
}

/** Get JSON; throws an Error with the server's message. */
export async function get(path) {
  const response = await reach(path, { headers: { accept: "application/json" } });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error ?? `The server refused (${response.status}).`);
  return answer;
}

/** The data that the server has put into the page. */
export function pageData() {
  const element = document.getElementById("page-data");
  return element ? JSON.parse(element.textContent) : {};
}

/** Show a short message at the lower edge; with `isError` it stays until it is closed. */
export function tell(text, isError = false) {
  const box = document.getElementById("messages");
  const line = document.createElement("div");
  line.className = isError ? "message is-error" : "message";
  line.setAttribute("role", isError ? "alert" : "status");
  const words = document.createElement("span");
  words.textContent = text;
  const close = document.createElement("button");
  close.textContent = "×";
  close.setAttribute("aria-label", "Close");
  close.addEventListener("click", () => line.remove());
  line.append(words, close);
  box.append(line);
  while (box.children.length > 4) box.firstChild.remove();
  if (!isError) setTimeout(() => line.remove(), 4000);
}

/** Run a function that can fail, and show its error message. */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    tell(error.message, true);
    return undefined;
  }
}

/**
 * Keep a page up to date: `read` runs after these events of the document, never twice at the same time, and once more if something
 * changed while it ran. Returns a function that requests a read; its promise settles when a read that started later has ended.
 */
export function follow(read, events = ["changed", "decided"]) {
  let running = null;
  let next = null;
  const refresh = () => {
    if (!running) running = read().finally(() => (running = null));
    else next ??= running.catch(() => {}).then(() => ((next = null), refresh()));
    return next ?? running;
  };
  for (const name of events) document.addEventListener(name, refresh);
  return refresh;
}

/** A number with its noun: "1 series", "3 movies". */
export const counted = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

/** A text as a sentence: capital letter, full stop. */
export const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

/** A number of bytes as text. */
export function bytesText(n) {
  const power = n < 1000 ? 0 : Math.min(4, Math.floor(Math.log10(n) / 3));
  return `${Number((n / 1000 ** power).toPrecision(3))} ${["bytes", "kB", "MB", "GB", "TB"][power]}`;
}

/** Make an element with attributes and children; strings become text nodes. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") element.addEventListener("click", value);
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const ADDRESS_MS = 300;
let addressed = 0;
let addressTimer = 0;
let writeAddress = () => {};

/**
 * Store the state of the page in its address, "?..." or search parameters. While a key is held this is done a few times per
 * second, because it is work for the browser, which ignores more than 200 changes in half a minute.
 */
export function keepInAddress(search) {
  clearTimeout(addressTimer);
  writeAddress = () => {
    writeAddress = () => {};
    addressed = performance.now();
    const text = `${search}`.replace(/^\?/, "");
    history.replaceState(null, "", text ? `?${text}` : location.pathname);
  };
  addressTimer = setTimeout(() => writeAddress(), Math.max(0, addressed + ADDRESS_MS - performance.now()));
}
addEventListener("pagehide", () => writeAddress());
addEventListener("visibilitychange", () => writeAddress());

// Keys

const keys = [];
let leader = "";
let leaderTimer = 0;

/**
 * Register keys: {key, does, run}. `key` is as in KeyboardEvent.key, or "g s" for two keys one after the other.
 * `run` can return false to ignore the key. The last registered handler is called first.
 */
export function addKeys(list) {
  keys.unshift(...list);
}

const isTyping = (target) => target instanceof HTMLElement && Boolean(target.closest("input:not([type=range],[type=checkbox],[type=radio]), textarea, select, [contenteditable]"));

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  if (document.querySelector("dialog[open]") && !["Escape", "?", ">"].includes(event.key)) return;
  const pressed = leader ? `${leader} ${event.key}` : event.key;
  leader = "";
  clearTimeout(leaderTimer);
  for (const { key, run, repeat = true } of keys) {
    if (key !== pressed || (event.repeat && !repeat)) continue;
    if (run(event) === false) continue;
    event.preventDefault();
    return;
  }
  if (keys.some(({ key }) => key.startsWith(`${pressed} `))) {
    leader = pressed;
    leaderTimer = setTimeout(() => (leader = ""), 1200);
  }
});

const KEY_NAMES = { ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", " ": "space", Escape: "Esc", PageUp: "Page up", PageDown: "Page down" };

function showKeys() {
  let dialog = document.getElementById("keys");
  if (dialog) {
    if (dialog.open) dialog.close();
    else dialog.showModal();
    return;
  }
  dialog = make("dialog", { id: "keys", "aria-label": "Keys of this page" });
  const table = make("table", {});
  const seen = new Set();
  for (const { key, does } of keys) {
    if (!does || seen.has(key)) continue;
    seen.add(key);
    const cell = make("td", {});
    for (const part of key === " " ? [" "] : key.split(" ")) cell.append(make("kbd", {}, KEY_NAMES[part] ?? part), " ");
    table.append(make("tr", {}, cell, make("td", {}, does)));
  }
  dialog.append(make("h2", {}, "Keys of this page"), table, make("button", { onclick: () => dialog.close() }, "Close"));
  document.body.append(dialog);
  dialog.showModal();
}

/** Functions of the page as commands, for the series in its address. */
async function showCommands() {
  const dialog = document.getElementById("commands");
  if (!dialog) return;
  if (dialog.open) return dialog.close();
  dialog.showModal();
  const fresh = await reach(location.href, { headers: { accept: "text/html" } }).then((answer) => answer.text()).catch(() => "");
  const texts = new DOMParser().parseFromString(fresh, "text/html").querySelectorAll("#commands pre");
  dialog.querySelectorAll("pre").forEach((place, i) => (place.textContent = texts[i]?.textContent ?? place.textContent));
}

addKeys([
  { key: "?", does: "these keys", run: showKeys, repeat: false },
  { key: ">", does: document.getElementById("commands") ? "what this page does, as commands" : null, run: () => void showCommands(), repeat: false },
]);
document.getElementById("show-keys")?.addEventListener("click", showKeys);
document.getElementById("show-commands")?.addEventListener("click", () => void showCommands());
document.getElementById("close-commands")?.addEventListener("click", () => document.getElementById("commands").close());

// Project-wide keys and events

const project = document.body.dataset.project ?? "";
export const base = project ? `/p/${project}` : "";

if (project) {
  addKeys([...document.querySelectorAll("#rail a")].map((link) => ({ key: link.title, does: `go to ${link.textContent.trim()}`, run: () => location.assign(link.href) })));
  if (document.body.dataset.role === "owner") {
    const undo = (path, what) => async () => {
      const answer = await attempt(() => sendInOrder(`${base}/${path}`));
      if (!answer) return;
      tell(`${what}: ${answer.text}`);
      document.dispatchEvent(new CustomEvent("decided", { detail: answer }));
    };
    addKeys([
      { key: "z", does: "undo your last decision", run: undo("undo", "Undone") },
      { key: "Z", does: "redo", run: undo("redo", "Redone") },
    ]);
    document.getElementById("undo")?.addEventListener("click", undo("undo", "Undone"));
  }
  listen();
}

// A page is ready when its scripts have finished; earlier keys have no handler.
Promise.all([...document.querySelectorAll("script[type=module]")].map((script) => import(script.src)))
  .then(() => (document.body.dataset.ready = "true"));

const LINE_MS = 1500; // a page that is being closed also loses its connection
let alertsShown = null;

/** Current alerts: a mark on the link to their page, and a message for each new one on every page. */
function showAlerts(alerts) {
  const link = document.querySelector('#rail a[href$="/live"]');
  if (link) {
    link.classList.toggle("has-alert", alerts.length > 0);
    if (alerts.length) link.setAttribute("aria-label", `Live, alerts: ${alerts.length}`);
    else link.removeAttribute("aria-label");
  }
  if (document.body.dataset.page !== "live") for (const text of alerts) if (alertsShown && !alertsShown.includes(text)) tell(text, true);
  alertsShown = alerts;
}

/** Events of the project: `document` gets "changed" with the changes; the lamp shows whether the connection is up. */
function listen() {
  const lamp = document.getElementById("lamp");
  const heard = (facts) => {
    const status = document.getElementById("status");
    if (status && facts.status) status.textContent = facts.status;
    showAlerts(facts.alerts);
    document.dispatchEvent(new CustomEvent("changed", { detail: facts }));
  };
  let timer = 0;
  followEvents(`${base}/events`, heard, (line) => {
    lamp.dataset.state = line;
    clearTimeout(timer);
    document.getElementById("line-says").textContent = "";
    if (line !== "up") timer = setTimeout(() => (document.getElementById("line-says").textContent = "no connection; trying again"), LINE_MS);
    lamp.title = line === "up" ? "Connected: this page follows the project" : "The connection is lost; it is tried again";
  });
}
