"""Chapters in JupyterLab as it comes, and in the page that plain Jupyter makes of their cells."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbconvert.filters import markdown2html_mistune
from visiting import chromium

ROOT = Path(__file__).resolve().parent.parent.parent
CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
DRIVEN = [path for path in CHAPTERS if path.name[:2] in ("04", "12", "16")]  # one of each paper
PATIENCE = 240  # seconds, on a computer that does much else
RAW = re.compile(r":::|```|\{[a-z:]+\}`|:label:|\$\$|\\(?:frac|sum|sigma|mathbb|begin|tag|qquad)\b")
SETTINGS = {"windowingMode": "none", "autoStartDefaultKernel": False}  # all cells at once, and nothing runs
READ = """(root) => {
  const cells = [...document.querySelectorAll(root)];
  const count = (selector) => cells.reduce((sum, cell) => sum + cell.querySelectorAll(selector).length, 0);
  const prose = cells.map((cell) => {
    const copy = cell.cloneNode(true);
    copy.querySelectorAll("mjx-container, pre, code, script").forEach((e) => e.remove());
    return copy.textContent;
  });
  return {
    cells: cells.length, text: prose.join("\\n"), formulas: count("mjx-container"),
    displays: count('mjx-container[display="true"]'), errors: count("mjx-merror, [data-mjx-error]"),
    details: count("details"), open: count("details[open]"), tables: count("table"),
  };
}"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A server of JupyterLab over a copy of the book's files, with settings of its own; its address."""
    folder = tmp_path_factory.mktemp("lab")
    for name in ("notebooks", "book"):
        shutil.copytree(ROOT / name, folder / "files" / name, ignore=shutil.ignore_patterns("vendor", "__pycache__"))
    settings = folder / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text(json.dumps(SETTINGS))
    places = {"CONFIG_DIR": "config", "RUNTIME_DIR": "runtime", "DATA_DIR": "data"}
    environment = os.environ | {f"JUPYTER_{name}": str(folder / place) for name, place in places.items()}
    environment |= {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings")}
    environment |= {"JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces")}
    words = [
        "--no-browser",
        "--allow-root",
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port=0",
        "--IdentityProvider.token=",
    ]
    words += [f"--ServerApp.root_dir={folder / 'files'}", "--LabApp.news_url="]
    log = folder / "log"
    with log.open("w") as stream:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "lab", *words], env=environment, stdout=stream, stderr=stream
        )
    try:
        end, found = time.monotonic() + PATIENCE, None
        while not found:
            if server.poll() is not None or time.monotonic() > end:
                pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.2)
            found = re.search(r"http://127\.0\.0\.1:(\d+)/lab", log.read_text())
        yield f"http://127.0.0.1:{found[1]}/lab/tree/notebooks/"
    finally:
        server.terminate()
        server.wait()


def expected(path: Path) -> dict[str, int]:
    """What a reader must see, counted in the file."""
    cells = nbformat.read(path, as_version=4).cells
    prose = [cell.source for cell in cells if cell.cell_type == "markdown"]
    without_code = re.sub(r"^```.*?^```", "", "\n\n".join(prose), flags=re.S | re.M)
    return {
        "cells": len(prose),
        "displays": without_code.count("$$") // 2,
        "details": without_code.count("<details>"),
        "errors": 0,
        "open": 0,
    }


def check_read(seen: dict, path: Path):
    """Everything is there, typeset and folded, and nothing raw is seen."""
    assert {key: seen[key] for key in expected(path)} == expected(path)
    assert seen["formulas"] > seen["displays"]
    raw = RAW.search(seen["text"])
    assert not raw, seen["text"][max(0, raw.start() - 60) : raw.end() + 60]


@pytest.mark.parametrize("path", DRIVEN, ids=lambda path: path.stem)
def test_jupyterlab_shows_a_chapter(browser, lab, path):
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(f"{lab}{path.name}?reset", wait_until="commit")
    rendered = ".jp-Notebook .jp-MarkdownCell .jp-MarkdownOutput"
    wait = (
        "([root, cells]) => document.querySelectorAll(root).length === cells && !document.querySelector('.jp-spinner')"
    )
    page.wait_for_function(wait, arg=[rendered, expected(path)["cells"]])
    typeset = "([root, n]) => document.querySelectorAll(root + ' mjx-container[display=true]').length === n"
    page.wait_for_function(typeset, arg=[rendered, expected(path)["displays"]])
    check_read(page.evaluate(READ, rendered), path)

    hidden = sum(
        cell.metadata.get("jupyter", {}).get("source_hidden", False) for cell in nbformat.read(path, as_version=4).cells
    )
    folded = page.locator(".jp-Notebook .jp-CodeCell .jp-InputPlaceholder").count()
    assert folded == hidden > 0

    page.locator(f"{rendered} a[href^='#eq-']").first.evaluate("link => link.click()")
    page.wait_for_function("() => document.querySelector('.jp-WindowedPanel-outer').scrollTop > 0")
    chapter = page.locator(f"{rendered} a[href*='.ipynb']").first
    chapter.evaluate("link => link.click()")
    page.wait_for_function("() => document.querySelectorAll('.jp-NotebookPanel').length === 2")
    context.close()


PLAIN = """<!doctype html><html lang="en"><meta charset="utf-8"><title>cells</title><script>
MathJax = {{ tex: {{ inlineMath: [["$", "$"], ["\\\\(", "\\\\)"]], processEscapes: true }} }};
</script><script src="{mathjax}"></script><body>{body}</body></html>"""


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_plain_jupyter_shows_a_chapter(browser, tmp_path, path):
    """Each cell as nbconvert renders it, typeset as notebooks are everywhere: MathJax between dollars."""
    prose = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    body = "\n".join(f"<main>{markdown2html_mistune(text)}</main>" for text in prose)
    mathjax = (ROOT / "book" / "static" / "vendor" / "tex-svg.js").as_uri()
    (tmp_path / "page.html").write_text(PLAIN.format(body=body, mathjax=mathjax), "utf-8")
    page = browser.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    page.goto((tmp_path / "page.html").as_uri())
    page.evaluate("() => MathJax.startup.promise.then(() => 0)")
    check_read(page.evaluate(READ, "main"), path)
    page.close()
