"""Text that must match a JSON schema, a regular expression or a grammar (library: llguidance)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from gptpy.config.errors import ConfigError
from gptpy.inference.pieces import bytes_of
from gptpy.tokenizer import is_lossless
from gptpy.tokenizer.foreign import ByteLevelPipeline

Kind = Literal["json_schema", "regex", "grammar"]


class Constraints:
    """Compiles constraints for one tokenizer. `ConfigError` without llguidance."""

    def __init__(self, tokenizer: Any, vocab_size: int, end_id: int | None) -> None:
        try:
            import llguidance  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise ConfigError(
                "constrained text needs llguidance: pip install 'gptpy-lm[constrained]'"
            ) from None
        if end_id is None:
            raise ConfigError(
                "constrained text ends with an end-of-text token, which this tokenizer lacks"
            )
        if not (is_lossless(tokenizer) or isinstance(tokenizer, ByteLevelPipeline)):
            raise ConfigError(
                "constrained text needs a tokenizer whose tokens are bytes of the text: "
                "this one puts spaces between words"
            )
        self._library: Any = llguidance
        self.end_id = end_id
        wrapper = llguidance.TokenizerWrapper(_Vocabulary(tokenizer, vocab_size, end_id))
        self._tokenizer = llguidance.LLTokenizer(wrapper, n_vocab=vocab_size)

    def compile(self, kind: Kind, value: str | Mapping[str, Any] | bool) -> Constraint:
        """The constraint; `ConfigError` where the library does not take all of it.

        "json_schema": a schema as text or as an object. "regex": in Rust's syntax, for the whole
        text. "grammar": in the library's Lark syntax.
        """
        matcher = self._library.LLMatcher
        grammar = ""
        try:
            if kind == "json_schema":
                text = value if isinstance(value, str) else json.dumps(value)
                grammar = matcher.grammar_from_json_schema(text)
            elif kind == "regex":
                grammar = matcher.grammar_from_regex(value)
            elif kind == "grammar":
                grammar = matcher.grammar_from_lark(value)
            else:
                raise ConfigError(
                    f"constraint: expected json_schema, regex or grammar, got {kind!r}"
                )
            _, problems = matcher.validate_grammar_with_warnings(grammar, self._tokenizer)
        except (ValueError, TypeError) as error:
            problems = [str(error)]
        if problems:  # also warnings: they are about parts that would be ignored
            raise ConfigError(f"{kind} cannot be used: {'; '.join(problems)}")
        made = Constraint(matcher, self._tokenizer, grammar, self.end_id)
        if not made.start().allowed(self._tokenizer.vocab_size).any():
            raise ConfigError(f"{kind} cannot be used: no text matches it")
        return made


class Constraint:
    """A compiled constraint, for any number of texts."""

    def __init__(self, make: Any, tokenizer: Any, grammar: str, end_id: int) -> None:
        self._make, self._tokenizer, self._grammar, self.end_id = make, tokenizer, grammar, end_id

    def start(self) -> Matcher:
        """The state at the beginning of a text."""
        return Matcher(self._make(self._tokenizer, self._grammar))


class Matcher:
    """How much of a constraint a text has fulfilled."""

    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher

    def allowed(self, vocab_size: int) -> Tensor:
        """Which tokens may come next, `(V,)` boolean; the end token where the text may end."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        if self._matcher.is_error():  # it would allow the end, of a text that does not match
            return torch.zeros(vocab_size, dtype=torch.bool)
        return torch.from_numpy(np.unpackbits(bits, bitorder="little")[:vocab_size].astype(bool))

    def take(self, token: int) -> str | None:
        """Moves on by a token that was allowed; the problem, if there is one."""
        if self._matcher.consume_token(token):
            return None
        return self._matcher.get_error()

    @property
    def complete(self) -> bool:
        """Whether nothing but the end can follow."""
        return self._matcher.is_stopped() and self._matcher.is_accepting()


class _Vocabulary:
    """What llguidance asks of a tokenizer."""

    def __init__(self, tokenizer: Any, vocab_size: int, end_id: int) -> None:
        self.eos_token_id, self.bos_token_id = end_id, None
        self._tokenizer = tokenizer
        special = {tokenizer.encode_single_token(text) for text in tokenizer.special_tokens_set}
        special.add(end_id)
        self.tokens = [bytes_of(tokenizer, token) for token in range(vocab_size)]
        # A special token is a name, never text; ids without a token need distinct names, too.
        for token, text in enumerate(self.tokens):
            if token in special or not text:
                self.tokens[token] = b"<|%d|>" % token
                special.add(token)
        self.special_token_ids = sorted(special)

    def __call__(self, text: str | bytes) -> list[int]:
        if isinstance(text, bytes):
            text = text.decode(errors="replace")
        return self._tokenizer.encode_ordinary(text)
