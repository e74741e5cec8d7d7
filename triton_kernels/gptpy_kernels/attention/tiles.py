"""What the forward and the backward kernels share: which keys a query sees, scores, dropout, loads.

A query row `m` sees one interval of keys, whatever the combination of causal order, sliding window
and packed documents; both ends of the interval grow with `m`. So a tile of rows needs one look at
its first and its last row to know which blocks of keys are empty, which are full (no mask at all)
and which need a mask. The backward kernel asks the same question with keys and queries exchanged.
With documents the intervals are tensors, made by `intervals.py`; else they follow from `m`.
"""

# The body of a kernel is Triton's dialect, not Python: arguments become constexpr or tensors.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false, reportCallIssue=false
# pyright: reportAttributeAccessIssue=false, reportOperatorIssue=false, reportIndexIssue=false

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)
LN2 = tl.constexpr(0.6931471805599453)


@triton.jit
def key_interval(
    m,
    T,
    S,
    Low,
    High,
    window,
    CAUSAL: tl.constexpr,
    HAS_WINDOW: tl.constexpr,
    HAS_DOCUMENTS: tl.constexpr,
):
    """Keys [low, high) that query row `m` (scalar or block of rows) may see.

    Queries sit at the end of the keys: row m has position m + S - T.
    """
    position = m + (S - T)
    if HAS_DOCUMENTS:
        inside = tl.minimum(m, T - 1)  # rows past the end of an odd-sized tile
        low = tl.load(Low + inside)
        high = tl.load(High + inside)
    else:
        low = m * 0
        high = low + S
        if CAUSAL:
            high = tl.minimum(high, position + 1)
        elif HAS_WINDOW:
            high = tl.minimum(high, position + window)
        if HAS_WINDOW:
            low = tl.maximum(low, position - window + 1)
    return low, high


@triton.jit
def query_interval(
    n,
    T,
    S,
    Low,
    High,
    window,
    CAUSAL: tl.constexpr,
    HAS_WINDOW: tl.constexpr,
    HAS_DOCUMENTS: tl.constexpr,
):
    """Query rows [low, high) that may see key `n` (scalar or block): `key_interval` inverted."""
    diagonal = n - (S - T)
    if HAS_DOCUMENTS:
        inside = tl.minimum(n, S - 1)
        low = tl.load(Low + inside)
        high = tl.load(High + inside)
    else:
        low = n * 0
        high = low + T
        if CAUSAL:
            low = tl.maximum(low, diagonal)
        elif HAS_WINDOW:
            low = tl.maximum(low, diagonal - window + 1)
        if HAS_WINDOW:
            high = tl.minimum(high, diagonal + window)
    return low, high


@triton.jit
def positions(m, T, S, Shift, HAS_ALIBI: tl.constexpr, HAS_DOCUMENTS: tl.constexpr):
    """Where rows `m` stand among the keys; read for ALiBi only, where documents shift them."""
    if HAS_ALIBI and HAS_DOCUMENTS:
        return m + tl.load(Shift + tl.minimum(m, T - 1))
    else:
        return m + (S - T)


@triton.jit
def _split_range(low, full_low, full_high, high, BLOCK: tl.constexpr):
    """Cut [low, high) into masked [a, b), unmasked [b, c) and masked [c, high) runs of blocks."""
    a = tl.maximum(low, 0) // BLOCK * BLOCK
    high = tl.maximum(high, a)
    b = tl.minimum(tl.cdiv(tl.maximum(full_low, a), BLOCK) * BLOCK, high)
    c = tl.maximum(tl.maximum(full_high, 0) // BLOCK * BLOCK, b)
    return a, b, c, high


@triton.jit
def key_runs(
    m0,
    T,
    S,
    Low,
    High,
    window,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    CAUSAL: tl.constexpr,
    HAS_WINDOW: tl.constexpr,
    HAS_DOCUMENTS: tl.constexpr,
    HAS_KEY_MASK: tl.constexpr,
):
    """What the tile of query rows [m0, m0 + BLOCK_M) sees: (low, high, a, b, c, stop).

    low, high (BLOCK_M,): every row's keys. Blocks of keys in [a, b) and [c, stop) need a mask,
    those in [b, c) none; without window and documents [a, b) is empty, with a key mask [b, c) is.
    """
    low, high = key_interval(
        m0 + tl.arange(0, BLOCK_M),
        T, S, Low, High, window, CAUSAL, HAS_WINDOW, HAS_DOCUMENTS,
    )  # fmt: skip
    first_low, first_high = key_interval(
        m0, T, S, Low, High, window, CAUSAL, HAS_WINDOW, HAS_DOCUMENTS
    )
    m_last = tl.minimum(m0 + BLOCK_M, T) - 1
    last_low, last_high = key_interval(
        m_last, T, S, Low, High, window, CAUSAL, HAS_WINDOW, HAS_DOCUMENTS
    )
    full_high = tl.minimum(first_high, S)
    if HAS_KEY_MASK:
        full_high = first_low * 0
    a, b, c, stop = _split_range(first_low, last_low, full_high, tl.minimum(last_high, S), BLOCK_N)
    return low, tl.minimum(high, S), a, b, c, stop


@triton.jit
def query_runs(
    n0,
    T,
    S,
    Low,
    High,
    window,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    CAUSAL: tl.constexpr,
    HAS_WINDOW: tl.constexpr,
    HAS_DOCUMENTS: tl.constexpr,
    HAS_KEY_MASK: tl.constexpr,
):
    """Which queries see the tile of keys [n0, n0 + BLOCK_N): `key_runs` with the roles exchanged.

    Rows past T carry a log-sum-exp of +inf and vanish by themselves, so a last block may count as
    full: without window, documents and key mask [c, stop) is empty.
    """
    low, high = query_interval(
        n0 + tl.arange(0, BLOCK_N),
        T, S, Low, High, window, CAUSAL, HAS_WINDOW, HAS_DOCUMENTS,
    )  # fmt: skip
    first_low, first_high = query_interval(
        n0, T, S, Low, High, window, CAUSAL, HAS_WINDOW, HAS_DOCUMENTS
    )
    n_last = tl.minimum(n0 + BLOCK_N, S) - 1
    last_low, last_high = query_interval(
        n_last, T, S, Low, High, window, CAUSAL, HAS_WINDOW, HAS_DOCUMENTS
    )
    if HAS_KEY_MASK:
        full_high = n0 * 0
    elif HAS_WINDOW or HAS_DOCUMENTS:
        full_high = tl.minimum(first_high, T)
    else:
        full_high = tl.cdiv(T, BLOCK_M) * BLOCK_M
    a, b, c, stop = _split_range(first_low, last_low, full_high, tl.minimum(last_high, T), BLOCK_M)
    return low, high, a, b, tl.minimum(c, tl.maximum(stop, b)), stop


@triton.jit
def run_of(a, b, c, stop, RUN: tl.constexpr):
    """Ends of one of the three runs: 0 and 2 are masked, 1 is full."""
    if RUN == 0:
        return a, b
    elif RUN == 1:
        return b, c
    else:
        return c, stop


@triton.jit
def visible_keys(
    o_n,
    row_low,
    row_high,
    p_mask,
    stride_mask,
    S,
    HAS_LOW: tl.constexpr,
    HAS_KEY_MASK: tl.constexpr,
):
    """(rows, keys) of a masked block: inside the row's interval, and not padding."""
    visible = o_n[None, :] < row_high[:, None]
    if HAS_LOW:
        visible = visible & (o_n[None, :] >= row_low[:, None])
    if HAS_KEY_MASK:
        kept_key = tl.load(p_mask + o_n.to(tl.int64) * stride_mask, mask=o_n < S, other=0)
        visible = visible & (kept_key != 0)[None, :]
    return visible


@triton.jit
def load_rows(
    X,
    batch,
    row,
    head,
    stride_t,
    stride_d,
    limit,
    D: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_D: tl.constexpr,
    CHECK_T: tl.constexpr,
    TMA: tl.constexpr,
):
    """Rows [row, row + BLOCK_T) of one head as a (BLOCK_T, BLOCK_D) tile, zeros past the end.

    X: a tensor descriptor over (B, H, T, D), or a pointer that already stands at (batch, head).
    The row offset is taken in 64 bits: T * stride passes 2**31 for long packed rows.
    """
    if TMA:
        return X.load([batch, head, row, 0]).reshape(BLOCK_T, BLOCK_D)
    else:
        o_t = tl.arange(0, BLOCK_T)
        o_d = tl.arange(0, BLOCK_D)
        p_x = (
            X
            + tl.cast(row, tl.int64) * stride_t
            + (o_t[:, None] * stride_t + o_d[None, :] * stride_d)
        )
        if CHECK_T:
            inside = (row + o_t)[:, None] < limit
            if D != BLOCK_D:
                inside = inside & (o_d < D)[None, :]
            return tl.load(p_x, mask=inside, other=0.0)
        elif D != BLOCK_D:
            return tl.load(p_x, mask=(o_d < D)[None, :], other=0.0)
        else:
            return tl.load(p_x)


@triton.jit
def store_rows(
    X,
    tile,
    row,
    stride_t,
    stride_d,
    limit,
    D: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Store a (BLOCK_T, BLOCK_D) tile at rows [row, ...) of the head that X points to."""
    o_t = tl.arange(0, BLOCK_T)
    o_d = tl.arange(0, BLOCK_D)
    p_x = (
        X + tl.cast(row, tl.int64) * stride_t + (o_t[:, None] * stride_t + o_d[None, :] * stride_d)
    )
    inside = (row + o_t)[:, None] < limit
    if D != BLOCK_D:
        inside = inside & (o_d < D)[None, :]
    tl.store(p_x, tile.to(X.dtype.element_ty), mask=inside)


@triton.jit
def capped_tanh(qk, scale, softcap):
    """tanh(qk * scale / softcap), written with exp2: no libdevice, so it runs interpreted too.

    For large |x| exp2 gives inf or 0 and the quotient the right limit.
    """
    x = qk * (scale / softcap)
    return 1.0 - 2.0 / (1.0 + tl.exp2(x * (2.0 * LOG2E)))


@triton.jit
def log2_scores(
    qk,
    position,
    key,
    scale,
    softcap,
    slope,
    HAS_SOFTCAP: tl.constexpr,
    HAS_ALIBI: tl.constexpr,
):
    """Attention scores in units of log 2 (softmax by exp2), from raw products.

    position, key: broadcastable against qk. Returns (scores, tanh) where tanh is qk without cap.
    """
    t = qk
    if HAS_SOFTCAP:
        t = capped_tanh(qk, scale, softcap)
        s = t * (softcap * LOG2E)
    else:
        s = qk * (scale * LOG2E)
    if HAS_ALIBI:
        s -= tl.abs(position - key).to(tl.float32) * (slope * LOG2E)
    return s, t


@triton.jit
def dropout_kept(seed, batch_head, query, key, threshold):
    """Which probabilities survive: one Philox-4x32-7 draw for every (batch*head, query, key).

    The counter is the element's place, so that the backward kernel and the reference replay it.
    threshold: uint32, an element is dropped when its draw lies below.
    """
    plane = batch_head.to(tl.int32)
    draw, _, _, _ = tl.philox(seed, query, key, plane, plane * 0, n_rounds=7)
    return draw >= threshold
