/** Commands started from the browser, and their growing logs. */

import { base, get, make } from "./app.js";

const box = document.getElementById("jobs");
const choose = document.getElementById("job");
const log = document.getElementById("log");
const state = document.getElementById("job-state");
let shown = null;
let next = -20000;
let timer = 0;

/** Read the list again and show job `number`, otherwise the one shown before or the newest. */
export async function showJobs(number = null) {
  const jobs = await get(`${base}/jobs.json`).catch(() => []);
  box.hidden = !jobs.length;
  if (!jobs.length) return;
  const wanted = number ?? shown ?? jobs[0].number;
  choose.replaceChildren(...jobs.map((job) => make("option", { value: String(job.number), selected: job.number === wanted }, `${job.number} ${job.title}`)));
  const job = jobs.find((one) => one.number === wanted) ?? jobs[0];
  state.className = `sign ${job.state === "lost" ? "failed" : job.state}`;
  state.textContent = job.state === "lost" ? "its process is gone" : job.state;
  if (shown !== job.number) {
    shown = job.number;
    next = -20000;
    log.textContent = "";
  }
  await follow();
  clearTimeout(timer);
  if (jobs.some((one) => ["running", "queued"].includes(one.state))) timer = setTimeout(() => showJobs(), 1000);
}

async function follow() {
  const part = await get(`${base}/job/${shown}/log?offset=${next}`).catch(() => null);
  if (!part) return;
  next = part.next;
  if (!part.text) return;
  const atEnd = log.scrollTop + log.clientHeight > log.scrollHeight - 20;
  log.append(part.text);
  if (log.textContent.length > 200000) log.textContent = log.textContent.slice(-100000);
  if (atEnd) log.scrollTop = log.scrollHeight;
}

choose?.addEventListener("change", () => {
  shown = null;
  showJobs(Number(choose.value));
});
showJobs();
