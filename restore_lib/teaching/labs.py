"""A lab: sliders and lists with which a reader runs the library in a notebook, and what they would show without one.

Where a kernel answers, the controls are ipywidgets, and one picture is drawn anew in place. ``make book`` and
``make outputs`` set ``RESTORE_LABS=still``, since nobody answers there: a lab is then a
:func:`~restore_lib.teaching.sweep` over some settings, and in a notebook's file a picture of some of them.
"""

import io
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from restore_lib import plots
from restore_lib.images import from_uint8
from restore_lib.teaching.sweep import live_page, sweep
from restore_lib.teaching.widgets import Widget

STEPS = 6  # settings of the still form, at most, unless they are given
SHEET = 4  # of them in the stored row of pictures
QUICK = 0.1  # seconds: slower answers wait until the slider is let go
Answer = tuple[Mapping[str, Tensor | Figure], str]


class Still(Widget):
    """The still form: a sweep in a page, and a picture of some of its steps for notebooks that do not run."""

    def __init__(self, html: str, text: str, sheet: Any):
        super().__init__(html, text)
        self.sheet = sheet

    def _repr_png_(self) -> bytes:
        return self.sheet._repr_png_()


def lab(
    answer: Callable[..., Answer],
    controls: Mapping[str, Sequence],
    *,
    alt: str,
    start: Sequence | None = None,
    still: Sequence[Sequence] | None = None,
):
    """Let the reader choose settings and see what the library makes of them.

    Parameters
    ----------
    answer : callable
        Takes one value of each control, by position, and returns pictures by name, (3, H, W) in [0, 1] and of one
        size, or figures, and a line of text: ``({"noisy": y, "denoised": x}, "31.2 dB")``. The names are always the
        same. It should take less than half a second; answers are kept, so that a setting is computed once.
    controls : mapping of str to sequence
        What is chosen and its values, two or more: a slider where all are numbers, else a list.
    alt : str
        What the pictures show, for readers who do not see them.
    start, still : sequence, sequence of sequence
        One value of each control, shown first, by default the middle ones; the settings of the still form, by default
        up to six values of the first control, the others as in ``start``. ValueError for other values.
    """
    begin = tuple(start) if start is not None else tuple(values[len(values) // 2] for values in controls.values())
    if not alt.strip():
        raise ValueError("alt is empty: say in a few words what the pictures show")
    if len(begin) != len(controls) or any(b not in values for b, values in zip(begin, controls.values(), strict=True)):
        raise ValueError(f"start is {begin!r}: give one value of each of {', '.join(controls)}")
    if os.environ.get("RESTORE_LABS") == "still":  # where no kernel will answer
        return _still(answer, controls, alt, begin, still)
    return _live(lru_cache(maxsize=64)(answer), controls, alt, begin)


def _words(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _label(names: Sequence[str], setting: Sequence) -> str:
    return ", ".join(f"{name} {_words(value)}" for name, value in zip(names, setting, strict=True))


def _drawn(part: Tensor | Any) -> Tensor:
    """A picture, or a figure as one."""
    if isinstance(part, Tensor):
        return part
    return from_uint8(np.asarray(Image.open(io.BytesIO(part._repr_png_())).convert("RGB")))


def _some(values: Sequence, count: int) -> list:
    """So many values, evenly chosen, with the first and the last."""
    places = np.linspace(0, len(values) - 1, min(count, len(values))).round().astype(int)
    return [values[place] for place in places]


def _still(answer, controls, alt, begin, still) -> Still:
    """Every step is computed now, for a page that holds them all."""
    if still is None:
        still = [(value, *begin[1:]) for value in _some(next(iter(controls.values())), STEPS)]
    labels = [_label(list(controls), setting) for setting in still]
    answers = [answer(*setting) for setting in still]
    series = {name: [_drawn(parts[name]) for parts, _ in answers] for name in answers[0][0]}
    at = next((place for place, setting in enumerate(still) if tuple(setting) == begin), len(still) // 2)
    page = sweep(series, steps=labels, captions=[text for _, text in answers], alt=alt, start=at)
    sheet = next((part for part in answers[at][0].values() if isinstance(part, Figure)), None)
    if sheet:
        return Still(page.html, f"<lab: {' | '.join(controls)}>", sheet)
    some = _some(range(len(still)), SHEET)
    rows = [row for row in series.values() if len(set(map(id, row))) > 1]  # without what is always the same
    changing = [place for place in range(len(begin)) if len({setting[place] for setting in still}) > 1]
    titles = [_label([list(controls)[i] for i in changing], [still[p][i] for i in changing]) for p in some] * len(rows)
    sheet = plots.image_row([row[p] for row in rows for p in some], titles=titles, columns=len(some))
    return Still(page.html, f"<lab: {' | '.join(controls)}>", sheet)


def _live(answer, controls, alt, begin):
    """Controls of ipywidgets, and one piece of HTML whose text changes."""
    import ipywidgets

    shown, pickers = ipywidgets.HTML(), []

    def draw(change=None):
        setting = tuple(picker.value for picker in pickers)
        parts, text = answer(*setting)
        shown.value = live_page(
            {name: _drawn(part) for name, part in parts.items()}, text, f"{alt} ({_label(list(controls), setting)})"
        )

    for (name, values), first in zip(controls.items(), begin, strict=True):
        if all(isinstance(value, int | float) for value in values):
            # The value says its name: ipywidgets gives the handle of a slider none that a screen reader would say.
            options = [(_label([name], [value]), value) for value in values]
            pickers.append(ipywidgets.SelectionSlider(options=options, value=first))
        else:
            options = [(_words(value), value) for value in values]
            style = {"description_width": "initial"}
            pickers.append(ipywidgets.Dropdown(options=options, value=first, description=name, style=style))
    began = time.perf_counter()
    draw()
    for picker in pickers:
        if isinstance(picker, ipywidgets.SelectionSlider):
            picker.continuous_update = time.perf_counter() - began < QUICK
        picker.observe(draw, "value")
    return ipywidgets.VBox([*pickers, shown])
