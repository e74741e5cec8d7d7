"""`gptpy import`: a run directory from a folder of `transformers`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gptpy.cli.options import add_verb
from gptpy.config.errors import ConfigError

EXAMPLE = """\
  gptpy import downloads/gpt2 -o runs/gpt2
  gptpy generate runs/gpt2 -p "Once upon a time\""""


def add(verbs: Any) -> None:
    """Add the verb and its options."""
    parser = add_verb(
        verbs, "import", run, "make a run directory from a folder of transformers", EXAMPLE
    )
    parser.add_argument(
        "folder", metavar="FOLDER", help="config.json, safetensors, tokenizer (GPT-2, Llama, Qwen)"
    )
    parser.add_argument("-o", "--out", required=True, metavar="RUN", help="the new run directory")


def run(arguments: argparse.Namespace) -> int:
    """Convert weights and tokenizer, and say what they are."""
    out = Path(arguments.out)
    if (out / "config.toml").exists():
        raise ConfigError(f"{out}: is a run already; choose another directory")
    from gptpy.config.data import DataConfig
    from gptpy.config.run import RunConfig
    from gptpy.data.chat import template_of_jinja
    from gptpy.interop import import_huggingface
    from gptpy.interop.errors import writing
    from gptpy.runs import checkpoint
    from gptpy.storage import atomic
    from gptpy.tokenizer import open_tokenizer, published, save_tokenizer

    folder = Path(arguments.folder)
    model = import_huggingface(folder)
    tokenizer = open_tokenizer(folder)
    if tokenizer.n_vocab > model.config.vocab_size:
        raise ConfigError(
            f"{arguments.folder}: the tokenizer has {tokenizer.n_vocab} tokens, the model "
            f"{model.config.vocab_size}: they do not belong together"
        )
    chat = published.chat_template(folder)
    template = None if chat is None else template_of_jinja(chat)
    data = DataConfig() if template is None else DataConfig(form="chat", template=template)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        published.keep_files(folder, out)
        save_tokenizer(tokenizer, out)
    checkpoint.save(out, 0, tensors={"model": model.state_dict()}, state={})
    # Written last: a directory that holds this file counts as a run
    with writing(out / "config.toml"):
        atomic.write_text(out / "config.toml", RunConfig(model=model.config, data=data).to_toml())
    print(f"wrote {out}: {model.num_parameters():,} parameters, {tokenizer.n_vocab:,} tokens")
    if chat is not None and template is None:
        print(
            f"its chat template is kept: gptpy chat {out}; generate continues texts (--chat: turns)"
        )
    return 0
