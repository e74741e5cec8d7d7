"""Build what is published, check it, and try it in an empty environment of every CPython here.

    make wheels                 (needs uv and a Rust toolchain)

Builds into `wheels/`: the source archive of `gptpy-bpe`, its stable-ABI wheel *from that archive*,
and the wheel and source archive of `gptpy-lm`. Checks names and requirements of both wheels, size,
contents, tag and shared libraries of the first. Then, for each CPython from 3.10 that can be found,
makes an empty environment, installs by name with `wheels/` beside the package index, and runs
`smoke.py`, which also checks that what is imported is ours: other people's distributions bear the
names `bpe-rs` and `gptpy`. `gptpy-lm` needs torch, a large download for each version of Python: it
is tried on the version of this checkout's own environment, which has torch in uv's cache, and with
`--download` on all.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from email.message import Message
from email.parser import Parser
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
MAX_WHEEL_BYTES = 6_000_000
# Distributions of that name on the package index are not ours.
FOREIGN = {"bpe-rs", "gptpy"}
# What every Linux with glibc has; anything else would have to come along with the wheel.
SYSTEM_LIBRARIES = re.compile(
    r"(libc|libm|libgcc_s|libpthread|libdl|librt)\.so\.\d+|ld-linux.*\.so\.\d+"
)


class Failure(Exception):
    """A check that did not hold; the message is for the person at the terminal."""


def run(*command: str | Path, cwd: Path = REPOSITORY) -> str:
    """Output of a command; Failure with what it said when it fails."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr + done.stdout).strip()
        raise Failure(f"{' '.join(map(str, command))} failed:\n{said[-3000:]}")
    return done.stdout


def only(paths: Sequence[Path], what: str) -> Path:
    if len(paths) != 1:
        raise Failure(f"expected one {what}, found {len(paths)}: {[p.name for p in paths]}")
    return paths[0]


# ---- building


def build(out: Path, uv: str) -> tuple[Path, Path]:
    """Wheels of gptpy-bpe and gptpy-lm."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    run(uv, "build", "--package", "gptpy-bpe", "--sdist", "--out-dir", out)
    archive = only(list(out.glob("gptpy_bpe-*.tar.gz")), "source archive of gptpy-bpe")
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        source = only([p for p in Path(folder).iterdir() if p.is_dir()], "folder in the archive")
        # maturin reads the symbols that the library asks for, and names the oldest Linux that
        # has them in the wheel's tag; a library it would have to bundle is an error.
        run(
            *(uv, "tool", "run", "maturin@1.16", "build", "--release", "--locked"),
            *("--auditwheel", "check", "--out", out),
            cwd=source,
        )
    run(uv, "build", "--package", "gptpy-lm", "--out-dir", out)
    return built(out)


def built(out: Path) -> tuple[Path, Path]:
    """The wheels in a folder."""
    return (
        only(list(out.glob("gptpy_bpe-*.whl")), "wheel of gptpy-bpe"),
        only(list(out.glob("gptpy_lm-*.whl")), "wheel of gptpy-lm"),
    )


# ---- checking


def metadata(wheel: Path) -> Message:
    """The wheel's METADATA."""
    with zipfile.ZipFile(wheel) as archive:
        path = only([Path(n) for n in archive.namelist() if n.endswith("/METADATA")], "METADATA")
        return Parser().parsestr(archive.read(path.as_posix()).decode("utf-8"))


def check_names(wheels: tuple[Path, Path]) -> None:
    """Failure unless the wheels are named and require what they should."""
    for wheel, name in zip(wheels, ("gptpy-bpe", "gptpy-lm"), strict=True):
        found = metadata(wheel)
        if found["Name"] != name:
            raise Failure(f"{wheel.name}: expected the name {name}, got {found['Name']}")
        wanted = {re.split(r"[^\w.-]", line)[0] for line in found.get_all("Requires-Dist", [])}
        if wanted & FOREIGN:
            raise Failure(f"{wheel.name} requires {sorted(wanted & FOREIGN)}: others' packages")
        if name == "gptpy-lm" and "gptpy-bpe" not in wanted:
            raise Failure(f"{wheel.name} does not require gptpy-bpe")


def needed_libraries(wheel: Path, uv: str) -> set[str]:
    """Shared libraries that the extension asks for, by the ELF header."""
    script = (
        "import sys, zipfile, io; from elftools.elf.elffile import ELFFile\n"
        "archive = zipfile.ZipFile(sys.argv[1])\n"
        "for name in archive.namelist():\n"
        "    if name.endswith('.so'):\n"
        "        elf = ELFFile(io.BytesIO(archive.read(name)))\n"
        "        for tag in elf.get_section_by_name('.dynamic').iter_tags('DT_NEEDED'):\n"
        "            print(tag.needed)\n"
    )
    output = run(uv, "run", "--no-project", "--with", "pyelftools", "python", "-c", script, wheel)
    return set(output.split())


def check_wheel(wheel: Path, uv: str) -> None:
    size = wheel.stat().st_size
    if size > MAX_WHEEL_BYTES:
        raise Failure(f"{wheel.name} has {size:,} bytes, at most {MAX_WHEEL_BYTES:,} are allowed")
    if "-cp310-abi3-" not in wheel.name:
        raise Failure(f"{wheel.name}: expected a wheel for the stable ABI of CPython 3.10")
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in ("bpe_rs/py.typed", "bpe_rs/_core.pyi", "bpe_rs/__init__.py"):
        if wanted not in names:
            raise Failure(f"{wheel.name} lacks {wanted}")
    libraries = [name for name in names if re.search(r"\.(so|pyd|dylib)(\.|$)", name)]
    only([Path(name) for name in libraries], "shared library in the wheel")
    print(f"{wheel.name}: {size / 1e6:.2f} MB, {len(names)} files")
    if sys.platform == "linux":
        if "manylinux" not in wheel.name and "musllinux" not in wheel.name:
            raise Failure(f"{wheel.name}: expected a manylinux tag")
        needed = needed_libraries(wheel, uv)
        unexpected = {lib for lib in needed if not SYSTEM_LIBRARIES.fullmatch(lib)}
        if unexpected:
            raise Failure(f"{wheel.name} needs {sorted(unexpected)}, which not every Linux has")
        print(f"  shared libraries: {', '.join(sorted(needed))}")


# ---- trying


def interpreters() -> Iterator[tuple[str, Path]]:
    """CPythons from 3.10 that run: on PATH, known to uv, or in pyenv's collection."""
    names = [f"python3.{minor}{suffix}" for minor in range(10, 16) for suffix in ("", "t")]
    candidates = [found for name in names if (found := shutil.which(name))]
    candidates.append(sys.executable)
    if pyenv := shutil.which("pyenv"):
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True).stdout.strip()
        candidates += map(str, sorted(Path(root, "versions").glob("3.*/bin/python")))
    if uv := shutil.which("uv"):
        listing = [uv, "python", "list", "--only-installed", "--offline", "--output-format", "json"]
        found = subprocess.run(listing, capture_output=True, text=True).stdout
        candidates += re.findall(r'"path": ?"([^"]+)"', found)
    code = (
        "import sys, sysconfig; t = 't' if sysconfig.get_config_var('Py_GIL_DISABLED') else ''\n"
        "print(sys.implementation.name, sys.version_info[0], sys.version_info[1], t, sep='|')\n"
        "print(sys.base_prefix)"
    )
    seen: dict[str, Path] = {}
    for candidate in candidates:
        # A launcher on PATH may stand for an interpreter that is switched off: ask it.
        done = subprocess.run([candidate, "-I", "-c", code], capture_output=True, text=True)
        if done.returncode == 0:
            name, major, minor, threads = done.stdout.splitlines()[0].split("|")
            version = f"{major}.{minor}{threads}"
            if name == "cpython" and (int(major), int(minor)) >= (3, 10):
                seen.setdefault(version, Path(candidate))
    yield from sorted(seen.items(), key=lambda item: (len(item[0]), item[0]))


def try_out(version: str, python: Path, wheels: tuple[Path, Path], uv: str, download: bool) -> str:
    """What worked in an empty environment of this interpreter."""
    if version.endswith("t"):
        return "skipped: the stable ABI has no free-threaded form; its own wheel is built by CI"
    with tempfile.TemporaryDirectory() as folder:
        run(uv, "venv", "--quiet", "--python", python, Path(folder, "env"))
        inside = Path(folder, "env", "Scripts" if sys.platform == "win32" else "bin", "python")
        # By name: the index is asked as well, as for a user
        install = [uv, "pip", "install", "--quiet", "--python", inside]
        install += ["--find-links", wheels[0].parent]
        run(*install, "gptpy-bpe")
        smoke = Path(__file__).with_name("smoke.py")
        result = run(inside, "-I", smoke, "bpe_rs", cwd=Path(folder)).strip()
        if not (download or version == checkout_version()):
            return f"{result}; gptpy-lm not tried (--download fetches torch for it)"
        locked = Path(folder, "locked.txt")
        locked.write_text(
            run(
                uv,
                "export",
                "--quiet",
                "--frozen",
                "--no-dev",
                "--no-hashes",
                "--no-emit-workspace",
            )
        )
        run(*install, "--constraints", locked, "gptpy-lm")
        return f"{result}; {run(inside, '-I', smoke, 'gptpy', cwd=Path(folder)).strip()}"


def checkout_version() -> str | None:
    """The Python version of `.venv`, if `make setup` has made one."""
    settings = REPOSITORY / ".venv" / "pyvenv.cfg"
    if not settings.exists():
        return None
    found = re.search(r"^version(?:_info)? = (\d+\.\d+)", settings.read_text(), re.MULTILINE)
    return found and found[1]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=REPOSITORY / "wheels")
    parser.add_argument("--download", action="store_true", help="fetch torch where it is missing")
    parser.add_argument("--keep", action="store_true", help="try the wheels that are there")
    arguments = parser.parse_args()
    uv = shutil.which("uv")
    try:
        if uv is None:
            raise Failure("uv is not on PATH: `make wheels` installs it, or see its documentation")
        if arguments.keep:
            wheels = built(arguments.out)
        else:
            wheels = build(arguments.out, uv)
        check_names(wheels)
        check_wheel(wheels[0], uv)
        for version, python in interpreters():
            print(f"CPython {version}: {try_out(version, python, wheels, uv, arguments.download)}")
    except Failure as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
