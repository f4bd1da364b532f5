"""Labs: the controls answer in place, the still form holds every step and a picture, wrong arguments are refused."""

import io
import re

import pytest
import torch
from PIL import Image
from test_widgets import Tree

from restore_lib import plots
from restore_lib.teaching import lab

CONTROLS = {"level": [0, 1, 2, 3, 4], "kind": ["grey", "green"]}


def answer(level, kind):
    picture = torch.full((3, 8, 12), level / 4)
    if kind == "green":
        picture[[0, 2]] = 0
    return {"given": torch.zeros(3, 8, 12), "made": picture}, f"<{kind}> at {level}"


@pytest.fixture
def still(monkeypatch):
    monkeypatch.setenv("RESTORE_LABS", "still")


def test_each_setting_is_answered_in_place():
    calls = []

    def counted(level, kind):
        calls.append((level, kind))
        return answer(level, kind)

    made = lab(counted, CONTROLS, alt="A picture")
    slider, choice, shown = made.children
    assert (slider.value, choice.value) == (2, "green")
    seen = {}
    for level, kind in ((2, "green"), (4, "green"), (4, "grey"), (0, "grey")):
        slider.value, choice.value = level, kind
        tree = Tree(shown.value)
        assert f"&lt;{kind}&gt; at {level}" in shown.value and "<script" not in shown.value
        alts = [f"A picture (level {level}, kind {kind}) ({name})" for name in ("given", "made")]
        assert [image["alt"] for image in tree.all("img")] == alts
        seen[level, kind] = tree.all("img")[1]["src"]
    assert len(set(seen.values())) == 4
    slider.value, choice.value = 4, "grey"
    assert Tree(shown.value).all("img")[1]["src"] == seen[4, "grey"]
    assert len(calls) == len(set(calls)), "an answer is computed once"


def test_controls_are_named_and_take_keys():
    slider, choice, _ = lab(answer, CONTROLS, alt="A picture").children
    assert (slider._view_name, slider._options_labels[2]) == ("SelectionSliderView", "level 2"), "what a reader hears"
    assert (choice._view_name, choice.description) == ("DropdownView", "kind")
    assert slider.tabbable is not False and choice.tabbable is not False


def test_the_still_form_steps_through_settings(still):
    made = lab(answer, CONTROLS, alt="A picture", start=[1, "grey"])
    tree = Tree(made.html)
    assert tree.all("input")[0]["type"] == "range" and tree.all("input")[0]["max"] == "4"
    assert [image["alt"] for image in tree.all("img")] == [
        f"A picture ({name}, level 1, kind grey)" for name in ("given", "made")
    ]
    assert re.findall(r"u003cgrey> at (\d)", made._repr_html_()) == list("01234")
    assert "&lt;grey&gt; at 1" in made.html
    with Image.open(io.BytesIO(made._repr_png_())) as sheet:
        assert sheet.width > 500
    chosen = lab(answer, CONTROLS, alt="A picture", still=[(0, "grey"), (3, "green")])
    assert re.findall(r"u003c(\w+)> at (\d)", chosen.html) == [("grey", "0"), ("green", "3")]


def test_a_figure_may_be_the_answer(still, monkeypatch):
    def curve(slope):
        return {"curve": plots.training_curve({"a": [(i, slope * i) for i in range(4)]}, "y")}, f"slope {slope}"

    made = lab(curve, {"slope": [1, 2, 3]}, alt="A line")
    assert "rl-single" in made.html
    with Image.open(io.BytesIO(made._repr_png_())) as sheet:
        size = sheet.size
    monkeypatch.delenv("RESTORE_LABS")
    image = Tree(lab(curve, {"slope": [1, 2, 3]}, alt="A line").children[-1].value).all("img")[0]
    assert (int(image["width"]), int(image["height"])) == size


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"alt": " "}, "alt is empty"),
        ({"start": [1]}, "give one value of each of level, kind"),
        ({"start": [7, "grey"]}, "give one value of each of level, kind"),
    ],
)
def test_wrong_arguments_say_what_to_do(change, words):
    given = {"controls": CONTROLS, "alt": "A picture"} | change
    with pytest.raises(ValueError, match=words):
        lab(answer, given.pop("controls"), **given)
