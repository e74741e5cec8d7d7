"""`bpe_rs.tiktoken` against the installed tiktoken: signatures, results, errors, call by call.

Every line of `CALLS` is evaluated twice, once with each package as `tiktoken`. tiktoken's own
encodings are built from our tables, so that nothing is downloaded; `test_encoding.py` ties those
to the published files.
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
from tiktoken import _educational as their_educational
from tiktoken import _tiktoken as their_core_module  # pyright: ignore[reportAttributeAccessIssue]

MODULES = ("core", "registry", "model", "load", "_educational", "_tiktoken")

# Same result, or the same exception with the same message.
SAME = r"""
tiktoken.list_encoding_names()
sorted(tiktoken.registry.ENCODING_CONSTRUCTORS)
tiktoken.registry._available_plugin_modules()
tiktoken.__version__
tiktoken.get_encoding("gpt2") is tiktoken.get_encoding("gpt2")
tiktoken.get_encoding("nope")
tiktoken.get_encoding("gpt2 ")
tiktoken.get_encoding("")
tiktoken.get_encoding(3)
tiktoken.get_encoding(None)
tiktoken.get_encoding(["gpt2"])
tiktoken.get_encoding(b"gpt2")
tiktoken.get_encoding()
repr(tiktoken.get_encoding(encoding_name="gpt2"))
tiktoken.model.MODEL_TO_ENCODING
tiktoken.model.MODEL_PREFIX_TO_ENCODING
[tiktoken.encoding_name_for_model(m) for m in sorted(tiktoken.model.MODEL_TO_ENCODING)]
[tiktoken.encoding_name_for_model(m + "x") for m in sorted(tiktoken.model.MODEL_PREFIX_TO_ENCODING)]
tiktoken.encoding_name_for_model("ft:gpt-4o-mini:org:x")
tiktoken.encoding_name_for_model("gpt-4-0613")
tiktoken.encoding_name_for_model("nope")
tiktoken.encoding_name_for_model("")
tiktoken.encoding_name_for_model("gpt-4-")
tiktoken.encoding_for_model("gpt-2").name
tiktoken.encoding_for_model("nope")
tiktoken.encoding_for_model(3)
tiktoken.encoding_for_model(None)
tiktoken.encoding_for_model()
repr(enc)
enc.name, cl.name, o2.name, harmony.name
enc.n_vocab, cl.n_vocab, o2.n_vocab, harmony.n_vocab, edit.n_vocab, p50.n_vocab
enc.max_token_value, cl.max_token_value, harmony.max_token_value
enc.eot_token, cl.eot_token, o2.eot_token, harmony.eot_token
enc.special_tokens_set, cl.special_tokens_set, edit.special_tokens_set, o2.special_tokens_set
len(harmony.special_tokens_set), type(enc.special_tokens_set)
enc.special_tokens_set is enc.special_tokens_set
enc._special_tokens, cl._special_tokens, edit._special_tokens, harmony._special_tokens
enc._special_token_values, cl._special_token_values
enc._pat_str, cl._pat_str, o2._pat_str
len(enc._mergeable_ranks), enc._mergeable_ranks == R50K
cl._mergeable_ranks[b"hello"], cl._mergeable_ranks.get(b"<|endoftext|>")
enc.encode("hello world")
enc.encode("")
enc.encode(text="a")
enc.encode("hello <|endoftext|>", allowed_special="all")
enc.encode("hello <|endoftext|>", allowed_special={"<|endoftext|>"})
enc.encode("hello <|endoftext|>", allowed_special=frozenset(["<|endoftext|>"]))
enc.encode("<|endoftext|>x", allowed_special={"<|endoftext|>", "foo"})
enc.encode("foo<|endoftext|>", allowed_special={"foo"}, disallowed_special=())
enc.encode("hello foo", allowed_special={"foo"})
enc.encode("hello foo", allowed_special={"foo"}, disallowed_special={"foo"})
enc.encode("a<|endoftext|>b")
enc.encode("a<|endoftext|>b", disallowed_special=())
enc.encode("a<|endoftext|>b", disallowed_special=set())
enc.encode("a<|endoftext|>b", disallowed_special=[])
enc.encode("a<|endoftext|>b", disallowed_special=None)
enc.encode("a<|endoftext|>b", disallowed_special=False)
enc.encode("a<|endoftext|>b", disallowed_special="")
enc.encode("a<|endoftext|>b", disallowed_special={"b"})
enc.encode("hello foo", disallowed_special=("foo",))
enc.encode("hello foo", disallowed_special=["foo"])
enc.encode("hello foo", disallowed_special=("hello", "foo"))
enc.encode("hello foo", disallowed_special={"foo": 1})
enc.encode("hello foo", disallowed_special=(x for x in ["foo"]))
enc.encode("hello foo", disallowed_special=(x for x in ["bar"]))
enc.encode("xA", disallowed_special="A")
enc.encode("hello foo", disallowed_special=[""])
enc.encode("a.b", disallowed_special={"."})
enc.encode("a.b", disallowed_special={"[.]"})
enc.encode("it's", disallowed_special={"'s"})
enc.encode('say "x"', disallowed_special={'"x"'})
enc.encode("a\\b", disallowed_special={"\\"})
enc.encode("é", disallowed_special={"é"})
enc.encode("a<|endoftext|>", allowed_special="all", disallowed_special="all")
enc.encode("a<|endoftext|>", allowed_special="all", disallowed_special={"<|endoftext|>"})
enc.encode("hello", allowed_special=set(), disallowed_special="all")
cl.encode("x<|fim_suffix|><|endoftext|>b")
cl.encode("x<|fim_suffix|><|endoftext|>b", allowed_special={"<|fim_suffix|>"})
cl.encode("x<|fim_suffix|><|endoftext|>b", allowed_special="all")
cl.encode("x<|fim_suffix|>b", allowed_special={"<|fim_suffix|>"}, disallowed_special=())
cl.encode("<|endoftext|><|fim_middle|>", disallowed_special={"<|fim_middle|>"})
cl.encode("<|endoftext|> \n<|endoftext|>\n  x", allowed_special="all")
harmony.encode("<|start|>user<|message|>hi<|end|>", allowed_special="all")
harmony.encode("<|start|>user<|message|>hi<|end|>")
enc.encode()
enc.encode("a", "all")
enc.encode("a", foo=1)
enc.encode_ordinary()
enc.encode_ordinary("a", "b")
enc.encode_ordinary("<|endoftext|> hello")
enc.encode_ordinary(text="hello\r\n\r\n  world\t!")
enc.encode("naïve café, 你好 👍🏽\u200d, \u00a0\u3000x  \n\n y")
cl.encode("naïve café, 你好 👍🏽\u200d, \u00a0\u3000x  \n\n y I'LL 12345")
o2.encode("naïve café, 你好 👍🏽\u200d, \u00a0\u3000x  \n\n y I'LL 12345")
cl.encode("\x00\x01\x7f\x80\xff\ufeff\ufffd")
enc.encode(Text("hello world"))
enc.encode(np.str_("hello world"))
enc.encode("a\ud83d\ude00b")
enc.encode("a\ud83db")
enc.encode("\ude00\ud83d")
enc.encode_ordinary("\udc00x")
enc.encode("\ud83d<|endoftext|>", allowed_special="all")
enc.encode("\ud83d<|endoftext|>")
enc.encode_batch(["a\ud83d\ude00b", "\ud83d"])
enc.encode_ordinary_batch(["\ud83d"])
enc.encode_to_numpy("hello world")
enc.encode_to_numpy("")
enc.encode_to_numpy("hello world").dtype
enc.encode_to_numpy("<|endoftext|>")
enc.encode_to_numpy("<|endoftext|>", allowed_special="all")
enc.encode_to_numpy("<|endoftext|>", disallowed_special=())
enc.encode_to_numpy()
enc.encode_batch(["a", "b c"])
enc.encode_batch([])
enc.encode_batch("ab")
enc.encode_batch(("a", "b"))
enc.encode_batch(x for x in "ab")
enc.encode_batch(np.array(["a", "b"]))
enc.encode_batch(None)
enc.encode_batch(["a"], num_threads=0)
enc.encode_batch(["a"], num_threads=-1)
enc.encode_batch(["a"], num_threads="2")
enc.encode_batch(["a"], num_threads=None)
enc.encode_batch(["a"], num_threads=1)
enc.encode_batch(["a", "<|endoftext|>"])
enc.encode_batch(["a", "<|endoftext|>"], allowed_special="all")
enc.encode_batch(["a", "<|endoftext|>"], disallowed_special=())
enc.encode_batch(["a"], 4)
enc.encode_ordinary_batch(["a", "<|endoftext|>"])
enc.encode_ordinary_batch("ab")
enc.encode_ordinary_batch(["a"], num_threads=2.5)
enc.encode_ordinary_batch([], num_threads=0)
enc.encode_ordinary_batch(None)
enc.encode_ordinary_batch(["hello"] * 1000, num_threads=3) == [[31373]] * 1000
enc.encode_single_token("hello")
enc.encode_single_token(b"hello")
enc.encode_single_token("hello world")
enc.encode_single_token(b"hello world")
enc.encode_single_token("<|endoftext|>")
enc.encode_single_token(b"<|endoftext|>")
enc.encode_single_token("")
enc.encode_single_token(b"\xff")
enc.encode_single_token("é")
enc.encode_single_token("\ud83d")
[enc.encode_single_token(bytes([b])) for b in range(256)]
[cl.encode_single_token(bytes([b])) for b in range(256)]
enc.decode([31373])
enc.decode([])
enc.decode((31373, 995))
enc.decode(range(300))
enc.decode([True])
enc.decode(b"ab")
enc.decode(np.array([31373]))
enc.decode(np.array([31373], dtype=np.uint32))
enc.decode(np.array([31373], dtype=np.uint16))
enc.decode(np.array([31373], dtype=np.int32))
enc.decode(np.array([3], dtype=np.uint8))
enc.decode([np.int64(31373)])
enc.decode(tokens=[31373], errors="strict")
enc.decode([50256])
enc.decode([127])
enc.decode([127], errors="strict")
enc.decode([127], errors="ignore")
enc.decode([127], "ignore")
enc.decode([127], errors="foo")
enc.decode([31373], errors="foo")
enc.decode([127], errors="backslashreplace")
enc.decode([50257])
enc.decode([10**7])
enc.decode([1, 10**7, 2])
enc.decode([-1])
enc.decode([2**40])
enc.decode([1, 10**7, -1])
enc.decode([1.0])
enc.decode(["a"])
enc.decode([1, "a"])
enc.decode()
enc.decode_bytes([31373, 995])
enc.decode_bytes([127])
enc.decode_bytes([50257])
enc.decode_bytes([-5])
cl.decode_bytes([100256])
cl.decode_bytes([100261])
cl.decode_bytes([100276])
harmony.decode_bytes([200000, 200005, 199999, 201087])
enc.decode_single_token_bytes(31373)
enc.decode_single_token_bytes(50256)
enc.decode_single_token_bytes(50257)
enc.decode_single_token_bytes(-1)
enc.decode_single_token_bytes(2**33)
enc.decode_single_token_bytes(True)
enc.decode_single_token_bytes(np.int64(5))
enc.decode_single_token_bytes("a")
enc.decode_single_token_bytes(1.0)
enc.decode_single_token_bytes()
enc.decode_tokens_bytes([31373, 995])
enc.decode_tokens_bytes(np.array([1, 2]))
enc.decode_tokens_bytes(x for x in [1])
enc.decode_tokens_bytes([10**7])
enc.decode_tokens_bytes([])
enc.decode_with_offsets([31373, 995])
enc.decode_with_offsets([])
enc.decode_with_offsets(enc.encode("héllo 👍🏽 ok"))
cl.decode_with_offsets(cl.encode("我非常渴望与人工智能一起工作"))
enc.decode_with_offsets([127])
enc.decode_with_offsets(enc.encode("👍")[1:])
enc.decode_with_offsets(enc.encode("👍")[:1])
enc.decode_with_offsets([10**7])
cl.decode_with_offsets(cl.encode("x<|endoftext|>y", allowed_special="all"))
enc.decode_batch([[31373], [995]])
enc.decode_batch([])
enc.decode_batch(x for x in [[1], [2]])
enc.decode_batch(np.array([[31373], [995]]))
enc.decode_batch([[31373], [10**7]])
enc.decode_batch([[127]], errors="strict")
enc.decode_batch([[127]], errors="ignore")
enc.decode_batch([[1]], num_threads=0)
enc.decode_batch([[1]], "strict")
enc.decode_bytes_batch([[31373], [995]])
enc.decode_bytes_batch([[31373], [995]], num_threads=0)
enc.decode_bytes_batch([[10**7]])
enc.token_byte_values() == sorted(R50K)
len(enc.token_byte_values()), len(cl.token_byte_values()), cl.token_byte_values()[:3]
enc.is_special_token(50256), enc.is_special_token(0), enc.is_special_token(-1)
enc.is_special_token(True)
enc._encode_single_piece("hello")
enc._encode_single_piece(b"hello world")
enc._encode_single_piece("<|endoftext|>")
enc._encode_single_piece(b"\xff\xfe")
enc._encode_single_piece("\ud83d")
enc._encode_only_native_bpe("hello world<|endoftext|>")
enc._encode_only_native_bpe("")
enc._encode_only_native_bpe("\ud83d")
enc._encode_bytes(b"hello \xff world")
enc._encode_bytes(b"")
enc._encode_bytes("hé 👍".encode()[:-1])
enc._encode_bytes(b"ab  \xff\xfe  cd \xf0\x9f")
enc._encode_bytes(b"\xff")
cl._encode_bytes(b" \xec\x8b\xa4\xed")
cl._encode_bytes(b"\n \n\xff")
unordered(enc.encode_with_unstable("hello fanta"))
unordered(enc.encode_with_unstable("hello"))
unordered(enc.encode_with_unstable(""))
unordered(enc.encode_with_unstable("x "))
unordered(cl.encode_with_unstable("a \n"))
unordered(cl.encode_with_unstable("日本"))
enc.encode_with_unstable("hi <|endoftext|>", allowed_special="all")
enc.encode_with_unstable("<|endoftext|>")
unordered(enc.encode_with_unstable("hi <|endoftext|>x", allowed_special="all"))
unordered(enc.encode_with_unstable("<|endoftext|>", disallowed_special=()))
enc._core_bpe.encode_ordinary("hi there")
enc._core_bpe.encode("hi<|endoftext|>", set())
enc._core_bpe.encode("hi<|endoftext|>", {"<|endoftext|>"})
enc._core_bpe.encode_single_token(b"hi")
enc._core_bpe.encode_single_piece(b"hi there")
enc._core_bpe._encode_bytes(b"hi\xff")
enc._core_bpe.decode_bytes([31373])
enc._core_bpe.decode_single_token_bytes(31373)
enc._core_bpe.token_byte_values() == sorted(R50K)
unordered(enc._core_bpe.encode_with_unstable("hi there", set()))
np.frombuffer(enc._core_bpe.encode_to_tiktoken_buffer("hi there", set()), dtype=np.uint32)
tiktoken._tiktoken.CoreBPE(BYTES, {"<x>": 300}, ".").encode("a<x>", {"<x>"})
new(BYTES, {}).n_vocab
new(BYTES, {"<x>": 300}).encode("a<x>b", allowed_special="all")
new(BYTES, {"<x>": 300}).n_vocab, new(BYTES, {"<x>": 300}).max_token_value
new(BYTES, {"<x>": 300}).special_tokens_set
new(BYTES, {}).eot_token
new(BYTES, {}, pat_str=r"\w+|\s+").encode("hi!! yo")
new(BYTES, {}, pat_str=r"(?=a)b").encode("ab")
new(BYTES, {"<a>": 5}).encode("a<a>", allowed_special="all")
new(BYTES, {"<a>": 5}).decode([5])
new(BYTES, {"<a>": 300, "<b>": 300}).encode("<a><b>", allowed_special="all")
new(BYTES, {"ab": 300, "bc": 301}).encode("abc", allowed_special={"bc"}, disallowed_special=())
new(BYTES, {"<a>": 256}, explicit_n_vocab=257).n_vocab
new(BYTES | {b"abc": 256}, {}, pat_str=r"\w+").encode("abc abcx")
new(BYTES | {b"abc": 256}, {}, pat_str=r"\w+|\s").encode("abc abcx")
new(BYTES | {b"ab": 1000, b"bc": 999}, {}, pat_str=r"\w+").encode("abc")
new(BYTES | {b"aa": 256, b"aaa": 257}, {}, pat_str=r"\w+").encode("aaaaaaa")
new(BYTES, {}, name=5)
new(BYTES, {}, pos=True)
new(list(BYTES), {})
new(BYTES, ["<a>"])
new(BYTES, None)
tiktoken.Encoding("s", ".", BYTES, {})
tiktoken.Encoding("s", pat_str=".")
tiktoken.Encoding()
copy.deepcopy(enc).encode("hello"), copy.deepcopy(enc) is enc, copy.deepcopy(enc) == enc
copy.copy(enc).encode("hello"), copy.copy(enc) is enc, copy.copy(enc) == enc
copy.deepcopy(enc)._core_bpe is enc._core_bpe
pickle.loads(pickle.dumps(enc)).encode("hello"), pickle.loads(pickle.dumps(enc)) is enc
pickle.loads(pickle.dumps(enc))._core_bpe is enc._core_bpe
repr(pickle.loads(pickle.dumps(new(BYTES, {"<x>": 300}))))
pickle.loads(pickle.dumps(new(BYTES, {"<x>": 300}))).encode("<x>a", allowed_special="all")
pickle.loads(pickle.dumps(enc.encode))("hello")
len(pickle.dumps(enc)) < 100
enc.__getstate__()
new(BYTES, {"<x>": 300}).__getstate__()
shell(tiktoken).__setstate__("nope")
(lambda x: (x.__setstate__("gpt2"), repr(x)))(shell(tiktoken))
repr(shell(tiktoken))
enc == tiktoken.get_encoding("gpt2"), enc == cl, len({enc, cl, enc})
setattr(enc, "n_vocab", 3)
enc.no_such_attribute
tiktoken.core.raise_disallowed_special_token("x")
tiktoken.core._special_token_regex(frozenset({"<|a|>"})).pattern
tiktoken.load.check_hash(b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
tiktoken.load.check_hash(b"a", "x")
tiktoken.load.load_tiktoken_bpe(file(b"Yg== 0\nYQ== 1\n"))
tiktoken.load.load_tiktoken_bpe(file(b"\n\nYQ== 1\r\n"))
tiktoken.load.load_tiktoken_bpe(file(b""))
tiktoken.load.load_tiktoken_bpe(file(b"YQ==\n"))
tiktoken.load.load_tiktoken_bpe(file(b"YQ== x\n"))
tiktoken.load.load_tiktoken_bpe(file(b"YQ== 1 2\n"))
tiktoken.load.load_tiktoken_bpe(file(b"YQ 1\n"))
tiktoken.load.load_tiktoken_bpe(missing)
tiktoken.load.read_file(file(b"abc"))
tiktoken.load.read_file(missing)
tiktoken.load.read_file_cached(file(b"abc"))
tiktoken.load.read_file_cached(missing)
tiktoken._educational.bpe_encode(R50K, b"hello world", visualise=None)
tiktoken._educational.bpe_encode(R50K, b"", visualise=None)
tiktoken._educational.bpe_train("hello hello help " * 3, 260, r"\w+|\s", visualise=None)
tiktoken._educational.bpe_train("a", 255, r"\w")
tiktoken._educational.SimpleBytePairEncoding.from_tiktoken(enc).encode("a word", visualise=None)
tiktoken._educational.SimpleBytePairEncoding.from_tiktoken("gpt2").decode([31373, 995])
tiktoken._educational.SimpleBytePairEncoding.from_tiktoken("gpt2").decode_bytes([127])
tiktoken._educational.SimpleBytePairEncoding.from_tiktoken("gpt2").decode_tokens_bytes([31373])
tiktoken._educational.SimpleBytePairEncoding.from_tiktoken("gpt2").decode([10**6])
printed(tiktoken._educational.visualise_tokens, [b"he", b"l\xff", b"lo", b"\xc3"])
printed(tiktoken._educational.bpe_encode, R50K, b"hello world")
printed(tiktoken._educational.bpe_encode, R50K, b"hello", visualise="simple")
printed(tiktoken._educational.bpe_train, "low lower lowest", 258, r"\w+")
printed(tiktoken._educational.bpe_train, "low lower lowest", 258, r"\w+", visualise="simple")
"""

# The same kind of exception; what tiktoken says comes from the inside of some library.
SAME_TYPE = r"""
enc.encode(3)
enc.encode(None)
enc.encode(b"a")
enc.encode(["a"])
enc.encode_ordinary(3)
enc.encode_ordinary(b"a")
enc.encode_ordinary(None)
enc.encode_to_numpy(3)
enc.encode_batch([1])
enc.encode_ordinary_batch([1])
enc.encode_with_unstable(4)
enc.encode("a", allowed_special=None)
enc.encode("a", allowed_special=None, disallowed_special=())
enc.encode("a", allowed_special=5)
enc.encode("a", allowed_special=["<|endoftext|>"])
enc.encode("a", allowed_special=("<|endoftext|>",), disallowed_special=())
enc.encode("a", allowed_special="<|endoftext|>", disallowed_special=())
enc.encode("a", allowed_special="ALL")
enc.encode("a", allowed_special={5})
enc.encode("a", allowed_special=(x for x in "a"))
enc.encode("a", disallowed_special=5)
enc.encode("a", disallowed_special=[5])
enc.encode("a", disallowed_special=[["foo"]])
enc.encode("a", disallowed_special={b"a"})
enc.encode("a", disallowed_special={None})
enc.encode_single_token(5)
enc.encode_single_token(None)
enc.encode_single_token(bytearray(b"a"))
enc.decode(5)
enc.decode(None)
enc.decode({5})
enc.decode({1: 2})
enc.decode("ab")
enc.decode(x for x in [1])
enc.decode(np.array([1.5]))
enc.decode(np.array([[1, 2]]))
enc.decode([127], errors=3)
enc.decode_batch([1])
enc.is_special_token("a")
enc.is_special_token(None)
enc.is_special_token(50256.0)
enc._encode_single_piece(3)
enc._encode_bytes("a")
enc._encode_bytes(3)
enc._encode_bytes(bytearray(b"a"))
enc._encode_only_native_bpe(3)
new(BYTES, {"<a>": 256}, explicit_n_vocab=258)
new(BYTES, {"<a>": 300}, explicit_n_vocab=257)
new(BYTES, {}, pat_str="(")
new(BYTES, {}, pat_str=None)
new({}, {})
new({b"a": -1}, {})
new({"a": 1}, {})
new(BYTES, {3: 300})
shell(tiktoken).__setstate__(5)
tiktoken.load.read_file(folder)
tiktoken._educational.bpe_train("ab", 300, r"\w+", visualise=None)
"""

# What tiktoken gets wrong: it panics, hangs, or forgets; with what we do instead.
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
    # A set by its documented type, if not by its class.
    'enc.encode("<|endoftext|>", allowed_special={"<|endoftext|>": 1}.keys())': (
        lambda result: result == [50256]
    ),
    'new(BYTES, {"<a>": 300, "<a>b": 301}).encode("<a>b<a>", allowed_special="all")': (
        lambda result: result == [301, 300]
    ),
    # Files of this machine are checked and never copied.
    'tiktoken.load.read_file_cached(file(b"abc"), "00")': lambda r: isinstance(r, ValueError),
    'tiktoken.load.dump_tiktoken_bpe({b"a": 1, b"b": 0}, out), tiktoken.load.read_file(out)': (
        lambda result: result == (None, b"Yg== 0\nYQ== 1\n")
    ),
}


def lines(table: str) -> list[str]:
    return [line for line in table.strip().splitlines() if line]


class Text(str):
    """A string that is not exactly a str."""


def register_theirs() -> None:
    """Give tiktoken the encodings that it would download."""
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
    """What must be equal: array and exception contents, reprs of encodings."""
    if isinstance(result, BaseException):
        return type(result), str(result)
    if isinstance(result, np.ndarray):
        return result.dtype, result.tolist()
    if isinstance(result, ours.Encoding | theirs.Encoding):
        return repr(result)
    if isinstance(result, tuple):
        return tuple(comparable(item) for item in result)
    return result


@pytest.mark.parametrize("call", lines(SAME))
def test_same(call: str, spaces: tuple[dict, dict]) -> None:
    mine, expected = (comparable(outcome(call, space)) for space in spaces)
    assert mine == expected


@pytest.mark.parametrize("call", lines(SAME_TYPE))
def test_same_type_of_error(call: str, spaces: tuple[dict, dict]) -> None:
    mine, expected = (outcome(call, space) for space in spaces)
    assert isinstance(expected, Exception)
    assert type(mine) is type(expected)
    assert str(mine)


@pytest.mark.parametrize("call", OURS_ONLY)
def test_better(call: str, spaces: tuple[dict, dict]) -> None:
    assert OURS_ONLY[call](outcome(call, spaces[0]))


def test_the_table_is_as_long_as_promised() -> None:
    assert len(set(lines(SAME) + lines(SAME_TYPE))) >= 200


# ---- signatures


def public(owner: Any, module: str) -> dict[str, Any]:
    """Functions and classes that are at home in tiktoken, by name."""
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


# ---- what programs do to the class


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
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split("\n")[0] == "[31373] 7", done.stderr


def test_importing_does_not_load_numpy() -> None:
    """It takes longer to load than everything else together, and most programs never need it."""
    code = (
        "import sys, bpe_rs.tiktoken as t; t.get_encoding('gpt2').encode('hello')\n"
        "assert 'numpy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---- inputs that break others (see also test_encoding.py)


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
