"""`gptpy serve`: a server that speaks OpenAI's protocol."""

from __future__ import annotations

import argparse
import ipaddress
import os
import sys
from typing import Any

from gptpy.cli.generation import add_engine, make_engine, open_run
from gptpy.cli.options import add_verb
from gptpy.config.errors import ConfigError

EXAMPLE = """\
  gptpy serve runs/quickstart
  curl http://127.0.0.1:8000/v1/completions -H 'Content-Type: application/json' \\
    -d '{"prompt": "ROMEO:", "max_tokens": 60}'"""
KEY = "GPTPY_API_KEY"
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def add(verbs: Any) -> None:
    """Add the verb and its options."""
    parser = add_verb(verbs, "serve", run, "answer programs and browsers over HTTP", EXAMPLE)
    parser.add_argument("run_dir", metavar="RUN", help="a run directory or a checkpoint folder")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this machine only)"
    )
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: 8000)")
    parser.add_argument("--name", help="what clients call the model (default: the run's name)")
    who = parser.add_argument_group("who may ask")
    who.add_argument(
        "--api-key",
        metavar="KEY",
        help=f"what clients must send (default: ${KEY}, which other users cannot see; else none)",
    )
    who.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="let pages of this web site ask, as https://a.org; * is all (default: none)",
    )
    who.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="answer under this host name, too, as that of a proxy (default: on a loopback "
        "address its own names, elsewhere any)",
    )
    limits = parser.add_argument_group("limits")
    for name, default, meaning in (
        ("--max-running", 64, "texts that grow at the same time"),
        ("--max-waiting", 128, "texts that wait; beyond, clients are sent away for a while"),
        ("--max-tokens", 4096, "most new tokens of a text"),
        ("--max-prompt", 32768, "most tokens of a prompt"),
    ):
        limits.add_argument(
            name, type=int, default=default, metavar="N", help=f"{meaning} (default: {default})"
        )
    limits.add_argument(
        "--cache-tokens",
        type=int,
        metavar="N",
        help="tokens whose keys and values are kept (default: 64 contexts, at most 2 GiB)",
    )
    for name, default, meaning in (
        ("--timeout", 600, "how long a request may wait and run together"),
        ("--grace", 30, "how long requests may go on after the first SIGTERM or Ctrl-C"),
    ):
        limits.add_argument(
            name, type=float, default=default, metavar="S", help=f"{meaning} (default: {default} s)"
        )
    add_engine(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    try:
        from gptpy.inference.server.app import create_app
        from gptpy.inference.server.running import bound, serve
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("fastapi", "uvicorn", "prometheus_client"):
            raise
        raise ConfigError(f"the server needs {error.name}: pip install 'gptpy-lm[serve]'") from None
    from gptpy.inference.server.settings import ServerSettings

    if not 0 <= arguments.port < 1 << 16:
        raise ConfigError(f"--port: expected a number from 0 to 65535, got {arguments.port}")
    key = arguments.api_key if arguments.api_key is not None else os.environ.get(KEY) or None
    local = is_loopback(arguments.host)
    where = bound(arguments.host, arguments.port)  # before the model is read: it may be taken
    with where:
        loaded = open_run(arguments)
        settings = ServerSettings(
            name=loaded.folder.resolve().name if arguments.name is None else arguments.name,
            api_key=key,
            max_waiting=arguments.max_waiting,
            max_new_tokens=arguments.max_tokens,
            max_prompt_tokens=arguments.max_prompt,
            timeout_seconds=arguments.timeout,
            grace_seconds=arguments.grace,
            origins=tuple(arguments.allow_origin),
            hosts=answered_hosts(arguments.host, arguments.allow_host),
        )
        app = create_app(
            loaded,
            lambda: make_engine(
                arguments,
                loaded,
                max_running=arguments.max_running,
                cache_tokens=arguments.cache_tokens,
            ),
            settings,
        )
        if not local and key is None:
            print(
                "gptpy: warning: whoever reaches this address can use the model: give --api-key, "
                f"or set {KEY}",
                file=sys.stderr,
            )
        address = where.getsockname()
        host = f"[{address[0]}]" if ":" in address[0] else address[0]

        def say() -> None:
            print(f"serving {settings.name} on http://{host}:{address[1]}", flush=True)
            print("  fields and examples: /docs   end: Ctrl-C", flush=True)

        serve(app, where, say)
    return 0


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def answered_hosts(host: str, allowed: list[str]) -> tuple[str, ...] | None:
    """The `Host` headers that are answered; None for any."""
    if not is_loopback(host) and not allowed:
        return None
    own = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return tuple({name.lower() for name in (*LOOPBACK, own, *allowed)})
