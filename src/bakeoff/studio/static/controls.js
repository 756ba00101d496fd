// @ts-check
/** The choices of the flow page: their controls, their limits, and the address that keeps them. */

import { counted, exported, make, the } from "./page.js";

/** @typedef {import("./source.js").Choice} Choice */

const DELAY = 120; // ms without a change before a new flow begins
const USUAL_GUIDANCE = 8; // the slider's end; the field takes more
const NAMES = { digit: "label", noise: "noise", steps: "steps", solver: "solver", guidance: "guidance", seed: "trained" };

/** @param {number} value @param {number[]} limits */
const clamp = (value, [low, high]) => Math.min(Math.max(value, low), high);

export class Controls {
  /** @param {any} run as the API tells it @param {(choice: Choice) => void} onChange */
  constructor(run, onChange) {
    this.run = run;
    this.onChange = onChange;
    this.timer = 0;
    /** @type {Choice} */
    this.choice = this.#read(new URLSearchParams(location.search));
    this.#lay();
    this.#show();
  }

  /** Another noise than the present one. */
  reseed() {
    const { noises, limits } = this.run;
    const next = noises
      ? noises[(noises.indexOf(this.choice.noise) + 1) % noises.length]
      : crypto.getRandomValues(new Uint32Array(1))[0] % Math.min(limits.noise[1] + 1, 100000); // short enough to say
    this.#set({ noise: next });
  }

  /** @param {number} label */
  pick(label) {
    if (this.run.labels.includes(label)) this.#set({ label });
  }

  /** The address of exactly this view; what else it holds stays. */
  keep() {
    const url = new URL(location.href);
    for (const [name, key] of Object.entries(NAMES)) {
      const value = this.choice[/** @type {keyof Choice} */ (key)];
      const fixed = exported && key !== "label" && key !== "noise";
      if (value !== null && !fixed) url.searchParams.set(name, String(value));
    }
    history.replaceState(null, "", url);
  }

  /** The protocol's own choices, changed by what an address asks for and the run allows.
   * @param {URLSearchParams} asked @returns {Choice} */
  #read(asked) {
    const { labels, noises, sampling, solvers, seeds, limits, guided } = this.run;
    /** @param {string} name @param {number} otherwise @param {number[]} range */
    const number = (name, otherwise, range) => {
      const text = asked.get(name);
      return text && Number.isFinite(Number(text)) ? clamp(Number(text), range) : otherwise;
    };
    /** @template T @param {T} value @param {T[]} allowed @param {T} otherwise */
    const among = (value, allowed, otherwise) => (allowed.includes(value) ? value : otherwise);
    const usable = seeds.filter((/** @type {number} */ seed) => trainedAt(this.run, seed));
    const noise = Math.round(number("noise", 0, limits.noise));
    const digit = labels.length ? Math.round(number("digit", labels[3] ?? labels[0], [labels[0], labels.at(-1)])) : null;
    const seed = among(Number(asked.get("seed") ?? NaN), seeds, usable[0] ?? seeds[0]);
    return {
      label: digit,
      noise: noises ? among(noise, noises, noises[0]) : noise,
      steps: exported ? sampling.steps : Math.round(number("steps", sampling.steps, limits.steps)),
      solver: exported ? sampling.solver : among(asked.get("solver") ?? "", solvers, sampling.solver),
      guidance: exported ? sampling.guidance : guided ? number("guidance", sampling.guidance, limits.guidance) : 1,
      trained: seed,
    };
  }

  #lay() {
    const { labels, noises, solvers, seeds, limits, guided } = this.run;
    the("controls").addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());
    the("reseed").addEventListener("click", () => this.reseed());

    the("digits").hidden = the("digit-keys").hidden = !labels.length;
    for (const label of labels) {
      const radio = make("input", { type: "radio", name: "digit", value: String(label) });
      radio.addEventListener("change", () => this.#set({ label }));
      the("digits").querySelector(".caps").append(make("label", {}, radio, make("span", {}, String(label))));
    }
    const noise = noises ? [Math.min(...noises), Math.max(...noises)] : limits.noise;
    this.#number("noise", [the("seed")], noise, true);
    this.#number("steps", [the("steps"), the("steps-range")], limits.steps, true);
    this.#number("guidance", [the("guidance"), the("guidance-range")], limits.guidance, false);
    the("guidance-range").max = String(Math.min(USUAL_GUIDANCE, limits.guidance[1]));

    the("solver").append(...solvers.map((/** @type {string} */ name) => make("option", { value: name }, name)));
    the("solver").addEventListener("change", () => this.#set({ solver: the("solver").value }));
    the("trained-field").hidden = seeds.length < 2 || exported;
    the("trained").append(...seeds.map((/** @type {number} */ seed) => make("option", { value: String(seed) }, String(seed))));
    the("trained").addEventListener("change", () => this.#set({ trained: Number(the("trained").value) }));

    for (const id of ["guidance", "guidance-range"]) the(id).disabled = !guided || exported;
    for (const id of ["steps", "steps-range", "solver"]) the(id).disabled = exported;
    the("guidance-why").hidden = guided;
    the("guidance-why").textContent = "Fixed at 1: trained without label dropout, so there is nothing to guide.";
    if (exported) {
      the("fixed").hidden = false;
      the("fixed").textContent = `Recorded: ${counted(noises.length, "noise")}, and the protocol's own steps, solver and guidance. ` +
        "The live studio plays with all of them.";
    }
  }

  /** A number with its slider: the slider counts while it moves, typing when it is done.
   * @param {"noise"|"steps"|"guidance"} key @param {HTMLInputElement[]} inputs @param {number[]} limits @param {boolean} whole */
  #number(key, inputs, limits, whole) {
    for (const input of inputs) {
      [input.min, input.max] = limits.map(String);
      input.addEventListener(input.type === "range" ? "input" : "change", () => {
        const value = input.valueAsNumber;
        if (Number.isFinite(value)) this.#set({ [key]: clamp(whole ? Math.round(value) : value, limits) });
        else this.#show();
      });
    }
  }

  /** @param {Partial<Choice>} change */
  #set(change) {
    Object.assign(this.choice, change);
    this.#show();
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.onChange({ ...this.choice }), DELAY);
  }

  #show() {
    const { label, noise, steps, solver, guidance, trained } = this.choice;
    the("seed").value = noise;
    the("steps").value = the("steps-range").value = String(steps);
    the("guidance").value = the("guidance-range").value = String(guidance);
    the("solver").value = solver;
    the("trained").value = String(trained);
    for (const radio of document.querySelectorAll("#digits input")) {
      const one = /** @type {HTMLInputElement} */ (radio);
      one.checked = one.value === String(label);
    }
  }
}

/** Whether any backbone has weights of this training seed. @param {any} run @param {number} seed */
const trainedAt = (run, seed) => run.backbones.some((/** @type {any} */ one) => one.trained.includes(seed));
