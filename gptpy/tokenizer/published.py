"""What the folder of a published model says of its texts: the ids that begin and that end one.

A run that was imported keeps the small files of that folder, so that generation follows them and an
export gives them back as they were.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gptpy.config.errors import ConfigError

FOLDER = "huggingface"
"""Where a run directory keeps them."""
MODEL_FILES = ("config.json", "generation_config.json")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
)
SPECIAL_NAMES = tuple(
    f"{name}_token" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
)


def keep_files(source: Path, run_dir: Path) -> None:
    """Copy the files that say how the model is used, all but its weights, into a run directory."""
    (run_dir / FOLDER).mkdir(parents=True, exist_ok=True)
    for name in (*MODEL_FILES, *TOKENIZER_FILES):
        if (source / name).is_file():
            shutil.copyfile(source / name, run_dir / FOLDER / name)


def end_ids(folder: Path) -> tuple[int, ...]:
    """The ids that end generation, as `transformers` reads them; empty if the folder names none."""
    for name in reversed(MODEL_FILES):
        found = read_object(folder / name).get("eos_token_id")
        if found is not None:
            return tuple(found) if isinstance(found, list) else (found,)
    return ()


def begin_ids(folder: Path) -> tuple[int, ...]:
    """The ids that the tokenizer's own template puts before every text."""
    about = read_object(folder / "tokenizer.json")
    if about:
        return tuple(_template_ids(about.get("post_processor")))
    config = read_object(folder / "tokenizer_config.json")
    bos = special_text(config, "bos_token")
    ids = read_object(folder / "vocab.json")
    return (ids[bos],) if config.get("add_bos_token") and bos in ids else ()


def _template_ids(processor: Any) -> Iterator[int]:
    """The ids before the text in a post-processor of `tokenizer.json`."""
    kind = processor.get("type") if isinstance(processor, dict) else None
    if kind == "Sequence":
        for part in processor["processors"]:
            yield from _template_ids(part)
    elif kind in ("BertProcessing", "RobertaProcessing"):
        yield processor["cls"][1]
    elif kind == "TemplateProcessing":
        for part in processor["single"]:
            if "SpecialToken" not in part:
                return
            yield from processor["special_tokens"][part["SpecialToken"]["id"]]["ids"]


def special_text(tokenizer_config: dict[str, Any], name: str) -> str | None:
    """The text of a special token, which may be written as an object with settings."""
    found = tokenizer_config.get(name)
    return found.get("content") if isinstance(found, dict) else found


def special_texts(folder: Path) -> dict[str, str]:
    """The texts of the special tokens by their names (`bos_token`, ...), where they have any."""
    config = read_object(folder / "special_tokens_map.json")
    config |= read_object(folder / "tokenizer_config.json")
    named = {name: special_text(config, name) for name in SPECIAL_NAMES}
    return {name: text for name, text in named.items() if isinstance(text, str)}


def chat_template(folder: Path) -> str | None:
    """The chat template (Jinja) of a folder, or None."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    for name in ("chat_template.json", "tokenizer_config.json"):
        found = read_object(folder / name).get("chat_template")
        if isinstance(found, list):  # several by name
            named = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
            found = named.get("default")
        if isinstance(found, str):
            return found
    return None


def read_object(path: Path) -> dict[str, Any]:
    """A file of JSON that holds an object; empty without the file. Raises `ConfigError`."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected an object, got {type(value).__name__}")
    return value
