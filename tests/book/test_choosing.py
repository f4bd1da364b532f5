"""The chooser in a browser: every choice changes picture, bars and words, by keyboard, on phones, without scripts."""

import itertools

import pytest
import torch
from visiting import barriers, page_with

from restore_lib.teaching import Shown, chooser

VALUES = (("cat", "an animal with a long name"), ("15", "60"))


def entries(bars):
    rng = torch.Generator().manual_seed(0)
    found = {}
    for number, (name, sigma) in enumerate(itertools.product(*VALUES)):
        image, beside = torch.rand(2, 3, 24, 24, generator=rng)
        listed = [("cat", 0.1 + 0.2 * number), ("an animal with a long name", 0.05)]
        says = {"bars": listed, "truth": name} if bars else {"beside": beside}
        found[name, sigma] = Shown(image, f"This is {name} at {sigma}.", **says)
    return found


@pytest.fixture(scope="module")
def piece(browser, tmp_path_factory):
    pieces = [chooser(entries(bars), names=("picture", "sigma"), alt="Noise").html for bars in (True, False)]
    # the same piece twice on a page
    with page_with("".join(pieces * 2), tmp_path_factory.mktemp("chooser"), browser) as opened:
        yield opened


@pytest.mark.parametrize("copy", [0, 2])
def test_choosing_changes_picture_bars_and_words(piece, copy):
    root = piece.page.locator(".rl-chooser").nth(copy)
    seen = set()
    for number, (name, sigma) in enumerate(itertools.product(*VALUES)):
        root.get_by_label("picture").select_option(name)
        root.get_by_label("sigma").select_option(sigma)
        assert root.locator(".rl-caption").inner_text() == f"This is {name} at {sigma}."
        assert root.locator(".rl-part").all_inner_texts() == [f"{10 + 20 * number} %", "5 %"]
        assert root.locator(".rl-true .rl-name").inner_text() == f"✓ {name}"
        assert root.locator(".rl-truth").inner_text() == f"true class: {name}"
        picture = root.locator("img")
        assert picture.get_attribute("alt") == f"Noise (picture: {name}, sigma: {sigma})"
        assert picture.evaluate("e => e.decode().then(() => e.naturalWidth)") == 24
        seen.add(picture.get_attribute("src"))
        track = root.locator(".rl-track").first
        width = track.locator("span").bounding_box()["width"] / track.bounding_box()["width"]
        assert width == pytest.approx(0.1 + 0.2 * number, abs=0.02)
    assert len(seen) == 4
    assert piece.errors == []


@pytest.mark.parametrize("copy", [1, 3])
def test_choosing_by_keyboard_changes_both_pictures(piece, copy):
    root = piece.page.locator(".rl-chooser").nth(copy)
    start = [image.get_attribute("src") for image in root.locator("img").all()]
    root.locator("select").last.focus()
    piece.page.keyboard.press("ArrowDown")
    changed = [image.get_attribute("src") for image in root.locator("img").all()]
    assert len({*start, *changed}) == 4
    piece.page.keyboard.press("ArrowUp")
    assert [image.get_attribute("src") for image in root.locator("img").all()] == start


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_accessible(piece, theme):
    piece.page.emulate_media(color_scheme=theme)
    assert barriers(piece.page) == []
    piece.page.emulate_media(color_scheme="light")


def test_it_stacks_on_a_phone(piece):
    piece.page.set_viewport_size({"width": 360, "height": 700})
    assert piece.page.evaluate("document.documentElement.scrollWidth") <= 360
    for root in piece.page.locator(".rl-chooser").all():
        tops = [pane.bounding_box()["y"] for pane in root.locator(".rl-pane").all()]
        assert len(tops) == 2 and tops[0] < tops[1]
    piece.page.set_viewport_size({"width": 900, "height": 900})


def test_without_scripts_the_first_choice_stands_there(browser, piece):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(piece.page.url)
    for root in page.locator(".rl-chooser").all():
        assert not root.locator("select:visible").count()
        assert root.locator(".rl-chosen").inner_text() == "picture: cat, sigma: 15"
        assert root.locator(".rl-caption").inner_text() == "This is cat at 15."
        assert all(box["width"] > 100 for box in (image.bounding_box() for image in root.locator("img").all()))
    assert page.locator(".rl-true:visible").count() == 2
    context.close()
