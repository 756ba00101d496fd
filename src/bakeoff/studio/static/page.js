// @ts-check
/** What every page needs: elements by id, elements made from text, the backbones' colours, and errors in words. */

/** True in a static export, where files stand for the server. */
export const exported = document.documentElement.dataset.static !== undefined;

/** Fewer movements, if the reader's system asks for it. */
export const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** @param {string} id @returns {any} the element, which the page must have */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`this page has no #${id}`);
  return found;
}

/**
 * An element with properties; children are elements or text, never markup.
 * @param {string} tag
 * @param {Record<string, any>} [properties]
 * @param {...(Node|string)} children
 * @returns {any}
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) /** @type {any} */ (element)[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** @param {number} index of the backbone @returns {string} its colour, as in the report */
export const colour = (index) => `var(--c${index % 8})`;

/** @param {number} index */
export function swatch(index) {
  const mark = make("span", { className: "swatch", ariaHidden: "true" });
  mark.style.setProperty("--colour", colour(index));
  return mark;
}

/** What went wrong, in words, where a screen reader hears it; no argument clears it. @param {unknown} [error] */
export function showError(error) {
  const text = error instanceof TypeError ? "The studio cannot be reached. Is it still running?" : String(/** @type {any} */ (error)?.message ?? error ?? "");
  byId("alarm").replaceChildren(...(text ? [make("p", { className: "alarm" }, text)] : []));
}

/** An answer's JSON, or the server's own words as an error. @param {string} url @param {RequestInit} [options] */
export async function ask(url, options) {
  const response = await fetch(url, options);
  if (!response.ok) throw new Error(await reason(response));
  return response.json();
}

/** @param {Response} response @returns {Promise<string>} */
export async function reason(response) {
  const text = await response.text();
  try {
    return JSON.parse(text).error ?? text;
  } catch {
    return `The studio answered ${response.status} ${response.statusText}.`;
  }
}

/** An image from the API: PNG in the page itself, from nowhere else. @param {string} uri @returns {string} */
export function picture(uri) {
  if (!/^data:image\/png;base64,[A-Za-z0-9+/]+={0,2}$/.test(uri)) throw new Error("The studio sent an image of an unknown kind.");
  return uri;
}

/** @param {number|null} ms null: it was not timed */
export const duration = (ms) => (ms === null ? "" : ms < 10 ? `${ms.toFixed(1)} ms` : ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`);

/** @param {number} count @param {string} noun */
export const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
