"""Files and folders are written whole or not at all; a run directory has one writer at a time."""
