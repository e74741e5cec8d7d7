"""Families of texts that make encoders slow or wrong, of any length.

`FAMILIES[name](n)` is a text of at most `n` bytes of UTF-8 and nearly that many, the same for every
call. They have long pieces, long runs, no safe places to cut, or no pieces that repeat.
"""

import base64
import random
from collections.abc import Callable


def _repeat(part: str) -> Callable[[int], str]:
    size = len(part.encode())
    return lambda n: part * (n // size)


def _cut(text: str, n: int) -> str:
    return text.encode()[:n].decode(errors="ignore")


def _drawn(letters: str) -> Callable[[int], str]:
    size = min(len(letter.encode()) for letter in letters)
    return lambda n: _cut("".join(random.Random(n).choices(letters, k=n // size)), n)


def _fibonacci(n: int) -> str:
    short, long = "a", "ab"
    while len(long) < n:
        short, long = long, long + short
    return long[:n]


def _thue_morse(n: int) -> str:
    text = "a"
    while len(text) < n:
        text += text.translate({97: 98, 98: 97})
    return text[:n]


def _code_points(n: int) -> str:
    rng = random.Random(n)
    points = (rng.randrange(0x11_0000 - 0x800) for _ in range(n // 3))
    return _cut("".join(chr(point if point < 0xD800 else point + 0x800) for point in points), n)


def _base64(n: int) -> str:
    return base64.b64encode(random.Random(n).randbytes(n * 3 // 4)).decode()[:n]


def _alike(n: int) -> str:
    """Words that agree in their first fifteen bytes or in their last, no two of them equal.

    Numbered in letters, because some vocabularies make digits pieces of their own, and not in
    ascending order, so that longer texts have no more diverse words than shorter ones.
    """
    letters = str.maketrans("0123456789abcdef", "abcdefghijklmnop")
    pair = " sameheadofword{0} {0}sametailofword"
    count = n // len(pair.format("a" * 8))
    first = random.Random(n).getrandbits(32)
    # Multiples of an odd number are distinct modulo 2^32.
    numbers = ((first + at * 0x9E37_79B1) % (1 << 32) for at in range(count))
    return "".join(pair.format(f"{number:08x}".translate(letters)) for number in numbers)


def _deep_merges(n: int) -> str:
    """Runs of doubling lengths between other letters: long chains of dependent merges."""
    runs = ("a" * (1 << at % 9) + "bcd"[at % 3] for at in range(n))
    text, size = [], 0
    for run in runs:
        size += len(run)
        if size > n:
            break
        text.append(run)
    return "".join(text)


_HAN = "".join(map(chr, range(0x4E00, 0x4E00 + 3000)))

FAMILIES: dict[str, Callable[[int], str]] = {
    "one letter": _repeat("a"),
    "blanks": _repeat(" "),
    "blanks, then a letter": lambda n: " " * (n - 1) + "x",
    "line ends": _repeat("\r\n"),
    "white space of all kinds": _drawn(" \t\n\r\v\u00a0"),
    "digits": _drawn("0123456789"),
    "digits of another script": _drawn("٠١٢٣٤٥٦٧٨٩"),
    "contractions": _repeat("'s"),
    "punctuation": _drawn("!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~"),
    "Chinese without spaces": _drawn(_HAN),
    "emoji with joiners": _repeat("👩🏽‍👩‍👧"),
    "combining marks": lambda n: "e" + "\u0301" * ((n - 1) // 2),
    "random code points": _code_points,
    "words alike": _alike,
    "base64": _base64,
    "two letters in turn": _repeat("ab"),
    "Fibonacci word": _fibonacci,
    "Thue-Morse word": _thue_morse,
    "runs of doubling lengths": _deep_merges,
    "random letters": _drawn("etaoinshrdlucmfwypvbgkjqxz"),
    "four letters": _drawn("acgt"),
    "cases in turn": _repeat("aA"),
    "random cases": _drawn("aAbB"),
    "no-break spaces and letters": _repeat("\u00a0x"),
    "Cyrillic words": _repeat(" мир труд"),
    "NUL": _repeat("\0"),
}
