"""A plugin of pytest: `bpe_rs.hf` in place of `tokenizers`, and what became of each test.

`tools/hf_suites.py` runs Hugging Face's own tests with it. The outcomes are appended as lines of
JSON to the file that `HF_SUITE_OUTCOMES` names. With `HF_SUITE_CONTROL=1` nothing is replaced: what
fails then, too, says nothing of this package. With `HF_SUITE_MODELS=1` classes that test tokenizers
written in Python are left out.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from bpe_rs import hf

# Tests that need these count alike whether they are installed or not. Those with `datasets` load a
# data set from the hub, too.
LEFT_OUT = ("datasets", "pytest_benchmark")
sys.modules.update(dict.fromkeys(LEFT_OUT))  # type: ignore[arg-type]
IS_CONTROL = os.environ.get("HF_SUITE_CONTROL") == "1"
IS_OF_MODELS = os.environ.get("HF_SUITE_MODELS") == "1"
REFUSED = (
    "bpe_rs reads only what it reproduces exactly",
    "this one read alike",
    "expected a BpeTrainer for a BPE model",
    # Rust code of `tokenizers` that takes its own class alone: `ParityBpeTrainer`.
    "'BpeRsTokenizer' object is not an instance of 'Tokenizer'",
)
# Errors of code that looks for a file of the hub, and what they say.
NETWORK = ("OfflineModeIsEnabled", "LocalEntryNotFoundError", "ConnectError", "ConnectionError")
NETWORK_WORDS = ("offline mode", "couldn't connect to", "HF_HUB_OFFLINE", "Can't load tokenizer")
# Tests that ask for what this package does differently on purpose, and why.
ON_PURPOSE = {
    "TestTokenizer::test_multiprocessing_with_parallelism": "asks for a deadlock after a fork",
}


def take_the_place_of_tokenizers() -> None:
    """Set the name `Tokenizer` in `tokenizers` and all that has imported it from there."""
    theirs = tokenizers.Tokenizer
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "tokenizers" and getattr(module, "Tokenizer", None) is theirs:
            setattr(module, "Tokenizer", hf.Tokenizer)  # noqa: B010
    setattr(tokenizers.decoders, "DecodeStream", hf.DecodeStream)  # noqa: B010


def lend_decorators() -> None:
    """Decorators that only check-outs of `transformers` have, of tests that need the hub."""
    import transformers.testing_utils as helpers

    for name in ("require_read_token",):
        if not hasattr(helpers, name):
            setattr(helpers, name, lambda test: test)


def expect_engine() -> None:
    """Make and load a tokenizer of `transformers`; an error unless its engine is the one tested."""
    import transformers

    with tempfile.TemporaryDirectory() as folder:
        merges: Any = [("a", "b")]
        made = transformers.GPT2Tokenizer(vocab={"a": 0, "b": 1, "ab": 2}, merges=merges)
        made.save_pretrained(folder)
        for each in (made, transformers.AutoTokenizer.from_pretrained(folder)):
            if (type(each._tokenizer) is hf.Tokenizer) == IS_CONTROL:
                raise AssertionError("expected our tokenizer unless this is the control run")


if not IS_CONTROL:
    take_the_place_of_tokenizers()
if IS_OF_MODELS:
    lend_decorators()
    expect_engine()


def has_engine(item: pytest.Item) -> bool:
    """Whether the class of a test, where it names a tokenizer's, names one with an engine."""
    import transformers

    named = getattr(getattr(item, "cls", None), "tokenizer_class", None)
    return named is None or issubclass(named, transformers.PreTrainedTokenizerFast)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if IS_OF_MODELS:
        for item in items:
            if not has_engine(item):
                write(item.nodeid, "left out", "tests a tokenizer written in Python")
        items[:] = [item for item in items if has_engine(item)]


def causes(error: BaseException | None) -> list[BaseException]:
    """An exception and those behind it."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def outcome_of(error: BaseException, test: str) -> tuple[str, str]:
    """The column of the table, and the reason."""
    for each in causes(error):
        for line in str(each).splitlines():
            if any(words in line for words in REFUSED):
                return "refused by name", line.split(";")[0].strip()
    for each in causes(error):
        if type(each).__name__ in NETWORK or any(word in str(each) for word in NETWORK_WORDS):
            return "needs the hub", type(each).__name__
    for name, reason in ON_PURPOSE.items():
        if test.endswith(name):
            return "differs on purpose", reason
    return "failed", f"{type(error).__name__}: {error}"[:300]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    report = yield
    info = call.excinfo
    if call.when == "teardown" and info is None:
        return report
    if info is not None and not info.errisinstance(pytest.skip.Exception):
        column, reason = outcome_of(info.value, item.nodeid)
    elif report.skipped:
        text = report.longrepr[-1] if isinstance(report.longrepr, tuple) else ""
        column, reason = "skipped by the test", str(text).removeprefix("Skipped: ")
    elif call.when == "call":
        column, reason = "passed", ""
    else:
        return report
    write(item.nodeid, column, reason)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Any:
    report = yield
    if report.failed:
        last = str(report.longrepr).strip().splitlines()[-1].removeprefix("E").strip()
        left_out = [
            name
            for name in LEFT_OUT
            if last.endswith(f"import of {name} halted; None in sys.modules")
        ]
        reason = f"needs {left_out[0]}, which is left out" if left_out else last
        write(collector.nodeid, "skipped by the test" if left_out else "failed", reason)
    return report


def write(test: str, outcome: str, reason: str) -> None:
    line = {"test": test, "outcome": outcome, "reason": reason}
    with Path(os.environ["HF_SUITE_OUTCOMES"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
