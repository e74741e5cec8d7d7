"""`bpe_rs.tiktoken` against the installed tiktoken: signatures, results, errors, call by call.

Every line of `tiktoken_calls/` is evaluated twice, once with each package as `tiktoken`.
tiktoken's own encodings are built from our tables, so that nothing is downloaded;
`test_encoding.py` ties those to the published files.
"""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bpe_rs
import bpe_rs.tiktoken as ours
import bpe_rs.tiktoken.load
import numpy as np
import pytest
import tiktoken as theirs
import tiktoken.load
from bpe_rs.tiktoken import _educational as our_educational
from bpe_rs.tiktoken import _tiktoken as our_core_module
from bpe_rs.tiktoken import openai_public
from programs import run_program
from tiktoken import _educational as their_educational
from tiktoken import _tiktoken as their_core_module  # pyright: ignore[reportAttributeAccessIssue]

MODULES = ("core", "registry", "model", "load", "_educational", "_tiktoken")

CALLS = Path(__file__).with_name("tiktoken_calls")


def calls(*subjects: str) -> list[str]:
    """The calls of these tables, one a line."""
    texts = [(CALLS / f"{subject}.txt").read_text(encoding="utf-8") for subject in subjects]
    return "".join(texts).splitlines()


# Same result, or the same exception with the same message.
SAME = calls("registry", "attributes", "encode", "decode", "private", "objects", "modules")

# The same type of exception, where tiktoken's message comes from the inside of a library.
SAME_TYPE = calls("errors")

# Calls with which tiktoken panics, hangs or loses text, and what ours return.
OURS_ONLY: dict[str, Callable[[Any], bool]] = {
    'enc._encode_single_piece("")': lambda result: result == [],
    'new({b"a": 1, b"b": 1}, {})': lambda result: isinstance(result, ValueError),
    'new({b"a": 1}, {}).encode("b")': lambda result: isinstance(result, ValueError),
    'new({b"a": 1}, {}, pat_str=".+").encode("ab")': lambda r: isinstance(r, ValueError),
    'new(BYTES, {"": 300})': lambda result: isinstance(result, ValueError),
    'new(BYTES, {}, pat_str="(?=a)").encode("aab")': lambda result: result == [],
    # Lone surrogates are replaced here too, not only in `encode`.
    r'enc.encode_to_numpy("\ud83d")': lambda result: list(result) == [4210],
    r'enc.encode_with_unstable("a \ud83d")[0][:1]': lambda result: result == [64],
    # Special tokens may be bytes; the message names the token, not a failed join.
    'enc.encode("a", disallowed_special={b"a"})': lambda r: isinstance(r, ValueError),
    # An abstract set, as documented, but not of the class `set`.
    'enc.encode("<|endoftext|>", allowed_special={"<|endoftext|>": 1}.keys())': (
        lambda result: result == [50256]
    ),
    'new(BYTES, {"<a>": 300, "<a>b": 301}).encode("<a>b<a>", allowed_special="all")': (
        lambda result: result == [301, 300]
    ),
    # Local files are checked and never copied.
    'tiktoken.load.read_file_cached(file(b"abc"), "00")': lambda r: isinstance(r, ValueError),
    'tiktoken.load.dump_tiktoken_bpe({b"a": 1, b"b": 0}, out), tiktoken.load.read_file(out)': (
        lambda result: result == (None, b"Yg== 0\nYQ== 1\n")
    ),
}


class Text(str):
    """A string that is not exactly a str."""


def register_theirs() -> None:
    """Register the encodings that tiktoken would download."""
    for name in theirs.list_encoding_names():
        if name not in theirs.registry.ENCODINGS:
            arguments = openai_public.ENCODING_CONSTRUCTORS[name]()
            theirs.registry.ENCODINGS[name] = theirs.Encoding(**arguments)


def namespace(module: types.ModuleType, folder: Path) -> dict[str, Any]:
    import contextlib
    import io

    def new(ranks: Any, special: Any, *, name: Any = "new", pos: bool = False, **more: Any) -> Any:
        if pos:
            return module.Encoding(name, ".", ranks, special)
        arguments = {"pat_str": ".", "mergeable_ranks": ranks, "special_tokens": special} | more
        return module.Encoding(name, **arguments)

    def file(content: bytes) -> str:
        path = folder / "ranks"
        path.write_bytes(content)
        return str(path)

    def printed(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[str, Any]:
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            result = function(*args, **kwargs)
        return text.getvalue(), result

    return {
        "tiktoken": module,
        "enc": module.get_encoding("gpt2"),
        "p50": module.get_encoding("p50k_base"),
        "edit": module.get_encoding("p50k_edit"),
        "cl": module.get_encoding("cl100k_base"),
        "o2": module.get_encoding("o200k_base"),
        "harmony": module.get_encoding("o200k_harmony"),
        "new": new,
        "file": file,
        "printed": printed,
        "shell": lambda module: module.Encoding.__new__(module.Encoding),
        "unordered": lambda result: (result[0], sorted(result[1])),
        "missing": str(folder / "missing"),
        "folder": str(folder),
        "out": str(folder / "out"),
        "R50K": bpe_rs.get_encoding("r50k_base").mergeable_ranks,
        "BYTES": {bytes([b]): b for b in range(256)},
        "Text": Text,
        "np": np,
        "copy": copy,
        "pickle": pickle,
    }


@pytest.fixture(scope="module")
def spaces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict, dict]]:
    folder = tmp_path_factory.mktemp("surface")
    register_theirs()
    with pytest.MonkeyPatch.context() as patch:
        # tiktoken keeps copies of local files; not in this test.
        patch.setenv("TIKTOKEN_CACHE_DIR", "")
        yield namespace(ours, folder), namespace(theirs, folder)


def outcome(call: str, space: dict[str, Any]) -> Any:
    try:
        return eval(call, dict(space))
    except Exception as error:
        return error


def comparable(result: Any) -> Any:
    """The parts of a result that must be equal: contents of arrays and exceptions, reprs."""
    if isinstance(result, BaseException):
        return type(result), str(result)
    if isinstance(result, np.ndarray):
        return result.dtype, result.tolist()
    if isinstance(result, ours.Encoding | theirs.Encoding):
        return repr(result)
    if isinstance(result, tuple):
        return tuple(comparable(item) for item in result)
    return result


@pytest.mark.parametrize("call", SAME)
def test_same(call: str, spaces: tuple[dict, dict]) -> None:
    mine, expected = (comparable(outcome(call, space)) for space in spaces)
    assert mine == expected


@pytest.mark.parametrize("call", SAME_TYPE)
def test_same_type_of_error(call: str, spaces: tuple[dict, dict]) -> None:
    mine, expected = (outcome(call, space) for space in spaces)
    assert isinstance(expected, Exception)
    assert type(mine) is type(expected)
    assert str(mine)


@pytest.mark.parametrize("call", OURS_ONLY)
def test_better(call: str, spaces: tuple[dict, dict]) -> None:
    assert OURS_ONLY[call](outcome(call, spaces[0]))


def test_the_tables_are_as_long_as_the_readme_says() -> None:
    assert len(set(SAME + SAME_TYPE)) == len(SAME + SAME_TYPE) == 389


# ---- signatures


def public(owner: Any, module: str) -> dict[str, Any]:
    """Functions and classes that tiktoken itself defines, by name."""
    return {
        name: value
        for name, value in vars(owner).items()
        if (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__.startswith(module)
    }


@pytest.mark.parametrize("name", ["", *MODULES])
def test_modules_have_the_same_callables(name: str) -> None:
    their_module = getattr(theirs, name) if name else theirs
    our_module = getattr(ours, name) if name else ours
    for attribute, value in public(their_module, "tiktoken").items():
        mine = getattr(our_module, attribute)
        if inspect.isfunction(value):
            assert inspect.signature(mine) == inspect.signature(value), attribute
        assert mine.__doc__, attribute


@pytest.mark.parametrize("name", [n for n in vars(theirs.Encoding) if n != "__doc__"])
def test_encoding_has_the_same_signatures(name: str) -> None:
    mine, expected = vars(ours.Encoding)[name], vars(theirs.Encoding)[name]
    if name in ("__module__", "__dict__", "__weakref__", "__firstlineno__"):
        return
    if inspect.isfunction(expected):
        assert inspect.signature(mine) == inspect.signature(expected)
        assert inspect.signature(getattr(ours.get_encoding("gpt2"), name)) == inspect.signature(
            getattr(theirs.Encoding, name).__get__(object())
        )
    else:
        assert type(mine) is type(expected)


def test_the_simple_encoding_has_the_same_signatures() -> None:
    mine = our_educational.SimpleBytePairEncoding
    for name, value in vars(their_educational.SimpleBytePairEncoding).items():
        if inspect.isfunction(value) or isinstance(value, staticmethod):
            assert inspect.signature(getattr(mine, name)) == inspect.signature(
                getattr(their_educational.SimpleBytePairEncoding, name)
            )


def test_core_bpe_has_the_same_parameters() -> None:
    their_core = their_core_module.CoreBPE
    for name in (n for n in dir(their_core) if not n.startswith("__")):
        mine = inspect.signature(getattr(our_core_module.CoreBPE, name))
        assert list(mine.parameters) == list(
            inspect.signature(getattr(their_core, name)).parameters
        )


def test_attributes_of_an_instance() -> None:
    mine = ours.get_encoding("gpt2")
    register_theirs()
    missing = {n for n in dir(theirs.get_encoding("gpt2")) if not hasattr(mine, n)}
    assert not missing


# ---- how programs use the class


def test_a_derived_class_with_another_constructor() -> None:
    class Mine(ours.Encoding):
        def __init__(self, extra: str):
            base = ours.get_encoding("gpt2")
            super().__init__(
                "mine",
                pat_str=base._pat_str,
                mergeable_ranks=base._mergeable_ranks,
                special_tokens={extra: 50257},
            )

        def encode(self, text: str, **kwargs: Any) -> list[int]:
            return [0, *super().encode(text, **kwargs)]

    mine = Mine("<x>")
    assert mine.encode("hello<x>", allowed_special="all") == [0, 31373, 50257]
    assert copy.deepcopy(mine).encode("hello") == [0, 31373]
    assert copy.deepcopy(mine)._core_bpe is mine._core_bpe


def test_a_method_replaced_on_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours.Encoding, "encode", lambda self, text: "patched")
    assert ours.get_encoding("gpt2").encode("x") == "patched"


def test_a_copy_is_independent() -> None:
    first = ours.Encoding(
        "first",
        pat_str=".",
        mergeable_ranks={bytes([b]): b for b in range(256)},
        special_tokens={"<x>": 300},
    )
    second = copy.deepcopy(first)
    second._special_tokens["<y>"] = 301
    second.name = "second"
    assert first._special_tokens == {"<x>": 300} and first.name == "first"


def test_what_is_beyond_tiktoken_is_there_too() -> None:
    enc = ours.get_encoding("gpt2")
    assert enc.fingerprint == bpe_rs.get_encoding("gpt2").fingerprint
    assert isinstance(bpe_rs.get_encoding("gpt2")._core_bpe, our_core_module.CoreBPE)


def plugin_run(folder: Path, plugin: str, code: str) -> str:
    package = folder / "tiktoken_ext"
    package.mkdir(exist_ok=True)
    (package / "zmine.py").write_text(plugin)
    code = f"import sys; sys.path.insert(0, {str(folder)!r})\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


PLUGIN = """
def mine():
    ranks = {bytes([i]): i for i in range(256)}
    return dict(name="mine", pat_str=".", mergeable_ranks=ranks, special_tokens={"<x>": 256})
ENCODING_CONSTRUCTORS = {"mine": mine}
"""


@pytest.mark.parametrize(
    ("plugin", "call"),
    [
        (PLUGIN, "tiktoken.get_encoding('mine').encode('ab<x>', allowed_special='all')"),
        (PLUGIN, "sorted(tiktoken.list_encoding_names())"),
        (PLUGIN, "tiktoken.registry._available_plugin_modules()"),
        ("X = 1", "tiktoken.list_encoding_names()"),
        ("ENCODING_CONSTRUCTORS = {'gpt2': None}", "tiktoken.get_encoding('gpt2')"),
        ("ENCODING_CONSTRUCTORS = {'mine': lambda: 1 / 0}", "tiktoken.get_encoding('mine')"),
    ],
)
def test_plugins(plugin: str, call: str, tmp_path: Path) -> None:
    mine, expected = (
        plugin_run(tmp_path, plugin, f"import {name} as tiktoken\nprint({call})")
        for name in ("bpe_rs.tiktoken", "tiktoken")
    )
    assert mine == expected


def test_without_tiktoken_installed(tmp_path: Path) -> None:
    """Neither tiktoken nor its plug-in package is needed."""
    code = (
        "import sys; sys.modules['tiktoken'] = sys.modules['tiktoken_ext'] = None\n"
        "import bpe_rs.tiktoken as t; print(t.get_encoding('gpt2').encode('hello'), "
        "len(t.list_encoding_names()))"
    )
    assert run_program(code).split("\n")[0] == "[31373] 7"


def test_importing_does_not_load_numpy() -> None:
    """It takes longer to import than everything else, and most programs do not need it."""
    code = (
        "import sys, bpe_rs.tiktoken as t; t.get_encoding('gpt2').encode('hello')\n"
        "assert 'numpy' not in sys.modules"
    )
    run_program(code)


# ---- inputs that break tiktoken (see also test_hard_texts.py)


def test_a_million_spaces() -> None:
    text = " " * 1_300_000 + "x"
    enc = ours.get_encoding("gpt2")
    assert enc.decode(enc.encode_ordinary(text)) == text


def test_unstable_tokens_of_a_long_run_of_spaces() -> None:
    enc = ours.get_encoding("gpt2")
    text = " " * 300
    stable, ways = enc.encode_with_unstable(text)
    assert stable == []
    assert all(enc.decode(way).startswith(text) for way in ways)
