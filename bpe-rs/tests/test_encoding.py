"""`Encoding`: the published ones against their rank files and tiktoken; own vocabularies."""

import base64
import gzip
import hashlib
import pickle
from functools import cache

import bpe_rs
import numpy as np
import pytest
import tiktoken
from reference_tiktoken import tiktoken_encoding

# Published by tiktoken (`tiktoken_ext/openai_public.py`).
SHA256 = {
    "r50k_base": "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930",
    "p50k_base": "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069",
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
}


@pytest.mark.parametrize("name", SHA256)
def test_packed_tables_are_the_published_rank_files(name):
    ranks = bpe_rs.get_encoding(name).mergeable_ranks
    lines = [
        base64.b64encode(token) + b" %d\n" % rank
        for token, rank in sorted(ranks.items(), key=lambda item: item[1])
    ]
    assert hashlib.sha256(b"".join(lines)).hexdigest() == SHA256[name]


@pytest.fixture(scope="module", params=SHA256)
def pair(request):
    """An encoding and tiktoken's."""
    ours = bpe_rs.get_encoding(request.param)
    return ours, tiktoken_encoding(ours)


def read(path) -> str:
    raw = path.read_bytes()
    return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()


@pytest.mark.slow
@pytest.mark.parametrize(
    "file",
    [
        "tinyshakespeare.txt",
        "wikitext2-valid.txt",
        "wikitext2-test.txt",
        "multilingual-22mb.txt.gz",
        "english-100mb.txt.gz",
    ],
)
def test_same_ids_as_tiktoken_on_the_shared_texts(pair, file, shared_dir):
    ours, theirs = pair
    text = read(shared_dir / "data" / file)
    # In parts, so that an error shows where the difference is, and memory stays small.
    parts = [text[at : at + (1 << 20)] for at in range(0, len(text), 1 << 20)]
    for ids, part in zip(ours.encode_ordinary_batch(parts), parts, strict=True):
        assert ids == theirs.encode_ordinary(part)
        assert ours.decode(ids) == part


def test_every_name_loads_and_round_trips():
    text = "Hello, wörld! 你好 🙂 \u0301 \n\n\t x=1234567; don't"
    for name in bpe_rs.list_encoding_names():
        encoding = bpe_rs.get_encoding(name)
        assert encoding is bpe_rs.get_encoding(name)
        assert encoding.decode(encoding.encode(text)) == text
        assert pickle.loads(pickle.dumps(encoding)) is encoding  # noqa: S301
    with pytest.raises(ValueError, match="expected one of gpt2"):
        bpe_rs.get_encoding("gpt3")


def test_published_facts():
    want = {"gpt2": 50257, "r50k_base": 50257, "p50k_base": 50281, "p50k_edit": 50284}
    want |= {"cl100k_base": 100277, "o200k_base": 200019, "o200k_harmony": 201088}
    assert {n: bpe_rs.get_encoding(n).n_vocab for n in bpe_rs.list_encoding_names()} == want
    assert bpe_rs.encoding_for_model("gpt-4o-mini").name == "o200k_base"
    assert bpe_rs.encoding_for_model("gpt-4-0314").name == "cl100k_base"
    assert bpe_rs.encoding_for_model("gpt-oss-20b").name == "o200k_harmony"
    harmony = bpe_rs.get_encoding("o200k_harmony").special_tokens
    assert len(harmony) == 1091
    assert harmony["<|reserved_200018|>"] == harmony["<|endofprompt|>"] == 200018


def test_models_are_tiktokens():
    from bpe_rs._models import MODEL_TO_ENCODING, known_encoding_name
    from tiktoken import model

    assert MODEL_TO_ENCODING == model.MODEL_TO_ENCODING
    for prefix in model.MODEL_PREFIX_TO_ENCODING:
        assert known_encoding_name(prefix + "x") == model.encoding_name_for_model(prefix + "x")


SPECIAL_TEXTS = [
    "<|endoftext|>",
    "a<|endoftext|>b",
    " <|endoftext|> \n<|endoftext|><|endoftext|>",
    "<|endoftext|",
    "<<|endoftext|>>",
    "<|fim_prefix|>x<|fim_suffix|>  <|endofprompt|>",
    "no special",
    "",
]


@pytest.mark.parametrize("text", SPECIAL_TEXTS)
@pytest.mark.parametrize("allowed", [set(), "all", {"<|endoftext|>"}, {"<|fim_prefix|>", "no"}])
@pytest.mark.parametrize("disallowed", ["all", (), {"<|endoftext|>"}, ["no"]])
def test_special_tokens_as_tiktoken(text, allowed, disallowed):
    ours = bpe_rs.get_encoding("cl100k_base")
    theirs = tiktoken_cl100k()
    arguments = {"allowed_special": allowed, "disallowed_special": disallowed}
    try:
        want = theirs.encode(text, **arguments)
    except ValueError:
        for call in (ours.encode, ours.encode_to_numpy):
            with pytest.raises(ValueError, match="disallowed special token"):
                call(text, **arguments)
        with pytest.raises(ValueError, match="disallowed special token"):
            ours.encode_batch(["fine", text], **arguments)
        return
    assert ours.encode(text, **arguments) == want
    assert ours.encode_to_numpy(text, **arguments).tolist() == want
    assert ours.encode_batch([text, "", text], **arguments) == [want, [], want]
    flat, offsets = ours.encode_batch_to_numpy([text, "", text], **arguments)
    assert flat.dtype == np.uint32 and flat.tolist() == want + want
    assert offsets.tolist() == [0, len(want), len(want), 2 * len(want)]
    assert ours.decode(want) == text


@cache
def tiktoken_cl100k() -> tiktoken.Encoding:
    return tiktoken_encoding(bpe_rs.get_encoding("cl100k_base"))


def test_surrogates_as_tiktoken():
    ours, theirs = bpe_rs.get_encoding("cl100k_base"), tiktoken_cl100k()
    for text in ["\ud83d\ude00", "\ud83d", "a\udc00b", "\ude00\ud83d"]:
        assert ours.encode(text) == theirs.encode(text)
        assert ours.encode_ordinary_batch([text]) == [theirs.encode(text)]


def toy(ranks: list[bytes], **more) -> bpe_rs.Encoding:
    table = {token: rank for rank, token in enumerate(ranks)}
    arguments = {"pat_str": r"\S+|\s+", "special_tokens": {}} | more
    return bpe_rs.Encoding("toy", mergeable_ranks=table, **arguments)


def test_own_vocabularies():
    encoding = toy([b"a", b"b", b"ab", b"c", b"abc"])
    assert encoding.encode("abcab") == [4, 2]
    # The rank of "bc" comes first, so "abc" is never merged; as a whole piece it is found.
    encoding = toy([b"a", b"b", b"c", b"bc", b"ab", b"abcd", b"d"])
    assert encoding.encode("abcd") == [5]
    assert encoding.encode("abcda") == [0, 3, 6, 0]
    with pytest.raises(ValueError, match="byte 0x7a has no token"):
        encoding.encode("az")
    # Text that the pattern does not match is dropped, as in tiktoken.
    assert toy([b"a", b"b"], pat_str="a+").encode("aba") == [0, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ranks": [b"a"], "pat_str": "("}, "expected a regular expression"),
        ({"ranks": [b"a"], "special_tokens": {"": 3}}, "non-empty special tokens"),
        ({"ranks": [b"a"], "explicit_n_vocab": 3}, "explicit_n_vocab=3"),
    ],
)
def test_bad_encodings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        toy(**arguments)
    with pytest.raises(ValueError, match="id 1 twice"):
        bpe_rs.Encoding("x", pat_str="a", mergeable_ranks={b"a": 1, b"b": 1}, special_tokens={})


def test_wrong_types_and_ids():
    encoding = bpe_rs.get_encoding("gpt2")
    for call in (encoding.encode, encoding.encode_ordinary, encoding.encode_to_numpy):
        with pytest.raises(TypeError, match="expected a str, got bytes"):
            call(b"x")  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="put it in a list"):
        encoding.encode_ordinary_batch("text")
    with pytest.raises(TypeError, match="allowed_special"):
        encoding.encode("x", allowed_special="<|endoftext|>")
    with pytest.raises(KeyError):
        encoding.decode_bytes([10**7])
    with pytest.raises(OverflowError):
        encoding.decode([-1])
    with pytest.raises(KeyError):
        encoding.encode_single_token("no such token")
    with pytest.raises(ValueError, match="num_threads"):
        encoding.encode_batch(["x"], num_threads=0)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.uint32, np.int64])
def test_decode_takes_arrays(dtype):
    encoding = bpe_rs.get_encoding("gpt2")
    ids = encoding.encode("Hello, world")
    assert encoding.decode(np.array(ids, dtype)) == "Hello, world"
    assert encoding.decode(np.array([ids, ids], dtype).ravel()[::1][: len(ids)]) == "Hello, world"


def test_single_tokens():
    encoding = bpe_rs.get_encoding("gpt2")
    assert encoding.encode_single_token("hello") == 31373
    assert encoding.encode_single_token(b"\xff") == encoding.encode_single_token(bytes([255]))
    assert encoding.encode_single_token("<|endoftext|>") == 50256 == encoding.eot_token
    assert encoding.decode_single_token_bytes(50256) == b"<|endoftext|>"
    values = encoding.token_byte_values()
    assert values == sorted(values) and len(values) == 50256


def test_fingerprint_tells_encodings_apart():
    digests = {bpe_rs.get_encoding(n).fingerprint for n in bpe_rs.list_encoding_names()}
    # gpt2 and r50k_base are two names of one tokenizer.
    assert len(digests) == len(bpe_rs.list_encoding_names()) - 1
    rebuilt = bpe_rs.get_encoding("r50k_base")
    rebuilt = bpe_rs.Encoding(
        "other name",
        pat_str="gpt2",
        mergeable_ranks=rebuilt.mergeable_ranks,
        special_tokens=rebuilt.special_tokens,
    )
    assert rebuilt.fingerprint == bpe_rs.get_encoding("gpt2").fingerprint
    assert len(bytes.fromhex(rebuilt.fingerprint)) == 32
    copy = pickle.loads(pickle.dumps(rebuilt))  # noqa: S301
    assert copy.fingerprint == rebuilt.fingerprint and copy.name == "other name"


# ---- beyond tiktoken

TEXT = "Hello, wörld! 你好 🙂 don't  \n\n x=1234567;<|endoftext|> end\n" * 300


@pytest.fixture(scope="module", params=["r50k_base", "o200k_base"])
def encoding(request):
    return bpe_rs.get_encoding(request.param)


def test_counting(encoding):
    want = len(encoding.encode_ordinary(TEXT))
    assert encoding.count(TEXT, disallowed_special=()) == want
    assert encoding.count_till_limit(TEXT, want, disallowed_special=()) == want
    assert encoding.count_till_limit(TEXT, want - 1, disallowed_special=()) is None
    want = len(encoding.encode(TEXT, allowed_special="all"))
    assert encoding.count(TEXT, allowed_special="all") == want
    for limit in (0, 1, want // 2, want - 1):
        assert encoding.count_till_limit(TEXT, limit, allowed_special="all") is None
    assert encoding.count_till_limit(TEXT, want, allowed_special="all") == want
    assert encoding.count("") == 0 == encoding.count_till_limit("", 0)
    with pytest.raises(ValueError, match="disallowed special token"):
        encoding.count(TEXT)


def test_offsets_cover_the_text(encoding):
    ids, offsets = encoding.encode_with_offsets(TEXT, allowed_special="all")
    assert ids == encoding.encode(TEXT, allowed_special="all")
    for token, (start, end) in zip(ids, offsets, strict=True):
        piece = encoding.decode_single_token_bytes(token)
        try:
            assert TEXT[start:end] == piece.decode()
        except UnicodeDecodeError:
            # Part of a character: the characters it touches hold its bytes.
            assert piece in TEXT[start:end].encode()
    assert offsets[0][0] == 0 and offsets[-1][1] == len(TEXT)
    starts = [start for start, _ in offsets]
    assert starts == sorted(starts)


def test_caches_are_bounded(encoding):
    encoding.set_cache_limit(1 << 20)
    try:
        for at in range(30):
            encoding.count("".join(f" word{at}x{i} longer-{i}-{at}-é" for i in range(5000)))
        assert encoding.cache_bytes < 4 << 20
    finally:
        encoding.set_cache_limit(32 << 20)


def test_lists_share_their_numbers_and_survive_the_encoding():
    encoding = bpe_rs.Encoding(
        "own", pat_str="gpt2", mergeable_ranks={bytes([b]): 1000 + b for b in range(256)},
        special_tokens={"<e>": 5000},
    )  # fmt: skip
    ids = encoding.encode("abca<e>", allowed_special="all")
    assert ids == [1097, 1098, 1099, 1097, 5000] and ids[0] is ids[3]
    del encoding
    assert ids == [1097, 1098, 1099, 1097, 5000]
