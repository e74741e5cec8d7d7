"""Plots show what the model computes."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gptpy.config import ConfigError, GPTConfig
from gptpy.model import build_model
from gptpy.model.maps import attention_maps
from gptpy.report.attention import plot_attention, plot_head, sharpest
from gptpy.report.comparison import plot_comparison
from gptpy.report.curves import plot_loss, plot_plan, smoothed, smoothing_weight
from gptpy.report.embedding import (
    nearest_tokens,
    plot_embedding,
    plot_neighbours,
    principal_components,
)
from gptpy.report.positions import by_distance, plot_positions, position_values
from gptpy.report.style import INK, LINES, drawing, visible
from gptpy.report.tokens import BOUNDS, LIKELY, colour_of, plot_tokens
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
        "gptpy.report.style.save_figure", lambda figure, path: figures.append(figure)
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


def test_attention_is_drawn_inside_documents(tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        "gptpy.report.attention.attention_maps", lambda *a, **inputs: seen.update(inputs) or {}
    )
    for end in (None, 0):
        with pytest.raises(ConfigError, match="no self-attention"):
            plot_attention(
                nn.Linear(1, 1), [5, 0, 6], ["a", "b", "c"], tmp_path / "a.png", end_of_text=end
            )
    assert seen["cu_seqlens"].tolist() == [0, 1, 3]


# ---- Style


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("ground", ["#ffffff", "#0d1117", "#14171c"])
def test_lines_and_text_are_legible_on_light_and_dark(ground):
    """WCAG 2.2, 1.4.11: at least 3 for graphics; text gets as much as both grounds allow."""
    assert min(contrast(colour, ground) for colour in LINES) >= 2.99
    assert contrast(INK, ground) > 4.1


def test_tiles_carry_dark_text():
    assert min(contrast(colour, "#1c2128") for colour in LIKELY) > 4.5


def test_the_same_plot_is_the_same_file(tmp_path):
    for name in "ab":
        with drawing(tmp_path / f"{name}.svg") as figure:
            figure.subplots().plot([1, 3, 2], label="a line")
    one, other = (tmp_path / f"{name}.svg" for name in "ab")
    text = one.read_text()
    assert one.read_bytes() == other.read_bytes() and "<dc:date>" not in text
    assert "#1f6fc2" in text and "fill: #ffffff" not in text and "<text" in text


def test_nothing_is_left_where_drawing_fails(tmp_path):
    with pytest.raises(ZeroDivisionError), drawing(tmp_path / "x.svg"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_labels_show_what_cannot_be_seen():
    assert [visible(t) for t in (" a\n", "\t", "x" * 20, "\x00é", "$")] == [
        "·a↵", "⇥", "x" * 13 + "…", "�é", r"\$",
    ]  # fmt: skip


# ---- One head, positions, the schedule before a run


def test_the_sharpest_head_looks_at_others():
    maps = torch.zeros(2, 2, 5, 5)
    maps[..., 0] = 1  # rests on the first token
    maps[1, 0] = torch.eye(5)  # on itself
    maps[1, 1] = torch.eye(5).roll(-1, 1).tril()
    assert sharpest(list(maps), "self") == (1, 1)
    assert sharpest(list(maps), "self", layer=0, head=1) == (0, 1)


def test_a_head_that_is_not_there_is_refused(tmp_path):
    model, ids, labels = make("gpt2"), [1, 2, 3], list("abc")
    assert plot_head(model, ids, labels, tmp_path / "h.svg", layer=1, head=3).is_file()
    with pytest.raises(ConfigError, match="layer: expected 1 to 2, got 3"):
        plot_head(model, ids, labels, tmp_path / "h.svg", layer=2)
    with pytest.raises(ConfigError, match="head: expected 1 to 4, got 5"):
        plot_head(model, ids, labels, tmp_path / "h.svg", head=4)


@pytest.mark.parametrize("kind", ["sinusoidal", "rope", "alibi", "learned", "none"])
def test_positions_without_a_model(tmp_path, kind):
    config = GPTConfig.preset("gpt2", **{**SHAPE, "position": kind})
    drawn = plot_positions(config, tmp_path / "p.svg", length=12)
    assert (drawn is None) == (kind in ("learned", "none"))


@pytest.mark.parametrize("kind", ["sinusoidal", "rope"])
def test_near_positions_are_alike(kind):
    config = GPTConfig.preset("gpt2", **{**SHAPE, "position": kind})
    found = position_values(config, length=12)
    assert found is not None
    near = by_distance(config, found[1])
    assert near[0] == pytest.approx(1) and near[1] < 1 and len(near) == 12
    if kind == "rope":  # the product of a vector of ones with itself, rotated by one position
        angles = [1 / 10000 ** (2 * i / 8) for i in range(4)]
        assert near[1] == pytest.approx(sum(map(math.cos, angles)) / 4)


def test_learned_positions_are_the_models(tmp_path):
    model = make("gpt2")
    weight = model.get_parameter("position_embedding.weight")
    found = position_values(model.config, weight)
    assert found is not None and torch.equal(found[1], weight.detach())
    assert plot_positions(model.config, tmp_path / "p.png", learned=weight) is not None


def test_a_second_axis_has_bits_per_byte(tmp_path, monkeypatch):
    figures: list[Any] = []
    monkeypatch.setattr("gptpy.report.style.save_figure", lambda figure, _: figures.append(figure))
    rows: list[dict[str, Any]] = [{"kind": "step", "step": i, "loss": 3.0 / i} for i in (1, 2, 3)]
    plot_loss(rows, tmp_path / "loss.png")
    rows += [{"kind": "eval", "step": 3, "val_loss": 2.0, "bits_per_byte": 1.5}]
    plot_loss(rows, tmp_path / "loss.png")
    assert [len(figure.axes[0].child_axes) for figure in figures] == [0, 1]
    second = figures[1].axes[0].child_axes[0]
    figures[1].draw_without_rendering()
    low, high = figures[1].axes[0].get_ylim()
    assert second.get_ylim() == pytest.approx((low * 0.75, high * 0.75))
    assert second.get_ylabel() == "bits per byte"


def test_a_plan_has_a_line_for_each_rate(tmp_path):
    points = [(0.0, 0.5), (1.0, 1.0), (2.0, 0.0)]
    path = plot_plan(points, tmp_path / "plan.svg", unit="step", rates=[("AdamW", 1e-3), ("b", 1)])
    assert "AdamW, peak 0.001" in path.read_text()
    with pytest.raises(ConfigError, match="no step"):
        plot_plan([], tmp_path / "plan.svg", unit="step", rates=[("AdamW", 1e-3)])


# ---- Embedding and tokens


def test_principal_components_are_those_of_the_covariance():
    vectors = torch.randn(20, 5, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 6)
    places, shares = principal_components(vectors)
    values = torch.linalg.eigvalsh(torch.cov(vectors.T.double())).flip(0)
    assert shares.tolist() == pytest.approx((values[:2] / values.sum()).tolist(), rel=1e-4)
    assert places.var(0).tolist() == pytest.approx(values[:2].tolist(), rel=1e-4)


def test_the_map_of_an_embedding_has_the_tokens_asked_for(tmp_path):
    class Letters:
        def decode(self, ids):
            return f"tok{ids[0]}"

    path = tmp_path / "map.svg"
    assert plot_embedding(make("gpt2"), Letters(), [4, 9, 2, 9], path) == path
    text = path.read_text()
    assert all(f">tok{i}<" in text for i in (4, 9, 2)) and ">tok3<" not in text
    assert plot_embedding(make("gpt2"), Letters(), [4, 9, 9], path) is None


def test_tokens_are_tiles_in_reading_order(tmp_path):
    path = plot_tokens(["one", " two", "\n", "日本"], tmp_path / "t.svg", title="a text")
    text = path.read_text()
    assert [text.index(f">{word}<") for word in ("one", "·two", "↵", "日本")] == sorted(
        text.index(f">{word}<") for word in ("one", "·two", "↵", "日本")
    )
    assert Path(plot_tokens(["a"], tmp_path / "e.svg", probabilities=[None])).is_file()


def test_probabilities_are_colours():
    assert [colour_of(bound) for bound in BOUNDS] == list(LIKELY)
    assert colour_of(0.899) == LIKELY[1] and colour_of(1.0) == LIKELY[0]
