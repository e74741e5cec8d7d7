// Going on from a token of a text with another one, by ids: the rest is written anew.

import { request } from "./api.js";
import { showError } from "./dom.js";
import { streamCompletion } from "./stream.js";

/**
 * Replaces token `index` of `answer` by `alternative` and continues behind it. `asked`: the text or
 * the messages that the answer continues, as /page/prompt takes them; `begins()` is called when
 * the rest is given up.
 */
export async function continueFrom({ answer, index, alternative, asked, settings, signal, begins }) {
  const kept = answer.tokens.slice(0, index);
  const replaced = answer.tokens[index];
  const ids = [...kept, alternative].map((token) => token.id);
  let prompt, text;
  try {
    prompt = (await request("/page/prompt", asked, signal)).ids;
    text = (await request("/detokenize", { ids }, signal)).text;
  } catch (failure) {
    if (failure.name !== "AbortError") showError(answer.error, failure);
    return;
  }
  begins?.();
  answer.restart(index, text, {
    ...alternative,
    alternatives: replaced.alternatives,
    picked: alternative.id !== replaced.id,
  });
  // Past the end of the context the model goes on with the last tokens
  const body = { ...settings, context: "crop" };
  const why = await answer.take(streamCompletion([...prompt, ...ids], body, signal));
  // A character of several tokens may have been cut where the text went on
  if (text.endsWith("\ufffd") && (why === "stop" || why === "length")) {
    const all = answer.tokens.map((token) => token.id);
    const whole = await request("/detokenize", { ids: why === "stop" ? all.slice(0, -1) : all });
    answer.setText(whole.text);
  }
}
