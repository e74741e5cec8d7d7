"""The error of a configuration that does not fit."""


class ConfigError(ValueError):
    """A setting that cannot be: the message says what was expected, what came, and what to do."""
