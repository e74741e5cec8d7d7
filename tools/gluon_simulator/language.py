"""The part of Gluon's language that our kernels use, on a `Machine`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from gluon_simulator.machine import POISON, Barrier, Fault, Machine, Product, Shared


class Array(np.ndarray):
    """Values in registers."""

    def to(self, dtype: Any) -> Array:
        return self.astype(dtype.numpy).astype(np.float32).view(Array)


class Scalar(int):
    def to(self, dtype: Any) -> Scalar:
        return self

    def __floordiv__(self, other: int) -> Scalar:
        return Scalar(int(self) // int(other))

    def __mod__(self, other: int) -> Scalar:
        return Scalar(int(self) % int(other))

    def __mul__(self, other: int) -> Scalar:
        return Scalar(int(self) * int(other))


class Pointer:
    """A place in a flat global array, or an array of places."""

    def __init__(self, data: np.ndarray, place: Any = 0):
        self.data, self.place = data, place

    def __add__(self, offset: Any) -> Pointer:
        return Pointer(self.data, self.place + offset)


class Descriptor:
    """A tensor (B, H, L, D) of which blocks of rows are copied; rows past the end read as zero."""

    def __init__(self, data: np.ndarray, rows: int, dtype: Any):
        self.data, self.rows, self.dtype, self.layout = data, rows, dtype, None

    def block(self, place: list[int]) -> np.ndarray:
        batch, head, row, _ = place
        out = np.zeros((1, 1, self.rows, self.data.shape[3]), np.float32)
        found = self.data[batch, head, row : row + self.rows]
        out[0, 0, : len(found)] = found
        return out

    def write(self, place: list[int], block: np.ndarray) -> None:
        batch, head, row, _ = place
        target = self.data[batch, head, row : row + self.rows]
        target[...] = block.reshape(self.rows, -1)[: len(target)]


FLOAT16 = SimpleNamespace(numpy=np.float16, bytes=2)


def modules(machine: Machine, program: int) -> dict[str, Any]:
    """What a kernel's file imports, by name, for one program."""

    def value(x: Any) -> Any:
        if isinstance(x, Product):
            if x.value is None:
                raise Fault("the result of a product is read before it is waited for")
            return x.value.view(Array)
        return x

    def function(numpy_function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            return np.asarray(numpy_function(*map(value, arguments))).view(Array)

        return call

    def allocate(dtype: Any, shape: list[int], layout: Any) -> Any:
        if layout == "barriers":
            return SimpleNamespace(index=[Barrier(machine) for _ in range(shape[0])].__getitem__)
        return Shared(machine, np.full(shape, POISON, np.float32), dtype).split()

    def wait(barrier: Barrier, phase: int) -> None:
        machine.turn()  # may be overtaken first
        barrier.check()
        machine.turn(lambda: barrier.passed(phase), f"a barrier's phase {phase}")

    def arrive(barrier: Barrier, count: int = 1) -> None:
        machine.turn()
        barrier.add(arrivals=count)

    def expect(barrier: Barrier, count: int) -> None:
        machine.turn()
        barrier.expect(count)

    def load(descriptor: Descriptor, place: list[int], barrier: Barrier, target: Shared) -> None:
        machine.turn()
        barrier.check()
        tile = target.tile
        if tile.filling:
            raise Fault("two copies fill one buffer at once")
        if any(tile in (p.a.tile if isinstance(p.a, Shared) else None, p.b.tile)
               for partition in machine.partitions for p in partition.products):  # fmt: skip
            raise Fault("a copy fills a buffer that a product still reads")
        tile.filling = True
        target.data[...] = POISON

        def land() -> None:
            block = descriptor.block(place)
            target.data[...] = block
            tile.filling = False
            barrier.add(arrived_bytes=block.size * descriptor.dtype.bytes)

        machine.in_flight.append(land)

    def store(descriptor: Descriptor, place: list[int], source: Shared) -> None:
        machine.turn()
        if id(source.tile) in machine.me.unfenced:
            raise Fault("a bulk store reads what no fence has made visible")
        machine.me.stores.append(lambda: descriptor.write(place, source.read("a bulk store")))

    def store_wait(pending: int) -> None:
        machine.turn()
        stores = machine.me.stores
        for finish in stores[: len(stores) - pending]:
            finish()
        del stores[: len(stores) - pending]

    def fence() -> None:
        machine.turn()
        machine.me.unfenced.clear()

    def multiply(a: Any, b: Shared, acc: Any, use_acc: bool = True, is_async: bool = False) -> Any:
        machine.turn()
        product = Product(value(a), b, value(acc) if use_acc else None)
        machine.me.products.append(product)
        if not is_async:
            multiply_wait(0, (product,))
        return product

    def multiply_wait(pending: int, deps: tuple[Any, ...]) -> Any:
        machine.turn()
        products = machine.me.products
        for product in products[: len(products) - pending]:
            product.finish()
        del products[: max(0, len(products) - pending)]
        found = tuple(x if isinstance(x, Product) and x.value is None else value(x) for x in deps)
        return found[0] if len(found) == 1 else found

    def write(pointer: Pointer, x: Any, mask: Any) -> None:
        places = np.broadcast_to(pointer.place, np.shape(x))[mask]
        pointer.data[places] = value(x)[mask]

    def layout(*_arguments: Any, **_keywords: Any) -> None:
        return None

    def specialise(parts: list[Any], warps: list[int], registers: list[int]) -> None:
        machine.run([
            (f"partition {number} ({body.__name__})", lambda body=body, args=args: body(*args))
            for number, (body, args) in enumerate(parts)
        ])  # fmt: skip

    def plain(x: Any, *_layout: Any) -> Any:
        return x

    language = SimpleNamespace(
        constexpr=plain, static_range=range, float32=None, int64=None,
        zeros=lambda shape, dtype, layout: np.zeros(shape, np.float32).view(Array),
        arange=lambda low, high, layout: np.arange(low, high).view(Array),
        where=function(np.where), maximum=function(np.maximum), exp2=function(np.exp2),
        log2=function(np.log2), max=function(np.max), sum=function(np.sum),
        cdiv=lambda a, b: -(-int(a) // b), minimum=min, program_id=lambda axis: Scalar(program),
        allocate_shared_memory=allocate, convert_layout=plain, store=write,
        warp_specialize=specialise, NVMMADistributedLayout=layout, DotOperandLayout=layout,
        SliceLayout=layout,
    )  # fmt: skip
    mbarrier = SimpleNamespace(
        init=Barrier.initialise, wait=wait, arrive=arrive, expect=expect,
        MBarrierLayout=lambda: "barriers",
    )  # fmt: skip
    return {
        "gluon": SimpleNamespace(jit=plain),
        "gl": language,
        "mbarrier": mbarrier,
        "tma": SimpleNamespace(async_load=load, async_store=store, store_wait=store_wait),
        "fence_async_shared": fence,
        "warpgroup_mma": multiply,
        "warpgroup_mma_wait": multiply_wait,
    }
