// @ts-check
/** Gray images on canvases in the page's own tones: 0 is paper, 255 is ink, in light and in dark. */

const theme = matchMedia("(prefers-color-scheme: dark)");
/** @type {Uint8ClampedArray|null} RGBA of every gray value */
let tones = null;

/** @param {() => void} listener told when the tones have changed, so that it draws anew */
export function onTones(listener) {
  theme.addEventListener("change", () => {
    tones = null;
    listener();
  });
}

function table() {
  if (tones) return tones;
  const style = getComputedStyle(document.documentElement);
  const [paper, ink] = ["--sheet", "--stroke"].map((name) => hex(style.getPropertyValue(name)));
  tones = new Uint8ClampedArray(1024);
  for (let gray = 0; gray < 256; gray++) {
    for (let channel = 0; channel < 3; channel++) tones[4 * gray + channel] = paper[channel] + ((ink[channel] - paper[channel]) * gray) / 255;
    tones[4 * gray + 3] = 255;
  }
  return tones;
}

/** @param {string} text "#rrggbb" */
function hex(text) {
  const value = parseInt(text.trim().slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

/** @param {string} base64 @returns {Uint8Array} one byte a pixel */
export function pixels(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

/** @param {Uint8Array} image side * side grays @param {number} side */
function toned(image, side) {
  const [from, to] = [table(), new ImageData(side, side)];
  for (let i = 0; i < side * side; i++) to.data.set(from.subarray(4 * image[i], 4 * image[i] + 4), 4 * i);
  return to;
}

/** One image, a canvas pixel a pixel. @param {HTMLCanvasElement} canvas @param {Uint8Array} image @param {number} side */
export function paint(canvas, image, side) {
  if (canvas.width !== side) canvas.width = canvas.height = side;
  canvas.getContext("2d")?.putImageData(toned(image, side), 0, 0);
}

/**
 * Images in rows, a gap between them; a missing one leaves its place empty.
 * @param {HTMLCanvasElement} canvas @param {(Uint8Array|undefined)[]} images @param {number} side
 * @param {number} columns @param {number} gap
 */
export function tile(canvas, images, side, columns, gap) {
  const rows = Math.ceil(images.length / columns);
  canvas.width = columns * (side + gap) - gap;
  canvas.height = rows * (side + gap) - gap;
  const context = canvas.getContext("2d");
  images.forEach((image, i) => {
    if (image) context?.putImageData(toned(image, side), (i % columns) * (side + gap), Math.floor(i / columns) * (side + gap));
  });
}

/**
 * A sheet of dark ink on white paper, cut into its images.
 * @param {string} uri @param {number} count @param {number} columns @param {number} side
 * @returns {Promise<Uint8Array[]>}
 */
export async function cut(uri, count, columns, side) {
  const sheet = new Image();
  sheet.src = uri;
  await sheet.decode();
  const canvas = document.createElement("canvas");
  canvas.width = sheet.naturalWidth;
  canvas.height = sheet.naturalHeight;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("This browser cannot draw.");
  context.drawImage(sheet, 0, 0);
  return Array.from({ length: count }, (_, i) => {
    const { data } = context.getImageData((i % columns) * side, Math.floor(i / columns) * side, side, side);
    return Uint8Array.from({ length: side * side }, (_, k) => 255 - data[4 * k]);
  });
}
