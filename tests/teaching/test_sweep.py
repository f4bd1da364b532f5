"""The sweep: every step's pictures are in the page once and in order, it is named and light, and says what is wrong."""

import base64
import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from test_widgets import Tree

from restore_lib.images import to_uint8
from restore_lib.teaching import sweep, widgets

STEPS = ("x1", "x2", "x4")


def series(rng, *, size=(32, 48), channels=3):
    """Smooth pictures: what losses of WebP leave as it is."""
    high, wide = size
    slopes = torch.linspace(0, 1, high)[:, None] * torch.linspace(0, 1, wide)
    return {
        name: [torch.rand(channels, 1, 1, generator=rng) * slopes for _ in STEPS] for name in ("bicubic", "a network")
    }


def payload(html):
    """What the script is given: its second argument."""
    return json.loads(re.search(r'^\}\)\("rl-[0-9a-f]{12}", (.*)\);$', html, re.MULTILINE)[1])


def pixels(data):
    return np.array(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)


@pytest.mark.parametrize("start", [0, 2])
@pytest.mark.parametrize("channels", [1, 3])
def test_each_step_leads_to_its_own_pictures(rng, start, channels):
    given = series(rng, channels=channels)
    html = sweep(given, steps=STEPS, alt="A slope", start=start).html
    data, sources = payload(html), [attrs["src"].partition("base64,")[2] for attrs in Tree(html).all("img")]
    assert data["steps"] == list(STEPS) and len(data["pictures"]) == len(sources) == 2
    for images, row, source in zip(given.values(), data["pictures"], sources, strict=True):
        assert [picture is None for picture in row] == [step == start for step in range(3)], "it is in the page once"
        row[start] = source
        for image, picture in zip(images, row, strict=True):
            away = np.abs(pixels(picture) - to_uint8(image).reshape(32, 48, -1))
            assert away.mean() < 3


def test_everything_is_named_and_stands_there_without_scripts(rng):
    html = sweep(series(rng), steps=STEPS, alt="A slope", start=1).html
    tree = Tree(html)
    assert [attrs["alt"] for attrs in tree.all("img")] == ["A slope (bicubic, x2)", "A slope (a network, x2)"]
    assert [attrs["aria-label"] for attrs in tree.all("input")] == ["Step"]
    assert [attrs["value"] for attrs in tree.all("input")] == ["1"]
    still = re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.DOTALL)
    assert ">x2</p>" in still and ">bicubic</span>" in still and ">a network</span>" in still


def test_text_is_never_markup(rng):
    evil = '</script><b>"x" & <!-- \u2028'
    slopes = list(series(rng).values())
    html = sweep({evil: slopes[0], "b": slopes[1]}, steps=(evil, "y", "z"), alt=evil).html
    tree = Tree(html)
    assert not tree.all("b") and len(tree.all("script")) == 1
    assert tree.all("img")[0]["alt"] == f"{evil} ({evil}, {evil})"
    assert payload(html)["steps"] == [evil, "y", "z"]


def test_nothing_can_clash_or_ask_the_network(rng):
    given = series(rng)
    pieces = [
        sweep(given, steps=STEPS, alt="x"),
        sweep(given, steps=STEPS, alt="y"),
        sweep(given, steps=STEPS, alt="x", start=1),
        sweep(given, steps=("a", "b", "c"), alt="x"),
        sweep(dict(reversed(given.items())), steps=STEPS, alt="x"),
    ]
    tokens = {re.search(r'class="rl-widget rl-sweep (rl-[0-9a-f]{12})"', piece.html)[1] for piece in pieces}
    assert len(tokens) == len(pieces)
    assert all(" id=" not in piece.html and "http" not in piece.html for piece in pieces)
    assert pieces[0].html == sweep(given, steps=STEPS, alt="x").html
    assert repr(pieces[0]) == "<sweep: bicubic | a network>"


@pytest.mark.parametrize(("size", "shown"), [((64, 64), 256), ((64, 120), 240), ((256, 256), 256), ((300, 400), 400)])
def test_small_pictures_are_enlarged_by_a_whole_factor(rng, size, shown):
    assert f"--width: {shown}px" in sweep(series(rng, size=size), steps=STEPS, alt="x").html


def test_a_zoom_by_four_methods_stays_light(monkeypatch):
    rough = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    photo = torch.nn.functional.interpolate(rough[None], size=(256, 256), mode="bicubic")[0].clamp(0, 1)
    given = {name: [photo.roll(step, 2) for step in range(13)] for name in "abcd"}
    steps = [str(step) for step in range(13)]
    html = sweep(given, steps=steps, alt="x").html
    assert 100_000 < len(html) < 2_000_000
    monkeypatch.setattr(widgets, "LARGEST", 100_000)
    with pytest.raises(ValueError, match=r"more than 100,000: show fewer or smaller"):
        sweep(given, steps=steps, alt="x")


def test_wrong_arguments_say_what_to_do(rng):
    given = series(rng)
    with pytest.raises(ValueError, match="alt is empty"):
        sweep(given, steps=STEPS, alt=" ")
    for steps, captions in ((("a",), None), (STEPS[:2], None), (STEPS, ("one", "two"))):
        with pytest.raises(ValueError, match="for each a picture of every series and a caption"):
            sweep(given, steps=steps, alt="x", captions=captions)
    odd = {**given, "odd": [torch.zeros(3, 32, 30)] * 3}
    with pytest.raises(ValueError, match="differ in proportions"):
        sweep(odd, steps=STEPS, alt="x")
