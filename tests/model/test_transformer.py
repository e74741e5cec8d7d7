"""The plain networks: equal to others' GPT-2, what sees what, caches, positions, checkpointing."""

import math
from typing import Any

import pytest
import torch

from gptpy.config import GPTConfig
from gptpy.model import GPT, EncoderDecoder, build_model
from gptpy.model.transformer import position_tables

SHAPE = {"n_layer": 2, "n_head": 4, "n_embd": 32, "vocab_size": 29, "block_size": 16}
WEIGHTS = {"init_residual": "normal", "init_std": 0.2}  # larger than usual: no layer is negligible
POSITIONS = ["learned", "sinusoidal", "rope", "alibi", "none"]
ENCODER: dict[str, Any] = {"architecture": "encoder"}
SEQ2SEQ: dict[str, Any] = {
    "architecture": "encoder-decoder", "position": "rope", "norm": "rmsnorm", "bias": False,
}  # fmt: skip


def make(preset="gpt2", **settings):
    torch.manual_seed(0)
    return build_model(GPTConfig.preset(preset, **{**SHAPE, **WEIGHTS, **settings})).eval()


def some_ids(batch=2, length=16, seed=0):
    return torch.randint(29, (batch, length), generator=torch.Generator().manual_seed(seed))


def logits_of(model, ids, **inputs):
    logits, _ = model(ids, **inputs)
    assert logits is not None
    return logits


def test_gpt2_logits_equal_those_of_transformers():
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(1)
    theirs = GPT2LMHeadModel(
        GPT2Config(vocab_size=29, n_positions=16, n_embd=32, n_layer=2, n_head=4)
    ).eval()
    for parameter in theirs.parameters():  # biases and norms, too
        torch.nn.init.normal_(parameter, 0.0, 0.3)
    ours = GPT(GPTConfig.preset("gpt2", **SHAPE)).eval()
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
    ids = some_ids()
    logits, loss = ours(ids)
    assert loss is None
    with torch.no_grad():
        torch.testing.assert_close(logits, theirs(ids).logits, rtol=1e-5, atol=1e-5)
        _, loss = ours(ids[:, :-1], ids[:, 1:])
        torch.testing.assert_close(loss, theirs(ids, labels=ids).loss, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("preset", ["gpt2", "gpt-mini", "modern-1m", "bigram"])
def test_loss_is_the_cross_entropy_of_the_logits(preset):
    torch.manual_seed(0)
    config = GPTConfig.preset(preset, vocab_size=29, block_size=16)
    if preset != "bigram":
        config = config.replace(n_layer=2, n_head=4, n_kv_head=2, n_embd=32)
    if not config.tied_head:
        config = config.replace(init_head="normal", init_residual="normal")
    model = build_model(config)
    ids, targets = some_ids(), some_ids(seed=1)
    targets[0, :5] = -100
    logits, _ = model(ids)
    assert logits.shape == (2, 16, 29)
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
        model = make(preset, tied_head=True, init_head="normal", init_std=0.02)
        ids = some_ids()
        before, _ = model(ids)
        changed = ids.clone()
        changed[:, 9] = (changed[:, 9] + 1) % 29
        after, _ = model(changed)
        torch.testing.assert_close(before[:, :9], after[:, :9])
        assert (before[:, 9:] - after[:, 9:]).abs().amax(dim=-1).min() > 1e-6


def test_zero_initialised_head_starts_at_log_vocab_size():
    config = GPTConfig.preset("modern-1m")
    model = GPT(config)
    ids = some_ids()
    assert model(ids, ids)[1].item() == pytest.approx(math.log(config.vocab_size), abs=1e-6)
    model.get_parameter("blocks.0.mlp.down.weight").data.normal_()
    assert model(ids, ids)[1].item() == pytest.approx(math.log(config.vocab_size), abs=1e-6)


@pytest.mark.parametrize("position", POSITIONS)
def test_order_matters_where_there_are_positions(position):
    """Without positions, the last token's logits are those of a bag of the earlier ones."""
    model = make(position=position, n_layer=1)
    ids = some_ids(1)
    swapped = ids.clone()
    swapped[:, [2, 9]] = ids[:, [9, 2]]
    assert ids[0, 2] != ids[0, 9]
    change = (logits_of(model, ids) - logits_of(model, swapped))[:, -1].abs().max()
    assert (change > 1e-4) == (position != "none")


@pytest.mark.parametrize(
    "settings",
    [
        *({"position": position} for position in POSITIONS),
        {"window": 4},
        {"window": 4, "full_attention_every": 2, "position": "alibi"},
        {"attention_softcap": 2.0, "logit_softcap": 5.0},
        {"preset": "modern-1m", "n_kv_head": 1},
    ],
)
@pytest.mark.parametrize("backend", ["reference", "sdpa", "dense"])
def test_a_cache_in_any_pieces_changes_nothing(settings, backend):
    model = make(**settings)
    if backend != "reference" and model.config.attention_softcap:
        return
    model.attention_backend = backend
    ids = some_ids()
    expected = logits_of(model, ids)
    for pieces in ([16], [5, 11], [1] * 16, [7, 1, 1, 4, 3]):
        cache = model.make_cache(2)
        assert cache is not None
        got = [logits_of(model, piece, cache=cache) for piece in ids.split(pieces, dim=1)]
        torch.testing.assert_close(torch.cat(got, 1), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="more than block_size"):
        model(ids[:, :1], cache=cache)


def test_window_limits_what_one_layer_sees():
    model = make(n_layer=1, window=3)
    ids = some_ids(1)
    changed = ids.clone()
    changed[:, 5] = (ids[:, 5] + 1) % 29
    change = (logits_of(model, ids) - logits_of(model, changed)).abs().amax(-1)[0]
    assert (change > 1e-5).nonzero()[:, 0].tolist() == [5, 6, 7]


def test_softcaps_bound():
    model = make(logit_softcap=0.5, init_std=2.0)
    assert logits_of(model, some_ids()).abs().max() <= 0.5
    capped, plain = make(attention_softcap=0.1), make()
    capped.attention_backend = plain.attention_backend = "reference"
    change = logits_of(capped, some_ids()) - logits_of(plain, some_ids())
    assert change.abs().max() > 1e-3


def test_documents_do_not_see_each_other():
    model = make(position="none")
    ids = some_ids()
    boundaries = torch.tensor([0, 6, 16, 20, 32])
    got = logits_of(model, ids, cu_seqlens=boundaries)
    for row, start, end in ((0, 0, 6), (0, 6, 16), (1, 0, 4), (1, 4, 16)):
        alone = logits_of(model, ids[row : row + 1, start:end])
        torch.testing.assert_close(got[row, start:end], alone[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("settings", [{}, ENCODER])
@pytest.mark.parametrize("backend", ["reference", "sdpa", "dense"])
def test_padding_changes_nothing(settings, backend):
    model = make(**settings)
    model.attention_backend = backend
    ids = some_ids()
    real = torch.arange(16) < torch.tensor([[16], [9]])
    got = logits_of(model, ids, key_padding_mask=real)
    alone = logits_of(model, ids[1:, :9])
    torch.testing.assert_close(got[1, :9], alone[0], rtol=1e-4, atol=1e-4)
    assert torch.isfinite(got).all()


def test_an_encoder_sees_both_directions():
    model = make(**ENCODER)
    ids = some_ids(1)
    changed = ids.clone()
    changed[:, 15] = (ids[:, 15] + 1) % 29
    assert (logits_of(model, ids) - logits_of(model, changed))[:, 0].abs().max() > 1e-5


def test_encoder_decoder_needs_its_source():
    model = make(**SEQ2SEQ)
    with pytest.raises(ValueError, match="source, or as memory"):
        model(some_ids())
    with pytest.raises(ValueError, match="pass source="):
        model.generate(some_ids(), 1)
    # The ids of padding change nothing.
    ids, source = some_ids(), some_ids(seed=1)
    real = torch.arange(16) < torch.tensor([[16], [9]])
    expected = logits_of(model, ids, source=source, source_padding_mask=real)
    other = torch.where(real, source, 5)
    got = logits_of(model, ids, source=other, source_padding_mask=real)
    torch.testing.assert_close(got, expected)
    assert isinstance(model, EncoderDecoder)
    memory = model.encode(source, real)
    got = logits_of(model, ids, memory=memory, source_padding_mask=real)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("shape", [{}, {"preset": "modern-1m"}, SEQ2SEQ])
def test_activation_checkpointing_gives_the_same_gradients(shape):
    gradients = []
    for checkpointing in (False, True):
        model = make(**shape, tied_head=False, activation_checkpointing=checkpointing)
        model.attention_backend = "dense"
        inputs = {"source": some_ids(seed=1)} if shape is SEQ2SEQ else {}
        model(some_ids(), some_ids(), **inputs)[1].backward()
        gradients.append([p.grad for p in model.parameters()])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed)


@pytest.mark.parametrize("shape", [{}, {"preset": "modern-1m"}, ENCODER, SEQ2SEQ])
@pytest.mark.parametrize("backend", ["sdpa", "dense"])
def test_compiles_as_one_graph(shape, backend):
    model = make(**shape, n_kv_head=2)
    model.attention_backend = backend
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    inputs = {"source": some_ids(seed=1)} if shape is SEQ2SEQ else {}
    ids = some_ids()
    expected, got = model(ids, ids, **inputs)[1], compiled(ids, ids, **inputs)[1]
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    got.backward()


def test_position_tables_are_the_papers():
    def tables(position, **shape):
        return position_tables(GPTConfig(**{**SHAPE, "position": position, **shape}))

    assert tables("alibi", n_head=8)["slopes"].tolist() == [2.0**-i for i in range(1, 9)]
    slopes = tables("alibi", n_head=3, n_embd=6)["slopes"]
    assert slopes.tolist() == [2.0**-4, 2.0**-8, 2.0**-2]
    table = tables("sinusoidal", n_head=1, n_embd=6)["sinusoids"]
    assert table[0].tolist() == [0, 1, 0, 1, 0, 1]
    assert table[3, 2].item() == pytest.approx(math.sin(3 / 10000 ** (2 / 6)))
    cosines = tables("rope", n_head=1, n_embd=6, rope_theta=100.0)["cos"]
    assert cosines.shape == (16, 3)
    assert cosines[3, 1].item() == pytest.approx(math.cos(3 / 100 ** (2 / 6)))
    assert tables("learned") == tables("none") == {}


def test_tables_stay_exact_when_the_model_is_cast_or_made_empty():
    config = GPTConfig.preset("modern-1m", **SHAPE)
    cosines = "tables.cos"
    expected = GPT(config).get_buffer(cosines)
    cast = GPT(config).to(torch.bfloat16).float()
    torch.testing.assert_close(cast.get_buffer(cosines), expected, rtol=0, atol=0)
    with torch.device("meta"):
        empty = GPT(config)
    empty.to_empty(device="cpu")
    torch.testing.assert_close(empty.get_buffer(cosines), expected, rtol=0, atol=0)
    assert not [name for name in empty.state_dict() if "tables" in name]


def test_scaled_embeddings():
    plain, scaled = make(position="sinusoidal"), make(position="sinusoidal", scale_embedding=True)
    assert isinstance(plain, GPT) and isinstance(scaled, GPT)
    with torch.no_grad():
        plain.token_embedding.weight.copy_(scaled.token_embedding.weight * 32**0.5)
    ids = some_ids()
    # The tied head reads the table without the factor: hidden states are compared, not logits.
    torch.testing.assert_close(plain.hidden_states(ids), scaled.hidden_states(ids))


def test_shapes_that_do_not_fit_are_errors_that_say_so():
    model = make()
    ids = some_ids()
    with pytest.raises(ValueError, match="expected 1 to 16 tokens"):
        model(torch.cat((ids, ids), 1))
    with pytest.raises(ValueError, match=r"one sequence is ids\[None, :\]"):
        model(ids[0])
    with pytest.raises(ValueError, match="targets: expected the shape of ids"):
        model(ids, ids[:, 1:])


@pytest.mark.parametrize("preset", ["gpt2", "modern-1m", "bigram"])
def test_logits_and_loss_from_one_call(preset):
    settings = SHAPE if preset != "bigram" else {"vocab_size": 29, "block_size": 16}
    model = build_model(GPTConfig.preset(preset, **settings))
    ids, targets = some_ids(), some_ids(seed=1)
    logits, loss = model(ids, targets, return_logits=True)
    torch.testing.assert_close(logits, logits_of(model, ids))
    torch.testing.assert_close(loss, model(ids, targets)[1])


@pytest.mark.parametrize("tied", [True, False])
def test_a_narrow_token_embedding_is_a_wide_one_of_low_rank(tied):
    """The projected table, folded into one of C columns, gives the same network."""
    narrow = make("gpt2", n_token_embd=8, tied_head=tied)
    wide = make("gpt2", tied_head=tied)
    state = narrow.state_dict()
    projection = state.pop("token_projection.weight")  # (C, E)
    assert state["token_embedding.weight"].shape == (29, 8) and projection.shape == (32, 8)
    state["token_embedding.weight"] = state["token_embedding.weight"] @ projection.T
    wide.load_state_dict(state)
    ids = some_ids()
    torch.testing.assert_close(logits_of(narrow, ids), logits_of(wide, ids), rtol=1e-4, atol=1e-5)
    _, loss = narrow(ids, ids)
    loss.backward()
    assert all(p.grad is not None for p in narrow.parameters())
    assert sum(len(g["params"]) for g in narrow.configure_parameter_groups()) == len(
        list(narrow.parameters())
    )


def test_tables_need_no_float64_on_the_device(monkeypatch):
    """A device without float64 (MPS): here meta stands for it."""
    arange = torch.arange

    def refuses_float64(*arguments, **options):
        made = arange(*arguments, **options)
        if made.dtype == torch.float64 and made.device.type == "meta":
            raise TypeError("this device has no float64")
        return made

    monkeypatch.setattr(torch, "arange", refuses_float64)
    config = GPTConfig.preset("modern-1m", **SHAPE)
    with torch.device("meta"):
        model = GPT(config)
    assert GPT(config).to("meta").tables["cos"].device.type == "meta"
    made = model.to_empty(device="cpu").tables["cos"]
    torch.testing.assert_close(made, position_tables(config)["cos"])
