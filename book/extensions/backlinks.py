"""Sphinx extension: every documented function links back to the chapters that use it, and to the papers it names.

Chapters are read, not executed: their code cells are parsed, and each name imported from restore_lib is resolved to
the object it stands for, so that ``metrics.psnr`` and ``from restore_lib.metrics import psnr`` count alike.
"""

import ast
import importlib
import json
import re
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))
from bibliography import references, short_name


def used_objects(notebook: Path) -> set[str]:
    """Qualified names of the library's objects that a notebook's code mentions."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    code = "\n".join(re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", source) for source in sources)
    tree, known, found = ast.parse(code), {}, set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {a.asname or a.name.split(".")[0]: a.name for a in node.names if a.name.startswith("restore_lib")}
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("restore_lib"):
            known |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    for node in ast.walk(tree):
        dotted = ast.unparse(node) if isinstance(node, (ast.Name, ast.Attribute)) else ""
        first, _, rest = dotted.partition(".")
        if first in known:
            found.add(qualified(resolve(known[first] + ("." + rest if rest else ""))))
    return found - {None}


def resolve(dotted: str):
    """The object behind a dotted name, or None."""
    parts = dotted.split(".")
    for split in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:split]))
        except ImportError:
            continue
        for part in parts[split:]:
            found = getattr(found, part, None)
        return found
    return None


def qualified(thing) -> str | None:
    """``module.name`` of a function or class, or None for anything else."""
    name = getattr(thing, "__qualname__", None)
    return f"{thing.__module__}.{name}" if name else None


def link(app, what, name, obj, options, lines):
    """Add the chapters that use ``obj``, and turn ``[key]`` into a link where the bibliography has that key."""
    names = app.env.backlinks_names
    lines[:] = [re.sub(r"\[([a-z]+\d{4}[a-z]*)\]", lambda m: cite(m, names), line) for line in lines]
    chapters = [page for page, used in app.env.backlinks_used.items() if qualified(obj) in used]
    if chapters and what in ("function", "class"):
        lines += ["", "Used in " + ", ".join(f":doc:`/{page}`" for page in chapters) + ".", ""]


def cite(match, names):
    """A link to the bibliography for a known key; the text as it stands otherwise."""
    return f":ref:`[{names[match[1]]}] <{match[1]}>`" if match[1] in names else match[0]


def read_book(app):
    """Collect, once a build, what every chapter uses and which papers the bibliography knows."""
    root = Path(app.srcdir)
    app.env.backlinks_names = {
        key: f"{short_name(entry)}, {entry.fields['year']}" for key, entry in references().entries.items()
    }
    app.env.backlinks_used = {
        f"notebooks/{path.stem}": used_objects(path) for path in sorted((root / "notebooks").glob("*.ipynb"))
    }


def setup(app):
    """Register with Sphinx."""
    app.connect("builder-inited", read_book)
    app.connect("autodoc-process-docstring", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
