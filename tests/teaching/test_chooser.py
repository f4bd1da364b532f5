"""The chooser: every choice's picture is in the page to the bit and once; text is text; wrong entries are refused."""

import base64
import io
import itertools
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from test_widgets import Tree

from restore_lib.images import to_uint8
from restore_lib.teaching import Shown, chooser

NAMES = ("picture", "sigma")


def entries(rng, *, bars=True, size=(12, 16)):
    """Two pictures at three sigmas; the same clean one for all sigmas of the second picture."""
    found = {}
    same = torch.rand(3, *size, generator=rng)
    for name, sigma in itertools.product(("cat", "dog"), ("15", "30", "60")):
        image = same if name == "dog" else torch.rand(3, *size, generator=rng)
        part = torch.rand((), generator=rng).item()
        listed = [("cat", part), ("dog", 1 - part)]
        beside = torch.rand(3, *size, generator=rng)
        found[name, sigma] = Shown(
            image,
            f"A {name} at {sigma}.",
            bars=listed if bars else None,
            truth=name if bars else None,
            beside=None if bars else beside,
        )
    return found


def payload(html):
    """What the script is given: its second argument."""
    return json.loads(re.search(r'^\}\)\("rl-[0-9a-f]{12}", (.*)\);$', html, re.MULTILINE)[1])


def pixels(data):
    return np.array(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


@pytest.mark.parametrize("bars", [True, False])
def test_each_choice_leads_to_its_own_picture_and_words(rng, bars):
    given = entries(rng, bars=bars)
    html = chooser(given, names=NAMES, alt="Animals")._repr_html_()
    data = payload(html)
    sources = [attrs["src"].partition("base64,")[2] for attrs in Tree(html).all("img")]
    pictures = dict(enumerate(data["pictures"]))
    for number, source in zip((data["entries"][0][0], data["entries"][0][2]), sources, strict=False):
        assert pictures[number] is None, "it stands in the page already"
        pictures[number] = source
    assert data["values"] == [["cat", "dog"], ["15", "30", "60"]]
    for key, (image, caption, beside, listed, truth) in zip(
        itertools.product(*data["values"]), data["entries"], strict=True
    ):
        shown = given[key]
        assert np.array_equal(pixels(pictures[image]), to_uint8(shown.image))
        assert (caption, truth) == (shown.caption, shown.truth)
        if bars:
            assert beside is None and [tuple(pair) for pair in listed] == [
                (name, pytest.approx(part, abs=1e-4)) for name, part in shown.bars
            ]
        else:
            assert np.array_equal(pixels(pictures[beside]), to_uint8(shown.beside))


def test_equal_pictures_are_stored_once(rng):
    assert len(payload(chooser(entries(rng), names=NAMES, alt="x")._repr_html_())["pictures"]) == 3 + 1


def test_the_first_choice_stands_there_without_scripts(rng):
    given = entries(rng)
    html = chooser(given, names=NAMES, alt="Animals")._repr_html_()
    tree = Tree(html)
    assert [attrs["alt"] for attrs in tree.all("img")] == ["Animals (picture: cat, sigma: 15)"]
    still = re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.DOTALL)
    assert ">picture: cat, sigma: 15<" in still and ">A cat at 15.<" in still and ">true class: cat<" in still
    share = f"{100 * given['cat', '15'].bars[0][1]:.0f} %"
    assert '<li class="rl-true"><span class="rl-name">✓ cat</span>' in still and f">{share}<" in still
    assert [len(tree.all(tag)) for tag in ("select", "option", "label")] == [2, 5, 2]


def test_text_is_never_markup(rng):
    evil = '</script><b>"x" & <!-- \u2028'
    image = torch.rand(3, 8, 8, generator=rng)
    given = {(evil,): Shown(image, evil, bars=[(evil, 0.5)], truth=evil), ("b",): Shown(image, evil, bars=[(evil, 1)])}
    html = chooser(given, names=(evil,), alt=evil, labels=(evil, evil))._repr_html_()
    tree = Tree(html)
    assert not tree.all("b") and len(tree.all("script")) == 1
    assert tree.all("img")[0]["alt"] == f"{evil} ({evil}: {evil})"
    data = payload(html)
    assert data["values"] == [[evil, "b"]] and data["entries"][1][1] == evil
    assert "<" not in html.partition("<script>")[2].partition("})(")[2].partition("</script>")[0]


def test_nothing_can_clash_or_ask_the_network(rng):
    given = entries(rng)
    pieces = [
        chooser(given, names=NAMES, alt="x"),
        chooser(given, names=NAMES, alt="y"),
        chooser(dict(reversed(given.items())), names=NAMES, alt="x"),
        chooser({**given, ("dog", "60"): given["cat", "15"]}, names=NAMES, alt="x"),
    ]
    tokens = {re.search(r'class="rl-widget rl-chooser (rl-[0-9a-f]{12})"', piece.html)[1] for piece in pieces}
    assert len(tokens) == len(pieces)
    assert all(" id=" not in piece.html and "http" not in piece.html for piece in pieces)
    assert pieces[0].html == chooser(given, names=NAMES, alt="x").html
    assert repr(pieces[0]) == "<chooser: picture | sigma>"


@pytest.mark.parametrize(("size", "shown"), [((96, 96), 384), ((64, 128), 384), ((300, 300), 300)])
def test_small_pictures_are_enlarged_by_a_whole_factor(rng, size, shown):
    flat = torch.zeros(1, *size)
    html = chooser({("a",): Shown(flat, "x")}, names=("n",), alt="x")._repr_html_()
    assert f"--width: {shown}px" in html and 'class="rl-pixels"' in html


def test_a_second_picture_may_have_another_resolution(rng):
    image, coarse = torch.rand(3, 32, 48, generator=rng), torch.rand(1, 4, 6, generator=rng)
    assert chooser({("a",): Shown(image, "x", beside=coarse)}, names=("n",), alt="x").html.count("<img") == 2


def test_a_hundred_pictures_of_noise_stay_below_the_limit_that_is_refused(monkeypatch):
    rng = torch.Generator().manual_seed(0)
    level = torch.randint(0, 24, (3, 96, 96), generator=rng) / 255  # about as rough as a denoised picture
    given = {(str(number),): Shown((level + number / 255).clamp(0, 1), "x") for number in range(100)}
    html = chooser(given, names=("n",), alt="x").html
    assert 1_000_000 < len(html) < 3_000_000
    monkeypatch.setattr("restore_lib.teaching.widgets.LARGEST", 1_000_000)
    with pytest.raises(ValueError, match=r"more than 1,000,000: show fewer or smaller pictures"):
        chooser(given, names=("n",), alt="x")


def test_wrong_arguments_say_what_to_do(rng):
    given = entries(rng)
    with pytest.raises(ValueError, match="alt is empty"):
        chooser(given, names=NAMES, alt=" ")
    with pytest.raises(ValueError, match="zip"):
        chooser(given, names=("a",), alt="x")
    with pytest.raises(ValueError, match="differ in proportions"):
        chooser({**given, ("dog", "15"): Shown(torch.zeros(3, 16, 12), "odd")}, names=NAMES, alt="x")
    with pytest.raises(KeyError, match=r"dog.*30"):
        chooser({key: shown for key, shown in given.items() if key != ("dog", "30")}, names=NAMES, alt="x")
    with pytest.raises(ValueError, match="crop or shrink"):
        chooser({("a",): Shown(torch.zeros(1, 1, 16384), "x")}, names=("n",), alt="x")
