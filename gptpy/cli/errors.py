"""What a user did wrong, in one line; what we did wrong keeps its traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable

from gptpy.config.errors import ConfigError

USAGE = 2


def reported(job: Callable[[], int]) -> int:
    """Run `job`; its expected errors become one line on stderr and exit code 2 (or 1)."""
    try:
        return job()
    except ConfigError as error:
        return fail(str(error))
    except KeyboardInterrupt:
        print("gptpy: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return fail(f"{where}{error.strerror or error}")
    except ValueError as error:
        if type(error).__name__ in ("DataError", "CheckpointError"):
            return fail(str(error))
        if str(error).startswith("BPE_RS_SIMD:"):  # the user's environment; any verb may meet it
            return fail(str(error))
        raise
    except RuntimeError as error:
        if type(error).__name__ == "TrainingError":
            return fail(str(error), code=1)
        raise


def fail(text: str, code: int = USAGE) -> int:
    """One line on stderr."""
    print(f"gptpy: error: {' '.join(text.split())}", file=sys.stderr)
    return code
