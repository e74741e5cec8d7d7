"""What a long job reports while it runs: library code never prints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol


class Reporter(Protocol):
    """Receives the news of a job; the command line shows them, a notebook may collect them."""

    def on_message(self, text: str) -> None:
        """One line for the user: a choice that was made, a fallback, a warning."""

    def on_step(self, metrics: Mapping[str, Any]) -> None:
        """A training step: `step`, `progress` in 0..1, `loss`, `tokens_per_second`, `eta`, ..."""

    def on_eval(self, metrics: Mapping[str, Any]) -> None:
        """An evaluation: `step`, `val_loss`, `perplexity` and, where bytes are known,
        `bits_per_byte`."""


class Silent:
    """A reporter that ignores everything; the base of those that need one kind of news only."""

    def on_message(self, text: str) -> None:
        """Ignored."""

    def on_step(self, metrics: Mapping[str, Any]) -> None:
        """Ignored."""

    def on_eval(self, metrics: Mapping[str, Any]) -> None:
        """Ignored."""


def counted(number: int, noun: str) -> str:
    """`1 document`, `2,000 documents`: a number with its noun, for messages."""
    return f"{number:,} {noun}" + "s" * (number != 1)


def survive_full_disk(write: Callable[[], object], reporter: Reporter) -> None:
    """Call `write`, of something that a run can do without; where that fails, the user is told."""
    try:
        write()
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        reporter.on_message(f"{where}cannot be written: {error.strerror or error}")
