/** Decisions of this page's user: sent in order, and applied to the server's data until these contain them. */

import { base, send, sendInOrder } from "./app.js";

const pending = new Map(); // subject -> {change, why, durable: time at which the server had it}
const waiting = new Set(); // {changes, why, page} that are not sent yet
const MOST_CHANGES = 500; // of one request
const subjectOf = ({ kind, item, target = "" }) => `${kind}\n${item}\n${target}`;

/** Decide. Returns the server's answer when it is stored; throws an Error with the message if it is refused. */
export async function decide(changes, why, page) {
  const entries = changes.map((change) => ({ change, why, durable: Infinity }));
  for (const entry of entries) pending.set(subjectOf(entry.change), entry);
  const whole = { changes, why, page };
  waiting.add(whole);
  try {
    const answer = await sendInOrder(`${base}/decide`, whole, () => waiting.delete(whole));
    for (const entry of entries) entry.durable = performance.now();
    return answer;
  } catch (error) {
    for (const entry of entries) if (pending.get(subjectOf(entry.change)) === entry) pending.delete(subjectOf(entry.change));
    throw error;
  }
}

/** Decisions on an item that data requested at `asked` (performance.now()) may not contain yet: {change, why} by target. */
export function notYetIn(kind, item, asked) {
  const found = new Map();
  for (const [subject, entry] of pending) {
    if (entry.durable < asked) pending.delete(subject);
    else if (entry.change.kind === kind && entry.change.item === item) found.set(String(entry.change.target ?? ""), entry);
  }
  return found;
}

// A page that is closed sends the remaining changes, for example many quick picks. Of each subject only the last one is sent.
addEventListener("pagehide", () => {
  const all = [...waiting];
  waiting.clear();
  const last = new Map(all.flatMap(({ changes, ...how }) => changes.map((change) => [subjectOf(change), { change, ...how }])));
  const groups = new Map();
  for (const { change, why, page } of last.values()) {
    const key = JSON.stringify([why, page]);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(change);
  }
  for (const [key, changes] of groups) {
    const [why, page] = JSON.parse(key);
    for (let i = 0; i < changes.length; i += MOST_CHANGES) send(`${base}/decide`, { changes: changes.slice(i, i + MOST_CHANGES), why, page }).catch(() => {});
  }
});

// Undone decisions are no longer shown.
document.addEventListener("decided", (event) => {
  for (const decision of event.detail.decisions) pending.delete(subjectOf(decision));
});
