"""Export and import: what other programs compute from our files is what we compute."""

import json
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from gptpy.config import GPTConfig
from gptpy.config.lora import LoraConfig
from gptpy.interop import (
    ExportError,
    export_gguf,
    export_huggingface,
    export_onnx,
    export_peft,
    import_huggingface,
)
from gptpy.model import GPT, build_model
from gptpy.model.lora import add_adapters

SHAPE = {"n_layer": 2, "n_head": 4, "n_embd": 32, "vocab_size": 61, "block_size": 16}


def make(preset, **settings):
    """A model whose every weight is random, norms and biases too."""
    torch.manual_seed(0)
    model = GPT(GPTConfig.preset(preset, **{**SHAPE, **settings})).eval()
    for name, parameter in model.named_parameters():
        centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        torch.nn.init.normal_(parameter, centre, 0.2)
    return model


def some_ids(length=16):
    return torch.randint(61, (2, length), generator=torch.Generator().manual_seed(0))


def logits_of(model, ids):
    with torch.no_grad():
        return model(ids)[0]


VARIANTS = [
    ("gpt2", {}, "GPT2LMHeadModel"),
    ("gpt2", {"tied_head": False, "activation": "relu", "n_hidden": 48}, "GPT2LMHeadModel"),
    ("gpt2", {"bias": False, "norm_affine": False}, "GPT2LMHeadModel"),
    ("modern-1m", {}, "Qwen3ForCausalLM"),
    ("modern-1m", {"n_kv_head": 2, "head_dim": 6, "tied_head": True, "init_head": "normal"},
     "Qwen3ForCausalLM"),
    ("modern-1m", {"window": 4, "full_attention_every": 2, "norm_affine": False},
     "Qwen3ForCausalLM"),
    ("modern-1m", {"qkv_bias": True, "rope_theta": 500.0}, "Qwen3ForCausalLM"),
    ("modern-1m", {"qk_norm": False, "n_kv_head": 1}, "LlamaForCausalLM"),
]  # fmt: skip


@pytest.mark.parametrize(("preset", "settings", "name"), VARIANTS)
def test_transformers_computes_our_logits_and_we_read_our_files_back(
    tmp_path, preset, settings, name
):
    from transformers import AutoModelForCausalLM

    model = make(preset, **settings)
    folder = export_huggingface(model, tmp_path / "hf", end_of_text=("<|endoftext|>", 60))
    loaded: Any = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    theirs, about = loaded
    assert type(theirs).__name__ == name
    assert not about["missing_keys"] and not about["unexpected_keys"]
    ids = some_ids()
    expected = logits_of(model, ids)
    torch.testing.assert_close(theirs.eval()(ids).logits, expected, rtol=1e-5, atol=1e-5)
    again = import_huggingface(folder).eval()
    torch.testing.assert_close(logits_of(again, ids), expected, rtol=1e-6, atol=1e-6)
    # Their saved form, too.
    theirs.save_pretrained(tmp_path / "saved", max_shard_size="20KB")
    assert (tmp_path / "saved" / "model.safetensors.index.json").is_file()
    again = import_huggingface(tmp_path / "saved").eval()
    torch.testing.assert_close(logits_of(again, ids), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen2", "qwen3"])
def test_models_of_transformers_import(tmp_path, kind):
    import transformers as t

    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "vocab_size": 61,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "intermediate_size": 48,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 16,
        "head_dim": 8,
    }
    if kind == "gpt2":
        config = t.GPT2Config(vocab_size=61, n_positions=16, n_embd=32, n_layer=2, n_head=4)
        theirs = t.GPT2LMHeadModel(config)
    elif kind == "llama":
        theirs = t.LlamaForCausalLM(t.LlamaConfig(**shape))
    elif kind == "qwen2":
        shape.pop("head_dim")
        theirs = t.Qwen2ForCausalLM(t.Qwen2Config(**shape))
    else:
        theirs = t.Qwen3ForCausalLM(t.Qwen3Config(**shape))
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, 0.1, 0.3)
    theirs.eval().save_pretrained(tmp_path)
    ours = import_huggingface(tmp_path).eval()
    ids = some_ids()
    torch.testing.assert_close(logits_of(ours, ids), theirs(ids).logits, rtol=1e-5, atol=1e-5)


def test_the_tokenizer_travels_with_the_model(tmp_path, shared_dir):
    from transformers import AutoTokenizer

    model = make("gpt2", vocab_size=50257)
    folder = export_huggingface(
        model,
        tmp_path / "hf",
        tokenizer_file=shared_dir / "vocab" / "gpt2-tokenizer.json",
        end_of_text=("<|endoftext|>", 50256),
    )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.encode("Hello world") == [15496, 995]
    assert tokenizer.eos_token_id == 50256
    assert tokenizer.model_max_length == 16


@pytest.mark.parametrize(
    ("preset", "settings", "message"),
    [
        ("gpt2", {"position": "alibi"}, "position = 'alibi', which GPT-2, Llama and Qwen3 do not"),
        ("gpt2", {"attention_softcap": 5.0}, "attention_softcap"),
        ("gpt2", {"norm": "rmsnorm"}, "norm = 'rmsnorm' with learned positions"),
        ("modern-1m", {"activation": "geglu"}, "activation = 'geglu' with rope"),
        ("modern-1m", {"window": 4, "qk_norm": False}, "window without qk_norm"),
        ("encoder-mini", {}, "a decoder"),
    ],
)
def test_models_without_a_counterpart_write_nothing(tmp_path, preset, settings, message):
    model = build_model(GPTConfig.preset(preset, **{**SHAPE, **settings}))
    with pytest.raises(ExportError, match=message):
        export_huggingface(model, tmp_path / "hf")
    assert list(tmp_path.iterdir()) == []


def test_an_export_replaces_nothing_but_an_earlier_export(tmp_path, monkeypatch):
    own = tmp_path / "papers"
    own.mkdir()
    (own / "thesis.txt").write_text("years of work")
    model = make("modern-1m")
    for target in (own, own / "thesis.txt"):
        with pytest.raises(ExportError, match=r"thesis\.txt"):
            export_huggingface(model, target)
    monkeypatch.chdir(own)
    with pytest.raises(ExportError, match=r"thesis\.txt"):
        export_huggingface(model, ".")
    assert [path.name for path in own.iterdir()] == ["thesis.txt"]
    for _ in range(2):
        export_huggingface(model, tmp_path / "export")
    assert logits_of(import_huggingface(tmp_path / "export"), some_ids()).shape == (2, 16, 61)
    with pytest.raises(ExportError, match="is a folder"):
        export_gguf(model, own)
    with pytest.raises(ExportError, match="is a folder"):
        export_onnx(model, ".")


def test_folders_that_are_not_models(tmp_path):
    with pytest.raises(ExportError, match=r"config.json: no such file"):
        import_huggingface(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bloom"}')
    with pytest.raises(ExportError, match=r"expected a model of type gpt2, .*, got 'bloom'"):
        import_huggingface(tmp_path)
    (tmp_path / "config.json").write_text("not json")
    with pytest.raises(ExportError, match="cannot be read"):
        import_huggingface(tmp_path)
    folder = export_huggingface(make("gpt2"), tmp_path / "hf")
    weights = folder / "model.safetensors"
    weights.rename(folder / "pytorch_model.bin")
    with pytest.raises(ExportError, match=r"pytorch_model.bin is a pickle and is not read"):
        import_huggingface(folder)
    save_file({"transformer.wte.weight": torch.zeros(61, 32)}, weights)
    with pytest.raises(ExportError, match=r"no weight named 'wpe.weight'"):
        import_huggingface(folder)
    weights.write_bytes(b"\0" * 20)
    with pytest.raises(ExportError, match="cannot be read"):
        import_huggingface(folder)
    about = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**about, "activation_function": "mish"}))
    with pytest.raises(ExportError, match="activation_function: expected one of"):
        import_huggingface(folder)


@pytest.mark.parametrize(
    ("preset", "settings", "arch"),
    [
        ("gpt2", {}, "gpt2"),
        ("modern-1m", {"n_kv_head": 2}, "qwen3"),
        ("modern-1m", {"n_kv_head": 2, "qk_norm": False}, "llama"),
    ],
)
@pytest.mark.parametrize("dtype", ["f32", "bf16", "f16"])
def test_gguf_reads_back(tmp_path, shared_dir, preset, settings, arch, dtype):
    gguf = pytest.importorskip("gguf")
    model = make(preset, **settings, vocab_size=50257)
    tokenizer = shared_dir / "vocab" / "gpt2-tokenizer.json"
    path = export_gguf(
        model, tmp_path / "m.gguf", tokenizer_file=tokenizer, end_of_text=50256, dtype=dtype
    )
    assert list(tmp_path.iterdir()) == [path]
    reader = gguf.GGUFReader(path)
    field = {name: reader.fields[name].contents() for name in reader.fields}
    assert field["general.architecture"] == arch
    assert field[f"{arch}.block_count"] == 2
    assert field[f"{arch}.context_length"] == 16
    assert field["tokenizer.ggml.tokens"][15496] == "Hello"
    assert field["tokenizer.ggml.merges"][0] == "Ġ t"
    assert field["tokenizer.ggml.eos_token_id"] == 50256
    assert field["tokenizer.ggml.pre"] == "gpt-2"
    assert field["tokenizer.ggml.add_bos_token"] is False
    tensors = {
        t.name: torch.from_numpy(gguf.dequantize(t.data, t.tensor_type).copy())
        for t in reader.tensors
    }
    ours = model.state_dict()
    tolerance = {"f32": 0.0, "f16": 1e-3, "bf16": 1e-2}[dtype]

    def same(theirs, expected):
        torch.testing.assert_close(tensors.pop(theirs), expected, rtol=tolerance, atol=tolerance)

    same("token_embd.weight", ours["token_embedding.weight"])
    same("output_norm.weight", ours["norm.weight"])
    same("blk.1.ffn_down.weight", ours["blocks.1.mlp.down.weight"])
    if arch == "gpt2":
        same("blk.1.attn_qkv.weight", ours["blocks.1.attention.qkv.weight"])
        same("blk.0.ffn_up.bias", ours["blocks.0.mlp.up.bias"])
    else:
        q, k, v = ours["blocks.1.attention.qkv.weight"].split([32, 16, 16])
        gate, up = ours["blocks.1.mlp.up.weight"].chunk(2)
        same("blk.1.ffn_gate.weight", gate)
        same("blk.1.ffn_up.weight", up)
        same("blk.1.attn_v.weight", v)
        if arch == "llama":  # rows in pairs of neighbours: 0, 4, 1, 5, ... of every head of 8
            order = torch.tensor([0, 4, 1, 5, 2, 6, 3, 7])
            q, k = (x.view(-1, 8, 32)[:, order].reshape(x.shape) for x in (q, k))
        same("blk.1.attn_q.weight", q)
        same("blk.1.attn_k.weight", k)


def test_gguf_refuses_what_it_cannot_say(tmp_path):
    pytest.importorskip("gguf")
    with pytest.raises(ExportError, match="no sliding window"):
        export_gguf(make("modern-1m", window=4), tmp_path / "m.gguf")
    with pytest.raises(ExportError, match="dtype: expected one of f32, bf16, f16, got 'q4'"):
        export_gguf(make("gpt2"), tmp_path / "m.gguf", dtype="q4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["gpt2", "modern-1m"])
def test_onnx_runs_elsewhere(tmp_path, preset):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    model = make(preset, n_kv_head=4)
    path = export_onnx(model, tmp_path / "m.onnx")
    session = runtime.InferenceSession(str(path))
    for ids in (some_ids(), some_ids(5)[:1]):
        (got,) = session.run(None, {"ids": ids.numpy()})
        expected = logits_of(model, ids)
        torch.testing.assert_close(torch.from_numpy(got), expected, rtol=1e-4, atol=1e-4)


def test_onnx_refuses_what_one_file_cannot_hold(tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")
    monkeypatch.setattr("gptpy.interop.onnx.LARGEST_FILE", 1000)
    with pytest.raises(ExportError, match="holds less than 2 GB"):
        export_onnx(make("gpt2"), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("preset", ["gpt2", "modern-1m"])
def test_command_line_there_and_back(tmp_path, shared_dir, capsys, preset):
    from gptpy.cli import main

    model = make(preset, vocab_size=50257)
    folder = export_huggingface(
        model, tmp_path / "hf", tokenizer_file=shared_dir / "vocab" / "gpt2-tokenizer.json"
    )
    run, again = tmp_path / "run", tmp_path / "again"
    assert main(["import", str(folder), "-o", str(run)]) == 0
    assert "parameters" in capsys.readouterr().out
    assert main(["import", str(folder), "-o", str(run)]) == 2
    assert "is a run already" in capsys.readouterr().err
    assert main(["generate", str(run), "-p", "Hello", "--tokens", "3", "--seed", "1"]) == 0
    assert capsys.readouterr().out.startswith("Hello")
    assert main(["export", str(run), "-o", str(again)]) == 0
    expected = logits_of(model, some_ids())
    torch.testing.assert_close(logits_of(import_huggingface(again).eval(), some_ids()), expected)
    assert (again / "tokenizer.json").is_file()
    assert main(["export", str(run), "-o", str(again), "--dtype", "f16"]) == 0
    half = load_file(again / "model.safetensors")
    assert {tensor.dtype for tensor in half.values()} == {torch.float16}
    onnx = ["export", str(run), "--format", "onnx", "-o", str(tmp_path / "m.onnx")]
    assert main([*onnx, "--dtype", "f16"]) == 2


def test_adapters_are_exported_with_the_rows_of_each_layer(tmp_path):
    """What `peft` computes with them: tests/clients/test_peft.py."""
    model = make("modern-1m", n_kv_head=2)
    lora = LoraConfig(rank=2, targets=["qkv"])
    add_adapters(model, lora)
    folder = export_peft(model, lora, tmp_path / "adapter", dtype="bf16")
    weights = load_file(folder / "adapter_model.safetensors")
    prefix = "base_model.model.model.layers.1.self_attn"
    shapes = {name: tuple(weights[f"{prefix}.{name}_proj.lora_B.weight"].shape) for name in "qkv"}
    assert shapes == {"q": (32, 2), "k": (16, 2), "v": (16, 2)}
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    about = json.loads((folder / "adapter_config.json").read_text())
    assert about["target_modules"] == ["self_attn.k_proj", "self_attn.q_proj", "self_attn.v_proj"]
    with pytest.raises(ExportError, match="no adapters"):
        export_peft(make("gpt2"), None, tmp_path / "none")
