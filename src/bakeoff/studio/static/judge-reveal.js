// @ts-check
/** After the last vote: who drew what, how far the judges agree, and a check that nothing was changed on the way. */

import { byId, make, swatch } from "./page.js";

/** Votes as they are called. */
export const WORDS = { clean: "clean", noise: "noise", unsure: "cannot tell" };

/** @param {number} share */
const percent = (share) => `${Math.round(100 * share)} %`;

/** @param {any} data as the API reveals it @param {{id: string, image: string}[]} items as they were shown */
export async function unveil(data, items) {
  const order = data.backbones.map((/** @type {any} */ one) => one.name);
  byId("shares").replaceChildren(...data.backbones.map(row));
  byId("agreement").replaceChildren(...agreement(data.agreement));
  const images = new Map(items.map(({ id, image }) => [id, image]));
  byId("unveiled").replaceChildren(...data.items.map((/** @type {any} */ one) => make("li", { className: "sheetlet" },
    make("img", { src: images.get(one.id) ?? "", alt: "" }),
    make("span", { className: "name" }, swatch(order.indexOf(one.backbone)), make("span", {}, `${one.backbone}, seed ${one.seed}`)),
    make("span", { className: `chip ${one.vote}` }, WORDS[/** @type {"clean"} */ (one.vote)] ?? one.vote))));
  for (const id of ["commitment", "salt", "mapping"]) byId(id).textContent = data[id];
  byId("check").textContent = await check(data);
}

/** @param {any} one @param {number} index */
function row(one, index) {
  const bar = make("div", { className: "bar", ariaHidden: "true" });
  bar.style.setProperty("--share", String(one.share ?? 0));
  const cells = [one.clean, one.noise, one.unsure].map((count) => make("td", { className: "n" }, String(count)));
  return make("tr", {}, make("th", { scope: "row" }, swatch(index), one.name), ...cells,
    make("td", { className: "n" }, one.share === null ? "–" : percent(one.share)), make("td", { className: "drawn" }, bar));
}

/** @param {{judge: {agree: number|null, alpha: number|null, votes: number}, people: {alpha: number|null, people: number}}} of */
function agreement({ judge, people }) {
  /** @param {number|null} alpha */
  const named = (alpha) => (alpha === null ? "" : `Krippendorff's alpha ${alpha.toFixed(2).replace("-", "−")}`);
  const withJudge = judge.agree === null ? "no vote that says clean or noise yet"
    : [`${percent(judge.agree)} of ${judge.votes} votes`, named(judge.alpha)].filter(Boolean).join("; ");
  const among = named(people.alpha) ? `${named(people.alpha)}, ${people.people} people`
    : people.people < 2 ? "you are the first: at least two people are needed" : `${people.people} people; too few votes in common`;
  return [make("dt", {}, "with the automatic judge"), make("dd", {}, withJudge), make("dt", {}, "between people"), make("dd", {}, among),
    make("dd", { className: "hint" }, "Alpha is 1 where all agree and 0 where they agree as by chance.")];
}

/** @param {{commitment: string, salt: string, mapping: string}} data */
async function check({ commitment, salt, mapping }) {
  if (!globalThis.crypto?.subtle) return "This browser cannot compute it here; the parts are below.";
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(salt + mapping));
  const found = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return found === commitment
    ? "Computed anew in this page: it is the same."
    : "Computed anew in this page, it is another one: the mapping shown is not the one that was settled.";
}
