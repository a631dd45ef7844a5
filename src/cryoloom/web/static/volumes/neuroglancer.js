/** Neuroglancer in a frame, shown when the 8-bit copy of its volume exists. */

import { get, make, pageData } from "../app.js";

const facts = pageData();
const notice = document.getElementById("notice");

async function prepared() {
  let part = facts.part;
  while (part < 1) {
    notice.hidden = false;
    notice.textContent = `Preparing this volume: ${Math.round(100 * part)} %`;
    await new Promise((done) => setTimeout(done, 300));
    ({ part } = await get(facts.levels));
  }
}

try {
  await prepared();
  notice.hidden = true;
  notice.before(make("iframe", { id: "frame", title: "Neuroglancer", src: `/neuroglancer/v/${facts.viewer}/` }));
} catch (error) {
  notice.hidden = false;
  notice.textContent = error.message;
}
