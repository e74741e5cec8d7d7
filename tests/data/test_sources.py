"""Documents from files: each exactly once, however the files are sliced."""

import gzip
import json
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from gptpy.data import DataError
from gptpy.data.files import Unzstd
from gptpy.data.sources import documents, list_slices

TEXTS = [f"document {i} " + "é" * (i * 7 % 50) for i in range(200)]


def collect(sources, slice_bytes=1 << 28, **options) -> list[str]:
    found = []
    for piece in list_slices(
        [str(s) for s in sources], slice_bytes, separator=options.get("separator")
    ):
        found += documents(piece, **options)
    return found


@pytest.fixture
def jsonl(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [json.dumps({"text": t, "n": i}, ensure_ascii=False) for i, t in enumerate(TEXTS)]
    path.write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("slice_bytes", [1, 7, 64, 1000, 10**6])
def test_slices_of_jsonl_hold_every_line_once(jsonl, slice_bytes):
    assert collect([jsonl], slice_bytes) == TEXTS


@pytest.mark.parametrize("slice_bytes", [3, 20, 333, 10**6])
@pytest.mark.parametrize("mark", ["<|endoftext|>", "\n\n", "aa"])
def test_slices_of_text_hold_every_document_once(tmp_path, slice_bytes, mark, monkeypatch):
    monkeypatch.setattr("gptpy.data.sources.READ_BYTES", 16)  # marks across reads
    path = tmp_path / "a.txt"
    path.write_text(mark.join(TEXTS), encoding="utf-8")
    assert collect([path], slice_bytes, separator=mark) == TEXTS


def test_overlapping_marks_are_cut_from_the_left_whatever_the_slices(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("x||||y||z")
    for slice_bytes in range(1, 10):
        assert collect([path], slice_bytes, separator="||") == ["x", "y", "z"]


def test_a_text_file_is_one_document(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one\n\ntwo")
    assert collect([path], 2) == ["one\n\ntwo"]


def test_packed_files_and_parquet(tmp_path, jsonl):
    zstandard = pytest.importorskip("zstandard")
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    raw = jsonl.read_bytes()
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(raw))
    (tmp_path / "c.jsonl.zst").write_bytes(zstandard.compress(raw))
    pyarrow.parquet.write_table(arrow.table({"text": TEXTS}), tmp_path / "d.parquet")
    for name in ("b.jsonl.gz", "c.jsonl.zst", "d.parquet"):
        assert collect([tmp_path / name], 100) == TEXTS, name
    (tmp_path / "notes.pdf").write_bytes(b"ignored in a folder")
    assert collect([tmp_path]) == TEXTS * 4


def test_errors_name_file_and_place(tmp_path, jsonl):
    with pytest.raises(DataError, match="no such file or folder"):
        list_slices([str(tmp_path / "missing")])
    (tmp_path / "a.pdf").write_bytes(b"x")
    with pytest.raises(DataError, match=r"a\.pdf: unknown kind of file"):
        list_slices([str(tmp_path / "a.pdf")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no \.txt"):
        list_slices([str(tmp_path / "empty")])
    with pytest.raises(DataError, match=r"line 1: expected a text under 'body', found keys"):
        collect([jsonl], field="body")
    (tmp_path / "bad.jsonl").write_text('{"text": "ok"}\n{"text": ')
    with pytest.raises(DataError, match=r"bad\.jsonl, line 2: not a line of JSON"):
        collect([tmp_path / "bad.jsonl"])
    (tmp_path / "bad.txt").write_bytes(b"ok\n\n\xff")
    with pytest.raises(DataError, match=r"byte 4 is 0xff"):
        collect([tmp_path / "bad.txt"], separator="\n\n")


def test_damaged_packed_files_are_named(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    lines = "\n".join(json.dumps({"text": t}) for t in TEXTS).encode()
    packed = gzip.compress(lines)
    damaged = {
        "cut.jsonl.gz": packed[:-300],
        "wrong.jsonl.gz": lines,
        "broken.txt.gz": packed[:50] + bytes(50) + packed[100:],
        "wrong.jsonl.zst": lines,
        "cut.jsonl.zst": zstandard.compress(lines)[:-100],
        "broken.txt.zst": zstandard.compress(lines)[:40] + bytes(60),
    }
    for name, data in damaged.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=name.replace(".", r"\.") + ": is damaged"):
            collect([tmp_path / name])


def test_zst_files_of_several_frames(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    text = "".join(TEXTS) * 100
    half = len(text) // 2
    path = tmp_path / "a.txt.zst"
    path.write_bytes(b"".join(zstandard.compress(t.encode()) for t in (text[:half], text[half:])))
    assert collect([path]) == [text]


def test_zst_is_unpacked_without_copying_the_rest_at_every_read(tmp_path, monkeypatch):
    """4 MB from some 100 packed bytes, read in small parts: the bytes copied stay linear."""
    zstandard = pytest.importorskip("zstandard")
    copied = 0

    class Counted(bytes):
        def __getitem__(self, key: Any) -> Any:
            nonlocal copied
            part = super().__getitem__(key)
            copied += len(part)
            return Counted(part)

    class Frame:
        def __init__(self):
            self.real = zstandard.ZstdDecompressor().decompressobj()

        def decompress(self, data):
            return Counted(self.real.decompress(data))

        def __getattr__(self, name):
            return getattr(self.real, name)

    fake = SimpleNamespace(
        ZstdDecompressor=lambda: SimpleNamespace(decompressobj=Frame),
        ZstdError=zstandard.ZstdError,
    )
    path = tmp_path / "zeros.zst"
    path.write_bytes(zstandard.compress(bytes(1 << 22)) * 2)
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "zstandard", fake)
        with Unzstd(path) as file:
            assert file.read() == bytes(1 << 23)
    assert copied <= 1 << 23


@pytest.mark.parametrize("step", [1, 7, 1 << 12])
def test_zst_frames_end_anywhere(tmp_path, monkeypatch, step):
    zstandard = pytest.importorskip("zstandard")
    monkeypatch.setattr("gptpy.data.files.STEP_BYTES", step)
    monkeypatch.setattr("gptpy.data.files.READ_BYTES", 100)
    parts = [text.encode() for text in TEXTS] + [b"", bytes(300_000)]
    path = tmp_path / "many.zst"
    path.write_bytes(b"".join(zstandard.compress(part) for part in parts))
    with Unzstd(path) as file:
        assert file.read() == b"".join(parts)
    packed = path.read_bytes()
    for cut in (1, 5, 12):
        path.write_bytes(packed[:-cut])
        with pytest.raises(EOFError), Unzstd(path) as file:
            file.read()


@pytest.mark.parametrize("kind", ["large_string", "string_view", "binary", "dictionary"])
def test_parquet_of_every_kind_of_text(tmp_path, kind):
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    made = arrow.array(TEXTS)
    if kind == "dictionary":
        made = made.dictionary_encode()
    elif not hasattr(arrow, kind):
        pytest.skip(f"this pyarrow has no {kind}")
    else:
        made = arrow.array(TEXTS, getattr(arrow, kind)())
    path = tmp_path / "a.parquet"
    try:
        pyarrow.parquet.write_table(arrow.table({"text": made}), path)
    except arrow.ArrowNotImplementedError as error:
        pytest.skip(f"this pyarrow does not write it: {error}")
    assert collect([path]) == TEXTS


def test_parquet_without_text_is_an_error_with_its_row(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    path = tmp_path / "a.parquet"
    fine = [b"fine"] * 70_000  # more than are read at a time
    for made, message in (
        (arrow.array([*fine, b"ab\xff"]), "row 70000 is not UTF-8: byte 2 is 0xff"),
        (
            arrow.array([*fine, b"ab\xff"]).view(arrow.string()),
            "row 70000 is not UTF-8: byte 2 is 0xff",
        ),
        (arrow.array([*fine, None]), "row 70000 is no text: None"),
        (arrow.array([["a"]]), r"row 0 is no text: \['a'\]"),
    ):
        pyarrow.parquet.write_table(arrow.table({"text": made}), path)
        with pytest.raises(DataError, match=r"a\.parquet: column 'text', " + message):
            collect([path])


def test_what_json_can_spell_and_utf8_cannot(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"text": "a\\ud83db"}\n{"text": "\\ud83d\\ude00", "\\udc00": 1}\n{"text": "c\\\\ud800"}\n'
    )
    assert collect([path]) == ["a\ufffdb", "\U0001f600", "c\\ud800"]
    path.write_text('{"text": "a", "n": ' + "1" * 5000 + "}")
    with pytest.raises(DataError, match="not a line of JSON"):
        collect([path])
