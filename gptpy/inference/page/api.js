// Requests to this page's own server; what goes wrong is said in plain words.

const KEY = "gptpy-api-key";

export const apiKey = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set(value) {
    if (value) sessionStorage.setItem(KEY, value);
    else sessionStorage.removeItem(KEY);
  },
};

/** An error whose message a reader of the page understands. `status` is HTTP's, 0 without one. */
export class PlainError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

const GONE = "The server cannot be reached. Is “gptpy serve” still running?";

async function send(path, body, signal) {
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  // A header takes no other characters; such a key is wrong whatever it is
  if (/^[\x21-\x7e]+$/.test(apiKey.get())) headers.Authorization = `Bearer ${apiKey.get()}`;
  let response;
  try {
    response = await fetch(path, {
      method: body === undefined ? "GET" : "POST",
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      credentials: "omit",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new PlainError(GONE);
  }
  if (!response.ok) throw await plainError(response);
  return response;
}

async function plainError(response) {
  const { status } = response;
  const said = await message(response);
  if (status === 401 || status === 403) {
    document.dispatchEvent(new CustomEvent("key-needed"));
    const wrong = apiKey.get() ? "The server does not take this API key." : "The server asks for an API key.";
    return new PlainError(`${wrong} Enter it at the top of the page.`, status);
  }
  if (status === 429) {
    const seconds = Number(response.headers.get("Retry-After"));
    const when = seconds > 0 ? `in ${seconds} second${seconds === 1 ? "" : "s"}` : "in a moment";
    return new PlainError(`The server is busy with other requests. Try again ${when}.`, status);
  }
  if (status === 413) return new PlainError(said || "The text is longer than the server takes.", status);
  if (status === 503) return new PlainError(said || "The server is stopping or overloaded. Try again later.", status);
  if (status >= 500) return new PlainError(`The server failed${said ? `: ${said}` : "."}`, status);
  return new PlainError(said || `The server refused this (status ${status}).`, status);
}

/** What an error body says: OpenAI's shape, FastAPI's, or nothing. */
async function message(response) {
  let body;
  try {
    body = await response.json();
  } catch {
    return "";
  }
  const found = body?.error?.message ?? body?.error ?? body?.detail ?? "";
  if (typeof found === "string") return found;
  if (!Array.isArray(found)) return "";
  return found.map((one) => `${(one.loc ?? []).slice(1).join(".")}: ${one.msg ?? ""}`).join("; ");
}

/** The JSON that a path answers with; with a `body` it is posted. */
export async function request(path, body, signal) {
  const response = await send(path, body, signal);
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new PlainError("The server's answer could not be read.");
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new PlainError("The server's answer could not be read.");
  }
}

/** The events of a streamed answer (server-sent events), parsed. */
export async function* events(path, body, signal) {
  const response = await send(path, body, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  try {
    for (;;) {
      let part;
      try {
        part = await reader.read();
      } catch (error) {
        if (error.name === "AbortError") throw error;
        throw new PlainError("The connection to the server was lost in the middle of the text.");
      }
      if (part.done) break;
      held += part.value;
      const lines = held.split(/\r\n|\n|\r(?!$)/);
      held = lines.pop();
      for (const line of lines) {
        if (!line.startsWith("data:")) continue; // comments keep the connection open
        const data = line.slice(5).trim();
        if (data === "[DONE]") return;
        const event = parsed(data);
        if (event.error) throw new PlainError(event.error.message ?? String(event.error));
        yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
  throw new PlainError("The server ended the connection before the text was complete.");
}
