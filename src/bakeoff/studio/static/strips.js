// @ts-check
/** The strips: many finished samples a backbone, the same noises at the same places, in as many columns as there is room. */

import { counted, duration, make, swatch } from "./page.js";
import { columnsIn, show, unpack } from "./show.js";

const GAP = 1;

/** @typedef {import("./show.js").Cell} Cell */

export class Strips {
  /** @param {HTMLElement} place @param {{name: string}[]} backbones */
  constructor(place, backbones) {
    this.place = place;
    this.rows = new Map(backbones.map(({ name }, index) => {
      const samples = make("div", { className: "samples", hidden: true });
      const cost = make("span", { className: "cost" }, "\u00a0");
      const caption = make("figcaption", {}, make("span", { className: "named" }, swatch(index), make("span", {}, name)), cost);
      const element = make("figure", { className: "strip" }, caption, samples);
      return [name, { element, samples, cost, label: "", cells: /** @type {Cell[]} */ ([]) }];
    }));
    place.append(...[...this.rows.values()].map((row) => row.element));
    new ResizeObserver(() => this.draw()).observe(place);
  }

  /** What is shown belongs to an earlier choice. */
  fade() {
    this.place.classList.add("old");
    for (const row of this.rows.values()) row.cost.textContent = "\u00a0";
    this.fresh = new Set();
  }

  /** @param {any} data of the event @param {string} subject */
  take(data, subject) {
    const row = this.rows.get(data.backbone);
    if (!row) return;
    row.cells = data.cells.map(unpack);
    row.cost.textContent = [`${counted(data.nfe, "evaluation")} a sample`, duration(data.ms)].filter(Boolean).join(" · ");
    row.label = `${counted(row.cells.length, "sample")} ${subject} under ${data.backbone}`;
    row.samples.hidden = false;
    row.element.classList.add("fresh");
    this.fresh?.add(data.backbone);
    this.#draw(row);
  }

  /** All have come; a backbone that sent nothing has nothing to show. */
  end() {
    this.place.classList.remove("old");
    for (const [name, row] of this.rows) {
      row.element.classList.remove("fresh");
      if (this.fresh?.has(name)) continue;
      row.cells = [];
      row.samples.hidden = true;
      row.cost.textContent = "not trained yet";
    }
  }

  /** How many samples the backbone with most of them has. */
  get most() {
    return Math.max(0, ...[...this.rows.values()].map(({ cells }) => cells.length));
  }

  draw() {
    for (const row of this.rows.values()) this.#draw(row);
  }

  /** @param {{samples: HTMLElement, cells: Cell[], label: string}} row */
  #draw({ samples, cells, label }) {
    if (cells.length) show(samples, cells, { label, columns: columnsIn(samples.clientWidth, cells[0]), gap: GAP });
  }
}
