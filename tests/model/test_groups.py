"""Parameter groups for optimisers."""

from gptpy.config import GPTConfig
from gptpy.model import GPT


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
    gpt2 = GPT(GPTConfig.preset("gpt2", n_layer=1, n_head=4, n_embd=32))
    assert [g["name"] for g in gpt2.configure_parameter_groups()] == [
        "matrices",
        "embeddings",
        "scalars",
    ]
