"""One training step of a GPT gives the same numbers on every attention back end."""

import pytest
import torch

from gptpy import GPT, GPTConfig


def step(backend: str, dtype: torch.dtype, device: torch.device) -> tuple[torch.Tensor, dict]:
    """Loss and gradients of one step from the same weights and ids."""
    torch.manual_seed(0)
    config = GPTConfig(
        block_size=32, vocab_size=50, n_layer=2, n_head=2, n_kv_head=1, n_embd=32,
        position="rope", norm="rmsnorm", activation="swiglu", bias=False,
    )  # fmt: skip
    model = GPT(config).to(device, dtype)
    with torch.no_grad():  # a head that starts at zero would hide every other gradient
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, device="cpu").to(parameter) * 0.1)
    model.attention_backend = backend
    ids = torch.randint(0, 50, (2, 25)).to(device)
    _, loss = model(ids[:, :-1], ids[:, 1:])
    assert loss is not None
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("other", ["reference", "sdpa"])
def test_a_training_step_agrees(other, kernel_device):
    loss, gradients = step("triton", torch.float32, kernel_device)
    want, wanted = step(other, torch.float32, kernel_device)
    assert abs(loss - want) <= 1e-5 * abs(want)
    for name, gradient in gradients.items():
        error = (gradient - wanted[name]).norm() / wanted[name].norm()
        assert error <= 1e-5, f"{name}: relative error {error:.1e}"
