"""Pairs for the toy translation: a number in English words, and its digits.

python recipes/number_words.py numbers.jsonl            all numbers below 10,000
"""

import json
import random
import sys
from pathlib import Path

# fmt: off
SMALL = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
# fmt: on


def words(number: int) -> str:
    """0 to 999,999 as an English speaker says it."""
    if number < 20:
        return SMALL[number]
    if number < 100:
        tens, rest = divmod(number, 10)
        return TENS[tens - 2] + (f"-{SMALL[rest]}" if rest else "")
    if number < 1000:
        hundreds, rest = divmod(number, 100)
        return f"{SMALL[hundreds]} hundred" + (f" and {words(rest)}" if rest else "")
    thousands, rest = divmod(number, 1000)
    between = " and " if 0 < rest < 100 else " "
    return f"{words(thousands)} thousand" + (f"{between}{words(rest)}" if rest else "")


def main() -> None:
    """Write the pairs, shuffled, one JSON object a line."""
    if len(sys.argv) not in (2, 3):
        raise SystemExit("usage: python number_words.py FILE.jsonl [HIGHEST]")
    highest = int(sys.argv[2]) if len(sys.argv) == 3 else 9_999
    numbers = list(range(highest + 1))
    random.Random(0).shuffle(numbers)
    lines = [json.dumps({"source": words(n), "target": str(n)}) for n in numbers]
    Path(sys.argv[1]).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
