// The tab that talks: the history of messages, the reply streamed below it.

import { Answer } from "./answer.js";
import { continueFrom } from "./continuing.js";
import { byId, el, showError } from "./dom.js";
import { streamChat } from "./stream.js";
import { Task } from "./task.js";

/** Connects the tab; `settings()` gives the fields of sampling. */
export function startChat(settings) {
  const [form, input, log] = [byId("chat-form"), byId("message"), byId("messages")];
  const [error, system, retry] = [byId("chat-error"), byId("system"), byId("chat-retry")];
  const task = new Task(byId("chat-stop"), input);
  const turns = []; // { asked, answer, element, messages }

  /** The messages before the reply to turn `index`. */
  function history(index) {
    const messages = [];
    if (system.value.trim()) messages.push({ role: "system", content: system.value });
    turns.slice(0, index + 1).forEach(({ asked, answer }, i) => {
      messages.push({ role: "user", content: asked });
      if (i < index) messages.push({ role: "assistant", content: answer.text });
    });
    return messages;
  }

  function ask(asked) {
    task.cancel();
    const answer = new Answer({
      label: "Reply",
      onContinue: (index, alternative) => goOn(turn, index, alternative),
    });
    const element = el(
      "li",
      { class: "turn" },
      el("div", { class: "message user" }, el("h3", {}, "You"), el("p", { dir: "auto" }, asked)),
      el("div", { class: "message" }, el("h3", {}, "Model"), answer.element),
    );
    const turn = { asked, answer, element, messages: [] };
    turns.push(turn);
    log.append(element);
    retry.disabled = false;
    turn.messages = history(turns.length - 1);
    task.run(async (signal) => {
      await answer.take(streamChat(turn.messages, settings(), signal));
      if (document.activeElement === input) form.scrollIntoView({ block: "nearest" });
    });
    element.scrollIntoView({ block: "nearest" });
  }

  /** What was said after a reply that is written anew belongs to it no more. */
  function goOn(turn, index, alternative) {
    return task.run((signal) =>
      continueFrom({
        answer: turn.answer,
        index,
        alternative,
        asked: { messages: turn.messages },
        settings: settings(),
        signal,
        begins: () => dropFrom(turns.indexOf(turn) + 1),
      }),
    );
  }

  function dropFrom(index) {
    for (const { element } of turns.splice(index)) element.remove();
    retry.disabled = turns.length === 0;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const asked = input.value.trim();
    showError(error, asked ? null : new Error("Write a message first."));
    if (asked) {
      input.value = "";
      ask(asked);
    }
    input.focus();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  retry.addEventListener("click", () => {
    const { asked } = turns[turns.length - 1];
    task.cancel();
    dropFrom(turns.length - 1);
    ask(asked);
  });
  byId("chat-clear").addEventListener("click", () => {
    task.cancel();
    dropFrom(0);
    input.focus();
  });
}
