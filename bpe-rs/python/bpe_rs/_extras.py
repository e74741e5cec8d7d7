"""Where `DecodeStream` was before: old pickles name it."""

from bpe_rs._decode_stream import DecodeStream as DecodeStream
