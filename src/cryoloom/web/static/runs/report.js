/** The report: made by a separate command, and shown when the command has ended. */

import { attempt, base, get, send } from "../app.js";

const LOOK_AGAIN_MS = 500;
const button = document.getElementById("write");
const state = document.getElementById("state");

const pause = () => new Promise((done) => setTimeout(done, LOOK_AGAIN_MS));

async function write() {
  button.disabled = true;
  const started = await attempt(() => send(`${base}/report`));
  for (let job = started; job; await pause()) {
    state.className = `sign ${job.state}`;
    state.textContent = job.state === "running" ? "is being made" : job.state;
    if (job.state === "done") return location.reload();
    if (job.state === "failed" || job.state === "lost") {
      const { showJobs } = await import("../jobs.js"); // with its log, only after a failure
      await showJobs(job.number);
      break;
    }
    const jobs = await get(`${base}/jobs.json`).catch(() => []); // the server may only be unavailable for a moment
    job = jobs.find((one) => one.number === started.number) ?? job;
  }
  button.disabled = false;
}

button?.addEventListener("click", write);
