"""The networks as a run uses them: classes, sizes, back ends, and that they learn."""

import pytest
import torch

from gptpy.config import GPTConfig
from gptpy.model import GPT, Bigram, Encoder, EncoderDecoder, build_model, mask_tokens

SHAPE = {"n_layer": 2, "n_head": 4, "n_embd": 32, "vocab_size": 29, "block_size": 16}
WEIGHTS = {"init_residual": "normal", "init_std": 0.2}


def make(**settings):
    torch.manual_seed(0)
    return build_model(GPTConfig(**{**SHAPE, **WEIGHTS, **settings})).eval()


def some_ids(batch=2, length=16, seed=0):
    return torch.randint(29, (batch, length), generator=torch.Generator().manual_seed(seed))


def test_build_model_picks_the_class():
    for architecture, cls in (
        ("decoder", GPT),
        ("encoder", Encoder),
        ("encoder-decoder", EncoderDecoder),
        ("bigram", Bigram),
    ):
        assert type(make(architecture=architecture)) is cls
    with pytest.raises(ValueError, match="build_model"):
        GPT(GPTConfig.preset("bigram"))


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
        ("encoder-mini", (10, 12)),
        ("encoder-decoder-mini", (28, 32)),
    ],
)
def test_presets_are_about_as_large_as_their_names_say(preset, millions):
    with torch.device("meta"):
        size = build_model(GPTConfig.preset(preset)).num_parameters() / 1e6
    assert millions[0] <= size <= millions[1]


@pytest.mark.parametrize("position", ["learned", "sinusoidal", "rope", "alibi", "none"])
@pytest.mark.parametrize("backend", ["sdpa", "dense"])
def test_back_ends_agree_for_every_position(position, backend):
    model = make(position=position, n_kv_head=2)
    ids = some_ids()
    model.attention_backend = "reference"
    expected, _ = model(ids)
    model.attention_backend = backend
    torch.testing.assert_close(model(ids)[0], expected, rtol=1e-4, atol=1e-4)


def test_the_back_end_is_chosen_for_the_network():
    assert make().attention_backend == "sdpa"
    assert make().select_attention()[0] == "dense"
    model = make(attention_softcap=0.1)
    assert model.attention_backend == model.select_attention()[0] == "reference"
    with pytest.raises(ValueError, match="does not support softcap"):
        model.select_attention("sdpa")


def test_an_encoder_does_not_generate():
    with pytest.raises(ValueError, match="an encoder sees both directions"):
        make(architecture="encoder").generate(some_ids(), 3)


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
    model = make(architecture="encoder", init_std=0.05)
    model.select_attention()
    generator = torch.Generator().manual_seed(0)

    def batch(step):
        start = torch.randint(20, (32, 1), generator=generator)
        ids = (start + torch.arange(8)) % 20
        inputs, targets = mask_tokens(ids, 28, 20, generator=generator)
        return inputs, targets, {}

    assert train(model, batch, 150) < 1.5  # a uniform guess has log(20) = 3.0


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
    shape = {"vocab_size": 14, "block_size": 16, "n_layer": 2, "n_head": 4, "n_embd": 64}
    modern = {"position": "rope", "norm": "rmsnorm", "norm_eps": 1e-6, "bias": False}
    model = EncoderDecoder(GPTConfig(architecture="encoder-decoder", **shape, **modern))
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
