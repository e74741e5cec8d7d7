// The playground: one text in two encodings, side by side.

import { request } from "./api.js";
import { byId, el, grouped, showError, visible } from "./dom.js";

const MOST_SHOWN = 2000; // pieces on the page; the counts are of all
const WAIT = 250; // milliseconds without a key before the text is sent

/** Connects the tab; the encodings come with the run. */
export function startTokenizer() {
  const text = byId("tokenizer-text");
  const error = byId("tokenizer-error");
  const sides = ["left", "right"].map((side) => ({
    choice: byId(`encoding-${side}`),
    count: byId(`count-${side}`),
    pieces: byId(`pieces-${side}`),
    ids: byId(`ids-${side}`),
    running: null,
  }));
  let waiting = null;

  const own = (side) => side.choice.value === "run";

  async function show(side) {
    side.running?.abort();
    const controller = (side.running = new AbortController());
    const asked = text.value;
    if (!asked) {
      side.count.textContent = "0 tokens";
      side.pieces.replaceChildren();
      side.ids.textContent = "";
      return;
    }
    try {
      const body = own(side) ? { text: asked } : { text: asked, encoding: side.choice.value };
      const { ids, tokens, count } = await request("/tokenize", body, controller.signal);
      showError(error, null);
      const characters = [...asked].length;
      const ratio = count ? (characters / count).toFixed(2) : "0";
      side.count.textContent = `${grouped(count)} tokens, ${ratio} characters a token`;
      side.pieces.replaceChildren(...pieces(ids, tokens));
      side.ids.textContent = ids.slice(0, MOST_SHOWN).join(" ") + (ids.length > MOST_SHOWN ? " …" : "");
    } catch (failure) {
      if (failure.name === "AbortError") return;
      // What is shown must not look like the tokens of this text
      side.count.textContent = "";
      side.pieces.replaceChildren();
      side.ids.textContent = "";
      showError(error, failure);
    }
  }

  const showBoth = () => sides.forEach(show);
  text.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(showBoth, WAIT);
  });
  for (const side of sides) side.choice.addEventListener("change", () => show(side));
  return {
    showBoth,
    encodings(names) {
      for (const [i, side] of sides.entries()) {
        const options = names.map((name) =>
          el("option", { value: name }, name === "run" ? "this run’s own" : name),
        );
        side.choice.replaceChildren(...options);
        side.choice.selectedIndex = Math.min(i, options.length - 1);
      }
    },
  };
}

function pieces(ids, tokens) {
  const found = tokens.slice(0, MOST_SHOWN).map((token, i) =>
    el(
      "li",
      { class: `piece-box c${i % 4}${token.includes("\n") ? " breaks" : ""}` },
      el("code", {}, visible(token) || "(nothing)"),
      el("span", { class: "id" }, ids[i]),
    ),
  );
  if (tokens.length > MOST_SHOWN) {
    found.push(el("li", {}, `and ${grouped(tokens.length - MOST_SHOWN)} more`));
  }
  return found;
}
