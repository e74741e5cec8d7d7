"""Training: `Trainer(model, data, config).fit()`."""

from gptpy.train.state import TrainResult, TrainState
from gptpy.train.trainer import Trainer
from gptpy.train.update import TrainingError

__all__ = ["TrainResult", "TrainState", "Trainer", "TrainingError"]
