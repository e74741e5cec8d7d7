"""Files as users have them: line ends, encodings, arrays of JSON, hidden and damaged files."""

import gzip
import json
import os
from typing import Any

import pytest

from gptpy.data import DataError
from gptpy.data.prepare import PrepareOptions, prepare
from gptpy.data.prepared import open_prepared
from gptpy.data.sources import divides, documents, json_rows, list_slices
from gptpy.data.text import read_text
from gptpy.runs.progress import Silent
from gptpy.tokenizer import open_tokenizer

TEXTS = [f"text {number} é" for number in range(30)]


class Heard(Silent):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_message(self, text: str) -> None:
        self.texts.append(text)


def collect(path, slice_bytes=1 << 28, **options) -> list[str]:
    pieces = list_slices([str(path)], slice_bytes, separator=options.get("separator"))
    return [text for piece in pieces for text in documents(piece, **options)]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["\n\n", "\r\n\r\n", "\n", "\n---\n", "#\n"])
@pytest.mark.parametrize("slice_bytes", [1, 7, 100, 1 << 20])
def test_a_separator_is_found_whatever_lines_end_with(tmp_path, end, mark, slice_bytes):
    written = mark.replace("\r\n", "\n").replace("\n", end)
    path = tmp_path / "a.txt"
    path.write_bytes(written.join(TEXTS).encode())
    assert collect(path, slice_bytes, separator=mark) == TEXTS


def test_mixed_line_ends(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\n\ntwo\r\n\r\nthree\r\n\nfour\n\r\nfive")
    assert collect(path, separator="\n\n") == ["one", "two", "three", "four", "five"]


def test_a_separator_that_never_occurs_is_said(tmp_path):
    tokenizer = open_tokenizer("gpt2")
    (tmp_path / "texts").mkdir()
    for name in ("a.txt", "b.txt"):
        (tmp_path / "texts" / name).write_text("one|two")
    said = []
    for number, mark in enumerate(("\\n\\n", "|")):
        heard, options = Heard(), PrepareOptions(separator=mark)
        prepare(
            [str(tmp_path / "texts")], tokenizer, tmp_path / f"{number}", options, reporter=heard
        )
        said.append([text for text in heard.texts if "never occurs" in text])
    assert said == [[r"the separator '\\n\\n' never occurs: a text file is one document"], []]
    slices = list_slices([str(tmp_path / "texts")])
    assert divides(slices, "e|t") and not divides(slices, "three")


LINES = "\n".join(json.dumps({"text": text}, ensure_ascii=False) for text in TEXTS)
ENCODINGS = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.json", "a.txt.gz"])
def test_other_encodings_are_named(tmp_path, encoding, name):
    path = tmp_path / name
    data = LINES.encode(encoding)
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    kind = encoding[:6].upper()
    message = rf"{name}: is {kind}, expected UTF-8; convert it: iconv -f {kind}"
    for separator in (None, "|"):
        with pytest.raises(DataError, match=message):
            collect(path, separator=separator)
    with pytest.raises(DataError, match=message):
        read_text(path)
    if "json" in name:
        with pytest.raises(DataError, match=message):
            list(json_rows(list_slices([str(path)])[0]))


def test_bytes_that_are_not_utf8_come_with_their_line(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\ntwo\nthr\xe9e|four\n\xff")
    for separator in (None, "|"):
        with pytest.raises(DataError, match=r"a\.txt: is not UTF-8: byte 11 is 0xe9 \(line 3\)"):
            collect(tmp_path / "a.txt", separator=separator)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'\n\n{"text": "a"}\n{"text": "\xe9"}'))
    with pytest.raises(DataError, match=r"byte 26 is 0xe9 \(line 4\); .*iconv"):
        collect(tmp_path / "a.jsonl.gz")


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ('{"text": null}', "found null"),
        ('{"text": 5}', "found a number"),
        ('{"text": true}', "found true"),
        ('{"text": ["a"]}', "found a list"),
        ('{"text": {"b": 1}}', r"found an object with the keys \['b'\]"),
        ('{"body": "a"}', r"found keys \['body'\]"),
        ('"a"', "found a text"),
        ("[1]", "found a list"),
        ("{'text': 'a'}", "not a line of JSON: Expecting property name.* at character 2"),
        ('{"text": "a"', "not a line of JSON"),
    ],
)
def test_rows_that_are_no_texts_are_named_by_line_and_kind(tmp_path, row, found):
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"text": "fine"}}\n\r\n{row}\n')
    for slice_bytes in (8, 1 << 20):
        with pytest.raises(DataError, match=rf"a\.jsonl, line 3: .*{found}"):
            collect(path, slice_bytes)


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.jsonl.gz"])
@pytest.mark.parametrize("layout", [{}, {"indent": 2}, {"separators": (",", ":")}])
def test_an_array_is_read_as_lines_are(tmp_path, name, layout):
    rows = [{"text": text, "deep": [{"a": "]"}]} for text in TEXTS]
    data = ("\n " + json.dumps(rows, **layout) + "\n").encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    for slice_bytes in (50, 1 << 20):
        assert collect(tmp_path / name, slice_bytes) == TEXTS
    (tmp_path / "b.json").write_text("[ ]")
    assert collect(tmp_path / "b.json") == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('[\n{"text": "a"},\n{"text": 3}]', "line 3: expected a text under 'text', found a number"),
        ('[\n{"text": "a"},\n{"text": }]', "line 3: not an array of JSON: Expecting value"),
        ('[\n{"text": "a"}\n{"text": "b"}]', "line 3: .*expected a comma or the array's end"),
        ('[{"text": "a"},\n', "line 2: not an array of JSON"),
        ('[{"text": "a"}]\n[]', "line 1: .*expected nothing after the array"),
    ],
)
def test_damaged_arrays_are_named_by_line(tmp_path, data, message):
    (tmp_path / "a.json").write_text(data)
    with pytest.raises(DataError, match=rf"a\.json, {message}"):
        collect(tmp_path / "a.json")


@pytest.mark.skipif(os.name != "posix", reason="links and pipes as POSIX has them")
def test_folders_leave_out_what_is_hidden_or_cannot_be_read(tmp_path):
    folder = tmp_path / ".here"  # hidden itself, but named
    for place in (".ipynb_checkpoints", "more", ".git/deep"):
        (folder / place).mkdir(parents=True)
    (folder / "a.txt").write_text("mine")
    (folder / "more" / "b.txt").write_text("mine, too")
    for name in (
        "._a.txt",
        ".ipynb_checkpoints/a-checkpoint.txt",
        "more/.c.jsonl",
        ".git/deep/d.md",
    ):
        (folder / name).write_text("\0")
    (folder / "binary.txt").write_bytes(b"PK\3\4 and so on")
    (folder / "empty.md").touch()
    (folder / "notes.pdf").write_text("a kind that is not known needs no word")
    (folder / "gone.txt").symlink_to(tmp_path / "nowhere")
    (folder / "loop.txt").symlink_to(folder / "loop.txt")
    (folder / "again").symlink_to(folder)
    os.mkfifo(folder / "pipe.txt")
    heard = Heard()
    slices = list_slices([str(folder)], reporter=heard)
    assert [piece.path for piece in slices] == [str(folder / "a.txt"), str(folder / "more/b.txt")]
    said = "\n".join(heard.texts)
    assert "left out ._a.txt, .git, .ipynb_checkpoints and 1 more: hidden" in said
    assert "left out binary.txt: binary" in said and "left out empty.md: empty" in said
    assert "left out again, gone.txt, loop.txt and 1 more: neither a file nor" in said
    assert len(heard.texts) == 4 and "notes.pdf" not in said
    (folder / "wide.txt").write_text("text", encoding="utf-16")  # to be converted, not left out
    with pytest.raises(DataError, match=r"wide\.txt: is UTF-16"):
        collect(folder)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"PK\3\4....", "is a zip archive, expected a UTF-8 text"),
        (gzip.compress(b"text", mtime=0), "is compressed by gzip"),
        (b"PAR1....", "is a Parquet file"),
        (b"a\0b", r"is binary \(byte 1 is zero\)"),
    ],
)
def test_files_that_are_no_text_are_named(tmp_path, data, message):
    for name in ("a.txt", "a.jsonl"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=rf"{name}: {message}"):
            collect(tmp_path / name)
    with pytest.raises(DataError, match=message):
        read_text(tmp_path / "a.txt")


@pytest.mark.skipif(os.name != "posix", reason="links and pipes as POSIX has them")
def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    for path in (tmp_path / "pipe.txt", "/dev/null"):
        with pytest.raises(DataError, match="is a pipe or a device"):
            read_text(path)
    with pytest.raises(DataError, match="is a pipe or a device"):
        collect(tmp_path / "pipe.txt")
    (tmp_path / "loop.txt").symlink_to(tmp_path / "loop.txt")
    with pytest.raises(DataError, match=r"loop\.txt: "):
        read_text(tmp_path / "loop.txt")


def test_parquet_that_is_damaged_inside(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(arrow.table({"text": [text * 50 for text in TEXTS]}), path)
    data = bytearray(path.read_bytes())
    data[40:200] = bytes(160)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.parquet: cannot be read as parquet"):
        collect(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.parquet: cannot be read as parquet"):
        collect(path)


def test_a_source_is_known_by_its_content(tmp_path):
    tokenizer, text = open_tokenizer("gpt2"), tmp_path / "a.txt"
    text.write_text("abc " * 50)
    prepare([str(text)], tokenizer, tmp_path / "out")
    os.utime(text, (1, 1))  # another time, the same text
    assert prepare([str(text)], tokenizer, tmp_path / "out")
    text.write_text("abd " * 50)
    with pytest.raises(DataError, match=r"the content of .*a\.txt has changed"):
        prepare([str(text)], tokenizer, tmp_path / "out")


def test_files_of_ids_that_were_replaced_are_noticed(tmp_path):
    tokenizer = open_tokenizer("gpt2")
    made: list[Any] = []
    for name in ("one", "two"):
        (tmp_path / f"{name}.txt").write_text(f"{name} " * 100)
        prepare([str(tmp_path / f"{name}.txt")], tokenizer, tmp_path / name)
        made.append(open_prepared(tmp_path / name))
    assert made[0].train.n_ids == made[1].train.n_ids
    shard = "train-00000.ids"
    (tmp_path / "one" / shard).write_bytes((tmp_path / "two" / shard).read_bytes())
    with pytest.raises(DataError, match="the ids of train are not those that were prepared"):
        open_prepared(tmp_path / "one")
