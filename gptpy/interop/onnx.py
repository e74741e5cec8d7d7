"""Export to ONNX."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from gptpy.interop.errors import ExportError, file_target, writing
from gptpy.model import LanguageModel
from gptpy.storage import atomic

LARGEST_FILE = 1 << 31  # protobuf's limit


class _LogitsOnly(nn.Module):
    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        logits, _loss = self.model(ids)
        return logits


def export_onnx(model: LanguageModel, path: str | Path) -> Path:
    """Write `ids: (batch, sequence) int64 -> logits: (batch, sequence, vocab)` to one file.

    `batch` is free, `sequence` at most `block_size`. Needs the extra `onnx`. Raises `ExportError`
    for an encoder-decoder, whose source would be a second input, and for 2 GB of weights and more.
    """
    path = file_target(path)
    try:
        import onnx  # noqa: F401  # pyright: ignore[reportMissingImports]
        import onnxscript  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ExportError("ONNX needs onnx and onnxscript: pip install 'gptpy-lm[onnx]'") from None
    c = model.config
    size = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    if size >= LARGEST_FILE:
        raise ExportError(f"an ONNX file holds less than 2 GB, this model's weights are {size:,}")
    if c.architecture == "encoder-decoder":
        raise ExportError(
            "ONNX export has one input, ids; an encoder-decoder needs its source, too"
        )
    training, backend = model.training, model.attention_backend
    model.eval()
    model.attention_backend = "sdpa" if c.attention_softcap is None else "reference"
    length = min(c.block_size, 8)
    ids = torch.zeros(2, length, dtype=torch.int64, device=model.device)
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", max=c.block_size)}
    try:
        program = torch.onnx.export(
            _LogitsOnly(model).eval(),
            (ids,),
            input_names=["ids"],
            output_names=["logits"],
            dynamic_shapes={"ids": sizes},
            dynamo=True,
            verbose=False,
        )
    finally:
        model.train(training)
        model.attention_backend = backend
    assert program is not None
    with writing(path), atomic.named(path) as temporary:
        program.save(str(temporary), external_data=False)
    return path
