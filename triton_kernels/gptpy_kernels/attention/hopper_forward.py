"""Attention forward for Hopper in Gluon: one copying warp, two computing warp groups.

The copying warp streams K and V tiles through a ring of shared-memory buffers; each computing group
owns half of the query tile and overlaps the score product of block j with the value product of
block j - 1, so that the matrix units work while exponentials are taken. The shape of
FlashAttention-3 (Shah et al., arXiv:2407.08608), written from its description.

Covers 16-bit inputs, head dims 64 and 128, causal or full, grouped heads, any strides that the copy
engine takes; `launch` sends everything else to the portable kernel, which computes the same. Blocks
of keys are walked from the last to the first: only the last needs a mask.

Gluon has no interpreter: the tests compile this kernel and run its source in tools/gluon_simulator.
"""

# The body of a kernel is Gluon's dialect, not Python: arguments become constexpr or tensors.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false, reportCallIssue=false
# pyright: reportAttributeAccessIssue=false, reportOperatorIssue=false, reportIndexIssue=false
# pyright: reportAssignmentType=false

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)

LOG2E = gl.constexpr(1.4426950408889634)
LN2 = gl.constexpr(0.6931471805599453)
# Triton 3.9 renamed the copies; the old names remain there and raise.
tma_load = gl.constexpr(getattr(tma, "async_load", None) or tma.async_copy_global_to_shared)
tma_store = gl.constexpr(getattr(tma, "async_store", None) or tma.async_copy_shared_to_global)


@gluon.jit
def _copy(
    q_desc,
    k_desc,
    v_desc,
    q_tiles,
    k_tiles,
    v_tiles,
    q_ready,
    k_ready,
    k_free,
    v_ready,
    v_free,
    batch,
    head,
    kv_head,
    m0,
    blocks,
    D: gl.constexpr,
    HALF_M: gl.constexpr,
    BLOCK_N: gl.constexpr,
    STAGES: gl.constexpr,
):
    """Both halves of the query tile once, then K and V from the last block to the first."""
    mbarrier.expect(q_ready.index(0), 2 * HALF_M * D * 2)
    tma_load(q_desc, [batch, head, m0, 0], q_ready.index(0), q_tiles.index(0))
    tma_load(q_desc, [batch, head, m0 + HALF_M, 0], q_ready.index(0), q_tiles.index(1))
    for j in range(blocks):
        stage = j % STAGES
        phase = (j // STAGES) & 1
        n0 = (blocks - 1 - j) * BLOCK_N
        # A fresh barrier counts as released for the phase before its first.
        mbarrier.wait(k_free.index(stage), phase ^ 1)
        mbarrier.expect(k_ready.index(stage), BLOCK_N * D * 2)
        tma_load(k_desc, [batch, kv_head, n0, 0], k_ready.index(stage), k_tiles.index(stage))
        mbarrier.wait(v_free.index(stage), phase ^ 1)
        mbarrier.expect(v_ready.index(stage), BLOCK_N * D * 2)
        tma_load(v_desc, [batch, kv_head, n0, 0], v_ready.index(stage), v_tiles.index(stage))


@gluon.jit
def _compute(
    HALF: gl.constexpr,
    o_desc,
    q_tiles,
    k_tiles,
    v_tiles,
    q_ready,
    k_ready,
    k_free,
    v_ready,
    v_free,
    Lse,
    plane,
    batch,
    head,
    m0,
    blocks,
    T,
    S,
    scale,
    D: gl.constexpr,
    HALF_M: gl.constexpr,
    BLOCK_N: gl.constexpr,
    STAGES: gl.constexpr,
    CAUSAL: gl.constexpr,
):
    """One half of the query tile: online softmax over all blocks, then the output."""
    dtype: gl.constexpr = q_tiles.dtype
    S_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout(
        version=[3, 0], warps_per_cta=[4, 1], instr_shape=[16, BLOCK_N, 16]
    )
    O_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout(
        version=[3, 0], warps_per_cta=[4, 1], instr_shape=[16, D, 16]
    )
    P_LAYOUT: gl.constexpr = gl.DotOperandLayout(operand_index=0, parent=O_LAYOUT, k_width=2)
    q_store = q_tiles.index(HALF)
    q = q_store.reshape((HALF_M, D))
    acc = gl.zeros([HALF_M, D], gl.float32, O_LAYOUT)
    none = gl.zeros([HALF_M, BLOCK_N], gl.float32, S_LAYOUT)
    log2_scale = scale * LOG2E

    mbarrier.wait(q_ready.index(0), 0)
    mbarrier.wait(k_ready.index(0), 0)
    k = k_tiles.index(0).reshape((BLOCK_N, D))
    s = warpgroup_mma(q, k.permute((1, 0)), none, use_acc=False, is_async=True)
    s = warpgroup_mma_wait(0, deps=(s,))
    mbarrier.arrive(k_free.index(0), count=1)
    row = m0 + HALF * HALF_M + gl.arange(0, HALF_M, layout=gl.SliceLayout(1, S_LAYOUT))
    key = (blocks - 1) * BLOCK_N + gl.arange(0, BLOCK_N, layout=gl.SliceLayout(0, S_LAYOUT))
    if CAUSAL:
        visible = (row + (S - T))[:, None] >= key[None, :]
    else:
        visible = (row * 0 + S)[:, None] > key[None, :]
    # A large negative number, not -inf: rows past T see nothing here, and must not become NaN.
    s = gl.where(visible, s * log2_scale, -1.0e30)
    m_i = gl.max(s, 1)
    p = gl.exp2(s - m_i[:, None])
    l_i = gl.sum(p, 1)

    for j in range(1, blocks):
        stage = j % STAGES
        mbarrier.wait(k_ready.index(stage), (j // STAGES) & 1)
        k = k_tiles.index(stage).reshape((BLOCK_N, D))
        s = warpgroup_mma(q, k.permute((1, 0)), none, use_acc=False, is_async=True)
        before = (j - 1) % STAGES
        mbarrier.wait(v_ready.index(before), ((j - 1) // STAGES) & 1)
        v = v_tiles.index(before).reshape((BLOCK_N, D))
        acc = warpgroup_mma(gl.convert_layout(p.to(dtype), P_LAYOUT), v, acc, is_async=True)
        s = warpgroup_mma_wait(1, deps=(s,))
        mbarrier.arrive(k_free.index(stage), count=1)
        m_new = gl.maximum(m_i, gl.max(s, 1) * log2_scale)
        p = gl.exp2(s * log2_scale - m_new[:, None])
        alpha = gl.exp2(m_i - m_new)
        l_i = l_i * alpha + gl.sum(p, 1)
        m_i = m_new
        acc = warpgroup_mma_wait(0, deps=(acc,))
        mbarrier.arrive(v_free.index(before), count=1)
        acc = acc * gl.convert_layout(alpha, gl.SliceLayout(1, O_LAYOUT))[:, None]

    last = (blocks - 1) % STAGES
    mbarrier.wait(v_ready.index(last), ((blocks - 1) // STAGES) & 1)
    v = v_tiles.index(last).reshape((BLOCK_N, D))
    acc = warpgroup_mma(gl.convert_layout(p.to(dtype), P_LAYOUT), v, acc, is_async=True)
    acc = warpgroup_mma_wait(0, deps=(acc,))
    acc = acc / gl.convert_layout(l_i, gl.SliceLayout(1, O_LAYOUT))[:, None]
    gl.store(Lse + plane + row, (m_i + gl.log2(l_i)) * LN2, mask=row < T)
    # The query tile is used up: its buffer carries the output to the copy engine, which cuts rows
    # past T by itself.
    q.store(acc.to(dtype))
    fence_async_shared()
    tma_store(o_desc, [batch, head, m0 + HALF * HALF_M, 0], q_store)
    tma.store_wait(0)


@gluon.jit
def hopper_forward_kernel(
    q_desc,
    k_desc,
    v_desc,
    o_desc,
    Lse,
    H,
    GROUP,
    T,
    S,
    scale,
    D: gl.constexpr,
    BLOCK_M: gl.constexpr,
    BLOCK_N: gl.constexpr,
    STAGES: gl.constexpr,
    CAUSAL: gl.constexpr,
):
    """O (B, T, H, D) and Lse (B, H, T) of descriptors over (B, H, T, D) and (B, H_kv, S, D).

    q_desc, o_desc: blocks of half a query tile. CAUSAL needs S - T to be a multiple of BLOCK_N and
    BLOCK_M = BLOCK_N, so that one block holds the whole diagonal.
    """
    HALF_M: gl.constexpr = BLOCK_M // 2
    tiles = gl.cdiv(T, BLOCK_M)
    tile = tiles - 1 - gl.program_id(0) % tiles
    bh = gl.program_id(0) // tiles
    batch = bh // H
    head = bh % H
    kv_head = head // GROUP
    m0 = tile * BLOCK_M
    if CAUSAL:
        blocks = gl.cdiv(gl.minimum(m0 + BLOCK_M + S - T, S), BLOCK_N)
    else:
        blocks = gl.cdiv(S, BLOCK_N)
    plane = bh.to(gl.int64) * T

    dtype: gl.constexpr = q_desc.dtype
    q_tiles = gl.allocate_shared_memory(dtype, [2, 1, 1, HALF_M, D], q_desc.layout)
    k_tiles = gl.allocate_shared_memory(dtype, [STAGES, 1, 1, BLOCK_N, D], k_desc.layout)
    v_tiles = gl.allocate_shared_memory(dtype, [STAGES, 1, 1, BLOCK_N, D], v_desc.layout)
    q_ready = gl.allocate_shared_memory(gl.int64, [1, 1], mbarrier.MBarrierLayout())
    k_ready = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    k_free = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    v_ready = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    v_free = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    mbarrier.init(q_ready.index(0), count=1)
    for stage in gl.static_range(STAGES):
        mbarrier.init(k_ready.index(stage), count=1)
        mbarrier.init(k_free.index(stage), count=2)  # both computing groups release a buffer
        mbarrier.init(v_ready.index(stage), count=1)
        mbarrier.init(v_free.index(stage), count=2)
    fence_async_shared()
    # The first function runs in the kernel's own four warps; then four more, then one for copies.
    gl.warp_specialize(
        [
            (
                _compute,
                (
                    0, o_desc, q_tiles, k_tiles, v_tiles, q_ready, k_ready, k_free, v_ready,
                    v_free, Lse, plane, batch, head, m0, blocks, T, S, scale, D, HALF_M, BLOCK_N,
                    STAGES, CAUSAL,
                ),
            ),
            (
                _compute,
                (
                    1, o_desc, q_tiles, k_tiles, v_tiles, q_ready, k_ready, k_free, v_ready,
                    v_free, Lse, plane, batch, head, m0, blocks, T, S, scale, D, HALF_M, BLOCK_N,
                    STAGES, CAUSAL,
                ),
            ),
            (
                _copy,
                (
                    q_desc, k_desc, v_desc, q_tiles, k_tiles, v_tiles, q_ready, k_ready, k_free,
                    v_ready, v_free, batch, head, kv_head, m0, blocks, D, HALF_M, BLOCK_N, STAGES,
                ),
            ),
        ],
        [4, 1],
        [240, 24],
    )  # fmt: skip
