"""Whether the kernels can run on a device, and which back end a call takes."""

from __future__ import annotations

import importlib.util
import os

import torch
from torch import Tensor

from .devices import amd_architecture

BACKENDS = ("triton", "reference")
INTERPRETER_VARIABLE = "TRITON_INTERPRET"
AMD_ARCHITECTURES = ("gfx942",)
"""AMD's architectures for which the compile gates compile the kernels."""


def interpreted() -> bool:
    """Whether Triton kernels run in Triton's interpreter, which takes CPU tensors."""
    return os.environ.get(INTERPRETER_VARIABLE, "0").lower() in ("1", "true", "yes", "on", "y")


def available(device: torch.device | str) -> tuple[bool, str]:
    """Whether the Triton kernels can run on `device`, and why or why not, without launching any."""
    device = torch.device(device)
    if importlib.util.find_spec("triton") is None:
        return False, "triton is not installed (it exists for Linux and Windows with a GPU)"
    if interpreted():
        if device.type == "cpu":
            return True, f"{INTERPRETER_VARIABLE}=1: kernels run in Triton's interpreter (slow)"
        return False, f"{INTERPRETER_VARIABLE}=1 runs kernels on CPU tensors only, got {device}"
    if device.type != "cuda":
        return False, f"the kernels need a GPU of NVIDIA's or AMD's, got a {device.type} device"
    if not torch.cuda.is_available():
        return False, "torch finds no CUDA device"
    name = torch.cuda.get_device_name(device)
    amd = amd_architecture(device)
    if amd is not None:
        if amd not in AMD_ARCHITECTURES:
            known = ", ".join(AMD_ARCHITECTURES)
            return False, f"{name} is {amd}; the kernels are compiled for {known} only"
        return True, f"{name}, {amd}: compiles, unmeasured; taken only when asked for"
    major, minor = torch.cuda.get_device_capability(device)
    if major < 8:
        return False, f"{name} is sm_{major}{minor}; the kernels need sm_80 (Ampere) or newer"
    return True, f"{name}, sm_{major}{minor}"


def check_backend(backend: str | None) -> str:
    """The operator's spelling of a `backend` argument; ValueError for an unknown one."""
    if backend is None:
        return ""
    if backend not in BACKENDS:
        raise ValueError(f"backend: expected one of {BACKENDS} or None, got {backend!r}")
    return backend


def choose_backend(tensor: Tensor, requested: str) -> str:
    """ "triton" or "reference" for this tensor; RuntimeError when the request cannot be met.

    Without a request tensors on NVIDIA GPUs take the kernels where they can run, all others the
    reference: the interpreter, and kernels on AMD GPUs, only ever run when asked for by name.
    """
    if requested == "reference" or (tensor.dtype == torch.float64 and requested != "triton"):
        return "reference"
    if not requested and (tensor.device.type != "cuda" or torch.version.hip is not None):
        return "reference"
    ready, reason = available(tensor.device)
    if requested == "triton":
        if tensor.dtype == torch.float64:
            raise RuntimeError("backend='triton': float64 has no kernel; use backend='reference'")
        if not ready:
            raise RuntimeError(f"backend='triton' cannot run here: {reason}")
    return "triton" if ready else "reference"
