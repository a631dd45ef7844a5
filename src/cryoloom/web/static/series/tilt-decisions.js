/** Exclude and keep tilts: shown immediately, stored by the server, and reverted if it refuses. */

import { make, tell } from "../app.js";
import { decide, notYetIn } from "../decisions.js";

/** State of a row as a word, and its sign. */
export function stateOf(row) {
  if (row.excluded) return ["excluded", row.reason || "left out"];
  if (row.kept) return ["kept", row.flag ? `kept (${row.flag.text})` : "kept"];
  if (row.is_open) return ["flagged", row.flag.text];
  return ["", ""];
}

/** A sign with its text. */
export function sign(row) {
  const [state, words] = stateOf(row);
  if (!state) return document.createTextNode("");
  const by = row.excluded_by ? `${state}, by ${row.excluded_by}` : state;
  return make("span", { class: `sign ${state}`, title: `${words} (${by})` }, words);
}

const decided = (keep, why) => ({ excluded: !keep, kept: keep, reason: keep ? "" : why, by_user: true, excluded_by: "you", is_open: false });

/** Rows of a series requested at `asked`, with the decisions since then. */
export function withDecisions(series, rows, asked) {
  const newer = notYetIn("tilt", series, asked);
  for (const row of rows) {
    const one = newer.get(String(row.acquisition_index));
    if (one) Object.assign(row, decided(one.change.value.keep, one.why));
  }
  return rows;
}

/**
 * Decide on tilts of a series. The rows change immediately; `redraw` is called then, and again if the server refuses.
 * Returns true if the decision is stored.
 */
export async function decideTilts(series, rows, keep, why, page, redraw) {
  const before = rows.map((row) => ({ ...row }));
  for (const row of rows) Object.assign(row, decided(keep, why));
  redraw();
  try {
    const changes = rows.map((row) => ({ kind: "tilt", item: series, target: row.acquisition_index, value: { keep } }));
    await decide(changes, why, page);
    return true;
  } catch (error) {
    rows.forEach((row, i) => Object.assign(row, before[i]));
    redraw();
    tell(`Not kept: ${error.message}`, true);
    return false;
  }
}

/** Proposed reason for a row. */
export function proposedReason(row, reasons) {
  return row.flag ? row.flag.text : reasons[6];
}
