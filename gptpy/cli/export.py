"""`gptpy export`: a run as a model of another program."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gptpy.cli.options import add_step, add_verb
from gptpy.config.errors import ConfigError

EXAMPLE = """\
  gptpy export runs/quickstart --format hf -o exported/        for transformers, vLLM, trl
  gptpy export runs/quickstart --format gguf -o model.gguf     for llama.cpp, Ollama
  gptpy export runs/quickstart --format onnx -o model.onnx"""


def add(verbs: Any) -> None:
    """Add the verb and its options."""
    parser = add_verb(verbs, "export", run, "write a model in another program's format", EXAMPLE)
    parser.add_argument("run_dir", metavar="RUN", help="a run directory or a checkpoint folder")
    parser.add_argument(
        "--format",
        choices=("hf", "gguf", "onnx"),
        default="hf",
        help="Hugging Face, llama.cpp or ONNX (default: hf)",
    )
    parser.add_argument("-o", "--out", required=True, metavar="PATH", help="a folder (hf) or file")
    add_step(parser)
    parser.add_argument(
        "--dtype",
        choices=("f32", "f16"),
        default="f32",
        help="number type of a GGUF file's matrices (default: f32)",
    )
    parser.add_argument(
        "--no-tokenizer", action="store_true", help="leave the tokenizer out (hf, gguf)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the file or folder and say where it is."""
    if arguments.dtype != "f32" and arguments.format != "gguf":
        raise ConfigError("--dtype f16 is for --format gguf; the other formats keep fp32")
    if arguments.no_tokenizer and arguments.format == "onnx":
        raise ConfigError("--no-tokenizer: an ONNX file holds no tokenizer anyway")
    from gptpy.data.chat import jinja_template
    from gptpy.interop import export_gguf, export_huggingface, export_onnx
    from gptpy.runs.opening import load
    from gptpy.tokenizer import FILE_NAME
    from gptpy.tokenizer.word_level import is_word_level_file

    out = Path(arguments.out)
    loaded = load(arguments.run_dir, step=arguments.step, device="cpu")
    end = loaded.end_of_text
    file = None if arguments.no_tokenizer else loaded.folder / FILE_NAME
    if file is not None and arguments.format != "onnx" and is_word_level_file(file):
        raise ConfigError(
            f"{file}: a {loaded.tokenizer.name} tokenizer has no form that other programs read: "
            "give --no-tokenizer, or train with a byte-level one"
        )
    if arguments.format == "hf":
        known = end is not None and end < loaded.tokenizer.n_vocab
        pair = (loaded.tokenizer.decode([end]), end) if end is not None and known else None
        data, chat = loaded.config.data, None
        if data.form == "chat" and pair is not None:
            chat = jinja_template(data.template, pair[0])
        export_huggingface(
            loaded.model, out, tokenizer_file=file, end_of_text=pair, chat_template=chat
        )
    elif arguments.format == "gguf":
        export_gguf(loaded.model, out, tokenizer_file=file, end_of_text=end, dtype=arguments.dtype)
    else:
        export_onnx(loaded.model, out)
    print(f"wrote {out}: step {loaded.step} of {loaded.folder} ({loaded.reason})")
    return 0
