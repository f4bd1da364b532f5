"""Write ``bibliography.md`` from ``references.bib``: ``python book/bibliography.py``; ``make outputs`` does it, too.

Plain Markdown with an anchor for each reference: the chapters' links lead to it in the book, in Jupyter and on GitHub.
"""

import re
from pathlib import Path

from pybtex.database import BibliographyData, Entry, parse_file
from pybtex.plugin import find_plugin
from pybtex.richtext import Text

HERE = Path(__file__).resolve().parent
INTRO = "Every work that the chapters and the reference pages cite, in alphabetical order."


def references() -> BibliographyData:
    """The entries of ``references.bib``."""
    return parse_file(str(HERE / "references.bib"))


def short_name(entry: Entry) -> str:
    """The authors as the text names them: one, two, or the first *et al.*"""
    people = [str(Text(" ").join(p.rich_prelast_names + p.rich_last_names)) for p in entry.persons["author"]]
    return " and ".join(people) if len(people) < 3 else f"{people[0]} et al."


def page() -> str:
    """The page as Markdown."""
    lines = ["# Bibliography", "", INTRO]
    backend = find_plugin("pybtex.backends", "markdown")()
    for entry in find_plugin("pybtex.style.formatting", "plain")().format_bibliography(references()):
        text = re.sub(r"\\([^\w*\[\]`\\])", r"\1", entry.text.render(backend)).replace("\n", " ")
        lines += ["", f'<a id="{entry.key}"></a>', "", text]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (HERE / "bibliography.md").write_text(page(), encoding="utf-8")
