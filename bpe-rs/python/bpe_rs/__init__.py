"""Exact and fast byte-pair encoding: trainer and encoder."""

from bpe_rs._words import CharTokenizer, WordTokenizer

__all__ = ["CharTokenizer", "WordTokenizer"]
