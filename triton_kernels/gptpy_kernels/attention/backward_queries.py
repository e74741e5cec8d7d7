"""Fused attention, backward: the row sums that both gradient kernels need, and dQ by query tiles.

`backward_keys` says why the gradients have two kernels. The plain-torch reference is
`reference.attention_backward`.
"""

# The body of a kernel is Triton's dialect, not Python: arguments become constexpr or tensors.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false, reportCallIssue=false
# pyright: reportAttributeAccessIssue=false, reportOperatorIssue=false, reportIndexIssue=false

import triton
import triton.language as tl

from .tiles import (
    LOG2E,
    dropout_kept,
    key_runs,
    load_rows,
    log2_scores,
    positions,
    run_of,
    store_rows,
    visible_keys,
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
def query_gradient_kernel(
    Q,
    K,
    V,
    G,
    Log2Lse,
    Delta,
    GradQ,
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
        Low += b64 * T
        High += b64 * T
        Shift += b64 * T
    m0 = tile * BLOCK_M
    o_m = m0 + tl.arange(0, BLOCK_M)
    HAS_LOW: tl.constexpr = HAS_WINDOW or HAS_DOCUMENTS
    row_low, row_high, a, b, c, stop = key_runs(
        m0, T, S, Low, High, window, BLOCK_M, BLOCK_N, CAUSAL, HAS_WINDOW,
        HAS_DOCUMENTS, HAS_KEY_MASK,
    )  # fmt: skip
    position = positions(o_m, T, S, Shift, HAS_ALIBI, HAS_DOCUMENTS)[:, None]
    p_mask = KeyMask
    if HAS_KEY_MASK:
        p_mask = KeyMask + b64 * stride_mask_b
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
    for run in tl.static_range(3):
        if (run != 0 or HAS_LOW) and (run != 1 or not HAS_KEY_MASK):
            run_start, run_stop = run_of(a, b, c, stop, run)
            for n0 in tl.range(run_start, run_stop, BLOCK_N):
                o_n = n0 + tl.arange(0, BLOCK_N)
                k = load_rows(
                    K, batch, n0, kv_head, stride_kt, stride_kd, S, D, BLOCK_N, BLOCK_D,
                    run != 1, TMA,
                )  # fmt: skip
                v = load_rows(
                    V, batch, n0, kv_head, stride_vt, stride_vd, S, D, BLOCK_N, BLOCK_D,
                    run != 1, TMA,
                )  # fmt: skip
                qk = tl.dot(q, tl.trans(k), input_precision=PRECISION)
                s, t = log2_scores(
                    qk, position, o_n[None, :], scale, softcap, slope, HAS_SOFTCAP, HAS_ALIBI
                )
                p = tl.exp2(s - lse[:, None])
                if run != 1:
                    visible = visible_keys(
                        o_n, row_low, row_high, p_mask, stride_mask_s, S, HAS_LOW, HAS_KEY_MASK
                    )
                    p = tl.where(visible, p, 0.0)
                dp = tl.dot(g, tl.trans(v), input_precision=PRECISION)
                if HAS_DROPOUT:
                    kept = dropout_kept(seed, bh, o_m[:, None], o_n[None, :], threshold)
                    dp = tl.where(kept, dp * keep_scale, 0.0)
                ds = p * (dp - delta[:, None])
                if HAS_SOFTCAP:
                    ds = ds * (1.0 - t * t)
                dq = tl.dot(ds.to(k.dtype), k, dq, input_precision=PRECISION)
    store_rows(
        GradQ + b64 * stride_dqb + h64 * stride_dqh,
        dq * scale, m0, stride_dqt, stride_dqd, T, D, BLOCK_M, BLOCK_D,
    )  # fmt: skip
