"""Instructions that a very small model can learn: letters and words, right or wrong.

python recipes/toy_instructions.py instructions.jsonl [preferences.jsonl]

Preferences are the same prompts with the right answer chosen and another prompt's rejected.
"""

import json
import random
import sys
from itertools import pairwise
from pathlib import Path

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = [
    "king", "queen", "lord", "lady", "crown", "sword", "night", "heart", "blood", "death",
    "love", "hand", "head", "house", "horse", "father", "mother", "brother", "sister", "friend",
]  # fmt: skip
NAMES = ["Romeo", "Juliet", "Richard", "Henry", "Gloucester", "Warwick", "Clarence", "Hastings"]


def rows() -> list[dict[str, str]]:
    """Every instruction once, with its answer."""
    made = []
    for here, following in pairwise(LETTERS):
        made.append((f"Which letter comes after {here}?", following))
        made.append((f"Which letter comes before {following}?", here))
    for word in WORDS:
        made.append((f"Say {word} in capitals.", word.upper()))
        made.append((f"What is the first letter of {word}?", word[0]))
        made.append((f"Say {word} twice.", f"{word} {word}"))
    for name in NAMES:
        made.append((f"Who are you, {name}?", f"I am {name}."))
        made += [
            (f"Greet {name} at {time}.", f"Good {time}, {name}!") for time in ("night", "noon")
        ]
    return [{"prompt": prompt, "response": response} for prompt, response in made]


def preferences(found: list[dict[str, str]]) -> list[dict[str, str]]:
    """Each prompt with its answer and the next one's that differs."""
    pairs = []
    for here, row in enumerate(found):
        others = (found[(here + i) % len(found)]["response"] for i in range(1, len(found)))
        rejected = next(answer for answer in others if answer != row["response"])
        pairs.append({"prompt": row["prompt"], "chosen": row["response"], "rejected": rejected})
    return pairs


def main() -> None:
    """Write instructions and preferences, shuffled, one JSON object a line."""
    if len(sys.argv) not in (2, 3):
        raise SystemExit("usage: python toy_instructions.py FILE.jsonl [PREFERENCES.jsonl]")
    found = rows()
    random.Random(0).shuffle(found)
    for path, made in zip(sys.argv[1:], (found, preferences(found)), strict=False):
        lines = "\n".join(json.dumps(row) for row in made)
        Path(path).write_text(lines + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
