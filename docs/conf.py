"""Sphinx reads the repository from its root, so that links between pages work on the forge as well.

make docs
"""

from __future__ import annotations

import os
import sys
from importlib import metadata
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "triton_kernels")]

project = "gptpy"
author = "the gptpy authors"
copyright = author
release = metadata.version("gptpy-lm")
root_doc = "docs/index"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
include_patterns = ["docs/*.md", "docs/**/*.md", "recipes/*.md", "benches/records/*.md"]
exclude_patterns = ["docs/records", ".*", "target*", "runs", "dist", "build", "**/node_modules"]

myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 4

autodoc_typehints = "signature"
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = "gptpy"
html_extra_path = ["site"]
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_theme_options = {"navigation_with_keys": True}
html_show_sphinx = False
html_copy_source = False
html_math_renderer = "mathml"
pygments_dark_style = "monokai"
# Where links to files and folders outside of the documentation lead; without it they are text.
source_url = os.environ.get("GPTPY_SOURCE_URL", "").rstrip("/")


def _math(self, node: nodes.Element, *, block: bool) -> None:
    """Formulas as MathML, which browsers draw by themselves: no script, no download."""
    self.body.append(tex2mathml(node.astext(), as_block=block))
    raise nodes.SkipNode


def _link_files(app, doctree: nodes.document) -> None:
    """Links to folders and to files that are no page lead to the forge, or become plain text."""
    from sphinx.addnodes import download_reference, pending_xref

    here = Path(app.env.doc2path(app.env.docname)).parent
    for node in list(doctree.findall(lambda n: isinstance(n, download_reference | pending_xref))):
        target = node.get("reftarget", "")
        if node.get("refdomain") == "doc":
            path = ROOT / f"{target}.md"
            outside = target not in app.env.found_docs
        else:
            path = (here / target.split("#")[0]).resolve()
            outside = "://" not in target and (
                isinstance(node, download_reference) or path.is_dir()
            )
        if not target or not outside or not path.exists():
            continue
        children = [child.deepcopy() for child in node.children]
        if source_url:
            uri = f"{source_url}/{path.relative_to(ROOT).as_posix()}"
            new: nodes.Element = nodes.reference("", "", *children, refuri=uri)
        else:
            new = nodes.inline("", "", *children)
        node.replace_self(new)


def setup(app) -> dict[str, bool]:
    app.add_html_math_renderer(
        "mathml",
        (lambda self, node: _math(self, node, block=False), None),
        (lambda self, node: _math(self, node, block=True), None),
    )
    app.connect("doctree-read", _link_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
