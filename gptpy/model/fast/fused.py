"""Which layers run as fused Triton kernels: decided once a run, none unless requested.

None by default, because torch's compiler fuses the same formulas and no measurement on a GPU shows
yet that the kernels pay end to end. `make gpu-bench` measures a step with and without each.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from gptpy.config.errors import ConfigError
from gptpy.config.model import GPTConfig
from gptpy.model.fast import KERNELS
from gptpy.model.transformer import IGNORE, rotate, swiglu

log = logging.getLogger(__name__)

FUSIONS = tuple(KERNELS)
OFF = "off: not measured to pay; ask for them with train.fused_kernels = 'on'"


def choose_fusions(
    config: GPTConfig,
    device: torch.device,
    dtype: torch.dtype,
    requested: Iterable[str] | None = None,
) -> tuple[frozenset[str], str]:
    """The names, of `FUSIONS`, that a network uses, and the reason; logged. None: no request.

    Every kernel is launched once, forward and backward, and compared with the plain formula. Raises
    `ConfigError` (a `ValueError`) for a name that is unknown or does not fit the network, when the
    kernels cannot run on `device`, and when one computes wrong numbers.
    """
    names = frozenset(() if requested is None else requested)
    unknown = sorted(names - set(FUSIONS))
    if unknown:
        raise ConfigError(
            f"fused kernels: expected some of {', '.join(FUSIONS)}, got {', '.join(unknown)}"
        )
    foreign = sorted(names - applicable(config))
    if foreign:
        raise ConfigError(
            f"fused kernels: {', '.join(foreign)} asked for, but this network has "
            f"norm = {config.norm!r}, position = {config.position!r}, "
            f"activation = {config.activation!r}, n_embd = {config.n_embd}: leave them out"
        )
    reason = OFF if requested is None else "asked for"
    if names:
        with torch.autocast(device.type, enabled=False):  # the probes are of type `dtype`
            problem = _unavailable(device) or _wrong(config, device, dtype, names)
        if problem:
            raise ConfigError(f"fused kernels were asked for, but {problem}: leave them off")
    log.info("fused kernels: %s (%s)", ", ".join(sorted(names)) or "none", reason)
    return names, reason


def applicable(config: GPTConfig) -> frozenset[str]:
    """The names of `FUSIONS` that have a layer to replace in a network of this shape."""
    fits = {
        "cross_entropy": config.architecture != "bigram",
        "rms_norm": config.norm == "rmsnorm" and config.n_embd <= 8192,
        "rope": config.position == "rope",
        "swiglu": config.activation == "swiglu",
    }
    return frozenset(name for name, fit in fits.items() if fit)


def _unavailable(device: torch.device) -> str | None:
    """Why no kernel can run on the device, or None."""
    try:
        import gptpy_kernels
    except ImportError as error:
        return f"gptpy_kernels cannot be imported ({error})"
    ready, reason = gptpy_kernels.available(device)
    return None if ready else reason


def _wrong(
    config: GPTConfig, device: torch.device, dtype: torch.dtype, names: frozenset[str]
) -> str | None:
    """Which kernel fails or computes wrong numbers, forward or backward; None if none does."""
    tolerance = 2e-2 if dtype in (torch.float16, torch.bfloat16) else 1e-4
    for name in sorted(names):
        fused, plain, inputs = _probes(config)[name]
        try:
            ours = _differentiated(fused, [x.to(device, dtype) for x in inputs])
        # A compiler, a driver or a missing toolchain may raise anything: the kernel cannot be used.
        except Exception as error:
            first_line = (str(error).strip() or "no message").splitlines()[0]
            return f"{name} failed to launch ({type(error).__name__}: {first_line})"
        exact = _differentiated(plain, [x.to(dtype).double() for x in inputs])
        for got, want in zip(ours, exact, strict=True):
            error = (got.cpu().double() - want).norm() / want.norm()
            if not error <= tolerance:
                return f"{name} was off by {error:.1e} in a probe launch"
    return None


def _differentiated(function: Callable[..., Tensor], inputs: list[Tensor]) -> list[Tensor]:
    """The value of `function`, and the gradients of all inputs of a weighted sum of it."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    out = function(*leaves)
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype, device=out.device)
    return [out.detach(), *torch.autograd.grad((out * weights.view_as(out)).sum(), leaves)]


def _probes(
    config: GPTConfig,
) -> dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], list[Tensor]]]:
    """By name: the kernel's call, the plain formula, and inputs for both."""
    import gptpy_kernels as kernels

    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    C, cap = config.n_embd, config.logit_softcap
    targets = torch.tensor([0, 30, IGNORE, 7, 1])
    D = config.head_size - config.head_size % 2  # rotations need pairs
    angles = draw(5, D // 2)
    cos, sin = angles.cos(), angles.sin()

    def plain_loss(hidden: Tensor, weight: Tensor) -> Tensor:
        logits = hidden @ weight.T
        logits = logits if cap is None else cap * torch.tanh(logits / cap)
        return F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="none")

    def fused_loss(hidden: Tensor, weight: Tensor) -> Tensor:
        return kernels.linear_cross_entropy(
            hidden, weight, targets.to(hidden.device), softcap=cap, ignore_index=IGNORE,
            reduction="none", chunk=3, backend="triton",
        )  # fmt: skip

    def fused_norm(x: Tensor, residual: Tensor, weight: Tensor) -> Tensor:
        both = kernels.rms_norm(x, weight, residual=residual, eps=config.norm_eps, backend="triton")
        return torch.cat(both)

    def plain_norm(x: Tensor, residual: Tensor, weight: Tensor) -> Tensor:
        total = x + residual
        return torch.cat((F.rms_norm(total, (C,), weight, config.norm_eps), total))

    return {
        "cross_entropy": (fused_loss, plain_loss, [draw(5, C), draw(31, C) / C**0.5]),
        "rms_norm": (fused_norm, plain_norm, [draw(5, C), draw(5, C), draw(C)]),
        "rope": (
            lambda x: kernels.apply_rope(x, cos.to(x.device), sin.to(x.device), backend="triton"),
            lambda x: rotate(x, cos, sin),
            [draw(1, 5, config.n_head, D)],
        ),
        "swiglu": (
            lambda x: kernels.swiglu(x, backend="triton"),
            swiglu,
            [draw(5, 74)],
        ),
    }
