// @ts-check
/**
 * Blind judging. What this page holds before the reveal is opaque ids, images and votes. The last vote stays here until
 * the judge asks for the reveal, since the server lets votes be changed only until the last is cast.
 */

import { shortcuts } from "./keys.js";
import { ask, byId, make, picture, showError } from "./page.js";
import { unveil, WORDS } from "./judge-reveal.js";

/** @typedef {"clean"|"noise"|"unsure"} Vote */

const KEPT = "bakeoff-judging";

class Judging {
  constructor() {
    this.session = "";
    /** @type {{id: string, image: string}[]} */
    this.items = [];
    /** @type {Map<string, Vote>} */
    this.votes = new Map();
    this.at = 0;
    /** @type {Promise<void>} votes reach the server in the order in which they were given */
    this.sent = Promise.resolve();
    /** @type {string|null} the set whose vote has not been sent */
    this.held = null;
  }

  /** @param {{session: string, items: {id: string, image: string}[], voted: Record<string, Vote>}} data */
  start(data) {
    this.session = data.session;
    this.items = data.items.map(({ id, image }) => ({ id, image: picture(image) }));
    this.votes = new Map(Object.entries(data.voted));
    this.held = null;
    sessionStorage.setItem(KEPT, data.session);
    history.replaceState(null, "", `#${data.session}`);
    const open = this.#open();
    if (open.length) this.show(this.items.indexOf(open[0]));
    else this.reveal(); // the last vote was cast before the page was left
  }

  #open() {
    return this.items.filter(({ id }) => !this.votes.has(id));
  }

  /** @param {number} index */
  show(index) {
    if (index < 0 || index >= this.items.length) return;
    this.at = index;
    const { id, image } = this.items[index];
    const [open, count] = [this.#open(), this.items.length];
    byId("where").textContent = `${index + 1} of ${count}`;
    byId("cast").max = count;
    byId("cast").value = this.votes.size;
    byId("samples").src = image;
    byId("samples").alt = `Set ${index + 1} of ${count}: samples`;
    byId("last").hidden = open.length > 1 || (open.length === 1 && open[0].id !== id);
    byId("previous").disabled = index === 0;
    byId("next").disabled = !this.votes.has(id);
    for (const button of document.querySelectorAll("[data-vote]")) {
      button.setAttribute("aria-pressed", String(/** @type {HTMLElement} */ (button).dataset.vote === this.votes.get(id)));
    }
    turn("set");
  }

  /** To the next set, or to all of them when every one is judged. */
  next() {
    if (!this.votes.has(this.items[this.at].id)) return;
    if (this.at + 1 < this.items.length) this.show(this.at + 1);
    else if (!this.#open().length) this.review();
  }

  /** @param {Vote} vote */
  cast(vote) {
    const { id } = this.items[this.at];
    const others = this.#open().filter((item) => item.id !== id);
    this.votes.set(id, vote);
    byId("said").textContent = `Set ${this.at + 1}: ${WORDS[vote]}.`;
    if (!others.length && (this.held === null || this.held === id)) this.held = id;
    else this.#send(id, vote);
    showError();
    if (!others.length) this.review();
    else this.show(this.items.indexOf(this.items.slice(this.at + 1).find((item) => others.includes(item)) ?? others[0]));
  }

  /** @param {string} id @param {Vote} vote */
  #send(id, vote) {
    const url = `api/judging/${this.session}/votes`;
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ id, vote }), keepalive: true }; // also when the page is left at once
    this.sent = this.sent.then(() => ask(url, options)).then(() => {}, (error) => {
      this.votes.delete(id);
      this.show(this.items.findIndex((item) => item.id === id));
      showError(error);
    });
  }

  review() {
    const chips = this.items.map((item, index) => {
      const vote = /** @type {Vote} */ (this.votes.get(item.id));
      const button = make("button", { type: "button", className: "sheetlet" },
        make("img", { src: item.image, alt: "" }), make("span", { className: `chip ${vote}` }, WORDS[vote]));
      button.setAttribute("aria-label", `Set ${index + 1}: ${WORDS[vote]}. Change`);
      button.addEventListener("click", () => this.show(index));
      return make("li", {}, button);
    });
    byId("overview").replaceChildren(...chips);
    turn("review");
  }

  async reveal() {
    byId("reveal").disabled = true;
    try {
      await this.sent;
      if (this.#open().length) return;
      if (this.held !== null) this.#send(this.held, /** @type {Vote} */ (this.votes.get(this.held)));
      await this.sent;
      if (this.#open().length) return;
      this.held = null;
      await unveil(await ask(`api/judging/${this.session}/reveal`), this.items);
      turn("revealed");
    } catch (error) {
      showError(error);
    } finally {
      byId("reveal").disabled = false;
    }
  }
}

/** One of the page's sections; a screen reader goes on at its heading. @param {string} id */
function turn(id) {
  const already = !byId(id).hidden;
  for (const one of ["welcome", "set", "review", "revealed"]) byId(one).hidden = one !== id;
  if (already) return;
  scrollTo(0, 0);
  if (id === "welcome") byId("who").focus();
  else byId(id).querySelector("h1").focus({ preventScroll: true });
}

const judging = new Judging();

/** @param {string} session */
async function resume(session) {
  try {
    judging.start(await ask(`api/judging/${encodeURIComponent(session)}`));
  } catch (error) {
    forget();
    showError(error);
  }
}

function forget() {
  sessionStorage.removeItem(KEPT);
  history.replaceState(null, "", location.pathname + location.search);
  turn("welcome");
}

byId("begin").addEventListener("submit", async (/** @type {Event} */ event) => {
  event.preventDefault();
  try {
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ who: byId("who").value.trim() }) };
    judging.start(await ask("api/judging", options));
    showError();
  } catch (error) {
    showError(error);
  }
});
byId("samples").addEventListener("load", () => byId("samples").classList.toggle("pixels", byId("samples").naturalWidth < byId("samples").clientWidth));
byId("previous").addEventListener("click", () => judging.show(judging.at - 1));
byId("next").addEventListener("click", () => judging.next());
byId("reveal").addEventListener("click", () => judging.reveal());
byId("again").addEventListener("click", forget);
for (const button of document.querySelectorAll("[data-vote]")) {
  button.addEventListener("click", () => judging.cast(/** @type {any} */ (button).dataset.vote));
}

/** @param {() => void} action only while a set is shown */
const atSet = (action) => () => byId("set").hidden || action();
const unsure = atSet(() => judging.cast("unsure"));
const back = () => {
  if (!byId("set").hidden) judging.show(judging.at - 1);
  else if (!byId("review").hidden) judging.show(judging.items.length - 1);
};
shortcuts({
  c: atSet(() => judging.cast("clean")),
  n: atSet(() => judging.cast("noise")),
  u: unsure,
  t: unsure,
  Backspace: back,
  ArrowLeft: back,
  ArrowRight: atSet(() => judging.next()),
}, byId("single-keys"));

ask("api/judging").then(({ question }) => (byId("question").textContent = question), showError);
const kept = location.hash.slice(1) || sessionStorage.getItem(KEPT);
if (kept) resume(kept);
else turn("welcome");
