"""The built book as a reader's browser shows it: offline, without errors, on phones, in the dark, by keyboard."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from visiting import barriers, page_with

from restore_lib.teaching import before_after, frames, loupe

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PAGES = re.findall(r"(?:root|file): (\S+)", (ROOT / "_toc.yml").read_text())

WIDE = """() => {
  const root = document.documentElement, width = root.clientWidth;
  const boxed = (e) => e && (getComputedStyle(e).overflowX !== "visible" || boxed(e.parentElement));
  const outside = [...document.querySelectorAll(".bd-article *")]
    .filter((e) => e.getBoundingClientRect().right > width + 1 && !boxed(e.parentElement))
    .map((e) => `${e.tagName}.${e.className} ${e.textContent.slice(0, 60)}`);
  const scrolls = [root, ...document.querySelectorAll(".bd-content, .bd-main")].some((e) => e.scrollWidth > width);
  return scrolls || outside.length ? [root.scrollWidth, ...outside.slice(0, 5)] : [];
}"""
CUT = """() => {
  const article = document.querySelector(".bd-article");
  article.querySelectorAll("details").forEach((details) => { details.open = true; });
  const name = (e) => `${e.tagName} ${e.textContent.trim().slice(0, 60)}`;
  const code = [...article.querySelectorAll("pre")].filter((e) => e.scrollWidth > e.clientWidth + 1);
  const formulas = [...article.querySelectorAll("div.math")].filter((e) => {
    const drawn = e.querySelector("svg").getBoundingClientRect(), number = e.querySelector(".eqno");
    const end = number ? number.getBoundingClientRect().left : e.getBoundingClientRect().right;
    return drawn.right > end + 1 || drawn.left < e.getBoundingClientRect().left - 1;
  });
  return [...code, ...formulas].map(name);
}"""
WRAPPED = """() => [...document.querySelectorAll(".bd-article .cell_input pre")].filter((e) => {
  e.style.whiteSpace = "pre";
  const wide = e.scrollWidth > e.clientWidth + 1;
  e.style.whiteSpace = "";
  return wide;
}).map((e) => e.textContent.trim().slice(0, 60))"""
UNNAMED = """() => [...document.querySelectorAll("img")]
  .filter((image) => !image.alt.trim()).map((image) => image.outerHTML.slice(0, 200))"""


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_without_errors_on_a_phone_and_a_desk(visit, name):
    visit.set_width(360)
    visit.open(name)
    wrong = [f"wider than a phone: {outside}" for outside in visit.page.evaluate(WIDE)]
    visit.set_width(1280)
    wrong += [f"wider than a window: {outside}" for outside in visit.page.evaluate(WIDE)]
    wrong += [f"a picture without a description: {image}" for image in visit.page.evaluate(UNNAMED)]
    formulas = visit.page.locator(".bd-article .math").count()
    drawn = visit.page.locator(".bd-article .math mjx-container svg").count()
    if drawn < formulas:
        wrong.append(f"{formulas} formulas, only {drawn} drawn")
    if visit.page.locator("[data-mjx-error]").count():
        wrong.append("MathJax could not read a formula")
    visit.page.evaluate("() => document.querySelectorAll('.bd-article :is(pre, code)').forEach(e => e.remove())")
    seen = visit.page.locator(".bd-article").inner_text()
    wrong += [f"raw formula: {raw}" for raw in re.findall(r"\\(?:frac|sum|sigma|operatorname|begin)\b.{0,40}", seen)]
    wrong += visit.errors
    assert seen.strip() and not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", PAGES)
def test_no_code_and_no_formula_is_cut(visit, name):
    """Wide code wraps, on a desk that of chapters need not, and wide formulas are drawn smaller."""
    visit.set_width(1200)
    visit.open(name)
    wrong = [f"cut at 1200 pixels: {text}" for text in visit.page.evaluate(CUT)]
    wrong += [f"wrapped at 1200 pixels: {text}" for text in visit.page.evaluate(WRAPPED)]
    visit.set_width(390)
    wrong += [f"cut at 390 pixels: {text}" for text in visit.page.evaluate(CUT)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible(visit, name):
    visit.set_width(1280)
    visit.page.emulate_media(color_scheme="light")
    visit.open(name)
    faults = barriers(visit.page)
    visit.page.emulate_media(color_scheme="dark")
    visit.page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    faults += barriers(visit.page, runOnly=["color-contrast"])  # all else is the same in the dark
    assert not faults, "\n".join(faults)


# The pieces that move, on a page of their own as a notebook would show them, each of them twice.


@pytest.fixture(scope="module")
def pieces(browser, tmp_path_factory):
    rng = torch.Generator().manual_seed(0)
    small, large = torch.rand(3, 60, 80, generator=rng), torch.rand(3, 420, 560, generator=rng)
    widgets = [
        before_after(small, large, labels=("low", "high"), alt="Noise"),
        loupe([small, large, 1 - large], labels=("low", "high", "inverse"), alt="Noise"),
        frames([small, 1 - small, small / 2], labels=("a", "b", "c"), alt="Noise"),
    ]
    html = "".join(widget._repr_html_() for widget in widgets * 2)
    wide = {"width": 1000, "height": 900}
    with page_with(html, tmp_path_factory.mktemp("pieces"), browser, viewport=wide, has_touch=True) as opened:
        yield opened


def test_each_piece_is_awake_once_and_accessible(pieces):
    assert pieces.page.locator(".rl-widget.rl-on").count() == 6
    assert pieces.page.locator(".rl-lens").count() == 6
    assert barriers(pieces.page) == []
    assert pieces.errors == []


@pytest.mark.parametrize("copy", [0, 1])
def test_before_after_moves_by_keyboard_mouse_and_finger(pieces, copy):
    root = pieces.page.locator(".rl-before-after").nth(copy)
    root.scroll_into_view_if_needed()
    first, second = root.locator("img").all()
    assert first.bounding_box() == second.bounding_box(), "both at one extent"
    top, slider, area = root.locator(".rl-pane").first, root.locator("input"), root.locator(".rl-row")

    def clip():
        return top.evaluate("e => getComputedStyle(e).clipPath")

    start = clip()
    slider.focus()
    pieces.page.keyboard.press("ArrowRight")
    assert slider.input_value() == "51" and clip() != start
    assert slider.get_attribute("aria-valuetext") == "51 % low"
    width = area.bounding_box()["width"]
    area.click(position={"x": width * 0.25, "y": 50})
    assert slider.input_value() == "25"
    area.tap(position={"x": width * 0.75, "y": 50})
    assert slider.input_value() == "75"
    box = area.bounding_box()
    pieces.page.mouse.move(box["x"] + width * 0.5, box["y"] + 60)
    pieces.page.mouse.down()
    pieces.page.mouse.move(box["x"] + width * 0.1, box["y"] + 90)
    pieces.page.mouse.up()
    assert slider.input_value() == "10"


@pytest.mark.parametrize("copy", [0, 1])
def test_loupe_shows_one_spot_of_every_picture(pieces, copy):
    root = pieces.page.locator(".rl-loupe").nth(copy)
    root.scroll_into_view_if_needed()
    lenses = root.locator(".rl-lens").all()
    assert len(lenses) == 3

    def spots():
        return [lens.evaluate("e => [e.style.left, e.style.top, e.style.backgroundPosition].join()") for lens in lenses]

    start = spots()
    lenses[1].focus()
    pieces.page.keyboard.press("Shift+ArrowRight")
    assert lenses[0].get_attribute("aria-valuetext") == "column 281, row 210"  # one pixel beside the middle
    pieces.page.keyboard.press("ArrowDown")
    by_key = spots()
    assert len(set(by_key)) == 1 and by_key != start
    box = root.locator(".rl-view").last.bounding_box()
    root.locator(".rl-view").last.hover(position={"x": box["width"] * 0.8, "y": box["height"] * 0.2})
    by_mouse = spots()
    assert len(set(by_mouse)) == 1 and by_mouse != by_key
    root.locator(".rl-view").first.tap(position={"x": 20, "y": 20})
    assert len(set(spots())) == 1 and spots() != by_mouse


def test_the_lens_enlarges_pixels_without_smoothing(pieces):
    """Screenshots through a lens: constant blocks of whole pixels, in the colours of the picture."""
    root = pieces.page.locator(".rl-loupe").first
    root.locator(".rl-view").nth(1).hover(position={"x": 100, "y": 100})
    root.locator(".rl-lens").first.focus()  # no outline over the second
    shot = Image.open(io.BytesIO(root.locator(".rl-lens").nth(1).screenshot())).convert("RGB")
    side = shot.width
    inner = np.asarray(shot.crop((side // 3, side // 3, 2 * side // 3, 2 * side // 3))).astype(int)
    steps = np.flatnonzero(np.abs(np.diff(inner, axis=1)).sum(axis=(0, 2)))  # columns where the colour changes
    assert len(steps) > 3 and set(np.diff(steps)) == {4}, "each pixel is 4 screen pixels wide"


@pytest.mark.parametrize("copy", [0, 1])
def test_frames_step(pieces, copy):
    root = pieces.page.locator(".rl-frames").nth(copy)
    shown = root.locator(".rl-pane:visible img")
    sources = [image.get_attribute("src") for image in root.locator("img").all()]
    for index, label in enumerate("abc"):
        assert [image.get_attribute("src") for image in shown.all()] == [sources[index]]
        assert root.locator("output").inner_text() == label
        assert root.locator("input").get_attribute("aria-valuetext") == label
        root.locator("input").focus()
        pieces.page.keyboard.press("ArrowRight")


def test_pieces_fit_on_a_phone(pieces):
    pieces.page.set_viewport_size({"width": 360, "height": 700})
    assert pieces.page.evaluate("document.documentElement.scrollWidth") <= 360
    tops = [view.bounding_box()["y"] for view in pieces.page.locator(".rl-loupe").first.locator(".rl-view").all()]
    assert tops == sorted(set(tops)), "below each other"
    pieces.page.set_viewport_size({"width": 1000, "height": 900})


def test_without_scripts_pictures_stand_beside_each_other(browser, pieces):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(pieces.page.url)
    for kind in ("before-after", "loupe", "frames"):
        images = page.locator(f".rl-{kind}").first.locator("img").all()
        boxes = [image.bounding_box() for image in images]
        assert len({(box["x"], box["y"]) for box in boxes}) == len(boxes), kind
    assert not page.locator("input:visible, .rl-help:visible").count()
    context.close()


# The book as a whole.


def test_the_book_opens_as_a_file(from_disk, page_with):
    from_disk.open(page_with("rl-before-after"))
    slider = from_disk.page.locator(".rl-before-after.rl-on input").first
    slider.focus()
    from_disk.page.keyboard.press("ArrowLeft")
    assert slider.input_value() == "49"
    assert from_disk.errors == []
    from_disk.open(page_with('class="math'))
    assert from_disk.page.locator("mjx-container svg").count() > 0
    assert from_disk.errors == []


def test_search_finds_a_page(visit):
    visit.page.goto(f"{visit.base}search.html?q=restoration")
    visit.page.wait_for_selector("#search-results li a", timeout=15_000)
    assert visit.page.locator("#search-results li a").count() > 0


def test_dark_mode_switches(visit):
    visit.set_width(1280)
    visit.open(PAGES[0])
    seen = []
    for _ in range(3):  # auto, light, dark
        seen.append(visit.page.evaluate("() => getComputedStyle(document.body).backgroundColor"))
        visit.page.locator(".theme-switch-button:visible").first.click()
    visit.page.evaluate("() => localStorage.clear()")
    assert len(set(seen)) == 2, seen
