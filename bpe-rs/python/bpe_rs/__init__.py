"""Exact and fast byte-pair encoding: trainer and encoder."""

from bpe_rs._encoding import Encoding, encoding_for_model, get_encoding, list_encoding_names
from bpe_rs._words import CharTokenizer, WordTokenizer

__all__ = [
    "CharTokenizer",
    "Encoding",
    "WordTokenizer",
    "encoding_for_model",
    "get_encoding",
    "list_encoding_names",
]
