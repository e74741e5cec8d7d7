"""Attention of a few new queries over a long key-value cache, split along the keys.

One query row a head would leave most of a GPU idle, so the keys of every (batch, kv head) are cut
into splits that run side by side; a second kernel joins them by their log-sum-exps (Flash-Decoding,
Dao et al. 2023). All heads of a group share one tile: keys and values are read once. The
plain-torch reference is `reference.attention_with_kv_cache`.
"""

# The body of a kernel is Triton's dialect, not Python: arguments become constexpr or tensors.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false, reportCallIssue=false
# pyright: reportAttributeAccessIssue=false, reportOperatorIssue=false, reportIndexIssue=false

import triton
import triton.language as tl

from ..attention.tiles import LN2, LOG2E, log2_scores


@triton.jit
def decode_split_kernel(
    Q,
    K,
    V,
    Partial,
    PartialLse,
    Lengths,
    BlockTable,
    Slopes,
    stride_qb,
    stride_qt,
    stride_qh,
    stride_qd,
    stride_kp,
    stride_ks,
    stride_kh,
    stride_kd,
    stride_vp,
    stride_vs,
    stride_vh,
    stride_vd,
    stride_table,
    T,
    H_kv,
    capacity,
    scale,
    window,
    softcap,
    ROWS,
    GROUP: tl.constexpr,
    PAGE: tl.constexpr,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    PAGED: tl.constexpr,
    HAS_WINDOW: tl.constexpr,
    HAS_SOFTCAP: tl.constexpr,
    HAS_ALIBI: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Partial (B * H_kv, splits, ROWS, BLOCK_D) and PartialLse (B * H_kv, splits, ROWS).

    Row r is query r // GROUP of head r % GROUP of the group; ROWS is a multiple of BLOCK_M.
    Log-sum-exps are in units of log 2 and exclude the sink, which the joining kernel adds once.
    """
    bh = tl.program_id(0)
    split = tl.program_id(1)
    splits = tl.num_programs(1)
    batch = bh // H_kv
    kv_head = bh % H_kv
    b64 = batch.to(tl.int64)
    h64 = kv_head.to(tl.int64)
    length = tl.minimum(tl.load(Lengths + batch), capacity)
    o_m = tl.program_id(2) * BLOCK_M + tl.arange(0, BLOCK_M)
    o_d = tl.arange(0, BLOCK_D)
    query = o_m // GROUP
    head = kv_head * GROUP + o_m % GROUP
    position = length - T + query
    real_row = query < T

    p_q = Q + b64 * stride_qb + query[:, None] * stride_qt + head[:, None] * stride_qh
    q = tl.load(
        p_q + o_d[None, :] * stride_qd, mask=real_row[:, None] & (o_d < D)[None, :], other=0.0
    )
    slope = tl.zeros([BLOCK_M, 1], tl.float32)
    if HAS_ALIBI:
        slope = tl.load(Slopes + head, mask=real_row, other=0.0)[:, None]

    low = 0
    if HAS_WINDOW:
        low = tl.maximum(length - T - window + 1, 0) // BLOCK_N * BLOCK_N
    share = tl.cdiv(tl.cdiv(tl.maximum(length - low, 0), splits), BLOCK_N) * BLOCK_N
    start = low + split * share
    stop = tl.minimum(start + share, length)

    m_i = tl.full([BLOCK_M], -float("inf"), tl.float32)
    l_i = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    for n0 in tl.range(start, stop, BLOCK_N):
        o_n = n0 + tl.arange(0, BLOCK_N)
        inside = o_n < stop
        if PAGED:
            page = tl.load(BlockTable + b64 * stride_table + o_n // PAGE, mask=inside, other=0)
            page = page.to(tl.int64)
            slot = o_n % PAGE
        else:
            page = b64 + tl.zeros([BLOCK_N], tl.int64)
            slot = o_n
        loaded = inside[:, None] & (o_d < D)[None, :]
        p_k = K + page * stride_kp + slot.to(tl.int64) * stride_ks + h64 * stride_kh
        k = tl.load(p_k[:, None] + o_d[None, :] * stride_kd, mask=loaded, other=0.0)
        qk = tl.dot(q, tl.trans(k), input_precision=PRECISION)
        s, _ = log2_scores(
            qk, position[:, None], o_n[None, :], scale, softcap, slope, HAS_SOFTCAP, HAS_ALIBI
        )
        visible = inside[None, :] & (o_n[None, :] <= position[:, None])
        if HAS_WINDOW:
            visible = visible & (o_n[None, :] > position[:, None] - window)
        s = tl.where(visible, s, -float("inf"))
        m_new = tl.maximum(m_i, tl.max(s, 1))
        m_safe = tl.where(m_new == -float("inf"), 0.0, m_new)
        p = tl.exp2(s - m_safe[:, None])
        alpha = tl.exp2(m_i - m_safe)
        l_i = l_i * alpha + tl.sum(p, 1)
        p_v = V + page * stride_vp + slot.to(tl.int64) * stride_vs + h64 * stride_vh
        v = tl.load(p_v[:, None] + o_d[None, :] * stride_vd, mask=loaded, other=0.0)
        acc = tl.dot(p.to(v.dtype), v, acc * alpha[:, None], input_precision=PRECISION)
        m_i = m_new

    empty = l_i == 0.0
    acc = acc / tl.where(empty, 1.0, l_i)[:, None]
    lse = tl.where(empty, -float("inf"), m_i + tl.log2(tl.where(empty, 1.0, l_i)))
    row = (bh.to(tl.int64) * splits + split) * ROWS + o_m
    tl.store(PartialLse + row, lse)
    tl.store(Partial + row[:, None] * BLOCK_D + o_d[None, :], acc)


@triton.jit
def decode_join_kernel(
    Partial,
    PartialLse,
    Out,
    Lse,
    Sinks,
    stride_ob,
    stride_ot,
    stride_oh,
    stride_od,
    T,
    H_kv,
    splits,
    ROWS,
    GROUP: tl.constexpr,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_S: tl.constexpr,
    HAS_SINKS: tl.constexpr,
):
    """Out (B, T, H, D) and Lse (B, H, T): one program a query and head, over all of its splits."""
    rows = T * GROUP
    bh = tl.program_id(0) // rows
    row = tl.program_id(0) % rows
    batch = bh // H_kv
    query = row // GROUP
    head = (bh % H_kv) * GROUP + row % GROUP
    o_s = tl.arange(0, BLOCK_S)
    o_d = tl.arange(0, BLOCK_D)
    place = (bh.to(tl.int64) * splits + o_s) * ROWS + row
    lse = tl.load(PartialLse + place, mask=o_s < splits, other=-float("inf"))
    top = tl.max(lse, 0)
    sink = -float("inf")
    if HAS_SINKS:
        sink = tl.load(Sinks + head).to(tl.float32) * LOG2E
        top = tl.maximum(top, sink)
    top = tl.where(top == -float("inf"), 0.0, top)
    weight = tl.exp2(lse - top)
    total = tl.sum(weight, 0)
    if HAS_SINKS:
        total += tl.exp2(sink - top)
    partial = tl.load(
        Partial + place[:, None] * BLOCK_D + o_d[None, :],
        mask=(o_s < splits)[:, None],
        other=0.0,
    )
    empty = total == 0.0
    out = tl.sum(partial * weight[:, None], 0) / tl.where(empty, 1.0, total)
    p_out = Out + batch.to(tl.int64) * stride_ob + query.to(tl.int64) * stride_ot
    p_out += head * stride_oh + o_d * stride_od
    tl.store(p_out, out.to(Out.dtype.element_ty), mask=o_d < D)
    heads = H_kv * GROUP
    final = tl.where(empty, -float("inf"), (top + tl.log2(tl.where(empty, 1.0, total))) * LN2)
    tl.store(Lse + (batch.to(tl.int64) * heads + head) * T + query, final)
