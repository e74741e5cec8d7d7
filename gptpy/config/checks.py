"""Checks that several sections share."""

from __future__ import annotations


def positive(owner: object, *names: str) -> None:
    """`ValueError` unless the attributes are None or greater than 0."""
    for name in names:
        value = getattr(owner, name)
        if value is not None and not value > 0:
            raise ValueError(f"{name} must be greater than 0, got {value}")


def fraction(owner: object, *names: str) -> None:
    """`ValueError` unless the attributes are None or lie in 0..1."""
    for name in names:
        value = getattr(owner, name)
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{name} must lie in 0..1, got {value}")
