// @ts-check
/**
 * The step indicator. It follows the newest step while a flow streams in, until a person plays, pauses or scrubs; from
 * then on the person decides.
 */

import { byId, calm } from "./page.js";

const FRAMES_PER_SECOND = 6;

export class Transport {
  /** @param {(step: number) => void} onShow draws a step */
  constructor(onShow) {
    this.onShow = onShow;
    this.steps = 0;
    this.ready = -1; // the newest step that is there under every backbone
    this.at = 0;
    this.follows = true;
    this.timer = 0;
    byId("play").addEventListener("click", () => this.toggle());
    byId("back").addEventListener("click", () => this.move(-1));
    byId("on").addEventListener("click", () => this.move(1));
    byId("scrub").addEventListener("input", () => this.seek(byId("scrub").valueAsNumber));
  }

  /** A new flow begins; how many steps it has is not known yet. */
  begin() {
    this.steps = 0;
    this.ready = -1;
    this.at = 0;
    this.follows = true;
    this.#stop();
  }

  /** @param {number} steps of the flow that has begun */
  plan(steps) {
    this.steps = steps;
    byId("scrub").max = String(steps);
    this.#label();
  }

  /** Everything up to a step has come. @param {number} step */
  come(step) {
    this.ready = step;
    // with less motion wished for, the noise and the sample are shown and nothing in between
    if (this.follows && (!calm.matches || step === 0 || step === this.steps)) this.#show(step);
    else this.#label();
  }

  toggle() {
    if (this.ready < 1) return;
    if (this.timer) return this.#stop();
    this.follows = false;
    if (this.at >= this.steps) this.#show(0);
    this.timer = window.setInterval(() => {
      if (this.at < this.ready) this.#show(this.at + 1);
      if (this.at >= this.steps) this.#stop();
    }, 1000 / FRAMES_PER_SECOND);
    this.#label();
  }

  /** @param {number} by */
  move(by) {
    this.seek(this.at + by);
  }

  /** @param {number} step */
  seek(step) {
    if (this.ready < 0) return;
    this.#stop();
    this.follows = false;
    this.#show(Math.min(Math.max(step, 0), this.ready));
  }

  #stop() {
    clearInterval(this.timer);
    this.timer = 0;
    this.#label();
  }

  /** @param {number} step */
  #show(step) {
    this.at = step;
    this.#label();
    this.onShow(step);
  }

  #label() {
    const { at, steps, ready, timer } = this;
    const share = steps ? at / steps : 0;
    const t = steps ? share.toFixed(2) : "–";
    byId("at").textContent = steps ? `step ${at} of ${steps}` : "step –";
    byId("t").textContent = `t = ${t}`;
    const scrub = byId("scrub");
    scrub.value = String(at);
    scrub.setAttribute("aria-valuetext", `step ${at} of ${steps}, t = ${t}`);
    const dial = document.querySelector(".transport");
    if (dial instanceof HTMLElement) {
      dial.style.setProperty("--t", String(share));
      dial.style.setProperty("--come", String(Math.max(ready, 0) / (steps || 1)));
    }
    const play = byId("play");
    play.classList.toggle("playing", timer !== 0);
    play.querySelector(".unseen").textContent = timer ? "Pause" : "Play";
    scrub.disabled = ready < 0;
    play.disabled = ready < 1;
    // never disabled while focused: a lost focus would send the keyboard back to the top of the page
    for (const [id, idle] of /** @type {[string, boolean][]} */ ([["back", at <= 0], ["on", at >= ready]])) {
      byId(id).disabled = ready < 0;
      byId(id).setAttribute("aria-disabled", String(idle));
    }
  }
}
