"""ONNX, for any runtime that reads it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from gptpy.interop.errors import ExportError, file_target
from gptpy.model import LanguageModel
from gptpy.storage import atomic


class _LogitsOnly(nn.Module):
    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        logits, _loss = self.model(ids)
        return logits


def export_onnx(model: LanguageModel, path: str | Path) -> Path:
    """Writes `ids: (batch, sequence) int64 -> logits: (batch, sequence, vocab)` to one file.

    Both sizes are free, up to `block_size`. Needs the extra `onnx`.
    """
    path = file_target(path)
    try:
        import onnx  # noqa: F401  # pyright: ignore[reportMissingImports]
        import onnxscript  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ExportError("ONNX needs onnx and onnxscript: pip install 'gptpy[onnx]'") from None
    c = model.config
    if c.architecture == "encoder-decoder":
        raise ExportError("ONNX export takes ids alone; an encoder-decoder needs a source, too")
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
    with atomic.folder(path.with_name(f".{path.name}.writing")) as temporary:
        program.save(str(temporary / "model.onnx"))
        (temporary / "model.onnx").replace(path)
    path.with_name(f".{path.name}.writing").rmdir()
    return path
