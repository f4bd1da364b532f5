"""Sphinx extension: leave out what a page would ask of a network, or of a folder where it has no leave to.

Jupyter Book loads sphinx-thebe always, also with ``thebe: false``; it puts the address of a CDN into every page, twice.
Older versions of the theme load icon fonts ahead of need, which browsers refuse to pages opened as files; the icons are
drawings and need no font. Each is an error in the console of the reader's browser.
"""

import re
from pathlib import Path


def without_thebe(app, pagename, templatename, context, doctree):
    """Drop its scripts from the page."""
    for kind in ("script_files", "css_files"):
        kept = []
        for asset in context.get(kind, []):
            about = f"{getattr(asset, 'filename', asset)} {getattr(asset, 'attributes', {}).get('body', '')}"
            if "thebe" not in about.lower():
                kept.append(asset)
        context[kind] = kept


def without_fonts(app, exception):
    """Drop the links that load fonts ahead of need."""
    if exception is None and app.builder.format == "html":
        for path in Path(app.outdir).rglob("*.html"):
            page = path.read_text(encoding="utf-8")
            lighter = re.sub(r'<link rel="preload" as="font"[^>]*>\s*', "", page)
            if lighter != page:
                path.write_text(lighter, encoding="utf-8")


def setup(app):
    app.connect("html-page-context", without_thebe, priority=900)
    app.connect("build-finished", without_fonts)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
