"""tiktoken's own encoder, the reference for ids."""

import bpe_rs
import tiktoken


def tiktoken_encoding(ours: bpe_rs.Encoding) -> tiktoken.Encoding:
    """tiktoken on the tables of a published encoding. `test_encoding.py` compares the tables with
    the published rank files, so nothing has to be downloaded."""
    return tiktoken.Encoding(
        ours.name,
        pat_str=ours.pat_str,
        mergeable_ranks=ours.mergeable_ranks,
        special_tokens=ours.special_tokens,
    )
