"""A vocabulary without its rarest tokens: `prune`."""

from __future__ import annotations

import heapq

from bpe_rs import _core
from bpe_rs._counting import WordCounts, count
from bpe_rs._encoding import Encoding
from bpe_rs._progress import Report, reporter_of
from bpe_rs._training import Source


def prune(
    encoding: Encoding,
    source: Source,
    *,
    remove: int,
    text_column: str = "text",
    progress: bool | Report = False,
    num_threads: int | None = None,
) -> Encoding:
    """`encoding` without the `remove` learned tokens that `source` uses least.

    All other tokens keep their ids, so that a model keeps its rows. Removed ids stand for nothing
    (`n_vocab` falls where they were the highest), until `train(base=...)` adds tokens at the end.
    Only a token that is no part of another is removed, and then its parts may follow: whatever is
    left can still be merged, and a text without removed tokens has the ids that it had. Of equally
    rare tokens the one of the highest id goes first. Special tokens and single bytes always stay.
    `source`: as for `train`.
    Raises ValueError where fewer than `remove` tokens were learned, and for an encoding whose ids
    are not in the order of its merges.

    Source: Purason et al., Teaching Old Tokenizers New Words, 2025, arXiv 2512.03989 (leaf-based
    pruning).

    >>> from bpe_rs import train
    >>> encoding = train(["lower lower lowest"], vocab_size=262)
    >>> encoding.decode_tokens_bytes(encoding.encode("lower lowest"))
    [b'lower', b' lowe', b'st']
    >>> smaller = prune(encoding, ["lowest"], remove=1)
    >>> smaller.decode_tokens_bytes(smaller.encode("lower lowest"))
    [b'lowe', b'r', b' lowe', b'st']
    """
    if not isinstance(encoding, Encoding):
        raise TypeError(f"expected an Encoding to prune, got {type(encoding).__name__}")
    if not encoding._is_ranked:
        raise ValueError(
            f"{encoding.name}: its ids are not in the order of its merges, so it cannot be pruned"
        )
    ranks = encoding.mergeable_ranks
    learned = {rank for token, rank in ranks.items() if len(token) > 1}
    remove = _core.whole_number("remove", remove, 0)
    if remove > len(learned):
        raise ValueError(
            f"expected remove to be at most {len(learned)}, the learned tokens, got {remove}"
        )
    uses = _uses(encoding, source, text_column, progress, num_threads)
    parts = {merged: (left, right) for left, right, merged in encoding._merges}
    wholes = dict.fromkeys(ranks.values(), 0)
    for pair in parts.values():
        for part in pair:
            wholes[part] += 1
    leaves = [(uses.get(rank, 0), -rank) for rank in learned if not wholes[rank]]
    heapq.heapify(leaves)
    removed = set()
    while len(removed) < remove:
        use, rank = heapq.heappop(leaves)
        removed.add(-rank)
        for part in parts.get(-rank, ()):
            uses[part] = uses.get(part, 0) + use
            wholes[part] -= 1
            if not wholes[part] and part in learned:
                heapq.heappush(leaves, (uses[part], -part))
    return Encoding(
        encoding.name,
        pat_str=encoding.pat_str,
        mergeable_ranks={token: rank for token, rank in ranks.items() if rank not in removed},
        special_tokens=encoding.special_tokens,
    )


def _uses(
    encoding: Encoding,
    source: Source,
    text_column: str,
    progress: bool | Report,
    num_threads: int | None,
) -> dict[int, int]:
    """How often each id occurs in `source`."""
    if isinstance(source, WordCounts):
        if source.pattern != encoding.pat_str:
            raise ValueError(
                f"these counts were made with the pattern {source.pattern!r}, expected "
                f"{encoding.pat_str!r}; count again"
            )
        counts = source
    else:
        specials = list(encoding.special_tokens)
        report = reporter_of(progress)
        counts = count(source, encoding.pat_str, specials, text_column, report, num_threads)
    uses: dict[int, int] = {}
    for word, often in counts.items():
        for rank in encoding._encode_single_piece(word):
            uses[rank] = uses.get(rank, 0) + often
    return uses
