"""What other projects do with a tokenizer of `transformers`: on ours as on Hugging Face's."""

from __future__ import annotations

import copy
import json
import multiprocessing
from pathlib import Path
from typing import Any

import hf_cases
import hf_families
import pytest
from bpe_rs import hf
from tokenizers import normalizers, processors

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

SPECIAL = {"pad_token": "<|pad|>", "eos_token": "<|end|>"}
TEXTS = ["Hello world, this is a test.", "Grüße 🎉 naïve", " a  b ", "<|pad|>x <new> newer", ""]
FAMILIES = {"gpt2": hf_cases, "llama3": hf_cases, "llama2": hf_families, "bart": hf_families}


def loaded(name: str, folder: Path) -> Any:
    """A tokenizer from a folder, as `AutoTokenizer` gives it."""
    (folder / "tokenizer.json").write_text(FAMILIES[name].family(name), encoding="utf-8")
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


@pytest.fixture(params=FAMILIES)
def both(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Any]:
    theirs = loaded(request.param, tmp_path)
    ours = hf.from_pretrained_fast(loaded(request.param, tmp_path))
    assert type(ours.backend_tokenizer) is hf.Tokenizer
    return theirs, ours


def test_a_converter_reads_the_vocabulary(both):
    """llama.cpp: every id's token, the added ones with their settings, the file as text."""

    def read(tokenizer: Any) -> list[Any]:
        size = len(tokenizer)
        return [
            tokenizer.get_vocab(),
            tokenizer.vocab_size,
            max(tokenizer.get_vocab().values()),
            {at: repr(token) for at, token in sorted(tokenizer.added_tokens_decoder.items())},
            tokenizer.get_added_vocab(),
            [tokenizer.convert_ids_to_tokens(at) for at in range(size + 2)],
            [tokenizer.decode(tokenizer.encode(text)) for text in TEXTS],
            json.loads(tokenizer.backend_tokenizer.to_str()),
        ]

    theirs, ours = both
    assert read(ours) == read(theirs)


def test_a_server_replaces_the_class_of_a_copy(both):
    """vLLM: a copy whose class answers from values kept aside; texts token by token."""

    def served(tokenizer: Any) -> list[Any]:
        kept = copy.copy(tokenizer)
        vocab, size = tokenizer.get_vocab(), len(tokenizer)

        class Cached(type(tokenizer)):
            def get_vocab(self) -> dict[str, int]:
                return vocab

            def __len__(self) -> int:
                return size

        kept.__class__ = Cached
        found = []
        for text in TEXTS:
            ids = kept.encode(text)
            tokens = kept.convert_ids_to_tokens(ids, skip_special_tokens=True)
            found.append(ids)
            found += [kept.convert_tokens_to_string(tokens[:end]) for end in range(len(tokens))]
        return [*found, len(kept), kept.all_special_ids, kept(TEXTS, padding=True).data]

    theirs, ours = both
    assert served(ours) == served(theirs)


def test_a_program_changes_the_parts(both):
    def changed(tokenizer: Any) -> list[Any]:
        tokenizer = copy.deepcopy(tokenizer)
        backend = tokenizer.backend_tokenizer
        tokenizer.add_tokens(["<new>", "newer"])
        end = tokenizer.convert_tokens_to_ids("<|end|>")
        backend.post_processor = processors.TemplateProcessing(
            single="$A <|end|>", pair="$A $B:1 <|end|>:1", special_tokens=[("<|end|>", end)]
        )
        found = [tokenizer(TEXTS, padding=True).data, tokenizer("a", "b").data]
        backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
        found.append(tokenizer(TEXTS, return_offsets_mapping=True).data)
        backend.enable_truncation(4)
        found.append(backend.encode("a b c d e f g").ids)
        found.append(tokenizer("a b c d e f g").data)
        tokenizer.split_special_tokens = True
        return [*found, tokenizer(TEXTS).data]

    theirs, ours = both
    assert changed(ours) == changed(theirs)


def test_a_new_tokenizer_of_the_same_kind(both):
    theirs, ours = (
        tokenizer.train_new_from_iterator([TEXTS] * 40, 400, show_progress=False)
        for tokenizer in both
    )
    read = [json.loads(made.backend_tokenizer.to_str()) for made in (theirs, ours)]
    assert read[0] == read[1] and theirs(TEXTS).data == ours(TEXTS).data
    assert theirs.special_tokens_map == ours.special_tokens_map


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="no processes by fork"
)
def test_processes_that_inherit_or_receive_it(both):
    theirs, ours = both
    expected = [theirs.encode(text) for text in TEXTS * 5]
    assert [ours.encode(text) for text in TEXTS * 5] == expected  # used before the fork
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(ours.encode, TEXTS * 5) == expected


def test_the_folder_is_theirs_too(both, tmp_path):
    folders = [tmp_path / "theirs", tmp_path / "ours"]
    for tokenizer, folder in zip(both, folders, strict=True):
        tokenizer.save_pretrained(folder)
    names = [sorted(path.name for path in folder.iterdir()) for folder in folders]
    assert names[0] == names[1]
    for name in names[0]:
        files = [json.loads((folder / name).read_text(encoding="utf-8")) for folder in folders]
        assert files[0] == files[1], name
