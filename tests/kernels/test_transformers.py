"""Tiny random models of transformers with our attention against "eager"."""

import copy
from typing import Any

import pytest
import torch
from gptpy_kernels import transformers as ours
from torch import Tensor

hf = pytest.importorskip("transformers", minversion="5")

SMALL = {
    "vocab_size": 61, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "pad_token_id": 0,
    "max_position_embeddings": 128, "attn_implementation": "eager", "attention_dropout": 0.0,
}  # fmt: skip
WINDOWED = {"sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"]}
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {}),
    "qwen3": ("Qwen3Config", {}),
    "qwen3, window": ("Qwen3Config", {**WINDOWED, "use_sliding_window": True}),
    "gemma2": ("Gemma2Config", {**WINDOWED, "attn_logit_softcapping": 2.0}),
    "gemma3": ("Gemma3TextConfig", {**WINDOWED, "query_pre_attn_scalar": 16}),
    "gpt-oss": ("GptOssConfig", {**WINDOWED, "num_local_experts": 2, "num_experts_per_tok": 1}),
}


def build(name: str) -> Any:
    kind, settings = CONFIGS[name]
    torch.manual_seed(0)
    config = getattr(hf, kind)(**{**SMALL, **settings})
    model = hf.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():  # small weights would hide what attention contributes
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


@pytest.fixture(scope="module", params=CONFIGS)
def pair(request):
    """A model with eager attention, and the same with ours."""
    ours.register()
    eager = build(request.param)
    model = copy.deepcopy(eager)
    model.set_attn_implementation("gptpy")
    assert model.config._attn_implementation == "gptpy"
    return eager, model


@pytest.fixture(autouse=True)
def no_full_mask(monkeypatch):
    """The tests below must take the kernels' way, not the plain formula."""

    def refuse(*_args: Any) -> Any:
        raise AssertionError("a full mask")

    monkeypatch.setattr(ours, "_plain", refuse)


def draw(rows: int = 2, length: int = 19) -> Tensor:
    return torch.randint(1, 61, (rows, length), generator=torch.Generator().manual_seed(1))


def close(got: Tensor, want: Tensor) -> None:
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


def logits_and_gradients(model: Any, scored: Tensor | None = None, **inputs: Any):
    model.zero_grad()
    logits = model(**inputs, use_cache=False).logits
    logits = logits if scored is None else logits[scored]
    weights = torch.linspace(-1, 1, logits.numel()).view_as(logits)
    (logits * weights).sum().backward()
    return logits.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def agree(pair: tuple[Any, Any], **inputs: Any) -> None:
    want, want_gradients = logits_and_gradients(pair[0], **inputs)
    got, gradients = logits_and_gradients(pair[1], **inputs)
    close(got, want)
    assert gradients.keys() == want_gradients.keys()
    for name, gradient in gradients.items():
        error = (gradient - want_gradients[name]).norm() / want_gradients[name].norm().clamp(1e-6)
        assert error < 1e-4, name


def test_logits_and_gradients(pair):
    agree(pair, input_ids=draw())


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding(pair, side):
    ids, mask = draw(), torch.ones(2, 19, dtype=torch.int64)
    mask[0, slice(None, 7) if side == "left" else slice(12, None)] = 0
    agree(pair, input_ids=ids, attention_mask=mask, scored=mask.bool())


def test_packed_sequences(pair):
    """Positions that start again separate sequences, in one row or several."""
    lengths = (5, 11, 3)
    positions = torch.cat([torch.arange(n) for n in lengths])[None]
    ids = draw(1)
    agree(pair, input_ids=ids, position_ids=positions)
    edges = torch.tensor([0, 5, 16, 19], dtype=torch.int32)
    flash: dict[str, Any] = {"cu_seq_lens_q": edges, "cu_seq_lens_k": edges}
    with torch.no_grad():  # GPT-OSS takes packed sequences by these arguments alone
        packed = pair[1](input_ids=ids, position_ids=positions, use_cache=False, **flash).logits
        alone = [pair[1](input_ids=part, use_cache=False).logits for part in ids.split(lengths, 1)]
    close(packed, torch.cat(alone, 1))
    rows = torch.cat([torch.arange(9), torch.arange(10)])[None].expand(2, -1)
    agree(pair, input_ids=draw(), position_ids=rows)


@pytest.mark.parametrize("padded", [False, True])
def test_generation_with_a_cache(pair, padded):
    ids, mask = draw(), torch.ones(2, 19, dtype=torch.int64)
    if padded:
        ids[0, :5], mask[0, :5] = 0, 0
    settings: dict[str, Any] = {
        "attention_mask": mask, "max_new_tokens": 12, "min_new_tokens": 12, "do_sample": False,
        "return_dict_in_generate": True, "output_logits": True,
    }  # fmt: skip
    want, got = (model.generate(ids, **settings) for model in pair)
    assert torch.equal(got.sequences, want.sequences)
    close(torch.stack(got.logits), torch.stack(want.logits))


def test_chunks_over_a_cache(pair):
    """Several new tokens at once behind a cached prefix."""
    ids = draw()
    with torch.no_grad():
        want = pair[0](ids, use_cache=False).logits
        cache, parts = None, []
        for part in ids.split((9, 4, 6), 1):
            out = pair[1](part, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            parts.append(out.logits)
    close(torch.cat(parts, 1), want)


def test_what_no_kernel_takes_is_computed_by_the_formula(monkeypatch):
    """A cache of fixed size, a mask of the caller's own, a head that is too small."""
    monkeypatch.undo()
    ours.register()
    eager = build("gemma2")
    model = copy.deepcopy(eager)
    model.set_attn_implementation("gptpy")
    ids = draw()
    settings: dict[str, Any] = {
        "max_new_tokens": 5, "do_sample": False, "cache_implementation": "static",
        "disable_compile": True,
    }  # fmt: skip
    assert torch.equal(model.generate(ids, **settings), eager.generate(ids, **settings))
    generator = torch.Generator().manual_seed(2)
    own = torch.rand(2, 1, 19, 19, generator=generator) > 0.5
    own |= torch.eye(19, dtype=torch.bool)
    added = torch.zeros(own.shape).masked_fill(~own, torch.finfo(torch.float32).min)
    with torch.no_grad():
        want = eager(ids, attention_mask=added, use_cache=False).logits
        close(model(ids, attention_mask=own, use_cache=False).logits, want)
        close(model(ids, attention_mask=added, use_cache=False).logits, want)
    torch.manual_seed(0)
    config = hf.LlamaConfig(**{**SMALL, "head_dim": 8})
    small = hf.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    want = logits_and_gradients(small, input_ids=ids)[0]
    small.set_attn_implementation("gptpy")
    close(logits_and_gradients(small, input_ids=ids)[0], want)


def test_an_encoder():
    ours.register()
    torch.manual_seed(0)
    config = hf.BertConfig(
        vocab_size=61, hidden_size=64, num_hidden_layers=1, num_attention_heads=4,
        intermediate_size=64, attn_implementation="eager",
    )  # fmt: skip
    model = hf.BertModel(config).eval()
    mask = torch.ones(2, 19, dtype=torch.int64)
    mask[0, 12:] = 0
    with torch.no_grad():
        want = model(draw(), attention_mask=mask).last_hidden_state
        model.set_attn_implementation("gptpy")
        got = model(draw(), attention_mask=mask).last_hidden_state
    close(got[mask.bool()], want[mask.bool()])


@pytest.mark.parametrize("name", ["gemma2", "gpt-oss"])
def test_the_kernels_themselves(name, kernel_device):
    """Soft cap, sinks, windows and grouped heads inside a model, by Triton."""
    ours.register("gptpy-triton", backend="triton")
    model = build(name).to(kernel_device)
    ids = draw(1).to(kernel_device)
    want, want_gradients = logits_and_gradients(model, input_ids=ids)
    model.set_attn_implementation("gptpy-triton")
    got, gradients = logits_and_gradients(model, input_ids=ids)
    close(got, want)
    for key, gradient in gradients.items():
        torch.testing.assert_close(gradient, want_gradients[key], rtol=1e-3, atol=1e-4)
