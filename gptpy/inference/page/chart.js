// The loss curve, drawn as SVG at the width that there is.

import { el, grouped, svg } from "./dom.js";

const [HEIGHT, LEFT, TOP, BOTTOM] = [320, 58, 14, 46];

/** Draws `curve` (of /page/run) into `place`, and again when the width changes. */
export function drawCurve(place, curve) {
  const { training, validation } = curve;
  if (!training.length && !validation.length) {
    place.replaceChildren(el("p", { class: "hint" }, "This run has no metrics: there is no curve to show."));
    return;
  }
  const frame = el("div", { class: "chart" });
  place.replaceChildren(frame, keys(curve), table(curve));
  const draw = () => frame.replaceChildren(picture(curve, Math.max(260, frame.clientWidth)));
  new ResizeObserver(draw).observe(frame);
}

/** Round numbers that cover low to high, about `count` of them. */
export function ticks(low, high, count) {
  const raw = (high - low || 1) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw) ?? raw;
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i++) found.push(i * step);
  return { values: found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

function picture({ training, validation, bits_per_nat: ratio }, width) {
  const right = ratio ? 58 : 26;
  const steps = [...training.map((p) => p[0]), ...validation.map((p) => p[0])];
  const losses = [...training.flatMap((p) => [p[2], p[3]]), ...validation.map((p) => p[1])];
  const [lowX, highX] = [Math.min(0, ...steps), Math.max(1, ...steps)];
  const [least, most] = [Math.min(...losses), Math.max(...losses)];
  const margin = (most - least || 1) * 0.05;
  const [lowY, highY] = [least >= 0 ? Math.max(0, least - margin) : least - margin, most + margin];
  const x = (step) => LEFT + ((step - lowX) / (highX - lowX)) * (width - LEFT - right);
  const y = (loss) => TOP + (1 - (loss - lowY) / (highY - lowY)) * (HEIGHT - TOP - BOTTOM);
  const path = (points) => points.map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");

  const across = ticks(lowX, highX, width < 480 ? 4 : 7);
  const up = ticks(lowY, highY, 6);
  const drawing = svg("svg", {
    width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img",
    "aria-label": inWords({ training, validation }),
  });
  for (const value of up.values) {
    drawing.append(
      svg("line", { class: "grid", x1: LEFT, x2: width - right, y1: y(value), y2: y(value) }),
      svg("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(up.digits)),
    );
  }
  if (ratio) {
    const bits = ticks(lowY * ratio, highY * ratio, 6);
    for (const value of bits.values) {
      const text = value.toFixed(bits.digits);
      drawing.append(svg("text", { x: width - right + 8, y: y(value / ratio) + 4 }, text));
    }
    const place = `translate(${width - 8} ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)`;
    drawing.append(svg("text", { "text-anchor": "middle", transform: place }, "bits per byte"));
  }
  for (const value of across.values) {
    drawing.append(
      svg("line", { class: "grid", x1: x(value), x2: x(value), y1: TOP, y2: HEIGHT - BOTTOM }),
      svg("text", { x: x(value), y: HEIGHT - BOTTOM + 18, "text-anchor": "middle" }, grouped(value)),
    );
  }
  drawing.append(
    svg("text", { x: (LEFT + width - right) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, "training step"),
    svg(
      "text",
      { x: 0, y: 0, "text-anchor": "middle", transform: `translate(13 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)` },
      "loss (nats per token)",
    ),
  );
  if (training.length) {
    const upper = training.map((p) => [p[0], p[3]]);
    const lower = training.map((p) => [p[0], p[2]]).reverse();
    if (training.some((p) => p[2] !== p[3])) {
      drawing.append(svg("path", { class: "band", d: `${path([...upper, ...lower])}Z` }));
    }
    drawing.append(svg("path", { class: "line training", d: path(training) }));
  }
  const alike = validation.filter((p) => p[2] === validation[0][2]);
  if (alike.length > 1) drawing.append(svg("path", { class: "line validation", d: path(alike) }));
  for (const point of validation) {
    drawing.append(diamond(x(point[0]), y(point[1]), point[2] === validation[0][2] ? "point" : "point other"));
  }
  return drawing;
}

const diamond = (x, y, name) =>
  svg("path", { class: name, d: `M${x} ${y - 5}L${x + 5} ${y}L${x} ${y + 5}L${x - 5} ${y}Z` });

/** The curve in a sentence or two. */
export function inWords({ training, validation }) {
  const parts = [];
  if (training.length) {
    const [first, last] = [training[0], training[training.length - 1]];
    parts.push(
      `Training loss goes from ${first[1].toFixed(2)} to ${last[1].toFixed(2)} nats per token over ${last[0]} steps.`,
    );
  }
  if (validation.length) {
    const best = validation.reduce((a, b) => (b[1] < a[1] ? b : a));
    parts.push(`The lowest validation loss is ${best[1].toFixed(3)}, at step ${best[0]}.`);
  }
  return `Loss curve. ${parts.join(" ")}`;
}

function keys({ training, validation, not_finite }) {
  const sign = (...parts) => svg("svg", { width: 30, height: 14, "aria-hidden": "true" }, ...parts);
  const items = [];
  if (training.length) {
    const band = training.some((p) => p[2] !== p[3]);
    items.push([
      sign(
        band && svg("rect", { class: "band", x: 0, y: 1, width: 30, height: 12 }),
        svg("path", { class: "line training", d: "M0 7L30 7" }),
      ),
      band ? "training: mean, and lowest to highest" : "training",
    ]);
  }
  if (validation.length) {
    const line = svg("path", { class: "line validation", d: "M0 7L30 7" });
    items.push([sign(line, diamond(15, 7, "point")), "validation"]);
  }
  const strides = new Set(validation.map((p) => p[2]).filter((stride) => stride !== validation[0][2]));
  for (const stride of strides) {
    items.push([sign(diamond(15, 7, "point other")), `validation, windows moved on by ${stride} tokens`]);
  }
  return el(
    "div",
    {},
    el("ul", { class: "keys" }, items.map(([picture, text]) => el("li", {}, picture, text))),
    not_finite ? el("p", { class: "hint" }, `${not_finite} values that are no numbers are left out.`) : null,
  );
}

function table({ training, validation }) {
  const every = Math.max(1, Math.ceil(training.length / 20));
  const chosen = training.filter((_, i) => i % every === 0 || i === training.length - 1);
  const rows = [
    ...chosen.map((p) => [p[0], "training", p[1]]),
    ...validation.map((p) => [p[0], "validation", p[1]]),
  ]
    .sort((a, b) => a[0] - b[0])
    .map(([step, of, loss]) => [grouped(step), of, loss.toFixed(4)]);
  const names = ["step", "of", "loss (nats per token)"];
  return el(
    "details",
    {},
    el("summary", {}, "The figures as a table"),
    el(
      "div",
      { class: "scrolls", tabindex: 0, role: "region", "aria-label": "Figures of the loss curve" },
      el(
        "table",
        {},
        el("thead", {}, el("tr", {}, names.map((name) => el("th", { scope: "col" }, name)))),
        el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell) => el("td", {}, cell))))),
      ),
    ),
  );
}
