// @ts-check
/** The flow page: one noise, stepped under all backbones side by side. */

import { Controls } from "./controls.js";
import { onTones, paint } from "./draw.js";
import { shortcuts } from "./keys.js";
import { complain, counted, make, the } from "./page.js";
import { Pane } from "./panes.js";
import * as source from "./source.js";
import { Strips } from "./strips.js";
import { Transport } from "./transport.js";

/** @typedef {import("./source.js").Choice} Choice */

const REST = 200; // ms after a flow's end before its strips are asked for: who is still choosing wants the flow first
const narrow = matchMedia("(max-width: 44rem)"); // as in the style sheet

class Page {
  /** @param {any} run as the API tells it */
  constructor(run) {
    this.run = run;
    /** @type {Uint8Array} */
    this.noise = new Uint8Array(run.side * run.side);
    this.stop = new AbortController();
    this.drawn = 0;
    this.transport = new Transport((step) => this.show(step));
    this.panes = new Map(run.backbones.map((/** @type {any} */ one, /** @type {number} */ index) =>
      [one.name, new Pane(one, index, run.side, (step) => this.transport.seek(step))]));
    this.strips = new Strips(the("strips"), run.backbones, run.side);
    this.controls = new Controls(run, (choice) => this.flow(choice));
    this.#introduce();
    const unfold = () => (the("more").open = !narrow.matches); // on a phone the samples come first
    narrow.addEventListener("change", unfold);
    unfold();
    the("panes").append(...[...this.panes.values()].map((pane) => pane.element));
    onTones(() => this.redraw());
    new ResizeObserver(() => this.show(this.transport.at)).observe(the("panes"));
    shortcuts({
      " ": () => this.transport.toggle(),
      ArrowLeft: () => this.transport.move(-1),
      ArrowRight: () => this.transport.move(1),
      Home: () => this.transport.seek(0),
      End: () => this.transport.seek(this.transport.steps),
      r: () => this.controls.reseed(),
      ...Object.fromEntries(run.labels.map((/** @type {number} */ label) => [String(label), () => this.controls.pick(label)])),
    }, the("single-keys"));
    this.flow(this.controls.choice);
  }

  /** Everything anew for a choice; what was still under way is dropped. @param {Choice} choice */
  async flow(choice) {
    this.stop.abort();
    this.stop = new AbortController();
    const { signal } = this.stop;
    this.controls.keep();
    this.subject = choice.label === null ? "Sample" : `Digit ${choice.label}`;
    this.strips.fade();
    this.transport.begin(choice.steps);
    for (const pane of this.panes.values()) pane.begin(choice.steps);
    the("progress").textContent = "";
    try {
      await this.#frames(choice, signal);
      await new Promise((resolve) => setTimeout(resolve, REST));
      signal.throwIfAborted();
      await this.#strips(choice, signal);
    } catch (error) {
      if (!signal.aborted) {
        complain(error);
        the("progress").textContent = "";
        the("strips-note").textContent = "";
      }
    }
  }

  /** @param {Choice} choice @param {AbortSignal} signal */
  async #frames(choice, signal) {
    let streaming = [...this.panes.values()];
    for await (const [name, data] of source.flow(choice, signal)) {
      if (signal.aborted) return;
      const pane = this.panes.get(data.backbone);
      if (name === "start") complain();
      if (name === "start") streaming = data.backbones.flatMap((/** @type {string} */ one) => this.panes.get(one) ?? []);
      if (name === "missing") pane?.lack(data.why);
      if (name === "done") pane?.done(data);
      if (name === "frame" && pane) {
        pane.take(data.step, data.image);
        if (data.step === 0) this.#shared(pane.frames[0]);
        const newest = Math.min(...streaming.map((one) => one.newest));
        if (data.step === 0 && this.transport.at === 0) pane.show(0, this.subject ?? "");
        if (newest > this.transport.ready) this.transport.come(newest);
      }
    }
    if (signal.aborted) return;
    if (!streaming.length) throw new Error("No backbone has weights of this training seed; choose another, or wait until one is trained.");
    the("progress").textContent = `${this.subject} has flowed. ` + streaming.map((one) => `${one.name}: ${one.note.textContent}`).join("; ");
  }

  /** What every backbone starts from. @param {Uint8Array} noise */
  #shared(noise) {
    this.noise = noise;
    paint(the("noise"), noise, this.run.side);
  }

  /** @param {Choice} choice @param {AbortSignal} signal */
  async #strips(choice, signal) {
    the("strips-note").textContent = "Sampling …";
    for await (const [name, data] of source.strips(choice, signal)) {
      if (signal.aborted) return;
      if (name === "strip") await this.strips.take(data, choice.label === null ? "" : `of digit ${choice.label}`);
    }
    this.strips.end();
    the("strips-note").textContent = `${this.run.strip} samples a backbone, uncurated; the same place has the same noise under all.`;
  }

  /** At most once a screen refresh. @param {number} step */
  show(step) {
    cancelAnimationFrame(this.drawn);
    this.drawn = requestAnimationFrame(() => {
      for (const pane of this.panes.values()) pane.show(step, this.subject ?? "");
    });
  }

  redraw() {
    paint(the("noise"), this.noise, this.run.side);
    this.show(this.transport.at);
    this.strips.draw();
  }

  #introduce() {
    const { name, description, headline, deviations, backbones } = this.run;
    document.title = `${name} · flow · bakeoff studio`;
    the("title").textContent = `One noise, ${counted(backbones.length, "backbone")}`;
    the("about").textContent = [name, description].filter(Boolean).join(" · ");
    the("headline").hidden = !headline || deviations.length > 0; // it would say the same
    the("headline").textContent = headline ?? "";
    the("deviations").hidden = !deviations.length;
    the("deviations").querySelector("ul").append(...deviations.map((/** @type {string} */ text) => make("li", {}, text)));
  }
}

try {
  new Page(await source.run());
} catch (error) {
  complain(error);
}
