// The two streaming doors of the server, in one form:
// { text, tokens: [{ id, text, logprob, alternatives: [{ id, text, logprob }] }], finish }

import { events } from "./api.js";

export const ALTERNATIVES = 5;

/** A continuation of `prompt`: a text or a list of ids. */
export async function* streamCompletion(prompt, settings, signal) {
  const body = {
    ...settings,
    prompt,
    stream: true,
    logprobs: ALTERNATIVES,
    return_token_ids: true,
  };
  for await (const event of events("/v1/completions", body, signal)) {
    const choice = event.choices?.[0];
    if (!choice) continue; // the last event may hold the usage alone
    const { tokens = [], token_logprobs = [], alternatives = [] } = choice.logprobs ?? {};
    const ids = choice.token_ids ?? [];
    yield {
      text: choice.text ?? "",
      finish: choice.finish_reason ?? null,
      tokens: tokens.map((text, i) => ({
        id: ids[i] ?? null,
        text,
        logprob: token_logprobs[i],
        alternatives: (alternatives[i] ?? []).map(alternative),
      })),
    };
  }
}

/** The assistant's reply to `messages`. */
export async function* streamChat(messages, settings, signal) {
  const body = {
    ...settings,
    messages,
    stream: true,
    logprobs: true,
    top_logprobs: ALTERNATIVES,
    return_token_ids: true,
  };
  for await (const event of events("/v1/chat/completions", body, signal)) {
    const choice = event.choices?.[0];
    if (!choice) continue;
    const content = choice.logprobs?.content ?? [];
    yield {
      text: choice.delta?.content ?? "",
      finish: choice.finish_reason ?? null,
      tokens: content.map((one, i) => ({
        id: one.id ?? choice.token_ids?.[i] ?? null,
        text: one.token,
        logprob: one.logprob,
        alternatives: (one.top_logprobs ?? []).map(alternative),
      })),
    };
  }
}

const alternative = ({ id, token, logprob }) => ({ id, text: token, logprob });
