"""What `/metrics` tells Prometheus; the names follow its conventions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gptpy.inference.request import FinishReason, Handle, Output, Statistics

FIRST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
EACH = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)


class _OfEngine(Collector):
    """The engine's own counts, read when they are asked for."""

    def __init__(self, statistics: Callable[[], Statistics], requests: Callable[[], int]) -> None:
        self._statistics, self._requests = statistics, requests

    def collect(self) -> Iterator[Any]:
        s = self._statistics()
        gauges: list[tuple[str, str, float]] = [
            ("requests", "Requests that are waiting or running.", self._requests()),
            ("texts_running", "Texts that grow.", s.running),
            ("texts_waiting", "Texts that wait for their turn.", s.waiting),
            ("cache_blocks", "Blocks of keys and values.", s.blocks),
            ("cache_blocks_held", "Blocks that texts hold.", s.blocks_held),
            ("cache_use_ratio", "Part of the blocks that texts hold.", s.blocks_held / s.blocks),
        ]
        for name, meaning, value in gauges:
            yield GaugeMetricFamily(f"gptpy_{name}", meaning, value)
        counters = [
            ("prompt_tokens", "Tokens of prompts.", s.prompt_tokens),
            ("prompt_tokens_cached", "Of these, those whose keys were kept.", s.cached_tokens),
            ("generated_tokens", "New tokens.", s.new_tokens),
            ("drafted_tokens", "Tokens that were guessed.", s.drafted),
            ("accepted_tokens", "Guesses that were right.", s.accepted),
            ("steps", "Steps of the engine.", s.steps),
            ("preemptions", "Texts that gave their blocks up.", s.preemptions),
        ]
        for name, meaning, value in counters:
            yield CounterMetricFamily(f"gptpy_{name}", meaning, value)


class Metrics:
    """The counts of one server, in a registry of their own."""

    def __init__(self, statistics: Callable[[], Statistics], requests: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_OfEngine(statistics, requests))
        ProcessCollector(registry=self.registry)
        self._first = Histogram(
            "gptpy_time_to_first_token_seconds",
            "From the request to its first token.",
            buckets=FIRST,
            registry=self.registry,
        )
        self._each = Histogram(
            "gptpy_time_per_output_token_seconds",
            "Mean time between tokens of a text.",
            buckets=EACH,
            registry=self.registry,
        )
        self._ended = Counter(
            "gptpy_texts_finished",
            "Texts that ended, by reason.",
            ["reason"],
            registry=self.registry,
        )
        for reason in get_args(FinishReason):
            self._ended.labels(reason)  # all are told, also before the first
        self._refused = Counter(
            "gptpy_requests_refused",
            "Requests refused because too many were waiting.",
            registry=self.registry,
        )

    def refused(self) -> None:
        """A request came while the queue was full."""
        self._refused.inc()

    def finished(self, handle: Handle, output: Output, at: float) -> None:
        """One text of a request has ended `at` this time of the monotonic clock."""
        self._ended.labels(output.finish_reason or "error").inc()
        begun = handle.first_token_at
        if begun is None:
            return
        if output.index == 0:
            self._first.observe(begun - handle.submitted_at)
        if len(output.ids) > 1:
            self._each.observe(max(0.0, at - begun) / (len(output.ids) - 1))

    def text(self) -> bytes:
        """All of it in Prometheus' format."""
        return generate_latest(self.registry)
