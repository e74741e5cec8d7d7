"""A strict simulator for warp-specialised Gluon kernels: NumPy values, random schedules.

It runs a kernel's own source. Partitions take turns at every operation that other partitions or the
copy engine can see, in an order drawn from a seed. What hardware leaves undefined is made visible:

- a bulk copy poisons its buffer when it is issued, and lands at a random later time;
- a matrix product must find its operands whole when it is issued, reads them when it is waited
  for, and has no value before;
- barriers count arrivals and bytes and have phases, as mbarrier has; one arrival too many is an
  error;
- what a thread has written to shared memory the copy engine sees after a fence;
- when nothing can run, the kernel is deadlocked.
"""

from gluon_simulator.kernel import load_kernel, run
from gluon_simulator.machine import Fault

__all__ = ["Fault", "load_kernel", "run"]
