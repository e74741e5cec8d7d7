"""The networks: sizes, losses, gradients, and equality with other people's GPT-2."""

import math

import pytest
import torch

from gptpy.config import GPTConfig
from gptpy.model import GPT, build_model

TINY = {"n_layer": 2, "n_head": 4, "n_embd": 32, "vocab_size": 61, "block_size": 16}


def ids_for(config: GPTConfig, batch=2, length=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, length or config.block_size)
    return torch.randint(config.vocab_size, shape, generator=generator)


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("gpt2", 124_439_808),
        ("gpt2-medium", 354_823_168),
        ("gpt2-large", 774_030_080),
        ("gpt2-xl", 1_557_611_200),
    ],
)
def test_gpt2_family_has_the_published_sizes(preset, expected):
    with torch.device("meta"):
        model = GPT(GPTConfig.preset(preset))
    assert model.num_parameters() == expected


def test_gpt2_logits_equal_those_of_transformers():
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(1)
    theirs = GPT2LMHeadModel(
        GPT2Config(vocab_size=61, n_positions=16, n_embd=32, n_layer=2, n_head=4)
    ).eval()
    for parameter in theirs.parameters():  # biases and norms too
        torch.nn.init.normal_(parameter, 0.0, 0.3)
    ours = GPT(GPTConfig.preset("gpt2", **TINY)).eval()
    state = {}
    for name, tensor in theirs.transformer.state_dict().items():
        for old, new in {
            "wte": "token_embedding",
            "wpe": "position_embedding",
            "h.": "blocks.",
            "ln_1": "attention_norm",
            "ln_2": "mlp_norm",
            "ln_f": "norm",
            "attn.c_attn": "attention.qkv",
            "attn.c_proj": "attention.out",
            "mlp.c_fc": "mlp.up",
            "mlp.c_proj": "mlp.down",
        }.items():
            name = name.replace(old, new)
        is_conv1d = tensor.dim() == 2 and "embedding" not in name
        state[name] = tensor.T if is_conv1d else tensor
    ours.load_state_dict(state)
    ids = ids_for(ours.config)
    logits, loss = ours(ids)
    assert loss is None
    with torch.no_grad():
        torch.testing.assert_close(logits, theirs(ids).logits, rtol=1e-5, atol=1e-5)
        _, loss = ours(ids[:, :-1], ids[:, 1:])
        torch.testing.assert_close(loss, theirs(ids, labels=ids).loss, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("preset", ["gpt2", "gpt-mini", "modern-1m", "bigram"])
def test_loss_is_the_cross_entropy_of_the_logits(preset):
    torch.manual_seed(0)
    config = GPTConfig.preset(preset, vocab_size=61, block_size=16)
    if preset != "bigram":
        config = config.replace(n_layer=2, n_head=4, n_kv_head=2, n_embd=32)
    if not config.tied_head:
        config = config.replace(init_head="normal", init_residual="normal")
    model = build_model(config)
    ids, targets = ids_for(config), ids_for(config, seed=1)
    targets[0, :5] = -100
    logits, _ = model(ids)
    assert logits.shape == (2, 16, 61)
    kept = targets != -100
    expected = -logits.log_softmax(-1)[kept].gather(-1, targets[kept][:, None])[:, 0]
    none, mean = model(ids, targets)
    assert none is None
    torch.testing.assert_close(mean, expected.mean())
    torch.testing.assert_close(model(ids, targets, reduction="sum")[1], expected.sum())
    per_token = model(ids, targets, reduction="none")[1]
    assert per_token.shape == targets.shape
    torch.testing.assert_close(per_token[kept], expected)
    assert (per_token[~kept] == 0).all()
    mean.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_a_token_does_not_see_later_ones():
    for preset in ("gpt2", "modern-1m"):
        torch.manual_seed(0)
        config = GPTConfig.preset(preset, **TINY).replace(init_residual="normal")
        model = GPT(config.replace(tied_head=True, init_head="normal")).eval()
        ids = ids_for(config)
        before, _ = model(ids)
        changed = ids.clone()
        changed[:, 9] = (changed[:, 9] + 1) % config.vocab_size
        after, _ = model(changed)
        torch.testing.assert_close(before[:, :9], after[:, :9])
        assert (before[:, 9:] - after[:, 9:]).abs().amax(dim=-1).min() > 1e-6


def test_zero_initialised_head_starts_at_log_vocab_size():
    config = GPTConfig.preset("modern-1m")
    model = GPT(config)
    ids = ids_for(config)
    assert model(ids, ids)[1].item() == pytest.approx(math.log(config.vocab_size), abs=1e-6)
    model.get_parameter("blocks.0.mlp.down.weight").data.normal_()
    assert model(ids, ids)[1].item() == pytest.approx(math.log(config.vocab_size), abs=1e-6)


def test_parameter_groups_hold_every_parameter_once():
    model = GPT(GPTConfig.preset("modern-1m", n_kv_head=2))
    groups = {group["name"]: group for group in model.configure_parameter_groups()}
    assert list(groups) == ["matrices", "embeddings", "head", "scalars"]
    names = [name for group in groups.values() for name in group["param_names"]]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    assert groups["embeddings"]["param_names"] == ["token_embedding.weight"]
    assert groups["head"]["param_names"] == ["head.weight"]
    matrices = groups["matrices"]
    for parameter, splits in zip(matrices["params"], matrices["row_splits"], strict=True):
        assert parameter.dim() == 2
        assert splits is None or sum(splits) == parameter.shape[0]
    assert matrices["row_splits"][0] == [128, 64, 64]
    gpt2 = build_model(GPTConfig.preset("gpt2", **TINY))
    assert [g["name"] for g in gpt2.configure_parameter_groups()] == [
        "matrices",
        "embeddings",
        "scalars",
    ]


def test_shapes_that_do_not_fit_are_errors_that_say_so():
    model = GPT(GPTConfig.preset("gpt2", **TINY))
    ids = ids_for(model.config)
    with pytest.raises(ValueError, match="expected 1 to 16 tokens"):
        model(torch.cat((ids, ids), 1))
    with pytest.raises(ValueError, match=r"one sequence is ids\[None, :\]"):
        model(ids[0])
    with pytest.raises(ValueError, match="targets: expected the shape of ids"):
        model(ids, ids[:, 1:])
    with pytest.raises(ValueError, match="build_model"):
        GPT(GPTConfig.preset("bigram"))


def test_tables_stay_exact_when_the_model_is_cast_or_made_empty():
    config = GPTConfig.preset("modern-1m", **TINY)
    cosines = "tables.cos"
    expected = GPT(config).get_buffer(cosines)
    cast = GPT(config).to(torch.bfloat16).float()
    torch.testing.assert_close(cast.get_buffer(cosines), expected, rtol=0, atol=0)
    with torch.device("meta"):
        empty = GPT(config)
    empty.to_empty(device="cpu")
    torch.testing.assert_close(empty.get_buffer(cosines), expected, rtol=0, atol=0)
    assert not [name for name in empty.state_dict() if "tables" in name]
