// Attention maps drawn: all heads of a layer small, one head large, one token in words.

import { el, grouped, percent, roving, svg, visible } from "./dom.js";
import { heatColour, heatKey } from "./heat.js";

export const KINDS = {
  self: "self-attention",
  cross: "from the reply to the text (cross-attention)",
  encoder: "inside the text (encoder)",
};
const EXPLAINED =
  "Each row is a token; the colours say how much it takes from each token. Choose a token for the figures:";
const label = ({ text, id }) => visible(text) || `<${id}>`;
const short = (text) => ([...text].length > 12 ? `${[...text].slice(0, 11).join("")}…` : text);

/**
 * The elements that show `maps` ({ kind, layer, tokens, looked_at, left_out, weights }), head
 * `chosen` large. `onHead(head)`: another one was chosen.
 */
export function drawMaps(maps, chosen, onHead) {
  const large = el("div", {});
  const heads = el(
    "div",
    { class: "heads", role: "radiogroup", "aria-label": "Head" },
    maps.weights.map((weights, i) =>
      el(
        "button",
        {
          type: "button", role: "radio", "aria-checked": String(i === chosen), tabindex: i === chosen ? 0 : -1,
          "aria-label": `head ${i + 1}`, onclick: () => choose(i), onfocus: () => choose(i),
        },
        thumbnail(maps, weights),
        el("span", { "aria-hidden": "true" }, `head ${i + 1}`),
      ),
    ),
  );
  roving(heads, () => [...heads.children]);
  let drawn = -1;
  function choose(i) {
    if (i === drawn) return;
    drawn = i;
    [...heads.children].forEach((button, j) => button.setAttribute("aria-checked", String(i === j)));
    onHead(i);
    large.replaceChildren(...largeMap(maps, i));
  }
  choose(chosen);
  const count = maps.left_out;
  const left = count
    ? el("p", { class: "hint" }, `${grouped(count)} more token${count === 1 ? " is" : "s are"} not shown.`)
    : null;
  return [left, heads, large].filter(Boolean);
}

/** Whether row y can look at column x: in a decoder no token sees what comes after it. */
const seen = (maps, y, x) => maps.kind !== "self" || x <= y;

/** A whole head in a few pixels: one for each weight. */
function thumbnail(maps, weights) {
  const canvas = el("canvas", { width: weights[0].length, height: weights.length, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  weights.forEach((row, y) =>
    row.forEach((weight, x) => {
      if (!seen(maps, y, x)) return;
      context.fillStyle = heatColour(weight);
      context.fillRect(x, y, 1, 1);
    }),
  );
  return canvas;
}

function largeMap(maps, head) {
  const weights = maps.weights[head];
  const words = el("div", { class: "looks", "aria-live": "polite" });
  const tokens = el(
    "div",
    { class: "tokens", role: "radiogroup", "aria-label": "Token whose attention is listed" },
    maps.tokens.map((token, i) =>
      el(
        "button",
        {
          type: "button", class: "token", role: "radio", "aria-checked": "false", tabindex: i ? -1 : 0,
          onclick: () => look(i), onfocus: () => look(i),
        },
        label(token),
      ),
    ),
  );
  roving(tokens, () => [...tokens.children]);
  const map = heatMap(maps, weights, (row) => look(row));
  let looking = -1;
  function look(row) {
    if (row === looking) return;
    looking = row;
    [...tokens.children].forEach((button, i) => button.setAttribute("aria-checked", String(i === row)));
    for (const mark of map.querySelectorAll(".row-mark")) mark.setAttribute("y", mark.dataset.top * row);
    words.replaceChildren(...inWords(maps, weights[row], row));
  }
  look(weights.length - 1);
  return [
    el("h3", {}, `Layer ${maps.layer + 1}, head ${head + 1}`),
    el(
      "div",
      { class: "map-and-words" },
      el(
        "div",
        {},
        el("div", { class: "scrolls", tabindex: 0, role: "region", "aria-label": "Attention map" }, map),
        heatKey(),
      ),
      el(
        "div",
        {},
        el("p", { class: "hint" }, EXPLAINED),
        tokens,
        words,
      ),
    ),
  ];
}

function inWords(maps, row, index) {
  const best = row.map((weight, i) => [weight, i]).sort((a, b) => b[0] - a[0]).slice(0, 5).filter(([w]) => w > 0);
  return [
    el("p", {}, el("code", { class: "piece" }, label(maps.tokens[index])), ` (token ${index + 1}) looks at`),
    el(
      "ol",
      {},
      best.map(([weight, i]) => {
        const bar = el("span", { class: "bar", "aria-hidden": "true" });
        bar.style.setProperty("width", `${Math.max(1, 100 * weight)}%`);
        return el(
          "li",
          {},
          el("code", { class: "piece" }, label(maps.looked_at[i])),
          el("span", { class: "number" }, percent(weight)),
          el("span", { class: "same" }, `token ${i + 1}`),
          bar,
        );
      }),
    ),
  ];
}

function heatMap(maps, weights, onRow) {
  const [rows, columns] = [weights.length, weights[0].length];
  const cell = Math.max(11, Math.min(26, Math.floor(560 / Math.max(rows, columns))));
  const names = [...maps.tokens, ...maps.looked_at].map((token) => [...short(label(token))].length);
  const size = Math.min(12, cell - 1);
  const space = 12 + 0.72 * size * Math.max(...names);
  const map = svg("svg", {
    class: "heat", width: space + columns * cell + 4, height: space + rows * cell + 4, role: "img",
    "aria-label": `Attention weights of ${rows} tokens on ${columns} tokens; the list below gives the figures.`,
    "font-size": size,
  });
  const grid = svg("g", { transform: `translate(${space} ${space})` });
  weights.forEach((row, y) =>
    row.forEach((weight, x) => {
      if (!seen(maps, y, x)) return;
      grid.append(
        svg("rect", { x: x * cell, y: y * cell, width: cell - 1, height: cell - 1, fill: heatColour(weight) },
          svg("title", {}, `${label(maps.tokens[y])} looks at ${label(maps.looked_at[x])}: ${percent(weight)}`)),
      );
    }),
  );
  maps.tokens.forEach((token, y) =>
    grid.append(svg("text", { x: -6, y: (y + 0.5) * cell + size / 3, "text-anchor": "end" }, short(label(token)))),
  );
  maps.looked_at.forEach((token, x) =>
    grid.append(
      svg(
        "text",
        { transform: `translate(${(x + 0.5) * cell + size / 3} -6) rotate(-90)` },
        short(label(token)),
      ),
    ),
  );
  const mark = { class: "row-mark", "data-top": cell, x: -1, y: 0, height: cell };
  grid.append(svg("rect", { ...mark, width: columns * cell + 1 }));
  grid.addEventListener("pointerover", (event) => {
    if (event.target.hasAttribute("fill")) {
      onRow(Math.round(Number(event.target.getAttribute("y")) / cell));
    }
  });
  map.append(grid);
  return map;
}
