"""The files of the server's page, of which the report takes some."""

from pathlib import Path

FOLDER = Path(__file__).resolve().parent
