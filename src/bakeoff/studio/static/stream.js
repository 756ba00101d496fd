// @ts-check
/** Server-sent events over fetch: abortable, and finite. */

import { reason } from "./page.js";

/**
 * @param {string} url
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<[string, any]>} the name and the data of each event
 */
export async function* events(url, signal) {
  const response = await fetch(url, { signal });
  if (!response.ok || !response.body) throw new Error(await reason(response));
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (rest + decoder.decode(value, { stream: true })).split(/\r?\n\r?\n/);
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const event = parse(block);
        if (event) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** @param {string} block one event's lines @returns {[string, any] | null} null for a comment */
export function parse(block) {
  let name = "message";
  const data = [];
  for (const line of block.split(/\r?\n/)) {
    const [, field, value] = line.match(/^([a-z]+): ?(.*)$/) ?? [];
    if (field === "event") name = value;
    if (field === "data") data.push(value);
  }
  return data.length ? [name, JSON.parse(data.join("\n"))] : null;
}
