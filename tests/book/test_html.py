"""The built book as files: every page there, every number backed, every picture described, nothing raw."""

import importlib
import inspect
import os
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
import yaml
from unbacked import unbacked_numbers

ROOT = Path(__file__).resolve().parent.parent.parent
BOOK = ROOT / "_build" / "html"


def listed_pages() -> list[str]:
    toc = (ROOT / "_toc.yml").read_text()
    return re.findall(r"(?:root|file): (\S+)", toc)


PAGES = listed_pages()


@pytest.fixture
def page(request) -> str:
    path = BOOK / f"{request.param}.html"
    if not path.exists() and not os.environ.get("RESTORE_REQUIRE_BOOK"):
        pytest.skip("the book is not built: run `make book` first")
    return path.read_text(encoding="utf-8")


def article(html: str) -> str:
    return html[html.index("<article") : html.index("</article>")]


def text(html: str) -> str:
    """What a reader sees, code and formulas left out."""
    kept = []

    class Reader(HTMLParser):
        skipped = 0

        def handle_starttag(self, tag, attrs):
            classes = dict(attrs).get("class") or ""
            if self.skipped or tag in ("script", "style", "pre", "code") or "math" in classes.split():
                self.skipped += tag not in ("img", "br", "input", "meta", "link", "hr", "source", "wbr", "col")

        def handle_endtag(self, tag):
            self.skipped = max(0, self.skipped - 1)

        def handle_data(self, data):
            if not self.skipped:
                kept.append(data)

    Reader().feed(article(html))
    return "".join(kept)


every_page = pytest.mark.parametrize("page", PAGES, indirect=True)


@every_page
def test_nothing_raw_is_left(page):
    seen = text(page)
    for markup in (
        ":::",
        "```",
        "{doc}",
        "{cite",
        "{eq}",
        "{term}",
        "{exercise}",
        "$$",
        "\\frac",
        ":label:",
        "[mem]",
        "<<<<<<<",
        ">>>>>>>",
    ):
        assert markup not in seen, f"{markup} shows: {seen[max(0, seen.index(markup) - 80) :][:160]!r}"


@every_page
def test_readers_meet_the_book_alone(page):
    """No path of the machine that built it, and nothing about how it was made."""
    seen = article(page)
    assert str(ROOT) not in seen
    assert "/work/" not in seen and "/home/" not in seen and "/root/" not in seen
    assert not re.search(r"Traceback|Warning:", seen)


@every_page
def test_every_picture_is_described(page):
    for image in re.findall(r"<img [^>]*>", article(page)):
        alt = re.search(r'alt="([^"]*)"', image)
        assert alt and alt[1].strip() and "_images/" not in alt[1], image[:200]


@every_page
def test_nothing_is_loaded_from_elsewhere(page):
    loaded = re.findall(r"<(?:script|img|iframe|source|link)[^>]*(?:src|href)=\"(https?:[^\"]+)\"[^>]*>", page)
    assert not [url for url in loaded if 'rel="canonical"' not in url], loaded


@pytest.mark.parametrize("page", [p for p in PAGES if p.startswith("notebooks/")], indirect=True)
def test_figures_and_equations_are_numbered_by_chapter_and_launch_buttons_are_there(page):
    assert "colab.research.google.com" in page and "mybinder.org" in page
    number = re.search(r"<h1>(\d+)\.", page)[1]
    figures = re.findall(r"<figcaption>.*?Figure (\d+\.\d+)\.", article(page), re.S)
    equations = re.findall(r'<span class="eqno">\((\d+\.\d+)\)', page)
    assert len(figures) == article(page).count("<figcaption>")
    for numbers in (figures, equations):  # a figure may be missing where its pictures are not here, an equation not
        assert all(first == number for first, _ in (n.split(".") for n in numbers)), numbers
        assert sorted(numbers, key=lambda n: int(n.split(".")[1])) == numbers
    assert equations == [f"{number}.{n}" for n in range(1, len(equations) + 1)]


@every_page
def test_links_within_the_book_lead_somewhere(page, request):
    folder = (BOOK / f"{request.node.callspec.params['page']}.html").parent
    for href in set(re.findall(r'<a [^>]*class="[^"]*reference internal[^"]*"[^>]*href="([^":]+)"', article(page))):
        file, _, name = unescape(href).partition("#")
        target = (folder / file).resolve() if file else None
        text = target.read_text(encoding="utf-8") if target else page
        assert not name or f'id="{name}"' in text, href


@pytest.mark.parametrize(("page", "chapter"), [(p, p) for p in PAGES if p.startswith("notebooks/")], indirect=["page"])
def test_folded_cells_in_a_row_unfold_as_one_and_no_code_is_lost(page, chapter):
    parts = re.split(r'(?=<div class="cell )', article(page))
    bare = [bool(re.match(r'<div class="cell [^"]*tag_hide-input.*</details>\s*</div>\s*$', c, re.S)) for c in parts]
    assert not [c[:60] for c, before in zip(parts[1:], bare, strict=False) if before and "tag_hide-input" in c[:60]]
    cells = nbformat.read(ROOT / f"{chapter}.ipynb", as_version=4).cells
    shown = [
        c
        for c in cells
        if c.cell_type == "code" and not {"remove-cell", "remove-input"} & set(c.metadata.get("tags", []))
    ]
    listings = re.findall(r'<div class="highlight-ipython3.*?</pre>', article(page), re.S)
    first = [re.sub("<.*?>", "", unescape(listing)).split() for listing in listings]
    assert [words[:3] for words in first] == [c.source.split()[:3] for c in shown]


@pytest.mark.parametrize("page", [p for p in PAGES if p.startswith("book/results")], indirect=True)
def test_every_number_on_the_results_pages_is_backed(page):
    assert unbacked_numbers(article(page)) == []
    assert unbacked_numbers(article(page) + "<table><tr><td>31.415</td></tr></table>") == ["31.415"]


@pytest.mark.parametrize("page", ["book/api/measuring"], indirect=True)
def test_the_reference_links_back_to_chapters(page):
    assert re.search(r'Used in .*href="../../notebooks/02_measuring_restoration.html"', page)
    assert 'href="../bibliography.html#' in page, "citation keys in docstrings become links"


def test_every_public_function_has_a_page():
    if not BOOK.exists() and not os.environ.get("RESTORE_REQUIRE_BOOK"):
        pytest.skip("the book is not built: run `make book` first")
    reference = "".join((BOOK / f"{name}.html").read_text(encoding="utf-8") for name in PAGES if "/api/" in name)
    rooms = (
        "api",
        "data",
        "denoising",
        "experiments",
        "implicit",
        "plots",
        "pretrained",
        "realsr",
        "teaching",
        "training",
    )
    for room in (importlib.import_module(f"restore_lib.{name}") for name in rooms):
        for name in getattr(room, "__all__", ("denoise", "upscale", "estimate_kernel", "load")):
            thing = getattr(room, name)
            if inspect.isfunction(thing) or inspect.isclass(thing):
                places = {f"{room.__name__}.{name}", f"{thing.__module__}.{thing.__qualname__}"}
                assert any(f'id="{place}"' in reference for place in places), places
    for name in ("images.read", "resampling.imresize", "metrics.psnr"):
        assert f'id="restore_lib.{name}"' in reference, name


def test_the_offline_scripts_are_the_ones_configured():
    config = yaml.safe_load((ROOT / "_config.yml").read_text())["sphinx"]["config"]
    assert (ROOT / "book" / "static" / config["mathjax_path"]).is_file()
    assert config["nb_ipywidgets_js"] == {}
