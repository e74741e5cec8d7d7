"""Where `from_json` was before: old pickles name it."""

from bpe_rs._formats import from_json as from_json
