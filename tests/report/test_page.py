"""The report: one page, whatever a run's files hold. In a browser: tests/clients/page/."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gptpy.config import ConfigError
from gptpy.model.maps import attention_maps
from gptpy.report import facts
from gptpy.report.bundle import bundled
from gptpy.report.explorer import attention_of, likelihoods
from gptpy.report.page import write_report
from gptpy.runs.metrics import read_metrics
from gptpy.runs.opening import load
from gptpy.runs.progress import Silent
from gptpy.train.run import run_training

TINY = {"n_layer": 2, "n_embd": 32, "n_head": 2, "n_kv_head": 2, "block_size": 32}
TEXT = "a cat sat on the mat and the dog ran after it. " * 60


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "my <run>"
    source = folder.parent / "text.txt"
    source.write_text(TEXT, encoding="utf-8")
    train = {"steps": 4, "batch_size": 4, "eval_every": 2, "sample_every": 2, "log_every": 1}
    mapping: dict[str, Any] = {
        "model": {"preset": "modern-1m", **TINY},
        "data": {"sources": [str(source)], "tokenizer": "bytes:270", "validation": 0.1},
        "train": {**train, "sample_tokens": 8, "dtype": "float32", "compile": "off"},
    }
    run_training(mapping, folder, Silent())
    return folder


def embedded(page: str) -> dict[str, Any]:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(text)


def test_the_page_holds_what_the_model_computes(run: Path) -> None:
    loaded = load(run, device="cpu", dtype="float32")
    page = write_report(run, loaded, texts=["the cat"]).read_text(encoding="utf-8")
    data = embedded(page)
    ids = loaded.tokenizer.encode_ordinary("the cat")
    maps = attention_maps(loaded.model, torch.tensor([ids]))["self"]
    packed = data["attention"][0]["kinds"][0]
    numbers = np.frombuffer(base64.b64decode(packed["weights"]), "<u2").reshape(packed["shape"])
    found = torch.tensor((numbers / 65535) ** 2, dtype=torch.float32)
    torch.testing.assert_close(found, torch.stack(maps), rtol=0, atol=2e-5)
    logits, _ = loaded.model(torch.tensor([ids]))
    expected = logits[0].log_softmax(-1)
    tokens = data["tokens"]
    assert [token["id"] for token in tokens] == ids and tokens[0]["logprob"] is None
    for row, token in zip(expected, tokens[1:], strict=False):
        assert token["logprob"] == pytest.approx(row[token["id"]].item(), abs=1e-3)
        best = row.topk(5).indices.tolist()
        assert [other["id"] for other in token["alternatives"]] == best
    assert data["curve"]["validation"][-1][0] == 4


def test_the_page_tells_of_the_run(run: Path) -> None:
    loaded = load(run, device="cpu", dtype="float32")
    page = write_report(run, loaded).read_text(encoding="utf-8")
    assert "<h1>my &lt;run&gt;</h1>" in page and "my <run>" not in page
    for text in ("bits per byte", "step 2", "step 4", "validation loss", "270 tokens", "seed"):
        assert text in page, text
    assert loaded.tokenizer.fingerprint in page and "gptpy train config.toml" in page
    assert "block_size = 32" in page


def test_nothing_ends_the_scripts_data(run: Path, tmp_path: Path) -> None:
    loaded = load(run, device="cpu", dtype="float32")
    text = "</script><script>alert(1)</script>\u2028&<!--"
    path = write_report(run, loaded, tmp_path / "x.html", texts=[text])
    page = path.read_text(encoding="utf-8")
    assert "<script>alert" not in page and page.count("</script>") == 2
    shown = [token["text"] for token in embedded(page)["tokens"]]
    assert "".join(shown).startswith("</script><script>")
    (allowed,) = re.findall(r"script-src 'sha256-([^']+)'", page)
    script = page.rpartition("<script>")[2].partition("</script>")[0]
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() == allowed


def test_a_folder_of_somebody_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/somebody"))
    assert facts._without_home('train = "/home/somebody/data"') == 'train = "~/data"'


def test_damaged_files_and_no_drawing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines that are no text are left out, a summary that is none tells nothing."""
    loaded = load(run, device="cpu", dtype="float32")
    (tmp_path / "metrics.jsonl").write_bytes(b'\xff\0{\n[1]\n{"kind": "step", "step": 1}\n')
    assert list(read_metrics(tmp_path / "metrics.jsonl")) == [{"kind": "step", "step": 1}]
    (tmp_path / "config.toml").write_text("[train]\n")
    (tmp_path / "samples.txt").write_bytes(b"\xff<b>")
    monkeypatch.setattr("gptpy.report.page.has_matplotlib", lambda: False)
    for damaged in ("{", "[1]", '{"<b>": "[/b]", "stopped": "<i>"}'):
        (tmp_path / "summary.json").write_text(damaged)
        page = write_report(tmp_path, loaded).read_text(encoding="utf-8")
        assert "<i>" not in page and "<b>" not in page and 'id="curves"' not in page
        assert "data:image" not in page
    assert "&lt;i&gt;" in page and "�&lt;b&gt;" in page


def test_a_text_without_a_token_is_refused(run: Path, tmp_path: Path) -> None:
    loaded = load(run, device="cpu", dtype="float32")
    with pytest.raises(ConfigError, match="is empty"):
        write_report(run, loaded, tmp_path / "x.html", texts=[""])
    assert list(tmp_path.iterdir()) == []


def test_of_many_layers_some_are_shown(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(run, device="cpu", dtype="float32")
    monkeypatch.setattr("gptpy.report.explorer.MOST_WEIGHTS", 1)
    (packed,) = attention_of(loaded, [1, 2, 3])
    assert packed["layers"] == [0] and packed["shape"] == [1, 2, 3, 3]
    assert likelihoods(loaded, [1]) == [
        {**packed["tokens"][0], "logprob": None, "alternatives": []}
    ]


def test_modules_become_one_script(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text('import { b } from "./b.js";\nexport const a = b + 1;\n')
    (tmp_path / "b.js").write_text("export const b = 1;\nexport function c() {}\n")
    entry = tmp_path / "entry.js"
    entry.write_text('import { a } from "./a.js";\nimport { b, c } from "./b.js";\nuse(a, b, c);\n')
    script = bundled(entry, tmp_path)
    assert script.count("const b = 1;") == 1 and "import" not in script and "export" not in script
    assert script.index("module_b = ") < script.index("module_a = ") < script.index("module_entry")
    assert "return { b, c };" in script
    (tmp_path / "b.js").write_text('import { a } from "./a.js";\nexport const b = a;\n')
    with pytest.raises(ValueError, match="in a circle"):
        bundled(entry, tmp_path)
    (tmp_path / "b.js").write_text("export default 1;\n")
    with pytest.raises(ValueError, match="not bundled: 'export default 1;'"):
        bundled(entry, tmp_path)
