// @ts-check
/** Where the flow page's data comes from: the studio's server, or the files of a static export. */

import { ask, calm, exported } from "./page.js";
import { events } from "./stream.js";

const PACE = 60; // ms between the steps of a static export, which all arrive at once

/** @typedef {import("./controls.js").Choice} Choice */

export const run = () => ask(exported ? "run.json" : "api/run");

/** @param {Choice} choice @param {AbortSignal} signal */
export function flow(choice, signal) {
  return exported ? replayed(choice, signal) : ended(events(`api/flow?${query(choice)}`, signal));
}

/** @param {Choice} choice @param {AbortSignal} signal */
export async function* strips(choice, signal) {
  if (!exported) return yield* ended(events(`api/strip?${query(choice)}`, signal));
  yield* (await recorded(choice)).filter(([name]) => name === "strip");
}

/** @param {Choice} choice */
const query = (choice) => new URLSearchParams(Object.entries(choice).map(([key, value]) => [key, String(value)]));

/** Events up to the stream's own end; a stream that stops without one has broken off.
 * @param {AsyncGenerator<[string, any]>} stream @returns {AsyncGenerator<[string, any]>} */
async function* ended(stream) {
  let over = false;
  for await (const [name, data] of stream) {
    if (name === "error") throw new Error(data.error);
    if (name === "end") over = true;
    else yield [name, data];
  }
  if (!over) throw new Error("The stream broke off before its end. Choose again, or start the studio anew.");
}

/** @type {Map<string, Promise<[string, any][]>>} */
const files = new Map();

/** @param {Choice} choice @returns {Promise<[string, any][]>} */
function recorded({ label, noise }) {
  const url = `data/${label ?? "any"}-${noise}.json`;
  if (!files.has(url)) {
    const file = ask(url);
    file.catch(() => files.delete(url));
    files.set(url, file);
  }
  return /** @type {Promise<[string, any][]>} */ (files.get(url));
}

/** @param {Choice} choice @param {AbortSignal} signal @returns {AsyncGenerator<[string, any]>} */
async function* replayed(choice, signal) {
  let step = 0;
  for (const [name, data] of await recorded(choice)) {
    if (name === "strip" || name === "end") continue;
    if (name === "frame" && data.step > step && !calm.matches) {
      step = data.step;
      await new Promise((resolve) => setTimeout(resolve, PACE));
    }
    signal.throwIfAborted();
    yield [name, data];
  }
}
