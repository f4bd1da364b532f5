"""The built book in a browser: a local server and one browser a module."""

import os
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from visiting import Visit, browser_path, chromium

ROOT = Path(__file__).resolve().parent.parent.parent
BOOK = ROOT / "_build" / "html"


def missing() -> str:
    """What stands in the way of looking at the book; empty when nothing does."""
    if not (BOOK / "index.html").is_file():
        return "the book is not built: run `make book` first"
    if not browser_path():
        return "no Chromium or Chrome is installed"
    return ""


@pytest.fixture(scope="module")
def browser():
    if reason := missing():
        if os.environ.get("RESTORE_REQUIRE_BOOK") and "built" in reason:
            pytest.fail(reason)
        pytest.skip(reason)
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def server():
    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, directory=str(BOOK), **kwargs)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as running:
        running.daemon_threads = True
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def visit(browser, server):
    """The book over HTTP, in one tab for all tests of a module."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, color_scheme="light", reduced_motion="reduce"
    )
    yield Visit(context.new_page(), server)
    context.close()


@pytest.fixture
def page_with():
    """Name of the first page of the book that holds a text; fails where none does."""

    def find(text: str) -> str:
        for path in sorted(BOOK.glob("**/*.html")):
            if "_modules" not in path.parts and text in path.read_text(encoding="utf-8"):
                return path.relative_to(BOOK).with_suffix("").as_posix()
        return pytest.fail(f"no page of the book holds {text!r}")

    return find


@pytest.fixture
def from_disk(browser):
    """The book as files."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield Visit(context.new_page(), BOOK.resolve().as_uri() + "/")
    context.close()
