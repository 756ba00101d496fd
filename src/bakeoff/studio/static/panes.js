// @ts-check
/** One pane a backbone: the item at the present step large, the way there as a film below, the cost when it is done. */

import { counted, duration, make, swatch, colour } from "./page.js";
import { show, unpack, widthOf } from "./show.js";

/** @typedef {import("./show.js").Cell} Cell */

const GAP = 2; // film pixels between cells

export class Pane {
  /** @param {{name: string, params: number|null}} backbone @param {number} index @param {(step: number) => void} onSeek */
  constructor(backbone, index, onSeek) {
    this.name = backbone.name;
    this.steps = 1;
    /** @type {Cell[]} */
    this.frames = [];
    this.newest = -1;
    this.missing = "";
    this.large = make("div", { className: "large" });
    this.film = make("div", { className: "film", ariaHidden: "true" });
    this.track = make("div", { className: "track" });
    this.note = make("p", { className: "cost" }, "\u00a0");
    this.why = make("p", { className: "why", hidden: true });
    const size = backbone.params === null ? "" : `${(backbone.params / 1000).toFixed(0)} k parameters`;
    this.element = make("article", { className: "pane" },
      make("h3", { className: "named" }, swatch(index), make("span", {}, backbone.name)),
      make("div", { className: "sheet" }, this.large, this.why),
      make("div", {}, this.film, this.track), this.note, make("p", { className: "size" }, size));
    this.element.style.setProperty("--colour", colour(index));
    this.film.addEventListener("click", (/** @type {MouseEvent} */ event) => {
      const picks = this.#picks();
      const across = event.clientX - this.film.getBoundingClientRect().left;
      onSeek(picks[Math.min(Math.floor((across / this.film.clientWidth) * picks.length), picks.length - 1)]);
    });
  }

  /** The old picture stays until the first new one comes. */
  begin() {
    this.frames = [];
    this.newest = -1;
    this.note.textContent = "\u00a0";
    this.lack("");
  }

  /** @param {string} why there is nothing to show, or nothing */
  lack(why) {
    this.missing = why;
    this.why.hidden = !why;
    this.why.replaceChildren(...(why ? [make("strong", {}, "Nothing to show"), make("span", {}, why)] : []));
    this.element.classList.toggle("lacking", why !== "");
    this.large.hidden = this.film.hidden = this.track.hidden = why !== "";
  }

  /** @param {number} step @param {any} cell as the server sends it */
  take(step, cell) {
    this.frames[step] = unpack(cell);
    this.newest = Math.max(this.newest, step);
  }

  /** @param {{nfe: number, ms: number|null}} cost */
  done({ nfe, ms }) {
    this.note.textContent = [counted(nfe, "evaluation"), duration(ms)].filter(Boolean).join(" · ");
  }

  /** @param {number} step @param {string} subject what is shown, for those who cannot see it */
  show(step, subject) {
    if (this.missing || !this.frames[step]) return;
    const label = `${subject} under ${this.name} at step ${step} of ${this.steps}`;
    show(this.large, [this.frames[step]], { label, underway: step < this.steps });
    this.film.hidden = this.track.hidden = !widthOf(this.frames[step]); // text has no small picture
    if (!this.film.hidden) this.#film(step);
  }

  /** The steps the film has room for, the first and the last among them. */
  #picks() {
    const room = Math.floor((this.element.clientWidth + GAP) / (widthOf(this.frames[0]) + GAP));
    const count = Math.max(2, Math.min(this.steps + 1, room));
    return Array.from({ length: count }, (_, i) => Math.round((i * this.steps) / (count - 1)));
  }

  /** @param {number} step */
  #film(step) {
    const picks = this.#picks();
    show(this.film, picks.map((pick) => this.frames[pick]), { columns: picks.length, gap: GAP });
    const near = picks.reduce((best, pick, i) => (Math.abs(pick - step) < Math.abs(picks[best] - step) ? i : best), 0);
    this.track.style.setProperty("--columns", String(picks.length));
    this.track.style.setProperty("--near", String(near / picks.length));
  }
}
