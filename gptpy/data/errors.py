"""The error of data that cannot be used."""


class DataError(ValueError):
    """Data that cannot be used: the message names the file, what was expected and what found."""
