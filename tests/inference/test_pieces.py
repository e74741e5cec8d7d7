"""Pieces of text against the whole text."""

import random

from gptpy.inference.pieces import TextPieces

from .networks import Bytes


def whole(data: bytes, stop):
    """The text before the first stop string to be complete, and that string."""
    for end in range(len(data) + 1):
        text = data[:end].decode(errors="ignore" if end < len(data) else "replace")
        found = [(text.find(s), s) for s in stop if s in text]
        if found:
            return text[: min(found)[0]], min(found)[1]
    return data.decode(errors="replace"), None


def test_pieces_make_up_the_text_and_none_is_taken_back():
    draw = random.Random(0)
    alphabet = ["a", "b", "ab", "é", "語", "😀"]
    for _ in range(400):
        data = "".join(draw.choices(alphabet, k=draw.randint(0, 14))).encode()
        if draw.random() < 0.3:
            data = data[: draw.randint(0, len(data))]  # cut inside a character
        stop = ["".join(draw.choices(alphabet, k=draw.randint(1, 3))) for _ in range(2)]
        stop = stop[: draw.randint(0, 2)]
        pieces, found = TextPieces(Bytes(), stop), []
        for byte in data:
            found.append(pieces.add(byte))
            if pieces.stopped_by is not None:
                break
        shown = "".join(found)
        text, by = whole(data, stop)
        assert "\ufffd" not in shown and text.startswith(shown)
        assert shown + pieces.finish() == text and pieces.stopped_by == by
        assert pieces.finish() == ""


def test_before_the_minimum_nothing_stops():
    pieces = TextPieces(Bytes(), ["b"])
    assert [pieces.add(b, may_stop=n >= 2) for n, b in enumerate(b"bbcb")] == ["b", "b", "c", ""]
    assert pieces.stopped_by == "b"


def test_ids_without_a_token_and_no_tokenizer():
    pieces = TextPieces(Bytes())
    assert [pieces.add(token) for token in (97, 300, 98)] == ["a", "", "b"]
    assert TextPieces(None).add(5) == "" and TextPieces(None).finish() == ""
