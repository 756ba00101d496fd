// @ts-check
/**
 * Keyboard shortcuts that stay out of the way: none while typing, none with a modifier, none where the focused control
 * has its own use of the key; and those of a single character can be switched off (WCAG 2.1.4).
 */

const TYPED = "input:not([type=range], [type=radio], [type=checkbox]), select, textarea";
const OWN = [
  { keys: [" ", "Enter"], where: "button, a, summary, input:not([type=range]), label" },
  { keys: ["ArrowLeft", "ArrowRight", "Home", "End"], where: "input, summary" },
];
const KEPT = "bakeoff-single-keys";

/**
 * @param {Record<string, (event: KeyboardEvent) => void>} actions by key, as in KeyboardEvent.key, letters in lower case
 * @param {HTMLInputElement} tick whether single characters count
 */
export function shortcuts(actions, tick) {
  tick.checked = localStorage.getItem(KEPT) !== "no";
  tick.addEventListener("change", () => localStorage.setItem(KEPT, tick.checked ? "yes" : "no"));
  document.addEventListener("keydown", (event) => {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const action = actions[key];
    const at = /** @type {Element} */ (event.target);
    if (!action || event.ctrlKey || event.metaKey || event.altKey || at.closest(TYPED)) return;
    if (OWN.some(({ keys, where }) => keys.includes(key) && at.closest(where))) return;
    if (!tick.checked && key.length === 1 && key !== " ") return;
    event.preventDefault();
    if (!event.repeat || key.length > 1) action(event); // a key held down votes once
  });
}
