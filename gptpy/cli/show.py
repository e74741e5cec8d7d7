"""How a run reports on a terminal, and as plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

SECONDS_BETWEEN_LINES = 5.0


class Output(Console):
    """Standard output; when nobody reads it any more (`| head`), the job goes on in silence."""

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich prints, unless the terminal has been closed."""
        try:
            super().print(*objects, **options)
        except OSError:
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        """What is still printed goes nowhere; rich itself would end the program here."""
        self.quiet = True
        if self.file is sys.stdout:  # what other code prints, too
            with suppress(OSError, ValueError):  # no file is behind it
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Live:
    """A reporter: a progress bar on a terminal, a line every few seconds elsewhere."""

    def __init__(self, console: Console | None = None, *, quiet: bool = False) -> None:
        self.console = console or Output(highlight=False)
        self.quiet = quiet
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._last = 0.0

    def __enter__(self) -> Live:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the progress bar; later lines come below it."""
        if self._bar is not None:
            with suppress(OSError):  # the terminal has been closed
                self._bar.stop()
            self._bar = None

    def on_message(self, text: str) -> None:
        """One line above the bar."""
        if not self.quiet:
            self.console.print(Text(text), soft_wrap=True)

    def on_step(self, metrics: Mapping[str, Any]) -> None:
        """Move the bar, or write a line if the last one is `SECONDS_BETWEEN_LINES` old."""
        if self.quiet:
            return
        text = (
            f"loss {metrics['loss']:.3f}  {metrics['tokens_per_second']:,.0f} tokens/s  "
            f"ETA {duration(metrics['eta'])}"
        )
        done = metrics["progress"]
        if self.console.is_terminal:
            self._move_bar(done, f"step {metrics['step']}  {text}")
            if done >= 1:
                self.close()
            return
        now = time.monotonic()
        if now - self._last >= SECONDS_BETWEEN_LINES or done >= 1 or metrics["step"] == 1:
            self._last = now
            line = f"step {metrics['step']:>6}  {done:4.0%}  {text}"
            self.console.print(Text(line), soft_wrap=True)

    def _move_bar(self, done: float, text: str) -> None:
        if self._bar is None:
            columns = (
                TextColumn("training"),
                BarColumn(bar_width=24),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("{task.description}", markup=False),
            )
            self._bar = Progress(*columns, console=self.console, refresh_per_second=4)
            self._task = self._bar.add_task(text, total=1.0)
            self._bar.start()
        self._bar.update(self._task, completed=done, description=text)

    def on_eval(self, metrics: Mapping[str, Any]) -> None:
        """One line for each evaluation."""
        bits = metrics.get("bits_per_byte")
        tail = "" if bits is None else f", {bits:.4f} bits/byte"
        text = f"step {metrics['step']}: validation loss {metrics['val_loss']:.4f}"
        text += f", perplexity {metrics['perplexity']:.2f}{tail}"
        self.on_message(text + scored_windows(metrics))


def scored_windows(metrics: Mapping[str, Any]) -> str:
    """In which windows a text was scored, in brackets; empty where rows were scored.

    Tokens with more context have a lower loss, so a loss says little without its windows.
    """
    context, stride = metrics.get("context"), metrics.get("stride")
    if not context or not stride or "accuracy" in metrics:  # only rows have an accuracy
        return ""
    how = "side by side" if stride == context else f"moved on by {stride}"
    return f" (windows of {context} tokens {how})"


def duration(seconds: float) -> str:
    """Seconds as `m:ss` or `h:mm:ss`."""
    if seconds != seconds:
        return "?"
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def table(title: str, rows: Sequence[tuple[str, str]], console: Console | None = None) -> None:
    """A table of two columns; what a user named is shown as it is, brackets and all."""
    grid = Table(title=Text(title), show_header=False, title_justify="left")
    grid.add_column(style="bold", overflow="fold")
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(Text(name), Text(value))
    (console or Output(highlight=False)).print(grid)
