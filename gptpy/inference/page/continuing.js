// Going on from a token of a text with another one, by ids: the rest is written anew.

import { request } from "./api.js";
import { streamCompletion } from "./stream.js";

/** Replaces token `index` of `answer` by `alternative` and continues behind it; why it ended. */
export async function continueFrom(answer, index, alternative, settings, signal) {
  const kept = answer.tokens.slice(0, index);
  const replaced = answer.tokens[index];
  const ids = [...kept, alternative].map((token) => token.id);
  const { text } = await request("/detokenize", { ids }, signal);
  answer.restart(index, text, {
    ...alternative,
    alternatives: replaced.alternatives,
    picked: alternative.id !== replaced.id,
  });
  const why = await answer.take(streamCompletion([...answer.promptIds, ...ids], settings, signal));
  // A character of several tokens may have been cut where the text went on
  if (text.endsWith("\ufffd")) {
    const all = answer.tokens.map((token) => token.id);
    const whole = await request("/detokenize", { ids: why === "stop" ? all.slice(0, -1) : all });
    answer.setText(whole.text);
  }
  return why;
}
