"""Documents by split: the same from files as from texts, for ids, counts and tokenizers."""

import gzip
import json
from typing import Any

import pytest

from gptpy.config.run import RunConfig
from gptpy.data import DataError
from gptpy.data.documents import PrepareOptions, split_of, split_texts, training_files
from gptpy.data.material import gather
from gptpy.data.prepare import prepare
from gptpy.data.prepared import open_prepared
from gptpy.tokenizer import make_tokenizer, open_tokenizer

PROSE = "Größer, ein Text mit <|endoftext|> darin. 猫は眠る。\r\n\n  x 😀\n" * 40


class WithoutFiles:
    """A tokenizer that encodes texts only, as those of words and characters do."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        if name == "encode_files":
            raise AttributeError(name)
        return getattr(self.inner, name)


@pytest.fixture(scope="module")
def gpt2() -> Any:
    return open_tokenizer("gpt2")


@pytest.fixture
def folder(tmp_path):
    """Text files of every kind: long, short, empty, packed, of one character."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number:02}.txt").write_text(PROSE[number:] * (number % 4), encoding="utf-8")
    (folder / "a.MD").write_text("é")
    (folder / "z.txt.gz").write_bytes(gzip.compress(PROSE.encode() * 3))
    return folder


def contents(folder) -> dict[str, bytes]:
    """All that `prepare` wrote."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("block", [1 << 22, 7])
@pytest.mark.parametrize("source", ["", "03.txt", "a.MD", "z.txt.gz"])
@pytest.mark.parametrize(
    "options",
    [
        PrepareOptions(validation=0.3),
        PrepareOptions(validation=0.0, append_end_of_text=False),
        PrepareOptions(validation=0.55, seed=5),
    ],
)
def test_files_are_prepared_as_their_texts_are(
    folder, gpt2, tmp_path, monkeypatch, block, source, options
):
    monkeypatch.setattr("gptpy.data.text.READ_BYTES", block)
    sources = [str(folder / source)]
    without_files: Any = WithoutFiles(gpt2)
    assert prepare(sources, without_files, tmp_path / "texts-out", options)
    with monkeypatch.context() as patched:
        patched.setattr("gptpy.data.prepare.split_batches", None)  # no text is held whole
        assert prepare(sources, gpt2, tmp_path / "files-out", options)
    expected = contents(tmp_path / "texts-out")
    assert contents(tmp_path / "files-out") == expected and len(expected) >= 6
    assert open_prepared(tmp_path / "files-out").train.n_ids > 0


def test_files_that_are_no_text_are_named(gpt2, tmp_path):
    for name, data in (("a.txt", b"\xc3"), ("b.txt", b"ab\xffc"), ("c.txt", b"ab\xc3\n")):
        (tmp_path / name).write_bytes(data)
        at = data.index(data.strip(b"abc\n"))
        with pytest.raises(DataError, match=rf"{name}: is not UTF-8: byte {at} is 0x"):
            prepare([str(tmp_path / name)], gpt2, tmp_path / f"{name}-out")
        left = {path.name for path in (tmp_path / f"{name}-out").iterdir()}
        assert left == {"job.json", "tokenizer.json"}
    (tmp_path / "empty.txt").touch()
    with pytest.raises(DataError, match="hold no document"):
        prepare([str(tmp_path / "empty.txt")], gpt2, tmp_path / "empty-out")


@pytest.mark.parametrize("source", ["", "03.txt", "z.txt.gz"])
def test_a_tokenizer_learns_the_same_from_files_as_from_texts(folder, tmp_path, source):
    options = PrepareOptions(validation=0.3, seed=1)
    sources = [str(folder / source)]
    with training_files(sources, options, tmp_path) as files:
        assert files
        learned = make_tokenizer("bytes:300", lambda: files)
    texts = list(split_texts(sources, options, ["train"]))
    assert learned.fingerprint == make_tokenizer("bytes:300", lambda: texts).fingerprint
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    config = {"sources": sources, "tokenizer": "bytes:300", "validation": 0.3}
    gather(RunConfig.from_mapping({"data": config, "train": {"seed": 1}}), tmp_path / "run")
    assert open_tokenizer(tmp_path / "run").fingerprint == learned.fingerprint


def test_documents_inside_files_have_no_files_of_their_own(tmp_path):
    (tmp_path / "a.txt").write_text("one|two")
    (tmp_path / "b.jsonl").write_text('{"text": "three"}\n')
    for name, separator in (("a.txt", "|"), ("b.jsonl", None)):
        options = PrepareOptions(separator=separator)
        with training_files([str(tmp_path / name)], options, tmp_path) as files:
            assert files is None


def test_the_split_follows_from_the_bytes_alone():
    options = PrepareOptions(validation=0.3)
    texts = [f"text {i}".encode() for i in range(400)]
    splits = [split_of([text], options) for text in texts]
    assert splits == [split_of([text[:3], b"", text[3:]], options) for text in texts]
    assert 80 < splits.count("validation") < 160
    assert splits != [split_of([text], PrepareOptions(validation=0.3, seed=1)) for text in texts]


def test_a_folder_of_an_older_version_is_gone_on_with(folder, gpt2, tmp_path):
    """Its job has no word of options that came later."""
    out = tmp_path / "out"
    prepare([str(folder)], gpt2, out)
    job = json.loads((out / "job.json").read_text())
    del job["options"]["append_end_of_text"]
    (out / "job.json").write_text(json.dumps(job))
    assert prepare([str(folder)], gpt2, out)
    with pytest.raises(DataError, match="other options: append_end_of_text = True, not False"):
        prepare([str(folder)], gpt2, out, PrepareOptions(append_end_of_text=False))
