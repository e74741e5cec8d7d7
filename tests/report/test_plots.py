"""Plots show what the model computes."""

from typing import Any

import bpe_rs
import pytest
import torch
from torch import nn

from gptpy.config import ConfigError, GPTConfig
from gptpy.model import build_model
from gptpy.model.maps import attention_maps
from gptpy.report.comparison import plot_comparison
from gptpy.report.page import write_report
from gptpy.report.plots import (
    nearest_tokens,
    plot_attention,
    plot_loss,
    plot_neighbours,
    smoothed,
    smoothing_weight,
)
from gptpy.runs.metrics import read_metrics
from gptpy.tokenizer import open_tokenizer, train_tokenizer
from gptpy.tokenizer.comparison import compare_tokenizers

SHAPE: dict[str, Any] = {
    "n_layer": 2,
    "n_head": 4,
    "n_embd": 32,
    "vocab_size": 29,
    "block_size": 16,
}


def make(preset, **settings):
    torch.manual_seed(0)
    return build_model(GPTConfig.preset(preset, **{**SHAPE, "init_std": 0.3, **settings})).eval()


VARIANTS = [
    ("gpt2", {}),
    ("gpt2", {"window": 3, "position": "alibi"}),
    ("gpt2", {"attention_softcap": 2.0}),
    ("modern-1m", {"n_kv_head": 2, "init_residual": "normal", "init_head": "normal"}),
    ("encoder-mini", {}),
    ("encoder-decoder-mini", {"n_encoder_layer": 2}),
]


@pytest.mark.parametrize(("preset", "settings"), VARIANTS)
def test_maps_are_the_weights_that_the_layers_use(preset, settings):
    """Weights times values through the output layer is what the attention layer returns."""
    model = make(preset, **settings)
    model.attention_backend = "reference"
    ids = torch.randint(29, (1, 9))
    inputs = {"source": torch.randint(29, (1, 7))} if preset == "encoder-decoder-mini" else {}
    outputs: dict[str, list[torch.Tensor]] = {}
    values: dict[str, list[torch.Tensor]] = {}
    layers: list[tuple[str, Any]] = [
        (name, module)
        for name, module in model.named_modules()
        if name.endswith(("attention", "cross_attention"))
    ]

    def remember(kind):
        def hook(module, arguments, output):
            x, state = arguments
            if kind == "cross":
                v = module.keys_values(state)[1]
            else:
                v = module.queries_keys_values(x, state.rotation)[2]
            v = v.repeat_interleave(module.heads // module.kv_heads, dim=2)
            values.setdefault(kind, []).append(v[0])
            outputs.setdefault(kind, []).append(output[0])

        return hook

    for name, module in layers:
        cross = name.endswith("cross_attention")
        encoder = name.startswith("encoder_blocks")
        kind = "cross" if cross else "encoder" if encoder else "self"
        module.register_forward_hook(remember(kind))
    maps = attention_maps(model, ids, **inputs)
    assert maps.keys() == ({"self", "cross", "encoder"} if inputs else {"self"})
    for kind, found in maps.items():
        assert len(found) == 2
        chosen = [
            m
            for n, m in layers
            if n.endswith("cross_attention") == (kind == "cross")
            and n.startswith("encoder_blocks") == (kind == "encoder")
        ]
        for weights, v, out, layer in zip(found, values[kind], outputs[kind], chosen, strict=True):
            torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:2]))
            mixed = torch.einsum("hqk,khd->qhd", weights, v).flatten(1)
            torch.testing.assert_close(layer.out(mixed), out, rtol=1e-4, atol=1e-5)


def test_every_kind_is_drawn(tmp_path):
    model = make("encoder-decoder-mini")
    source = ([3, 4, 5, 6, 7], list("abcde"))
    for kind in ("self", "cross", "encoder"):
        path = tmp_path / f"{kind}.png"
        plot_attention(model, [1, 2], ["x", "\n"], path, kind=kind, source=source)
        assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="no self-attention layer"):
        plot_attention(make("bigram", n_layer=0), [1, 2], ["a", "b"], tmp_path / "no.png")


def test_a_score_with_more_context_is_no_point_of_the_curve(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(
        "gptpy.report.plots.save_figure", lambda figure, path: figures.append(figure)
    )
    rows: list[dict[str, Any]] = [{"kind": "step", "step": i, "loss": 3.0 / i} for i in (1, 2, 3)]
    for step, stride, loss in ((1, 16, 2.5), (3, 16, 1.5), (3, 4, 1.25)):
        rows.append({"kind": "eval", "step": step, "val_loss": loss, "stride": stride})
    plot_loss(rows, tmp_path / "loss.png")
    lines = {line.get_label(): line for line in figures[0].axes[0].get_lines()}
    assert list(lines["validation"].get_ydata()) == [2.5, 1.5]
    assert list(lines["validation, windows moved on by 4"].get_ydata()) == [1.25]


def test_neighbours_are_the_nearest_by_angle():
    model = make("gpt2")
    with torch.no_grad():
        table = model.get_parameter("token_embedding.weight")
        table[5] = 3 * table[9] + 0.01
        table[7] = -table[9]
    (found,) = nearest_tokens(model, [9], count=28)
    assert found[0][0] == 5 and found[0][1] == pytest.approx(1, abs=0.01)
    assert found[-1][0] == 7 and found[-1][1] == pytest.approx(-1, abs=1e-5)
    assert [v for _, v in found] == sorted((v for _, v in found), reverse=True)


def test_neighbours_are_tokens_of_the_training_data(tmp_path):
    """Others still have their random initial vectors: what is near them is chance."""
    model = make("gpt2")
    trained = [3, 9, 14, 20]
    (found,) = nearest_tokens(model, [9], count=28, among=trained)
    every = nearest_tokens(model, [9], count=28)[0]
    assert found == [(i, pytest.approx(v)) for i, v in every if i in trained]

    shown = set()

    class Letters:
        def decode(self, ids):
            shown.update(ids)
            return f"<{ids[0]}>"

    path = tmp_path / "n.png"
    assert plot_neighbours(model, Letters(), [1, 9, 9, 14, 28], path, trained=trained) == path
    assert shown == set(trained) and path.read_bytes().startswith(b"\x89PNG")
    assert plot_neighbours(model, Letters(), [1, 28], path, trained=trained) is None


def test_two_tokenizers_side_by_side(tmp_path):
    text = "the quick brown fox jumps over the lazy dog. " * 4
    two = {str(size): train_tokenizer([text], size) for size in (260, 280)}
    path = tmp_path / "compare.png"
    assert plot_comparison(compare_tokenizers(two, {"fox": text, "dog": text}), path) == path
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]


def test_smoothing_is_unbiased_at_the_start():
    assert smoothed([2.0, 2.0, 2.0]) == pytest.approx([2.0] * 3)
    assert smoothed([1.0, float("nan"), 1.0]) == pytest.approx([1.0] * 3)


@pytest.mark.parametrize("points", [10, 100, 2000])
def test_smoothing_does_not_lag(points):
    """Half-way down a steady slope the mean is less than a tenth of the slope behind."""
    slope = [1 - i / points for i in range(points)]
    mean = smoothed(slope, smoothing_weight(points))
    assert abs(mean[points // 2] - slope[points // 2]) < 0.1


def test_a_name_that_no_picture_has_is_refused(tmp_path):
    same = compare_tokenizers({"gpt2": open_tokenizer("gpt2")}, {"text": "a text"})
    with pytest.raises(ConfigError, match=r"x\.xyz: expected a name that ends in one of .*png"):
        plot_comparison(same, tmp_path / "x.xyz")
    for name in ("[red]x.PNG", "y"):
        plot_comparison(same, tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_a_page_of_damaged_files(tmp_path):
    """Lines of metrics that are no text are left out; a summary that is none is named."""
    (tmp_path / "metrics.jsonl").write_bytes(b'\xff\0{\n[1]\n{"kind": "step", "step": 1}\n')
    assert list(read_metrics(tmp_path / "metrics.jsonl")) == [{"kind": "step", "step": 1}]
    for damaged in ("{", "[1]"):
        (tmp_path / "summary.json").write_text(damaged)
        with pytest.raises(ConfigError, match=r"summary\.json: is damaged"):
            write_report(tmp_path, [])
    (tmp_path / "summary.json").write_text('{"<b>": "[/b]"}')
    page = write_report(tmp_path, []).read_text()
    assert "&lt;b&gt;" in page and "[/b]" in page


def test_attention_is_drawn_inside_documents(tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        "gptpy.report.plots.attention_maps", lambda *a, **inputs: seen.update(inputs) or {}
    )
    for end in (None, 0):
        with pytest.raises(ConfigError, match="no self-attention"):
            plot_attention(
                nn.Linear(1, 1), [5, 0, 6], ["a", "b", "c"], tmp_path / "a.png", end_of_text=end
            )
    assert seen["cu_seqlens"].tolist() == [0, 1, 3]
