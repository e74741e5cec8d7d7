"""Compiles kernels ahead of time, for any architecture, without a GPU, and reads what came out.

Used by the compile gates and the kernel table: registers, spills, shared memory, instruction
counts. Needs triton and no GPU; does not work under TRITON_INTERPRET.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gptpy_kernels.attention.configs import SHARED_MEMORY_LIMIT

from kernel_gates.machine_code import Loop, main_loop

# What to count in the machine code: matrix products by generation, bulk copies, local memory.
SASS_PATTERNS = {
    "hgmma": r"\bHGMMA\b",
    "hmma": r"\bHMMA\b",
    "tcgen05": r"\bUTC\w*MMA\b",
    "tma_load": r"\bUTMALDG\b",
    "tma_store": r"\bUTMASTG\b",
    "tma_reduce": r"\bUTMAREDG\b",
    "async_copy": r"\bLDGSTS\b",
    "exp2": r"\bMUFU\.EX2\b",
    "local_store": r"\bSTL\b",
    "local_load": r"\bLDL\b",
}


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

    def problems(self, architecture: int) -> list[str]:
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


def tool(name: str) -> str:
    """Path of a CUDA tool that ships inside triton."""
    import triton.backends.nvidia as nvidia

    return str(Path(str(nvidia.__file__)).parent / "bin" / name)


def compile_kernel(
    kernel: Any,
    types: dict[str, str],
    constants: dict[str, Any],
    architecture: int,
    options: dict[str, Any],
    aligned: frozenset[str] = frozenset(),
) -> Any:
    """Triton's compiled kernel for sm_<architecture>.

    types: Triton type of every argument that is no constant. aligned: scalar arguments known to be
    multiples of 16 (pointers always are). options: num_warps, num_stages, maxnreg.
    Returns (compiled, assembler's log).
    """
    import triton
    from triton import knobs
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from triton.experimental.gluon._runtime import GluonASTSource, GluonJITFunction

    names = kernel.arg_names
    unknown = set(types) | set(constants)
    if set(names) != unknown:
        raise ValueError(
            f"{kernel.fn.__name__}: missing {sorted(set(names) - unknown)}, "
            f"unexpected {sorted(unknown - set(names))}"
        )
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
        compiled = triton.compile(
            source, target=GPUTarget("cuda", architecture, 32), options=options
        )
    return compiled, log.getvalue()


def inspect(compiled: Any, log: str = "") -> KernelReport:
    """Read registers, memory and instruction counts out of a compiled kernel's machine code."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()

        def dump(what: str) -> str:
            return subprocess.run(
                [tool("cuobjdump"), what, file.name], capture_output=True, text=True, check=True
            ).stdout

        usage = re.search(
            r"REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)", dump("--dump-resource-usage")
        )
        sass = dump("--dump-sass")
    if usage is None:
        raise RuntimeError("cuobjdump: expected a resource usage line, got none")
    spilled = sum(int(n) for n in re.findall(r"(\d+) bytes spill (?:stores|loads)", log))
    return KernelReport(
        registers=int(usage[1]),
        stack_bytes=int(usage[2]),
        spilled_bytes=max(spilled, int(usage[3])),
        shared_bytes=compiled.metadata.shared,
        instructions=len(re.findall(r"^\s+/\*[0-9a-f]{4,}\*/", sass, re.M)),
        counts={name: len(re.findall(pattern, sass)) for name, pattern in SASS_PATTERNS.items()},
        warnings=tuple(
            line.strip()
            for line in log.splitlines()
            if "warning" in line.lower() or "Performance" in line
        ),
        loop=main_loop(sass, compiled.metadata.num_warps),
    )


def compile_all(cases: Sequence[Any], timeout: float = 3600) -> list[KernelReport | str]:
    """Compile cases, two at a time; a report each, or the compiler's complaint.

    A case is a `Case` of a module that also has `compile_case` (`attention`, `fused`, `decoding`).
    They are compiled in another process, without TRITON_INTERPRET, so that this works inside of
    tests that use the interpreter.
    """
    tools = Path(__file__).resolve().parents[1]
    folders = [str(tools), str(tools.parent / "triton_kernels"), os.environ.get("PYTHONPATH", "")]
    path = os.pathsep.join(filter(None, folders))
    done = subprocess.run(
        [sys.executable, "-m", "kernel_gates.worker"],
        input=json.dumps([(type(case).__module__, list(case)) for case in cases]),
        capture_output=True,
        text=True,
        env={**os.environ, "TRITON_INTERPRET": "0", "PYTHONPATH": path},
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(
            f"kernel_gates.worker: exit code {done.returncode}: {done.stderr[-2000:]}"
        )
    return [_from_json(result) for result in json.loads(done.stdout)]


def _from_json(result: dict[str, Any]) -> KernelReport | str:
    if "report" not in result:
        return str(result.get("error"))
    report = KernelReport(**result["report"])
    return report._replace(loop=Loop(*report.loop)) if report.loop else report
