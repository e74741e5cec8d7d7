"""Added tokens: our class, and that of the package `tokenizers` where it is installed."""

from __future__ import annotations

import sys
from importlib.util import find_spec


class AddedToken:
    """A token that is found in the text before the model sees it.

    `single_word`: matches only between word boundaries. `lstrip`, `rstrip`: includes the white
    space on that side. `normalized`: matches normalised text (default: unless `special`).
    `special`: skipped by `decode(skip_special_tokens=True)`.

    >>> AddedToken("<sep>", special=True).normalized
    False
    """

    def __init__(
        self,
        content: str,
        single_word: bool = False,
        lstrip: bool = False,
        rstrip: bool = False,
        normalized: bool | None = None,
        special: bool = False,
    ) -> None:
        if not isinstance(content, str):
            raise TypeError(f"expected the token's text as a str, got {content!r}")
        self.content = content
        self.single_word = single_word
        self.lstrip = lstrip
        self.rstrip = rstrip
        self._normalized = normalized
        self.special = special

    @property
    def normalized(self) -> bool:
        """Whether it matches normalised text."""
        return not self.special if self._normalized is None else self._normalized

    def _args(self) -> tuple[str, bool, bool, bool, bool, bool]:
        flags = (self.single_word, self.lstrip, self.rstrip, self.normalized, self.special)
        return (self.content, *flags)

    def __eq__(self, other: object) -> bool:
        return self._args() == other._args() if isinstance(other, AddedToken) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._args())

    def __str__(self) -> str:
        return self.content

    def __repr__(self) -> str:
        names = ("rstrip", "lstrip", "single_word", "normalized", "special")
        flags = ", ".join(f"{name}={getattr(self, name)}" for name in names)
        return f'AddedToken("{self.content}", {flags})'


def added_token_class() -> type:
    """`tokenizers.AddedToken` where that package is installed, because `transformers` tests for it
    with isinstance; else ours."""
    if "tokenizers" in sys.modules or find_spec("tokenizers") is not None:
        import tokenizers

        return tokenizers.AddedToken
    return AddedToken
