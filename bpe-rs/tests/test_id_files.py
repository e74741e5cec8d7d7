"""`Encoding.encode_files`: files of all forms, separators, progress, errors, id files."""

import gzip
import json
import os
import random
import struct
import subprocess
import sys
import threading

import bpe_rs
import numpy as np
import pytest
import zstandard

TEXT = "Hello, wörld! 你好 🙂 don't  \n\n x=1234567;<|endoftext|> end\n" * 300


@pytest.fixture(scope="module", params=["r50k_base", "o200k_base"])
def encoding(request):
    return bpe_rs.get_encoding(request.param)


def documents(ids, end):
    """The ids of each document: `ids` split at the separator `end`."""
    rows, row = [], []
    for token in ids.tolist():
        if token == end:
            rows.append(row)
            row = []
        else:
            row.append(token)
    return [*rows, row]


def test_text_files(encoding, tmp_path):
    # Large enough to be cut into several parts.
    big = TEXT * 400
    (tmp_path / "a.txt").write_text(big, encoding="utf-8", newline="")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(TEXT.encode(), 1))
    (tmp_path / "c.txt.zst").write_bytes(zstandard.compress(TEXT.encode()))
    (tmp_path / "empty.txt").write_bytes(b"")
    paths = [tmp_path / name for name in ("a.txt", "b.txt.gz", "c.txt.zst", "empty.txt")]
    plain, special = encoding.encode_ordinary, encoding.encode
    got = encoding.encode_files(paths)
    assert got.dtype == (np.uint16 if encoding.max_token_value < 65536 else np.uint32)
    assert got.tolist() == plain(big) + 2 * plain(TEXT)
    got = encoding.encode_files(paths[1:], special_tokens=True, dtype=np.uint32)
    assert got.tolist() == 2 * special(TEXT, allowed_special="all")
    got = encoding.encode_files(paths[1:], separator="<|endoftext|>", num_threads=1)
    want = [*special(TEXT, allowed_special="all"), encoding.eot_token]
    assert got.tolist() == 2 * want + [encoding.eot_token]
    assert encoding.encode_files(paths[3]).size == 0


def test_lines_and_rows(encoding, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rng = random.Random(1)
    texts = ["".join(rng.choices('ab é\n你"\\', k=rng.randrange(40))) for _ in range(3000)]
    lines = "".join(json.dumps({"id": 1, "body": text}) + "\n" for text in texts)
    (tmp_path / "a.jsonl").write_text(lines + "\n")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    parquet.write_table(pyarrow.table({"body": texts}), tmp_path / "a.parquet")
    want = [encoding.encode_ordinary(text) for text in texts]
    for name in ("a.jsonl", "a.jsonl.gz", "a.parquet"):
        got = encoding.encode_files(tmp_path / name, separator="<|endoftext|>", field="body")
        assert documents(got, encoding.eot_token) == [*want, []]
        with pytest.raises(ValueError, match="'text'"):
            encoding.encode_files(tmp_path / name)


@pytest.mark.parametrize("wrong", [b'{"text": 5}', b'{"body": "x"}', b"{", b"\xff"])
def test_errors_in_json_lines_name_the_line(encoding, tmp_path, wrong):
    row = json.dumps({"text": "some words in a row"}).encode()
    for before in (0, 2, 40_000):  # in a later part of the file than the first, too
        content = b"\n".join([b"", *[row] * before, wrong, row])
        (tmp_path / "a.jsonl").write_bytes(content)
        (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(content))
        for path in (tmp_path / "a.jsonl", tmp_path / "a.jsonl.gz"):
            place = rf"{path.name}, line {before + 2}: .*offset {1 + before * (len(row) + 1)}"
            for call in (encoding.encode_files, bpe_rs.count_words):
                with pytest.raises(ValueError, match=place):
                    call(path)


def test_separators_inside_lines_and_rows_are_text(encoding, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    text, end = "one<|endoftext|>two", "<|endoftext|>"
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": text}))
    parquet.write_table(pyarrow.table({"text": [text, None]}), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.parquet"):
        got = encoding.encode_files(tmp_path / name, separator=end)
        assert got.tolist() == [*encoding.encode_ordinary(text), encoding.eot_token]
        got = encoding.encode_files(tmp_path / name, separator=end, special_tokens=True)
        assert got.tolist() == encoding.encode(text + end, allowed_special="all")


def test_progress_counts_the_text_of_all_files(encoding, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [TEXT] * 100 + ["é" * 40_000] * 100
    parquet.write_table(pyarrow.table({"text": rows}), tmp_path / "a.parquet")
    (tmp_path / "b.txt").write_text(TEXT * 200, encoding="utf-8", newline="")
    (tmp_path / "c.jsonl").write_text(json.dumps({"text": TEXT}) + "\n")
    paths = [tmp_path / name for name in ("a.parquet", "b.txt", "c.jsonl", "a.parquet")]
    bytes_of_rows = sum(len(row.encode()) for row in rows)
    lines = (tmp_path / "c.jsonl").stat().st_size
    want = 2 * bytes_of_rows + 200 * len(TEXT.encode()) + lines
    results = []
    for threads in (1, 2):
        seen: list[int] = []
        ids = encoding.encode_files(paths, num_threads=threads, progress=seen.append)
        results.append(ids.tolist())
        assert seen == sorted(seen) and seen[-1] == want
        # Called during a file, not only at its end.
        assert sum(done < bytes_of_rows for done in seen) > 1
    assert results[0] == results[1]
    for path in paths:
        with pytest.raises(ValueError, match="num_threads >= 1, got 0"):
            encoding.encode_files(path, num_threads=0)


def test_errors_name_the_file(encoding, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    packed = gzip.compress(os.urandom(5000).hex().encode())
    (tmp_path / "cut.gz").write_bytes(packed[:-1000])
    (tmp_path / "wrong.gz").write_bytes(b"no gzip at all")
    (tmp_path / "cut.zst").write_bytes(zstandard.compress(os.urandom(5000).hex().encode())[:-500])
    (tmp_path / "wrong.zst").write_bytes(b"no zstd at all")
    (tmp_path / "wrong.parquet").write_bytes(b"no parquet at all")
    (tmp_path / "wrong.jsonl").write_bytes(b'{"text": ')
    (tmp_path / "bytes.jsonl").write_bytes(b'{"text": "\xff"}')
    parquet.write_table(pyarrow.table({"text": [1, 2]}), tmp_path / "numbers.parquet")
    parquet.write_table(pyarrow.table({"body": ["a"]}), tmp_path / "other.parquet")
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises((ValueError, OSError), match=path.name.replace(".", r"\.")):
            encoding.encode_files(path, out=tmp_path / "out.ids")
    with pytest.raises(FileNotFoundError, match="missing"):
        encoding.encode_files(tmp_path / "missing.parquet")
    assert not list(tmp_path.glob("out.ids*"))


INTERRUPTED = """
import sys, threading, signal, time, bpe_rs
import numpy  # takes a while, and would lose the exception: `encode_files` imports it
path, out, kind = sys.argv[1:]
# Background jobs of a shell ignore SIGINT, and so do their children by default.
signal.signal(signal.SIGINT, signal.default_int_handler)
def interrupt():
    time.sleep(0.3)
    signal.raise_signal(signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
progress = (lambda done: None) if kind == "progress" else None
try:
    bpe_rs.get_encoding("gpt2").encode_files([path] * 1_000_000, out=out, progress=progress)
except KeyboardInterrupt:
    sys.exit(7)
"""


@pytest.mark.parametrize("kind", ["silent", "progress"])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.parquet"])
def test_ctrl_c_leaves_nothing(tmp_path, name, kind):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path, out = tmp_path / name, tmp_path / "out.ids"
    if name == "a.parquet":
        parquet.write_table(pyarrow.table({"text": [TEXT] * 50}), path)
    else:
        line = json.dumps({"text": TEXT}) + "\n"
        path.write_text((line if name == "a.jsonl" else TEXT) * 50, encoding="utf-8")
    command = [sys.executable, "-c", INTERRUPTED, str(path), str(out), kind]
    assert subprocess.run(command, timeout=60).returncode == 7
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_id_files(encoding, tmp_path):
    source, out = tmp_path / "a.txt", tmp_path / "a.ids"
    source.write_text(TEXT, encoding="utf-8", newline="")
    ids = encoding.encode_files(source)
    assert encoding.encode_files(source, out=out) == ids.size
    raw = out.read_bytes()
    magic, version, size, order, zero, count = struct.unpack("<8sIIIIQ", raw[:32])
    assert (magic, version, order, zero) == (b"GPTPYIDS", 1, 0x01020304, 0)
    assert size == ids.itemsize and count == ids.size
    assert raw[32:64].hex() == encoding.fingerprint
    assert np.array_equal(np.frombuffer(raw[64:], ids.dtype), ids)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ids", "a.txt"]


def test_nothing_half_written(encoding, tmp_path):
    bad, out = tmp_path / "bad.txt", tmp_path / "bad.ids"
    bad.write_bytes(b"fine " * 1000 + b"\xff" + b" fine" * 1000)
    with pytest.raises(ValueError, match=r"bad\.txt: expected UTF-8 text.*0xff at offset 5000"):
        encoding.encode_files(bad, out=out)
    good = tmp_path / "good.txt"
    good.write_text("fine " * 1000)

    def stop(done):
        assert done == 5000
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encoding.encode_files(good, out=out, progress=stop)
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n{"text": 1}\n')
    with pytest.raises(ValueError, match="offset 14: expected a line of JSON"):
        encoding.encode_files(tmp_path / "bad.jsonl", out=out)
    with pytest.raises(FileNotFoundError, match="missing"):
        encoding.encode_files(tmp_path / "missing.txt", out=out)
    with pytest.raises(ValueError, match="separator: expected a special token"):
        encoding.encode_files(good, out=out, separator="no")
    with pytest.raises(ValueError, match="dtype"):
        encoding.encode_files(good, dtype=np.int64)
    assert not out.exists() and not list(tmp_path.glob("*.tmp"))


def test_many_small_files(encoding, tmp_path):
    text = TEXT.replace("<|endoftext|>", "")
    texts = [text[:at] * (at % 7) for at in range(300)] + ["a few words " * 50_000, "end"]
    paths, want = [], []
    for at, text in enumerate(texts):
        paths.append(tmp_path / f"{at}.txt")
        paths[-1].write_text(text, encoding="utf-8", newline="")
        want += [*encoding.encode_ordinary(text), encoding.eot_token]
    for threads in (1, 2):
        got = encoding.encode_files(paths, separator="<|endoftext|>", num_threads=threads)
        assert got.tolist() == want


def test_a_file_that_becomes_shorter_is_an_error(encoding, tmp_path):
    source, out = tmp_path / "shrinking.txt", tmp_path / "out.ids"
    source.write_text("some words " * 4_000_000)

    def shorten(done):
        os.truncate(source, 1000)

    with pytest.raises(OSError, match=r"shrinking\.txt: the file became shorter"):
        encoding.encode_files(source, out=out, num_threads=2, progress=shorten)
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


@pytest.mark.skipif(os.name != "posix", reason="needs named pipes")
def test_pipes_are_read_like_files(encoding, tmp_path):
    text = "a pipe says that it is empty. " * 5000
    for name in ("text", "lines.jsonl"):
        pipe = tmp_path / name
        os.mkfifo(pipe)
        sent = text if name == "text" else json.dumps({"text": text})
        writer = threading.Thread(target=pipe.write_text, args=(sent,))
        writer.start()
        assert encoding.encode_files(pipe).tolist() == encoding.encode_ordinary(text)
        writer.join()
    (tmp_path / "empty").touch()
    assert encoding.encode_files([tmp_path / "empty"]).tolist() == []


def test_folders_are_refused(encoding, tmp_path):
    with pytest.raises(IsADirectoryError, match="is a directory, not a file"):
        encoding.encode_files(tmp_path)
    (tmp_path / "a.txt").write_text("text")

    def never(done):
        raise AssertionError("the error must come before the work")

    with pytest.raises(IsADirectoryError, match="is a directory, not a file"):
        encoding.encode_files(tmp_path / "a.txt", out=tmp_path, progress=never)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
