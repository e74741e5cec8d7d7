"""The models that `generate.py` measures, in every peer's format, and the check of their ids."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# A token is right if the exact model finds it this near to its best one, in standard deviations of
# the logits: types with fewer bits choose the other of two that are nearly alike.
TOLERANCES = {"fp32": 1e-3, "f32": 1e-2, "uncached": 1e-3, "onnxruntime": 1e-3}
TOLERANCES |= {"bf16": 0.3, "f16": 0.1, "int8": 0.5, "q8_0": 0.3}


class Model:
    """A network with random weights in `folder`, and what is made of it when a peer asks."""

    def __init__(self, folder: Path, preset: str, changes: dict[str, int] | None = None) -> None:
        self.folder, self.preset, self.changes = folder, preset, changes or {}
        folder.mkdir(parents=True, exist_ok=True)

    @cached_property
    def network(self) -> Any:
        import torch

        from gptpy.config import GPTConfig
        from gptpy.model import build_model

        torch.manual_seed(0)
        network: Any = build_model(GPTConfig.preset(self.preset, **self.changes)).eval()
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                # Weights as trained ones: vectors that do something, logits that are not all alike.
                if parameter.dim() < 2:
                    parameter.add_(torch.randn_like(parameter) * 0.05)
                elif "position" in name:
                    parameter.normal_(0, 0.1)
                else:
                    parameter.normal_(0, 1.5 / parameter.shape[-1] ** 0.5)
            if network.head is not None:  # no text ends by itself
                network.head.weight[-1].zero_()
        return network

    def prepare(self, name: str) -> None:
        """Writes what the contender `name` reads."""
        makers: dict[str, tuple[str, Callable[[Path], Any]]] = {
            "HF": ("hf", self._hugging_face),
            "ctranslate2": ("ct2", self._ctranslate2),
            "onnxruntime": ("model.onnx", self._onnx),
        }
        for kind in ("f32", "f16", "q8_0"):
            makers[f"llama.cpp {kind}"] = f"{kind}.gguf", functools.partial(self._gguf, kind)
        file, make = makers.get(name.split(",")[0], makers.get(name.split()[0], ("run", self._run)))
        if not (self.folder / file).exists():
            make(self.folder / file)

    def run(self) -> Path:
        """A run directory."""
        self.prepare("ours")
        return self.folder / "run"

    @property
    def tokenizer(self) -> Any:
        import bpe_rs

        if self.network.config.vocab_size == 50257:
            return bpe_rs.get_encoding("gpt2")
        text = " ".join(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("*.md")))
        size = self.network.config.vocab_size
        return bpe_rs.train([text], vocab_size=size, special_tokens=["<|endoftext|>"])

    def _run(self, folder: Path) -> None:
        from gptpy.config.run import RunConfig
        from gptpy.runs import checkpoint
        from gptpy.tokenizer import save_tokenizer

        folder.mkdir()
        checkpoint.save(folder, 1, tensors={"model": self.network.state_dict()}, state={})
        save_tokenizer(self.tokenizer, folder)
        (folder / "config.toml").write_text(RunConfig(model=self.network.config).to_toml())

    def _hugging_face(self, folder: Path) -> None:
        from gptpy.interop.huggingface import export_huggingface

        tokens = self.run() / "tokenizer.json"
        end = ("<|endoftext|>", self.network.config.vocab_size - 1)
        export_huggingface(self.network, folder, tokenizer_file=tokens, end_of_text=end)

    def _gguf(self, kind: str, path: Path) -> None:
        import torch

        from gptpy.interop import gguf

        if kind == "q8_0":  # the package gguf rounds to it as llama.cpp does
            gguf.TYPES.setdefault(kind, torch.float32)
        tokens = self.run() / "tokenizer.json"
        end = self.network.config.vocab_size - 1
        gguf.export_gguf(self.network, path, tokenizer_file=tokens, end_of_text=end, dtype=kind)

    def _ctranslate2(self, folder: Path) -> None:
        python = peers_python("ctranslate2")
        self.prepare("HF")
        convert = (
            "import sys, ctranslate2.converters as c; "
            "c.TransformersConverter(sys.argv[1]).convert(sys.argv[2])"
        )
        source = str(self.folder / "hf")
        command = [python or sys.executable, "-c", convert, source, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            problem = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise LookupError(f"ctranslate2's converter: {problem}")
        settings = json.loads((folder / "config.json").read_text())
        if settings.get("unk_token", "") is None:  # its reader takes a text only
            settings["unk_token"] = "<|endoftext|>"
        (folder / "config.json").write_text(json.dumps(settings))

    def _onnx(self, path: Path) -> None:
        from gptpy.interop.onnx import export_onnx

        export_onnx(self.network, path)


@functools.cache
def peers_python(module: str) -> str | None:
    """An interpreter that has `module`: this one, that of `GPTPY_PEERS`, or of `.venv-clients`."""
    places = [os.environ.get("GPTPY_PEERS", ""), str(ROOT / ".venv-clients" / "bin" / "python")]
    for python in (sys.executable, *filter(None, places)):
        test = f"import importlib.util as u, sys; sys.exit(u.find_spec({module!r}) is None)"
        if Path(python).exists() and not subprocess.run([python, "-c", test]).returncode:
            return python
    return None


def check_tokens(model: Model, prompts: list[list[int]], ids: list[list[int]], name: str) -> str:
    """Whether every new token is the exact model's choice, up to what the number type rounds.

    Returns how many are its very choice; ends the program for a token that is not near it.
    """
    import torch

    tolerance = next(limit for word, limit in TOLERANCES.items() if word in name)
    right = total = 0
    with torch.inference_mode():
        for prompt, new in zip(prompts, ids, strict=True):
            logits = model.network(torch.tensor([[*prompt, *new[:-1]]]))[0][0, len(prompt) - 1 :]
            chosen = logits.gather(1, torch.tensor(new)[:, None])[:, 0]
            behind = (logits.amax(1) - chosen) / logits.std(1)
            right += int((behind == 0).sum())
            total += len(new)
            if float(behind.max()) > tolerance:
                at, worst = int(behind.argmax()), float(behind.max())
                raise SystemExit(
                    f"error: {name}: token {at} of {len(new)} is {worst:.3f} standard "
                    f"deviations behind the exact model's choice; at most {tolerance} is rounding"
                )
    return f"{right} of {total}"
