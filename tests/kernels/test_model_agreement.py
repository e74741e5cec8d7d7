"""The numbers of a model are the same on every attention back end, whatever it asks of them."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from gptpy import GPTConfig
from gptpy.model import LanguageModel, build_model
from gptpy.model.attention import FEATURES as FEATURE_NAMES
from gptpy.model.attention import choose_backend

TINY = {"block_size": 32, "vocab_size": 50, "n_layer": 2, "n_head": 2, "n_embd": 32}
MODERN = {
    "n_kv_head": 1, "position": "rope", "norm": "rmsnorm", "activation": "swiglu", "bias": False,
    "qk_norm": True,
}  # fmt: skip
PADDING = torch.ones(2, 24, dtype=torch.bool)
PADDING[0, 15:] = False
PADDING[1, :3] = False  # the first rows of a decoder see nothing at all
DOCUMENTS = torch.tensor([0, 7, 24, 30, 48])
SOURCE = torch.arange(22).view(2, 11) % 50

# Settings of the model and arguments of its call.
MODELS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "gpt2": ({}, {}),
    "modern": (MODERN, {}),
    "checkpointing": ({"activation_checkpointing": True, "n_layer": 2}, {}),
    "alibi": ({"position": "alibi"}, {}),
    "window": ({"window": 5, "full_attention_every": 2, "n_layer": 2}, {}),
    "softcap": ({"attention_softcap": 0.5}, {}),
    "documents": ({}, {"cu_seqlens": DOCUMENTS}),
    "padding": ({}, {"key_padding_mask": PADDING}),
    "encoder": ({"architecture": "encoder"}, {}),
    "encoder, padding, alibi": (
        {"architecture": "encoder", "position": "alibi"},
        {"key_padding_mask": PADDING},
    ),
    "encoder-decoder": (
        {"architecture": "encoder-decoder", "n_encoder_layer": 1},
        {"source": SOURCE, "source_padding_mask": PADDING[:, :11]},
    ),
    "everything": (
        {**MODERN, "position": "alibi", "window": 7, "attention_softcap": 0.5},
        {"cu_seqlens": DOCUMENTS, "key_padding_mask": PADDING},
    ),
}


def make_model(
    settings: dict[str, Any], device: torch.device, dtype: torch.dtype = torch.float32
) -> LanguageModel:
    torch.manual_seed(0)
    model = build_model(GPTConfig(**{**TINY, **settings})).to(device, dtype)
    with torch.no_grad():  # small weights would hide what attention contributes
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, device="cpu").to(parameter) * 0.1)
    return model


def draw_ids(rows: int = 2, length: int = 25) -> Tensor:
    return torch.randint(50, (rows, length), generator=torch.Generator().manual_seed(1))


def step(model: LanguageModel, backend: str, arguments: dict[str, Any]) -> dict[str, Tensor]:
    """The loss of every token, their mean, and every gradient of one step, by name."""
    model.attention_backend = backend
    model.zero_grad()
    ids = draw_ids().to(model.device)
    moved = {name: value.to(model.device) for name, value in arguments.items()}
    _, losses = model(ids[:, :-1], ids[:, 1:], reduction="none", **moved)
    loss = losses.mean()
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert len(gradients) == len(list(model.parameters()))
    values = {"loss": loss.detach(), "losses": losses.detach()}
    return {**values, **{name: g.clone() for name, g in gradients.items()}}


def relative_error(got: Tensor, want: Tensor) -> float:
    got, want = got.cpu().double(), want.cpu().double()
    return ((got - want).norm() / want.norm()).item()


def worst(got: dict[str, Tensor], want: dict[str, Tensor]) -> tuple[float, str]:
    return max((relative_error(got[name], want[name]), name) for name in want)


@pytest.mark.parametrize("name", MODELS)
def test_a_training_step_agrees(name, kernel_device):
    settings, arguments = MODELS[name]
    # One layer where a second would be the same again: interpreting takes its time.
    model = make_model({"n_layer": 1, **settings}, kernel_device)
    got = step(model, "triton", arguments)
    others = ["reference"] if "attention_softcap" in settings else ["reference", "sdpa"]
    for other in others:
        error, tensor = worst(got, step(model, other, arguments))
        assert error <= 1e-5, f"{tensor} against {other}: relative error {error:.1e}"


def whole(values: dict[str, Tensor]) -> Tensor:
    """All gradients as one vector."""
    names = [name for name in values if not name.startswith("loss")]
    return torch.cat([values[name].flatten().double().cpu() for name in names])


@pytest.mark.parametrize("name", ["gpt2", "modern", "alibi", "documents"])
def test_a_training_step_in_bfloat16_is_as_exact_as_sdpa(name, kernel_device):
    """Against float32 at the same weights, and within the spread of two of torch's back ends."""
    settings, arguments = MODELS[name]
    model = make_model(settings, kernel_device, torch.bfloat16)
    exact = make_model(settings, kernel_device, torch.bfloat16).float()
    want = step(exact, "reference", arguments)
    kernels = [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION]
    if kernel_device.type == "cuda":  # the flash kernel there takes no mask, this one does
        kernels[1] = SDPBackend.EFFICIENT_ATTENTION
    theirs = []
    for kernel in kernels:
        with sdpa_kernel(kernel):
            theirs.append(step(model, "sdpa", arguments))
    ours = step(model, "triton", arguments)
    for tensor in want:
        if tensor == "loss":  # errors cancel in a mean; the losses of the tokens are compared
            continue
        limit = 1.5 * max(relative_error(other[tensor], want[tensor]) for other in theirs)
        assert relative_error(ours[tensor], want[tensor]) <= limit, tensor
    gradients = whole(want)
    limit = 1.1 * max(relative_error(whole(other), gradients) for other in theirs)
    assert relative_error(whole(ours), gradients) <= limit
    spread = relative_error(whole(theirs[1]), whole(theirs[0]))
    nearest = min(relative_error(whole(ours), whole(other)) for other in theirs)
    assert nearest <= 1.5 * spread


def train(backend: str, device: torch.device, steps: int) -> list[float]:
    """The losses of a small model that learns to continue a repeating text."""
    model = make_model({**MODERN, "n_layer": 1}, device)
    model.attention_backend = backend
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95))
    generator = torch.Generator().manual_seed(2)
    text = torch.randint(50, (23,), generator=generator).repeat(20)
    losses = []
    for _ in range(steps):
        starts = torch.randint(len(text) - 17, (4,), generator=generator).tolist()
        ids = torch.stack([text[s : s + 17] for s in starts]).to(device)
        _, loss = model(ids[:, :-1], ids[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.slow
def test_fifty_steps_of_training_give_one_curve(kernel_device):
    """Rounding errors grow from step to step, but stay far below those of a wrong gradient."""
    ours = train("triton", kernel_device, 50)
    theirs = train("sdpa", kernel_device, 50)
    assert ours[-1] < ours[0] / 2, "the model learns"
    assert ours == pytest.approx(theirs, rel=1e-5)


# The others ask what "gpt2" asks: documents and padding come with the data.
@pytest.mark.parametrize("name", [
    n for n in MODELS if n not in ("checkpointing", "documents", "padding")
])  # fmt: skip
def test_kernels_can_be_asked_for_by_every_model(name, kernel_device):
    """The probe of the kernels covers the features of every model."""
    model = make_model(MODELS[name][0], kernel_device)
    assert model.select_attention("triton") == ("triton", "asked for")


def test_the_interpreter_is_never_chosen_unasked(kernel_device):
    name, _ = choose_backend(kernel_device, torch.float32, 16, features=frozenset(FEATURE_NAMES))
    assert name == ("reference" if kernel_device.type == "cpu" else "triton")


@pytest.mark.parametrize("name", ["gpt2", "modern", "alibi", "window", "softcap"])
def test_a_cached_prefix_agrees(name, kernel_device):
    model = make_model(MODELS[name][0], kernel_device).eval()
    ids = draw_ids().to(kernel_device)
    model.attention_backend = "reference"
    with torch.no_grad():
        want, _ = model(ids)
    model.attention_backend = "triton"
    cache = model.make_cache(2)
    assert cache is not None
    with torch.no_grad():
        parts = [model(ids[:, a:b], cache=cache)[0] for a, b in ((0, 9), (9, 10), (10, 25))]
    torch.testing.assert_close(torch.cat(parts, 1), want, rtol=1e-4, atol=1e-5)
    got = model.generate(ids[:, :5], 4, temperature=0)
    model.attention_backend = "reference"
    assert torch.equal(got, model.generate(ids[:, :5], 4, temperature=0))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_attention_dropout_drops_the_same_weights(checkpointing, kernel_device, monkeypatch):
    """Torch's seed fixes the mask; kernel and reference drop the same; recomputing replays it."""
    import gptpy_kernels

    settings = {"attention_dropout": 0.4, "activation_checkpointing": checkpointing}
    model = make_model(settings, kernel_device).train()

    def run(seed: int) -> dict[str, Tensor]:
        torch.manual_seed(seed)
        return step(model, "triton", {})

    first = run(3)
    assert worst(run(3), first)[0] == 0
    assert relative_error(run(4)["loss"], first["loss"]) > 1e-4
    kernel = gptpy_kernels.causal_attention

    def plain(*inputs: Any, backend: str, **arguments: Any) -> Any:
        return kernel(*inputs, backend="reference", **arguments)

    monkeypatch.setattr(gptpy_kernels, "causal_attention", plain)
    error, tensor = worst(run(3), first)
    assert error <= 1e-5, f"{tensor}: relative error {error:.1e}"
