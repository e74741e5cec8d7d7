"""`peft` puts our adapters onto an export of the base model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.clients]


@pytest.mark.parametrize(
    ("preset", "targets", "embeddings"),
    [("gpt2", ["qkv", "out"], True), ("modern-1m", ["qkv", "up", "down"], False)],
)
def test_adapters_alone_are_what_peft_reads(
    tmp_path: Path, preset: str, targets: list[Any], embeddings: bool
) -> None:
    peft = pytest.importorskip("peft")
    import torch
    from transformers import AutoModelForCausalLM

    from gptpy.config import GPTConfig
    from gptpy.config.lora import LoraConfig
    from gptpy.interop import export_huggingface, export_peft
    from gptpy.model import GPT
    from gptpy.model.lora import add_adapters

    shape: dict[str, Any] = {"n_layer": 2, "n_head": 4, "n_kv_head": 4, "n_embd": 32}
    shape |= {"vocab_size": 61, "block_size": 16, "init_residual": "normal"}
    model = GPT(GPTConfig.preset(preset, **shape)).eval()
    base = export_huggingface(model, tmp_path / "base")
    lora = LoraConfig(rank=2, targets=targets, embeddings=embeddings)
    add_adapters(model, lora)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2)
    folder = export_peft(model, lora, tmp_path / "adapter")
    theirs = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)
    ids = torch.randint(61, (2, 16))
    with torch.no_grad():
        expected = model(ids)[0]
        torch.testing.assert_close(theirs.eval()(ids).logits, expected, rtol=1e-4, atol=1e-4)
