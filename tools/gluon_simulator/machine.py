"""Partitions that take turns, barriers, shared memory, bulk copies in flight."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

POISON = np.nan


class Fault(Exception):
    """What the kernel did that hardware would answer with garbage, a crash or a hang."""


class _Stop(BaseException):
    """Ends a partition's thread after a fault elsewhere."""


class Partition:
    """A warp group or warp: a thread that runs only while it holds the turn."""

    def __init__(self, machine: Machine, name: str, body: Callable[[], None]):
        self.name, self.machine = name, machine
        self.turn = threading.Semaphore(0)
        self.blocked_on: str | None = None
        self.products: list[Product] = []  # issued, in order, not yet waited for
        self.stores: list[Callable[[], None]] = []
        self.unfenced: set[int] = set()  # ids of buffers written since the last fence
        self.done = False
        self.thread = threading.Thread(target=self._run, args=(body,), daemon=True)
        self.ready: Callable[[], bool] = lambda: True

    def _run(self, body: Callable[[], None]) -> None:
        self.turn.acquire()
        try:
            if not self.machine.stopping:
                body()
                if self.products or self.stores:
                    raise Fault(f"{self.name} ends with products or stores not waited for")
        except _Stop:
            pass
        except Exception as error:
            self.machine.error = self.machine.error or error
        self.done = True
        self.machine.back.release()


class Machine:
    """One multiprocessor that runs one program."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        # How eager the copy engine is: rarely, evenly, at once.
        self.landing = self.random.choice((0.02, 0.3, 0.9))
        self.partitions: list[Partition] = []
        self.in_flight: list[Callable[[], None]] = []
        self.back = threading.Semaphore(0)
        self.error: Exception | None = None
        self.stopping = False
        self.current: Partition | None = None
        self.setup = Partition(self, "setup", lambda: None)

    @property
    def me(self) -> Partition:
        """Who runs now; before the partitions begin, the setup."""
        return self.current or self.setup

    def turn(self, ready: Callable[[], bool] = lambda: True, what: str = "") -> None:
        """Give the turn away; comes back when it is this partition's again and `ready()`."""
        me = self.current
        if me is None:
            return
        me.ready, me.blocked_on = ready, what
        self.back.release()
        me.turn.acquire()
        if self.stopping:
            raise _Stop
        me.blocked_on = None

    def run(self, bodies: list[tuple[str, Callable[[], None]]]) -> None:
        """All partitions to their ends. Raises what a partition raises, `Fault` on a deadlock."""
        self.partitions = [Partition(self, name, body) for name, body in bodies]
        speeds = [10 ** self.random.uniform(-1.5, 0) for _ in bodies]  # some are much slower
        for partition in self.partitions:
            partition.thread.start()
        while self.error is None and not all(p.done for p in self.partitions):
            able = [p for p in self.partitions if not p.done and p.ready()]
            if self.in_flight and (not able or self.random.random() < self.landing):
                self.in_flight.pop(self.random.randrange(len(self.in_flight)))()
            elif able:
                weights = [speeds[self.partitions.index(p)] for p in able]
                self._give(self.random.choices(able, weights)[0])
            else:
                waits = [f"{p.name} on {p.blocked_on}" for p in self.partitions if not p.done]
                self.error = Fault(f"deadlock: {'; '.join(waits)}")
        self.stopping = True
        for partition in self.partitions:
            if not partition.done:
                self._give(partition)
        self.current = None
        if self.error is None and self.in_flight:
            self.error = Fault("the kernel ends with copies in flight")
        if self.error is not None:
            raise self.error

    def _give(self, partition: Partition) -> None:
        self.current = partition
        partition.turn.release()
        self.back.acquire()


class Barrier:
    """An mbarrier: arrivals and bytes still missing in the present phase."""

    def __init__(self, machine: Machine):
        self.machine, self.count, self.fenced = machine, 0, False
        self.phases = self.arrivals = self.bytes = 0

    def initialise(self, count: int) -> None:
        self.count = self.arrivals = count
        self.machine.setup.unfenced.add(id(self))

    def check(self) -> None:
        if not self.count:
            raise Fault("a barrier is used before its initialisation")
        if id(self) in self.machine.setup.unfenced:
            raise Fault("a barrier is used before a fence made its initialisation visible")

    def add(self, arrivals: int = 0, arrived_bytes: int = 0) -> None:
        self.check()
        self.arrivals -= arrivals
        self.bytes -= arrived_bytes
        if self.arrivals < 0:
            raise Fault(f"more arrivals than the {self.count} that the barrier counts in a phase")
        if self.arrivals == 0 and self.bytes < 0:
            raise Fault("more bytes than the barrier expects in a phase")
        if self.arrivals == self.bytes == 0:
            self.phases += 1
            self.arrivals = self.count

    def expect(self, expected: int) -> None:
        self.bytes += expected
        self.add(arrivals=1)

    def passed(self, parity: int) -> bool:
        return self.phases & 1 != parity


class Shared:
    """A view of a shared buffer: the storage, and how to reach this part of it."""

    def __init__(self, machine: Machine, data: np.ndarray, dtype: Any, owner: Shared | None = None):
        self.machine, self.data, self.dtype = machine, data, dtype
        self.tile: Shared = owner or self  # the whole tile that copies fill
        if owner is None:
            self.filling = False

    def index(self, place: int) -> Shared:
        return self.parts[place]

    def split(self) -> Shared:
        """A ring of tiles, each copied and poisoned by itself."""
        self.parts = [Shared(self.machine, part, self.dtype) for part in self.data]
        return self

    def reshape(self, shape: tuple[int, ...]) -> Shared:
        return Shared(self.machine, self.data.reshape(shape), self.dtype, self.tile)

    def permute(self, order: tuple[int, ...]) -> Shared:
        return Shared(self.machine, self.data.transpose(order), self.dtype, self.tile)

    def store(self, value: np.ndarray) -> None:
        self.data[...] = value
        self.machine.me.unfenced.add(id(self.tile))

    def read(self, why: str) -> np.ndarray:
        if self.tile.filling or np.isnan(self.data).any():
            raise Fault(f"{why} reads a buffer that is being filled or was never filled")
        return self.data.astype(np.float32)


class Product:
    """An asynchronous matrix product: no value before it is waited for."""

    def __init__(self, a: Any, b: Shared, start: np.ndarray | None):
        self.a, self.b, self.start, self.value = a, b, start, None
        for operand in (a, b):
            if isinstance(operand, Shared):
                operand.read("a product when issued")

    def _too_soon(self, *_others: Any) -> Any:
        raise Fault("the result of a product is read before it is waited for")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = _too_soon

    def finish(self) -> None:
        left, right = (
            x.read("a product") if isinstance(x, Shared) else x.astype(np.float32)
            for x in (self.a, self.b)
        )
        self.value = left @ right + (0 if self.start is None else self.start)
