// One text that is being written: as text, as tokens, and what can be said about it.

import { announce, el, grouped, showError } from "./dom.js";
import { TokensView, legend } from "./tokens.js";

const REASONS = {
  stop: "it ended by itself",
  length: "the most new tokens were reached",
  cancelled: "cancelled",
  content_filter: "filtered",
};

/** `onContinue(index, alternative)`: go on from there with another token. */
export class Answer {
  constructor({ label, prefix = "", onContinue }) {
    this.text = "";
    this.view = new TokensView(onContinue);
    this.prefix = el("span", { class: "prompt" }, prefix);
    this.written = el("span", { class: "written" });
    this.plain = el(
      "div",
      { class: "plain", dir: "auto", role: "group", "aria-label": label },
      this.prefix,
      this.written,
    );
    this.toggle = el(
      "button",
      {
        type: "button",
        class: "quiet",
        "aria-pressed": "false",
        onclick: () => this.showTokens(!this.showsTokens),
      },
      "Tokens view",
    );
    this.numbers = el(
      "button",
      {
        type: "button",
        class: "quiet",
        "aria-pressed": "false",
        hidden: true,
        onclick: () => this.#showNumbers(),
      },
      "Show percentages",
    );
    const before = prefix ? el("p", { class: "plain prompt", dir: "auto" }, prefix) : null;
    this.colours = el("div", { hidden: true }, legend(), before, this.view.element);
    this.status = el("p", { class: "status" });
    this.error = el("p", { class: "error", role: "alert", hidden: true });
    this.element = el(
      "div",
      { class: "answer" },
      this.plain,
      this.colours,
      this.error,
      el("div", { class: "row" }, this.toggle, this.numbers, this.status),
    );
  }

  get tokens() {
    return this.view.tokens;
  }

  get showsTokens() {
    return !this.colours.hidden;
  }

  showTokens(on) {
    this.plain.hidden = on;
    this.colours.hidden = this.numbers.hidden = !on;
    this.toggle.setAttribute("aria-pressed", String(on));
  }

  #showNumbers() {
    const on = this.view.list.classList.toggle("numbers");
    this.numbers.setAttribute("aria-pressed", String(on));
  }

  /** Keeps the first `count` tokens, whose text is `text`, and adds `token`. */
  restart(count, text, token) {
    this.view.cut(count);
    this.view.add([token]);
    this.setText(text);
    this.view.settle();
  }

  setText(text) {
    this.text = text;
    this.written.textContent = text;
  }

  /**
   * Takes the events of `stream.js` until they end. Returns why: "stop", "length", "stopped" by
   * the reader, or "error".
   */
  async take(stream) {
    const from = this.tokens.length;
    const said = new Speech();
    let first = null;
    let finish = null;
    showError(this.error, null);
    this.status.textContent = "Writing …";
    this.element.setAttribute("aria-busy", "true");
    announce("Writing.");
    try {
      for await (const event of stream) {
        first ??= performance.now();
        this.text += event.text;
        this.written.append(event.text);
        said.add(event.text);
        this.view.add(event.tokens);
        finish = event.finish ?? finish;
        this.#tell(this.tokens.length - from, first);
      }
    } catch (error) {
      finish = error.name === "AbortError" ? "stopped" : "error";
      if (finish === "error") showError(this.error, error);
    }
    said.rest();
    this.element.removeAttribute("aria-busy");
    const count = this.tokens.length - from;
    const why = finish === "stopped" ? "stopped by you" : REASONS[finish];
    this.#tell(count, first, why);
    if (finish !== "error") announce(`Done: ${count} tokens${why ? `, ${why}` : ""}.`);
    return finish;
  }

  #tell(count, first, why) {
    const seconds = first === null ? 0 : (performance.now() - first) / 1000;
    const parts = [`${grouped(count)} token${count === 1 ? "" : "s"}`];
    // The first token's time is the prompt's
    if (count > 1 && seconds > 0) parts.push(`${rate((count - 1) / seconds)} tokens/s`);
    if (why) parts.push(why);
    this.status.textContent = parts.join(" · ");
  }
}

const rate = (value) => (value >= 100 ? grouped(value) : value.toFixed(1));

/** Tells screen readers what is written, in sentences: single tokens would interrupt each other. */
class Speech {
  held = "";

  add(text) {
    this.held += text;
    const end = Math.max(...[". ", "! ", "? ", "\n"].map((mark) => this.held.lastIndexOf(mark)));
    if (end >= 0 && end + 1 >= 40) this.#say(end + 1);
    else if (this.held.length > 300) this.#say(this.held.lastIndexOf(" ") + 1 || this.held.length);
  }

  rest() {
    this.#say(this.held.length);
  }

  #say(length) {
    const text = this.held.slice(0, length).trim();
    this.held = this.held.slice(length);
    if (text) announce(text);
  }
}
