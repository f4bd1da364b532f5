"""Sphinx extension: leave out the scripts of sphinx-thebe.

Jupyter Book loads that extension always, also with ``thebe: false``. It puts the address of a CDN into every page,
twice, which is an error in every browser's console.
"""


def without_thebe(app, pagename, templatename, context, doctree):
    """Drop its scripts from the page."""
    for kind in ("script_files", "css_files"):
        kept = []
        for asset in context.get(kind, []):
            about = f"{getattr(asset, 'filename', asset)} {getattr(asset, 'attributes', {}).get('body', '')}"
            if "thebe" not in about.lower():
                kept.append(asset)
        context[kind] = kept


def setup(app):
    app.connect("html-page-context", without_thebe, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
