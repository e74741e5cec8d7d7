"""`Tokenizer`: what users of `tokenizers.Tokenizer` and `transformers` call."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from bpe_rs import _core
from bpe_rs._core import HfEncoding
from bpe_rs._forks import fork_safe_lock
from bpe_rs._sources import PathLike, as_path
from bpe_rs.hf import _added_token, _components, _hub, _repr, _training

# Held while a tokenizer's `_core` is replaced. Readers need no lock: a core is immutable.
_changing = fork_safe_lock()


def _component_property(kind: str) -> Any:
    def get(self: Tokenizer) -> Any:
        return self._component(kind)

    def set(self: Tokenizer, value: Any) -> None:
        self._set_component(kind, value)

    name = kind.replace("_", "-")
    return property(
        get, set, doc=f"The {name}, or None. Set it to one of `tokenizers`, or to ours."
    )


# Not named `Tokenizer`, because `tokenizers` has a class of that name, and its errors for the wrong
# class show nothing but the name.
class BpeRsTokenizer(_core.HfTokenizerBase):
    """A `tokenizer.json` with a BPE model, with the methods of `tokenizers.Tokenizer`.

    Loading raises a ValueError that names what this class would not reproduce exactly (WordPiece,
    Unigram, unknown components).

    Threads: truncation, padding and `encode_special_tokens` belong to the thread that sets them; a
    thread that sets none uses those of the thread that made the tokenizer. All threads share
    everything else (added tokens, components); a call sees it either before or after a change.

    >>> from transformers import PreTrainedTokenizerFast  # doctest: +SKIP
    >>> backend = Tokenizer.from_file("tokenizer.json")  # doctest: +SKIP
    >>> tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)  # doctest: +SKIP
    """

    def __init__(self, model: Any) -> None:
        """From a BPE model, ours or of `tokenizers`."""
        if isinstance(model, _core.HfTokenizer):
            self._start(model, _core.HfSettings())
            return
        text = _components.component_json(model, "model")
        self._start(*_core.HfTokenizer.from_str(f'{{"model": {text}}}'))

    def _start(self, core: _core.HfTokenizer, settings: _core.HfSettings) -> None:
        self._core = core
        self._settings = _core.HfThreadSettings(settings)

    # Files

    @staticmethod
    def from_str(json: str) -> Tokenizer:
        """From the text of a `tokenizer.json`; ValueError names what is not reproduced exactly."""
        return Tokenizer._from_json(json)

    @staticmethod
    def _from_json(json: str | bytes) -> Tokenizer:
        tokenizer = Tokenizer.__new__(Tokenizer)
        tokenizer._start(*_core.HfTokenizer.from_str(json))
        return tokenizer

    @staticmethod
    def from_buffer(buffer: bytes) -> Tokenizer:
        """From the bytes of a `tokenizer.json`."""
        return Tokenizer._from_json(bytes(buffer))

    @staticmethod
    def from_file(path: PathLike) -> Tokenizer:
        """From a `tokenizer.json`, a `tekken.json` or a SentencePiece model (`.model`) with BPE.

        The last two give the ids of `mistral_common` and `sentencepiece`, which add no special
        tokens; with `encode_special_tokens = True` those in a text are plain text, as there.

        Raises ValueError that names what is not reproduced exactly, such as Unigram models.
        """
        file = as_path(path, "path")
        try:
            if ".model" in file.suffixes:
                core = _core.HfTokenizer.from_sentencepiece(file.read_bytes())
                return Tokenizer(core)
            if file.name.startswith("tekken") and file.suffix == ".json":
                loaded = _core.load_encoding(file, "tekken.json")
                return Tokenizer._from_json(_core.encoding_to_json(loaded))
            return Tokenizer.from_buffer(file.read_bytes())
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None

    @staticmethod
    def from_pretrained(
        identifier: str, revision: str = "main", token: str | None = None
    ) -> Tokenizer:
        """From the `tokenizer.json` of a model on the Hugging Face Hub; needs `huggingface_hub`."""
        return Tokenizer.from_file(_hub.downloaded(identifier, revision, token))

    # Training

    def train(self, files: Sequence[PathLike], trainer: Any = None) -> None:
        """Replace the model by one learned from the lines of files.

        `trainer`: `BpeTrainer`, ours or that of `tokenizers`. The tokens and merges are those that
        `tokenizers` learns, by this package's trainer. With an affix of subwords `tokenizers`
        numbers the characters that carry it by chance, here the order of the words decides. Shows
        no progress.

        Raises ValueError for a special token that would be learned as an ordinary one, too, and for
        an affix that makes two tokens alike.
        """
        names = [files] if isinstance(files, str) else [str(as_path(f, "files")) for f in files]
        self._learn(_training.lines_of(names), trainer)

    def train_from_iterator(
        self, iterator: Any, trainer: Any = None, length: int | None = None
    ) -> None:
        """`train` on texts, or lists of texts. `length` is not needed."""
        self._learn(_training.texts_of(iterator), trainer)

    def _learn(self, texts: Iterator[str], trainer: Any) -> None:
        trainer = _training.checked_trainer(trainer)
        self._set_model(_training.learned_model(self._core, texts, trainer))
        self._add(trainer.special_tokens, special=True)

    def to_str(self, pretty: bool = False) -> str:
        """The text of the `tokenizer.json`, with this thread's truncation and padding."""
        return self._core.to_str(pretty, self._settings.get())

    def save(self, path: PathLike, pretty: bool = True) -> None:
        """Write a `tokenizer.json` atomically."""
        _core.write_atomic(as_path(path, "path"), self.to_str(pretty).encode())

    def __getstate__(self) -> bytes:
        return self.to_str().encode()

    def __reduce__(self) -> tuple[Any, ...]:
        plain = self._settings.get().encode_special_tokens
        return _unpickled, (self.to_str(), plain)

    def __copy__(self) -> Tokenizer:
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: dict[int, Any]) -> Tokenizer:
        # The core is immutable, so the copy can share it.
        tokenizer = Tokenizer.__new__(Tokenizer)
        tokenizer._start(self._core, self._settings.get())
        return tokenizer

    def __repr__(self) -> str:
        return _repr.written("Tokenizer", json.loads(self.to_str()), short=False)

    def __str__(self) -> str:
        return _repr.written("Tokenizer", json.loads(self.to_str()), short=True)

    # Settings of the calling thread

    @property
    def truncation(self) -> dict[str, Any] | None:
        """This thread's truncation: max_length, stride, strategy, direction."""
        return self._settings.get().truncation

    def enable_truncation(
        self,
        max_length: int,
        stride: int = 0,
        strategy: str = "longest_first",
        direction: str = "right",
    ) -> None:
        """Truncate this thread's results to `max_length` tokens, special ones included.

        `stride`: how many tokens an overflowing part repeats of the part before. `strategy`:
        "longest_first", "only_first" or "only_second". `direction`: the end that is cut.

        Raises `ValueError` for a stride of more tokens than remain beside the special ones.
        """
        settings = self._settings.get().with_truncation(max_length, stride, strategy, direction)
        added = self.num_special_tokens_to_add(False)
        if max_length >= added and stride > max_length - added:
            raise ValueError(
                f"stride: expected at most {max_length - added} (max_length {max_length} without "
                f"{added} special tokens), got {stride}"
            )
        self._settings.set(settings)

    def no_truncation(self) -> None:
        """Stop truncating in this thread."""
        self._settings.set(self._settings.get().without_truncation())

    @property
    def padding(self) -> dict[str, Any] | None:
        """This thread's padding: length, pad_to_multiple_of, pad_id, pad_token, ..."""
        return self._settings.get().padding

    def enable_padding(
        self,
        direction: str = "right",
        pad_id: int = 0,
        pad_type_id: int = 0,
        pad_token: str = "[PAD]",
        length: int | None = None,
        pad_to_multiple_of: int | None = None,
    ) -> None:
        """Pad this thread's results to `length`, or to the longest of each batch."""
        settings = self._settings.get().with_padding(
            direction, pad_id, pad_type_id, pad_token, length, pad_to_multiple_of
        )
        self._settings.set(settings)

    def no_padding(self) -> None:
        """Stop padding in this thread."""
        self._settings.set(self._settings.get().without_padding())

    @property
    def encode_special_tokens(self) -> bool:
        """Whether this thread encodes special tokens in a text as plain text."""
        return self._settings.get().encode_special_tokens

    @encode_special_tokens.setter
    def encode_special_tokens(self, value: bool) -> None:
        self._settings.set(self._settings.get().with_encode_special_tokens(bool(value)))

    # Encoding

    # `encode` is a method of the base class.

    def encode_batch(
        self,
        input: Sequence[Any],
        is_pretokenized: bool = False,
        add_special_tokens: bool = True,
    ) -> list[HfEncoding]:
        """Encode a list of texts (or words) and pairs, on several threads."""
        settings = self._settings.get()
        return self._core.encode_batch(input, is_pretokenized, add_special_tokens, settings)

    def encode_batch_fast(
        self,
        input: Sequence[Any],
        is_pretokenized: bool = False,
        add_special_tokens: bool = True,
    ) -> list[HfEncoding]:
        """The same as `encode_batch`, which computes offsets on first use."""
        return self.encode_batch(input, is_pretokenized, add_special_tokens)

    async def async_encode(
        self,
        sequence: Any,
        pair: Any = None,
        is_pretokenized: bool = False,
        add_special_tokens: bool = True,
    ) -> Any:
        """`encode` in a worker thread, with this thread's settings."""
        call = partial(self.__copy__().encode, sequence, pair, is_pretokenized, add_special_tokens)
        return await asyncio.to_thread(call)

    async def async_encode_batch(
        self,
        input: Sequence[Any],
        is_pretokenized: bool = False,
        add_special_tokens: bool = True,
    ) -> list[HfEncoding]:
        """`encode_batch` in a worker thread, with this thread's settings."""
        call = partial(self.__copy__().encode_batch, input, is_pretokenized, add_special_tokens)
        return await asyncio.to_thread(call)

    async_encode_batch_fast = async_encode_batch

    def post_process(self, encoding: Any, pair: Any = None, add_special_tokens: bool = True) -> Any:
        """Truncate, add special tokens, pad."""
        return self._core.post_process(encoding, pair, add_special_tokens, self._settings.get())

    def num_special_tokens_to_add(self, is_pair: bool) -> int:
        """How many special tokens the post-processor adds to one sequence or a pair."""
        return self._core.num_special_tokens_to_add(is_pair)

    # Decoding

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """The text of ids. Unknown ids are skipped, invalid UTF-8 becomes U+FFFD."""
        return self._core.decode(list(ids), skip_special_tokens)

    def decode_batch(
        self, sequences: Sequence[Sequence[int]], skip_special_tokens: bool = True
    ) -> list[str]:
        """The texts of many lists of ids."""
        return self._core.decode_batch([list(ids) for ids in sequences], skip_special_tokens)

    async def async_decode_batch(
        self, sequences: Sequence[Sequence[int]], skip_special_tokens: bool = True
    ) -> list[str]:
        """`decode_batch` in a worker thread."""
        return await asyncio.to_thread(self.decode_batch, sequences, skip_special_tokens)

    # Vocabulary

    def token_to_id(self, token: str) -> int | None:
        """The id of a token string."""
        return self._core.token_to_id(token)

    def id_to_token(self, id: int) -> str | None:
        """The string of an id."""
        return self._core.id_to_token(id)

    def get_vocab(self, with_added_tokens: bool = True) -> dict[str, int]:
        """Token strings and ids."""
        return self._core.get_vocab(with_added_tokens)

    def get_vocab_size(self, with_added_tokens: bool = True) -> int:
        """Number of tokens."""
        return self._core.get_vocab_size(with_added_tokens)

    def get_added_tokens_decoder(self) -> dict[int, Any]:
        """The added tokens by id."""
        cls = _added_token.added_token_class()
        tokens = json.loads(self._core.added_tokens())
        return {token.pop("id"): cls(**token) for token in tokens}

    def add_tokens(self, tokens: Sequence[Any]) -> int:
        """Add tokens (`str` or `AddedToken`); returns how many were new."""
        return self._add(tokens, special=False)

    def add_special_tokens(self, tokens: Sequence[Any]) -> int:
        """Add control tokens; returns how many were new."""
        return self._add(tokens, special=True)

    def _add(self, tokens: Sequence[Any], *, special: bool) -> int:
        # A generator runs before the lock is taken: a fork would wait for it.
        items = tokens if isinstance(tokens, str) else list(tokens)
        with _changing:
            self._core, count = self._core.with_added_tokens(items, special)
        return count

    # Components

    @property
    def model(self) -> _components.BPE:
        """The model. Set it to a BPE of `tokenizers` or ours; added tokens keep their ids."""
        return _components.BPE(self._core, self._set_model)

    @model.setter
    def model(self, value: Any) -> None:
        self._set_model(_components.component_json(value, "model"))

    def seed_dropout(self, seed: int) -> None:
        """Make the model's dropout follow a seed: the same texts, encoded one after the other, get
        the same tokens again. `tokenizers` has no such method."""
        with _changing:
            self._core = self._core.with_dropout_seed(seed)

    def _set_model(self, text: str) -> _core.HfTokenizer:
        with _changing:
            self._core = self._core.with_model(text)
        return self._core

    def _component(self, kind: str) -> Any:
        text = self._core.component(kind)
        if text is None:
            return None

        def write(settings: dict[str, Any]) -> _core.HfTokenizer:
            self._set_component(kind, settings)
            return self._core

        return _components.component(kind, json.loads(text), self._core, write)

    def _set_component(self, kind: str, value: Any) -> None:
        text = None if value is None else _components.component_json(value, kind)
        with _changing:
            self._core = self._core.with_component(kind, text)

    normalizer = _component_property("normalizer")
    pre_tokenizer = _component_property("pre_tokenizer")
    post_processor = _component_property("post_processor")
    decoder = _component_property("decoder")


Tokenizer = BpeRsTokenizer


def _unpickled(text: str, encode_special_tokens: bool) -> Tokenizer:
    tokenizer = Tokenizer.from_str(text)
    tokenizer.encode_special_tokens = encode_special_tokens
    return tokenizer
