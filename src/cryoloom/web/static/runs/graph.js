/** The run graph: updated with the project; focus and scroll position are kept. */

import { addKeys, attempt, base, bytesText, follow, get, make, send, sendInOrder, tell } from "../app.js";

const cards = document.getElementById("cards");

follow(async () => {
  const response = await fetch(`${base}/graph.html${location.search}`).catch(() => null);
  if (!response?.ok) return;
  const focused = document.activeElement?.dataset?.run;
  const parsed = new DOMParser().parseFromString(await response.text(), "text/html");
  cards.replaceChildren(...parsed.body.childNodes);
  if (focused) cards.querySelector(`[data-run="${CSS.escape(focused)}"]`)?.focus();
});

/** If there are more runs than fit, the edge shows it; first visible are running or failed runs, otherwise the last. */
function atEdges() {
  const rest = cards.scrollWidth - cards.clientWidth - cards.scrollLeft;
  cards.classList.toggle("has-left", cards.scrollLeft > 24);
  cards.classList.toggle("has-right", rest > 24);
}
cards.addEventListener("scroll", atEdges);
new ResizeObserver(atEdges).observe(cards);
const first = cards.querySelector(".card.is-running") ?? cards.querySelector(".card.is-failed") ?? [...cards.querySelectorAll(".card:not(.is-old)")].at(-1);
first?.scrollIntoView({ block: "nearest", inline: "nearest" });

// Menu of a run: right click, or the menu key on a focused card

const menu = document.getElementById("run-menu");
const isOwner = document.body.dataset.role === "owner";
let asked = null; // card of the shown menu

function openMenu(card, at) {
  const run = Number(card.dataset.run);
  const isRunning = card.classList.contains("is-running");
  asked = card;
  const link = (path, text) => make("a", { role: "menuitem", href: `${base}/${path}` }, text);
  const entries = [link(`run/${run}`, "open"), link(`run/${run}#provenance`, "how it was made"), link(`run/${run}#cite`, "cite"), link(`run/${run}#jobs`, "log")];
  if (isOwner) {
    entries.push(
      link(`new?from=${run}`, isRunning ? "next step, when it has ended" : "next step on its results"),
      link(`new?like=${run}`, "copy and edit"),
      make("button", { role: "menuitem", disabled: isRunning, onclick: () => askToDelete(run) }, "delete…"));
  }
  menu.replaceChildren(make("b", {}, card.querySelector("b, .what")?.textContent ?? `run ${run}`), ...entries);
  menu.showPopover();
  const box = menu.getBoundingClientRect();
  menu.style.left = `${Math.max(4, Math.min(at[0], innerWidth - box.width - 4))}px`;
  menu.style.top = `${Math.max(4, Math.min(at[1], innerHeight - box.height - 4))}px`;
  menu.querySelector("[role=menuitem]").focus();
}

cards.addEventListener("contextmenu", (event) => {
  const card = event.target.closest("[data-run]");
  if (!card) return;
  event.preventDefault();
  const box = card.getBoundingClientRect();
  openMenu(card, event.clientX || event.clientY ? [event.clientX, event.clientY] : [box.left + 20, box.bottom - 10]);
});
menu.addEventListener("keydown", (event) => {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!by) return;
  event.preventDefault();
  event.stopPropagation();
  const all = [...menu.querySelectorAll("[role=menuitem]:not(:disabled)")];
  all[(all.indexOf(document.activeElement) + by + all.length) % all.length].focus();
});
menu.addEventListener("toggle", (event) => event.newState === "closed" && asked?.focus());

/** Show the freed space and any obstacle, then delete. */
async function askToDelete(run) {
  menu.hidePopover();
  const facts = await attempt(() => get(`${base}/run/${run}/facts.json`));
  if (!facts) return;
  document.getElementById("sure-text").textContent = facts.followers.length
    ? `Runs ${facts.followers.map(([id]) => id).join(", ")} need run ${run}; delete them first.`
    : `Delete run ${run} ${facts.node} with the files of its ${facts.items.length} items (${bytesText(facts.n_bytes)})? This cannot be undone.`;
  const yes = document.getElementById("sure-yes");
  yes.hidden = facts.followers.length > 0;
  yes.onclick = async () => {
    document.getElementById("sure").close();
    const job = await attempt(() => send(`${base}/run/${run}`, {}, "DELETE"));
    if (job) tell(`Started: ${job.command}`);
  };
  document.getElementById("sure").showModal();
}
document.getElementById("sure-no").addEventListener("click", () => document.getElementById("sure").close());

function move(by) {
  const all = [...cards.querySelectorAll("a")];
  const at = all.indexOf(document.activeElement);
  all[Math.max(0, Math.min(all.length - 1, at + by))]?.focus();
}

document.getElementById("refresh")?.addEventListener("click", async (event) => {
  event.target.disabled = true;
  const job = await attempt(() => sendInOrder(`${base}/resume`));
  if (job) tell(`Started: ${job.command}`);
});
document.getElementById("export")?.addEventListener("change", async ({ target }) => {
  const job = await attempt(() => send(`${base}/export`, { format: target.value }));
  if (job) tell(`Started: the results are written into ${job.to}.`);
  target.value = "";
});
addKeys([
  { key: "ArrowRight", does: "next run", run: () => move(1) },
  { key: "ArrowLeft", does: "previous run", run: () => move(-1) },
  { key: "m", does: "menu of the run", run: () => (document.activeElement?.dataset?.run ? document.activeElement.dispatchEvent(new MouseEvent("contextmenu", { bubbles: true, cancelable: true })) : false) },
]);
