"""Every architecture and position: what sees what, caches, learning, compilation, cost."""

import pytest
import torch

from gptpy.config import GPTConfig
from gptpy.model import (
    GPT,
    IGNORE,
    Bigram,
    Encoder,
    EncoderDecoder,
    build_model,
    flops_per_token,
    mask_tokens,
)
from gptpy.model.position import alibi_slopes, sinusoids

SHAPE = {"n_layer": 2, "n_head": 4, "n_embd": 32, "vocab_size": 29, "block_size": 16}
BIRTH = {"init_residual": "normal", "init_std": 0.2}
POSITIONS = ["learned", "sinusoidal", "rope", "alibi", "none"]


def make(preset="gpt2", **settings):
    torch.manual_seed(0)
    return build_model(GPTConfig.preset(preset, **{**SHAPE, **BIRTH, **settings})).eval()


def some_ids(batch=2, length=16, seed=0):
    return torch.randint(29, (batch, length), generator=torch.Generator().manual_seed(seed))


def logits_of(model, ids, **inputs):
    logits, _ = model(ids, **inputs)
    assert logits is not None
    return logits


def test_build_model_picks_the_class():
    for preset, cls in (
        ("gpt2", GPT),
        ("bert-mini", Encoder),
        ("t5-mini", EncoderDecoder),
        ("bigram", Bigram),
    ):
        with torch.device("meta"):
            assert type(build_model(GPTConfig.preset(preset))) is cls


@pytest.mark.parametrize(
    ("preset", "millions"),
    [
        ("gpt3-125m", (120, 130)),
        ("gpt3-350m", (340, 370)),
        ("gpt3-760m", (740, 780)),
        ("gpt3-1.3b", (1280, 1350)),
        ("gpt3-2.7b", (2600, 2750)),
        ("gpt3-6.7b", (6600, 6800)),
        ("gpt3-13b", (12700, 13100)),
        ("gpt3-175b", (173000, 176000)),
        ("modern-1m", (0.8, 1.1)),
        ("modern-10m", (9, 12)),
        ("modern-124m", (110, 160)),
        ("modern-350m", (320, 400)),
        ("gpt-mini", (12, 13)),
        ("bert-mini", (10, 12)),
        ("t5-mini", (28, 32)),
    ],
)
def test_presets_are_about_as_large_as_their_names_say(preset, millions):
    with torch.device("meta"):
        size = build_model(GPTConfig.preset(preset)).num_parameters() / 1e6
    assert millions[0] <= size <= millions[1]


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("backend", ["sdpa", "dense"])
def test_back_ends_agree_for_every_position(position, backend):
    model = make(position=position, n_kv_head=2)
    ids = some_ids()
    model.attention_backend = "reference"
    expected = logits_of(model, ids)
    model.attention_backend = backend
    torch.testing.assert_close(logits_of(model, ids), expected, rtol=1e-4, atol=1e-4)


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
    assert make(attention_softcap=0.1).select_attention()[0] == "reference"
    with pytest.raises(ValueError, match="does not support softcap"):
        make(attention_softcap=0.1).select_attention("sdpa")


def test_documents_do_not_see_each_other():
    model = make(position="none")
    ids = some_ids()
    boundaries = torch.tensor([0, 6, 16, 20, 32])
    got = logits_of(model, ids, cu_seqlens=boundaries)
    for row, start, end in ((0, 0, 6), (0, 6, 16), (1, 0, 4), (1, 4, 16)):
        alone = logits_of(model, ids[row : row + 1, start:end])
        torch.testing.assert_close(got[row, start:end], alone[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("preset", ["gpt2", "bert-mini"])
@pytest.mark.parametrize("backend", ["reference", "sdpa", "dense"])
def test_padding_changes_nothing(preset, backend):
    model = make(preset)
    model.attention_backend = backend
    ids = some_ids()
    real = torch.arange(16) < torch.tensor([[16], [9]])
    got = logits_of(model, ids, key_padding_mask=real)
    alone = logits_of(model, ids[1:, :9])
    torch.testing.assert_close(got[1, :9], alone[0], rtol=1e-4, atol=1e-4)
    assert torch.isfinite(got).all()


def test_encoder_sees_both_directions_and_does_not_generate():
    model = make("bert-mini")
    ids = some_ids(1)
    changed = ids.clone()
    changed[:, 15] = (ids[:, 15] + 1) % 29
    assert (logits_of(model, ids) - logits_of(model, changed))[:, 0].abs().max() > 1e-5
    with pytest.raises(ValueError, match="an encoder sees both directions"):
        model.generate(ids, 3)


def test_masked_tokens():
    ids = torch.randint(5, 29, (64, 128), generator=torch.Generator().manual_seed(0))
    real = torch.ones_like(ids).bool()
    real[:, 100:] = False
    generator = torch.Generator().manual_seed(1)
    inputs, targets = mask_tokens(ids, 3, 29, real=real, generator=generator)
    chosen = targets != IGNORE
    assert not chosen[:, 100:].any()
    assert torch.equal(targets[chosen], ids[chosen])
    assert torch.equal(inputs[~chosen], ids[~chosen])
    assert chosen[:, :100].float().mean().item() == pytest.approx(0.15, abs=0.01)
    shares = [(inputs == 3), (inputs == ids)]
    masked, kept = (share[chosen].float().mean().item() for share in shares)
    assert masked == pytest.approx(0.8, abs=0.03)
    assert kept == pytest.approx(0.1, abs=0.03)


def train(model, batch, steps, lr=3e-3):
    """AdamW on `batch(step) -> (ids, targets, inputs)`; the last loss."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    model.train()
    loss = torch.tensor(0.0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1, (steps - step) / (steps / 2))
        ids, targets, inputs = batch(step)
        loss = model(ids, targets, **inputs)[1]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    return loss


def test_encoder_learns_to_restore_masked_tokens():
    """Rows count upwards from a random start: any hole follows from its neighbours."""
    model = make("bert-mini", init_std=0.05)
    model.select_attention()
    generator = torch.Generator().manual_seed(0)

    def batch(step):
        start = torch.randint(20, (32, 1), generator=generator)
        ids = (start + torch.arange(8)) % 20
        inputs, targets = mask_tokens(ids, 28, 20, generator=generator)
        return inputs, targets, {}

    assert train(model, batch, 150) < 1.5  # knowing nothing is log(20) = 3.0


def copy_task(step, batch=32, length=6, *, seed=0):
    """Source: random letters, some padding; target: the letters backwards, then 1 (end)."""
    generator = torch.Generator().manual_seed(seed * 100_000 + step)
    letters = torch.randint(2, 14, (batch, length), generator=generator)
    source = torch.cat((letters, torch.zeros(batch, 2, dtype=torch.int64)), 1)
    said = torch.cat((letters.flip(1), torch.ones(batch, 1, dtype=torch.int64)), 1)
    begin = torch.ones(batch, 1, dtype=torch.int64)
    ids = torch.cat((begin, said[:, :-1]), 1)
    return ids, said, {"source": source, "source_padding_mask": source != 0}


@pytest.mark.slow
def test_encoder_decoder_learns_to_reverse():
    torch.manual_seed(0)
    shape = {"n_layer": 2, "n_encoder_layer": 2, "n_head": 4, "n_embd": 64}
    config = GPTConfig.preset("t5-mini", vocab_size=14, block_size=16, **shape)
    model = EncoderDecoder(config)
    model.select_attention()
    train(model, copy_task, 900)
    ids, said, inputs = copy_task(0, batch=200, seed=1)
    runs = [
        model.generate(ids[:, :1], 7, temperature=0, eos_id=1, use_cache=use_cache, **inputs)
        for use_cache in (True, False)
    ]
    assert torch.equal(*runs)
    right = (runs[0][:, 1:] == said).float().mean().item()
    assert right >= 0.99


def test_encoder_decoder_needs_its_source():
    model = make("t5-mini")
    with pytest.raises(ValueError, match="source, or as memory"):
        model(some_ids())
    with pytest.raises(ValueError, match="pass source="):
        model.generate(some_ids(), 1)
    # What the source's padding holds changes nothing.
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


@pytest.mark.parametrize("preset", ["gpt2", "modern-1m", "t5-mini"])
def test_activation_checkpointing_gives_the_same_gradients(preset):
    gradients = []
    for checkpointing in (False, True):
        settings = {"tied_head": False, "activation_checkpointing": checkpointing}
        model = make(preset, **settings)
        model.attention_backend = "dense"
        inputs = {"source": some_ids(seed=1)} if preset == "t5-mini" else {}
        model(some_ids(), some_ids(), **inputs)[1].backward()
        gradients.append([p.grad for p in model.parameters()])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed)


@pytest.mark.parametrize("preset", ["gpt2", "modern-1m", "bert-mini", "t5-mini"])
@pytest.mark.parametrize("backend", ["sdpa", "dense"])
def test_compiles_as_one_graph(preset, backend):
    model = make(preset, n_kv_head=2)
    model.attention_backend = backend
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    inputs = {"source": some_ids(seed=1)} if preset == "t5-mini" else {}
    ids = some_ids()
    expected, got = model(ids, ids, **inputs)[1], compiled(ids, ids, **inputs)[1]
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    got.backward()


def test_alibi_slopes_and_sinusoids_are_the_papers():
    assert alibi_slopes(8).tolist() == [2.0**-i for i in range(1, 9)]
    assert alibi_slopes(3).tolist() == [2.0**-4, 2.0**-8, 2.0**-2]
    table = sinusoids(4, 6)
    assert table[0].tolist() == [0, 1, 0, 1, 0, 1]
    assert table[3, 2].item() == pytest.approx(torch.tensor(3 / 10000 ** (2 / 6)).sin().item())


def test_flops_are_those_of_the_products():
    from torch.utils.flop_counter import FlopCounterMode

    for preset in ("gpt2", "modern-1m", "bert-mini"):
        model = make(preset)
        model.attention_backend = "reference"  # counted as dense products: all keys, masked or not
        with FlopCounterMode(display=False) as counter:
            model(some_ids(1))
        full = counter.get_total_flops() / 16
        width, layers, context = 32, 2, 16
        skipped = 0
        if preset != "bert-mini":
            skipped = layers * 4 * width * (context - (context + 1) // 2)
        assert flops_per_token(model, 16, training=False) == pytest.approx(full - skipped, rel=0.01)
        assert flops_per_token(model, 16) == 3 * flops_per_token(model, 16, training=False)


def test_scaled_embeddings():
    plain, scaled = make(position="sinusoidal"), make(position="sinusoidal", scale_embedding=True)
    assert isinstance(plain, GPT) and isinstance(scaled, GPT)
    with torch.no_grad():
        plain.token_embedding.weight.copy_(scaled.token_embedding.weight * 32**0.5)
    ids = some_ids()
    # all but the tied head, which reads the table as it is
    torch.testing.assert_close(plain.hidden_states(ids), scaled.hidden_states(ids))
