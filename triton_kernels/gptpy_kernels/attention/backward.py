"""Fused attention, backward: row sums, then dK and dV by key tiles, then dQ by query tiles.

Probabilities are recomputed from the stored log-sum-exp (Dao et al., arXiv:2307.08691). Two kernels
instead of one cost two more matrix products of seven and need no atomics: the result is the same
bits on every run. The plain-torch twin is `reference.attention_backward`.
"""

# The body of a kernel is Triton's dialect, not Python: arguments become constexpr or tensors.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false, reportCallIssue=false
# pyright: reportAttributeAccessIssue=false, reportOperatorIssue=false, reportIndexIssue=false

import triton
import triton.language as tl

from .tiles import (
    LOG2E,
    dropout_kept,
    key_interval,
    load_rows,
    log2_scores,
    query_interval,
    split_range,
    store_rows,
)


@triton.jit
def row_sums_kernel(
    Out,
    GradOut,
    GradLse,
    Lse,
    Log2Lse,
    Delta,
    stride_ob,
    stride_ot,
    stride_oh,
    stride_od,
    stride_gb,
    stride_gt,
    stride_gh,
    stride_gd,
    stride_lb,
    stride_lh,
    stride_lt,
    H,
    T,
    T_PADDED,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_M: tl.constexpr,
    HAS_GRAD_LSE: tl.constexpr,
):
    """Delta = sum_d out * grad_out - grad_lse, what every row subtracts from dP, and Log2Lse.

    Both (B, H, T_PADDED), whole tiles, so that the kernels below load them without a mask. Log2Lse
    is the log-sum-exp in units of log 2, and +inf where a row saw no key or lies past the end:
    exp2(s - inf) = 0, so that row adds nothing.
    """
    tiles = T_PADDED // BLOCK_M
    tile = tl.program_id(0) % tiles
    bh = tl.program_id(0) // tiles
    b64 = (bh // H).to(tl.int64)
    h64 = (bh % H).to(tl.int64)
    m0 = tile * BLOCK_M
    o_m = m0 + tl.arange(0, BLOCK_M)
    out = load_rows(
        Out + b64 * stride_ob + h64 * stride_oh,
        0, m0, 0, stride_ot, stride_od, T, D, BLOCK_M, BLOCK_D, True, False,
    )  # fmt: skip
    grad = load_rows(
        GradOut + b64 * stride_gb + h64 * stride_gh,
        0, m0, 0, stride_gt, stride_gd, T, D, BLOCK_M, BLOCK_D, True, False,
    )  # fmt: skip
    delta = tl.sum(out.to(tl.float32) * grad.to(tl.float32), 1)
    if HAS_GRAD_LSE:
        p_lse = GradLse + b64 * stride_lb + h64 * stride_lh + o_m.to(tl.int64) * stride_lt
        delta -= tl.load(p_lse, mask=o_m < T, other=0.0)
    lse = tl.load(Lse + bh.to(tl.int64) * T + o_m, mask=o_m < T, other=-float("inf"))
    lse = tl.where(lse == -float("inf"), float("inf"), lse * LOG2E)
    plane = bh.to(tl.int64) * T_PADDED
    tl.store(Log2Lse + plane + o_m, lse)
    tl.store(Delta + plane + o_m, delta)


@triton.jit
def _walk_queries(
    dk,
    dv,
    k,
    v,
    Q,
    G,
    Log2Lse,
    Delta,
    start,
    stop,
    column_low,
    column_high,
    kept_key,
    o_n,
    batch,
    head,
    batch_head,
    stride_qt,
    stride_qd,
    stride_gt,
    stride_gd,
    T,
    S,
    scale,
    softcap,
    slope,
    seed,
    threshold,
    keep_scale,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_M: tl.constexpr,
    MASKED: tl.constexpr,
    HAS_HIGH: tl.constexpr,
    HAS_KEY_MASK: tl.constexpr,
    HAS_SOFTCAP: tl.constexpr,
    HAS_ALIBI: tl.constexpr,
    HAS_DROPOUT: tl.constexpr,
    TMA: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Query blocks [start, stop) of one head folded into dk, dv of one key tile.

    Scores are held transposed, (BLOCK_N, BLOCK_M), so that P and dS feed the next products without
    a transpose of their own.
    """
    for m0 in tl.range(start, stop, BLOCK_M):
        o_m = m0 + tl.arange(0, BLOCK_M)
        q = load_rows(Q, batch, m0, head, stride_qt, stride_qd, T, D, BLOCK_M, BLOCK_D, True, TMA)
        lse = tl.load(Log2Lse + o_m)
        qk = tl.dot(k, tl.trans(q), input_precision=PRECISION)
        s, t = log2_scores(
            qk,
            (o_m + (S - T))[None, :],
            o_n[:, None],
            scale,
            softcap,
            slope,
            HAS_SOFTCAP,
            HAS_ALIBI,
        )
        p = tl.exp2(s - lse[None, :])
        if MASKED:
            visible = o_m[None, :] >= column_low[:, None]
            if HAS_HIGH:
                visible = visible & (o_m[None, :] < column_high[:, None])
            if HAS_KEY_MASK:
                visible = visible & kept_key[:, None]
            p = tl.where(visible, p, 0.0)
        g = load_rows(G, batch, m0, head, stride_gt, stride_gd, T, D, BLOCK_M, BLOCK_D, True, TMA)
        delta = tl.load(Delta + o_m)
        dp = tl.dot(v, tl.trans(g), input_precision=PRECISION)
        if HAS_DROPOUT:
            kept = dropout_kept(seed, batch_head, o_m[None, :], o_n[:, None], threshold)
            dropped = tl.where(kept, p * keep_scale, 0.0)
            dp = tl.where(kept, dp * keep_scale, 0.0)
            dv = tl.dot(dropped.to(g.dtype), g, dv, input_precision=PRECISION)
        else:
            dv = tl.dot(p.to(g.dtype), g, dv, input_precision=PRECISION)
        ds = p * (dp - delta[None, :])
        if HAS_SOFTCAP:
            ds = ds * (1.0 - t * t)
        dk = tl.dot(ds.to(q.dtype), q, dk, input_precision=PRECISION)
    return dk, dv


@triton.jit
def key_gradient_kernel(
    Q,
    K,
    V,
    G,
    Log2Lse,
    Delta,
    GradK,
    GradV,
    KeyMask,
    DocumentStart,
    DocumentStop,
    Slopes,
    Seed,
    stride_qb,
    stride_qt,
    stride_qh,
    stride_qd,
    stride_kb,
    stride_kt,
    stride_kh,
    stride_kd,
    stride_vb,
    stride_vt,
    stride_vh,
    stride_vd,
    stride_gb,
    stride_gt,
    stride_gh,
    stride_gd,
    stride_dkb,
    stride_dkt,
    stride_dkh,
    stride_dkd,
    stride_dvb,
    stride_dvt,
    stride_dvh,
    stride_dvd,
    stride_mask_b,
    stride_mask_s,
    H,
    GROUP,
    T,
    S,
    T_PADDED,
    scale,
    window,
    softcap,
    threshold,
    keep_scale,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    CAUSAL: tl.constexpr,
    HAS_WINDOW: tl.constexpr,
    HAS_DOCUMENTS: tl.constexpr,
    HAS_KEY_MASK: tl.constexpr,
    HAS_SOFTCAP: tl.constexpr,
    HAS_ALIBI: tl.constexpr,
    HAS_DROPOUT: tl.constexpr,
    TMA: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """GradK, GradV (B, S, H / GROUP, D): one program a key tile, over all heads of its group.

    Summing a group's heads in one program keeps GQA free of atomics and of a second pass. Key tile
    0 has the most queries, so causal programs already start longest first.
    """
    tiles = tl.cdiv(S, BLOCK_N)
    tile = tl.program_id(0) % tiles
    bh = tl.program_id(0) // tiles
    kv_heads = H // GROUP
    batch = bh // kv_heads
    kv_head = bh % kv_heads
    b64 = batch.to(tl.int64)
    kv64 = kv_head.to(tl.int64)
    if not TMA:
        K += b64 * stride_kb + kv64 * stride_kh
        V += b64 * stride_vb + kv64 * stride_vh
    if HAS_DOCUMENTS:
        DocumentStart += b64 * T
        DocumentStop += b64 * T
    n0 = tile * BLOCK_N
    o_n = n0 + tl.arange(0, BLOCK_N)
    k = load_rows(K, batch, n0, kv_head, stride_kt, stride_kd, S, D, BLOCK_N, BLOCK_D, True, TMA)
    v = load_rows(V, batch, n0, kv_head, stride_vt, stride_vd, S, D, BLOCK_N, BLOCK_D, True, TMA)
    column_low, column_high = query_interval(
        o_n, T, S, DocumentStart, DocumentStop, window, CAUSAL, HAS_WINDOW, HAS_DOCUMENTS
    )
    first_low, first_high = query_interval(
        n0, T, S, DocumentStart, DocumentStop, window, CAUSAL, HAS_WINDOW, HAS_DOCUMENTS
    )
    n_last = tl.minimum(n0 + BLOCK_N, S) - 1
    last_low, last_high = query_interval(
        n_last, T, S, DocumentStart, DocumentStop, window, CAUSAL, HAS_WINDOW, HAS_DOCUMENTS
    )
    # Rows past T carry lse = +inf and vanish by themselves: the last block may count as full.
    HAS_HIGH: tl.constexpr = HAS_WINDOW or HAS_DOCUMENTS
    full_high = tl.minimum(first_high, T)
    if not HAS_HIGH:
        full_high = tl.cdiv(T, BLOCK_M) * BLOCK_M
    kept_key = o_n < S
    if HAS_KEY_MASK:
        full_high = n0 * 0
        p_mask = KeyMask + b64 * stride_mask_b + o_n.to(tl.int64) * stride_mask_s
        kept_key = tl.load(p_mask, mask=o_n < S, other=0) != 0
    a, b, c, stop = split_range(first_low, last_low, full_high, tl.minimum(last_high, T), BLOCK_M)
    c = tl.minimum(c, tl.maximum(stop, b))
    seed = 0
    if HAS_DROPOUT:
        seed = tl.load(Seed)

    dk = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    dv = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    for member in range(0, GROUP):
        head = kv_head * GROUP + member
        h64 = head.to(tl.int64)
        batch_head = batch * H + head
        plane = batch_head.to(tl.int64) * T_PADDED
        p_q = Q
        p_g = G
        if not TMA:
            p_q = Q + b64 * stride_qb + h64 * stride_qh
            p_g = G + b64 * stride_gb + h64 * stride_gh
        slope = 0.0
        if HAS_ALIBI:
            slope = tl.load(Slopes + head)
        dk, dv = _walk_queries(
            dk, dv, k, v, p_q, p_g, Log2Lse + plane, Delta + plane, a, b, column_low, column_high,
            kept_key, o_n, batch, head, batch_head, stride_qt, stride_qd, stride_gt, stride_gd,
            T, S, scale, softcap, slope, seed, threshold, keep_scale, D, BLOCK_D, BLOCK_M, True,
            HAS_HIGH, HAS_KEY_MASK, HAS_SOFTCAP, HAS_ALIBI, HAS_DROPOUT, TMA, PRECISION,
        )  # fmt: skip
        if not HAS_KEY_MASK:
            dk, dv = _walk_queries(
                dk, dv, k, v, p_q, p_g, Log2Lse + plane, Delta + plane, b, c, column_low,
                column_high, kept_key, o_n, batch, head, batch_head, stride_qt, stride_qd,
                stride_gt, stride_gd, T, S, scale, softcap, slope, seed, threshold, keep_scale,
                D, BLOCK_D, BLOCK_M, False, HAS_HIGH, HAS_KEY_MASK, HAS_SOFTCAP, HAS_ALIBI,
                HAS_DROPOUT, TMA, PRECISION,
            )  # fmt: skip
        if HAS_HIGH or HAS_KEY_MASK:
            dk, dv = _walk_queries(
                dk, dv, k, v, p_q, p_g, Log2Lse + plane, Delta + plane, c, stop, column_low,
                column_high, kept_key, o_n, batch, head, batch_head, stride_qt, stride_qd,
                stride_gt, stride_gd, T, S, scale, softcap, slope, seed, threshold, keep_scale,
                D, BLOCK_D, BLOCK_M, True, HAS_HIGH, HAS_KEY_MASK, HAS_SOFTCAP, HAS_ALIBI,
                HAS_DROPOUT, TMA, PRECISION,
            )  # fmt: skip
    store_rows(
        GradK + b64 * stride_dkb + kv64 * stride_dkh,
        dk * scale, n0, stride_dkt, stride_dkd, S, D, BLOCK_N, BLOCK_D,
    )  # fmt: skip
    store_rows(
        GradV + b64 * stride_dvb + kv64 * stride_dvh,
        dv, n0, stride_dvt, stride_dvd, S, D, BLOCK_N, BLOCK_D,
    )  # fmt: skip


@triton.jit
def _walk_keys(
    dq,
    q,
    g,
    lse,
    delta,
    K,
    V,
    p_mask,
    start,
    stop,
    row_low,
    row_high,
    o_m,
    batch,
    kv_head,
    batch_head,
    stride_kt,
    stride_kd,
    stride_vt,
    stride_vd,
    stride_mask,
    T,
    S,
    scale,
    softcap,
    slope,
    seed,
    threshold,
    keep_scale,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_N: tl.constexpr,
    MASKED: tl.constexpr,
    HAS_LOW: tl.constexpr,
    HAS_KEY_MASK: tl.constexpr,
    HAS_SOFTCAP: tl.constexpr,
    HAS_ALIBI: tl.constexpr,
    HAS_DROPOUT: tl.constexpr,
    TMA: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Key blocks [start, stop) folded into dq of one query tile."""
    for n0 in tl.range(start, stop, BLOCK_N):
        o_n = n0 + tl.arange(0, BLOCK_N)
        k = load_rows(
            K, batch, n0, kv_head, stride_kt, stride_kd, S, D, BLOCK_N, BLOCK_D, MASKED, TMA
        )
        v = load_rows(
            V, batch, n0, kv_head, stride_vt, stride_vd, S, D, BLOCK_N, BLOCK_D, MASKED, TMA
        )
        qk = tl.dot(q, tl.trans(k), input_precision=PRECISION)
        s, t = log2_scores(
            qk,
            (o_m + (S - T))[:, None],
            o_n[None, :],
            scale,
            softcap,
            slope,
            HAS_SOFTCAP,
            HAS_ALIBI,
        )
        p = tl.exp2(s - lse[:, None])
        if MASKED:
            visible = o_n[None, :] < row_high[:, None]
            if HAS_LOW:
                visible = visible & (o_n[None, :] >= row_low[:, None])
            if HAS_KEY_MASK:
                kept_key = tl.load(p_mask + o_n * stride_mask, mask=o_n < S, other=0)
                visible = visible & (kept_key != 0)[None, :]
            p = tl.where(visible, p, 0.0)
        dp = tl.dot(g, tl.trans(v), input_precision=PRECISION)
        if HAS_DROPOUT:
            kept = dropout_kept(seed, batch_head, o_m[:, None], o_n[None, :], threshold)
            dp = tl.where(kept, dp * keep_scale, 0.0)
        ds = p * (dp - delta[:, None])
        if HAS_SOFTCAP:
            ds = ds * (1.0 - t * t)
        dq = tl.dot(ds.to(k.dtype), k, dq, input_precision=PRECISION)
    return dq


@triton.jit
def query_gradient_kernel(
    Q,
    K,
    V,
    G,
    Log2Lse,
    Delta,
    GradQ,
    KeyMask,
    DocumentStart,
    DocumentStop,
    Slopes,
    Seed,
    stride_qb,
    stride_qt,
    stride_qh,
    stride_qd,
    stride_kb,
    stride_kt,
    stride_kh,
    stride_kd,
    stride_vb,
    stride_vt,
    stride_vh,
    stride_vd,
    stride_gb,
    stride_gt,
    stride_gh,
    stride_gd,
    stride_dqb,
    stride_dqt,
    stride_dqh,
    stride_dqd,
    stride_mask_b,
    stride_mask_s,
    H,
    GROUP,
    T,
    S,
    T_PADDED,
    scale,
    window,
    softcap,
    threshold,
    keep_scale,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    CAUSAL: tl.constexpr,
    HAS_WINDOW: tl.constexpr,
    HAS_DOCUMENTS: tl.constexpr,
    HAS_KEY_MASK: tl.constexpr,
    HAS_SOFTCAP: tl.constexpr,
    HAS_ALIBI: tl.constexpr,
    HAS_DROPOUT: tl.constexpr,
    TMA: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """GradQ (B, T, H, D): one program a query tile, over the keys that it sees."""
    tiles = tl.cdiv(T, BLOCK_M)
    tile = tl.program_id(0) % tiles
    bh = tl.program_id(0) // tiles
    if CAUSAL:
        tile = tiles - 1 - tile
    batch = bh // H
    head = bh % H
    kv_head = head // GROUP
    b64 = batch.to(tl.int64)
    h64 = head.to(tl.int64)
    kv64 = kv_head.to(tl.int64)
    if not TMA:
        Q += b64 * stride_qb + h64 * stride_qh
        G += b64 * stride_gb + h64 * stride_gh
        K += b64 * stride_kb + kv64 * stride_kh
        V += b64 * stride_vb + kv64 * stride_vh
    if HAS_DOCUMENTS:
        DocumentStart += b64 * T
        DocumentStop += b64 * T
    m0 = tile * BLOCK_M
    o_m = m0 + tl.arange(0, BLOCK_M)
    HAS_LOW: tl.constexpr = HAS_WINDOW or HAS_DOCUMENTS
    row_low, row_high = key_interval(
        o_m, T, S, DocumentStart, DocumentStop, window, CAUSAL, HAS_WINDOW, HAS_DOCUMENTS
    )
    first_low, first_high = key_interval(
        m0, T, S, DocumentStart, DocumentStop, window, CAUSAL, HAS_WINDOW, HAS_DOCUMENTS
    )
    m_last = tl.minimum(m0 + BLOCK_M, T) - 1
    last_low, last_high = key_interval(
        m_last, T, S, DocumentStart, DocumentStop, window, CAUSAL, HAS_WINDOW, HAS_DOCUMENTS
    )
    row_high = tl.minimum(row_high, S)
    full_high = tl.minimum(first_high, S)
    p_mask = KeyMask
    if HAS_KEY_MASK:
        full_high = first_low * 0
        p_mask = KeyMask + b64 * stride_mask_b
    a, b, c, stop = split_range(first_low, last_low, full_high, tl.minimum(last_high, S), BLOCK_N)
    q = load_rows(Q, batch, m0, head, stride_qt, stride_qd, T, D, BLOCK_M, BLOCK_D, True, TMA)
    g = load_rows(G, batch, m0, head, stride_gt, stride_gd, T, D, BLOCK_M, BLOCK_D, True, TMA)
    plane = bh.to(tl.int64) * T_PADDED
    lse = tl.load(Log2Lse + plane + o_m)
    delta = tl.load(Delta + plane + o_m)
    slope = 0.0
    if HAS_ALIBI:
        slope = tl.load(Slopes + head)
    seed = 0
    if HAS_DROPOUT:
        seed = tl.load(Seed)

    dq = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    if HAS_LOW:
        dq = _walk_keys(
            dq, q, g, lse, delta, K, V, p_mask, a, b, row_low, row_high, o_m, batch, kv_head, bh,
            stride_kt, stride_kd, stride_vt, stride_vd, stride_mask_s, T, S, scale, softcap,
            slope, seed, threshold, keep_scale, D, BLOCK_D, BLOCK_N, True, HAS_LOW, HAS_KEY_MASK,
            HAS_SOFTCAP, HAS_ALIBI, HAS_DROPOUT, TMA, PRECISION,
        )  # fmt: skip
    if not HAS_KEY_MASK:
        dq = _walk_keys(
            dq, q, g, lse, delta, K, V, p_mask, b, c, row_low, row_high, o_m, batch, kv_head, bh,
            stride_kt, stride_kd, stride_vt, stride_vd, stride_mask_s, T, S, scale, softcap,
            slope, seed, threshold, keep_scale, D, BLOCK_D, BLOCK_N, False, HAS_LOW, HAS_KEY_MASK,
            HAS_SOFTCAP, HAS_ALIBI, HAS_DROPOUT, TMA, PRECISION,
        )  # fmt: skip
    dq = _walk_keys(
        dq, q, g, lse, delta, K, V, p_mask, c, stop, row_low, row_high, o_m, batch, kv_head, bh,
        stride_kt, stride_kd, stride_vt, stride_vd, stride_mask_s, T, S, scale, softcap,
        slope, seed, threshold, keep_scale, D, BLOCK_D, BLOCK_N, True, HAS_LOW, HAS_KEY_MASK,
        HAS_SOFTCAP, HAS_ALIBI, HAS_DROPOUT, TMA, PRECISION,
    )  # fmt: skip
    store_rows(
        GradQ + b64 * stride_dqb + h64 * stride_dqh,
        dq * scale, m0, stride_dqt, stride_dqd, T, D, BLOCK_M, BLOCK_D,
    )  # fmt: skip
