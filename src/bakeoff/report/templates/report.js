"use strict";
const scrubber = document.getElementById("scrubber");
if (scrubber) {
  const range = document.getElementById("step"), at = document.getElementById("at"), play = document.getElementById("play");
  const steps = Number(scrubber.dataset.steps);
  let timer = 0;
  const show = (step) => {
    range.value = step;
    at.value = step;
    scrubber.style.setProperty("--steps", steps);
    scrubber.style.setProperty("--at", step);
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
    play.setAttribute("aria-pressed", "false");
  };
  range.addEventListener("input", () => { stop(); show(Number(range.value)); });
  play.addEventListener("click", () => {
    if (timer) return stop();
    play.textContent = "Pause";
    play.setAttribute("aria-pressed", "true");
    if (Number(range.value) >= steps) show(0);
    timer = setInterval(() => {
      const next = Number(range.value) + 1;
      show(Math.min(next, steps));
      if (next >= steps) stop();
    }, 300);
  });
  show(steps);
}
