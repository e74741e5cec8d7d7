"""`python -m gptpy` is the `gptpy` command."""

import sys

from gptpy.cli import main

sys.exit(main())
