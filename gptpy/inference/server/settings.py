"""What the server allows: limits, times, who may ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gptpy.config.errors import ConfigError


@dataclass(frozen=True)
class ServerSettings:
    """Limits of one server. `ConfigError` for values that cannot be meant."""

    name: str
    """What clients call the model."""
    api_key: str | None = None
    """What clients must send as `Authorization: Bearer KEY` (default: anybody may ask)."""
    max_waiting: int = 128
    """Texts that wait for their turn; beyond, clients are told to come back later (429)."""
    max_new_tokens: int = 4096
    """Most new tokens of a text."""
    max_prompt_tokens: int = 32768
    """Most tokens of a prompt."""
    max_body_bytes: int = 1 << 20
    """Most bytes of a request's body."""
    body_seconds: float = 30.0
    """How long a client may take to send a request's body."""
    timeout_seconds: float = 600.0
    """How long a request may wait and run together."""
    grace_seconds: float = 30.0
    """How long running requests may go on after SIGTERM."""
    origins: tuple[str, ...] = ()
    """Web origins whose pages may ask (CORS); "*" is all."""
    hosts: tuple[str, ...] | None = None
    """Names under which the server answers (default: any). A page of another site that lets its
    own name point to this machine is refused by them."""

    def __post_init__(self) -> None:
        least: dict[str, float] = {
            "max_waiting": 0,
            "max_new_tokens": 1,
            "max_prompt_tokens": 1,
            "max_body_bytes": 1024,
            "grace_seconds": 0,
        }
        for name, low in least.items():
            value: Any = getattr(self, name)
            if not value >= low:
                raise ConfigError(f"{name}: expected a number >= {low:g}, got {value}")
        for name in ("body_seconds", "timeout_seconds"):
            value = getattr(self, name)
            if not value > 0:
                raise ConfigError(f"{name}: expected a number > 0, got {value}")
        if not self.name:
            raise ConfigError("name: expected a name for the model, got an empty one")
        key = self.api_key
        if key is not None and (not key or not key.isascii() or not key.isprintable()):
            raise ConfigError("api_key: expected visible ASCII characters")
