"""What `Encoding` has beyond tiktoken: files, counting, offsets, padding, streams."""

import gzip
import json
import os
import random
import signal
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


def test_counting(encoding):
    want = len(encoding.encode_ordinary(TEXT))
    assert encoding.count(TEXT, disallowed_special=()) == want
    assert encoding.count_till_limit(TEXT, want, disallowed_special=()) == want
    assert encoding.count_till_limit(TEXT, want - 1, disallowed_special=()) is None
    want = len(encoding.encode(TEXT, allowed_special="all"))
    assert encoding.count(TEXT, allowed_special="all") == want
    for limit in (0, 1, want // 2, want - 1):
        assert encoding.count_till_limit(TEXT, limit, allowed_special="all") is None
    assert encoding.count_till_limit(TEXT, want, allowed_special="all") == want
    assert encoding.count("") == 0 == encoding.count_till_limit("", 0)
    with pytest.raises(ValueError, match="disallowed special token"):
        encoding.count(TEXT)


def test_offsets_cover_the_text(encoding):
    ids, offsets = encoding.encode_with_offsets(TEXT, allowed_special="all")
    assert ids == encoding.encode(TEXT, allowed_special="all")
    for token, (start, end) in zip(ids, offsets, strict=True):
        piece = encoding.decode_single_token_bytes(token)
        try:
            assert TEXT[start:end] == piece.decode()
        except UnicodeDecodeError:
            # Part of a character: the characters it touches hold its bytes.
            assert piece in TEXT[start:end].encode()
    assert offsets[0][0] == 0 and offsets[-1][1] == len(TEXT)
    starts = [start for start, _ in offsets]
    assert starts == sorted(starts)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding(encoding, side):
    texts = ["one two three four", "", "x"]
    rows = encoding.encode_batch(texts)
    ids, mask = encoding.encode_padded(texts, 6, side=side)
    assert ids.dtype == mask.dtype == np.int64 and ids.shape == mask.shape == (3, 6)
    for row, padded, ones in zip(rows, ids, mask, strict=True):
        assert padded[ones == 1].tolist() == row
        assert (padded[ones == 0] == encoding.eot_token).all()
        kept = ones[: len(row)] if side == "right" else ones[6 - len(row) :]
        assert kept.all() and ones.sum() == len(row)
    ids, mask = encoding.encode_padded(texts, 2, truncate=True, pad_id=7, side=side)
    assert ids[0].tolist() == rows[0][:2] and ids[1].tolist() == [7, 7]
    assert encoding.encode_padded(texts)[0].shape == (3, len(rows[0]))
    assert encoding.encode_padded([])[0].shape == (0, 0)
    with pytest.raises(ValueError, match="truncate=True"):
        encoding.encode_padded(texts, 2)


def test_streams_never_break_characters(encoding):
    stream = encoding.decode_stream()
    parts = [stream.push(token) for token in encoding.encode(TEXT, allowed_special="all")]
    assert "".join(parts) + stream.finish() == TEXT
    assert not any("\ufffd" in part for part in parts)
    smile = encoding.encode("🙂" * 3)
    stream.push(smile[0])
    assert stream.finish() in ("", "\ufffd")


def documents(ids, end):
    """Split at the separator's id."""
    rows, row = [], []
    for token in ids.tolist():
        if token == end:
            rows.append(row)
            row = []
        else:
            row.append(token)
    return [*rows, row]


def test_text_files(encoding, tmp_path):
    # Large enough for several parts, cut at places that this test does not choose.
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
        with pytest.raises(ValueError, match=r"'text'|\"text\""):
            encoding.encode_files(tmp_path / name)


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
        # Told while a file is being read, not only at its end.
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
path, out, kind = sys.argv[1:]
# A shell starts what it puts in the background with SIGINT ignored.
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


def test_many_small_files_are_their_texts(encoding, tmp_path):
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


@pytest.mark.skipif(os.name != "posix", reason="named pipes are a matter of POSIX systems")
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


def test_folders_are_no_files(encoding, tmp_path):
    with pytest.raises(IsADirectoryError, match="is a directory, not a file"):
        encoding.encode_files(tmp_path)
    (tmp_path / "a.txt").write_text("text")

    def never(done):
        raise AssertionError("it is told before the work")

    with pytest.raises(IsADirectoryError, match="is a directory, not a file"):
        encoding.encode_files(tmp_path / "a.txt", out=tmp_path, progress=never)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_threads_share_an_encoding(encoding):
    rng = random.Random(2)
    texts = ["".join(rng.choices("abc dé\n你1 ", k=3000)) for _ in range(40)]
    want = [encoding.encode_ordinary(text) for text in texts]
    got: list[list[list[int]]] = [[] for _ in range(4)]

    def work(at):
        got[at] = [encoding.encode_ordinary(text) for text in texts]

    threads = [threading.Thread(target=work, args=(at,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(rows == want for rows in got)


def test_caches_are_bounded(encoding):
    encoding.set_cache_limit(1 << 20)
    try:
        for at in range(30):
            encoding.count("".join(f" word{at}x{i} longer-{i}-{at}-é" for i in range(5000)))
        assert encoding.cache_bytes < 4 << 20
    finally:
        encoding.set_cache_limit(32 << 20)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_children_encode():
    code = """
import os, bpe_rs
encoding = bpe_rs.get_encoding("gpt2")
want = encoding.encode_batch(["a b c"] * 100)
for _ in range(5):
    child = os.fork()
    if child == 0:
        os._exit(0 if encoding.encode_batch(["a b c"] * 100) == want else 1)
    assert os.waitpid(child, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("others", [0, 3], ids=["idle workers", "busy workers"])
def test_children_of_a_process_whose_threads_encode(others):
    code = f"""
import os, threading, bpe_rs
encoding = bpe_rs.get_encoding("r50k_base")
batch = [f"a text of its own, {{i}} times " * 100 for i in range(200)]
want = encoding.encode_batch(batch, num_threads=1)
end, wrong = threading.Event(), []
def work():
    while not end.is_set():
        if encoding.encode_batch(batch) != want:
            wrong.append(1)
threads = [threading.Thread(target=work) for _ in range({others})]
for thread in threads: thread.start()
for _ in range(20):
    assert encoding.encode_batch(batch) == want
    child = os.fork()
    if child == 0:
        # A grandchild too.
        right = all(encoding.encode_batch(batch) == want for _ in range(3))
        if right and (grandchild := os.fork()) != 0:
            right = os.waitpid(grandchild, 0)[1] == 0
        elif right:
            right = encoding.encode_batch(batch) == want
        os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
end.set()
for thread in threads: thread.join()
assert not wrong
"""
    run = subprocess.run(
        [sys.executable, "-c", code], check=False, timeout=120, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs signals")
def test_workers_do_not_receive_signals_that_the_program_waits_for():
    """A program blocks a signal in its own threads before it waits for it, not in ours."""
    code = """
import os, signal, time, bpe_rs
encoding = bpe_rs.get_encoding("r50k_base")
for _ in range(5):
    encoding.encode_batch(["a text of its own " * 1000] * 40, num_threads=2)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(0.05)
assert signal.sigwait({signal.SIGTERM}) == signal.SIGTERM
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_workers_block_all_signals_but_synchronous_ones():
    code = """
import glob, signal, time, bpe_rs
encoding = bpe_rs.get_encoding("r50k_base")
batch = ["a text of its own " * 1000] * 40
synchronous = {
    signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGABRT,
    signal.SIGSYS,
}
others = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD}

def masks_of_workers():
    for path in glob.glob("/proc/self/task/*/status"):
        try:
            fields = dict(line.split(":", 1) for line in open(path))
        except OSError:
            continue  # it has just ended
        if fields["Name"].strip() == "bpe-rs":
            yield int(fields["SigBlk"], 16)

seen, until = [], time.monotonic() + 10
while not seen and time.monotonic() < until:
    encoding.encode_batch(batch, num_threads=2)
    seen = list(masks_of_workers())
print(len(seen) > 0 or bpe_rs._core.available_threads() == 1)
for mask in seen:
    blocked = {number for number in synchronous | others if mask >> (number - 1) & 1}
    assert blocked == others, blocked
"""
    run = subprocess.run(
        [sys.executable, "-c", code], check=False, timeout=60, capture_output=True, text=True
    )
    assert (run.returncode, run.stdout) == (0, "True\n"), run.stderr


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs an affinity mask")
def test_the_number_of_threads_follows_the_affinity_mask():
    code = """
import os, time, bpe_rs
assert bpe_rs._core.available_threads() <= len(os.sched_getaffinity(0))
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
time.sleep(0.15)  # an answer is reused for 0.1 s
assert bpe_rs._core.available_threads() == 1
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_idle_workers_end_before_a_fork():
    code = """
import glob, os, time

def workers():
    names = []
    for path in glob.glob("/proc/self/task/*/comm"):
        try:
            names.append(open(path).read().strip())
        except OSError:
            pass  # it has just ended
    return names.count("bpe-rs")

def at_fork():
    # Handlers run last in, first out: ours after the package's. They would end anyway in a second.
    until = time.monotonic() + 0.4
    while workers() and time.monotonic() < until:
        pass
    assert workers() == 0, workers()
    print("none")

os.register_at_fork(before=at_fork)
import bpe_rs
encoding = bpe_rs.get_encoding("r50k_base")
batch = ["a text of its own " * 1000] * 40
for _ in range(3):
    encoding.encode_batch(batch)
    until = time.monotonic() + 10
    while len(os.sched_getaffinity(0)) > 1 and not workers():
        # Started, but not yet under its name.
        assert time.monotonic() < until
    child = os.fork()
    if child == 0:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""
    run = subprocess.run(
        [sys.executable, "-c", code], check=False, timeout=60, capture_output=True, text=True
    )
    assert (run.returncode, run.stdout) == (0, "none\n" * 3), run.stderr


def test_lists_share_their_numbers_and_survive_the_encoding():
    encoding = bpe_rs.Encoding(
        "own", pat_str="gpt2", mergeable_ranks={bytes([b]): 1000 + b for b in range(256)},
        special_tokens={"<e>": 5000},
    )  # fmt: skip
    ids = encoding.encode("abca<e>", allowed_special="all")
    assert ids == [1097, 1098, 1099, 1097, 5000] and ids[0] is ids[3]
    del encoding
    assert ids == [1097, 1098, 1099, 1097, 5000]
