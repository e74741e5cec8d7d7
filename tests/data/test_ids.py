"""Id files: what is written comes back, damage is an error that names it."""

import numpy as np
import pytest

from gptpy.data.ids import DTYPES, HEADER, DataError, IdWriter, dtype_for, open_ids

FINGERPRINT = "ab" * 32


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "some.ids"
    with IdWriter(target, DTYPES[2], FINGERPRINT) as out:
        out.write(np.array([1, 2, 3]))
        out.write(np.array([65535], np.uint32))
    return target


def test_ids_come_back(path):
    opened = open_ids(path, fingerprint=FINGERPRINT)
    assert opened.ids.tolist() == [1, 2, 3, 65535]
    assert opened.fingerprint == FINGERPRINT
    assert HEADER.size == 64 and path.stat().st_size == 64 + 8


def test_header_is_the_documented_one(path):
    head = path.read_bytes()[:64]
    assert head[:8] == b"GPTPYIDS"
    numbers = np.frombuffer(head[8:32], "<u4")
    assert numbers.tolist() == [1, 2, 0x01020304, 0, 4, 0]
    assert head[32:].hex() == FINGERPRINT


def test_the_type_follows_the_vocabulary():
    assert dtype_for(65536).itemsize == 2 and dtype_for(65537).itemsize == 4


def test_an_id_that_does_not_fit_leaves_no_file(tmp_path):
    with (
        pytest.raises(DataError, match=r"0\.\.65536 do not fit 2 bytes"),
        IdWriter(tmp_path / "x.ids", DTYPES[2], FINGERPRINT) as out,
    ):
        out.write(np.array([0, 65536]))
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_of_ids_is_fine(tmp_path):
    with IdWriter(tmp_path / "e.ids", DTYPES[4], FINGERPRINT):
        pass
    assert len(open_ids(tmp_path / "e.ids").ids) == 0


def change(path, at: int, data: bytes) -> None:
    raw = bytearray(path.read_bytes())
    raw[at : at + len(data)] = data
    path.write_bytes(bytes(raw))


def test_ids_of_another_file_are_appended(path, tmp_path):
    other = tmp_path / "other.ids"
    with IdWriter(other, DTYPES[2], FINGERPRINT) as out:
        out.write(np.array([7]))
        out.write_file(path)
        out.write(np.array([8]))
    assert open_ids(other).ids.tolist() == [7, 1, 2, 3, 65535, 8]
    for dtype, fingerprint, message in (
        (DTYPES[4], FINGERPRINT, "expected uint32"),
        (DTYPES[2], "cd" * 32, "written with tokenizer"),
    ):
        with (
            pytest.raises(DataError, match=message),
            IdWriter(tmp_path / "no.ids", dtype, fingerprint) as out,
        ):
            out.write_file(path)
    assert not (tmp_path / "no.ids").exists()


def test_damage_is_named(path):
    with pytest.raises(DataError, match="written with tokenizer abababababab"):
        open_ids(path, fingerprint="cd" * 32)
    whole = path.read_bytes()
    path.write_bytes(whole[:-2])
    with pytest.raises(DataError, match="promises 4 ids of 2 bytes = 72 bytes, the file has 70"):
        open_ids(path)
    path.write_bytes(whole)
    change(path, 8, b"\x09")
    with pytest.raises(DataError, match="version 9"):
        open_ids(path)
    path.write_bytes(whole)
    change(path, 16, b"\x01\x02\x03\x04")
    with pytest.raises(DataError, match="byte order"):
        open_ids(path)
    path.write_bytes(whole)
    change(path, 12, b"\x08")
    with pytest.raises(DataError, match="8 bytes per id"):
        open_ids(path)
    path.write_bytes(b"hello")
    with pytest.raises(DataError, match="no id file"):
        open_ids(path)
    with pytest.raises(DataError, match="cannot be read"):
        open_ids(path.with_name("missing"))
