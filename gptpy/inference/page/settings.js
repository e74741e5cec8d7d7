// The settings of sampling: sliders that say what they do.

import { byId, el, freshId } from "./dom.js";

// `off`: the value that changes nothing; it is not sent. One plain sentence each.
const SETTINGS = [
  {
    field: "max_tokens", label: "Most new tokens", min: 1, max: 512, step: 1, value: 128,
    explain: "The text ends after this many new tokens, if it has not ended by itself before.",
  },
  {
    field: "temperature", label: "Temperature", min: 0, max: 2, step: 0.05, value: 0.8,
    explain: "Low values keep to the likeliest tokens, high ones take more unlikely ones; at 0 the likeliest is always taken.",
  },
  {
    field: "top_k", label: "Top-k", min: 0, max: 200, step: 1, value: 0, off: 0,
    explain: "Only this many of the likeliest tokens can be chosen.",
  },
  {
    field: "top_p", label: "Top-p", min: 0.05, max: 1, step: 0.01, value: 1, off: 1,
    explain: "Only the likeliest tokens that together have this share of the probability can be chosen.",
  },
  {
    field: "min_p", label: "Min-p", min: 0, max: 0.5, step: 0.01, value: 0, off: 0,
    explain: "A token less likely than this share of the likeliest one's probability cannot be chosen.",
  },
  {
    field: "repetition_penalty", label: "Repetition penalty", min: 1, max: 2, step: 0.01, value: 1, off: 1,
    explain: "Tokens that the prompt or the text already has become less likely: their scores are divided by this.",
  },
  {
    field: "presence_penalty", label: "Presence penalty", min: -2, max: 2, step: 0.1, value: 0, off: 0,
    explain: "Taken once from the score of every token that the new text already has.",
  },
  {
    field: "frequency_penalty", label: "Frequency penalty", min: -2, max: 2, step: 0.1, value: 0, off: 0,
    explain: "Taken from a token's score for each time that the new text has it.",
  },
];

/** Builds the panel; returns a function that gives the fields to send. */
export function buildSettings(place) {
  const inputs = new Map();
  for (const setting of SETTINGS) {
    const slider = oneSlider(setting);
    inputs.set(setting.field, slider);
    place.append(slider.element);
  }
  const seed = oneSeed();
  const reset = el(
    "button",
    {
      type: "button",
      class: "quiet",
      onclick() {
        for (const setting of SETTINGS) inputs.get(setting.field).set(setting.value);
        seed.input.value = "";
      },
    },
    "Back to the defaults",
  );
  place.append(seed.element, reset);
  return () => {
    const fields = {};
    for (const setting of SETTINGS) {
      const value = inputs.get(setting.field).value();
      if (value !== setting.off) fields[setting.field] = value;
    }
    const number = seed.input.value.trim();
    if (number) fields.seed = Number(number);
    return fields;
  };
}

/** A model of a short context cannot write more than that in one go without forgetting. */
export function limitTokens(contextTokens) {
  for (const input of document.querySelectorAll("[data-field=max_tokens]")) {
    input.max = Math.max(512, contextTokens);
  }
}

function oneSlider({ field, label, min, max, step, value, off, explain }) {
  const [id, text] = [freshId(field), freshId("explains")];
  const limits = { min, max, step, value, "data-field": field, "aria-describedby": text };
  const range = el("input", { type: "range", id, ...limits, autocomplete: "off" });
  const exact = el("input", {
    type: "number", ...limits, "aria-label": `${label}, exact`, inputmode: "decimal",
    autocomplete: "off",
  });
  const state = el("span", { class: "off" }, "off");
  const show = () => {
    const neutral = Number(range.value) === off;
    state.hidden = !neutral;
    range.setAttribute("aria-valuetext", neutral ? `${range.value}, off` : range.value);
  };
  range.addEventListener("input", () => {
    exact.value = range.value;
    show();
  });
  exact.addEventListener("change", () => {
    // What is no number, or outside, becomes the nearest that the slider has
    if (exact.value !== "") range.value = exact.value;
    exact.value = range.value;
    show();
  });
  show();
  const element = el(
    "div",
    { class: "setting" },
    el("label", { for: id }, label),
    state,
    exact,
    range,
    el("p", { id: text, class: "explains" }, explain),
  );
  return {
    element,
    value: () => Number(range.value),
    set(to) {
      exact.value = range.value = to;
      show();
    },
  };
}

function oneSeed() {
  const [id, text] = [freshId("seed"), freshId("explains")];
  const input = el("input", {
    id, type: "number", min: 0, step: 1, max: Number.MAX_SAFE_INTEGER, placeholder: "random",
    "aria-describedby": text, inputmode: "numeric", autocomplete: "off",
  });
  input.addEventListener("change", () => {
    if (input.value !== "" && !input.checkValidity()) {
      input.value = Math.min(Math.max(0, Math.round(Number(input.value))), Number.MAX_SAFE_INTEGER);
    }
  });
  const element = el(
    "div",
    { class: "setting" },
    el("label", { for: id }, "Seed"),
    input,
    el(
      "p",
      { id: text, class: "explains" },
      "The same seed with the same prompt and settings writes the same text again; without one each text is new.",
    ),
  );
  return { element, input };
}

/** Whether the panel is open: it starts closed where it would push the text off a small screen. */
export function foldSettings() {
  byId("settings").open = window.matchMedia("(min-width: 60rem)").matches;
}
