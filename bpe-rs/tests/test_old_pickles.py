"""Pickles of versions that had other modules still open."""

import pickle

import bpe_rs

TOKENIZER = (
    b'{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,'
    b'"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,'
    b'"use_regex":true},"post_processor":null,"decoder":{"type":"ByteLevel",'
    b'"add_prefix_space":false,"trim_offsets":true,"use_regex":true},"model":{"type":"BPE",'
    b'"dropout":null,"unk_token":null,"continuing_subword_prefix":null,"end_of_word_suffix":null,'
    b'"fuse_unk":false,"byte_fallback":false,"ignore_merges":false,"vocab":{"a":0,"b":1,"abb":2,'
    b'"ab":3},"merges":[["a","b"],["ab","b"]]}}'
)
# An encoding whose merges are not in the order of its ids, as `bpe_rs._files` pickled it.
ENCODING = (
    b"cbpe_rs._files\nfrom_json\nq\x00cbpe_rs._encoding\nEncoding\nq\x01X\x04\x00\x00\x00tinyq\x02X"
    + len(TOKENIZER).to_bytes(4, "little")
    + TOKENIZER
    + b"q\x03\x87q\x04R"
)
STREAM = (
    b"\x80\x02cbpe_rs._extras\nDecodeStream\nq\x10)\x81q\x11}q\x12(X\x09\x00\x00\x00_encodingq\x13"
    + ENCODING
    + b"X\x08\x00\x00\x00_decoderq\x14cencodings.utf_8\nIncrementalDecoder\nq\x15)\x81q\x16}q\x17("
    b"X\x06\x00\x00\x00errorsq\x18X\x07\x00\x00\x00replaceq\x19X\x06\x00\x00\x00bufferq\x1a"
    b"c__builtin__\nbytes\nq\x1b)Rq\x1cubub."
)


def test_an_encoding_of_the_module_files() -> None:
    encoding = pickle.loads(b"\x80\x02" + ENCODING + b".")  # noqa: S301
    assert type(encoding) is bpe_rs.Encoding
    assert (encoding.name, encoding.encode("abba")) == ("tiny", [2, 0])


def test_a_stream_of_the_module_extras() -> None:
    stream = pickle.loads(STREAM)  # noqa: S301
    assert [stream.push(token) for token in (0, 3)] == ["a", "ab"]
