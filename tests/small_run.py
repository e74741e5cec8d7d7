"""A run directory with a small random model, made in milliseconds."""

from pathlib import Path
from typing import Any

import bpe_rs
import torch

from gptpy.config import GPTConfig
from gptpy.config.data import DataConfig
from gptpy.config.run import RunConfig
from gptpy.model import build_model
from gptpy.runs import checkpoint
from gptpy.tokenizer import save_tokenizer
from gptpy.tokenizer.opening import reserve

TEXT = "In the beginning was the word, and the words were counted: 1, 2, 3; it's all that we know. "
END = "<|endoftext|>"


def make_run(
    folder: Path,
    *,
    data: DataConfig | None = None,
    special: tuple[str, ...] = (END,),
    seed: int = 0,
    **shape: Any,
) -> Path:
    """Writes the run; its next tokens are neither certain nor uniform."""
    data = data or DataConfig()
    tokenizer: Any = bpe_rs.train([TEXT * 20], vocab_size=290, special_tokens=list(special))
    architecture = shape.get("architecture", "decoder")
    size = tokenizer.n_vocab
    if data.form != "stream":
        size = reserve(tokenizer, architecture, data.form).vocab_size
    torch.manual_seed(seed)
    shape = {"block_size": 64, "n_layer": 1, "n_head": 2, "n_embd": 16, **shape}
    model = build_model(GPTConfig(vocab_size=size, **shape))
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter) * 0.2
    folder.mkdir()
    save_tokenizer(tokenizer, folder)
    checkpoint.save(folder, 0, tensors={"model": model.state_dict()}, state={})
    settings = RunConfig(model=model.config, data=data)
    (folder / "config.toml").write_text(settings.to_toml(), encoding="utf-8")
    return folder
