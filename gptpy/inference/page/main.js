// Where the page begins: connects the tabs, asks the server about the run.

import { apiKey, request } from "./api.js";
import { startAttention } from "./attention.js";
import { startChat } from "./chat.js";
import { startCompletion } from "./completion.js";
import { byId, grouped, showError } from "./dom.js";
import { showRun } from "./run.js";
import { buildSettings, foldSettings, limitTokens } from "./settings.js";
import { startTabs } from "./tabs.js";
import { startTokenizer } from "./tokenizer.js";

const WITH_SETTINGS = ["complete-panel", "chat-panel"];

const settings = buildSettings(byId("sliders"));
foldSettings();
startCompletion(settings);
startChat(settings);
const tokenizer = startTokenizer();
const takeAttention = startAttention();
let open = "";
let known = false;

startTabs(byId("tabs"), (name) => {
  open = name;
  byId("settings-side").hidden = !WITH_SETTINGS.includes(name);
  if (name === "tokenizer-panel" && known) tokenizer.showBoth();
  // A run that goes on has new figures each time one looks
  if (name === "run-panel" && known) load();
});

async function load() {
  const error = byId("page-error");
  try {
    const facts = await request("/page/run");
    showError(error, null);
    show(facts, !known);
    known = true;
  } catch (failure) {
    showError(error, failure);
  }
}

function show(facts, first) {
  showRun(facts);
  if (!first) return;
  document.title = `${facts.name} · gptpy`;
  byId("model-name").textContent = facts.name;
  byId("model-facts").textContent = [
    `${grouped(facts.parameters)} parameters`,
    `context ${grouped(facts.model.block_size)} tokens`,
    `step ${grouped(facts.step)}`,
  ].join(" · ");
  byId("base-model").hidden = facts.chat;
  byId("chat-form").hidden = !facts.chat;
  limitTokens(facts.model.block_size);
  tokenizer.encodings(facts.encodings);
  takeAttention(facts);
  if (open === "tokenizer-panel") tokenizer.showBoth();
}

// ---- The key, where the server asks for one

const [keyForm, keyInput] = [byId("key-form"), byId("key")];
keyForm.hidden = !apiKey.get();
keyInput.value = apiKey.get();
document.addEventListener("key-needed", () => {
  keyForm.hidden = false;
});
keyForm.addEventListener("submit", (event) => {
  event.preventDefault();
  apiKey.set(keyInput.value.trim());
  load();
});

load();
