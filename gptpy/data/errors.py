"""The error of data that cannot be used."""

from gptpy.config.errors import GptpyError


class DataError(GptpyError, ValueError):
    """Data that cannot be used: the message names the file, what was expected and what found."""
