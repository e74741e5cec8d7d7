"""Training: `BpeTrainer`, and what `Tokenizer.train` does with one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from bpe_rs import _core
from bpe_rs._counting import count
from bpe_rs.hf._added_token import AddedToken

# Texts that are handed over at once.
_BATCH = 1024


class BpeTrainer:
    """The options of `tokenizers.trainers.BpeTrainer`, for those who do not have that package.

    `vocab_size`: all tokens, special ones included. `min_frequency`: pairs that occur less often
    are not merged. `special_tokens`: the first tokens. `limit_alphabet`: the most characters.
    `initial_alphabet`: characters that are tokens even if they do not occur; of longer strings the
    first character counts. `continuing_subword_prefix`, `end_of_word_suffix`: put before all
    characters of a word but the first, after the last. `max_token_length`: tokens have fewer
    characters than this, or two, as there. `show_progress` makes no difference: none is shown.

    >>> import json
    >>> from bpe_rs.hf import Tokenizer
    >>> byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    >>> file = {"model": {"type": "BPE", "vocab": {}, "merges": []}, "pre_tokenizer": byte_level}
    >>> tokenizer = Tokenizer.from_str(json.dumps(file))
    >>> tokenizer.train_from_iterator(["low lower lowest"], BpeTrainer(vocab_size=12))
    >>> tokenizer.encode("low lowest").tokens
    ['low', 'Ġlowe', 's', 't']
    """

    def __init__(
        self,
        *,
        vocab_size: int = 30_000,
        min_frequency: int = 0,
        show_progress: bool = True,
        special_tokens: Sequence[Any] = (),
        limit_alphabet: int | None = None,
        initial_alphabet: Sequence[str] = (),
        continuing_subword_prefix: str | None = None,
        end_of_word_suffix: str | None = None,
        max_token_length: int | None = None,
    ) -> None:
        self.vocab_size = vocab_size
        self.min_frequency = min_frequency
        self.special_tokens = [
            AddedToken(token, special=True) if isinstance(token, str) else token
            for token in special_tokens
        ]
        self.limit_alphabet = limit_alphabet
        self.show_progress = show_progress
        self.initial_alphabet = list(initial_alphabet)
        self.continuing_subword_prefix = continuing_subword_prefix
        self.end_of_word_suffix = end_of_word_suffix
        self.max_token_length = max_token_length


def checked_trainer(trainer: Any) -> Any:
    """A `BpeTrainer`, ours or that of `tokenizers`; the default for None, TypeError for others."""
    if trainer is None:
        return BpeTrainer()
    if type(trainer).__name__ != "BpeTrainer":
        raise TypeError(f"expected a BpeTrainer for a BPE model, got {type(trainer).__name__}")
    return trainer


def learned_model(core: _core.HfTokenizer, texts: Iterator[str], trainer: Any) -> str:
    """The JSON of the model that a tokenizer's pipeline and texts give; ValueError for a special
    token that would be learned as an ordinary one, too, or an affix that the text spells."""
    words = _core.HfWords()
    pattern = core.word_pattern()
    if pattern is not None:
        counts = count(_checked(texts), pattern, [], "text", None, None)
        words.add_counts(counts._counts)
    else:
        texts = _checked(texts)
        while batch := list(islice(texts, _BATCH)):
            words.add_texts(core, batch)
    return words.learn(
        core,
        trainer.vocab_size,
        trainer.min_frequency,
        trainer.limit_alphabet,
        [text[0] for text in trainer.initial_alphabet if text],
        [token.content for token in trainer.special_tokens],
        trainer.max_token_length,
        trainer.continuing_subword_prefix,
        trainer.end_of_word_suffix,
    )


def _checked(texts: Iterable[Any]) -> Iterator[str]:
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(
                f"expected texts, or lists of texts, to train on, got {type(text).__name__}"
            )
        yield text


def texts_of(iterator: Iterable[Any]) -> Iterator[str]:
    """The texts of an iterator of texts, or of lists of them."""
    for item in iterator:
        if isinstance(item, (list, tuple)):
            yield from item
        else:
            yield item


def lines_of(files: Iterable[Any]) -> Iterator[str]:
    """The lines of files, with their ends."""
    for file in files:
        with Path(file).open(encoding="utf-8", newline="\n") as lines:
            yield from lines
