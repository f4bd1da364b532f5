"""A page in a browser, and a record of everything that goes wrong on it or is asked from the network."""

import re
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
FLAGS += ["--disable-sync", "--no-first-run"]
AXE = Path(__file__).resolve().parent / "vendor" / "axe.min.js"
RUN_AXE = """async (options) => {
  const { violations } = await axe.run({ resultTypes: ["violations"], ...options });
  return violations.filter((v) => ["serious", "critical"].includes(v.impact)).flatMap((v) =>
    v.nodes.map((n) => `${v.id}: ${n.target}: ${n.failureSummary.replaceAll("\\n", " ")}`));
}"""


def browser_path() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next(filter(None, map(shutil.which, names)), None)


@contextmanager
def chromium():
    """The browser that is installed; the test is skipped where Playwright or a browser is missing."""
    sync_api = pytest.importorskip("playwright.sync_api")
    path = browser_path()
    if path is None:
        pytest.skip("no Chromium or Chrome is installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def barriers(page, **options) -> list[str]:
    """What keeps readers out of a page, by axe-core: only what it calls serious or critical."""
    page.add_script_tag(path=AXE)
    return page.evaluate(RUN_AXE, options)


@contextmanager
def page_with(pieces: str, folder: Path, browser, **options):
    """Pieces of HTML, as a notebook would show them, on a page of their own in light and dark style."""
    path = folder / "page.html"
    style = "<style>:root { color-scheme: light dark }</style>"
    path.write_text(f"<!doctype html><html lang=en><title>x</title>{style}<main><h1>x</h1>{pieces}</main>", "utf-8")
    context = browser.new_context(**{"viewport": {"width": 900, "height": 900}, **options})
    opened = Visit(context.new_page(), folder.as_uri())
    opened.page.goto(path.as_uri())
    yield opened
    context.close()


class Visit:
    """A page that is open in the browser, and what went wrong while it was."""

    def __init__(self, page, base: str):
        self.page = page
        self.base = base
        self.errors: list[str] = []
        page.on("console", self.hear)
        page.on("pageerror", lambda error: self.note(f"page error: {error}"))
        page.on("requestfailed", lambda request: self.note(f"request failed: {request.url[:200]}"))
        page.on("response", self.check)
        page.route(re.compile("^https?:"), self.local_only)

    def note(self, error: str):
        self.errors.append(error)

    def hear(self, message):
        if message.type == "error":
            self.note(f"console: {message.text}")

    def check(self, response):
        if response.status >= 400:
            self.note(f"{response.status}: {response.url[:200]}")

    def local_only(self, route):
        if route.request.url.startswith(self.base):
            route.continue_()
        else:
            self.note(f"asked from the network: {route.request.url[:200]}")
            route.abort()

    def open(self, name: str):
        """Open a page of the book and wait until formulas and icons stand."""
        self.errors.clear()
        self.page.goto(f"{self.base}{name}.html", wait_until="load")
        self.page.evaluate("() => window.MathJax && MathJax.startup ? MathJax.startup.promise.then(() => 0) : 0")
        self.page.wait_for_selector("html.fontawesome-i2svg-complete", state="attached")  # icons are drawn
        # Layout changes have been drawn, and scripts that listen for them have run.
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def set_width(self, width: int):
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
