// @ts-check
/** How cells are shown: one drawing function a kind. A cell is one item, finished or on its way. */

import { make } from "./page.js";

/** @typedef {{kind: "images", width: number, height: number, channels: number, data: Uint8Array}} ImageCell 1 or 3 bytes a pixel */
/** @typedef {{kind: "text", input: string, text: string, truth: string|null, right: boolean|null}} TextCell */
/** @typedef {{kind: "answers", tokens: number[], marks: number[], answers: number[], truth: number[]}} AnswersCell */
/** @typedef {ImageCell|TextCell|AnswersCell} Cell */
/** @typedef {{label?: string, columns?: number, gap?: number, underway?: boolean}} How label: for those who cannot see it; none
 * where the place is hidden from them. gap: pixels of the cells. underway: more is to come. */

/** Kinds: how cells are drawn into a place; the CSS pixels that a cell of many should have, and the columns there always are.
 * @type {Record<string, {draw: (place: HTMLElement, cells: any[], how: How) => void, least: number, fewest: number}>} */
const KINDS = {
  images: { draw: images, least: 30, fewest: 8 },
  text: { draw: texts, least: 220, fewest: 1 },
  answers: { draw: sequences, least: 480, fewest: 1 },
};

/** @param {any} sent a cell as the server sends it @returns {Cell} */
export function unpack(sent) {
  if (!(sent.kind in KINDS)) throw new Error(`This page cannot show ${sent.kind}.`);
  return sent.data === undefined ? sent : { ...sent, data: Uint8Array.from(atob(sent.data), (byte) => byte.charCodeAt(0)) };
}

/** Cells of one kind in rows; a missing one leaves its place empty.
 * @param {HTMLElement} place @param {(Cell|undefined)[]} cells @param {How} [how] */
export function show(place, cells, how = {}) {
  const first = cells.find(Boolean);
  if (first) KINDS[first.kind].draw(place, cells, how);
}

/** As many columns of cells as a width has room for, in powers of two. @param {number} width CSS pixels @param {Cell} cell */
export function columnsIn(width, cell) {
  const { least, fewest } = KINDS[cell.kind];
  return [64, 32, 16, 8, 4, 2].find((count) => count > fewest && width / count >= least) ?? fewest;
}

/** @param {Cell} cell @returns {number} pixels; 0 where it has none */
export const widthOf = (cell) => ("width" in cell ? cell.width : 0);

const theme = matchMedia("(prefers-color-scheme: dark)");
/** @type {Uint8ClampedArray|null} RGBA of every gray value */
let tones = null;

/** @param {() => void} listener is called when the tones have changed; it draws anew */
export function onTones(listener) {
  theme.addEventListener("change", () => {
    tones = null;
    listener();
  });
}

/** @param {HTMLElement} place @param {(ImageCell|undefined)[]} cells @param {How} how */
function images(place, cells, { label, columns = 1, gap = 0 }) {
  const canvas = place.querySelector("canvas") ?? place.appendChild(make("canvas"));
  if (label) canvas.setAttribute("role", "img");
  if (label) canvas.setAttribute("aria-label", label);
  const { width, height } = /** @type {ImageCell} */ (cells.find(Boolean));
  const size = [columns * (width + gap) - gap, Math.ceil(cells.length / columns) * (height + gap) - gap];
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, ...size);
  cells.forEach((cell, i) => {
    if (cell) context.putImageData(coloured(cell), (i % columns) * (width + gap), Math.floor(i / columns) * (height + gap));
  });
}

/** Colours as they are; grays in the page's tones, in light and in dark: 0 is paper, 255 is ink. @param {ImageCell} cell */
function coloured({ width, height, channels, data }) {
  const [gray, to] = [grays(), new ImageData(width, height)];
  for (let i = 0; i < width * height; i++) {
    if (channels === 1) to.data.set(gray.subarray(4 * data[i], 4 * data[i] + 4), 4 * i);
    else to.data.set([data[3 * i], data[3 * i + 1], data[3 * i + 2], 255], 4 * i);
  }
  return to;
}

function grays() {
  if (tones) return tones;
  const style = getComputedStyle(document.documentElement);
  const [paper, ink] = ["--sheet", "--stroke"].map((name) => rgb(style.getPropertyValue(name)));
  tones = new Uint8ClampedArray(1024);
  for (let gray = 0; gray < 256; gray++) {
    for (let channel = 0; channel < 3; channel++) tones[4 * gray + channel] = paper[channel] + ((ink[channel] - paper[channel]) * gray) / 255;
    tones[4 * gray + 3] = 255;
  }
  return tones;
}

/** @param {string} text "#rrggbb" */
function rgb(text) {
  const value = parseInt(text.trim().slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

/** The given text, and what was made of it so far; once finished, whether it is right.
 * @param {HTMLElement} place @param {(TextCell|undefined)[]} cells @param {How} how */
function texts(place, cells, { columns = 1, underway = false }) {
  place.classList.add("texts");
  place.style.setProperty("--columns", String(columns));
  place.replaceChildren(...cells.map((cell) => (cell ? text(cell, underway) : make("p"))));
}

/** @param {TextCell} cell @param {boolean} underway */
function text({ input, text: made, truth, right }, underway) {
  const judged = underway || right === null ? "" : right ? "right" : "wrong";
  const element = make("p", { className: `text ${judged || "open"}` }, make("span", { className: "input" }, input), make("span", { className: "made" }, made));
  if (judged) element.append(make("span", { className: "judged" }, judged === "right" ? " ✓ right" : ` ✗ wrong${truth === null ? "" : `: ${truth}`}`));
  element.classList.toggle("typing", underway);
  return element;
}

/** Tokens in rows: keys and facts shaded; under what is asked the answer, and beside a wrong one what is right.
 * @param {HTMLElement} place @param {(AnswersCell|undefined)[]} cells @param {How} how */
function sequences(place, cells, { columns = 1, label, underway = false }) {
  place.classList.add("sequences");
  place.style.setProperty("--columns", String(columns));
  place.replaceChildren(...cells.map((cell) => (cell ? sequence(cell, underway) : make("div"))));
  if (label) place.setAttribute("aria-label", label);
}

const MARKS = ["other", "key", "fact", "asked"];
const DENSE = 64; // questions of a sequence; where there are more, the answers stand alone

/** @param {AnswersCell} cell @param {boolean} underway */
function sequence({ tokens, marks, answers, truth }, underway) {
  const right = tokens.filter((_, t) => MARKS[marks[t]] === "asked" && answers[t] === truth[t]).length;
  const asked = marks.filter((mark) => MARKS[mark] === "asked").length;
  const dense = asked > DENSE;
  const said = underway ? "" : `${right} of ${asked} answers right${dense ? "; only answers are shown" : ""}`;
  return make("div", { className: `sequence${dense ? " dense" : ""}` }, ...tokens.map((token, t) => {
    const mark = MARKS[marks[t]];
    if (mark !== "asked") return make("span", { className: mark }, String(token));
    const open = answers[t] < 0, good = answers[t] === truth[t];
    const className = `asked ${open ? "open" : good ? "right" : "wrong"}`;
    const whole = `${token < 0 ? "" : `${token} → `}${open ? "?" : good ? `${answers[t]} ✓` : `${answers[t]} ✗ ${truth[t]}`}`;
    if (!dense) return make("span", { className }, whole);
    return make("span", { className, title: `${t + 1}: ${whole}` }, open ? (token < 0 ? "?" : String(token)) : `${answers[t]}${good ? "" : "✗"}`);
  }), make("p", { className: "hint" }, said));
}
