"""Generation: draw the next token from the logits, append it, repeat."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from gptpy.model.language_model import LanguageModel

GREEDY_BELOW = 1e-6
"""Temperatures below the rounding of a logit of fp32: dividing by them only makes infinities."""


def sample(
    logits: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """One id a row, `(B,)` int64, from `logits: (B, V)`.

    `temperature` 0 takes the largest logit. `top_k` keeps the k most likely tokens, `top_p` the
    fewest that together have that probability, `min_p` those with at least that fraction of the
    probability of the most likely. They apply in this order after the temperature, and always leave
    at least one token. Raises `ValueError` for settings out of range and logits without a largest.
    """
    _check_sampling(temperature, top_k, top_p, min_p)
    logits = logits.float()
    if not bool(logits.amax(-1).isfinite().all()):
        raise ValueError("the logits are NaN or infinite: the model's weights are not finite")
    if temperature < GREEDY_BELOW:
        return logits.argmax(-1)
    logits = logits / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        smallest = logits.topk(int(top_k), dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    probabilities = logits.softmax(-1)
    if top_p is not None and top_p < 1:
        ordered, order = probabilities.sort(dim=-1, descending=True)
        before = ordered.cumsum(-1) - ordered  # probability of all more likely tokens
        dropped = torch.zeros_like(before, dtype=torch.bool).scatter(-1, order, before >= top_p)
        probabilities = probabilities.masked_fill(dropped, 0.0)
    if min_p:
        floor = min_p * probabilities.amax(-1, keepdim=True)
        probabilities = probabilities.masked_fill(probabilities < floor, 0.0)
    return torch.multinomial(probabilities, 1, generator=generator)[:, 0]


def _check_sampling(
    temperature: float, top_k: int | None, top_p: float | None, min_p: float | None
) -> None:
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature: expected a number >= 0 (0 is greedy), got {temperature}")
    if top_k is not None and not (top_k == int(top_k) and top_k >= 1):
        raise ValueError(f"top_k: expected an integer >= 1, or None for all, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p: expected a number in (0, 1], or None for all, got {top_p}")
    if min_p is not None and not 0 <= min_p <= 1:
        raise ValueError(f"min_p: expected a number in [0, 1], or None for all, got {min_p}")


@torch.inference_mode()
def stream(
    model: LanguageModel,
    ids: Tensor,
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    use_cache: bool = True,
    inputs: dict[str, Any] | None = None,
) -> Iterator[Tensor]:
    """Yields `max_new_tokens` times the next ids, `(B,)`, after `ids: (B, T)`.

    The model sees the last `block_size` tokens. With `use_cache`, keys and values are kept while
    the text is no longer than that. Then every token moves to another position with each new one,
    and the whole context is computed anew, as without a cache. The ids are the same either way.
    `inputs` are passed to the model in every call (an encoder's output). Raises `ValueError` for
    an empty prompt and for ids outside the vocabulary.
    """
    _check_sampling(temperature, top_k, top_p, min_p)
    _check_prompt(model, ids, max_new_tokens)
    if generator is None and seed is not None:
        if not -(1 << 63) <= seed < 1 << 64:
            raise ValueError(f"seed: expected an integer of at most 64 bits, got {seed}")
        generator = torch.Generator(device=ids.device).manual_seed(seed)
    block_size = model.config.block_size
    inputs = inputs or {}
    cache = None
    if use_cache:
        cache = model.make_cache(ids.shape[0], min(block_size, ids.shape[1] + max_new_tokens))
    fresh = ids  # not in the cache yet
    for _ in range(max_new_tokens):
        if cache is not None and ids.shape[1] <= block_size:
            logits, _loss = model(fresh, cache=cache, last_only=True, **inputs)
        else:
            logits, _loss = model(ids[:, -block_size:], last_only=True, **inputs)
        token = sample(
            logits[:, -1],
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            generator=generator,
        )
        yield token
        fresh = token[:, None]
        ids = torch.cat((ids, fresh), dim=1)


def _check_prompt(model: LanguageModel, ids: Tensor, max_new_tokens: int) -> None:
    if ids.dim() != 2 or ids.shape[1] < 1 or ids.is_floating_point():
        raise ValueError(
            f"ids: expected a (B, T) tensor of integers with T >= 1, got shape "
            f"{tuple(ids.shape)}, {ids.dtype}: an empty prompt needs a first token, "
            "for example the end-of-text token"
        )
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens: expected an integer >= 0, got {max_new_tokens}")
    lowest, highest = int(ids.min()), int(ids.max())
    if lowest < 0 or highest >= model.config.vocab_size:
        raise ValueError(
            f"ids: expected 0 to {model.config.vocab_size - 1} (vocab_size), got {lowest} to "
            f"{highest}: were they made by another tokenizer?"
        )


def end_ids(eos_id: int | Collection[int] | None) -> list[int]:
    """The ids that end a text, given as none, one or several."""
    if eos_id is None:
        return []
    return [eos_id] if isinstance(eos_id, int) else list(eos_id)


def generate(
    model: LanguageModel,
    ids: Tensor,
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    eos_id: int | Collection[int] | None = None,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    use_cache: bool = True,
    inputs: dict[str, Any] | None = None,
) -> Tensor:
    """`ids: (B, T)` with up to `max_new_tokens` more, `(B, T + new)`.

    A row that has produced `eos_id`, one or several ids, is filled with it. Generation stops when
    all rows have, so that `new` can be less. The model is in evaluation mode meanwhile. Other
    settings as `stream`.
    """
    was_training = model.training
    model.eval()
    try:
        ends = torch.tensor(end_ids(eos_id), dtype=ids.dtype, device=ids.device)
        done = torch.zeros(ids.shape[0], dtype=torch.bool, device=ids.device)
        columns = [ids]
        for token in stream(
            model,
            ids,
            max_new_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            seed=seed,
            generator=generator,
            use_cache=use_cache,
            inputs=inputs,
        ):
            if len(ends):
                token = torch.where(done, columns[-1][:, -1], token)
                done |= torch.isin(token, ends)
            columns.append(token[:, None])
            if len(ends) and bool(done.all()):
                break
        return torch.cat(columns, dim=1)
    finally:
        model.train(was_training)
