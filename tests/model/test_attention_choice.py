"""Which attention back end a run takes, and the probe that admits the kernel."""

from types import SimpleNamespace

import pytest
import torch

from gptpy import GPTConfig
from gptpy.config.run import RunConfig
from gptpy.model import build_model
from gptpy.model.attention import (
    BACKENDS,
    Masks,
    choice,
    choose_backend,
    choose_paged,
    preferences,
)
from gptpy.model.attention import FEATURES as FEATURE_NAMES

FEATURES = frozenset(FEATURE_NAMES)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    monkeypatch.delenv(preferences.VARIABLE, raising=False)


def reference_kernel(q, k, v, *, backend=None, window=None, softcap=None, **masks):
    """What a right kernel computes, without dropout."""
    if torch.is_autocast_enabled("cpu"):
        q, k, v = (x.to(torch.get_autocast_dtype("cpu")) for x in (q, k, v))
    return BACKENDS["reference"].attend(q, k, v, Masks(**masks), window, softcap)


def test_choice_on_cpu():
    assert choose_backend("cpu", torch.float32, 64)[0] == "sdpa"
    assert choose_backend("cpu", torch.float32, 64, context=128)[0] == "dense"
    assert choose_backend("cpu", torch.float32, 64, context=4096)[0] == "sdpa"
    name, reason = choose_backend("cpu", torch.float32, 64, features={"softcap"})
    assert name == "reference" and "softcap" in reason
    assert choose_backend("cpu", torch.float32, 64, "reference") == ("reference", "asked for")


def test_requests_that_cannot_be_met_are_errors():
    with pytest.raises(ValueError, match="of reference, dense, sdpa, triton, got 'flash'"):
        choose_backend("cpu", torch.float32, 64, "flash")
    with pytest.raises(ValueError, match="'sdpa' was asked for, but it does not support softcap"):
        choose_backend("cpu", torch.float32, 64, "sdpa", features={"softcap"})
    with pytest.raises(ValueError, match="'triton' was asked for, but"):
        choose_backend("cpu", torch.float32, 64, "triton")
    with pytest.raises(ValueError, match="documents, padding, got flashy"):
        choose_backend("cpu", torch.float32, 64, features={"flashy"})


def fake_kernels(monkeypatch, kernel, available=(True, "a device")):
    module = SimpleNamespace(
        available=lambda device: available, causal_attention=kernel, attention_with_kv_cache=kernel
    )
    monkeypatch.setitem(__import__("sys").modules, "gptpy_kernels", module)


def test_triton_is_taken_when_its_probe_agrees(monkeypatch, caplog):
    monkeypatch.setattr(choice, "_logged", set())

    fake_kernels(monkeypatch, reference_kernel)
    with caplog.at_level("INFO"):
        assert choose_backend("cpu", torch.float32, 64, "triton")[0] == "triton"
        choose_backend("cpu", torch.float32, 64, "triton")
    assert caplog.text.count("attention back end: triton") == 1, "once a process"
    assert choose_backend("cpu", torch.float32, 64, "triton", features=FEATURES)[0] == "triton"


@pytest.mark.parametrize("feature", sorted(FEATURES))
def test_the_probe_finds_a_kernel_that_ignores_a_feature(feature, monkeypatch):
    ignored = {
        "alibi": "alibi_slopes", "bidirectional": "causal", "documents": "cu_seqlens",
        "padding": "key_padding_mask",
    }.get(feature, feature)  # fmt: skip

    def kernel(q, k, v, *, backend=None, **masks):
        masks = {name: value for name, value in masks.items() if name != ignored}
        return reference_kernel(q, k, v, **masks)

    fake_kernels(monkeypatch, kernel)
    assert choose_backend("cpu", torch.float32, 64, "triton")[0] == "triton"
    with pytest.raises(ValueError, match=r"its probe launch in float32 .* was off by"):
        choose_backend("cpu", torch.float32, 64, "triton", features={feature})


def test_a_wrong_or_failing_probe_is_a_reason_not_a_crash(monkeypatch):
    def wrong(q, k, v, **masks):
        return reference_kernel(q, k, v) * 1.1

    def failing(q, k, v, **masks):
        raise RuntimeError("no compiler\nsecond line")

    for kernel, message in ((wrong, "off by"), (failing, r"\(RuntimeError: no compiler\)")):
        fake_kernels(monkeypatch, kernel)
        with pytest.raises(ValueError, match=message):
            choose_backend("cpu", torch.float32, 64, "triton")
    fake_kernels(monkeypatch, failing, available=(False, "no such device"))
    with pytest.raises(ValueError, match="but no such device"):
        choose_backend("cpu", torch.float32, 64, "triton")


@pytest.fixture
def cuda(monkeypatch):
    """A CUDA device of class "hopper" whose probe answers what the test says."""
    monkeypatch.setattr(choice, "_device_class", lambda device: "hopper")
    uses = []

    def probe(kernel, use):
        uses.append(use)
        return None

    monkeypatch.setattr(choice, "probe", probe)
    fake_kernels(monkeypatch, None)
    return uses


def test_plain_attention_on_cuda_is_sdpa_until_a_record_says_otherwise(cuda, monkeypatch):
    for features in (frozenset(), {"bidirectional"}):
        name, reason = choose_backend("cuda", torch.bfloat16, 64, features=features)
        assert name == "sdpa" and "no record shows our kernel ahead" in reason
    assert not cuda, "no kernel is launched to find that out"
    monkeypatch.setitem(preferences.MEASURED_AHEAD, "hopper", "records/gpu-day-h200.json")
    name, reason = choose_backend("cuda", torch.bfloat16, 64)
    assert name == "triton" and "records/gpu-day-h200.json" in reason


@pytest.mark.parametrize("feature", preferences.SERVED_BY_KERNELS)
def test_kernels_serve_what_sdpa_does_by_a_mask(feature, cuda, monkeypatch):
    name, reason = choose_backend("cuda", torch.bfloat16, 64, features={feature})
    assert name == "triton" and "SDPA" in reason
    monkeypatch.setattr(choice, "probe", lambda kernel, use: "it was off")
    name, reason = choose_backend("cuda", torch.bfloat16, 64, features={feature})
    assert name == ("reference" if feature == "softcap" else "sdpa")
    assert "not triton: it was off" in reason


def test_on_amd_the_kernels_run_only_when_asked_for(cuda, monkeypatch):
    monkeypatch.setattr(choice, "_device_class", lambda device: "amd")
    for features in (frozenset(), {"window"}):
        name, reason = choose_backend("cuda", torch.bfloat16, 64, features=features)
        assert name == "sdpa" and "none has run there" in reason
    name, reason = choose_backend("cuda", torch.bfloat16, 64, features={"softcap"})
    assert name == "reference" and "does not support softcap" in reason
    assert not cuda, "nothing was launched"
    monkeypatch.setenv(preferences.VARIABLE, "triton")
    assert choose_backend("cuda", torch.bfloat16, 64)[0] == "triton"
    assert len(cuda) == 1, "after a probe"


def test_the_environment_names_a_back_end(cuda, monkeypatch):
    monkeypatch.setenv(preferences.VARIABLE, "triton")
    assert choose_backend("cuda", torch.bfloat16, 64)[0] == "triton"
    assert choose_backend("cuda", torch.bfloat16, 64, "sdpa")[0] == "sdpa", "a call goes first"
    monkeypatch.setenv(preferences.VARIABLE, "flash")
    with pytest.raises(ValueError, match="got 'flash' in GPTPY_ATTENTION"):
        choose_backend("cuda", torch.bfloat16, 64)
    monkeypatch.setenv(preferences.VARIABLE, "auto")
    assert choose_backend("cuda", torch.bfloat16, 64)[0] == "sdpa"


def test_a_model_is_probed_as_it_will_be_used(monkeypatch):
    """Training under autocast with dropout and documents, generation in the model's type."""
    uses = []
    monkeypatch.setattr(choice, "probe", lambda kernel, use: uses.append(use))
    fake_kernels(monkeypatch, None)
    config = GPTConfig(
        vocab_size=9, n_layer=1, n_head=4, n_kv_head=2, n_embd=64, window=8, attention_dropout=0.1
    )
    model = build_model(config)
    model.select_attention(
        "triton", dtype=torch.bfloat16, data_features=["documents"], training=True
    )
    model.select_attention("triton")
    training, generation = uses
    assert training.features == {"window", "documents"} and training.heads == (4, 2)
    assert training.dtype == torch.float32 and training.autocast == torch.bfloat16
    assert training.dropout_p == 0.1 and training.training
    assert generation.autocast is None and not generation.training


def test_what_data_ask_of_attention():
    def features(architecture, **data):
        model = {"architecture": architecture, "n_layer": 1, "n_head": 1, "n_embd": 8}
        return RunConfig.from_mapping({"model": model, "data": data}).attention_features

    assert features("decoder") == set()
    assert features("decoder", document_mask=True) == {"documents"}
    assert features("decoder", form="lines") == set(), "a causal mask hides padding on the right"
    assert features("encoder", form="lines") == {"padding"}
    assert features("encoder-decoder", form="pairs") == {"padding"}


def later_tiles(q, k, v, **masks):
    """Right where all lies in one tile, wrong in the loop over full tiles."""
    k = k.clone()
    k[:, 40:44] += 1
    return reference_kernel(q, k, v, **masks)


def half_precision(q, k, v, **masks):
    out = reference_kernel(q, k, v, **masks)
    return out * 1.1 if out.dtype == torch.bfloat16 else out


def swapped_groups(q, k, v, **masks):
    """Heads take keys round robin, not in groups."""
    order = torch.arange(q.shape[2]).view(-1, k.shape[2]).T.flatten()
    return reference_kernel(q[:, :, order], k, v, **masks)[:, :, order.argsort()]


def without_gradient_of_values(q, k, v, **masks):
    return reference_kernel(q, k, v.detach(), **masks) + v.sum() * 0


def one_query(q, k, v, **masks):
    out = reference_kernel(q, k, v, **masks)
    return out * 1.1 if q.shape[1] == 1 else out


@pytest.mark.parametrize(
    "kernel,use",
    [
        (later_tiles, {}),
        (half_precision, {"autocast": torch.bfloat16}),
        (swapped_groups, {"heads": (8, 2)}),
        (without_gradient_of_values, {}),
        (one_query, {"training": False}),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_the_probe_finds(kernel, use, monkeypatch):
    fake_kernels(monkeypatch, reference_kernel)
    assert choose_backend("cpu", torch.float32, 16, "triton", **use)[0] == "triton"
    fake_kernels(monkeypatch, kernel)
    with pytest.raises(ValueError, match=r"its probe launch in .* was off by"):
        choose_backend("cpu", torch.float32, 16, "triton", **use)


def test_the_probe_compares_dropout_with_the_same_seed(monkeypatch):
    """The kernels' reference replays a seed; a kernel that ignores it is found."""
    from gptpy_kernels import causal_attention

    def kernel(q, k, v, *, backend, **arguments):
        return causal_attention(q, k, v, backend="reference", **arguments)

    def deaf(q, k, v, *, backend, seed=None, **arguments):
        seed = 3 if backend == "triton" else seed
        return causal_attention(q, k, v, backend="reference", seed=seed, **arguments)

    fake_kernels(monkeypatch, kernel)
    assert choose_backend("cpu", torch.float32, 16, "triton", dropout_p=0.2)[0] == "triton"
    fake_kernels(monkeypatch, deaf)
    with pytest.raises(ValueError, match="was off by"):
        choose_backend("cpu", torch.float32, 16, "triton", dropout_p=0.2)


def paged(device="cpu", dtype=torch.float32, features=()):
    return choose_paged(
        torch.device(device), dtype, 16, features=frozenset(features), heads=(4, 2), block_tokens=16
    )


def right_paged(q, k, v, lengths, *, backend, **arguments):
    from gptpy_kernels.decoding import attention_with_kv_cache

    return attention_with_kv_cache(q, k, v, lengths, **arguments, backend="reference")


def one_key_too_many(q, k, v, lengths, **arguments):
    return right_paged(q, k, v, (lengths + 1).clamp(max=150), **arguments)


def deaf_to_the_table(q, k, v, lengths, *, block_table, **arguments):
    return right_paged(q, k, v, lengths, block_table=block_table.sort().values, **arguments)


def without(name):
    def kernel(*inputs, **arguments):
        return right_paged(*inputs, **{**arguments, name: None})

    return kernel


def test_keys_in_blocks_are_the_kernels_on_cuda(cuda, monkeypatch, caplog):
    monkeypatch.setattr(choice, "_logged", set())
    monkeypatch.setattr(choice, "probe_paged", lambda kernel, use, size: cuda.append((use, size)))
    with caplog.at_level("INFO"):
        for _ in range(2):
            taken, reason = paged("cuda", torch.bfloat16, {"window"})
            assert taken and "SDPA has the blocks of keys collected" in reason
    assert caplog.text.count("to keys in blocks: triton") == 1, "once a process"
    use, size = cuda[0]
    assert use.dtype == torch.bfloat16 and use.features == {"window"} and use.heads == (4, 2)
    assert size == 16 and not use.training
    monkeypatch.setattr(choice, "probe_paged", lambda kernel, use, size: "it was off")
    with caplog.at_level("INFO"):
        assert paged("cuda") == (False, "it was off")
    assert "to keys in blocks: torch (it was off)" in caplog.text


def test_who_has_no_kernel_for_keys_in_blocks(cuda, monkeypatch):
    monkeypatch.setattr(choice, "probe_paged", lambda kernel, use, size: cuda.append(use))
    assert paged("cpu") == (False, "the kernel is for GPUs")
    monkeypatch.setenv(preferences.VARIABLE, "sdpa")
    assert paged("cuda") == (False, "sdpa was asked for by GPTPY_ATTENTION")
    monkeypatch.delenv(preferences.VARIABLE)
    monkeypatch.setattr(choice, "_device_class", lambda device: "amd")
    taken, reason = paged("cuda")
    assert not taken and "none has run there" in reason
    assert not cuda, "nothing was launched"
    monkeypatch.setenv(preferences.VARIABLE, "triton")
    assert paged("cuda")[0] and paged("cpu")[0] and len(cuda) == 2
    monkeypatch.setenv(preferences.VARIABLE, "flash")
    with pytest.raises(ValueError, match="got 'flash' in GPTPY_ATTENTION"):
        paged("cuda")


@pytest.mark.parametrize(
    "kernel,features",
    [
        (one_key_too_many, ()), (deaf_to_the_table, ()), (without("window"), {"window"}),
        (without("softcap"), {"softcap"}), (without("alibi_slopes"), {"alibi"}),
    ],
    ids=["length", "table", "window", "softcap", "alibi"],
)  # fmt: skip
def test_the_probe_of_keys_in_blocks_finds(kernel, features, monkeypatch):
    monkeypatch.setenv(preferences.VARIABLE, "triton")
    fake_kernels(monkeypatch, right_paged)
    assert paged(features=features) == (True, "asked for by GPTPY_ATTENTION")
    assert paged(features=features, dtype=torch.bfloat16)[0]
    fake_kernels(monkeypatch, kernel)
    with pytest.raises(ValueError, match=r"launch in float32 with blocks of 16 tokens was off by"):
        paged(features=features)
