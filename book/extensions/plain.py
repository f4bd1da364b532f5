"""Sphinx extension: read the plain Markdown of the chapters, which any Jupyter shows, as what MyST has more for.

Anchors become targets, boxes admonitions, captions figures, and tags the numbers of equations. Links stay links.
"""

import json
import re
import sys
from pathlib import Path

import nbformat
from docutils import nodes
from sphinx.transforms import SphinxTransform

sys.path.append(str(Path(__file__).resolve().parent.parent))
from chapters import ANCHOR, SOLUTION, captioned

LINK = re.compile(r"\]\([^()\s]*#([^()\s]+)\)")
TAG = re.compile(r"\s*\\tag\{([^{}]*)\}")
CLASSES = {"In this chapter": ["tip", "learn"]}  # of admonitions; others are notes


def find_anchors(app):
    """Collect the names of all anchors of the book."""
    sources = [*app.srcdir.glob("book/**/*.md"), *app.srcdir.glob("notebooks/*.ipynb")]
    app.env.plain_anchors = {name for path in sources for name in ANCHOR.findall(text_of(path))}


def text_of(path) -> str:
    """The Markdown in a file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    return "\n\n".join(cell.source for cell in nbformat.reads(text, 4).cells if cell.cell_type == "markdown")


def read(app, docname, source):
    """Rewrite a page's source; of a notebook, cell by cell."""
    if not app.env.doc2path(docname).endswith(".ipynb"):
        source[0] = as_myst(source[0], app)
        return
    notebook = captioned(nbformat.reads(source[0], 4))
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = as_myst(cell.source, app)
        elif "figure" in cell.metadata.get("mystnb", {}):
            figure = cell.metadata.mystnb.figure
            figure.caption = as_myst(figure.caption, app)
    source[0] = json.dumps(notebook)


def as_myst(text: str, app) -> str:
    """Anchors as targets, and links to them by name alone: MyST knows in which page it is."""
    if app.config.hide_solutions:
        text = SOLUTION.sub("", text)
    text = ANCHOR.sub(r"(\1)=\n", text)
    return LINK.sub(lambda m: f"](#{m[1]})" if m[1] in app.env.plain_anchors else m[0], text)


class PlainForms(SphinxTransform):
    """Number tagged equations, and make an admonition of each quotation that begins with a line in bold."""

    default_priority = 200

    def apply(self, **kwargs):
        for equation in self.document.findall(nodes.math_block):
            if tag := TAG.search(equation.astext()):
                equation["number"] = tag[1]
                equation[:] = [nodes.Text(TAG.sub("", equation.astext()))]
        for quote in list(self.document.findall(nodes.block_quote)):
            first = [child for child in quote[0] if child.astext()]  # the parser leaves empty texts around bold ones
            if len(first) == 1 and isinstance(first[0], nodes.strong):
                title = nodes.title("", "", *first[0].children)
                classes = CLASSES.get(title.astext(), ["note"])
                quote.replace_self(nodes.admonition("", title, *quote[1:], classes=classes))


def without_numbers(app, config):
    """Captions and equations carry their numbers; one of Jupyter Book's extensions asks Sphinx for others."""
    config.numfig = False


def setup(app):
    """Register with Sphinx."""
    app.connect("config-inited", without_numbers, priority=900)
    app.add_config_value("hide_solutions", False, "env")
    app.add_transform(PlainForms)
    app.connect("builder-inited", find_anchors)
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
