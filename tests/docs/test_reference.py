"""What pages say of the code is what the code says."""

import ast
import re
from pathlib import Path

import pytest
import reference
from pages import ROOT

WRONG = ROOT / "docs/how-to/when-it-goes-wrong.md"


@pytest.mark.parametrize("name", sorted(reference.PAGES))
def test_the_reference_is_what_the_code_gives(name: str) -> None:
    text = (reference.FOLDER / name).read_text(encoding="utf-8")
    assert text == reference.PAGES[name](), "python tools/reference.py writes it anew"


def test_every_public_name_is_in_the_reference() -> None:
    import bpe_rs

    import gptpy

    text = (reference.FOLDER / "python.md").read_text(encoding="utf-8")
    names = [f"gptpy.{name}" for name in gptpy._MODULES]
    names += [f"bpe_rs.{name}" for name in bpe_rs.__all__]
    assert [name for name in names if not re.search(rf"(?m):: {re.escape(name)}$", text)] == []


def messages() -> list[str]:
    """The first cells of the table of messages."""
    return re.findall(r"(?m)^\| `([^`]+)` \|", WRONG.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Every text of the package's sources, implicit joining done, values as `…`."""
    found = []
    for path in [*Path(ROOT, "gptpy").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(
                        getattr(part, "value", "…") if isinstance(part, ast.Constant) else "…"
                        for part in node.values
                    )
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_messages_are_real(texts: list[str]) -> None:
    """Each is a beginning, an end or the middle of a message of the code."""
    assert len(messages()) > 30
    squeezed = [re.sub("…+", "…", text) for text in texts]
    missing = [m for m in messages() if not any(m.strip("… ") in text for text in squeezed)]
    assert missing == []
