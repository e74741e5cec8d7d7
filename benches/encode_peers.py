"""Peers of `encode.py` that encode a text to a list of ids, where they are installed.

Each function takes the name of an encoding and a folder that holds it as `tokenizer.json`, and
gives a callable from text to ids; `LookupError` where the peer does not know the encoding.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from encode_runs import vocabulary

Encode = Callable[[str], Sequence[int]]


def snaptokens(name: str, folder: Path) -> Encode:
    import snaptokens  # pyright: ignore[reportMissingImports]

    encode = snaptokens.Tokenizer.from_file(str(folder / "tokenizer.json")).encode
    return lambda text: encode(text).ids


def tokie(name: str, folder: Path) -> Encode:
    import tokie  # pyright: ignore[reportMissingImports]

    encode = tokie.Tokenizer.from_json(str(folder / "tokenizer.json")).encode
    return lambda text: encode(text, add_special_tokens=False).ids


def splintr(name: str, folder: Path) -> Encode:
    import splintr  # pyright: ignore[reportMissingImports]

    patterns = {
        "r50k_base": splintr.GPT2_PATTERN,
        "cl100k_base": splintr.CL100K_BASE_PATTERN,
        "o200k_base": splintr.O200K_BASE_PATTERN,
    }
    return splintr.Tokenizer(str(vocabulary(name)), patterns[name], {}).encode_ordinary


def quicktok(name: str, folder: Path) -> Encode:
    import quicktok  # pyright: ignore[reportMissingImports]

    if name not in ("cl100k_base", "o200k_base"):
        raise LookupError(f"quicktok has no {name}")
    return quicktok.get_encoding(name).encode_ordinary


def toktok(name: str, folder: Path) -> Encode:
    import toktok  # pyright: ignore[reportMissingImports]

    if name not in ("cl100k_base", "o200k_base"):
        raise LookupError(f"toktok has no {name}")
    return toktok._encoding(name).encode_ordinary


PEERS = {
    "snaptokens": snaptokens,
    "tokie": tokie,
    "splintr": splintr,
    "quicktok": quicktok,
    "toktok": toktok,
}
DISTRIBUTIONS = {"splintr": "splintr-rs", "quicktok": "quicktok-v1", "toktok": "toktok-rs"}
"""Where the distribution's name is another."""


def installed() -> list[str]:
    """The peers that can be imported here."""
    return [peer for peer in PEERS if find_spec(peer) is not None]


def fill_gaps(path: Path) -> None:
    """Give the ids without a token one that no text has: snaptokens refuses gaps, and added tokens
    that the model knows, too."""
    file = json.loads(path.read_text())
    added = {token["id"]: token for token in file["added_tokens"]}
    model = file["model"]
    model["vocab"] = {token: id for token, id in model["vocab"].items() if id not in added}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    for id in {*range(max(added, default=0))} - added.keys() - set(model["vocab"].values()):
        added[id] = {"id": id, "content": f"<|no token {id}|>", "special": True, **flags}
    file["added_tokens"] = [added[id] for id in sorted(added)]
    path.write_text(json.dumps(file))


def list_encoders(name: str, folder: Path, sample: str, want: list[int]) -> dict[str, Encode]:
    """The installed peers that know the encoding; a peer that cannot open its file or gives other
    ids is named and left out."""
    found = {}
    fill_gaps(folder / "tokenizer.json")
    for peer in installed():
        try:
            encode = PEERS[peer](name, folder)
        except LookupError:
            continue
        except Exception as error:
            print(f"{peer} cannot open {name}: {error}", flush=True)
            continue
        if list(encode(sample)) == want:
            found[peer] = encode
        else:
            print(f"{peer} gives other ids with {name}: left out", flush=True)
    return found
