"""Views of a tokenizer's components, with the names and methods that they have in `tokenizers`.

Setting an attribute of a view changes the tokenizer that it came from:
`tokenizer.pre_tokenizer.add_prefix_space = True`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from bpe_rs import _core
from bpe_rs._sources import PathLike, as_path
from bpe_rs.hf import _repr

# The settings that list the parts of sequences.
_LISTS = ("normalizers", "pretokenizers", "processors", "decoders")


class Token(NamedTuple):
    """One token of a piece."""

    id: int
    value: str
    """Its string."""
    offsets: tuple[int, int]
    """Where it stands in the piece."""

    def as_tuple(self) -> tuple[int, str, tuple[int, int]]:
        """`(id, value, offsets)`."""
        return (self.id, self.value, self.offsets)


class Component:
    """A component: its settings are attributes, `__getstate__` returns its JSON.

    `write` sets the component of the tokenizer and returns the new core; None for a copy, whose
    attributes cannot be set.
    """

    _kind = ""

    def __init__(
        self,
        settings: dict[str, Any],
        core: _core.HfTokenizer,
        write: Callable[[dict[str, Any]], _core.HfTokenizer] | None = None,
    ) -> None:
        object.__setattr__(self, "_settings", settings)
        object.__setattr__(self, "_core", core)
        object.__setattr__(self, "_write", write)

    def __getattr__(self, name: str) -> Any:
        settings = self.__dict__.get("_settings", {})
        if name in settings and name != "type":
            return settings[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._settings or name == "type":
            raise AttributeError(f"{type(self).__name__} has no setting {name!r}")
        if self._write is None:
            raise AttributeError(
                f"expected a component of a tokenizer to set {name!r}, got a copy of one; "
                "set the tokenizer's component instead"
            )
        changed = {**self._settings, name: value}
        object.__setattr__(self, "_core", self._write(changed))
        object.__setattr__(self, "_settings", changed)

    def _list(self) -> str:
        """The name of the setting that lists the parts of a sequence."""
        lists = [name for name in _LISTS if name in self._settings]
        if not lists:
            raise TypeError(f"expected a sequence to take a part of, got {self!r}")
        return lists[0]

    def __len__(self) -> int:
        return len(self._settings[self._list()])

    def __getitem__(self, index: int) -> Component:
        """A part of a sequence; setting its attributes changes the tokenizer, too."""
        settings = self._settings[self._list()][index]

        def write(changed: dict[str, Any]) -> _core.HfTokenizer:
            self._set_part(index, changed)
            return self._core.with_component(self._kind, json.dumps(changed))

        core = self._core.with_component(self._kind, json.dumps(settings))
        return component(self._kind, settings, core, None if self._write is None else write)

    def __setitem__(self, index: int, value: Any) -> None:
        self._set_part(index, json.loads(component_json(value, self._kind)))

    def _set_part(self, index: int, settings: dict[str, Any]) -> None:
        name = self._list()
        parts = list(self._settings[name])
        parts[index] = settings
        setattr(self, name, parts)

    def __bool__(self) -> bool:
        return True

    def __getstate__(self) -> bytes:
        return json.dumps(self._settings, ensure_ascii=False).encode()

    def __reduce__(self) -> tuple[Any, ...]:
        return _revive, (self._kind, json.dumps(self._settings))

    def __deepcopy__(self, memo: dict[int, Any]) -> Component:
        return type(self)(json.loads(json.dumps(self._settings)), self._core)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Component):
            return NotImplemented
        return self._settings == other._settings

    def __hash__(self) -> int:
        return hash(json.dumps(self._settings, sort_keys=True))

    def __repr__(self) -> str:
        return _repr.written(self._settings["type"], self._settings, short=False)

    def __str__(self) -> str:
        return _repr.written(self._settings["type"], self._settings, short=True)

    @property
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]
        """What `isinstance` asks: true for the class of `tokenizers`, too, where that is loaded."""
        return _original_class(f"{self._kind}s", self._settings["type"]) or type(self)

    def __dir__(self) -> list[str]:
        return sorted({*dir(type(self)), *self.__dict__})  # not those of `__class__`


class Normalizer(Component):
    """Text to text."""

    _kind = "normalizer"

    def normalize_str(self, sequence: str) -> str:
        """The normalised text."""
        return self._core.normalize_str(sequence)


class PreTokenizer(Component):
    """Text to pieces."""

    _kind = "pre_tokenizer"

    def pre_tokenize_str(self, s: str) -> list[tuple[str, tuple[int, int]]]:
        """Pieces as the model sees them, with the characters they stand for."""
        return self._core.pre_tokenize_str(s)


class PostProcessor(Component):
    """Encodings of one or two sequences to one encoding with special tokens."""

    _kind = "post_processor"

    def num_special_tokens_to_add(self, is_pair: bool) -> int:
        """How many special tokens it adds to one sequence or a pair."""
        return self._core.num_special_tokens_to_add(is_pair)

    def process(self, encoding: Any, pair: Any = None, add_special_tokens: bool = True) -> Any:
        """Adds special tokens to encodings."""
        settings = _core.HfSettings()
        return self._core.post_process(encoding, pair, add_special_tokens, settings)


class Decoder(Component):
    """Token strings to text."""

    _kind = "decoder"

    def decode(self, tokens: Sequence[str]) -> str:
        """The text of token strings."""
        return self._core.decode_tokens(list(tokens))


class BPE:
    """The model: vocabulary, merges and settings.

    Setting an attribute changes the tokenizer that the model came from. A value that would not be
    reproduced exactly is an AttributeError.
    """

    def __init__(
        self, core: _core.HfTokenizer, write: Callable[[str], _core.HfTokenizer] | None = None
    ) -> None:
        self.__dict__.update(_core=core, _write=write)

    def tokenize(self, sequence: str) -> list[Token]:
        """The tokens of one piece, given as the model sees it."""
        return [Token(*token) for token in self._core.tokenize_piece(sequence)]

    def token_to_id(self, token: str) -> int | None:
        """The id of a token string."""
        return self._core.model_token_to_id(token)

    def id_to_token(self, id: int) -> str | None:
        """The token string of an id."""
        return self._core.model_id_to_token(id)

    def save(
        self,
        folder: PathLike,
        prefix: str | None = None,
        name: str | None = None,
    ) -> list[str]:
        """Write `vocab.json` and `merges.txt`, their names after `prefix` and a hyphen, each
        atomically; returns their paths. `name` is another name of `prefix`."""
        prefix = prefix if name is None else name
        start = "" if prefix is None else f"{prefix}-"
        vocab, merges = self._core.vocab_and_merges()
        files = {f"{start}vocab.json": vocab, f"{start}merges.txt": merges}
        paths = {as_path(folder, "folder") / file: text for file, text in files.items()}
        for path, text in paths.items():
            _core.write_atomic(path, text.encode())
        return [str(path) for path in paths]

    def _settings(self) -> dict[str, Any]:
        return json.loads(self._core.model(False))

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name not in ("vocab", "merges", "type"):
            settings = self._settings()
            if name in settings:
                return settings[name]
        raise AttributeError(f"BPE has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if getattr(self, name) == value:
            return
        if self._write is None:
            raise AttributeError(
                f"expected the model of a tokenizer to set {name!r}, got a copy of one"
            )
        changed = json.dumps(json.loads(self._core.model(True)) | {name: value})
        try:
            self.__dict__["_core"] = self._write(changed)
        except ValueError as error:
            raise AttributeError(f"{name} cannot be set to {value!r}: {error}") from None

    def __getstate__(self) -> bytes:
        return self._core.model(True).encode()

    def __reduce__(self) -> tuple[Any, ...]:
        return _revive_model, (self._core.to_str(False, _core.HfSettings()),)

    def __repr__(self) -> str:
        return _repr.written("BPE", json.loads(self._core.model(True)), short=False)

    def __str__(self) -> str:
        return _repr.written("BPE", json.loads(self._core.model(True)), short=True)

    @property
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]
        """As that of components."""
        return _original_class("models", "BPE") or type(self)

    def __dir__(self) -> list[str]:
        return sorted({*dir(type(self)), *self.__dict__})  # not those of `__class__`


def _original_class(module: str, name: str) -> type | None:
    """The class of `tokenizers` that a component stands for; None where the package is not loaded:
    then nobody can ask for it."""
    module = "processors" if module == "post_processors" else module
    return getattr(sys.modules.get(f"tokenizers.{module}"), name, None)


_BASES = {base._kind: base for base in (Normalizer, PreTokenizer, PostProcessor, Decoder)}
_classes: dict[tuple[str, str], type[Component]] = {}


def component(
    kind: str,
    settings: dict[str, Any],
    core: _core.HfTokenizer,
    write: Callable[[dict[str, Any]], _core.HfTokenizer] | None,
) -> Component:
    """The view of a component; its class has the component's own name (`ByteLevel`, `Split`)."""
    key = (kind, settings["type"])
    if key not in _classes:
        _classes[key] = type(settings["type"], (_BASES[kind],), {"__module__": __name__})
    return _classes[key](settings, core, write)


def component_json(value: Any, kind: str) -> str:
    """The JSON of a component: ours, one of `tokenizers`, a dict, or JSON itself.

    Raises TypeError for anything else.
    """
    if isinstance(value, dict):
        return json.dumps(value)
    if isinstance(value, str | bytes):
        return value if isinstance(value, str) else value.decode()
    state = getattr(value, "__getstate__", lambda: None)()
    if isinstance(state, bytes):
        return state.decode()
    raise TypeError(f"expected a {kind.replace('_', '-')}, got {type(value).__name__}")


def _empty() -> _core.HfTokenizer:
    """A tokenizer without tokens, for a component that belongs to no tokenizer."""
    model = {"type": "BPE", "vocab": {}, "merges": []}
    return _core.HfTokenizer.from_str(json.dumps({"model": model}))[0]


def _revive(kind: str, text: str) -> Component:
    return component(kind, json.loads(text), _empty().with_component(kind, text), None)


def _revive_model(text: str) -> BPE:
    return BPE(_core.HfTokenizer.from_str(text)[0])
