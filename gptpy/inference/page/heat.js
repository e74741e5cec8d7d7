// The colours of attention weights: viridis, which also colour-blind eyes read in order.

import { el } from "./dom.js";

// Equally spaced stops of matplotlib's map (public domain, CC0)
const STOPS = [
  [68, 1, 84], [72, 40, 120], [62, 73, 137], [49, 104, 142], [38, 130, 142],
  [31, 158, 137], [53, 183, 121], [110, 206, 88], [181, 222, 43], [253, 231, 37],
];

/** The colour of a weight in 0..1: of its square root, so that small ones can be told apart. */
export function heatColour(weight) {
  const at = Math.sqrt(Math.min(1, Math.max(0, weight))) * (STOPS.length - 1);
  const [low, share] = [Math.min(STOPS.length - 2, Math.floor(at)), at - Math.min(STOPS.length - 2, Math.floor(at))];
  const mixed = STOPS[low].map((from, i) => Math.round(from + share * (STOPS[low + 1][i] - from)));
  return `rgb(${mixed.join(",")})`;
}

/** What the colours mean. */
export function heatKey() {
  const marks = [0, 0.01, 0.05, 0.1, 0.25, 0.5, 1];
  return el(
    "ul",
    { class: "heat-key", "aria-label": "Colours of the weights" },
    marks.map((weight) => {
      const sample = el("span", { class: "swatch", "aria-hidden": "true" });
      sample.style.setProperty("background", heatColour(weight));
      return el("li", {}, sample, `${100 * weight} %`);
    }),
  );
}
