"""Where the ids come from, and what a training row is."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from gptpy.config.checks import positive


@dataclass
class TemplateConfig:
    """How each side of a conversation is written: text around the one `{content}`.

    What the assistant says, and the end-of-text after it, is what a fine-tuned model is to learn.
    """

    system: str = "{content}\n\n"
    user: str = "User:\n{content}\n\n"
    assistant: str = "Assistant:\n{content}"

    def __post_init__(self) -> None:
        for name in ("system", "user", "assistant"):
            if getattr(self, name).count("{content}") != 1:
                raise ValueError(f"{name} must hold {{content}} once, got {getattr(self, name)!r}")


@dataclass
class DataConfig:
    """A prepared folder (`train`), or `sources` that the run prepares for itself.

    `train` is a folder that `gptpy prepare` wrote. `sources` are what `gptpy prepare` takes, and
    `shakespeare`; `tokenizer` is a file, folder or published name, or one to be trained on them:
    `characters`, `words:MERGES` or `bytes:SIZE`. `validation` is the share of documents that
    validate, unless `validation_sources` do. `append_end_of_text`: whether that token follows every
    document of a stream.

    `form` "stream" cuts windows of the model's `block_size` ids (plus one target) from all ids in
    a row; with `min_length` each batch is as long as a number drawn from `min_length..block_size`,
    and `document_mask` keeps attention inside a document. "lines" makes a row of each document,
    padded; longer ones are cut into windows that move by `stride` (default: `block_size`). "pairs"
    reads `source` and `target` of each line of JSON, for an encoder-decoder. "chat" reads
    instructions or messages from lines of JSON, written as `template` says; replies are scored. An
    encoder restores the `mask_share` of its tokens that were masked, in either of the first two.
    """

    train: str = ""
    sources: list[str] = dataclasses.field(default_factory=list)
    validation_sources: list[str] = dataclasses.field(default_factory=list)
    tokenizer: str = ""
    field: str = "text"
    separator: str | None = None
    validation: float = 0.1
    append_end_of_text: bool = True
    form: Literal["stream", "lines", "pairs", "chat"] = "stream"
    min_length: int | None = None
    stride: int | None = None
    document_mask: bool = False
    mask_share: float = 0.15
    template: TemplateConfig = dataclasses.field(default_factory=TemplateConfig)

    def __post_init__(self) -> None:
        positive(self, "min_length", "stride")
        if not 0 <= self.validation < 1:
            raise ValueError(f"validation must lie in 0..1 (1 excluded), got {self.validation}")
        if not 0 < self.mask_share <= 1:
            raise ValueError(f"mask_share must lie in 0..1 (0 excluded), got {self.mask_share}")
        if self.form != "stream":
            for name in ("min_length", "document_mask"):
                if getattr(self, name):
                    raise ValueError(f"{name} belongs to form = 'stream', got {self.form!r}")
        if self.stride is not None and self.form != "lines":
            raise ValueError(f"stride belongs to form = 'lines', got {self.form!r}")
