"""Compiles cases given as JSON on stdin, each in a process of its own; reports as JSON on stdout.

`python -m kernel_gates.worker PROCESSES`, started by `compilation.compile_all`. It is a program of
its own because kernels compile only where Triton was imported without its interpreter; each case
has a process because some configurations abort the compiler. Progress goes to stderr.
"""

import importlib
import json
import multiprocessing
import os
import resource
import sys
from typing import Any

from kernel_gates.reports import KEPT_ONLY

LIMIT = 600  # seconds of a processor for a case; the largest take half a minute
WAIT = 10 * LIMIT  # by the clock: a busy machine may stop or starve a compiler for a long time


def compile_one(module: str, fields: list, pipe: Any) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT))
    try:
        gates = importlib.import_module(module)
        pipe.send({"report": gates.compile_case(gates.Case.parse(fields))._asdict()})
    except Exception as error:
        pipe.send({"error": f"{type(error).__name__}: {error}"[-2000:]})


def kept(module: str, fields: list) -> dict[str, Any] | None:
    """The report of an earlier run, without a process of its own."""
    gates = importlib.import_module(module)
    os.environ[KEPT_ONLY] = "1"
    try:
        return gates.compile_case(gates.Case.parse(fields))._asdict()
    except Exception:  # also what is wrong with the case: its own process says so
        return None
    finally:
        del os.environ[KEPT_ONLY]


def main() -> None:
    workers = int(sys.argv[1])
    os.environ["TRITON_INTERPRET"] = "0"
    # Triton 3.10 turns fused multiply-adds off by default; without them every kernel is slower.
    os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")
    cases = json.load(sys.stdin)
    # Imported before the fork, so that a case costs its compilation only: torch takes longer.
    import triton.experimental.gluon._runtime  # noqa: F401

    for name in dict.fromkeys(module for module, _ in cases):
        importlib.import_module(name)
    context = multiprocessing.get_context("fork")
    found = [kept(module, fields) for module, fields in cases]
    results: list[dict] = [{} if report is None else {"report": report} for report in found]
    waiting = [(index, cases[index]) for index, report in enumerate(found) if report is None]
    running: list[tuple[int, Any, Any]] = []
    while waiting or running:
        while waiting and len(running) < workers:
            index, (module, fields) = waiting.pop(0)
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=compile_one, args=(module, fields, sender))
            process.start()
            sender.close()
            running.append((index, process, receiver))
        index, process, receiver = running.pop(0)
        try:
            results[index] = (
                receiver.recv() if receiver.poll(WAIT) else {"error": f"no result in {WAIT} s"}
            )
        except EOFError:
            process.join()
            results[index] = {"error": f"the compiler ended with exit code {process.exitcode}"}
        process.kill()
        process.join()
        print(f"{index + 1} of {len(cases)} kernels", file=sys.stderr, flush=True)
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
