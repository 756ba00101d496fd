// @ts-check
/** The strips: 64 samples a backbone, the same noises at the same places, in as many columns as the page has room for. */

import { counted, duration, make, picture, swatch } from "./page.js";
import { cut, tile } from "./draw.js";

const LEAST = 30; // CSS pixels a sample
const GAP = 1;

export class Strips {
  /** @param {HTMLElement} place @param {{name: string}[]} backbones @param {number} side */
  constructor(place, backbones, side) {
    this.place = place;
    this.side = side;
    this.rows = new Map(backbones.map(({ name }, index) => {
      const canvas = make("canvas", { width: 1, height: 1, role: "img", hidden: true });
      const cost = make("span", { className: "cost" }, "\u00a0");
      const caption = make("figcaption", {}, make("span", { className: "named" }, swatch(index), make("span", {}, name)), cost);
      const element = make("figure", { className: "strip" }, caption, canvas);
      return [name, { element, canvas, cost, images: /** @type {Uint8Array[]} */ ([]) }];
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
  async take(data, subject) {
    const row = this.rows.get(data.backbone);
    if (!row) return;
    row.images = await cut(picture(data.image), data.count, data.columns, this.side);
    row.cost.textContent = `${counted(data.nfe, "evaluation")} a sample · ${duration(data.ms)}`;
    row.canvas.setAttribute("aria-label", `${data.count} samples ${subject} under ${data.backbone}`);
    row.canvas.hidden = false;
    row.element.classList.add("fresh");
    this.fresh?.add(data.backbone);
    this.#draw(row);
  }

  /** All have come; whoever sent nothing has nothing to show. */
  end() {
    this.place.classList.remove("old");
    for (const [name, row] of this.rows) {
      row.element.classList.remove("fresh");
      if (this.fresh?.has(name)) continue;
      row.images = [];
      row.canvas.hidden = true;
      row.cost.textContent = "not trained yet";
    }
  }

  draw() {
    for (const row of this.rows.values()) this.#draw(row);
  }

  /** @param {{canvas: HTMLCanvasElement, images: Uint8Array[]}} row */
  #draw({ canvas, images }) {
    if (!images.length) return;
    const columns = [64, 32, 16].find((count) => canvas.clientWidth / count >= LEAST) ?? 8;
    tile(canvas, images, this.side, columns, GAP);
  }
}
