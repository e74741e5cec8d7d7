"""When the command began; `quickstart --seconds` counts the time of imports, too."""

from __future__ import annotations

import time

STARTED = time.perf_counter()
