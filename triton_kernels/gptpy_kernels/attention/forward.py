"""Fused attention, forward: one program holds a tile of queries and walks over the keys it sees.

Online softmax after Milakov & Gimelshein (arXiv:1805.02867), tiled after Dao et al.
(arXiv:2205.14135, arXiv:2307.08691). The plain-torch reference is `reference.attention_forward`.
"""

# The body of a kernel is Triton's dialect, not Python: arguments become constexpr or tensors.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false, reportCallIssue=false
# pyright: reportAttributeAccessIssue=false, reportOperatorIssue=false, reportIndexIssue=false

import triton
import triton.language as tl

from .tiles import (
    LN2,
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
def attention_forward_kernel(
    Q,
    K,
    V,
    Out,
    Lse,
    KeyMask,
    Low,
    High,
    Shift,
    Slopes,
    Sinks,
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
    stride_ob,
    stride_ot,
    stride_oh,
    stride_od,
    stride_mask_b,
    stride_mask_s,
    H,
    GROUP,
    T,
    S,
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
    HAS_SINKS: tl.constexpr,
    HAS_DROPOUT: tl.constexpr,
    TMA: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Out (B, T, H, D) and Lse (B, H, T) of Q (B, T, H, D), K, V (B, S, H / GROUP, D)."""
    tiles = tl.cdiv(T, BLOCK_M)
    tile = tl.program_id(0) % tiles
    bh = tl.program_id(0) // tiles
    if CAUSAL:
        tile = tiles - 1 - tile  # the longest rows of a head first, so that the last wave is short
    batch = bh // H
    head = bh % H
    kv_head = head // GROUP
    b64 = batch.to(tl.int64)
    if not TMA:
        Q += b64 * stride_qb + head.to(tl.int64) * stride_qh
        K += b64 * stride_kb + kv_head.to(tl.int64) * stride_kh
        V += b64 * stride_vb + kv_head.to(tl.int64) * stride_vh
    Out += b64 * stride_ob + head.to(tl.int64) * stride_oh

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

    q = load_rows(Q, batch, m0, head, stride_qt, stride_qd, T, D, BLOCK_M, BLOCK_D, True, TMA)
    slope = 0.0
    if HAS_ALIBI:
        slope = tl.load(Slopes + head)
    seed = 0
    if HAS_DROPOUT:
        seed = tl.load(Seed)
    p_mask = KeyMask
    if HAS_KEY_MASK:
        p_mask = KeyMask + b64 * stride_mask_b
    if HAS_SINKS:
        # A sink is one more key without value: it starts the sum.
        m_i = tl.zeros([BLOCK_M], tl.float32) + tl.load(Sinks + head).to(tl.float32) * LOG2E
        l_i = tl.full([BLOCK_M], 1.0, tl.float32)
    else:
        m_i = tl.full([BLOCK_M], -float("inf"), tl.float32)
        l_i = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)

    for run in tl.static_range(3):
        if (run != 0 or HAS_LOW) and (run != 1 or not HAS_KEY_MASK):
            run_start, run_stop = run_of(a, b, c, stop, run)
            for n0 in tl.range(run_start, run_stop, BLOCK_N):
                o_n = n0 + tl.arange(0, BLOCK_N)
                k = load_rows(
                    K, batch, n0, kv_head, stride_kt, stride_kd, S, D, BLOCK_N, BLOCK_D,
                    run != 1, TMA,
                )  # fmt: skip
                qk = tl.dot(q, tl.trans(k), input_precision=PRECISION)
                if run == 1 and not (HAS_SOFTCAP or HAS_ALIBI):
                    # The scale is positive, so it commutes with the maximum: one fused
                    # multiply-add each.
                    m_new = tl.maximum(m_i, tl.max(qk, 1) * (scale * LOG2E))
                    p = tl.exp2(qk * (scale * LOG2E) - m_new[:, None])
                    alpha = tl.exp2(m_i - m_new)
                else:
                    s, _ = log2_scores(
                        qk, position, o_n[None, :], scale, softcap, slope, HAS_SOFTCAP, HAS_ALIBI
                    )
                    if run != 1:
                        visible = visible_keys(
                            o_n, row_low, row_high, p_mask, stride_mask_s, S, HAS_LOW, HAS_KEY_MASK
                        )
                        s = tl.where(visible, s, -float("inf"))
                    m_new = tl.maximum(m_i, tl.max(s, 1))
                    m_safe = m_new
                    if run != 1:
                        # A row that has seen no key yet keeps m = -inf; s - m would be NaN.
                        m_safe = tl.where(m_new == -float("inf"), 0.0, m_new)
                    p = tl.exp2(s - m_safe[:, None])
                    alpha = tl.exp2(m_i - m_safe)
                l_i = l_i * alpha + tl.sum(p, 1)
                if HAS_DROPOUT:
                    kept = dropout_kept(seed, bh, o_m[:, None], o_n[None, :], threshold)
                    p = tl.where(kept, p * keep_scale, 0.0)
                acc = acc * alpha[:, None]
                v = load_rows(
                    V, batch, n0, kv_head, stride_vt, stride_vd, S, D, BLOCK_N, BLOCK_D,
                    run != 1, TMA,
                )  # fmt: skip
                acc = tl.dot(p.to(v.dtype), v, acc, input_precision=PRECISION)
                m_i = m_new

    empty = l_i == 0.0
    acc = acc / tl.where(empty, 1.0, l_i)[:, None]
    lse = tl.where(empty, -float("inf"), m_i * LN2 + tl.log(tl.where(empty, 1.0, l_i)))
    tl.store(Lse + bh.to(tl.int64) * T + o_m, lse, mask=o_m < T)
    store_rows(Out, acc, m0, stride_ot, stride_od, T, D, BLOCK_M, BLOCK_D)
