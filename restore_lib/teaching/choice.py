"""Pictures that a reader picks by name: one of several choices each, and what a network says of the picture.

Where scripts are off, the first choice stands there with its names; see :mod:`restore_lib.teaching.widgets`.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from jaxtyping import Float
from torch import Tensor

from restore_lib.images import to_uint8
from restore_lib.teaching.widgets import SMOOTH, Widget, one_extent, pane, self_contained, webp

WIDE = 400  # CSS pixels


@dataclass(frozen=True)
class Shown:
    """What belongs to one choice."""

    image: Float[Tensor, "c h w"]  #: In [0, 1], (3, H, W) or (1, H, W).
    caption: str
    bars: Sequence[tuple[str, float]] | None = None  #: Classes and probabilities, from top to bottom.
    truth: str | None = None  #: The true class, marked among the bars and named below them.
    beside: Float[Tensor, "c2 h2 w2"] | None = None  #: A picture of the same proportions, such as a map of classes.


def chooser(
    entries: Mapping[tuple[str, ...], Shown],
    *,
    names: Sequence[str],
    alt: str,
    labels: Sequence[str] = ("picture", "what the network says"),
) -> Widget:
    """Let the reader choose a value for each of several names, and show the picture that belongs to the choice.

    Each of ``names`` (``("picture", "sigma", "case")``) has a list to choose from. Beside the picture stand bars with
    probabilities, or a second picture; below them a line of text. ``labels`` are what the picture, and what stands
    beside it, are called; ``alt`` says what the pictures show, for readers who do not see them.

    ``entries`` map a value for each name to what is shown: ``("cat", "30", "noisy")``, the first one at first. Every
    combination of the values that occur needs one (else KeyError), with the same parts, and pictures of the same
    proportions (else ValueError). Lists keep the order in which values first occur.

    >>> import torch
    >>> cat, dog = torch.rand(2, 3, 8, 8)
    >>> pairs = {("cat",): Shown(cat, "A cat."), ("dog",): Shown(dog, "A dog.")}
    >>> chooser(pairs, names=("animal",), alt="Two animals")
    <chooser: animal>
    """
    values = [list(dict.fromkeys(column)) for column in zip(*entries, strict=True)]
    ordered = [entries[key] for key in itertools.product(*values)]
    size = one_extent([to_uint8(x) for shown in ordered for x in (shown.image, shown.beside) if x is not None])
    stored: dict[str, int] = {}  # equal pictures once

    def number(image: Tensor | None) -> int | None:
        return None if image is None else stored.setdefault(webp(to_uint8(image)), len(stored))

    rows = []
    for shown in ordered:
        bars = [[name, round(float(part), 4)] for name, part in shown.bars or ()]
        rows.append([number(shown.image), shown.caption, number(shown.beside), bars, shown.truth])
    # The first choice's pictures stand in the page itself: the script takes them from there.
    pictures = [None if place in (rows[0][0], rows[0][2]) else data for data, place in stored.items()]
    html = self_contained(
        "choice",
        "rl-chooser",
        alt,
        size,
        WIDE,
        _body(list(stored), rows[0], values, names, labels, alt, size),
        data={"values": values, "pictures": pictures, "entries": rows},
    )
    return Widget(html, f"<chooser: {' | '.join(names)}>")


def _body(
    pictures: list[str],
    first: list,
    values: list[list[str]],
    names: Sequence[str],
    labels: Sequence[str],
    alt: str,
    size: tuple[int, int],
) -> str:
    """The lists, and the first choice as it stands."""
    image, caption, beside, bars, truth = first
    lists = "".join(
        f'<label><span>{escape(name)}</span><select autocomplete="off">'
        + "".join(f"<option>{escape(value)}</option>" for value in column)
        + "</select></label>"
        for name, column in zip(names, values, strict=True)
    )
    chosen = ", ".join(f"{name}: {column[0]}" for name, column in zip(names, values, strict=True))
    panes = pane(pictures[image], labels[0], f"{alt} ({chosen})", size, pixels=size[1] < SMOOTH)
    if beside is not None:
        panes += pane(pictures[beside], labels[1], f"{labels[1]} ({chosen})", size, pixels=size[1] < SMOOTH)
    elif bars:
        lines = "".join(_bar(name, part, truth) for name, part in bars)
        panes += (
            f'<div class="rl-pane rl-says"><span class="rl-tag">{escape(labels[1])}</span>'
            f'<ol class="rl-bars" aria-label="{escape(labels[1])}">{lines}</ol>'
            f'<p class="rl-truth">{escape(f"true class: {truth}") if truth else ""}</p></div>'
        )
    return (
        f'<div class="rl-lists">{lists}</div>'
        f'<p class="rl-chosen">{escape(chosen)}</p><div class="rl-row">{panes}</div>'
        f'<p class="rl-caption" role="status" aria-live="polite">{escape(caption)}</p>'
    )


def _bar(name: str, part: float, truth: str | None) -> str:
    """A line of the bars; the true class has a tick, bold letters and a striped bar."""
    opening, tick = ('<li class="rl-true">', "✓ ") if name == truth else ("<li>", "")
    return (
        f'{opening}<span class="rl-name">{tick}{escape(name)}</span>'
        f'<span class="rl-track"><span style="width: {100 * part:.2f}%"></span></span>'
        f'<span class="rl-part">{100 * part:.0f} %</span></li>'
    )
