"""`Encoding.decode_stream`."""

import bpe_rs
import pytest

TEXT = "Hello, wörld! 你好 🙂 don't  \n\n x=1234567;<|endoftext|> end\n" * 300


@pytest.fixture(scope="module", params=["r50k_base", "o200k_base"])
def encoding(request):
    return bpe_rs.get_encoding(request.param)


def test_streams_never_break_characters(encoding):
    stream = encoding.decode_stream()
    parts = [stream.push(token) for token in encoding.encode(TEXT, allowed_special="all")]
    assert "".join(parts) + stream.finish() == TEXT
    assert not any("\ufffd" in part for part in parts)
    smile = encoding.encode("🙂" * 3)
    stream.push(smile[0])
    assert stream.finish() in ("", "\ufffd")
