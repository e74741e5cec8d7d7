"""Documents by split: the same from files as from texts, for ids, counts and tokenizers."""

import gzip
import json
from typing import Any

import pytest

from gptpy.config.run import RunConfig
from gptpy.data import DataError
from gptpy.data.documents import SPLITS, PrepareOptions, split_of, split_texts, training_files
from gptpy.data.material import gather
from gptpy.data.prepare import prepare
from gptpy.data.prepared import open_prepared
from gptpy.runs.progress import Silent
from gptpy.tokenizer import make_tokenizer, open_tokenizer

PROSE = "Größer, ein Text mit <|endoftext|> darin. 猫は眠る。\r\n\n  x 😀\n" * 40


class Heard(Silent):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_message(self, text: str) -> None:
        self.texts.append(text)


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


def documents_of(folder) -> tuple[int, int]:
    data = open_prepared(folder)
    return data.train.documents, data.validation.documents


@pytest.mark.parametrize(("count", "validation"), [(2, 0.1), (3, 0.9)])
def test_both_splits_get_a_document_of_two_whatever_the_seed(gpt2, tmp_path, count, validation):
    """As files, as lines of JSON, as parts of one text, and alike for every way of reading them."""
    texts = [f"This is text number {number}. " * 5 for number in range(count)]
    (tmp_path / "files").mkdir()
    for number, text in enumerate(texts):
        (tmp_path / "files" / f"{number}.txt").write_text(text)
    (tmp_path / "a.txt").write_text("|".join(texts))
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    without_files: Any = WithoutFiles(gpt2)
    for seed in range(2):
        held_out = set()
        for name in ("files", "a.txt", "a.jsonl"):
            options = PrepareOptions(validation=validation, seed=seed, separator="|")
            out = tmp_path / f"{name}-{seed}"
            prepare([str(tmp_path / name)], gpt2, out, options)
            train, validating = documents_of(out)
            assert train and validating and train + validating == count
            sources = [str(tmp_path / name)]
            kept = [list(split_texts(sources, options, [split])) for split in SPLITS]
            assert [len(part) for part in kept] == [train, validating]
            held_out.add(tuple(kept[1]))
        options = PrepareOptions(validation=validation, seed=seed)
        prepare([str(tmp_path / "files")], gpt2, tmp_path / f"whole-{seed}", options)
        prepare([str(tmp_path / "files")], without_files, tmp_path / f"texts-{seed}", options)
        assert contents(tmp_path / f"whole-{seed}") == contents(tmp_path / f"texts-{seed}")
        with training_files([str(tmp_path / "files")], options, tmp_path) as files:
            assert files is not None and len(files) == documents_of(tmp_path / f"whole-{seed}")[0]
        assert len(held_out) == 1, "the same document, however it is written"


def test_equal_documents_do_not_all_go_one_way(gpt2, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "the same"}\n' * 30)
    for seed in range(3):
        options = PrepareOptions(seed=seed, slice_bytes=100)
        prepare([str(tmp_path / "a.jsonl")], gpt2, tmp_path / str(seed), options)
        assert documents_of(tmp_path / str(seed)) == (29, 1)


def test_a_document_beside_empty_files_is_cut_in_two(gpt2, tmp_path):
    (tmp_path / "a.txt").write_text("a" * 900)
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbf")
    prepare([str(tmp_path / "a.txt"), str(tmp_path / "b.txt")], gpt2, tmp_path / "out")
    data = open_prepared(tmp_path / "out")
    assert (data.train.bytes, data.validation.bytes) == (810, 90)


def test_what_cannot_validate_is_said(gpt2, tmp_path):
    (tmp_path / "a.txt").write_text("😀")
    heard = Heard()
    prepare([str(tmp_path / "a.txt")], gpt2, tmp_path / "out", reporter=heard)
    assert documents_of(tmp_path / "out") == (1, 0)
    assert "nothing validates" in heard.texts[-1]
    prepare([str(tmp_path / "a.txt")], gpt2, tmp_path / "b", PrepareOptions(validation=0))
    assert documents_of(tmp_path / "b") == (1, 0)


def test_the_split_of_many_documents_is_that_of_older_versions(gpt2, tmp_path):
    texts = [f"text {i}" for i in range(60)]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    options = PrepareOptions(seed=3)
    found = list(split_texts([str(tmp_path / "a.jsonl")], options, ["validation"]))
    assert found == [t for t in texts if split_of([t.encode()], options) == "validation"] != []


def test_a_folder_that_an_older_version_began_is_finished_as_it_began(gpt2, tmp_path):
    """It knew of no document held out, and noted no content of the sources."""
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(f"text {number}")
    sources = [str(tmp_path / f"{number}.txt") for number in range(3)]
    options = PrepareOptions(validation=1e-9)
    prepare(sources, gpt2, tmp_path / "new", options)
    assert documents_of(tmp_path / "new") == (2, 1)
    old = tmp_path / "old"
    prepare(sources, gpt2, old, options)
    job = json.loads((old / "job.json").read_text())
    del job["held_out"]
    (old / "job.json").write_text(json.dumps(job))
    for name in ("manifest.json", *(f"slice-0000{number}.json" for number in range(3))):
        (old / name).unlink()
    prepare(sources, gpt2, old, options)
    assert documents_of(old) == (3, 0)
    done = json.loads((old / "slice-00000.json").read_text())
    del done["source"]
    (old / "slice-00000.json").write_text(json.dumps(done))
    manifest = json.loads((old / "manifest.json").read_text())
    del manifest["digests"]
    (old / "manifest.json").write_text(json.dumps(manifest))
    assert documents_of(old) == (3, 0) and prepare(sources, gpt2, old, options)


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.jsonl", "a.json"])
def test_a_byte_order_mark_is_no_part_of_a_text(gpt2, tmp_path, name):
    """The same ids, and the same tokenizer, with and without it."""
    text = "Ein Text, größer.|Noch einer." * 9
    if "json" in name:
        rows = [{"text": part} for part in text.split("|")]
        text = json.dumps(rows) if name == "a.json" else "\n".join(map(json.dumps, rows))
    found = []
    for mark in (b"", b"\xef\xbb\xbf"):
        data = mark + text.encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
        for separator in (None, "|"):
            out = tmp_path / f"out{len(found)}"
            options = PrepareOptions(separator=separator)
            prepare([str(tmp_path / name)], gpt2, out, options)
            learned = gather_tokenizer(tmp_path / name, tmp_path / f"run{len(found)}", separator)
            data = open_prepared(out)
            ids = data.train.joined().tolist() + data.validation.joined().tolist()
            found.append((ids, data.train.bytes, learned))
    assert found[:2] == found[2:]


def gather_tokenizer(source, run, separator) -> str:
    config = {"sources": [str(source)], "tokenizer": "bytes:300", "separator": separator}
    gather(RunConfig.from_mapping({"data": config}), run)
    return open_tokenizer(run).fingerprint
