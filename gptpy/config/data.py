"""Where the ids come from, and what a training row is."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from gptpy.config.settings import (
    CHECKED,
    EscapedText,
    FractionBelowOne,
    PositiveInteger,
    Switch,
    Text,
    raises_config_error,
)


def _with_content_once(text: str) -> str:
    if text.count("{content}") != 1:
        raise ValueError(f"expected {{content}} once, got {text!r}")
    return text


_Template = Annotated[EscapedText, AfterValidator(_with_content_once)]


@raises_config_error
@dataclass(config=CHECKED)
class TemplateConfig:
    """How the turns of a conversation are written, with text around the one `{content}`.

    A fine-tuned model learns what the assistant says and the end-of-text after it.
    """

    system: _Template = "{content}\n\n"
    """What the system says."""
    user: _Template = "User:\n{content}\n\n"
    """What the user says."""
    assistant: _Template = "Assistant:\n{content}"
    """What the assistant replies."""


@raises_config_error
@dataclass(config=CHECKED)
class DataConfig:
    """A prepared folder (`train`), or `sources` that the run prepares for itself.

    The forms of a training row: "stream" cuts windows of `block_size` ids and one target from all
    ids joined; "lines" makes a padded row of each document; "pairs" reads `source` and `target` of
    each line of JSON, for an encoder-decoder; "chat" reads instructions or messages of each line of
    JSON, written as `template` says, and scores the replies. An encoder restores masked tokens, in
    either of the first two.
    """

    train: Text = ""
    """Folder that gptpy prepare wrote."""
    sources: list[Text] = dataclasses.field(default_factory=list)
    """What gptpy prepare takes, or shakespeare."""
    validation_sources: list[Text] = dataclasses.field(default_factory=list)
    """Sources that validate, instead of a share of `sources`."""
    tokenizer: Text = ""
    """File, folder, published name, characters, words:MERGES, bytes:SIZE."""
    field: Text = "text"
    """Key of the text in JSON lines and Parquet."""
    separator: EscapedText | None = None
    """What separates documents in text files (default: a file is one document)."""
    validation: FractionBelowOne = 0.1
    """Share of documents that validate."""
    append_end_of_text: Switch = True
    """Stream: end-of-text follows every document."""
    form: Literal["stream", "lines", "pairs", "chat"] = "stream"
    """What a training row is."""
    min_length: PositiveInteger | None = None
    """Stream: each batch draws its length from here to `block_size` (default: no draw)."""
    stride: PositiveInteger | None = None
    """Lines: tokens by which the windows of a long document move (default: `block_size`)."""
    document_mask: Switch = False
    """Stream: attention stays inside a document."""
    mask_share: Annotated[float, Field(strict=True, gt=0, le=1)] = 0.15
    """Share of an encoder's tokens that are masked and restored."""
    template: TemplateConfig = dataclasses.field(default_factory=TemplateConfig)

    def __post_init__(self) -> None:
        if self.form != "stream":
            for name in ("min_length", "document_mask"):
                if getattr(self, name):
                    raise ValueError(f"{name} belongs to form = 'stream', got {self.form!r}")
        if self.stride is not None and self.form != "lines":
            raise ValueError(f"stride belongs to form = 'lines', got {self.form!r}")
