"""Tokenizers that are no byte-level BPE: used as they are, from `prepare` to generation."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gptpy
from gptpy.cli import main
from gptpy.config import ConfigError
from gptpy.tokenizer import (
    NumberTokenizer,
    end_of_text,
    is_lossless,
    open_tokenizer,
    save_tokenizer,
)
from gptpy.tokenizer.foreign import ForeignTokenizer

TEXT = "The quick brown foxes were jumping over a lazy dog, unbelievably often."


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `transformers` saves a BERT: random weights, a WordPiece tokenizer."""
    import transformers

    t: Any = transformers
    folder = tmp_path_factory.mktemp("hf") / "bert"
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = "abcdefghijklmnopqrstuvwxyz,."
    pieces = ["the", "quick", "fox", "##es", "un", "##believ", "##ably", "jump", "##ing", "dog"]
    vocab = [*specials, *letters, *(f"##{c}" for c in letters), *pieces]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(vocab))
    tokenizer: Any = t.BertTokenizerFast.from_pretrained(folder)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = t.BertConfig(vocab_size=len(vocab), intermediate_size=32, **shape)
    t.BertForMaskedLM(config).save_pretrained(folder)
    return folder


def test_ids_are_those_of_transformers(bert, tmp_path):
    from transformers import AutoTokenizer

    theirs: Any = AutoTokenizer.from_pretrained(bert)
    ours = open_tokenizer(bert)
    expected = theirs(TEXT, add_special_tokens=False)["input_ids"]
    assert ours.encode_ordinary(TEXT) == expected and ours.n_vocab == len(theirs)
    assert ours.decode(expected) == theirs.decode(expected)
    pieces = [ours.decode_bytes([token]).decode() for token in expected]
    assert "".join(pieces).strip() == "the quick b r o w n foxes".replace("b r o w n", "brown") + (
        "".join(pieces).strip()[len("the quick brown foxes"):]
    )  # fmt: skip
    assert not is_lossless(ours) and end_of_text(ours) == theirs.sep_token_id
    # A special token in a text is text
    assert theirs.mask_token_id not in ours.encode_ordinary("a [MASK] b")
    save_tokenizer(ours, tmp_path)
    again = open_tokenizer(tmp_path)
    assert again.fingerprint == ours.fingerprint
    assert again.encode_ordinary(TEXT) == expected
    # A folder that has only the vocabulary
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "vocab.txt").write_text((bert / "vocab.txt").read_text())
    assert open_tokenizer(tmp_path / "old").encode_ordinary(TEXT) == expected


def test_an_encoder_begins_with_the_embeddings_of_a_bert(bert, tmp_path, capsys):
    (tmp_path / "a.txt").write_text("\n".join(TEXT + "dog " * i for i in range(60)))
    prepare = ["prepare", str(tmp_path / "a.txt"), "--separator", "\n", "--tokenizer", str(bert)]
    assert main([*prepare, "-o", str(tmp_path / "data")]) == 0
    train = [
        "train",
        str(tmp_path / "data"),
        "--preset",
        "encoder-mini",
        "-o",
        str(tmp_path / "run"),
    ]
    settings = {
        "model.n_layer": 1, "model.n_head": 2, "model.n_embd": 32, "model.n_token_embd": 16,
        "model.block_size": 16, "train.steps": 2, "train.batch_size": 4,
        "train.embeddings": str(bert), "train.freeze_embeddings": "true", "train.compile": "off",
    }  # fmt: skip
    options = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    assert main([*train, *options]) == 0, capsys.readouterr().err
    loaded = gptpy.load(tmp_path / "run", device="cpu")
    from transformers import BertForMaskedLM

    theirs: Any = BertForMaskedLM.from_pretrained(bert).get_input_embeddings().weight
    torch.testing.assert_close(loaded.model.token_embedding.weight, theirs)
    assert loaded.config.model.vocab_size == len(theirs)  # its own [MASK] and [SEP]
    for command in (["eval"], ["info"], ["plot"]):
        assert main([*command, str(tmp_path / "run")]) == 0, capsys.readouterr().err


def test_a_unigram_tokenizer_trains_and_generates(tmp_path, capsys):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()  # type: ignore[assignment]
    made.decoder = decoders.Metaspace()  # type: ignore[assignment]
    trainer = trainers.UnigramTrainer(
        vocab_size=60, special_tokens=["</s>", "<unk>"], unk_token="<unk>"
    )
    made.train_from_iterator([TEXT] * 20, trainer)
    made.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "a.txt").write_text("\n".join(TEXT for _ in range(40)))
    run = str(tmp_path / "run")
    command = ["train", "--data.sources", f'["{tmp_path / "a.txt"}"]', "--data.tokenizer"]
    command += [
        str(tmp_path / "tokenizer.json"),
        "--preset",
        "modern-1m",
        "--model.block_size",
        "16",
    ]
    assert main([*command, "-o", run, "--train.steps", "2", "--train.compile", "off"]) == 0
    capsys.readouterr()
    assert main(["generate", run, "-p", "The quick brown", "--tokens", "4", "--seed", "1"]) == 0
    assert capsys.readouterr().out.startswith("The quick brown")


def character_files() -> dict[str, str]:
    """The `tokenizer.json` of BPE models of characters: Llama 2's shape, and CLIP's."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    texts, made = [TEXT, "Größe naïve café 中文字 日本語 🎉", "a  b\n\n c"] * 5, {}
    for name, model, suffix in (
        ("llama", {"unk_token": "<unk>", "byte_fallback": True, "fuse_unk": True}, None),
        ("clip", {"unk_token": "</s>", "end_of_word_suffix": "</w>"}, "</w>"),
    ):
        tokenizer: Any = Tokenizer(models.BPE(**model))
        options: dict[str, Any] = {"special_tokens": ["<unk>", "<s>", "</s>"]}
        if suffix:
            tokenizer.normalizer = normalizers.Lowercase()
            tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
            tokenizer.decoder = decoders.BPEDecoder(suffix=suffix)
            options["end_of_word_suffix"] = suffix
        else:
            tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
            steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
            tokenizer.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)])
            options["special_tokens"] += [f"<0x{byte:02X}>" for byte in range(256)]
        trainer = trainers.BpeTrainer(vocab_size=500, show_progress=False, **options)
        tokenizer.train_from_iterator(texts, trainer)
        about = json.loads(tokenizer.to_str())
        about["added_tokens"] = about["added_tokens"][:3]  # bytes are no special tokens
        made[name] = json.dumps(about)
    return made


@pytest.mark.parametrize("name", ["llama", "clip"])
def test_a_bpe_of_characters_runs_on_our_engine(name, tmp_path):
    from bpe_rs import hf

    text = character_files()[name]
    (tmp_path / "tokenizer.json").write_text(text)
    ours: Any = open_tokenizer(tmp_path)
    theirs = ForeignTokenizer(text)
    assert type(ours.inner) is hf.Tokenizer and type(theirs.inner) is not hf.Tokenizer
    assert (ours.name, ours.n_vocab) == (theirs.name, theirs.n_vocab)
    assert ours.special_tokens_set == theirs.special_tokens_set
    assert ours.fingerprint == theirs.fingerprint
    texts = [TEXT, "", " ", "a <s> b</s><unk>", "Ωμέγα 日本 🎉\n\n  x", "ïé <0x41> ▁ zq"]
    for each in texts:
        ids = theirs.encode_ordinary(each)
        assert ours.encode_ordinary(each) == ids
        assert ours.encode_with_special(each) == theirs.encode_with_special(each)
        assert ours.decode(ids) == theirs.decode(ids)
        assert [ours.decode_bytes([id]) for id in ids] == [theirs.decode_bytes([id]) for id in ids]
    parts = [("<s>", True), ("how are", False), ("</s>", True), ("you </s>", False)]
    assert ours.encode_parts(parts) == theirs.encode_parts(parts)
    for got, want in zip(
        ours.encode_batch_to_numpy(texts), theirs.encode_batch_to_numpy(texts), strict=True
    ):
        assert got.tolist() == want.tolist()


def test_a_bpe_that_we_refuse_stays_on_theirs(tmp_path):
    about = json.loads(character_files()["llama"])
    about["pre_tokenizer"] = {"type": "Split", "pattern": {"Regex": r"\X"}, "behavior": "Isolated"}
    about["pre_tokenizer"]["invert"] = False
    (tmp_path / "tokenizer.json").write_text(json.dumps(about))
    tokenizer: Any = open_tokenizer(tmp_path)
    assert type(tokenizer.inner).__module__.startswith("tokenizers")


def test_damaged_and_strange_files_keep_their_message(tmp_path):
    path = tmp_path / "tokenizer.json"
    for text in ("{", "[]", '{"model": {"type": "Sorcery"}}', '{"format": "gptpy.numbers"}'):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"tokenizer\.json"):
            open_tokenizer(path)


def test_numbers_are_their_own_text(tmp_path):
    tokenizer = NumberTokenizer(10)
    assert tokenizer.encode_ordinary(" 3 1\n2 ") == [3, 1, 2]
    assert tokenizer.decode([3, 1, 2]) == " 3 1 2"
    for text in ("three", "10", "-1", "²"):
        with pytest.raises(ConfigError, match="numbers from 0 to 9"):
            tokenizer.encode_ordinary(text)
    save_tokenizer(tokenizer, tmp_path)
    assert json.loads((tmp_path / "tokenizer.json").read_text())["n_vocab"] == 10
    again = open_tokenizer(tmp_path)
    assert again.fingerprint == tokenizer.fingerprint and again.n_vocab == 10
    ids, offsets = again.encode_batch_to_numpy(["1 2", "", "3"])  # type: ignore[attr-defined]
    assert ids.tolist() == [1, 2, 3] and offsets.tolist() == [0, 2, 2, 3]
    assert np.asarray(ids).dtype == np.uint32
