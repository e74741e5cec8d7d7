"""Exact and fast byte-pair encoding: trainer and encoder."""

import os

from bpe_rs import _core
from bpe_rs._counting import WordCounts, count_words
from bpe_rs._encoding import Encoding, encoding_for_model, get_encoding, list_encoding_names
from bpe_rs._progress import Progress
from bpe_rs._pruning import prune
from bpe_rs._superwords import train_superwords
from bpe_rs._training import train
from bpe_rs._words import CharTokenizer, WordTokenizer

__all__ = [
    "CharTokenizer",
    "Encoding",
    "Progress",
    "WordCounts",
    "WordTokenizer",
    "count_words",
    "encoding_for_model",
    "get_encoding",
    "list_encoding_names",
    "prune",
    "train",
    "train_superwords",
]

if hasattr(os, "register_at_fork"):
    # From Python 3.12 on `os.fork` warns where other threads exist, idle workers included.
    os.register_at_fork(before=_core.stop_idle_threads)
