"""Writes `bpe-rs/src/hf/script_table.rs`: the scripts by which `tokenizers`' UnicodeScripts cuts.

Its table is of an old version of Unicode, so each code point is tried: whether it may stand beside
letters of any script, and if not, beside which representative. Which script it is plays no part.

    uv run python tools/unicode_scripts.py
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import pre_tokenizers

TABLE = Path(__file__).parents[1] / "bpe-rs/src/hf/script_table.rs"
HEAD = """\
//! The scripts of characters as Hugging Face's `UnicodeScripts` knows them, written by
//! `tools/unicode_scripts.py`.

/// For each run of code points its first one and the number of its script; 0 belongs to any.
#[rustfmt::skip]
pub(super) const SCRIPTS: [(u32, u8); {count}] = [
"""


def is_one_piece(text: str) -> bool:
    pieces = pre_tokenizers.UnicodeScripts().pre_tokenize_str(text)
    return [offsets for _, offsets in pieces] == [(0, len(text))]


def runs() -> list[tuple[int, int]]:
    """The first code point and the script of every run; scripts are numbered as they come."""
    found: list[tuple[int, int]] = []
    representatives: list[str] = []
    script = 0
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000:
            continue
        character = chr(code)
        if is_one_piece(f"a{character}a") and is_one_piece(f"あ{character}あ"):
            number = 0
        else:
            # Most are of the script of the one before.
            order = [script - 1] if script else []
            order += range(len(representatives))
            beside = (at for at in order if is_one_piece(representatives[at] + character))
            number = script = next(beside, len(representatives)) + 1
            if script > len(representatives):
                representatives.append(character)
        if not found or found[-1][1] != number:
            found.append((code, number))
    return found


def main() -> None:
    found = runs()
    lines = [HEAD.replace("{count}", str(len(found)))]
    for at in range(0, len(found), 8):
        row = ", ".join(f"(0x{code:x}, {script})" for code, script in found[at : at + 8])
        lines.append(f"    {row},\n")
    TABLE.write_text("".join([*lines, "];\n"]))
    print(f"{TABLE.name}: {len(found)} runs")


if __name__ == "__main__":
    main()
