"""The tests of `transformers` for fast tokenizers, on small tokenizers of every BPE class it has.

The mixins are in the source distribution of `transformers`; this module adds the classes. Each is
tested twice: with `bpe_rs.hf.Tokenizer` where its code makes a `tokenizers.Tokenizer`, and as
`from_pretrained_fast` returns it.
"""

from __future__ import annotations

import unittest
from typing import Any

import pytest
import transformers
from bpe_rs import hf
from hf_door import IS_CONTROL
from small_vocabularies import CLASSES, saved
from tests.test_tokenization_common import (  # pyright: ignore[reportMissingImports]
    TokenizerTesterMixin,
)
from tests.test_tokenizers_backend_mixin import (  # pyright: ignore[reportMissingImports]
    TokenizersBackendTesterMixin,
)

T: Any = transformers
# Its constructor puts `tokenizer.normalizer` into a `normalizers.Sequence`, whose Rust code takes
# the classes of `tokenizers` alone, and these cannot be subclassed.
OWN_COMPONENTS = "Siglip2Tokenizer"


def prepare(cls: Any, base: Any) -> None:
    """Set up a test class; a vocabulary that cannot be made is an error of each of its tests."""
    cls.from_pretrained_id = saved(cls.name)
    is_ours = type(cls.tokenizer_class()._tokenizer) is hf.Tokenizer
    if is_ours == IS_CONTROL:
        raise AssertionError("expected our tokenizer unless this is the control run")
    base.setUpClass.__func__(cls)


def fast(tokenizer: Any) -> Any:
    return tokenizer if IS_CONTROL else hf.from_pretrained_fast(tokenizer)


def test_classes(name: str) -> dict[str, type]:
    cls = getattr(T, name)

    class Common(TokenizerTesterMixin, unittest.TestCase):
        tokenizer_class = cls

        @classmethod
        def setUpClass(cls) -> None:
            prepare(cls, TokenizerTesterMixin)

    class Backend(TokenizersBackendTesterMixin, unittest.TestCase):
        tokenizer_class = rust_tokenizer_class = cls

        @classmethod
        def setUpClass(cls) -> None:
            prepare(cls, TokenizersBackendTesterMixin)

    class Fast(Common):
        @classmethod
        def get_tokenizer(cls, pretrained_name: Any = None, **kwargs: Any) -> Any:
            return fast(super().get_tokenizer(pretrained_name, **kwargs))

    class BackendFast(Backend):
        @classmethod
        def get_rust_tokenizer(cls, pretrained_name: Any = None, **kwargs: Any) -> Any:
            return fast(super().get_rust_tokenizer(pretrained_name, **kwargs))

    made = {}
    for kind in (Common, Backend, Fast, BackendFast):
        title = f"{name}{kind.__name__}Test"
        made[title] = type(title, (kind,), {"name": name, "__module__": __name__})
    return made


def test_own_components_in_a_sequence_of_theirs() -> None:
    """The known limit: it is an error of its own, and nothing is encoded differently."""
    if not IS_CONTROL:
        with pytest.raises(TypeError, match="not an instance of 'Normalizer'"):
            getattr(T, OWN_COMPONENTS)()


test_classes.__test__ = False  # type: ignore[attr-defined]
for class_name in CLASSES:
    if hasattr(T, class_name):
        globals().update(test_classes(class_name))
