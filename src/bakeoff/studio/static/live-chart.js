// @ts-check
/** Loss curves as SVG: one line a trial, logarithmic where the losses range over more than a factor of 20. */

const SPACE = "http://www.w3.org/2000/svg";
const MARGIN = { left: 52, right: 14, top: 10, bottom: 38 };
const LOGARITHMIC_FROM = 20;

/** @typedef {{colour: string, dashed: boolean, label: string, points: [number, number][]}} Line */

/**
 * @param {Line[]} lines of positive finite losses over steps
 * @param {number} steps where the axis ends
 * @param {number} width CSS pixels
 * @returns {SVGElement}
 */
export function curves(lines, steps, width) {
  const height = Math.round(Math.min(Math.max(0.4 * width, 220), 420));
  const losses = lines.flatMap((line) => line.points.map(([, loss]) => loss));
  const y = losses.length ? scale(Math.min(...losses), Math.max(...losses)) : scale(0, 1);
  const [right, bottom] = [width - MARGIN.right, height - MARGIN.bottom];
  /** @param {number} step */
  const across = (step) => MARGIN.left + ((right - MARGIN.left) * step) / steps;
  /** @param {number} loss */
  const up = (loss) => bottom - (bottom - MARGIN.top) * y.at(loss);

  const svg = node("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img" });
  svg.setAttribute("aria-label", "Loss over steps, one line a trial; the table below holds the present values");
  for (const tick of y.ticks) {
    svg.append(node("line", { class: "grid", x1: MARGIN.left, x2: right, y1: up(tick), y2: up(tick) }),
      text(figure(tick), { x: MARGIN.left - 8, y: up(tick) + 4, "text-anchor": "end" }));
  }
  for (const tick of even(0, steps, Math.max(2, Math.floor(width / 110)))) {
    svg.append(node("line", { class: "tick-mark", x1: across(tick), x2: across(tick), y1: bottom, y2: bottom + 4 }),
      text(String(tick), { x: across(tick), y: bottom + 18, "text-anchor": "middle" }));
  }
  svg.append(node("line", { class: "axis", x1: MARGIN.left, x2: right, y1: bottom, y2: bottom }),
    text("step", { x: right, y: height - 4, "text-anchor": "end" }));
  for (const line of lines) {
    if (!line.points.length) continue;
    const points = line.points.map(([step, loss]) => `${across(step).toFixed(1)},${up(loss).toFixed(1)}`);
    const path = node("polyline", { class: "curve", points: points.join(" ") });
    if (line.dashed) path.setAttribute("stroke-dasharray", "6 3");
    path.style.setProperty("stroke", line.colour);
    const [x, end] = points[points.length - 1].split(",");
    const dot = node("circle", { cx: x, cy: end, r: 2.6 });
    dot.style.setProperty("fill", line.colour);
    const title = node("title", {});
    title.textContent = line.label;
    path.append(title);
    svg.append(path, dot);
  }
  return svg;
}

/** @param {number} low @param {number} high @returns {{at: (value: number) => number, ticks: number[]}} `at` from 0 to 1 */
export function scale(low, high) {
  if (low > 0 && high > LOGARITHMIC_FROM * low) {
    const [from, to] = [Math.log(low), Math.log(high)];
    const decades = Array.from({ length: Math.ceil(Math.log10(high / low)) + 2 }, (_, i) => 10 ** (Math.floor(Math.log10(low)) + i));
    const ticks = decades.flatMap((decade) => [1, 2, 5].map((leading) => leading * decade));
    return { at: (value) => (Math.log(value) - from) / (to - from), ticks: ticks.filter((tick) => tick >= low && tick <= high) };
  }
  const room = 0.04 * (high - low) || 0.04 * Math.abs(high) || 1;
  const [from, to] = [low - room, high + room];
  return { at: (value) => (value - from) / (to - from), ticks: even(from, to, 6) };
}

/** About `count` round numbers in a range. @param {number} from @param {number} to @param {number} count */
function even(from, to, count) {
  const rough = (to - from) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const apart = ([1, 2, 5].find((leading) => leading * power >= rough) ?? 10) * power;
  const first = Math.ceil(from / apart - 1e-9);
  return Array.from({ length: Math.floor(to / apart + 1e-9) - first + 1 }, (_, i) => Number(((first + i) * apart).toPrecision(12)));
}

/** @param {number} value */
export function figure(value) {
  const size = Math.abs(value);
  return value !== 0 && (size >= 1e4 || size < 1e-3) ? value.toExponential(1) : String(Number(value.toPrecision(4)));
}

/** @param {string} tag @param {Record<string, string|number>} attributes @returns {SVGElement} */
function node(tag, attributes) {
  const element = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}

/** @param {string} content @param {Record<string, string|number>} attributes */
function text(content, attributes) {
  const element = node("text", attributes);
  element.textContent = content;
  return element;
}
