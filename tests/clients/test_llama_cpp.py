"""llama.cpp on our GGUF files: equal ids of 50 texts, equal greedy text of 50 prompts."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.clients, pytest.mark.slow]

NEW = 12


@contextmanager
def llama_cpp(path: Path) -> Iterator[Callable[[str, dict[str, Any]], Any]]:
    """A function that posts to llama.cpp's own server, which has loaded the file `path`."""
    xllamacpp = pytest.importorskip("xllamacpp")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = xllamacpp.CommonParams()
    settings.model.path, settings.n_ctx, settings.port, settings.warmup = (
        str(path),
        512,
        port,
        False,
    )
    settings.cpuparams.n_threads = 1
    # As exact as it can be: no half precision in the cache
    settings.cache_type_k = settings.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    settings.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(settings)

    def post(where: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            f"{server.listening_address}/{where}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    yield post


def run_with(
    folder: Path, preset: str, pattern: str, text: str, form: str = "stream", **settings: Any
) -> Path:
    """A run directory of a random model and a tokenizer with `pattern`."""
    import bpe_rs
    import torch

    from gptpy.config import GPTConfig
    from gptpy.config.data import DataConfig
    from gptpy.config.run import RunConfig
    from gptpy.model import build_model
    from gptpy.runs import checkpoint
    from gptpy.tokenizer import save_tokenizer

    folder.mkdir()
    tokenizer: Any = bpe_rs.train(
        [text], vocab_size=512, pattern=pattern, special_tokens=["<|endoftext|>"]
    )
    shape = {"n_layer": 2, "n_head": 4, "n_embd": 64, "vocab_size": 512, "block_size": 256}
    torch.manual_seed(0)
    model = build_model(GPTConfig.preset(preset, **shape, **settings))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.05, 0.3)
    data = DataConfig(form=form)  # type: ignore[arg-type]
    (folder / "config.toml").write_text(RunConfig(model=model.config, data=data).to_toml())
    save_tokenizer(tokenizer, folder)
    checkpoint.save(folder, 0, tensors={"model": model.state_dict()}, state={})
    return folder


def check_equal(run: Path, out: Path, texts: list[str]) -> None:
    """llama.cpp and `gptpy` give the same ids of texts and continue them alike."""
    import gptpy
    from gptpy.cli import main
    from gptpy.inference.text import prepare_prompt

    assert main(["export", str(run), "--format", "gguf", "-o", str(out)]) == 0
    loaded = gptpy.load(run, device="cpu", dtype="float32")
    different = []
    with llama_cpp(out) as post:
        for text in texts:
            ids, _ = prepare_prompt(
                loaded.model, loaded.tokenizer, text, loaded.config.data, loaded.end_of_text,
                loaded.beginning,
            )  # fmt: skip
            asked = {"content": text, "add_special": True, "parse_special": False}
            assert post("tokenize", asked)["tokens"] == ids, text
            import torch

            ours = loaded.model.generate(
                torch.tensor([ids]), NEW, temperature=0, eos_id=loaded.ends
            )
            ours = ours[0, len(ids) :].tolist()
            sampling = {"temperature": 0, "samplers": ["temperature"], "return_tokens": True}
            theirs = post("completion", {"prompt": ids, "n_predict": NEW, **sampling})["tokens"]
            if [i for i in theirs if i not in loaded.ends] != [
                i for i in ours if i not in loaded.ends
            ]:
                different.append((text, ours, theirs))
    assert not different, f"{len(different)} of {len(texts)}: {different[:2]}"


def hard_texts(shakespeare: str, multilingual: str) -> list[str]:
    """Fifty texts: English, other scripts, numbers, white space, contractions."""
    made = [
        "x  y\n\n  z", "12345 and 6", "it's WE'LL don'T", "\t\tif x:\n    return", "   ", "a\r\nb",
        "émigré ÀÉÎ", "日本語のテキスト", "👍🏽 ok", "...!?", "<|endoftext|> inside",
    ]  # fmt: skip
    plain = [shakespeare[i : i + 40] for i in range(0, 24 * 301, 301)]
    other = [multilingual[i : i + 30] for i in range(0, 15 * 7001, 7001)]
    return [*made, *plain, *other]


@pytest.mark.parametrize("pattern", ["gpt2", "llama3", "qwen2"])
@pytest.mark.parametrize("preset", ["modern-1m", "gpt2"])
def test_ids_and_greedy_text_are_equal(
    shakespeare: str, multilingual: str, tmp_path: Path, preset: str, pattern: str
) -> None:
    texts = hard_texts(shakespeare, multilingual)
    assert len(texts) == 50
    run = run_with(tmp_path / "run", preset, pattern, shakespeare[:50_000])
    check_equal(run, tmp_path / "m.gguf", texts)


def test_llama_and_a_beginning(shakespeare: str, multilingual: str, tmp_path: Path) -> None:
    """Without query and key norms the architecture is Llama's; lines begin with end-of-text."""
    texts = hard_texts(shakespeare, multilingual)
    run = run_with(
        tmp_path / "run", "modern-1m", "llama3", shakespeare[:50_000], "lines",
        qk_norm=False, n_kv_head=2,
    )  # fmt: skip
    check_equal(run, tmp_path / "m.gguf", texts)
