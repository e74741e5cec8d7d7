"""`Encoding.encode_padded`."""

import bpe_rs
import numpy as np
import pytest


@pytest.fixture(scope="module", params=["r50k_base", "o200k_base"])
def encoding(request):
    return bpe_rs.get_encoding(request.param)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding(encoding, side):
    texts = ["one two three four", "", "x"]
    rows = encoding.encode_batch(texts)
    ids, mask = encoding.encode_padded(texts, 6, side=side)
    assert ids.dtype == mask.dtype == np.int64 and ids.shape == mask.shape == (3, 6)
    for row, padded, ones in zip(rows, ids, mask, strict=True):
        assert padded[ones == 1].tolist() == row
        assert (padded[ones == 0] == encoding.eot_token).all()
        kept = ones[: len(row)] if side == "right" else ones[6 - len(row) :]
        assert kept.all() and ones.sum() == len(row)
    ids, mask = encoding.encode_padded(texts, 2, truncate=True, pad_id=7, side=side)
    assert ids[0].tolist() == rows[0][:2] and ids[1].tolist() == [7, 7]
    assert encoding.encode_padded(texts)[0].shape == (3, len(rows[0]))
    assert encoding.encode_padded([])[0].shape == (0, 0)
    with pytest.raises(ValueError, match="truncate=True"):
        encoding.encode_padded(texts, 2)
