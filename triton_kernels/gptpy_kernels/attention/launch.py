"""From tensors to launches: tile shapes, strides, descriptors. Imports triton when called."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..devices import amd_architecture, on_device_of
from . import configs
from .configs import TileConfig
from .intervals import Intervals, intervals
from .options import AttentionOptions, dropout_threshold

# Row statistics of the backward kernels are padded to this: no tile of queries is larger.
MAX_BLOCK_M = 128


def padded_head_dim(D: int) -> int:
    """The power of two, at least 16, that a tile of D columns takes."""
    return max(16, 1 << (D - 1).bit_length())


def matmul_precision(dtype: torch.dtype, device: torch.device) -> str:
    """How tl.dot multiplies: full float32 unless torch was told that TF32 is good enough.

    "tf32x3" splits every float32 in three TF32 products: float32's accuracy on the matrix units.
    AMD's matrix units take float32 as it is.
    """
    if amd_architecture(device) is not None:
        return "ieee"
    if dtype != torch.float32:
        return "tf32"  # ignored for 16-bit inputs
    if device.type == "cuda" and torch.cuda.get_device_capability(device)[0] < 8:
        return "ieee"
    return "tf32x3" if torch.get_float32_matmul_precision() == "highest" else "tf32"


def _descriptor_fits(tensor: Tensor) -> bool:
    """Whether the bulk copy engine can address a tensor: 16-byte aligned base and strides."""
    size = tensor.element_size()
    return (
        tensor.stride(-1) == 1
        and tensor.data_ptr() % 16 == 0
        and all(
            stride > 0 and stride * size % 16 == 0
            for stride, extent in zip(tensor.stride()[:-1], tensor.shape[:-1], strict=True)
            if extent > 1
        )
        and tensor.numel() > 0
    )


def _descriptor(tensor: Tensor, rows: int, block_d: int, layout: Any = None) -> Any:
    """A tensor descriptor over (B, H, L, D) whose block is `rows` rows of one head.

    Heads stand before time here: the compiler folds away leading dimensions of one, not inner ones.
    layout: of the block in shared memory, for Gluon kernels.
    """
    turned = tensor.transpose(1, 2)
    # The stride of a dimension of one element is free, but must still be a multiple of 16 bytes.
    unit = 16 // tensor.element_size()
    strides = [
        stride if extent > 1 else max(unit, stride // unit * unit)
        for stride, extent in zip(turned.stride()[:-1], turned.shape[:-1], strict=True)
    ]
    shape, block = list(turned.shape), [1, 1, rows, block_d]
    if layout is not None:
        from triton.experimental.gluon.nvidia import hopper

        return hopper.TensorDescriptor(turned, shape, [*strides, 1], block, layout)
    from triton.tools.tensor_descriptor import TensorDescriptor

    return TensorDescriptor(turned, shape, [*strides, 1], block)


def _a_number_a_head(values: Tensor | None) -> Tensor | None:
    """(H,) as the kernels read it: float32, without strides."""
    return None if values is None else values.float().contiguous()


class _Call:
    """What the three launches of one call have in common."""

    def __init__(self, q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions):
        self.q, self.k, self.v, self.options = q, k, v, options
        self.B, self.T, self.H, self.D = q.shape
        self.S, self.H_kv = k.shape[1], k.shape[2]
        self.block_d = padded_head_dim(self.D)
        self.kind = configs.device_class(q.device)
        self.level = "causal"
        if options.window or options.cu_seqlens is not None or options.sinks is not None:
            self.level = "ranges"
        if (
            options.softcap
            or options.dropout_p
            or options.alibi_slopes is not None
            or options.key_padding_mask is not None
        ):
            self.level = "everything"
        mask = options.key_padding_mask
        self.key_mask = None if mask is None else mask.view(torch.uint8)
        self.mask_strides = (0, 0) if mask is None else mask.stride()
        self.intervals: Intervals | None = None
        if options.cu_seqlens is not None:
            self.intervals = intervals(options, self.B, self.T, self.S)
        self.slopes = _a_number_a_head(options.alibi_slopes)
        self.sinks = _a_number_a_head(options.sinks)
        self.seed = options.seed if options.dropout_p else None

    def config(self, kernel: str, inputs: tuple[Tensor, ...]) -> TileConfig:
        """The tile for these inputs: bulk copies only where the engine can address them all."""
        fit = all(_descriptor_fits(x) for x in inputs)
        size, kind = self.q.element_size(), self.kind
        if not fit and size == 2:  # tiles of float32 never copy in bulk
            kind = configs.WITHOUT_TMA.get(kind, kind)
        config = configs.choose(kernel, kind, self.block_d, size, self.level)
        return config if fit else config._replace(tma=False)  # the tuner's may ask for copies

    def documents(self, *, of_keys: bool = False) -> tuple[Tensor | None, ...]:
        """(low, high, shift) as every kernel takes them."""
        if self.intervals is None:
            return None, None, None
        found = self.intervals.of_keys if of_keys else self.intervals.of_queries
        return *found, self.intervals.shift

    def sizes(self) -> tuple[int, ...]:
        return self.H, self.H // self.H_kv, self.T, self.S

    def numbers(self) -> tuple[int | float, ...]:
        """scale, window, softcap, threshold, keep_scale, as every kernel takes them."""
        o = self.options
        return (
            o.scale, o.window, o.softcap or 1.0,
            dropout_threshold(o.dropout_p), 1.0 / (1.0 - o.dropout_p),
        )  # fmt: skip

    def constants(self, config: TileConfig) -> dict[str, Any]:
        o = self.options
        return {
            "D": self.D,
            "BLOCK_D": self.block_d,
            "BLOCK_M": config.block_m,
            "BLOCK_N": config.block_n,
            "CAUSAL": o.causal,
            "HAS_WINDOW": o.window > 0,
            "HAS_DOCUMENTS": o.cu_seqlens is not None,
            "HAS_KEY_MASK": o.key_padding_mask is not None,
            "HAS_SOFTCAP": o.softcap > 0,
            "HAS_ALIBI": o.alibi_slopes is not None,
            "HAS_DROPOUT": o.dropout_p > 0,
            "TMA": config.tma,
            "PRECISION": matmul_precision(self.q.dtype, self.q.device),
            "num_warps": config.num_warps,
            "num_stages": config.num_stages,
        }


def _hopper_kernel_applies(call: _Call) -> bool:
    """Whether the warp-specialised kernel covers this call; the portable one covers every call."""
    o = call.options
    return (
        configs.hopper_kernel_enabled()
        and call.kind == "hopper"
        and call.level == "causal"
        and call.q.dtype in (torch.float16, torch.bfloat16)
        and call.D in configs.HOPPER_HEAD_DIMS
        and call.S > 0
        and (not o.causal or (call.S >= call.T and (call.S - call.T) % configs.HOPPER_BLOCK == 0))
        and all(_descriptor_fits(x) for x in (call.q, call.k, call.v))
    )


def _launch_hopper(call: _Call, out: Tensor, lse: Tensor) -> None:
    from triton.experimental.gluon import language

    gl: Any = language

    from .hopper_forward import hopper_forward_kernel

    kernel: Any = hopper_forward_kernel
    block = configs.HOPPER_BLOCK
    dtype = gl.bfloat16 if call.q.dtype == torch.bfloat16 else gl.float16

    def describe(x: Tensor, rows: int) -> Any:
        layout = gl.NVMMASharedLayout.get_default_for([1, 1, rows, call.D], dtype)
        return _descriptor(x, rows, call.D, layout)

    on_device_of(call.q, kernel)[(-(-call.T // block) * call.B * call.H,)](
        describe(call.q, block // 2), describe(call.k, block), describe(call.v, block),
        describe(out, block // 2), lse, *call.sizes(), call.options.scale, D=call.D,
        BLOCK_M=block, BLOCK_N=block, STAGES=configs.HOPPER_STAGES, CAUSAL=call.options.causal,
        num_warps=4, maxnreg=configs.HOPPER_REGISTERS,
    )  # fmt: skip


def attention_forward(
    q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions
) -> tuple[Tensor, Tensor]:
    """As `reference.attention_forward`, by the kernel; log-sum-exp in float32."""
    from .forward import attention_forward_kernel

    call = _Call(q, k, v, options)
    out = torch.empty_like(q, memory_format=torch.contiguous_format)
    lse = torch.empty(call.B, call.H, call.T, device=q.device, dtype=torch.float32)
    if out.numel() == 0:
        return out, lse
    if _hopper_kernel_applies(call):
        _launch_hopper(call, out, lse)
        return out, lse
    config = call.config("forward", (q, k, v))
    arguments: list[Any] = [q, k, v]
    if config.tma:
        rows = (config.block_m, config.block_n, config.block_n)
        arguments = [_descriptor(x, r, call.block_d) for x, r in zip((q, k, v), rows, strict=True)]
    grid = (-(-call.T // config.block_m) * call.B * call.H,)
    on_device_of(q, attention_forward_kernel)[grid](
        *arguments, out, lse, call.key_mask, *call.documents(), call.slopes, call.sinks, call.seed,
        *q.stride(), *k.stride(), *v.stride(), *out.stride(), *call.mask_strides,
        *call.sizes(), *call.numbers(), HAS_SINKS=options.sinks is not None,
        **call.constants(config),
    )  # fmt: skip
    return out, lse


def attention_backward(
    grad_out: Tensor,
    grad_lse: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    options: AttentionOptions,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """As `reference.attention_backward`, by the kernels; bitwise the same on every run."""
    from .backward_keys import key_gradient_kernel
    from .backward_queries import query_gradient_kernel, row_sums_kernel

    call = _Call(q, k, v, options)
    dq, dk, dv = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k, v))
    if q.numel() == 0:
        return dq, dk.zero_(), dv.zero_(), None if options.sinks is None else options.sinks * 0
    t_padded = -(-call.T // MAX_BLOCK_M) * MAX_BLOCK_M
    delta = torch.empty(call.B, call.H, t_padded, device=q.device, dtype=torch.float32)
    log2_lse = torch.empty_like(delta)
    rows = 32
    lse_strides = (0, 0, 0) if grad_lse is None else grad_lse.stride()
    on_device_of(q, row_sums_kernel)[(t_padded // rows * call.B * call.H,)](
        out, grad_out, grad_lse, lse, log2_lse, delta, *out.stride(), *grad_out.stride(),
        *lse_strides, call.H, call.T, t_padded, call.D, call.block_d, rows, grad_lse is not None,
        num_warps=4,
    )  # fmt: skip

    def launch(kernel: Any, name: str, programs: int, tile: str, outputs: list[Tensor]) -> None:
        inputs = (q, k, v, grad_out)
        config = call.config(name, inputs)
        arguments: list[Any] = list(inputs)
        if config.tma:
            block_rows = (config.block_m, config.block_n, config.block_n, config.block_m)
            arguments = [
                _descriptor(x, r, call.block_d) for x, r in zip(inputs, block_rows, strict=True)
            ]
        length, block = (call.S, config.block_n) if tile == "key" else (call.T, config.block_m)
        strides = [s for x in (*inputs, *outputs) for s in x.stride()]
        on_device_of(q, kernel)[(-(-length // block) * programs,)](
            *arguments, log2_lse, delta, *outputs, call.key_mask,
            *call.documents(of_keys=tile == "key"), call.slopes, call.seed, *strides,
            *call.mask_strides, *call.sizes(), t_padded, *call.numbers(),
            **call.constants(config),
        )  # fmt: skip

    if dk.numel():
        launch(key_gradient_kernel, "key_gradient", call.B * call.H_kv, "key", [dk, dv])
    launch(query_gradient_kernel, "query_gradient", call.B * call.H, "query", [dq])
    return dq, dk, dv, _sink_gradient(options.sinks, lse, delta[:, :, : call.T])


def _sink_gradient(sinks: Tensor | None, lse: Tensor, delta: Tensor) -> Tensor | None:
    """The sink's own probability times minus delta, summed over batch and time: (H,)."""
    if sinks is None:
        return None
    p_sink = torch.exp(sinks.float().view(1, -1, 1) - lse)
    return -(p_sink * delta).sum((0, 2)).to(sinks.dtype)
