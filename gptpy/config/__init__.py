"""Settings of every part, checked when they are made. Imports nothing else of `gptpy`."""

from gptpy.config.errors import ConfigError
from gptpy.config.model import GPTConfig

__all__ = ["ConfigError", "GPTConfig"]
