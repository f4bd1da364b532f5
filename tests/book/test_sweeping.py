"""The sweep in a browser: one slider moves all pictures, by keyboard and mouse, on phones, without scripts."""

import pytest
import torch
from visiting import barriers, page_with

from restore_lib.teaching import before_after, sweep

NAMES, STEPS = ("given", "bicubic", "LIIF", "a network with a long name"), ("x1", "x2", "x4")


@pytest.fixture(scope="module")
def piece(browser, tmp_path_factory):
    rng = torch.Generator().manual_seed(0)
    html = sweep(
        {name: list(torch.rand(3, 3, 24, 24, generator=rng)) for name in NAMES}, steps=STEPS, alt="Noise", start=1
    ).html
    with page_with(html * 2, tmp_path_factory.mktemp("sweep"), browser) as opened:  # the same piece twice on a page
        yield opened


@pytest.mark.parametrize("copy", [0, 1])
def test_keys_move_all_pictures_there_and_back(piece, copy):
    root = piece.page.locator(".rl-sweep").nth(copy)
    images, seen = root.locator("img").all(), []
    root.locator("input").focus()
    for key, step in (("Home", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1)):
        piece.page.keyboard.press(key)
        assert root.locator("output").inner_text() == STEPS[step]
        assert root.locator("input").get_attribute("aria-valuetext") == STEPS[step]
        for name, image in zip(NAMES, images, strict=True):
            assert image.get_attribute("alt") == f"Noise ({name}, {STEPS[step]})"
            assert image.evaluate("e => e.decode().then(() => e.naturalWidth)") == 24
        seen.append([image.get_attribute("src") for image in images])
    assert seen[3] == seen[1]
    assert len({source for sources in seen for source in sources}) == 12
    assert piece.errors == []


def test_a_press_on_the_slider_moves_it(piece):
    root = piece.page.locator(".rl-sweep").first
    box = root.locator("input").bounding_box()
    piece.page.mouse.click(box["x"] + box["width"] - 4, box["y"] + box["height"] / 2)
    assert root.locator("output").inner_text() == STEPS[2]


def test_a_long_label_leaves_room_for_the_slider(browser, tmp_path):
    steps = ["lambda 0.25, scene 1, and more", "lambda 2.5, scene 12, and more"]
    series = {name: [torch.rand(3, 96, 96) for _ in steps] for name in ("noisy", "denoised")}
    html = sweep(series, steps=steps, alt="A scene").html
    html += before_after(*series["noisy"], alt="Another piece, whose style comes later").html
    with page_with(html, tmp_path, browser) as opened:
        opened.page.set_viewport_size({"width": 360, "height": 640})
        assert opened.page.locator(".rl-sweep input").bounding_box()["width"] >= 100
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_accessible(piece, theme):
    piece.page.emulate_media(color_scheme=theme)
    assert barriers(piece.page) == []
    piece.page.emulate_media(color_scheme="light")


def test_pictures_and_slider_are_seen_together_on_a_phone(piece):
    piece.page.set_viewport_size({"width": 360, "height": 640})
    assert piece.page.evaluate("document.documentElement.scrollWidth") <= 360
    root = piece.page.locator(".rl-sweep").first
    boxes = [image.bounding_box() for image in root.locator("img").all()]
    assert boxes[0]["y"] == boxes[1]["y"] < boxes[2]["y"] == boxes[3]["y"]
    assert all(box["width"] > 150 for box in boxes)
    bar = root.locator("input").bounding_box()
    assert bar["y"] + bar["height"] - boxes[0]["y"] < 640
    piece.page.set_viewport_size({"width": 900, "height": 900})


def test_without_scripts_one_step_stands_there(browser, piece):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(piece.page.url)
    root = page.locator(".rl-sweep").first
    assert not root.locator("input:visible").count()
    assert root.locator(".rl-step").inner_text() == "x2"
    assert all(box["width"] > 100 for box in (image.bounding_box() for image in root.locator("img").all()))
    context.close()
