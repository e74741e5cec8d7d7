"""Every page's code runs and prints what the page shows; long pages are compared with records."""

from pathlib import Path
from urllib.parse import unquote

import pages
import pytest
from markdown_it import MarkdownIt
from pages import ROOT, Page

jupytext = pytest.importorskip("jupytext")

PAGES = {page.name: page for page in map(Page, pages.pages())}
RUN = [name for name, page in PAGES.items() if page.run_blocks]
COURSE = [name for name in PAGES if name.startswith("docs/learn/0")]
LINKED = [*PAGES, "README.md", "DESIGN.md", "CONTRIBUTING.md", "bpe-rs/README.md"]
PICTURE_BYTES = 80_000


@pytest.mark.parametrize("name", RUN)
def test_outputs(name: str) -> None:
    page = PAGES[name]
    if page.long:
        result = page.read_record()
        assert result is not None, (
            f"{name}: its code is not that of its record {page.record.relative_to(ROOT)}: "
            f"make docs-run PAGES={name}"
        )
        # Varying outputs are those of the record, so that a page shows one run.
        for block, output in zip(page.run_blocks, result.outputs, strict=True):
            assert block.expected is None or pages.matches(block.expected, output), block.line
    else:
        result = pages.run(page)
    assert page.differences(result) == []


@pytest.mark.parametrize("name", LINKED)
def test_local_links(name: str) -> None:
    path = ROOT / name
    missing = []
    for token in MarkdownIt("commonmark").parse(path.read_text(encoding="utf-8")):
        for child in token.children or ():
            link = child.attrs.get("href", child.attrs.get("src"))
            if link is None or "://" in str(link) or str(link).startswith(("#", "mailto:")):
                continue
            if not (path.parent / unquote(str(link)).split("#")[0]).exists():
                missing.append(link)
    assert missing == []


@pytest.mark.parametrize("name", COURSE)
def test_notebook_has_the_code(name: str) -> None:
    notebook = jupytext.read(ROOT / name)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    code = [
        ("%%bash\n" if block.language == "bash" else "") + block.code.rstrip("\n")
        for block in PAGES[name].blocks
    ]
    assert cells == code


def test_pictures_are_small_and_used() -> None:
    texts = {path.parent: [] for path in pages.pages()}
    for page in PAGES.values():
        texts[page.path.parent].append(page.text)
    for folder, of_folder in texts.items():
        for picture in (folder / "pictures").glob("*"):
            assert picture.stat().st_size < PICTURE_BYTES, picture
            linked = any(f"pictures/{picture.name}" in text for text in of_folder)
            assert linked or folder == ROOT / "docs", f"{picture}: no page of its folder shows it"


def test_wrong_outputs_are_told(tmp_path: Path) -> None:
    picture = "pictures/missing.svg"
    text = (
        "```python\nprint(1)\n```\n\n```text\n2\n```\n\n"
        "```python\nprint('shown nowhere')\n```\n\n"
        "<!-- not run: needs a GPU -->\n```python\nboom()\n```\n\n"
        "```bash\nseq 5\n```\n\n```text\n1\n...\n5\n```\n\n"
        "```python\nprint(id(1))\n```\n\n<!-- varies -->\n```text\n7\n```\n\n"
        f"![x]({picture})\n"
    )
    path = tmp_path / "page.md"
    path.write_text(text, encoding="utf-8")
    page = Page(path)
    result = pages.run(page)
    told = page.differences(result)
    assert [line.split(":")[1] for line in told] == ["2", "10", f" no code saves {picture}"]
    assert "```text\n1\n```" in page.with_outputs(result)
    assert "\n...\n" in page.with_outputs(result)


def test_an_error_names_the_line_of_the_page(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("# Title\n\n```python\nx = 1\nx / 0\n```\n", encoding="utf-8")
    error = pages.run(Page(path)).error
    assert error is not None
    assert "page.md" in error and "line 5" in error and "ZeroDivisionError" in error
