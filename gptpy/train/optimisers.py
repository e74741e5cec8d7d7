"""Optimisers: fused AdamW; Muon for the matrices, its products batched over equal shapes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from gptpy.config.errors import ConfigError
from gptpy.config.training import OptimConfig

# Quintic that lifts all singular values of a matrix in (0, 1] to about 1 (Jordan et al. 2024,
# https://kellerjordan.github.io/posts/muon): x -> a x + b x^3 + c x^5.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalise(stack: Tensor, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrices, roughly, of `stack`: (n, rows, columns) -> same.

    Newton-Schulz iteration in bfloat16 where the device multiplies it natively; singular values
    end in about 0.7..1.2, which is all that Muon needs.
    """
    a, b, c = NEWTON_SCHULZ
    x = stack.to(_product_dtype(stack.device))
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return (x.mT if tall else x).to(stack.dtype)


def _product_dtype(device: torch.device) -> torch.dtype:
    if device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.float32
    return torch.bfloat16


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal, matrix by matrix (Jordan et al. 2024).

    The update of `torch.optim.Muon` (the tests compare the two) with all matrices of one shape in
    one batched product, which a CPU and a GPU both want for small models. A group may carry
    `row_splits`: for each parameter the rows of the matrices that it stacks (query, key and
    value), which are orthogonalised each by itself, or None.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        steps: int = 5,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "steps": steps}
        super().__init__(params, defaults)
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.ndim != 2:
                    raise ValueError(f"Muon moves matrices, got shape {tuple(parameter.shape)}")

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._step_group(group)
        return loss

    def _step_group(self, group: dict[str, Any]) -> None:
        splits = group.get("row_splits") or [None] * len(group["params"])
        moved = [(p, s) for p, s in zip(group["params"], splits, strict=True) if p.grad is not None]
        if not moved:
            return
        momentum = group["momentum"]
        decay = 1 - group["lr"] * group["weight_decay"]
        same_shape: dict[tuple[int, ...], list[tuple[Tensor, Tensor, float]]] = {}
        spread: list[tuple[DTensor, Tensor]] = []
        for parameter, split in moved:
            state = self.state[parameter]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            buffer = state["momentum_buffer"].lerp_(parameter.grad, 1 - momentum)
            update = parameter.grad.lerp(buffer, momentum)  # Nesterov's look ahead
            if decay != 1:
                parameter.mul_(decay)
            change: Tensor = parameter
            if isinstance(parameter, DTensor):
                # Only a whole matrix can be made orthogonal; each process keeps its own rows
                update = update.full_tensor()
                change = torch.zeros_like(update)
                spread.append((parameter, change))
            rows = list(split) if split else [parameter.shape[0]]
            for target, part in zip(change.split(rows), update.split(rows), strict=True):
                # A tall matrix joins the batch of its transpose's shape. Its update is made
                # larger, so that what leaves it changes as much as for a square one.
                tall = part.shape[0] > part.shape[1]
                scale = max(1.0, part.shape[0] / part.shape[1]) ** 0.5
                member = (target.mT, part.mT, scale) if tall else (target, part, scale)
                same_shape.setdefault(tuple(member[1].shape), []).append(member)
        for members in same_shape.values():
            stack = torch.stack([part for _, part, _ in members])
            share = spread[0][0].device_mesh.get_group() if spread else None
            directions = _orthogonalise_together(stack, group["steps"], share)
            for (target, _, scale), direction in zip(members, directions, strict=True):
                target.add_(direction, alpha=-group["lr"] * scale)
        for parameter, change in spread:
            mesh, placements = parameter.device_mesh, parameter.placements
            parameter.add_(distribute_tensor(change, mesh, placements, src_data_rank=None))


def _orthogonalise_together(stack: Tensor, steps: int, share: dist.ProcessGroup | None) -> Tensor:
    """`orthogonalise`, each process of `share` its part of the matrices, where there are several.

    `stack` is the same on all of them. The products are the dear part (30 n^3 operations for a
    square matrix), the results are as large as the gradient that was gathered before.
    """
    if share is None or dist.get_world_size(share) == 1:
        return orthogonalise(stack, steps)
    size, rank = dist.get_world_size(share), dist.get_rank(share)
    each = -(-len(stack) // size)
    own = stack[rank * each : (rank + 1) * each]
    done = torch.zeros((each, *stack.shape[1:]), dtype=stack.dtype, device=stack.device)
    if len(own):
        done[: len(own)] = orthogonalise(own, steps)
    whole = torch.empty((size * each, *stack.shape[1:]), dtype=stack.dtype, device=stack.device)
    dist.all_gather_into_tensor(whole, done, group=share)
    return whole[: len(stack)]


def build_optimizers(model: Any, config: OptimConfig) -> list[torch.optim.Optimizer]:
    """The optimisers that together move every parameter of `model` once.

    Every group carries `name`, `peak_lr` (what the schedule scales) and `param_names`, so that a
    checkpoint can name each tensor. Weight decay goes to matrices only.
    """
    rates = {
        "matrices": config.lr,
        "embeddings": config.embedding_lr,
        "head": config.head_lr,
        "scalars": config.scalar_lr,
    }
    muon: list[dict[str, Any]] = []
    adamw: list[dict[str, Any]] = []
    for group in model.configure_parameter_groups():
        name = group["name"]
        if config.name == "muon" and name == "matrices":
            muon.append({**group, "lr": config.muon_lr, "peak_lr": config.muon_lr})
            continue
        decay = config.weight_decay if name == "matrices" else 0.0
        rate = rates[name] or config.lr
        kept = {key: group[key] for key in ("name", "params", "param_names")}
        adamw.append({**kept, "lr": rate, "peak_lr": rate, "weight_decay": decay})
    if config.name == "muon" and not muon:
        raise ConfigError(
            "train.optim.name = 'muon' needs a model with matrices in blocks; use 'adamw' here"
        )
    built: list[torch.optim.Optimizer] = []
    if muon:
        built.append(
            Muon(
                muon,
                momentum=config.muon_momentum,
                weight_decay=config.muon_weight_decay,
                steps=config.muon_steps,
            )
        )
    if adamw:
        betas = (config.beta1, config.beta2)
        built.append(
            torch.optim.AdamW(adamw, lr=config.lr, betas=betas, eps=config.eps, fused=True)
        )
    return built


def set_rates(optimizers: list[torch.optim.Optimizer], factor: float) -> None:
    """Scale every group's peak learning rate by `factor`."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor


def set_momentum(
    optimizers: list[torch.optim.Optimizer], config: OptimConfig, step: int, start: float = 0.85
) -> None:
    """Raise Muon's momentum from `start` to its full value over `muon_momentum_warmup` steps."""
    warm = config.muon_momentum_warmup
    part = min(1.0, step / warm) if warm else 1.0
    for optimizer in optimizers:
        if isinstance(optimizer, Muon):
            for group in optimizer.param_groups:
                group["momentum"] = start + part * (config.muon_momentum - start)
