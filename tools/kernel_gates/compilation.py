"""Compiles kernels ahead of time, for any architecture, without a GPU, and reads what came out.

Used by the compile gates and the kernel table: registers, spills, shared memory, instruction
counts. Needs triton and no GPU; does not work under TRITON_INTERPRET.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gptpy_kernels.attention.configs import SHARED_MEMORY_LIMIT, Architecture

from kernel_gates.machine_code import Loop
from kernel_gates.reports import KEPT_ONLY, STORE_VARIABLE, key_of, read_report, write_report

REPOSITORY = Path(__file__).resolve().parents[2]
STORE = REPOSITORY / "target" / "kernel-gates"
"""Reports of earlier runs: what has not changed is not compiled again."""


NOT_COMPILED = "not compiled yet"


class KernelReport(NamedTuple):
    """What the assembler made of one kernel at one configuration."""

    registers: int
    stack_bytes: int
    spilled_bytes: int
    shared_bytes: int
    instructions: int
    counts: dict[str, int]
    warnings: tuple[str, ...]
    loop: Loop | None = None
    """One turn of the loop over full tiles; None in a kernel that multiplies no matrices."""

    def problems(self, architecture: Architecture) -> list[str]:
        """Why any kernel would be refused; empty when clean."""
        found = []
        shared_limit = SHARED_MEMORY_LIMIT[architecture]
        if self.spilled_bytes or self.counts["local_store"] or self.counts["local_load"]:
            found.append(
                f"spills {self.spilled_bytes} bytes ({self.counts['local_store']} local stores, "
                f"{self.counts['local_load']} loads)"
            )
        if self.shared_bytes > shared_limit:
            found.append(f"shared memory {self.shared_bytes} > {shared_limit} bytes")
        found.extend(warning for warning in self.warnings if "serialized" in warning)
        return found


def name_of(architecture: Architecture) -> str:
    """sm_90 for 90; AMD's names as they are."""
    return architecture if isinstance(architecture, str) else f"sm_{architecture}"


def float32_products(architecture: Architecture) -> str:
    """How `launch.matmul_precision` has float32 multiplied there."""
    return "ieee" if isinstance(architecture, str) else "tf32x3"


def _target(architecture: Architecture) -> Any:
    from triton.backends.compiler import GPUTarget

    if isinstance(architecture, str):
        return GPUTarget("hip", architecture, 64)
    return GPUTarget("cuda", architecture, 32)


def compile_kernel(
    kernel: Any,
    types: dict[str, str],
    constants: dict[str, Any],
    architecture: Architecture,
    options: dict[str, Any],
    aligned: frozenset[str] = frozenset(),
) -> KernelReport:
    """Compile a Triton kernel for an architecture and read the machine code.

    types: Triton type of every argument that is no constant. aligned: scalar arguments known to be
    multiples of 16 (pointers always are). options: num_warps, num_stages, maxnreg.
    Where the environment names a folder (`STORE_VARIABLE`), a report that it holds is taken.
    Raises what the compiler raises, ValueError for missing and unexpected arguments.
    """
    import triton

    names = kernel.arg_names
    if set(names) != set(types) | set(constants):
        known = set(types) | set(constants)
        raise ValueError(
            f"{kernel.fn.__name__}: missing {sorted(set(names) - known)}, "
            f"unexpected {sorted(known - set(names))}"
        )
    folder = os.environ.get(STORE_VARIABLE)
    key = ""
    if folder:
        what = (kernel.fn.__name__, types, constants, architecture, options, sorted(aligned))
        key = key_of(what, triton.__version__)
        if (known := read_report(Path(folder), key)) is not None:
            return _report(known)
    if os.environ.get(KEPT_ONLY):
        raise LookupError(NOT_COMPILED)
    report = _inspect(*_compile(kernel, types, constants, architecture, options, aligned))
    if folder:
        write_report(Path(folder), key, report._asdict())
    return report


def _compile(
    kernel: Any,
    types: dict[str, str],
    constants: dict[str, Any],
    architecture: Architecture,
    options: dict[str, Any],
    aligned: frozenset[str],
) -> tuple[Any, str]:
    """Triton's compiled kernel and the assembler's log."""
    import triton
    from triton import knobs
    from triton.compiler import ASTSource
    from triton.experimental.gluon._runtime import GluonASTSource, GluonJITFunction

    names = kernel.arg_names
    signature = {name: "constexpr" if name in constants else types[name] for name in names}
    attributes = {
        (index,): [["tt.divisibility", 16]]
        for index, name in enumerate(names)
        if signature[name].startswith("*") or name in aligned
    }
    source_class = GluonASTSource if isinstance(kernel, GluonJITFunction) else ASTSource
    source = source_class(
        fn=kernel,
        signature=signature,
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs=attributes,
    )
    log = io.StringIO()
    with contextlib.redirect_stdout(log), knobs.nvidia.scope(), knobs.compilation.scope():
        knobs.nvidia.dump_ptxas_log = True
        knobs.compilation.always_compile = True  # a cached kernel has no log
        compiled = triton.compile(source, target=_target(architecture), options=options)
    return compiled, log.getvalue()


def _inspect(compiled: Any, log: str) -> KernelReport:
    from kernel_gates import amd_code, nvidia_code

    reader = amd_code if "amdgcn" in compiled.asm else nvidia_code
    warnings = tuple(
        line.strip()
        for line in log.splitlines()
        if "warning" in line.lower() or "Performance" in line
    )
    return KernelReport(**reader.read(compiled, log), warnings=warnings)


def compile_all(
    cases: Sequence[Any], *, workers: int = 2, store: Path | None = None, kept_only: bool = False
) -> list[KernelReport | str]:
    """Compile cases, `workers` at a time; a report each, or the compiler's complaint.

    A case is a `Case` of a module that also has `compile_case` (`attention`, `fused`, `decoding`).
    They are compiled in another process, without TRITON_INTERPRET, so that this works inside of
    tests that use the interpreter. store: a folder that keeps every report as soon as it is there,
    so that an interrupted run goes on where it stopped. kept_only: compile nothing; what the store
    lacks is a complaint, `NOT_COMPILED`.
    """
    if kept_only:
        return [_kept(case, store) for case in cases]
    folders = [REPOSITORY / "tools", REPOSITORY / "triton_kernels"]
    path = os.pathsep.join([*map(str, folders), os.environ.get("PYTHONPATH", "")])
    environment = {
        **os.environ, "TRITON_INTERPRET": "0", "PYTHONPATH": path.rstrip(os.pathsep),
        STORE_VARIABLE: str(store or ""),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "kernel_gates.worker", str(workers)],
        input=json.dumps([(type(case).__module__, list(case)) for case in cases]),
        stdout=subprocess.PIPE,
        stderr=None if store else subprocess.PIPE,  # with a store: progress on the terminal
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(
            f"kernel_gates.worker: exit code {done.returncode}: {(done.stderr or '')[-2000:]}"
        )
    return [
        _report(result["report"]) if "report" in result else str(result.get("error"))
        for result in json.loads(done.stdout)
    ]


def _kept(case: Any, store: Path | None) -> KernelReport | str:
    """What the store has of a case: looked up here, because nothing is compiled."""
    before = {name: os.environ.get(name) for name in (STORE_VARIABLE, KEPT_ONLY)}
    os.environ.update({STORE_VARIABLE: str(store or ""), KEPT_ONLY: "1"})
    try:
        return importlib.import_module(type(case).__module__).compile_case(case)
    except LookupError as error:
        return str(error)
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _report(fields: dict[str, Any]) -> KernelReport:
    report = KernelReport(**fields)
    return report._replace(loop=Loop(*report.loop)) if report.loop else report
