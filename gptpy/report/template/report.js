// What the report draws from its data: the loss curve, the tokens, the attention explorer.

import { drawCurve } from "./chart.js";
import { announce, byId, el } from "./dom.js";
import { drawMaps, KINDS } from "./maps.js";
import { legend, TokensView } from "./tokens.js";

const data = JSON.parse(byId("data").textContent);

if (byId("curve")) drawCurve(byId("curve"), data.curve);

if (byId("token-view")) {
  const view = new TokensView();
  view.add(data.tokens);
  byId("token-view").replaceChildren(legend(), view.element);
}

if (byId("attention-maps")) startExplorer();

function startExplorer() {
  const [text, kind, layer] = ["text", "kind", "layer"].map((name) => byId(`attention-${name}`));
  const place = byId("attention-maps");
  let head = data.first_head;
  const options = (values) => values.map(([value, name]) => el("option", { value }, name));
  const chosen = () => data.attention[text.value].kinds[kind.value];

  function listKinds() {
    const kinds = data.attention[text.value].kinds;
    const before = kind.value;
    kind.replaceChildren(...options(kinds.map((one, i) => [i, KINDS[one.kind]])));
    if (before && before < kinds.length) kind.value = before;
    kind.parentElement.hidden = kinds.length < 2;
    listLayers();
  }

  function listLayers() {
    const before = layer.value;
    layer.replaceChildren(...options(chosen().layers.map((number, i) => [i, `layer ${number + 1}`])));
    if (before && before < chosen().layers.length) layer.value = before;
  }

  function show() {
    const maps = weightsOf(chosen(), Number(layer.value));
    place.replaceChildren(...drawMaps(maps, Math.min(head, maps.weights.length - 1), (to) => (head = to)));
    announce(`Attention of ${maps.weights.length} heads on ${maps.looked_at.length} tokens is shown.`);
  }

  text.replaceChildren(...options(data.attention.map((one, i) => [i, one.name])));
  text.parentElement.hidden = data.attention.length < 2;
  listKinds();
  layer.value = data.first_layer;
  for (const [box, list] of [[text, listKinds], [kind, listLayers], [layer, null]]) {
    box.addEventListener("change", () => {
      list?.();
      show();
    });
  }
  byId("attention-choice").hidden = false;
  show();
}

/** One layer's maps in the form of the server's answers; the weights are packed, see explorer.py. */
function weightsOf(packed, index) {
  const bytes = Uint8Array.from(atob(packed.weights), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const [, heads, rows, columns] = packed.shape;
  const at = (head, row, column) => 2 * (((index * heads + head) * rows + row) * columns + column);
  const weight = (...place) => (view.getUint16(at(...place), true) / 65535) ** 2;
  const count = (length, make) => Array.from({ length }, (_, i) => make(i));
  return {
    kind: packed.kind,
    layer: packed.layers[index],
    tokens: packed.tokens,
    looked_at: packed.looked_at,
    left_out: 0,
    weights: count(heads, (h) => count(rows, (y) => count(columns, (x) => weight(h, y, x)))),
  };
}
