// The tab that continues a text.

import { Answer } from "./answer.js";
import { continueFrom } from "./continuing.js";
import { byId, showError } from "./dom.js";
import { streamCompletion } from "./stream.js";
import { Task } from "./task.js";

/** Connects the tab; `settings()` gives the fields of sampling. */
export function startCompletion(settings) {
  const [form, prompt, error] = [byId("completion-form"), byId("prompt"), byId("completion-error")];
  const task = new Task(byId("complete-stop"), byId("complete"));
  let answer = null;

  function begin() {
    showError(error, null);
    const asked = prompt.value;
    if (!asked) {
      showError(error, new Error("Write the beginning of a text first."));
      prompt.focus();
      return;
    }
    const tokens = answer?.showsTokens ?? false;
    const own = new Answer({
      label: "Continued text",
      prefix: asked,
      onContinue: (index, alternative) =>
        task.run((signal) =>
          continueFrom({ answer: own, index, alternative, asked: { text: asked }, settings: settings(), signal }),
        ),
    });
    answer = own;
    own.showTokens(tokens);
    byId("completion").replaceChildren(own.element);
    task.run((signal) => own.take(streamCompletion(asked, settings(), signal)));
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    begin();
  });
  prompt.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
}
