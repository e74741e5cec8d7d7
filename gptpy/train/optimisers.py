"""Optimisers: fused AdamW, and Muon for matrices, with its products batched over equal shapes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from gptpy.config.errors import ConfigError
from gptpy.config.training import OptimConfig

# x -> a x + b x^3 + c x^5 moves every singular value in (0, 1] close to 1 (Jordan et al. 2024,
# https://kellerjordan.github.io/posts/muon)
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalise(stack: Tensor, steps: int = 5) -> Tensor:
    """Roughly the nearest semi-orthogonal matrices of `stack`: (n, rows, columns) -> same.

    Newton-Schulz iteration, in bfloat16 where the device multiplies it natively. Singular values
    end in about 0.7..1.2, which is close enough for Muon.
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
    return torch.float32 if device.type == "cpu" and not _mkldnn_bfloat16() else torch.bfloat16


def _mkldnn_bfloat16() -> bool:
    """Whether torch's matrix library for CPUs is there and multiplies bfloat16 natively."""
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):  # builds without that library lack the operator
        return False


@dataclass(frozen=True)
class _Matrix:
    """A matrix of a parameter in a Muon step, transposed if it is taller than wide.

    `target` is a view of the parameter, so that adding to it moves the parameter.
    """

    target: Tensor
    update: Tensor
    scale: float


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal, matrix by matrix (Jordan et al. 2024).

    The update of `torch.optim.Muon` (the tests compare the two), but with all matrices of one shape
    in one batched product: small models have many small matrices, and one large product is faster
    than many small ones. A group may carry `row_splits`: for each parameter the numbers of rows of
    the matrices that it stacks (query, key and value), each orthogonalised by itself, or None.
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
        matrices: list[_Matrix] = []
        sharded: list[tuple[DTensor, Tensor]] = []
        splits = group.get("row_splits") or [None] * len(group["params"])
        for parameter, rows in zip(group["params"], splits, strict=True):
            if parameter.grad is None:
                continue
            update = self._momentum(parameter, group["momentum"])
            if group["weight_decay"]:
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
            target: Tensor = parameter
            if isinstance(parameter, DTensor):
                # Only a whole matrix can be made orthogonal. Its change is collected whole, and
                # each process then adds its own rows.
                update = cast(DTensor, update).full_tensor()
                target = torch.zeros_like(update)
                sharded.append((parameter, target))
            matrices += _matrices(target, update, rows)
        processes = sharded[0][0].device_mesh.get_group() if sharded else None
        for alike in _by_shape(matrices):
            stack = torch.stack([matrix.update for matrix in alike])
            directions = _orthogonalise_together(stack, group["steps"], processes)
            for matrix, direction in zip(alike, directions, strict=True):
                matrix.target.add_(direction, alpha=-group["lr"] * matrix.scale)
        for parameter, change in sharded:
            mesh, placements = parameter.device_mesh, parameter.placements
            parameter.add_(distribute_tensor(change, mesh, placements, src_data_rank=None))

    def _momentum(self, parameter: Tensor, momentum: float) -> Tensor:
        """Take the gradient into its moving average; returns Nesterov's look-ahead of that."""
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(buffer, momentum)


def _matrices(target: Tensor, update: Tensor, row_splits: Sequence[int] | None) -> list[_Matrix]:
    """The matrices that a parameter stacks, as views.

    A matrix taller than wide is moved by sqrt(rows / columns) times more, so that its outputs
    change as much as those of a square one.
    """
    found = []
    rows = list(row_splits or [update.shape[0]])
    for part, change in zip(target.split(rows), update.split(rows), strict=True):
        tall = change.shape[0] > change.shape[1]
        scale = max(1.0, change.shape[0] / change.shape[1]) ** 0.5
        found.append(_Matrix(part.mT, change.mT, scale) if tall else _Matrix(part, change, scale))
    return found


def _by_shape(matrices: Iterable[_Matrix]) -> Iterable[list[_Matrix]]:
    groups: dict[torch.Size, list[_Matrix]] = {}
    for matrix in matrices:
        groups.setdefault(matrix.update.shape, []).append(matrix)
    return groups.values()


def _orthogonalise_together(
    stack: Tensor, steps: int, processes: dist.ProcessGroup | None
) -> Tensor:
    """`orthogonalise`, with the matrices divided among `processes`, where there are several.

    `stack` is the same on all of them. A square matrix costs 30 n^3 operations; exchanging the
    result costs as much as gathering its gradient did.
    """
    if processes is None or dist.get_world_size(processes) == 1:
        return orthogonalise(stack, steps)
    size, rank = dist.get_world_size(processes), dist.get_rank(processes)
    each = -(-len(stack) // size)
    own = stack[rank * each : (rank + 1) * each]
    done = torch.zeros((each, *stack.shape[1:]), dtype=stack.dtype, device=stack.device)
    if len(own):
        done[: len(own)] = orthogonalise(own, steps)
    whole = torch.empty((size * each, *stack.shape[1:]), dtype=stack.dtype, device=stack.device)
    dist.all_gather_into_tensor(whole, done, group=processes)
    return whole[: len(stack)]


def build_optimizers(model: Any, config: OptimConfig) -> list[torch.optim.Optimizer]:
    """The optimisers that together move every parameter of `model` once.

    Every group carries `name`, `peak_lr`, which the schedule scales, and `param_names`, by which a
    checkpoint names each tensor. Only matrices have weight decay. Raises `ConfigError`.
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
