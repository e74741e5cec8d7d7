"""Texts: what is refused and in which words; where the quickstart's text comes from."""

import hashlib
import urllib.request

import pytest

from gptpy.data import DataError, text
from gptpy.data.text import default_text, python_prose, read_text, split_text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"ab\0c", r"is binary \(byte 2 is zero\)"),
        (b"caf\xe9 noir", "is not UTF-8: byte 3 is 0xe9"),
    ],
)
def test_what_is_no_text(tmp_path, data, message):
    (tmp_path / "t").write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_text(tmp_path / "t")


def test_what_is_no_file(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_text(tmp_path / "t")
    with pytest.raises(DataError, match="is a directory"):
        read_text(tmp_path)


def test_a_byte_order_mark_is_left_out(tmp_path):
    (tmp_path / "t").write_bytes(b"\xef\xbb\xbfhello")
    assert read_text(tmp_path / "t") == b"hello"


def test_the_split_falls_between_characters():
    data = ("é" * 10 + "日本" * 10).encode()
    for fraction in (0.0, 0.1, 0.33, 0.5, 0.77, 0.9, 1.0):
        train, validation = split_text(data, fraction)
        assert train + validation == data
        assert train.decode() + validation.decode() == data.decode()
        assert 0 <= len(train) - int(fraction * len(data)) < 4
    assert len(split_text(b"x" * 1_115_394)[0]) == 1_003_854  # Tiny Shakespeare's published split


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No network, an empty cache, no data folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("GPTPY_DATA_DIR", raising=False)

    def offline(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    return tmp_path


def test_without_shakespeare_it_is_pythons_prose_and_says_so(nowhere):
    found = default_text()
    assert found.data == python_prose() and len(found.data) > 400_000
    assert found.note is not None
    assert "no route to host" in found.note and "GPTPY_DATA_DIR" in found.note


def test_a_text_with_another_sum_is_not_used(nowhere, monkeypatch):
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
