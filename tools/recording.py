"""Records a command as an animated SVG: its lines appear as they did, the waiting shortened.

    python tools/recording.py docs/pictures/quickstart.svg gptpy quickstart

The picture needs no script and no player: it is one SVG with CSS animation, which plays once and
shows its end to whoever asks for less motion.
"""

from __future__ import annotations

import html
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

COLUMNS, ROWS = 108, 24
SIZE, LINE = 12, 17
"""Pixels of the font and of a line."""
LONGEST_WAIT = 0.7
"""Seconds that a wait takes in the picture; a longer one is shortened to it."""
INK, SOFT, GROUND = "#e7eaee", "#8a94a3", "#14171c"

Event = tuple[float, str]


def recorded(command: Sequence[str], folder: Path) -> list[Event]:
    """Runs `command` in `folder`; each line that it prints with the second at which it came."""
    environment = os.environ | {"COLUMNS": str(COLUMNS), "PYTHONUNBUFFERED": "1"}
    begin, found = time.monotonic(), []
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, encoding="utf-8",
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            # A young model writes any bytes; XML takes no control characters
            shown = "".join(c if c.isprintable() else "\ufffd" for c in line.rstrip("\n"))
            shown = shown.replace(f"{folder}/", "")
            found.append((time.monotonic() - begin, shown))
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}: {found[-1:]}")
    return found


def shortened(events: Sequence[Event]) -> list[Event]:
    """The same with waits of at most `LONGEST_WAIT`, in the order in which they came."""
    at, before, found = 1.0, 0.0, []
    for moment, line in events:
        at += min(moment - before, LONGEST_WAIT)
        before = moment
        found.append((at, line))
    return found


def wrapped(events: Sequence[Event]) -> list[Event]:
    """Lines of at most `COLUMNS` characters."""
    return [
        (moment, line[i : i + COLUMNS])
        for moment, line in events
        for i in range(0, max(1, len(line)), COLUMNS)
    ]


def drawn(command: Sequence[str], events: Sequence[Event], seconds: float) -> str:
    """The SVG. All lines lie below each other; the sheet moves up as on a terminal."""
    lines = [(0.0, f"$ {' '.join(command)}"), *wrapped(shortened(events))]
    total = lines[-1][0]
    width, height = round(COLUMNS * SIZE * 0.602 + 32), ROWS * LINE + 44
    frames = "".join(
        f"{100 * moment / total:.2f}%{{transform:translateY({-up * LINE}px)}}"
        for number, (moment, _) in enumerate(lines)
        if (up := number + 1 - ROWS) > 0
    )
    last = -max(0, len(lines) - ROWS) * LINE
    # During its delay a line has the first frame of `show`, because it fills backwards
    style = (
        f"text{{font:{SIZE}px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;"
        f"fill:{INK};white-space:pre}}"
        f"g g{{transform:translateY({last}px)}}"
        "@media (prefers-reduced-motion:no-preference){"
        f"g g{{animation:up {total:.1f}s step-end backwards}}"
        "g g text{animation:show 1ms backwards}"
        f"@keyframes up{{0%{{transform:none}}{frames}}}"
        "@keyframes show{from{visibility:hidden}}}"
    )
    rows = [
        f'<text y="{number * LINE + SIZE}" style="animation-delay:{moment:.2f}s">'
        f"{html.escape(line)}</text>"
        for number, (moment, line) in enumerate(lines)
    ]
    note = f"{seconds:.0f} s in all, the waiting shortened"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}"><title>{html.escape(" ".join(command))}: {note}</title>'
        f"<style>{style}</style>"
        f'<clipPath id="screen"><rect width="{width - 16}" height="{ROWS * LINE + 2}"/></clipPath>'
        f'<rect width="{width}" height="{height}" rx="8" fill="{GROUND}"/>'
        f'<g transform="translate(16 16)" clip-path="url(#screen)"><g>'
        f"{''.join(rows)}</g></g>"
        f'<text x="{width - 12}" y="{height - 8}" text-anchor="end" style="fill:{SOFT};'
        f'font-size:11px">{note}</text></svg>\n'
    )


def main() -> None:
    """The command line: where to write, and what to run."""
    path, command = Path(sys.argv[1]), sys.argv[2:]
    with tempfile.TemporaryDirectory(prefix="recording-") as name:
        begin = time.monotonic()
        events = recorded(command, Path(name))
        seconds = time.monotonic() - begin
    path.write_text(drawn(command, events, seconds), encoding="utf-8")


if __name__ == "__main__":
    main()
