"""Settings of every part, checked when they are made. Imports nothing else of `gptpy`."""

from typing import TYPE_CHECKING, Any

from gptpy.config.errors import ConfigError, GptpyError

if TYPE_CHECKING:
    from gptpy.config.model import GPTConfig

__all__ = ["ConfigError", "GPTConfig", "GptpyError"]


def __getattr__(name: str) -> Any:
    """`GPTConfig` loads on first use: the library that checks settings is slow to import."""
    if name == "GPTConfig":
        from gptpy.config.model import GPTConfig

        return GPTConfig
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
