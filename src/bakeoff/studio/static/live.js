// @ts-check
/** The live page: a run under way, as its directory tells it. */

import { curves, figure } from "./live-chart.js";
import { byId, colour, counted, make, showError, swatch } from "./page.js";

const WORDS = { waiting: "waiting", training: "training", done: "done", diverged: "diverged" };
const DASHED_FROM = 4; // further backbones are told apart by their dashes too
const AGAIN_MS = 3000;

/** @type {any} */
let state = null;

/** @param {any} now */
function show(now) {
  state = now;
  showError();
  const names = [...new Set(now.trials.map((/** @type {any} */ trial) => trial.backbone))];
  byId("headline").textContent = now.verdict || (now.done === now.planned ? "All trials are done" : "The run is under way");
  document.title = `${now.done} of ${now.planned} · live · bakeoff studio`;
  byId("done").textContent = `${now.done} of ${counted(now.planned, "trial")} done`;
  byId("overall").value = worked(now);
  byId("left").textContent = now.done === now.planned ? "" : time(now.seconds_left);
  byId("verdict-hint").hidden = !now.verdict;
  byId("parts").replaceChildren(...Object.entries(now.parts).map(([name, done]) => make("li", { className: done ? "done" : "" },
    make("span", { ariaHidden: "true" }, done ? "✓" : "○"), `${name}: ${done ? "done" : "to come"}`)));
  byId("legend").replaceChildren(...names.map((name, index) => make("li", {}, swatch(index), String(name))));
  byId("trials").replaceChildren(...now.trials.map((/** @type {any} */ trial) => row(trial, names.indexOf(trial.backbone))));
  draw();
}

/** The share of all steps that is done. @param {any} now */
function worked({ trials, planned }) {
  const share = trials.reduce((/** @type {number} */ sum, /** @type {any} */ one) =>
    sum + (one.status === "done" || one.status === "diverged" ? 1 : one.steps ? one.step / one.steps : 0), 0);
  return planned ? share / planned : 0;
}

/** @param {any} trial @param {number} index of its backbone */
function row(trial, index) {
  const meter = make("div", { className: "bar", ariaHidden: "true" });
  meter.style.setProperty("--share", String(trial.steps ? Math.min(trial.step / trial.steps, 1) : 0));
  meter.style.setProperty("--colour", colour(index));
  return make("tr", { className: trial.status }, make("th", { scope: "row" }, swatch(index), `${trial.backbone} `, make("span", { className: "seed" }, trial.label)),
    make("td", {}, make("span", { className: `chip ${trial.status}` }, WORDS[/** @type {"done"} */ (trial.status)] ?? trial.status)),
    make("td", { className: "n" }, String(trial.step), make("span", { className: "whole" }, ` of ${trial.steps}`), meter),
    make("td", { className: "n" }, trial.loss === null ? "–" : figure(trial.loss)));
}

/** @param {number|null} seconds */
function time(seconds) {
  if (seconds === null) return "Time left: not known yet";
  if (seconds < 60) return "Less than a minute left";
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `About ${counted(minutes, "minute")} left`;
  const hours = Math.round(minutes / 60);
  return hours < 36 ? `About ${counted(hours, "hour")} left` : `About ${counted(Math.round(hours / 24), "day")} left`;
}

function draw() {
  if (!state) return;
  const names = [...new Set(state.trials.map((/** @type {any} */ trial) => trial.backbone))];
  const lines = state.trials.map((/** @type {any} */ trial) => {
    const index = names.indexOf(trial.backbone);
    const points = trial.curve.filter((/** @type {number[]} */ [, loss]) => Number.isFinite(loss) && loss > 0);
    return { colour: colour(index), dashed: index >= DASHED_FROM, label: `${trial.backbone}, ${trial.label}`, points };
  });
  const steps = Math.max(1, ...state.trials.map((/** @type {any} */ trial) => trial.steps));
  byId("chart").replaceChildren(curves(lines, steps, Math.max(byId("chart").clientWidth, 240)));
}

/** @param {string} text @param {"on"|"off"|"over"} how */
function link(text, how) {
  if (byId("link").textContent !== text) byId("link").textContent = text; // said once, not at every try
  byId("link").dataset.how = how;
}

function watch() {
  const source = new EventSource("api/live");
  source.addEventListener("open", () => link("Watching", "on"));
  source.addEventListener("error", () => {
    link("Reconnecting …", "off");
    // the browser tries again by itself after a lost line, but not after a refusal
    if (source.readyState === EventSource.CLOSED) setTimeout(watch, AGAIN_MS);
  });
  source.addEventListener("problem", (event) => showError(JSON.parse(event.data).error));
  source.addEventListener("state", (event) => {
    const now = JSON.parse(event.data);
    show(now);
    if (!now.finished) return;
    link("Finished", "over");
    source.close();
  });
}

watch();
let width = 0;
new ResizeObserver(() => {
  if (byId("chart").clientWidth !== width) draw();
  width = byId("chart").clientWidth;
}).observe(byId("chart"));
