"""Diagrams: drawn from today's networks, described where they are shown, and nothing written outside of its box."""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import ImageFont

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.append(str(ROOT / "book"))
import diagrams  # noqa: E402
from matplotlib import font_manager  # noqa: E402

every = pytest.mark.parametrize("draw", diagrams.DIAGRAMS, ids=lambda draw: draw.__name__)
SVG = "{http://www.w3.org/2000/svg}"


@every
def test_a_diagram_is_current_and_shown_with_a_description(draw):
    path = diagrams.FOLDER / f"{draw.__name__}.svg"
    assert path.read_text(encoding="utf-8") == draw().svg(), "run `python book/diagrams.py`"
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "notebooks").glob("*.ipynb"))
    found = re.findall(rf"!\[([^\]]+)\]\(\.\./book/static/diagrams/{path.name}\)", pages)
    assert found and all(len(alt) > 60 for alt in found)


@every
def test_every_line_fits_into_its_box(draw):
    drawing = ElementTree.fromstring(draw().svg())
    boxes = [
        {k: float(box.get(k)) for k in ("x", "y", "width", "height")}
        for box in drawing.iter(f"{SVG}rect")
        if box.get("x")
    ]
    font = font_manager.findfont("DejaVu Sans")
    for text in drawing.iter(f"{SVG}text"):
        x, y, size = (float(text.get(key)) for key in ("x", "y", "font-size"))
        wide = ImageFont.truetype(font, int(size)).getlength(text.text)
        start = {"middle": x - wide / 2, "start": x, "end": x - wide}[text.get("text-anchor")]
        assert size >= 14 and start >= 4 and start + wide <= diagrams.WIDTH - 4, text.text
        inside = [b for b in boxes if b["x"] <= x <= b["x"] + b["width"] and b["y"] < y < b["y"] + b["height"]]
        for box in inside:
            assert start >= box["x"] + 2 and start + wide <= box["x"] + box["width"] - 2, text.text
