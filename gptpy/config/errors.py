"""The base of every error that the package raises on purpose, and the one about settings."""


class GptpyError(Exception):
    """Something that the caller can mend; the message is one sentence that says what and how.

    Each kind is also a `ValueError` or a `RuntimeError`. The command line catches this class only,
    prints the message without a traceback and ends with `exit_code`: 2 for a mistake in what was
    given, 1 for a job that failed.
    """

    exit_code = 2


class ConfigError(GptpyError, ValueError):
    """A setting that cannot be used: the message says what was expected and what came."""
