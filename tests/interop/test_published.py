"""Imported models: greedy text as in `transformers`, files that come back as they were."""

import errno
import json
from typing import Any

import bpe_rs
import pytest
import torch
from safetensors.torch import load_file, save_file

import gptpy
from gptpy.cli import main
from gptpy.inference.text import prepare_prompt, stream_text
from gptpy.interop import ExportError, import_huggingface
from gptpy.interop.llama_cpp import note_on, pre_tokenizer
from gptpy.tokenizer.published import begin_ids, end_ids

TEXT = "In the beginning was the word, and the words were counted: 1, 2, 3; it's all that we know. "
PROMPTS = [TEXT[i : i + 9] for i in range(50)]
SHAPE: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip


def save_tokenizer(folder, *, special, pattern="llama3", bos=None, **config):
    """A tokenizer as such models have it; with `bos`, its template puts that token first."""
    trained = bpe_rs.train([TEXT * 20], vocab_size=300, pattern=pattern, special_tokens=special)
    trained.save(folder / "tokenizer.json")
    if bos is not None:
        about = json.loads((folder / "tokenizer.json").read_text())
        token = trained.encode_single_token(bos)
        template = {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": bos, "type_id": 0}},
                       {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                     {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {bos: {"id": bos, "ids": [token], "tokens": [bos]}},
        }  # fmt: skip
        both = [about["post_processor"], template]
        about["post_processor"] = {"type": "Sequence", "processors": both}
        (folder / "tokenizer.json").write_text(json.dumps(about))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": bos, **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return trained


def published(folder, kind, *, dtype=torch.float32, **config):
    """A random model of `transformers` with its tokenizer, saved in `folder`."""
    import transformers as t

    special = ["<|begin|>", "<|end_of_text|>", "<|eot_id|>"]
    folder.mkdir()
    bos = "<|begin|>" if kind != "gpt2" else None
    tokenizer = save_tokenizer(folder, special=special, bos=bos, eos_token="<|eot_id|>")
    ends = [tokenizer.encode_single_token(text) for text in special[1:]]
    begin = tokenizer.encode_single_token(special[0])
    about: dict[str, Any] = {"vocab_size": 304, "eos_token_id": ends, "bos_token_id": begin}
    torch.manual_seed(0)
    if kind == "gpt2":
        shape = {"n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4}
        model: Any = t.GPT2LMHeadModel(t.GPT2Config(**shape, **about, **config))
    else:
        name = kind.capitalize()
        made = getattr(t, f"{name}Config")(**{**SHAPE, **about, **config})
        model = getattr(t, f"{name}ForCausalLM")(made)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.05, 0.3)
    model.generation_config = t.GenerationConfig(
        eos_token_id=ends, bos_token_id=begin, pad_token_id=ends[0]
    )
    model.to(dtype).save_pretrained(folder)
    return model.float().eval(), ends, begin


def imported(folder, run):
    assert main(["import", str(folder), "-o", str(run)]) == 0
    return gptpy.load(run, device="cpu", dtype="float32")


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "gpt2"])
def test_greedy_text_is_that_of_transformers(tmp_path, kind):
    from transformers import AutoTokenizer

    theirs, _, begin = published(tmp_path / "hf", kind)
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / "hf")
    # A random model says anything: let two of the tokens that it says end a text
    theirs.generation_config.eos_token_id = None
    free = theirs.generate(**tokenizer(PROMPTS[0], return_tensors="pt"), max_new_tokens=9)[0]
    ends = sorted({int(free[-1]), int(free[-5])})
    theirs.generation_config.eos_token_id = ends
    theirs.generation_config.save_pretrained(tmp_path / "hf")
    loaded = imported(tmp_path / "hf", tmp_path / "run")
    assert loaded.ends == tuple(ends)
    assert loaded.beginning == (() if kind == "gpt2" else (begin,))
    stopped = 0
    for prompt in PROMPTS:
        inputs = tokenizer(prompt, return_tensors="pt")
        generated = theirs.generate(**inputs, max_new_tokens=20, do_sample=False)[0]
        expected = generated[inputs["input_ids"].shape[1] :].tolist()
        stopped += expected[-1] in ends
        ids, more = prepare_prompt(
            loaded.model, loaded.tokenizer, prompt, loaded.config.data, None, loaded.beginning
        )
        assert ids == inputs["input_ids"][0].tolist()
        pieces = stream_text(
            loaded.model, loaded.tokenizer, ids, 20, temperature=0, eos_id=loaded.ends, inputs=more
        )
        text = [token for token in expected if token not in ends]
        assert "".join(pieces) == tokenizer.decode(text, skip_special_tokens=False)
    assert stopped >= 5  # the ends matter


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "gpt2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_was_imported_is_exported_as_it_was(tmp_path, kind, dtype):
    published(tmp_path / "hf", kind, dtype=dtype)
    (tmp_path / "hf" / "chat_template.jinja").write_text("{{ messages }}")
    imported(tmp_path / "hf", tmp_path / "run")
    assert main(["export", str(tmp_path / "run"), "-o", str(tmp_path / "again")]) == 0
    before, after = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("hf", "again")
    )
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("hf", "again")]
    del before["model.safetensors"], after["model.safetensors"]
    assert after == before
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]) and tensor.dtype == weights[1][name].dtype
    asked = ["export", str(tmp_path / "run"), "-o", str(tmp_path / "half"), "--dtype", "bf16"]
    assert main(asked) == 0
    half = load_file(tmp_path / "half" / "model.safetensors")
    assert {tensor.dtype for tensor in half.values()} == {torch.bfloat16}
    config = json.loads((tmp_path / "half" / "config.json").read_text())
    assert config.get("dtype", config.get("torch_dtype")) == "bfloat16"


def test_ends_and_beginnings_are_read_where_they_stand(tmp_path):
    assert end_ids(tmp_path) == () and begin_ids(tmp_path) == ()
    (tmp_path / "config.json").write_text('{"eos_token_id": 7}')
    assert end_ids(tmp_path) == (7,)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [1, 2]}')
    assert end_ids(tmp_path) == (1, 2)
    (tmp_path / "generation_config.json").write_text('{"temperature": 0.6}')
    assert end_ids(tmp_path) == (7,)
    (tmp_path / "vocab.json").write_text('{"<s>": 4}')
    config = {"add_bos_token": True, "bos_token": {"content": "<s>", "lstrip": False}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert begin_ids(tmp_path) == (4,)
    roberta = {"type": "RobertaProcessing", "cls": ["<s>", 5], "sep": ["</s>", 6]}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"post_processor": roberta}))
    assert begin_ids(tmp_path) == (5,)


def damaged(folder, change):
    """Rewrite the weights of an export after `change` of its dictionary."""
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.update({"model.layers.2.mlp.up_proj.weight": torch.zeros(2)}),
         r"1 weights that config.json does not describe: model\.layers\.2\.mlp\.up_proj"),
        (lambda w: w["model.norm.weight"].fill_(float("nan")), r"model.norm.weight holds NaN"),
        (lambda w: w["model.norm.weight"].fill_(float("inf")), "norm.weight holds NaN or inf"),
        (lambda w: w.pop("model.norm.weight"), "no weight named 'model.norm.weight': is it"),
        (lambda w: w.update({"model.layers.0.self_attn.k_proj.weight": torch.zeros(32, 16)}),
         r"k_proj.weight has shape \(32, 16\), its config.json says \(16, 32\)"),
        (lambda w: w.update({"model.norm.weight": torch.zeros(32, dtype=torch.int8)}),
         "numbers of type int8"),
        (lambda w: w.update({"lm_head.weight": torch.zeros(304, 32).to(torch.float8_e4m3fn)}),
         "numbers of type float8_e4m3fn"),
    ],
)  # fmt: skip
def test_damaged_weights_are_named(tmp_path, change, message):
    published(tmp_path / "hf", "llama")
    damaged(tmp_path / "hf", change)
    with pytest.raises(ExportError, match=message):
        import_huggingface(tmp_path / "hf")


def test_fewer_layers_in_the_configuration_than_in_the_file(tmp_path, capsys):
    published(tmp_path / "hf", "gpt2")
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    (tmp_path / "hf" / "config.json").write_text(json.dumps({**config, "n_layer": 1}))
    assert main(["import", str(tmp_path / "hf"), "-o", str(tmp_path / "run")]) == 2
    assert "12 weights that config.json does not describe: h.1.attn" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod."])
def test_names_of_wrappers_are_understood(tmp_path, prefix):
    theirs, *_ = published(tmp_path / "hf", "llama")

    def wrap(weights):
        for name in list(weights):
            weights[prefix + name.replace("layers.1.", "layers.1._orig_mod.")] = weights.pop(name)

    damaged(tmp_path / "hf", wrap)
    ids = torch.arange(12)[None]
    logits = import_huggingface(tmp_path / "hf").eval()(ids)[0]
    torch.testing.assert_close(logits, theirs(ids).logits, rtol=1e-4, atol=1e-4)


def test_a_tied_head_may_be_saved_but_not_differ(tmp_path):
    published(tmp_path / "hf", "gpt2")
    table = load_file(tmp_path / "hf" / "model.safetensors")["transformer.wte.weight"]
    damaged(tmp_path / "hf", lambda w: w.update({"lm_head.weight": table.clone()}))
    import_huggingface(tmp_path / "hf")
    damaged(tmp_path / "hf", lambda w: w["lm_head.weight"].add_(1))
    with pytest.raises(ExportError, match=r"does not describe: lm_head\.weight"):
        import_huggingface(tmp_path / "hf")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quantization_config": {"bits": 4}}, "quantised"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope of type 'yarn'"),
    ],
)
def test_settings_that_change_the_arithmetic_are_refused(tmp_path, settings, message):
    published(tmp_path / "hf", "llama")
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    (tmp_path / "hf" / "config.json").write_text(json.dumps({**config, **settings}))
    with pytest.raises(ExportError, match=message):
        import_huggingface(tmp_path / "hf")


def test_windows_of_the_later_layers_only(tmp_path):
    """Qwen's `max_window_layers` without `layer_types`, as older files have it."""
    theirs, *_ = published(
        tmp_path / "hf", "qwen3", use_sliding_window=True, sliding_window=3, max_window_layers=0
    )
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert config.pop("layer_types") == ["sliding_attention"] * 2
    (tmp_path / "hf" / "config.json").write_text(json.dumps(config))
    ids = torch.arange(20)[None]
    ours = import_huggingface(tmp_path / "hf").eval()
    torch.testing.assert_close(ours(ids)[0], theirs(ids).logits, rtol=1e-4, atol=1e-4)
    (tmp_path / "hf" / "config.json").write_text(json.dumps({**config, "max_window_layers": 2}))
    assert import_huggingface(tmp_path / "hf").config.window is None


def test_a_full_disk_is_one_line_that_names_the_file(tmp_path, monkeypatch, capsys):
    published(tmp_path / "hf", "llama")
    imported(tmp_path / "hf", tmp_path / "run")
    capsys.readouterr()
    full = OSError(errno.ENOSPC, "No space left on device")
    from safetensors import SafetensorError

    for error in (full, SafetensorError("I/O error: No space left on device (os error 28)")):

        def fail(*_, error=error, **__):
            raise error

        monkeypatch.setattr("gptpy.interop.huggingface.save_file", fail)
        out = tmp_path / "out"
        assert main(["export", str(tmp_path / "run"), "-o", str(out)]) == 2
        message = capsys.readouterr().err
        assert message.count("\n") == 1 and f"{out}: cannot be written: " in message
        assert "No space left on device" in message
        assert not out.exists() and not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize(
    ("pattern", "name"),
    [("gpt2", "gpt-2"), ("llama3", "llama-bpe"), ("qwen2", "qwen2"), ("cl100k", None),
     ("o200k", None), (r"\p{L}+|[^\p{L}]+", None),
     # Begins as GPT-2's and Qwen's do
     (r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?[^\s\p{L}]+|\s+(?!\S)|\s+", None),
     (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|\s+|[^\s\p{L}\p{N}]+", None)],
)  # fmt: skip
def test_patterns_are_recognised_by_identity(tmp_path, pattern, name):
    trained = bpe_rs.train([TEXT], vocab_size=260, pattern=pattern, special_tokens=[])
    trained.save(tmp_path / "tokenizer.json")
    about = json.loads((tmp_path / "tokenizer.json").read_text())
    note = note_on(tmp_path / "tokenizer.json")
    if name is None:
        with pytest.raises(ExportError, match="as gpt2, llama3 and qwen2 do"):
            pre_tokenizer(about)
        assert note is not None and "--format gguf" in note
        return
    assert pre_tokenizer(about) == name and note is None
    about["pre_tokenizer"].get("pretokenizers", [about["pre_tokenizer"]])[-1][
        "add_prefix_space"
    ] = True
    with pytest.raises(ExportError):
        pre_tokenizer(about)


def test_a_pattern_that_gguf_refuses_is_told_when_the_tokenizer_is_made(tmp_path, capsys):
    (tmp_path / "a.txt").write_text(TEXT * 30)
    for pattern, told in (("o200k", True), ("qwen2", False)):
        file = str(tmp_path / f"{pattern}.json")
        command = ["tokenizer", "train", str(tmp_path / "a.txt"), "--vocab-size", "270", "-o", file]
        assert main([*command, "--pattern", pattern]) == 0
        assert ("note: llama.cpp has no name" in capsys.readouterr().out) == told
        command = ["prepare", str(tmp_path / "a.txt"), "--tokenizer", file]
        assert main([*command, "-o", str(tmp_path / f"data-{pattern}")]) == 0
        assert ("note: llama.cpp has no name" in capsys.readouterr().out) == told


def test_gguf_says_what_begins_and_what_ends_a_text(tmp_path):
    gguf = pytest.importorskip("gguf")
    _, ends, begin = published(tmp_path / "hf", "llama")
    imported(tmp_path / "hf", tmp_path / "run")
    out = tmp_path / "m.gguf"
    assert main(["export", str(tmp_path / "run"), "--format", "gguf", "-o", str(out)]) == 0
    reader = gguf.GGUFReader(out)
    field = {name.split(".")[-1]: reader.fields[name].contents() for name in reader.fields}
    assert field["add_bos_token"] is True and field["bos_token_id"] == begin
    assert [field["eos_token_id"], field["eot_token_id"]] == ends
    assert field["pre"] == "llama-bpe"
