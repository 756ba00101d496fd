// @ts-check
/** The flow page: one start, stepped under all backbones side by side. */

import { Controls } from "./controls.js";
import { shortcuts } from "./keys.js";
import { byId, counted, make, showError } from "./page.js";
import { Pane } from "./panes.js";
import { onTones, show } from "./show.js";
import * as source from "./source.js";
import { Strips } from "./strips.js";
import { Transport } from "./transport.js";

/** @typedef {import("./controls.js").Choice} Choice */
/** @typedef {import("./show.js").Cell} Cell */

const REST = 200; // ms after a flow's end before its strips are asked for: a person who is still choosing wants the flow first
const narrow = matchMedia("(max-width: 44rem)"); // as in the style sheet

class Page {
  /** @param {any} run as the API tells it */
  constructor(run) {
    this.run = run;
    /** @type {Cell|undefined} what every backbone starts from */
    this.noise = undefined;
    this.stop = new AbortController();
    this.drawn = 0;
    this.subject = run.item;
    this.transport = new Transport((step) => this.show(step));
    this.panes = new Map(run.backbones.map((/** @type {any} */ one, /** @type {number} */ index) =>
      [one.name, new Pane(one, index, (step) => this.transport.seek(step))]));
    this.strips = new Strips(byId("strips"), run.backbones);
    this.controls = new Controls(byId("controls"), run.controls, run.note ?? "", (choice) => this.flow(choice));
    this.#introduce();
    const unfold = () => (this.controls.more.open = !narrow.matches); // on a phone the samples come first
    narrow.addEventListener("change", unfold);
    unfold();
    byId("panes").append(...[...this.panes.values()].map((pane) => pane.element));
    onTones(() => this.redraw());
    new ResizeObserver(() => this.show(this.transport.at)).observe(byId("panes"));
    shortcuts({
      " ": () => this.transport.toggle(),
      ArrowLeft: () => this.transport.move(-1),
      ArrowRight: () => this.transport.move(1),
      Home: () => this.transport.seek(0),
      End: () => this.transport.seek(this.transport.steps),
      ...this.controls.actions,
    }, byId("single-keys"));
    this.flow({ ...this.controls.choice }); // a copy: the controls go on changing theirs while it flows
  }

  /** Everything anew for a choice; what was still under way is dropped. @param {Choice} choice */
  async flow(choice) {
    this.stop.abort();
    this.stop = new AbortController();
    const { signal } = this.stop;
    this.controls.keep();
    this.subject = choice.label === undefined ? this.run.item : `${this.run.item} ${this.controls.named("label", choice.label)}`;
    this.strips.fade();
    this.transport.begin();
    for (const pane of this.panes.values()) pane.begin();
    byId("progress").textContent = "";
    try {
      await this.#frames(choice, signal);
      await new Promise((resolve) => setTimeout(resolve, REST));
      signal.throwIfAborted();
      await this.#strips(choice, signal);
    } catch (error) {
      if (!signal.aborted) {
        showError(error);
        byId("progress").textContent = "";
        byId("strips-note").textContent = "";
      }
    }
  }

  /** @param {Choice} choice @param {AbortSignal} signal */
  async #frames(choice, signal) {
    let streaming = [...this.panes.values()];
    for await (const [name, data] of source.flow(choice, signal)) {
      if (signal.aborted) return;
      const pane = this.panes.get(data.backbone);
      if (name === "start") {
        showError();
        streaming = data.backbones.flatMap((/** @type {string} */ one) => this.panes.get(one) ?? []);
        for (const one of streaming) one.steps = data.steps;
        this.transport.plan(data.steps);
      }
      if (name === "missing") pane?.lack(data.why);
      if (name === "done") pane?.done(data);
      if (name === "frame" && pane) {
        pane.take(data.step, data.cell);
        if (data.step === 0) this.#shared(pane.frames[0]);
        const newest = Math.min(...streaming.map((one) => one.newest));
        if (data.step === 0 && this.transport.at === 0) pane.show(0, capital(this.subject));
        if (newest > this.transport.ready) this.transport.come(newest);
      }
    }
    if (signal.aborted) return;
    if (!streaming.length) throw new Error("No backbone has weights of this training seed; choose another, or wait until one is trained.");
    byId("progress").textContent = `${capital(this.subject)} has flowed. ` + streaming.map((one) => `${one.name}: ${one.note.textContent}`).join("; ");
  }

  /** @param {Cell|undefined} noise what every backbone starts from */
  #shared(noise) {
    this.noise = noise;
    show(byId("noise"), [noise], { underway: true });
  }

  /** @param {Choice} choice @param {AbortSignal} signal */
  async #strips(choice, signal) {
    byId("strips-note").textContent = "Sampling …";
    for await (const [name, data] of source.strips(choice, signal)) {
      if (signal.aborted) return;
      if (name === "strip") this.strips.take(data, choice.label === undefined ? "" : `of ${this.subject}`);
    }
    this.strips.end();
    byId("strips-note").textContent = `${counted(this.strips.most, "sample")} a backbone, uncurated; the same place has the same ${this.run.start} under all.`;
  }

  /** At most once a screen refresh. @param {number} step */
  show(step) {
    cancelAnimationFrame(this.drawn);
    this.drawn = requestAnimationFrame(() => {
      for (const pane of this.panes.values()) pane.show(step, capital(this.subject));
    });
  }

  redraw() {
    this.#shared(this.noise);
    this.show(this.transport.at);
    this.strips.draw();
  }

  #introduce() {
    const { name, description, start, headline, deviations, backbones } = this.run;
    document.title = `${name} · flow · bakeoff studio`;
    byId("keys").append(...this.controls.help);
    byId("title").textContent = `One ${start}, ${counted(backbones.length, "backbone")}`;
    byId("about").textContent = [name, description].filter(Boolean).join(" · ");
    byId("headline").hidden = !headline || deviations.length > 0; // it would say the same
    byId("headline").textContent = headline ?? "";
    byId("deviations").hidden = !deviations.length;
    byId("deviations").querySelector("ul").append(...deviations.map((/** @type {string} */ text) => make("li", {}, text)));
  }
}

/** @param {string} text */
const capital = (text) => text[0].toUpperCase() + text.slice(1);

try {
  new Page(await source.run());
} catch (error) {
  showError(error);
}
