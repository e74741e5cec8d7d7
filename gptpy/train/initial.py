"""Weights that a run begins with: another run's, or token embeddings from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gptpy.config.errors import ConfigError
from gptpy.interop import token_embedding
from gptpy.runs.opening import load
from gptpy.tokenizer import Tokenizer


@torch.no_grad()
def load_weights(model: Any, run: str | Path) -> None:
    """Copy the weights of a run into `model`, in place.

    The vocabulary may have grown: new rows of embedding and head are the mean of the old ones.
    Raises `ConfigError` where anything else differs.
    """
    base = load(run, device="cpu", dtype="float32").model.state_dict()
    own = model.state_dict()
    if base.keys() != own.keys():
        differ = sorted(base.keys() ^ own.keys())[:3]
        raise ConfigError(f"{run}: is another kind of model: only one of the two has {differ}")
    for name, tensor in own.items():
        weight = base[name]
        rows = len(tensor) - len(weight) if tensor.ndim == 2 else 0
        if rows > 0 and name in ("token_embedding.weight", "head.weight"):
            weight = torch.cat((weight, weight.mean(0, keepdim=True).expand(rows, -1)))
        if weight.shape != tensor.shape:
            raise ConfigError(
                f"{run}: {name} has shape {tuple(weight.shape)}, this configuration wants "
                f"{tuple(tensor.shape)}: take the run's [model]"
            )
        tensor.copy_(weight)


@torch.no_grad()
def load_embeddings(model: Any, tokenizer: Tokenizer, path: str | Path) -> int:
    """Fill the token embedding from `path`, in place; returns how many tokens were found.

    `path` is a run directory or a `transformers` folder with the same vocabulary and width, or a
    text file of word vectors (GloVe, word2vec: on each line a word and its numbers). From a text
    file, a token takes the vector of its text without spaces, or of that in lower case; without
    either it keeps its random vector. Vectors are scaled to the root mean square of those they
    replace. Raises `ConfigError`.
    """
    path = Path(path)
    table = model.token_embedding.weight
    if path.is_dir():
        source = _table_of(path)
        if source.shape != table.shape:
            raise ConfigError(
                f"{path}: its embedding is {tuple(source.shape)}, the model's is "
                f"{tuple(table.shape)}: the same tokenizer and width are needed"
            )
        table.copy_(source)
        return len(table)
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


def _table_of(folder: Path) -> Tensor:
    if (folder / "config.json").is_file():
        return token_embedding(folder)
    return load(folder, device="cpu", dtype="float32").model.token_embedding.weight


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
