"""The error of a model that does not fit another program's format."""

from gptpy.config.errors import ConfigError


class ExportError(ConfigError):
    """What does not fit, and what to do."""
