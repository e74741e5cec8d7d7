"""A user's mistake is one line and an exit code; a defect of ours keeps its traceback."""

from __future__ import annotations

import codecs
import io
import sys
from collections.abc import Callable
from unicodedata import category

from gptpy.config.errors import GptpyError

MISTAKE = 2
INTERRUPTED = 130
ESCAPE = "gptpy.escape"
_said = False


def reported(job: Callable[[], int]) -> int:
    """Run `job` and return its exit code; what a user can mend becomes one line on stderr.

    That is every `GptpyError`, which brings its own exit code, and what the system refuses
    (`OSError`). `BrokenPipeError` and all other exceptions pass through.
    """
    try:
        return job()
    except GptpyError as error:
        return fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        print("gptpy: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except OSError as error:
        # Of a rename, the new name
        name = error.filename2 or error.filename
        where = f"{name}: " if name else ""
        return fail(f"{where}{error.strerror or error}", MISTAKE)


def escape_unprintable() -> None:
    r"""Let characters that the output's encoding lacks be written as escapes (`\xe9`), and say so.

    Python's default is an error that loses the text. It is said once, on stderr.
    """
    for stream in (sys.stdout, sys.stderr):
        known = getattr(stream, "encoding", None) or "utf-8"
        if isinstance(stream, io.TextIOWrapper) and codecs.lookup(known).name != "utf-8":
            stream.reconfigure(errors=ESCAPE)


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    global _said
    escaped = codecs.backslashreplace_errors(error)
    if not _said and isinstance(error, UnicodeEncodeError):
        _said = True
        print(
            f"gptpy: note: the output is in {error.encoding}, what it lacks is written as escapes; "
            "PYTHONIOENCODING=utf-8 keeps it",
            file=sys.stderr,
        )
    return escaped


codecs.register_error(ESCAPE, _escape)


def fail(text: str, code: int) -> int:
    """Print one line on stderr and return `code`."""
    print(f"gptpy: error: {one_line(text)}", file=sys.stderr)
    return code


def one_line(text: str) -> str:
    """`text` on one line; other characters that a terminal would obey are written as escapes."""
    joined = " ".join(line.strip() for line in text.splitlines() if line.strip())
    return "".join(repr(c)[1:-1] if category(c) == "Cc" else c for c in joined)
