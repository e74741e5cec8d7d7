"""How `gptpy generate` prints: texts as they grow, or a line of JSON for each."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from gptpy.cli.prompts import Given

if TYPE_CHECKING:
    from gptpy.inference.conversation import Prompts
    from gptpy.inference.request import Handle, Output


class Texts:
    """Prompt and text, with a line of --- between two."""

    def __init__(self, prompts: Prompts, arguments: argparse.Namespace) -> None:
        self.prompts, self.arguments = prompts, arguments
        self.written = -1
        """Characters of the present text that are printed; below 0 before its prompt is."""
        self.first = True

    def show(self, given: Given, output: Output) -> None:
        """Prints what is new of a text."""
        if self.written < 0:
            if not self.first:
                sys.stdout.write("\n---\n")
            self.first = False
            sys.stdout.write(self._prompt(given))
            self.written = 0
        sys.stdout.write(output.text[self.written :])
        self.written = len(output.text)
        sys.stdout.flush()

    def _prompt(self, given: Given) -> str:
        from gptpy.inference.text import shown_prompt

        if given.kind != "text" or self.arguments.chat:
            return ""
        return shown_prompt(
            self.prompts.tokenizer, given.value, self.prompts.data, raw=self.arguments.raw
        )

    def end(self, given: Given, handle: Handle, output: Output) -> None:
        """Prints the rest of a text, or why there is none."""
        if output.error is None:
            self.show(given, output)
        if self.written >= 0:
            print(flush=True)
        if output.error is not None:
            where = f"{given.where}: " if given.where else ""
            print(f"gptpy: error: {where}{output.error}", file=sys.stderr)
        self.written = -1


class JsonLines:
    """One object a text."""

    def show(self, given: Given, output: Output) -> None:
        """A text that has not ended has no object."""

    def end(self, given: Given, handle: Handle, output: Output) -> None:
        """Prints the text's object."""
        print(json.dumps(_as_json(given, handle, output)), flush=True)


def _as_json(given: Given, handle: Handle, output: Output) -> dict[str, Any]:
    first, seconds = handle.first_token_at, (handle.finished_at or 0) - handle.submitted_at
    tokens = sum(len(other.ids) for other in handle.outputs)
    request = handle.request
    row: dict[str, Any] = {
        ("messages" if given.kind == "messages" else "prompt"): given.value,
        "prompt_ids": list(request.prompt),
        "index": output.index,
        "text": output.text,
        "ids": output.ids,
        "finish_reason": output.finish_reason,
        "stopped_by": output.stopped_by,
        "seconds_to_first_token": None if first is None else round(first - handle.submitted_at, 6),
        "tokens_per_second": round(tokens / seconds, 3) if seconds > 0 else None,
    }
    if request.beams == 1:
        row["seed"] = handle.seed + output.index
    if request.source is not None:
        row["source_ids"] = list(request.source)
    if request.logprobs is not None:
        row["logprobs"] = [one.logprob for one in output.logprobs]
    if request.logprobs:
        row["alternatives"] = [one.alternatives for one in output.logprobs]
    for name in ("score", "error"):
        if getattr(output, name) is not None:
            row[name] = getattr(output, name)
    if handle.drafted:
        row["guessed"], row["guessed_right"] = handle.drafted, handle.accepted
    return row
