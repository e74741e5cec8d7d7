"""`gptpy info`: what is installed, or what a folder holds."""

from __future__ import annotations

import argparse
import platform
from pathlib import Path
from typing import Any

from gptpy.cli.options import add_verb
from gptpy.config.errors import ConfigError

EXAMPLE = """\
  gptpy info                    versions, devices, extras
  gptpy info runs/quickstart    what a run, a checkpoint or a data folder holds"""

EXTRAS = {
    "plot": "matplotlib",
    "hf": "transformers",
    "parquet": "pyarrow",
    "tracking": "tensorboard",
    "gguf": "gguf",
    "onnx": "onnx",
    "constrained": "llguidance",
    "serve": "fastapi",
    "eval": "lm_eval",
    "ray": "ray",
}


def add(verbs: Any) -> None:
    """Add the verb and its options."""
    parser = add_verb(verbs, "info", run, "what is installed, or what a folder holds", EXAMPLE)
    parser.add_argument("path", nargs="?", metavar="PATH", help="a run, checkpoint or data folder")


def run(arguments: argparse.Namespace) -> int:
    """Show facts about the installation or a folder."""
    from gptpy.cli.show import table

    if arguments.path is None:
        table("gptpy", _installation())
        return 0
    path = Path(arguments.path)
    if (path / "manifest.json").is_file():
        table(str(path), _data(path))
    elif (path / "config.toml").is_file() or (path / "state.json").is_file():
        table(str(path), _run(path))
    else:
        raise ConfigError(f"{path}: neither a run, a checkpoint nor a prepared data set")
    return 0


def _installation() -> list[tuple[str, str]]:
    from importlib.util import find_spec

    import torch

    from gptpy.devices.selection import choose_compile, choose_device, choose_dtype

    device = choose_device()
    dtype, reason = choose_dtype(device)
    compiled, compile_reason = choose_compile(device)
    extras = [f"{name} {'yes' if find_spec(module) else 'no'}" for name, module in EXTRAS.items()]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return [
        ("gptpy-lm", _version("gptpy-lm")),
        ("gptpy-bpe", _version("gptpy-bpe")),
        ("torch", torch.__version__),
        ("Python", platform.python_version()),
        ("device", f"{device.type} ({name}), {torch.get_num_threads()} threads"),
        ("number type", f"{str(dtype)[6:]}: {reason}"),
        ("torch.compile", f"{'on' if compiled else 'off'}: {compile_reason}"),
        ("extras", ", ".join(extras)),
    ]


def _version(distribution: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return f"of a source tree ({distribution} is not installed)"


def _data(path: Path) -> list[tuple[str, str]]:
    from gptpy.data.prepared import open_prepared
    from gptpy.runs.progress import counted

    data = open_prepared(path)
    rows = [("vocabulary", f"{data.vocab_size} tokens"), ("tokenizer", data.fingerprint)]
    for name, split in (("training", data.train), ("validation", data.validation)):
        rows.append(
            (
                name,
                f"{counted(split.n_ids, 'id')}, {counted(split.bytes, 'byte')}, "
                f"{counted(split.documents, 'document')}, {counted(len(split.shards), 'shard')}",
            )
        )
    return rows


def _run(path: Path) -> list[tuple[str, str]]:
    from gptpy.model.size import count_parameters
    from gptpy.runs import checkpoint
    from gptpy.runs.opening import choose
    from gptpy.runs.progress import counted

    config = checkpoint.read_config(path)
    c = config.model
    rows = [
        (
            "model",
            f"{c.architecture}, {counted(c.n_layer, 'layer')}, {counted(c.n_head, 'head')}, "
            f"{c.n_embd} wide",
        ),
        ("parameters", f"{count_parameters(config.model):,}"),
        ("context", f"{c.block_size} tokens"),
        ("vocabulary", f"{c.vocab_size} tokens"),
    ]
    if (path / "state.json").is_file():
        state = checkpoint.read_state(path)
        rows.append(("step", f"{state['step']:,} ({state.get('tokens', 0):,} tokens)"))
    else:
        rows.append(("checkpoints", ", ".join(map(str, checkpoint.steps(path))) or "none"))
        if checkpoint.steps(path):
            chosen = choose(path)
            rows.append(("used", f"step {chosen.step}, {chosen.reason}"))
    return rows
