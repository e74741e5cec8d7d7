"""What settings refuse, and how they say so."""

import copy
import dataclasses
import pickle

import pytest

from gptpy import GptpyError
from gptpy.config import ConfigError, GPTConfig
from gptpy.config.data import DataConfig, TemplateConfig
from gptpy.config.lora import LoraConfig
from gptpy.config.run import RunConfig, with_overrides
from gptpy.config.training import OptimConfig, ScheduleConfig, TrainConfig

CLASSES = [
    GPTConfig,
    DataConfig,
    LoraConfig,
    OptimConfig,
    RunConfig,
    ScheduleConfig,
    TemplateConfig,
    TrainConfig,
]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.stepz", "1", "unknown key train.stepz; did you mean train.steps?"),
        ("trian.steps", "1", "unknown key trian; did you mean train?"),
        ("xyz", "1", "unknown key xyz; known are model, train, data, lora"),
        ("train.steps", "soon", "train.steps: expected an integer > 0, got 'soon'"),
        ("train.steps", '"5"', "train.steps: expected an integer > 0, got '5'"),
        ("train.steps", "0", "train.steps: expected an integer > 0, got 0"),
        ("train.steps", "1.5", "train.steps: expected an integer > 0, got 1.5"),
        ("train.steps", "true", "train.steps: expected an integer > 0, got true"),
        ("train.seconds", "true", "train.seconds: expected a number > 0, got true"),
        ("train.seconds", "nan", "train.seconds: expected a number > 0, got nan"),
        ("train.keep_best", "1", "train.keep_best: expected true or false, got 1"),
        ("train.optim.name", "moun", "train.optim.name: expected one of adamw, muon, got 'moun'"),
        ("train.optim.name", "moun", "did you mean 'muon'?"),
        ("train.optim.beta1", "1", "train.optim.beta1: expected a number in [0, 1), got 1"),
        ("train.optim", "muon", "train.optim: expected a table, got 'muon'"),
        ("train.schedule.floor", "2", "train.schedule.floor: expected a number in [0, 1], got 2"),
        ("train.ema_decay", "1", "train.ema_decay: expected a number in (0, 1), got 1"),
        ("train.micro_batch_size", "3", "train: batch_size must be a multiple of micro_batch_size"),
        ("model.n_head", "5", "model: n_embd = 128 is not a multiple of n_head = 5"),
        ("model.nlayer", "5", "unknown key model.nlayer; did you mean model.n_layer"),
        ("model.preset", "modern-2m", "no preset 'modern-2m'"),
        ("model.preset", "5", "no preset '5'"),
        ("train.batch_size", "null", "train.batch_size: expected an integer > 0, got 'null'"),
        ("train.steps", "1\nx = 2", "train.steps: expected an integer > 0, got '1\\nx = 2'"),
        ("data.sources", '["a", 1]', "data.sources[1]: expected a string, got 1"),
        ("data.mask_share", "0", "data.mask_share: expected a number in (0, 1], got 0"),
        ("data.stride", "4", "data: stride belongs to form = 'lines', got 'stream'"),
        ("data.template.user", "x", "data.template.user: expected {content} once, got 'x'"),
        ("lora.targets", "[]", "lora.targets: expected a non-empty list, got []"),
        ("lora.targets", '["kvs"]', "lora.targets[0]: expected one of qkv, out, up, down, q, kv"),
    ],
)
def test_mistakes_are_named(key: str, value: str, message: str):
    mapping = with_overrides({"model": {"preset": "modern-1m"}}, [(key, value)])
    with pytest.raises(ConfigError) as error:
        RunConfig.from_mapping(mapping)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_every_mistake_is_told_at_once():
    with pytest.raises(ConfigError) as error:
        RunConfig.from_mapping({"train": {"steps": 0, "optim": {"lr": -1, "muon": 2}}, "x": 1})
    told = str(error.value)
    for key in ("train.steps", "train.optim.lr", "train.optim.muon", "x"):
        assert f"{key}: expected" in told or f"unknown key {key};" in told


def test_whole_floats_are_integers_and_integers_are_numbers():
    config = RunConfig.from_mapping({"train": {"steps": 1e6, "seconds": 60}})
    assert config.train.steps == 1_000_000 and type(config.train.steps) is int
    assert type(config.train.seconds) is float
    assert DataConfig(sources=("a", "b")).sources == ["a", "b"]  # type: ignore[arg-type]


def test_arguments_by_position_are_named_in_errors():
    assert GPTConfig(100, 32).block_size == 32 and LoraConfig(4).rank == 4
    with pytest.raises(ConfigError, match="block_size: expected an integer > 0, got 'x'"):
        GPTConfig(100, "x")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="argument 6: Unexpected positional argument"):
        LoraConfig(1, 1.0, 0.0, False, ["q"], 3)  # type: ignore[call-arg]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_they_behave_as_dataclasses(cls):
    made = cls()
    assert made == cls() == copy.deepcopy(made) == pickle.loads(pickle.dumps(made))  # noqa: S301
    assert dataclasses.replace(made) == made
    with pytest.raises(ConfigError, match="unknown key not_a_key"):
        dataclasses.replace(made, not_a_key=1)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_no_field_takes_a_value_of_another_type(cls):
    """pydantic's own types would take "1" for an integer and 1 for a switch."""
    for field in dataclasses.fields(cls):
        for wrong in (object(), b"x", {1}):
            with pytest.raises(ConfigError, match=f"{field.name}(: expected|\\[0\\]: expected)"):
                cls(**{field.name: wrong})
        taken = []
        for value in ("1", True, 1):
            try:
                cls(**{field.name: value})
                taken.append(type(value))
            except ConfigError:
                pass
        assert len(taken) <= 1, f"{cls.__name__}.{field.name} takes {taken}"


def test_one_base_for_all_errors():
    from gptpy.data import DataError
    from gptpy.interop import ExportError
    from gptpy.runs.checkpoint import CheckpointError
    from gptpy.runs.sharded import ShardsError
    from gptpy.train.update import TrainingError

    for error in (ConfigError, DataError, ExportError, CheckpointError, ShardsError):
        assert issubclass(error, GptpyError) and issubclass(error, ValueError)
        assert error.exit_code == 2
    assert issubclass(TrainingError, GptpyError) and issubclass(TrainingError, RuntimeError)
    assert TrainingError.exit_code == 1
