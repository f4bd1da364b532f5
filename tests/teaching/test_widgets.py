"""Pictures that move: what a page gets is well-formed, described, self-contained and holds the exact 8-bit pixels."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from restore_lib.images import to_uint8
from restore_lib.teaching import before_after, frames, loupe

VOID = {"img", "input", "br"}


class Tree(HTMLParser):
    """Fails on tags that do not close in order; collects every start tag with its attributes."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags = [], []
        self.feed(html)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in {self.get_starttag_text()[:200]}"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def pictures(rng, *sizes):
    return [torch.rand(3, h, w, generator=rng) * 1.2 - 0.1 for h, w in sizes]  # some of it beyond [0, 1]


def one_of_each(images, labels=("noisy", "denoised"), alt="A house by a lake"):
    return [
        before_after(*images, labels=labels, alt=alt),
        frames(images, labels=labels, alt=alt),
        loupe(images, labels=labels, alt=alt),
    ]


def test_embedded_pictures_are_the_input_to_the_bit(rng):
    images = pictures(rng, (20, 30), (40, 60))
    for widget in one_of_each(images):
        sources = [attrs["src"] for attrs in Tree(widget._repr_html_()).all("img")]
        assert len(sources) == 2
        for source, image in zip(sources, images, strict=True):
            kind, data = source.split(",")
            assert kind == "data:image/webp;base64"
            shown = np.array(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
            assert np.array_equal(shown, to_uint8(image))


def test_grey_pictures_are_shown_grey(rng):
    grey = torch.rand(1, 16, 16, generator=rng)
    html = before_after(grey, grey, alt="Noise")._repr_html_()
    data = re.search(r"base64,([^\"]+)", html)[1]
    shown = np.array(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
    assert np.array_equal(shown, np.repeat(to_uint8(grey)[..., None], 3, axis=2))


def test_every_picture_and_control_is_named(rng):
    for widget in one_of_each(pictures(rng, (16, 16), (16, 16))):
        tree = Tree(widget._repr_html_())
        assert [attrs["alt"] for attrs in tree.all("img")] == [
            "A house by a lake (noisy)",
            "A house by a lake (denoised)",
        ]
        assert all(attrs["aria-label"] for attrs in tree.all("input"))
        (root,) = [attrs for attrs in tree.all("div") if attrs.get("role") == "group"]
        assert root["aria-label"] == "A house by a lake"


def test_labels_are_text_never_markup(rng):
    for widget in one_of_each(pictures(rng, (8, 8), (8, 8)), labels=('<b>"x"', "a & b"), alt='"<i>'):
        html = widget._repr_html_()
        tree = Tree(html)
        assert not tree.all("b") and not tree.all("i")
        assert tree.all("img")[0]["alt"] == '"<i> (<b>"x")'


def test_widgets_on_one_page_do_not_clash(rng):
    images = pictures(rng, (16, 16), (16, 16))
    variants = one_of_each(images)
    variants += one_of_each(images[::-1])
    variants += one_of_each(images, labels=("noisy", "clean"))
    tokens = {re.search(r'class="rl-widget [^"]*(rl-[0-9a-f]{12})"', w._repr_html_())[1] for w in variants}
    assert len(tokens) == len(variants)
    for widget in variants:
        assert not re.search(r'\bid="', widget._repr_html_()), "an id would be there twice where a piece is shown twice"


def test_same_pictures_give_the_same_page(rng):
    images = pictures(rng, (16, 16), (16, 16))
    again = [image.clone() for image in images]
    for first, second in zip(one_of_each(images), one_of_each(again), strict=True):
        assert first._repr_html_() == second._repr_html_()


def test_plain_text_says_what_is_shown(rng):
    assert [repr(widget) for widget in one_of_each(pictures(rng, (16, 16), (16, 16)))] == [
        "<before/after: noisy | denoised>",
        "<frames: noisy | denoised>",
        "<loupe: noisy | denoised>",
    ]


def test_nothing_is_asked_from_the_network(rng):
    for widget in one_of_each(pictures(rng, (16, 16), (16, 16))):
        tree = Tree(widget._repr_html_())
        asked = [value for _, attrs in tree.tags for name, value in attrs.items() if name in ("src", "href", "srcset")]
        assert asked and all(value.startswith("data:") for value in asked)
        assert "http" not in re.sub(r"base64,[^\"]+", "", widget._repr_html_())


def test_small_sources_show_their_pixels_at_the_extent_of_the_large(rng):
    small, large = pictures(rng, (100, 150), (400, 600))
    first, second = Tree(before_after(small, large, alt="A boat")._repr_html_()).all("img")
    assert first["class"] == "rl-pixels" and "class" not in second
    assert (first["width"], first["height"]) == (second["width"], second["height"]) == ("600", "400")


@pytest.mark.parametrize(("size", "shown"), [((64, 64), 512), ((200, 120), 240), ((300, 300), 300), ((80, 700), 700)])
def test_small_pictures_are_enlarged_by_a_whole_factor(rng, size, shown):
    html = frames(pictures(rng, size, size), labels=("a", "b"), alt="Stripes")._repr_html_()
    assert f"--width: {shown}px" in html


def test_a_page_stays_light():
    flat = torch.full((3, 512, 512), 0.5)
    for widget in one_of_each([flat, flat]):
        assert len(widget._repr_html_()) < 16_000  # style, script and two pictures that hold nothing


@pytest.mark.parametrize("make", [frames, loupe])
def test_wrong_arguments_say_what_to_do(make, rng):
    a, b = pictures(rng, (16, 16), (16, 16))
    with pytest.raises(ValueError, match="alt is empty"):
        make([a, b], labels=("a", "b"), alt=" ")
    for labels in (("a",), ("a", "b", "c")):
        with pytest.raises(ValueError, match="zip"):
            make([a, b], labels=labels, alt="x")
    with pytest.raises(ValueError, match="differ in proportions"):
        make([a, b[:, :12]], labels=("a", "b"), alt="x")


def test_wrong_arguments_of_before_after(rng):
    a, b = pictures(rng, (16, 16), (16, 16))
    with pytest.raises(ValueError, match="alt is empty"):
        before_after(a, b, alt="")
    with pytest.raises(ValueError, match="differ in proportions"):
        before_after(a, b[..., :9], alt="x")
    with pytest.raises(ValueError, match="crop or shrink"):
        before_after(torch.zeros(1, 1, 16384), torch.zeros(1, 1, 16384), alt="x")


@pytest.mark.parametrize(("size", "scale"), [((125, 187), 4), ((63, 41), 3), ((7, 500), 2)])
def test_sizes_that_rounding_leaves_are_accepted(rng, size, scale):
    small = [max(1, round(side / scale)) for side in size]
    assert "rl-before-after" in before_after(*pictures(rng, tuple(small), size), alt="Low and high")._repr_html_()
