/** The run graph: follows the project, keeps focus and scroll. */

import { addKeys, attempt, base, follow, send, tell } from "./app.js";

const cards = document.getElementById("cards");

follow(async () => {
  const response = await fetch(`${base}/graph.html${location.search}`).catch(() => null);
  if (!response?.ok) return;
  const focused = document.activeElement?.dataset?.run;
  const parsed = new DOMParser().parseFromString(await response.text(), "text/html");
  cards.replaceChildren(...parsed.body.childNodes);
  if (focused) cards.querySelector(`[data-run="${CSS.escape(focused)}"]`)?.focus();
});

function move(by) {
  const all = [...cards.querySelectorAll("a")];
  const at = all.indexOf(document.activeElement);
  all[Math.max(0, Math.min(all.length - 1, at + by))]?.focus();
}

document.getElementById("refresh")?.addEventListener("click", async (event) => {
  event.target.disabled = true;
  const job = await attempt(() => send(`${base}/resume`));
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
]);
