"""Does an installed package work at all? `python -I smoke.py bpe_rs | gptpy`, needs nothing else.

Asserts, so that `python -O` would test nothing: it refuses to run so.
"""

from __future__ import annotations

import pickle
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path


def check_ours(package: str, distribution: str) -> None:
    """Assert that the files of a package were installed by our distribution and by no other."""
    owners = {
        found.metadata["Name"]
        for found in distributions()
        if any(file.parts[0] == package for file in found.files or ())
    }
    assert owners == {distribution}, f"{package} belongs to {owners}, expected {distribution}"


def bpe_rs() -> str:
    """Every published encoding, training, files, the two drop-in surfaces."""
    import bpe_rs
    import bpe_rs.hf
    import bpe_rs.tiktoken

    check_ours("bpe_rs", "gptpy-bpe")
    text = "Hello, wörld! 你好 👍🏽  \n\n def f(x): return x + 1  # 12345"
    for name in bpe_rs.list_encoding_names():
        encoding = bpe_rs.get_encoding(name)
        assert encoding.decode(encoding.encode(text)) == text, name
        assert encoding.encode_to_numpy(text).tolist() == encoding.encode(text)
    assert bpe_rs.get_encoding("gpt2").encode("hello world") == [31373, 995]
    assert bpe_rs.tiktoken.get_encoding("cl100k_base").encode("hello world") == [15339, 1917]
    assert bpe_rs.tiktoken.encoding_for_model("gpt-4o").name == "o200k_base"

    trained = bpe_rs.train([text * 20], vocab_size=300)
    assert trained.decode(trained.encode(text)) == text
    assert pickle.loads(pickle.dumps(trained)).encode(text) == trained.encode(text)  # noqa: S301
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tokenizer.json")
        trained.save(path)
        assert bpe_rs.Encoding.from_file(path).encode(text) == trained.encode(text)
    words = bpe_rs.WordTokenizer.train("low low lower lowest", num_merges=4)
    assert words.decode(words.encode("low lower")) == "low lower"
    assert bpe_rs.CharTokenizer.train("abc").encode("cab") == [2, 0, 1]
    for module in ("torch", "tiktoken", "tokenizers", "transformers", "gptpy"):
        assert module not in sys.modules, f"bpe_rs imports {module}"
    return "bpe_rs ok"


def gptpy() -> str:
    """A model runs forward, backward and generates."""
    import torch

    from gptpy import GPT, GPTConfig

    check_ours("gptpy", "gptpy-lm")
    check_ours("gptpy_kernels", "gptpy-lm")
    check_ours("bpe_rs", "gptpy-bpe")
    config = GPTConfig(block_size=16, vocab_size=64, n_layer=1, n_head=2, n_embd=16)
    model = GPT(config)
    ids = torch.arange(8).reshape(1, 8)
    _, loss = model(ids, ids)
    loss.backward()
    assert model.generate(ids, 3).shape == (1, 11)
    return "gptpy ok"


if __name__ == "__main__":
    if not __debug__:
        sys.exit("error: run without -O, which removes the checks")
    print({"bpe_rs": bpe_rs, "gptpy": gptpy}[sys.argv[1]]())
