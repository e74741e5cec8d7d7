"""The Hopper kernel under a strict simulator, and planted faults that the simulator must find."""

import numpy as np
import pytest
from gluon_simulator import Fault, load_kernel, run
from gluon_simulator.kernel import SOURCE

SEEDS = range(8)
KERNEL = SOURCE.read_text(encoding="utf-8")
# T, S, causal: more blocks than the ring holds, odd ends, a cached prefix.
SHAPES = [(88, 88, True), (24, 120, True), (40, 104, False), (5, 5, True)]


def draw(T: int, S: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(T + S)
    shapes = ((1, 2, T, 8), (1, 1, S, 8), (1, 1, S, 8))
    q, k, v = (generator.standard_normal(shape).astype(np.float16) for shape in shapes)
    return q.astype(np.float32), k.astype(np.float32), v.astype(np.float32)


def expected(q, k, v, causal: bool) -> tuple[np.ndarray, np.ndarray]:
    k, v = np.repeat(k, 2, 1), np.repeat(v, 2, 1)
    s = q @ k.swapaxes(2, 3) * q.shape[-1] ** -0.5
    if causal:
        T, S = s.shape[2:]
        s = np.where(np.arange(S) <= np.arange(T)[:, None] + S - T, s, -np.inf)
    lse = np.logaddexp.reduce(s, -1)
    return np.exp(s - lse[..., None]) @ v, lse


def check(source: str, T: int, S: int, causal: bool, seed: int) -> None:
    """AssertionError for wrong numbers, `Fault` for what hardware leaves undefined."""
    q, k, v = draw(T, S)
    out, lse = run(load_kernel(source), q, k, v, causal=causal, block=16, stages=2, seed=seed)
    want, want_lse = expected(q, k, v, causal)
    np.testing.assert_allclose(out, want, atol=2e-3)
    np.testing.assert_allclose(lse, want_lse, atol=1e-4)


@pytest.mark.parametrize("T,S,causal", SHAPES)
def test_the_kernel_is_right_in_every_schedule(T, S, causal):
    for seed in SEEDS:
        check(KERNEL, T, S, causal, seed)


IN_LOOP = "        mbarrier.wait(k_ready.index(stage), (j // STAGES) & 1)\n"
LOAD_Q = "    tma_load(q_desc, [batch, head, m0, 0], q_ready.index(0), q_tiles.index(0))\n"
RELEASE_K = "        mbarrier.arrive(k_free.index(stage), count=1)\n"
WAIT_S = "        s = warpgroup_mma_wait(1, deps=(s,))\n"
FIRST_WAIT = "    s = warpgroup_mma_wait(0, deps=(s,))\n"
FIRST_RELEASE = "    mbarrier.arrive(k_free.index(0), count=1)\n"
RELEASE_V = "        mbarrier.arrive(v_free.index(before), count=1)\n"
WAIT_ACC = "        acc = warpgroup_mma_wait(0, deps=(acc,))\n"

LOST = "deadlock|fill|more arrivals|reads|bytes"  # by the order of events

# Name: text of the kernel, what it becomes, and what the simulator must say of it.
MUTANTS = {
    "wrong phase: K's release": (
        "k_free.index(stage), phase ^ 1", "k_free.index(stage), phase", "deadlock"),
    "wrong phase: V's release": (
        "v_free.index(stage), phase ^ 1", "v_free.index(stage), phase", "deadlock"),
    "wrong phase: K's arrival": ("stage), (j // STAGES) & 1)", "stage), j & 1)", "deadlock|reads"),
    "wrong phase: V's arrival": (
        "before), ((j - 1) // STAGES) & 1)", "before), (j // STAGES) & 1)", "deadlock|reads"),
    "wrong phase: Q's arrival": ("q_ready.index(0), 0)", "q_ready.index(0), 1)", "reads a buffer"),
    "wrong count: one group frees K": (
        "k_free.index(stage), count=2", "k_free.index(stage), count=1", LOST),
    "wrong count: one group frees V": (
        "v_free.index(stage), count=2", "v_free.index(stage), count=1", LOST),
    "wrong count: three free K": (
        "k_free.index(stage), count=2", "k_free.index(stage), count=3", "deadlock"),
    "wrong count: two copies of Q": ("q_ready.index(0), count=1", "q_ready.index(0), count=2",
                                     "deadlock"),
    "wrong count: an arrival too many": (RELEASE_K, RELEASE_K * 2, LOST),
    "missing wait: K in the loop": (IN_LOOP, "", "reads a buffer"),
    "missing wait: the first K": ("    mbarrier.wait(k_ready.index(0), 0)\n", "", "reads a buffer"),
    "missing wait: Q": ("    mbarrier.wait(q_ready.index(0), 0)\n", "", "reads a buffer"),
    "missing wait: V in the loop": (
        "        mbarrier.wait(v_ready.index(before), ((j - 1) // STAGES) & 1)\n", "",
        "reads a buffer"),
    "missing wait: the last V": (
        "    mbarrier.wait(v_ready.index(last), ((blocks - 1) // STAGES) & 1)\n", "",
        "reads a buffer|copies in flight"),
    "missing wait: K's release": (
        "        mbarrier.wait(k_free.index(stage), phase ^ 1)\n", "", LOST),
    "missing wait: V's release": (
        "        mbarrier.wait(v_free.index(stage), phase ^ 1)\n", "", LOST),
    "missing wait: scores": (WAIT_S, "", "before it is waited for"),
    "missing wait: output": (WAIT_ACC, "", "before it is waited for|still reads"),
    "weak wait: scores": (WAIT_S, WAIT_S.replace("(1,", "(2,"), "before it is waited for"),
    "weak wait: output": (WAIT_ACC, WAIT_ACC.replace("(0,", "(1,"), "before it is waited|still"),
    # Of later blocks an early release does no harm: before the copies take that buffer again they
    # wait for a release of V that comes later.
    "early release: the first K": (
        FIRST_WAIT + FIRST_RELEASE, FIRST_RELEASE + FIRST_WAIT, "still reads|being filled"),
    "early release: V": (WAIT_ACC + RELEASE_V, RELEASE_V + WAIT_ACC, "still reads|being filled"),
    "missing release: K": (RELEASE_K, "", "deadlock"),
    "missing release: V": (RELEASE_V, "", "deadlock"),
    "missing release: the first K": (
        "    mbarrier.arrive(k_free.index(0), count=1)\n", "", "deadlock|fills"),
    "released: the other buffer of V": (
        RELEASE_V, RELEASE_V.replace("before", "stage"), "more arr|deadlock|fill|still|reads"),
    "wrong bytes: half of K": (
        "k_ready.index(stage), BLOCK_N * D * 2", "k_ready.index(stage), BLOCK_N * D", "bytes"),
    "wrong bytes: half of Q": ("2 * HALF_M * D * 2", "HALF_M * D * 2", "bytes|reads a buffer"),
    "wrong bytes: too many for V": (
        "v_ready.index(stage), BLOCK_N * D * 2", "v_ready.index(stage), BLOCK_N * D * 4",
        "deadlock"),
    "missing copy: half of Q": (LOAD_Q, "", "deadlock"),
    "missing fence: the output": (
        "    fence_async_shared()\n    tma_store", "    tma_store", "no fence"),
    "missing fence: barriers": ("    fence_async_shared()\n    # The first", "    # The first",
                                "before a fence"),
    "missing wait: the output's store": ("    tma.store_wait(0)\n", "", "not waited for"),
    "wrong buffer: V of this block": (
        "        before = (j - 1) % STAGES\n", "        before = j % STAGES\n",
        "deadlock|reads|more arr|fill|still|Not equal"),
    "wrong order of blocks": (
        "n0 = (blocks - 1 - j) * BLOCK_N", "n0 = j * BLOCK_N", "Not equal"),
    "no rescaling of the output": (
        "        acc = acc * gl.convert_layout(alpha", "        acc = acc + 0 * gl.convert_layout("
        "alpha", "Not equal"),
    "no mask on the diagonal": ("gl.where(visible, s * log2_scale, -1.0e30)", "s * log2_scale",
                                "Not equal"),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_fault_is_found(name):
    before, after, message = MUTANTS[name]
    assert KERNEL.count(before) == 1, "the mutant must change one place"
    with pytest.raises((Fault, AssertionError), match=message):
        for seed in SEEDS:
            for T, S, causal in SHAPES[:2]:
                check(KERNEL.replace(before, after), T, S, causal, seed)
