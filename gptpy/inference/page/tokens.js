// The tokens view: each token coloured by its probability; its alternatives on hover or focus.

import { el, freshId, percent, roving, visible } from "./dom.js";

// Lower bounds of the classes p0 (likeliest) to p5. The least likely ones are underlined as well.
const BOUNDS = [0.9, 0.5, 0.2, 0.05, 0.01, 0];
const NAMES = ["90 % and more", "50 to 90 %", "20 to 50 %", "5 to 20 %", "1 to 5 %", "below 1 %"];

const classOf = (p) => `p${BOUNDS.findIndex((bound) => p >= bound)}`;
const probability = (logprob) => Math.exp(logprob);

/** What the colours mean. */
export function legend() {
  return el(
    "div",
    { class: "legend" },
    el("p", {}, "Probability of each token, as the model gave it before temperature and filters:"),
    el(
      "ul",
      {},
      NAMES.map((name, i) => el("li", {}, el("span", { class: `sample p${i}` }, "token"), ` ${name}`)),
    ),
  );
}

/**
 * Tokens of one text. `onContinue(index, alternative)`: go on with it instead of token `index`;
 * without it, the alternatives are only listed.
 */
export class TokensView {
  constructor(onContinue = null) {
    this.onContinue = onContinue;
    this.tokens = [];
    this.shown = -1;
    this.list = el("div", { class: "tokens", dir: "auto", role: "group", "aria-label": "Tokens of the text" });
    const id = freshId("about-token");
    this.about = el("div", { class: "about-token", id, hidden: true, role: "group", "aria-label": "About this token" });
    this.element = el("div", { class: "tokens-view" }, this.list, this.about);
    roving(this.list, () => [...this.list.querySelectorAll(".token")]);
    this.list.addEventListener("focusin", (event) => this.#show(event.target));
    this.list.addEventListener("pointerover", (event) => this.#hover(event.target));
    this.list.addEventListener("click", (event) => this.#pin(event.target));
    this.element.addEventListener("keydown", (event) => this.#key(event));
    this.element.addEventListener("pointerleave", () => this.#leave());
    this.about.addEventListener("pointerenter", () => clearTimeout(this.waiting));
    this.element.addEventListener("focusout", (event) => {
      if (!this.element.contains(event.relatedTarget)) this.hide();
    });
  }

  /** Adds tokens { id, text, logprob, alternatives, picked }. */
  add(tokens) {
    for (const token of tokens) {
      const index = this.tokens.push(token) - 1;
      this.list.append(this.#element(token, index));
    }
  }

  /** Leaves the first `count` tokens. */
  cut(count) {
    this.tokens.length = count;
    while (this.list.childElementCount > count) this.list.lastElementChild.remove();
    this.shown = -1;
    this.hide();
    [...this.list.children].forEach((token, i) => (token.tabIndex = i ? -1 : 0));
  }

  /** Focuses the last token with its panel closed: what is written now comes behind it. */
  settle() {
    const had = this.element.contains(document.activeElement) || document.activeElement === document.body;
    if (had) this.list.lastElementChild?.focus();
    this.hide();
  }

  #element(token, index) {
    // Of what no token comes before, as the first of a text, nothing is known
    const p = token.logprob === null ? null : probability(token.logprob);
    const shown = visible(token.text) || "(nothing)";
    return el(
      "span",
      {
        class: `token ${p === null ? "" : classOf(p)}${token.picked ? " picked" : ""}`,
        role: "button",
        tabindex: index ? -1 : 0,
        "data-index": index,
        "data-percent": p === null ? "" : percent(p),
        "aria-label": `${shown}${p === null ? "" : `, ${percent(p)}`}${token.picked ? ", chosen by you" : ""}`,
        "aria-controls": this.about.id,
      },
      ...inFlow(token.text),
    );
  }

  #hover(target) {
    clearTimeout(this.waiting);
    const token = target.closest?.(".token");
    // A token with the focus keeps its panel: the pointer may cross others on the way there
    if (!token || this.element.contains(document.activeElement)) return;
    this.waiting = setTimeout(() => this.#show(token), 60);
  }

  #pin(target) {
    const token = target.closest(".token");
    if (!token) return;
    token.focus();
    this.#show(token);
  }

  #key(event) {
    const token = event.target.closest(".token");
    if (event.key === "Escape") {
      this.list.querySelector("[tabindex='0']")?.focus();
      this.hide();
    } else if (token && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      this.#show(token);
      this.about.querySelector("button")?.focus();
    }
  }

  #leave() {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => {
      if (!this.element.contains(document.activeElement)) this.hide();
    }, 300);
  }

  hide() {
    this.about.hidden = true;
    this.shown = -1;
    this.list.querySelector(".current")?.classList.remove("current");
  }

  #show(target) {
    const element = target.closest?.(".token");
    if (!element) return;
    const index = Number(element.dataset.index);
    if (index !== this.shown || this.about.hidden) {
      this.hide();
      this.shown = index;
      element.classList.add("current");
      this.about.replaceChildren(...this.#facts(index));
      this.about.hidden = false;
    }
    this.#place(element);
  }

  /** Under the token, inside the view. */
  #place(element) {
    const frame = this.element.getBoundingClientRect();
    const boxes = element.getClientRects();
    const box = boxes[boxes.length - 1] ?? frame;
    const room = Math.max(0, frame.width - this.about.offsetWidth);
    const left = Math.min(Math.max(0, box.left - frame.left), room);
    this.about.style.setProperty("left", `${left}px`);
    this.about.style.setProperty("top", `${box.bottom - frame.top + 4}px`);
  }

  #facts(index) {
    const token = this.tokens[index];
    const p = token.logprob === null ? null : probability(token.logprob);
    return [
      el(
        "p",
        { class: "facts" },
        el("code", { class: "piece" }, visible(token.text) || "(nothing)"),
        el("span", {}, `id ${token.id ?? "unknown"}`),
        p === null ? el("span", {}, "the first token: nothing comes before it") : el("strong", {}, percent(p)),
        token.picked ? el("span", {}, "chosen by you") : null,
      ),
      token.alternatives.length
        ? el("p", { class: "hint" }, this.onContinue ? "Choose another token to continue from there:" : "The likeliest tokens here:")
        : null,
      el(
        "ul",
        { class: "alternatives" },
        token.alternatives.map((other) => el("li", {}, this.#alternative(index, token, other))),
      ),
    ].filter(Boolean);
  }

  #alternative(index, token, other) {
    const p = probability(other.logprob);
    const same = other.id === token.id;
    const bar = el("span", { class: "bar", "aria-hidden": "true" });
    bar.style.setProperty("width", `${Math.max(1, 100 * p)}%`);
    const parts = [
      el("code", { class: "piece" }, visible(other.text) || "(nothing)"),
      el("span", { class: "number" }, percent(p)),
      same ? el("span", { class: "same" }, "in the text") : el("span", { class: "same" }, `id ${other.id}`),
      bar,
    ];
    if (!this.onContinue) return el("div", { class: "alternative" }, parts);
    return el(
      "button",
      {
        type: "button",
        class: "alternative",
        "aria-label": [
          `${same ? "Write on behind" : "Continue with"} ${visible(other.text) || "nothing"}`,
          same ? "the token in the text" : null,
          percent(p),
          `id ${other.id}`,
        ].filter(Boolean).join(", "),
        onclick: () => this.onContinue(index, other),
      },
      parts,
    );
  }
}

/** A token's text as it flows: signs for line breaks and tabs, and a real break behind each of the former. */
function inFlow(text) {
  if (text === "") return [el("span", { class: "sign" }, "∅")];
  return text.split(/(\n|\t|\r)/).map((part) => {
    if (part === "\n") return [el("span", { class: "sign" }, "↵"), "\n"];
    if (part === "\t" || part === "\r") return [el("span", { class: "sign" }, visible(part)), part];
    return part;
  }).flat().filter((part) => part !== "");
}
