"""Byte-pair encoding in plain Python, slow and visible, to learn from."""

from __future__ import annotations

import sys
from collections import Counter
from itertools import pairwise

from bpe_rs.tiktoken.registry import get_encoding

# Terminal colours in which no two neighbours are hard to tell apart.
_COLOURS = (167, 179, 185, 77, 80, 68, 134)


class SimpleBytePairEncoding:
    """An encoding that can show what it does.

    >>> enc = SimpleBytePairEncoding.from_tiktoken("gpt2")
    >>> enc.encode("hello", visualise="simple")
    [b'h', b'e', b'l', b'l', b'o']
    [b'he', b'l', b'l', b'o']
    [b'he', b'll', b'o']
    [b'hell', b'o']
    [b'hello']
    <BLANKLINE>
    [31373]
    """

    def __init__(self, *, pat_str: str, mergeable_ranks: dict[bytes, int]) -> None:
        self.pat_str = pat_str
        self.mergeable_ranks = mergeable_ranks
        self._decoder = {rank: token for token, rank in mergeable_ranks.items()}
        self._pat = _compile(pat_str)

    def encode(self, text: str, visualise: str | None = "colour") -> list[int]:
        """Ids of a text; every merge is shown in "colour", "simple"ly, or (None) not at all."""
        tokens = []
        for word in self._pat.findall(text):
            tokens += bpe_encode(self.mergeable_ranks, word.encode("utf-8"), visualise=visualise)
        return tokens

    def decode_bytes(self, tokens: list[int]) -> bytes:
        """Bytes of ids; KeyError for an id that is no token."""
        return b"".join(self.decode_tokens_bytes(tokens))

    def decode(self, tokens: list[int]) -> str:
        """Text of ids; bytes that are no UTF-8 become U+FFFD."""
        return self.decode_bytes(tokens).decode("utf-8", errors="replace")

    def decode_tokens_bytes(self, tokens: list[int]) -> list[bytes]:
        """Bytes of each id."""
        return [self._decoder[token] for token in tokens]

    @staticmethod
    def train(training_data: str, vocab_size: int, pat_str: str):
        """An encoding with merges learned from a text, each of them shown."""
        ranks = bpe_train(data=training_data, vocab_size=vocab_size, pat_str=pat_str)
        return SimpleBytePairEncoding(pat_str=pat_str, mergeable_ranks=ranks)

    @staticmethod
    def from_tiktoken(encoding):
        """The same vocabulary as an encoding, or as the one of that name."""
        if isinstance(encoding, str):
            encoding = get_encoding(encoding)
        return SimpleBytePairEncoding(
            pat_str=encoding._pat_str, mergeable_ranks=encoding._mergeable_ranks
        )


def bpe_encode(
    mergeable_ranks: dict[bytes, int], input: bytes, visualise: str | None = "colour"
) -> list[int]:
    """Ids of one piece: merge the pair of smallest rank, the leftmost of equals, until none is."""
    parts = [bytes([byte]) for byte in input]
    while True:
        _show(parts, visualise)
        mergeable = [
            (mergeable_ranks[left + right], at)
            for at, (left, right) in enumerate(pairwise(parts))
            if left + right in mergeable_ranks
        ]
        if not mergeable:
            break
        _, at = min(mergeable)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    if visualise:
        _write("\n")
    return [mergeable_ranks[part] for part in parts]


def bpe_train(
    data: str, vocab_size: int, pat_str: str, visualise: str | None = "colour"
) -> dict[bytes, int]:
    """Ranks learned from a text: merge the most frequent pair, the first seen of equals.

    Raises ValueError when `vocab_size` leaves no room for the 256 bytes, or is more than the
    text has pairs for.

    >>> bpe_train("abab", 257, r"\\w+", visualise=None)[b"ab"]
    256
    """
    if vocab_size < 2**8:
        raise ValueError("vocab_size must be at least 256, so we can encode all bytes")
    ranks = {bytes([byte]): byte for byte in range(2**8)}
    words = [[bytes([b]) for b in word.encode("utf-8")] for word in _compile(pat_str).findall(data)]
    while len(ranks) < vocab_size:
        counts = Counter(pair for word in words for pair in pairwise(word))
        if not counts:
            raise ValueError(
                f"vocab_size is {vocab_size}, but after {len(ranks)} tokens every word of the "
                "text is one token: choose a smaller vocabulary or a longer text"
            )
        pair = max(counts, key=counts.__getitem__)
        token = pair[0] + pair[1]
        ranks[token] = len(ranks)
        words = [_merged(word, pair) for word in words]
        if visualise:
            _write(f"The current most common pair is {pair[0]!r} + {pair[1]!r}\n")
            _write(f"So we made {token!r} our {len(ranks)}th token\n")
            if visualise in ("colour", "color"):
                _write("Now the first fifty words in our training data look like:\n")
                visualise_tokens([token for word in words[:50] for token in word])
            elif visualise == "simple":
                _write("Now the first twenty words in our training data look like:\n")
                for word in words[:20]:
                    _write(f"{word}\n")
            _write("\n\n")
    return ranks


def _merged(word: list[bytes], pair: tuple[bytes, bytes]) -> list[bytes]:
    merged = []
    at = 0
    while at < len(word):
        if tuple(word[at : at + 2]) == pair:
            merged.append(pair[0] + pair[1])
            at += 2
        else:
            merged.append(word[at])
            at += 1
    return merged


def visualise_tokens(token_values: list[bytes]) -> None:
    """Write tokens in colours; an incomplete character shows as U+FFFD."""
    position = 0
    before = None
    for token in token_values:
        text = token.decode("utf-8", errors="replace")
        colour = _COLOURS[position % len(_COLOURS)]
        if colour == before:
            colour = _COLOURS[(position + 1) % len(_COLOURS)]
        before = colour
        position += len(text)
        _write(f"\x1b[48;5;{colour}m{text}")
    _write("\x1b[0m\n")


def train_simple_encoding():
    """Train on this module's own source, and show the result at work."""
    from pathlib import Path

    enc = SimpleBytePairEncoding.train(
        Path(__file__).read_text(encoding="utf-8"),
        vocab_size=600,
        pat_str=get_encoding("gpt2")._pat_str,
    )
    _write("This is the sequence of merges performed in order to encode 'hello world':\n")
    tokens = enc.encode("hello world")
    assert enc.decode(tokens) == "hello world"
    return enc


def _show(parts: list[bytes], visualise: str | None) -> None:
    if visualise in ("colour", "color"):
        visualise_tokens(parts)
    elif visualise == "simple":
        _write(f"{parts}\n")


def _write(text: str) -> None:
    sys.stdout.write(text)


def _compile(pat_str: str):
    try:
        import regex
    except ImportError as error:
        raise ImportError(
            "the educational encoder uses the regex module: install it with `pip install regex`"
        ) from error
    return regex.compile(pat_str)
