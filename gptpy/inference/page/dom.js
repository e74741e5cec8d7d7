// Elements made by hand. Every text goes in as a text node: nothing here or elsewhere on the page
// reads markup, and the server's policy makes the browser refuse it.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children; `on...` attributes are listeners, false ones are left out. */
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same for a drawing. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(key, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const byId = (id) => document.getElementById(id);

/** Says a sentence to screen readers, politely; the page shows it elsewhere. */
export function announce(text) {
  const region = byId("announcements");
  region.append(el("p", {}, text));
  while (region.childElementCount > 20) region.firstElementChild.remove();
}

/** Shows an error in plain words in `place` (an element with role alert), or clears it. */
export function showError(place, error) {
  const text = error?.message ?? "";
  place.replaceChildren(text);
  place.hidden = !text;
}

/** Spaces, tabs and line breaks as signs: what is no letter can be seen. */
export function visible(text) {
  return text
    .replaceAll(" ", "·")
    .replaceAll("\t", "⇥")
    .replaceAll("\r", "␍")
    .replaceAll("\n", "↵")
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g, (c) =>
      c === "\u007f" ? "␡" : String.fromCharCode(0x2400 + c.charCodeAt(0)),
    );
}

/** A probability for people: two or three digits, never "0 %" for what was possible. */
export function percent(p) {
  const value = 100 * p;
  if (value > 0 && value < 0.01) return "< 0.01 %";
  if (value < 1) return `${value.toFixed(2)} %`;
  return `${value.toFixed(value < 99.95 && value < 100 ? 1 : 0)} %`;
}

/** An integer with thin spaces between thousands. */
export function grouped(number) {
  return Math.round(number).toString().replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

let number = 0;
/** An id that no other element has, for labels and descriptions. */
export const freshId = (word) => `${word}-${++number}`;

/** Arrow keys move the focus among `items()`, of which one at a time is in the tab order. */
export function roving(container, items, { vertical = true } = {}) {
  container.addEventListener("keydown", (event) => {
    const list = items();
    const at = list.indexOf(event.target);
    if (at < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
    const steps = { ArrowRight: 1, ArrowLeft: -1 };
    if (vertical) Object.assign(steps, { ArrowDown: 1, ArrowUp: -1 });
    let next = event.key in steps ? at + steps[event.key] : null;
    if (event.key === "Home") next = 0;
    if (event.key === "End") next = list.length - 1;
    if (next === null) return;
    event.preventDefault();
    list[Math.max(0, Math.min(list.length - 1, next))].focus();
  });
  container.addEventListener("focusin", (event) => {
    const list = items();
    if (!list.includes(event.target)) return;
    for (const item of list) item.tabIndex = item === event.target ? 0 : -1;
  });
}
