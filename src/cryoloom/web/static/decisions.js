/** Decisions of this page's user: sent in their order, and laid over the server's facts until these hold them. */

import { base, send, sendInOrder } from "./app.js";

const pending = new Map(); // subject -> {change, why, durable: when the server had it}
const waiting = new Set(); // {changes, why, page} whose turn to be sent has not come
const MOST_CHANGES = 500; // of one request
const subjectOf = ({ kind, item, target = "" }) => `${kind}\n${item}\n${target}`;

/** Decide; gives the server's answer when it is durable, throws an Error with its sentence where it is refused. */
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

/** Decisions on an item that facts asked for at `asked` (performance.now()) may not hold yet: {change, why} by target. */
export function notYetIn(kind, item, asked) {
  const found = new Map();
  for (const [subject, entry] of pending) {
    if (entry.durable < asked) pending.delete(subject);
    else if (entry.change.kind === kind && entry.change.item === item) found.set(String(entry.change.target ?? ""), entry);
  }
  return found;
}

// A page that is left sends what it has not sent: many quick picks, and then the next tomogram. Of a subject the last counts.
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

// What was taken back is no longer to be shown as decided.
document.addEventListener("decided", (event) => {
  for (const decision of event.detail.decisions) pending.delete(subjectOf(decision));
});
