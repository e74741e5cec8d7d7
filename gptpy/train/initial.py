"""Weights that a run begins with: another run's, or token embeddings from elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gptpy.config.errors import ConfigError
from gptpy.config.model import GPTConfig
from gptpy.interop import token_embedding
from gptpy.runs.opening import load
from gptpy.tokenizer import Tokenizer, open_tokenizer

TABLES = ("token_embedding.weight", "head.weight")
# What decides a network's function and shows in no weight's name or shape
UNSEEN = (
    "architecture",
    "position",
    "rope_theta",
    "norm",
    "norm_eps",
    "activation",
    "n_head",
    "kv_heads",
    "qk_norm",
    "window",
    "full_attention_every",
    "attention_softcap",
    "logit_softcap",
    "scale_embedding",
)


@torch.no_grad()
def load_weights(
    model: Any,
    tokenizer: Tokenizer,
    run: str | Path,
    *,
    changes: Collection[str] = (),
    remap: bool = False,
) -> str:
    """Copy the weights of a run into `model`, in place; returns what was done, for the user.

    The vocabulary may have grown: new rows of embedding and head are the mean of the old ones. Of
    a run with another tokenizer, `remap` takes those rows by the tokens' text. Raises `ConfigError`
    where anything else differs, but for the settings of the model named in `changes`.
    """
    loaded = load(run, device="cpu", dtype="float32")
    _check_function(loaded.config.model, model.config, run, changes)
    base, own = loaded.model.state_dict(), model.state_dict()
    done = f"weights of {run}, step {loaded.step}: {loaded.reason}"
    if not _same_ids(loaded.tokenizer, tokenizer):
        if not remap:
            raise ConfigError(
                f"{run}: its tokenizer is {loaded.tokenizer.fingerprint[:12]}, that of the data "
                f"{tokenizer.fingerprint[:12]}: its ids mean other texts. Prepare the data with "
                f"--tokenizer {run}, or take embeddings by the tokens' text: "
                "train.remap_embeddings = true"
            )
        places = _places(loaded.tokenizer, tokenizer)
        for name in TABLES:
            if name in base and name in own:
                base[name] = _remapped(base[name], places, len(own[name]))
        done += f"; embeddings of {len(places):,} of {tokenizer.n_vocab:,} tokens by their text"
    if base.keys() != own.keys():
        differ = sorted(base.keys() ^ own.keys())[:3]
        raise ConfigError(f"{run}: is another kind of model: only one of the two has {differ}")
    for name, tensor in own.items():
        weight = base[name]
        rows = len(tensor) - len(weight) if tensor.ndim == 2 else 0
        if rows > 0 and name in TABLES:
            weight = torch.cat((weight, weight.mean(0, keepdim=True).expand(rows, -1)))
        if weight.shape != tensor.shape:
            raise ConfigError(
                f"{run}: {name} has shape {tuple(weight.shape)}, this configuration wants "
                f"{tuple(tensor.shape)}: take the run's [model]"
            )
        tensor.copy_(weight)
    return done


def _check_function(
    there: GPTConfig, here: GPTConfig, run: object, changes: Collection[str]
) -> None:
    """`ConfigError` where the networks compute another function from the same weights."""
    differ = [
        f"model.{name} is {getattr(there, name)!r} there and {getattr(here, name)!r} here"
        for name in UNSEEN
        if getattr(there, name) != getattr(here, name) and name not in changes
        if name != "rope_theta" or there.position == here.position == "rope"
    ]
    if differ:
        raise ConfigError(
            f"{run}: was trained as another network: {'; '.join(differ)}; take the run's [model], "
            "or name in train.init_changes what you mean to change"
        )


def _texts(tokenizer: Tokenizer) -> dict[int, bytes]:
    """The bytes of every token; ids that a vocabulary leaves out are left out."""
    texts = {}
    for token in range(tokenizer.n_vocab):
        with suppress(KeyError, ValueError):
            texts[token] = tokenizer.decode_bytes([token])
    return texts


def _same_ids(base: Tokenizer, own: Tokenizer) -> bool:
    """Whether every id of `base` means the same text in `own`, which may have more."""
    if base.fingerprint == own.fingerprint:
        return True
    return _texts(base).items() <= _texts(own).items()


def _places(base: Tokenizer, own: Tokenizer) -> dict[int, int]:
    """For each id of `own` whose text is a token of `base`: the id there."""
    known = {text: token for token, text in reversed(_texts(base).items())}
    return {token: known[text] for token, text in _texts(own).items() if text in known}


def _remapped(table: Tensor, places: dict[int, int], rows: int) -> Tensor:
    """A table of `rows`: those of `places` are taken from there, the others are the mean."""
    found = table.mean(0, keepdim=True).repeat(rows, 1)
    found[list(places)] = table[list(places.values())]
    return found


@torch.no_grad()
def load_embeddings(model: Any, tokenizer: Tokenizer, path: str | Path) -> int:
    """Fill the token embedding from `path`, in place; returns how many tokens were found.

    `path` is a run directory or a `transformers` folder of the same width, or a text file of word
    vectors (GloVe, word2vec: on each line a word and its numbers). From a folder with another
    tokenizer, tokens take the vectors of their text; one without a tokenizer must have as many
    tokens. From a text file, a token takes the vector of its text without spaces, or of that in
    lower case; vectors are scaled to the root mean square of those they replace. A token without
    any keeps its random vector. Raises `ConfigError`.
    """
    path = Path(path)
    table = model.token_embedding.weight
    if path.is_dir():
        source, there = _table_of(path)
        same = there is not None and there.fingerprint == tokenizer.fingerprint
        if source.shape[1] != table.shape[1] or (there is None and len(source) != len(table)):
            raise ConfigError(
                f"{path}: its embedding is {tuple(source.shape)}, the model's is "
                f"{tuple(table.shape)}: the same tokenizer and width are needed"
            )
        if there is None or same:
            rows = min(len(source), len(table))
            places = dict(zip(range(rows), range(rows), strict=True))
        else:
            places = _places(there, tokenizer)
        if not places:
            raise ConfigError(f"{path}: none of its tokens is one of this tokenizer")
        table[list(places)] = source[list(places.values())].to(table)
        return len(places)
    wanted: dict[str, list[int]] = {}
    for token in range(min(len(table), tokenizer.n_vocab)):
        text = tokenizer.decode([token]).strip()
        if text:
            wanted.setdefault(text, []).append(token)
    lowered = {text.lower() for text in wanted}
    vectors = {
        word: vector
        for word, vector in read_vectors(path, table.shape[1])
        if word in wanted or word in lowered
    }
    found = [
        (token, vectors.get(text, vectors.get(text.lower())))
        for text, tokens in wanted.items()
        for token in tokens
    ]
    chosen = [(token, vector) for token, vector in found if vector is not None]
    if not chosen:
        raise ConfigError(f"{path}: holds no word that is a token of this tokenizer")
    stacked = torch.stack([vector for _, vector in chosen]).to(table)
    places = torch.tensor([token for token, _ in chosen], device=table.device)
    stacked *= table[places].square().mean().sqrt() / stacked.square().mean().sqrt()
    table[places] = stacked
    return len(chosen)


def _table_of(folder: Path) -> tuple[Tensor, Tokenizer | None]:
    """The token embedding of a folder, and its tokenizer, where it has one."""
    if not (folder / "config.json").is_file():
        loaded = load(folder, device="cpu", dtype="float32")
        return loaded.model.token_embedding.weight, loaded.tokenizer
    try:
        return token_embedding(folder), open_tokenizer(folder)
    except ConfigError:
        return token_embedding(folder), None


def read_vectors(path: Path, width: int) -> Iterator[tuple[str, Tensor]]:
    """The words and vectors `(width,)` of a text file; `ConfigError` naming a malformed line."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                parts = line.rstrip().split(" ")
                if number == 1 and len(parts) == 2:
                    continue  # word2vec's header: number of words, width
                word, numbers = " ".join(parts[:-width]), parts[-width:]
                if len(parts) <= width:
                    raise ConfigError(
                        f"{path}, line {number}: {len(parts) - 1} numbers, model.n_embd is {width}"
                    )
                try:
                    yield word, torch.tensor([float(n) for n in numbers])
                except ValueError as error:
                    raise ConfigError(f"{path}, line {number}: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
