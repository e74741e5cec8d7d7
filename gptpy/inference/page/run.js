// The run at a glance: settings, results, loss curve, samples.

import { drawCurve } from "./chart.js";
import { byId, el, grouped } from "./dom.js";

const MODEL = {
  architecture: "architecture",
  n_layer: "layers",
  n_encoder_layer: "layers of the encoder",
  n_head: "heads",
  n_kv_head: "key and value heads",
  n_embd: "width",
  block_size: "context (tokens)",
  vocab_size: "vocabulary (tokens)",
  position: "positions",
  norm: "normalisation",
  activation: "activation",
  tied_head: "output layer shares the embedding",
  window: "sliding window (tokens)",
  dropout: "dropout",
};
const RESULTS = {
  steps: "steps",
  tokens: "tokens trained on",
  best_val_loss: "best validation loss (nats per token)",
  best_step: "best step",
  val_loss: "validation loss (nats per token)",
  bits_per_byte: "bits per byte",
  perplexity: "perplexity",
  tokens_per_second: "training speed (tokens/s)",
  seconds: "time (s)",
  stopped: "ended",
};

/** Shows the facts of /page/run. */
export function showRun(facts) {
  const { model, summary } = facts;
  byId("run-model").replaceChildren(
    ...listed([
      ["name", facts.name],
      ["checkpoint", `step ${grouped(facts.step)} (${facts.chosen})`],
      ["parameters", facts.parameters],
      ...named(MODEL, model),
    ]),
  );
  const results = named(RESULTS, summary);
  byId("run-results").replaceChildren(...listed(results));
  byId("run-results-part").hidden = results.length === 0;
  drawCurve(byId("curve"), facts.curve);
  const { text, cut } = facts.samples;
  byId("samples").textContent = text;
  byId("samples-part").hidden = !text;
  byId("samples-cut").textContent = cut ? `The first ${grouped(cut)} bytes of samples.txt are left out.` : "";
}

const named = (names, values) =>
  Object.entries(names).filter(([key]) => key in values).map(([key, name]) => [name, values[key]]);

function listed(pairs) {
  return pairs.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, shown(value))));
}

function shown(value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return grouped(value);
  return Math.abs(value) >= 1000 ? grouped(value) : String(Number(value.toPrecision(5)));
}
