// @ts-check
/** The controls of the flow page, built from the server's description, and the address that keeps their values. */

import { make } from "./page.js";

/** @typedef {string|number} Value */
/** @typedef {Record<string, Value>} Choice a value of every control */
/** @typedef {{key: string, title: string, type: string, default: Value, disabled: boolean, why: string, keys?: string[],
 *   values?: Value[], names?: string[], min: number, max: number, step: number, usual: number, hint: string}} Control */
/** @typedef {{element: HTMLElement, show: (value: any) => void, actions?: (() => void)[], does?: string}} Widget actions: of
 * the control's keys, in their order; does: what they do, in words */

const DELAY = 120; // ms without a change before a new flow begins
const SHORT = 100000; // noises that are drawn are below, so that they can be said

/** @type {Record<string, (control: Control, set: (value: Value) => void, present: () => any) => Widget>} */
const BUILD = { noise, choice, number, select, text };

export class Controls {
  /** @param {HTMLFormElement} form @param {Control[]} controls @param {string} note @param {(choice: Choice) => void} onChange */
  constructor(form, controls, note, onChange) {
    this.controls = controls;
    this.onChange = onChange;
    this.timer = 0;
    /** @type {Choice} */
    this.choice = chosen(controls, new URLSearchParams(location.search));
    this.widgets = new Map(controls.map((control) => [control.key,
      BUILD[control.type](control, (value) => this.#set(control.key, value), () => this.choice[control.key])]));
    this.more = this.#lay(form, note);
    this.#show();
  }

  /** What the controls' keys do: actions by key. @returns {Record<string, () => void>} */
  get actions() {
    return Object.fromEntries(this.controls.flatMap(({ key, keys = [] }) =>
      keys.map((one, i) => [one, this.widgets.get(key)?.actions?.[i] ?? (() => {})])));
  }

  /** The same in words, for the list of keys. @returns {HTMLElement[]} */
  get help() {
    return this.controls.filter(({ keys = [] }) => keys.length).map(({ key, keys = [] }) => {
      const [first, last] = [keys[0], keys[keys.length - 1]].map((one) => make("kbd", {}, one.toUpperCase()));
      return make("li", {}, first, ...(keys.length > 1 ? [" … ", last] : []), ` ${this.widgets.get(key)?.does}`);
    });
  }

  /** A value of a control in words. @param {string} key @param {Value} value @returns {string} */
  named(key, value) {
    const { values = [], names = [] } = this.controls.find((control) => control.key === key) ?? {};
    return names[values.indexOf(value)] ?? String(value);
  }

  /** The address of exactly this view; what else it holds stays. */
  keep() {
    const url = new URL(location.href);
    for (const { key, disabled } of this.controls) if (!disabled) url.searchParams.set(key, String(this.choice[key]));
    history.replaceState(null, "", url);
  }

  /** Noise and buttons first; numbers and lists in a part that can be folded. @param {HTMLFormElement} form @param {string} note */
  #lay(form, note) {
    form.addEventListener("submit", (event) => event.preventDefault());
    const shown = this.controls.filter(({ type, values = [] }) => type !== "select" || values.length > 1);
    const folded = shown.filter(({ type }) => type === "number" || type === "select" || type === "text");
    const summary = folded.map(({ title }, i) => (i ? title.toLowerCase() : title)).join(", ");
    /** @param {Control} control */
    const element = ({ key }) => /** @type {Widget} */ (this.widgets.get(key)).element;
    const more = make("details", { id: "more", open: true, hidden: !folded.length }, make("summary", {}, summary), ...folded.map(element));
    if (note) more.append(make("p", { className: "hint" }, note));
    form.append(...shown.filter((control) => !folded.includes(control)).map(element), more);
    return more;
  }

  /** @param {string} key @param {Value} value */
  #set(key, value) {
    this.choice[key] = value;
    this.#show();
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.onChange({ ...this.choice }), DELAY);
  }

  #show() {
    for (const [key, widget] of this.widgets) widget.show(this.choice[key]);
  }
}

/** The defaults, changed by what an address asks for and the description allows.
 * @param {Control[]} controls @param {URLSearchParams} asked @returns {Choice} */
function chosen(controls, asked) {
  return Object.fromEntries(controls.map((control) => {
    const text = control.disabled ? null : asked.get(control.key);
    if (!text) return [control.key, control.default];
    if (control.type === "text") return [control.key, text];
    if (control.values) return [control.key, control.values.find((value) => String(value) === text) ?? control.default];
    return [control.key, Number.isFinite(Number(text)) ? bounded(control, Number(text)) : control.default];
  }));
}

/** @param {Control} control @param {number} value @returns {number} the nearest that is allowed */
function bounded({ min, max, step }, value) {
  return Math.min(Math.max(Number.isInteger(step) ? Math.round(value) : value, min), max);
}

/** An input of numbers: a slider counts while it moves, a field when typing is done.
 * @param {Control} control @param {Record<string, any>} properties @param {(value: Value) => void} set @param {() => any} present */
function numeric(control, properties, set, present) {
  const input = make("input", { min: String(control.min), max: String(control.max), disabled: control.disabled, ...properties });
  input.addEventListener(input.type === "range" ? "input" : "change", () => {
    const value = input.valueAsNumber;
    if (Number.isFinite(value)) set(bounded(control, value));
    else input.value = String(present());
  });
  return input;
}

/** The shared noise: a picture of it that is a button for another one, and its number.
 * @type {(typeof BUILD)[string]} */
function noise(control, set, present) {
  const { title, values, keys = [] } = control;
  const [min, max] = values ? [Math.min, Math.max].map((end) => end(...values.map(Number))) : [control.min, control.max];
  const another = () => set(values
    ? values[(values.indexOf(present()) + 1) % values.length]
    : crypto.getRandomValues(new Uint32Array(1))[0] % Math.min(control.max + 1, SHORT));
  const button = make("button", { type: "button", id: "reseed" }, make("span", { id: "noise", ariaHidden: "true" }),
    make("span", { className: "unseen" }, `Draw another ${title.toLowerCase()}`));
  button.setAttribute("aria-describedby", "reseed-hint");
  button.addEventListener("click", another);
  /** @param {Value} value */
  const among = (value) => set(!values || values.includes(value) ? value : present());
  const input = numeric({ ...control, min, max }, { id: "seed", type: "number", inputMode: "numeric", step: "1", required: true }, among, present);
  const byKey = keys.length ? [make("span", { className: "by-key" }, ", or press ", make("kbd", {}, keys[0].toUpperCase()))] : [];
  const hint = make("p", { className: "hint", id: "reseed-hint" }, "Click it for another", ...byKey);
  return {
    element: make("div", { className: "seeded" }, button, make("div", { className: "field" }, make("label", { htmlFor: "seed" }, title), input, hint)),
    show: (value) => (input.value = String(value)),
    actions: [another],
    does: `another ${title.toLowerCase()}`,
  };
}

/** A few values as buttons. @type {(typeof BUILD)[string]} */
function choice({ key, title, values = [], names = [], disabled }, set) {
  const radios = values.map((value) => {
    const radio = make("input", { type: "radio", name: key, value: String(value), disabled });
    radio.addEventListener("change", () => set(value));
    return radio;
  });
  const caps = radios.map((radio, i) => make("label", {}, radio, make("span", {}, names[i] ?? radio.value)));
  return {
    element: make("fieldset", { id: key }, make("legend", {}, title), make("div", { className: names.length ? "caps words" : "caps" }, ...caps)),
    show: (value) => radios.forEach((radio) => (radio.checked = radio.value === String(value))),
    actions: values.map((value) => () => set(value)),
    does: title.toLowerCase(),
  };
}

/** A number with its slider. @type {(typeof BUILD)[string]} */
function number(control, set, present) {
  const { key, title, step, usual, why } = control;
  const whole = Number.isInteger(step);
  const field = numeric(control, { id: key, type: "number", inputMode: whole ? "numeric" : "decimal", step: whole ? "1" : "any", required: true }, set, present);
  const slider = numeric(control, { id: `${key}-range`, type: "range", step: String(step), max: String(usual), ariaLabel: title }, set, present);
  const element = make("div", { className: "field pair" }, make("label", { htmlFor: key }, title), field, slider);
  if (why) {
    element.append(make("p", { className: "hint", id: `${key}-why` }, why));
    for (const input of [field, slider]) input.setAttribute("aria-describedby", `${key}-why`);
  }
  return { element, show: (value) => (field.value = slider.value = String(value)) };
}

/** A list. @type {(typeof BUILD)[string]} */
function select({ key, title, values = [], names = [], disabled }, set) {
  const list = make("select", { id: key, disabled }, ...values.map((value, i) => make("option", { value: String(value) }, names[i] ?? String(value))));
  list.addEventListener("change", () => set(values[list.selectedIndex]));
  return {
    element: make("div", { className: "field row" }, make("label", { htmlFor: key }, title), list),
    show: (value) => (list.value = String(value)),
  };
}

/** A text of one's own, with an example to begin from. @type {(typeof BUILD)[string]} */
function text({ key, title, hint, disabled }, set) {
  const field = make("textarea", { id: key, rows: 3, spellcheck: false, placeholder: hint, disabled });
  field.addEventListener("change", () => set(field.value.trim()));
  const begin = make("button", { type: "button", disabled }, "Begin from an example");
  begin.addEventListener("click", () => set(field.value.trim() || hint));
  return {
    element: make("div", { className: "field typed" }, make("label", { htmlFor: key }, title), field, begin),
    show: (value) => (field.value = String(value)),
  };
}
