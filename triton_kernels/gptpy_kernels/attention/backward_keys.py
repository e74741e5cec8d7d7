"""Fused attention, backward: dK and dV by key tiles.

Probabilities are recomputed from the stored log-sum-exp (Dao et al., arXiv:2307.08691). Two kernels
for the gradients, this and `backward_queries`, cost two more matrix products of seven than one and
need no atomics: the result is the same bits on every run. The plain-torch reference is
`reference.attention_backward`.
"""

# The body of a kernel is Triton's dialect, not Python: arguments become constexpr or tensors.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false, reportCallIssue=false
# pyright: reportAttributeAccessIssue=false, reportOperatorIssue=false, reportIndexIssue=false

import triton
import triton.language as tl

from .tiles import (
    dropout_kept,
    load_rows,
    log2_scores,
    positions,
    query_runs,
    run_of,
    store_rows,
)


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
    Low,
    High,
    Shift,
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
    0 has the most queries, so causal programs already start longest first. Scores are held
    transposed, (BLOCK_N, BLOCK_M), so that P and dS feed the next products without a transpose of
    their own.
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
        Low += b64 * S
        High += b64 * S
        Shift += b64 * T
    n0 = tile * BLOCK_N
    o_n = n0 + tl.arange(0, BLOCK_N)
    k = load_rows(K, batch, n0, kv_head, stride_kt, stride_kd, S, D, BLOCK_N, BLOCK_D, True, TMA)
    v = load_rows(V, batch, n0, kv_head, stride_vt, stride_vd, S, D, BLOCK_N, BLOCK_D, True, TMA)
    HAS_HIGH: tl.constexpr = HAS_WINDOW or HAS_DOCUMENTS
    column_low, column_high, a, b, c, stop = query_runs(
        n0, T, S, Low, High, window, BLOCK_M, BLOCK_N, CAUSAL, HAS_WINDOW,
        HAS_DOCUMENTS, HAS_KEY_MASK,
    )  # fmt: skip
    kept_key = o_n < S
    if HAS_KEY_MASK:
        p_mask = KeyMask + b64 * stride_mask_b + o_n.to(tl.int64) * stride_mask_s
        kept_key = tl.load(p_mask, mask=o_n < S, other=0) != 0
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
        for run in tl.static_range(3):
            if (
                (run != 0 or CAUSAL or HAS_HIGH)
                and (run != 1 or not HAS_KEY_MASK)
                and (run != 2 or HAS_HIGH or HAS_KEY_MASK)
            ):
                run_start, run_stop = run_of(a, b, c, stop, run)
                for m0 in tl.range(run_start, run_stop, BLOCK_M):
                    o_m = m0 + tl.arange(0, BLOCK_M)
                    q = load_rows(
                        p_q, batch, m0, head, stride_qt, stride_qd, T, D, BLOCK_M, BLOCK_D,
                        True, TMA,
                    )  # fmt: skip
                    lse = tl.load(Log2Lse + plane + o_m)
                    qk = tl.dot(k, tl.trans(q), input_precision=PRECISION)
                    position = positions(o_m, T, S, Shift, HAS_ALIBI, HAS_DOCUMENTS)[None, :]
                    s, t = log2_scores(
                        qk, position, o_n[:, None], scale, softcap, slope, HAS_SOFTCAP, HAS_ALIBI
                    )
                    p = tl.exp2(s - lse[None, :])
                    if run != 1:
                        visible = o_m[None, :] >= column_low[:, None]
                        if HAS_HIGH:
                            visible = visible & (o_m[None, :] < column_high[:, None])
                        if HAS_KEY_MASK:
                            visible = visible & kept_key[:, None]
                        p = tl.where(visible, p, 0.0)
                    g = load_rows(
                        p_g, batch, m0, head, stride_gt, stride_gd, T, D, BLOCK_M, BLOCK_D,
                        True, TMA,
                    )  # fmt: skip
                    delta = tl.load(Delta + plane + o_m)
                    dp = tl.dot(v, tl.trans(g), input_precision=PRECISION)
                    dropped = p
                    if HAS_DROPOUT:
                        kept = dropout_kept(seed, batch_head, o_m[None, :], o_n[:, None], threshold)
                        dropped = tl.where(kept, p * keep_scale, 0.0)
                        dp = tl.where(kept, dp * keep_scale, 0.0)
                    dv = tl.dot(dropped.to(g.dtype), g, dv, input_precision=PRECISION)
                    ds = p * (dp - delta[None, :])
                    if HAS_SOFTCAP:
                        ds = ds * (1.0 - t * t)
                    dk = tl.dot(ds.to(q.dtype), q, dk, input_precision=PRECISION)
    store_rows(
        GradK + b64 * stride_dkb + kv64 * stride_dkh,
        dk * scale, n0, stride_dkt, stride_dkd, S, D, BLOCK_N, BLOCK_D,
    )  # fmt: skip
    store_rows(
        GradV + b64 * stride_dvb + kv64 * stride_dvh,
        dv, n0, stride_dvt, stride_dvd, S, D, BLOCK_N, BLOCK_D,
    )  # fmt: skip
