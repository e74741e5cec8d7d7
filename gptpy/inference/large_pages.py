"""Weights in memory that the system maps with pages of 2 MB.

A step for one text reads every weight once. With pages of 4 KB the processor looks up where each of
them is, in a virtual machine on two levels.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable

import torch
from torch import Tensor

PAGE = 2 << 20
ALIGNMENT = 64


class LargePages:
    """Room for `size` bytes of tensors; where the system has no large pages, nothing special."""

    def __init__(self, size: int) -> None:
        self._free = 0
        self._room: Tensor | None = None
        if size < PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
            return
        # From the system, which gives memory when it is written; alignment costs up to a page.
        region = mmap.mmap(-1, (size + 2 * PAGE - 1) // PAGE * PAGE)
        try:
            region.madvise(mmap.MADV_HUGEPAGE)
        except OSError:  # a kernel without them
            return
        whole = torch.frombuffer(region, dtype=torch.uint8)  # holds the region
        self._room = whole[-whole.data_ptr() % PAGE :]

    def copy(self, tensor: Tensor) -> Tensor:
        """The same numbers in here; the tensor itself where it does not fit or is elsewhere."""
        size = tensor.numel() * tensor.element_size()
        fits = self._room is not None and self._free + size <= len(self._room)
        if not fits or tensor.device.type != "cpu":
            return tensor
        assert self._room is not None
        place = self._room[self._free : self._free + size]
        self._free += -(-size // ALIGNMENT) * ALIGNMENT
        return place.view(tensor.dtype).view(tensor.shape).copy_(tensor)


def room_for(tensors: Iterable[Tensor]) -> LargePages:
    """As much as the tensors on a CPU take."""
    sizes = (t.numel() * t.element_size() for t in tensors if t.device.type == "cpu")
    return LargePages(sum(size + ALIGNMENT for size in sizes))


@torch.no_grad()
def move_to_large_pages(module: torch.nn.Module, shared: Iterable[Tensor] = ()) -> None:
    """Moves the module's parameters and buffers, one after the other; not those of `shared`."""
    stay = {tensor.data_ptr() for tensor in shared}
    moved = [
        tensor
        for tensor in {id(t): t for t in (*module.parameters(), *module.buffers())}.values()
        if tensor.layout == torch.strided and tensor.is_contiguous()
        if tensor.numel() and tensor.data_ptr() not in stay
    ]
    room = room_for(moved)
    for tensor in moved:
        tensor.data = room.copy(tensor.data)
