"""`gptpy export`: a run as a model of another program."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gptpy.cli.options import add_step, add_verb
from gptpy.config.errors import ConfigError

EXAMPLE = """\
  gptpy export runs/quickstart --format hf -o exported/        for transformers, vLLM, trl
  gptpy export runs/adapted --format peft -o adapter/          LoRA alone, for peft
  gptpy export runs/quickstart --format gguf -o model.gguf     for llama.cpp, Ollama
  gptpy export runs/quickstart --format onnx -o model.onnx"""


def add(verbs: Any) -> None:
    """Add the verb and its options."""
    parser = add_verb(verbs, "export", run, "write a model in another program's format", EXAMPLE)
    parser.add_argument("run_dir", metavar="RUN", help="a run directory or a checkpoint folder")
    parser.add_argument(
        "--format",
        choices=("hf", "peft", "gguf", "onnx"),
        default="hf",
        help="Hugging Face, its adapters, llama.cpp or ONNX (default: hf)",
    )
    parser.add_argument(
        "-o", "--out", required=True, metavar="PATH", help="a folder (hf, peft) or file"
    )
    add_step(parser)
    parser.add_argument(
        "--dtype",
        choices=("f32", "bf16", "f16"),
        help="number type of the weights, in GGUF of the matrices (default: f32; hf: an imported "
        "model keeps its own)",
    )
    parser.add_argument(
        "--no-tokenizer", action="store_true", help="leave the tokenizer out (hf, gguf)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the file or folder and say where it is."""
    if arguments.dtype not in (None, "f32") and arguments.format == "onnx":
        raise ConfigError(f"--dtype {arguments.dtype}: an ONNX file keeps f32")
    if arguments.no_tokenizer and arguments.format == "onnx":
        raise ConfigError("--no-tokenizer: an ONNX file holds no tokenizer anyway")
    from gptpy.interop import export_onnx, export_peft
    from gptpy.runs.opening import load

    out = Path(arguments.out)
    if arguments.format == "peft":
        loaded = load(arguments.run_dir, step=arguments.step, device="cpu", merge=False)
        export_peft(loaded.model, loaded.config.lora, out, dtype=arguments.dtype)
        print(f"wrote {out}: adapters of {loaded.folder}, for an export of its base run")
        return 0
    loaded = load(arguments.run_dir, step=arguments.step, device="cpu")
    if arguments.format == "onnx":
        export_onnx(loaded.model, out)
    else:
        _export(loaded, out, arguments)
    print(f"wrote {out}: step {loaded.step} of {loaded.folder} ({loaded.reason})")
    return 0


def _export(loaded: Any, out: Path, arguments: argparse.Namespace) -> None:
    """Write a model with its tokenizer: a folder for `transformers`, or a GGUF file."""
    from gptpy.data.chat import jinja_template
    from gptpy.interop import export_gguf, export_huggingface
    from gptpy.tokenizer import END_OF_TEXT, FILE_NAME, NumberTokenizer, published
    from gptpy.tokenizer.simple import is_word_level_file

    end, data = loaded.end_of_text, loaded.config.data
    origin = loaded.folder / published.FOLDER
    file = None if arguments.no_tokenizer else loaded.folder / FILE_NAME
    numbers = isinstance(loaded.tokenizer, NumberTokenizer)
    if file is not None and (numbers or is_word_level_file(file)):
        raise ConfigError(
            f"{file}: a {loaded.tokenizer.name} tokenizer has no form that other programs read: "
            "give --no-tokenizer, or train with a byte-level one"
        )
    pair = None
    if end is not None:
        known = end < loaded.tokenizer.n_vocab
        pair = (loaded.tokenizer.decode([end]) if known else END_OF_TEXT, end)
    chat = None
    if data.form == "chat" and pair is not None:
        chat = jinja_template(data.template, pair[0])
    if arguments.format == "gguf":
        export_gguf(
            loaded.model,
            out,
            tokenizer_file=file,
            end_of_text=loaded.ends,
            beginning=_begins_with(loaded),
            chat_template=chat or published.chat_template(origin),
            dtype=arguments.dtype or "f32",
        )
        return
    export_huggingface(
        loaded.model,
        out,
        tokenizer_file=file,
        end_of_text=pair,
        chat_template=chat,
        dtype=arguments.dtype,
        published=origin if origin.is_dir() else None,
    )


def _begins_with(loaded: Any) -> int | None:
    """The id that the run puts before every text, or None."""
    if loaded.config.data.form == "lines":
        return loaded.end_of_text
    return loaded.beginning[0] if loaded.beginning else None
