"""Texts: which files are refused and with which message; where the default text comes from."""

import hashlib
import io
import urllib.request

import pytest

from gptpy.data import DataError, text
from gptpy.data.text import (
    check_text,
    copy_text,
    default_text,
    python_prose,
    read_text,
    split_file,
    split_text,
    text_blocks,
)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"ab\0c", r"is binary \(byte 2 is zero\)"),
        (b"caf\xe9 noir", "is not UTF-8: byte 3 is 0xe9"),
    ],
)
def test_files_that_are_not_text_are_refused(tmp_path, data, message):
    (tmp_path / "t").write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_text(tmp_path / "t")


def test_paths_that_are_not_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_text(tmp_path / "t")
    with pytest.raises(DataError, match="is a directory"):
        read_text(tmp_path)


def test_a_byte_order_mark_is_left_out(tmp_path):
    (tmp_path / "t").write_bytes(b"\xef\xbb\xbfhello")
    assert read_text(tmp_path / "t") == b"hello" and check_text(tmp_path / "t") == 5
    copy_text(tmp_path / "t", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"hello"
    (tmp_path / "t").write_bytes(b"\xef\xbb\xbfhe\xffo")
    with pytest.raises(DataError, match="byte 5 is 0xff"):
        read_text(tmp_path / "t")


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64])
def test_blocks_end_between_characters(tmp_path, monkeypatch, size):
    monkeypatch.setattr(text, "READ_BYTES", size)
    data = "aé日😀\r\n\0".encode() * 9
    with io.BytesIO(data) as file:
        blocks = list(text_blocks(file, "name"))
    assert b"".join(blocks) == data and all(blocks)
    assert all(block.decode() for block in blocks)
    for cut in range(1, len(data)):
        with io.BytesIO(data[:cut]) as file:
            try:
                data[:cut].decode()
            except UnicodeDecodeError as error:
                with pytest.raises(DataError, match=f"name: is not UTF-8: byte {error.start} is"):
                    list(text_blocks(file, "name"))
            else:
                assert b"".join(text_blocks(file, "name")) == data[:cut]
    (tmp_path / "t").write_bytes(b"a" * 99 + b"\0")
    with pytest.raises(DataError, match=r"is binary \(byte 99 is zero\)"):
        check_text(tmp_path / "t")


def test_the_split_falls_between_characters():
    data = ("é" * 10 + "日本" * 10).encode()
    for fraction in (0.0, 0.1, 0.33, 0.5, 0.77, 0.9, 1.0):
        train, validation = split_text(data, fraction)
        assert train + validation == data
        assert train.decode() + validation.decode() == data.decode()
        assert 0 <= len(train) - int(fraction * len(data)) < 4
    assert len(split_text(b"x" * 1_115_394)[0]) == 1_003_854  # Tiny Shakespeare's published split


@pytest.mark.parametrize("data", ["é" * 10 + "日本" * 10, "a", "😀", "x" * 99])
def test_a_file_is_cut_where_its_text_is(tmp_path, monkeypatch, data):
    monkeypatch.setattr(text, "READ_BYTES", 5)
    for fraction in (0.1, 0.33, 0.5, 0.77, 0.9):
        head, tail = tmp_path / "head", tmp_path / "tail"
        head.write_text(data, encoding="utf-8", newline="")
        split_file(head, tail, fraction)
        assert (head.read_bytes(), tail.read_bytes()) == split_text(data.encode(), fraction)


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No network, an empty cache, no data folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("GPTPY_DATA_DIR", raising=False)

    def offline(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    return tmp_path


def test_without_shakespeare_it_is_pythons_prose_with_a_note(nowhere):
    found = default_text()
    assert found.data == python_prose() and len(found.data) > 400_000
    assert found.note is not None
    assert "no route to host" in found.note and "GPTPY_DATA_DIR" in found.note


def test_a_file_with_another_checksum_is_not_used(nowhere, monkeypatch):
    (nowhere / text.SHAKESPEARE).write_text("not Shakespeare")
    monkeypatch.setenv("GPTPY_DATA_DIR", str(nowhere))
    note = default_text().note
    assert note is not None and "has another sha256" in note


def test_a_download_is_checked_and_kept(nowhere, monkeypatch):
    data = b"O Romeo"

    class Response:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def read(self, limit):
            return data

    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: Response())
    assert "expected" in (default_text().note or "")
    monkeypatch.setattr(text, "SHAKESPEARE_SHA256", hashlib.sha256(data).hexdigest())
    assert default_text().data == data
    monkeypatch.setattr(urllib.request, "urlopen", None)  # from the cache, no network now
    assert default_text().data == data and default_text().note is None


def test_the_shared_text_is_the_published_one(shared_dir, monkeypatch):
    monkeypatch.setenv("GPTPY_DATA_DIR", str(shared_dir / "data"))
    found = default_text(download=False)
    assert found.name == "Tiny Shakespeare" and len(found.data) == 1_115_394
