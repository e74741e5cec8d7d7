"""Compiles cases given as JSON on stdin, each in a process of its own; reports as JSON on stdout.

`python -m kernel_gates.worker`, started by `compilation.compile_all`. It is a program of its own
because kernels compile only where Triton was imported without its interpreter; each case has a
process because some configurations abort the compiler.
"""

import importlib
import json
import multiprocessing
import os
import sys
from typing import Any

WORKERS = 2


def compile_one(module: str, fields: list, pipe: Any) -> None:
    try:
        gates = importlib.import_module(module)
        pipe.send({"report": gates.compile_case(gates.Case.parse(fields))._asdict()})
    except Exception as error:
        pipe.send({"error": f"{type(error).__name__}: {error}"[-2000:]})


def main() -> None:
    os.environ["TRITON_INTERPRET"] = "0"
    # Triton 3.10 turns fused multiply-adds off by default; without them every kernel is slower.
    os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")
    # Imported before the fork, so that a case costs its compilation only.
    import triton.experimental.gluon._runtime  # noqa: F401

    context = multiprocessing.get_context("fork")
    cases = json.load(sys.stdin)
    results: list[dict] = [{} for _ in cases]
    waiting = list(enumerate(cases))
    running: list[tuple[int, Any, Any]] = []
    while waiting or running:
        while waiting and len(running) < WORKERS:
            index, (module, fields) = waiting.pop(0)
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=compile_one, args=(module, fields, sender))
            process.start()
            sender.close()
            running.append((index, process, receiver))
        index, process, receiver = running.pop(0)
        try:
            results[index] = (
                receiver.recv() if receiver.poll(180) else {"error": "no result in 180 s"}
            )
        except EOFError:
            process.join()
            results[index] = {"error": f"the compiler ended with exit code {process.exitcode}"}
        process.kill()
        process.join()
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
