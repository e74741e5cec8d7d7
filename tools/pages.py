"""Runs the code of documentation pages, compares what it prints, and keeps records of long pages.

A page is plain Markdown. Its `python` and `bash` fences run in order, in one namespace, in a new
folder; a `text` fence right behind one shows what it prints. Comments in the page steer this:
`<!-- not run: REASON -->` before a block, `<!-- varies -->` before its output, and `<!-- long -->`
in the first lines of a page that tests do not run: they compare its code and outputs with a record.

    python tools/pages.py            run the pages whose record is out of date, write their outputs
    python tools/pages.py PAGE...    run these pages
    python tools/pages.py --check    only compare, every page, records included
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "docs" / "records"
RUN = ("python", "bash")
LEFT_OUT = "..."


@dataclass(frozen=True)
class Block:
    """A fence that is code, and the fence behind it that shows its output."""

    language: str
    code: str
    line: int
    """Of its first line of code in the page, from 1."""
    not_run: str | None = None
    expected: str | None = None
    varies: bool = False
    output: tuple[int, int] | None = None
    """Lines of the page, from 0, between the fences of the output."""


@dataclass
class Result:
    """What a run of a page gave. `outputs`: one text for each block that runs."""

    outputs: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    seconds: float = 0.0
    error: str | None = None


class Page:
    """A Markdown file and its blocks."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        inside = self.path.is_relative_to(ROOT)
        self.name = self.path.relative_to(ROOT).as_posix() if inside else self.path.name
        self.text = self.path.read_text(encoding="utf-8")
        self.blocks = parse(self.text)
        self.long = "<!-- long -->" in "\n".join(self.text.splitlines()[:5])

    @property
    def run_blocks(self) -> list[Block]:
        """The blocks that run, in order."""
        return [block for block in self.blocks if block.not_run is None]

    @property
    def key(self) -> str:
        """SHA-256 of the code that runs."""
        code = json.dumps([[block.language, block.code] for block in self.run_blocks])
        return hashlib.sha256(code.encode()).hexdigest()

    @property
    def record(self) -> Path:
        """Where the record of a long page is kept."""
        return RECORDS / Path(self.name).relative_to("docs").with_suffix(".json")

    def read_record(self) -> Result | None:
        """The recorded result, or None where there is none of this code."""
        if not self.record.is_file():
            return None
        found = json.loads(self.record.read_text(encoding="utf-8"))
        if found.pop("key") != self.key:
            return None
        return Result(**found)

    def write_record(self, result: Result) -> None:
        """Keep `result` as what this page's code gives."""
        self.record.parent.mkdir(parents=True, exist_ok=True)
        about = {
            "key": self.key,
            "seconds": round(result.seconds, 1),
            "outputs": result.outputs,
            "pictures": result.pictures,
        }
        self.record.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")

    def differences(self, result: Result) -> list[str]:
        """A message for each block whose printed output is not what the page shows."""
        if result.error is not None:
            return [f"{self.name}: {result.error}"]
        found = []
        for block, output in zip(self.run_blocks, result.outputs, strict=True):
            where = f"{self.name}:{block.line}"
            if block.expected is None:
                if output.strip() and block.language == "python":
                    found.append(f"{where}: prints, but no text block follows it:\n{output}")
            elif not block.varies and not matches(block.expected, output):
                found.append(f"{where}: the page shows\n{block.expected}\nit printed\n{output}")
        missing = {Path(link).name for link in self.own_pictures()} - set(result.pictures)
        found += [f"{self.name}: no code saves pictures/{name}" for name in sorted(missing)]
        return found

    def own_pictures(self) -> list[str]:
        """The links to pictures that this page's code draws."""
        return re.findall(r"!\[[^]]*\]\((pictures/[^)]+)\)", self.text)

    def with_outputs(self, result: Result) -> str:
        """The page's text with the outputs of `result` in it, where they differ."""
        lines = self.text.split("\n")
        pairs = zip(self.run_blocks, result.outputs, strict=True)
        for block, output in reversed(list(pairs)):
            if block.output is not None and not matches(block.expected or "", output):
                first, last = block.output
                lines[first:last] = output.rstrip("\n").split("\n")
        return "\n".join(lines)


def parse(text: str) -> list[Block]:
    """The code blocks of a Markdown text, in order."""
    tokens = [t for t in MarkdownIt("commonmark").parse(text) if t.type != "inline"]
    found: list[Block] = []
    for number, token in enumerate(tokens):
        if token.type != "fence" or token.info.strip() not in RUN or token.map is None:
            continue
        reason = _comment(tokens, number - 1, r"not run: (.+)")
        varies = _comment(tokens, number + 1, "(varies)") is not None
        behind = number + 1 + varies
        shown: Any = tokens[behind] if behind < len(tokens) else None
        block = Block(token.info.strip(), token.content, token.map[0] + 2, reason)
        if shown is not None and shown.type == "fence" and shown.info.strip() == "text":
            lines = (shown.map[0] + 1, shown.map[1] - 1)
            block = Block(
                block.language, block.code, block.line, reason, shown.content, varies, lines
            )
        found.append(block)
    return found


def _comment(tokens: list[Any], number: int, pattern: str) -> str | None:
    """What `pattern` captures where token `number` is an HTML comment of that form."""
    if not 0 <= number < len(tokens) or tokens[number].type != "html_block":
        return None
    match = re.fullmatch(rf"<!--\s*{pattern}\s*-->", tokens[number].content.strip(), re.DOTALL)
    return None if match is None else match[1]


def matches(expected: str, output: str) -> bool:
    """Whether `output` is as shown; a line `...` stands for any number of lines."""
    parts = "\n".join(line.rstrip() for line in expected.strip("\n").split("\n"))
    text = "\n".join(line.rstrip() for line in output.strip("\n").split("\n"))
    pattern = "".join(
        "(?:.*\n)*?" if line == LEFT_OUT else re.escape(line) + "\n" for line in parts.split("\n")
    )
    return re.fullmatch(pattern, text + "\n") is not None


def run(page: Page, pictures: Path | None = None) -> Result:
    """Runs a page in a process of its own; copies its pictures into the folder `pictures`."""
    begin = time.perf_counter()
    paths = [str(ROOT), str(ROOT / "triton_kernels"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "OMP_NUM_THREADS": "1",
        "MPLBACKEND": "agg",
        "NO_COLOR": "1",
        "COLUMNS": "100",
        "TERM": "dumb",
        "PYTHONHASHSEED": "0",
    }
    with tempfile.TemporaryDirectory(prefix="page-") as name:
        folder, answer = Path(name, "here"), Path(name, "result.json")
        folder.mkdir()
        command = [sys.executable, __file__, "--child", str(page.path), str(answer)]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        if not answer.is_file():
            return Result(error=f"the process ended with {done.returncode}\n{done.stderr}")
        result = Result(**json.loads(answer.read_text(encoding="utf-8")))
        drawn = folder / "pictures"
        result.pictures = sorted(p.name for p in drawn.iterdir()) if drawn.is_dir() else []
        if pictures is not None and result.error is None:
            for picture in result.pictures:
                pictures.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(drawn / picture, pictures / picture)
    result.seconds = time.perf_counter() - begin
    return result


def _child(path: Path, answer: Path) -> None:
    """Runs the blocks of `path` here and writes the outputs to `answer`."""
    sys.path.remove(str(Path(__file__).resolve().parent))
    page, result = Page(path), Result()
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in page.run_blocks:
        try:
            if block.language == "bash":
                result.outputs.append(_bash(block.code))
                continue
            # Empty lines in front: a traceback shows the line of the page.
            code = compile("\n" * (block.line - 1) + block.code, str(page.path), "exec")
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(code, namespace)  # noqa: S102, it is what this program is for
            result.outputs.append(printed.getvalue())
        except Exception:
            result.error = f"line {block.line}:\n{traceback.format_exc()}"
            break
    answer.write_text(json.dumps(vars(result)), encoding="utf-8")


def _bash(code: str) -> str:
    done = subprocess.run(["bash", "-e", "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"bash ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def pages() -> list[Path]:
    """Every page whose code runs."""
    return sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("recipes/*.md")])


def _lacks_its_text(page: Page) -> bool:
    """Whether figures of Tiny Shakespeare would be recorded from another text."""
    if not any("default_text" in block.code for block in page.run_blocks):
        return False
    from gptpy.data.text import default_text

    return default_text().note is not None


def main() -> int:
    """Run pages of the documentation; returns how many are not as they should be."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    wanted = parser.parse_args()
    wrong = 0
    for path in wanted.pages or pages():
        page = Page(path)
        if not page.run_blocks:
            continue
        from_record = page.long and (wanted.check or not wanted.pages)
        result = page.read_record() if from_record else None
        kept = result is not None
        if page.long and not kept and _lacks_its_text(page):
            result = Result(error="is recorded with Tiny Shakespeare: set GPTPY_DATA_DIR")
        if result is None:
            result = run(page, None if wanted.check else page.path.parent / "pictures")
            if page.path.read_text(encoding="utf-8") != page.text:
                result.error = "was edited while it ran: run it again"
        if not wanted.check and not kept and result.error is None:
            page.path.write_text(page.with_outputs(result), encoding="utf-8")
            if page.long:
                page.write_record(result)
            page = Page(path)
        told = page.differences(result)
        wrong += bool(told)
        how = "record" if kept else f"{result.seconds:.1f} s"
        print(f"{page.name}: {len(page.run_blocks)} blocks, {how}{', WRONG' if told else ''}")
        print("".join(f"{line}\n" for line in told), end="")
    return wrong


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _child(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        sys.exit(min(main(), 1))
