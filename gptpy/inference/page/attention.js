// Attention maps of a text: all heads of a layer small, one head large, one token in words.

import { request } from "./api.js";
import { announce, byId, el, showError } from "./dom.js";
import { drawMaps, KINDS } from "./maps.js";
import { Task } from "./task.js";

/** Connects the tab; returns what takes the facts of /page/run. */
export function startAttention() {
  const [form, text, kind, layer] = ["attention-form", "attention-text", "attention-kind", "attention-layer"].map(byId);
  const [error, place] = [byId("attention-error"), byId("attention-maps")];
  const task = new Task(byId("attention-stop"), byId("attention-show"));
  let about = null;
  let head = 0;

  const show = () =>
    task.run(async (signal) => {
      showError(error, null);
      place.setAttribute("aria-busy", "true");
      try {
        const body = { text: text.value, kind: kind.value || null, layer: Number(layer.value) };
        if (!body.text) throw new Error("Write a text first.");
        const maps = await request("/page/attention", body, signal);
        place.replaceChildren(...drawMaps(maps, Math.min(head, maps.weights.length - 1), (to) => (head = to)));
        announce(`Attention of ${maps.weights.length} heads on ${maps.looked_at.length} tokens is shown.`);
      } catch (failure) {
        if (failure.name !== "AbortError") showError(error, failure);
      } finally {
        place.removeAttribute("aria-busy");
      }
    });

  function listLayers() {
    const count = kind.value === "encoder" ? about.encoder_layers : about.layers;
    const options = Array.from({ length: count }, (_, i) => el("option", { value: i }, `layer ${i + 1}`));
    layer.replaceChildren(...options);
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    show();
  });
  // Once there is a map, the choosers change it at once
  kind.addEventListener("change", () => {
    listLayers();
    if (place.childElementCount) show();
  });
  layer.addEventListener("change", () => place.childElementCount && show());
  return (facts) => {
    about = facts.attention;
    kind.replaceChildren(...about.kinds.map((name) => el("option", { value: name }, KINDS[name])));
    byId("attention-kind-part").hidden = about.kinds.length < 2;
    listLayers();
    byId("attention-none").hidden = about.kinds.length > 0;
    form.hidden = about.kinds.length === 0;
    byId("attention-limit").textContent = `The first ${about.most_tokens} tokens are shown.`;
  };
}
