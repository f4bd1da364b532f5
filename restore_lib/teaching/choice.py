"""Pictures that a reader picks by name: one of several choices each, and what a network says of the picture.

Where scripts are off, the first choice stands there with its names; see :mod:`restore_lib.teaching.widgets`.
"""

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from jaxtyping import Float
from torch import Tensor

from restore_lib.images import to_uint8
from restore_lib.teaching.widgets import SMOOTH, Widget, check_extent, self_contained, webp

WIDE = 400  # CSS pixels
LARGEST = 3_000_000  # bytes of a piece: a page with one still opens quickly on a phone


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

    Each name has a list to choose from. Beside the picture stand bars with probabilities, or a second picture; below
    them a line of text. The first entry is shown first.

    Parameters
    ----------
    entries : mapping from tuple of str to Shown
        A value for each name to what is shown: ``("cat", "30", "noisy")``. Every combination of the values that occur
        needs one, with the same parts and proportions. Lists keep the order in which values first occur.
    names : sequence of str
        What is chosen: ``("picture", "sigma", "case")``.
    alt, labels : str, two str
        What the pictures show, for readers who do not see them; what the picture, and what stands beside it, are
        called.

    Examples
    --------
    >>> import torch
    >>> cat, dog = torch.rand(2, 3, 8, 8)
    >>> pairs = {("cat",): Shown(cat, "A cat."), ("dog",): Shown(dog, "A dog.")}
    >>> chooser(pairs, names=("animal",), alt="Two animals")
    <chooser: animal>
    """
    values = _values(entries, names, labels, alt)
    ordered = [entries[key] for key in itertools.product(*values)]
    _agree(ordered)
    store = _Store()
    rows = [
        [
            store.number(shown.image),
            shown.caption,
            None if shown.beside is None else store.number(shown.beside),
            [[name, round(float(part), 4)] for name, part in shown.bars or ()],
            shown.truth,
        ]
        for shown in ordered
    ]
    held = {0, rows[0][2]}  # the first choice's pictures stand in the page itself: the script takes them from there
    pictures = [None if number in held else data for number, data in enumerate(store.pictures)]
    data = {"values": values, "pictures": pictures, "entries": rows}
    html = _page(data, store, [value[0] for value in values], names, labels, alt)
    if len(html) > LARGEST:
        raise ValueError(
            f"the piece has {len(html):,} bytes, more than {LARGEST:,}: show fewer choices, or smaller pictures"
        )
    return Widget(html, f"<chooser: {' | '.join(names)}>")


def _values(
    entries: Mapping[tuple[str, ...], Shown], names: Sequence[str], labels: Sequence[str], alt: str
) -> list[list[str]]:
    """What each list offers, after checking that every combination has an entry."""
    if not alt.strip():
        raise ValueError("alt is empty: say in a few words what the pictures show")
    if isinstance(names, str) or not names or not all(name.strip() for name in names) or len(set(names)) < len(names):
        raise ValueError(f"names is {names!r}: give a different name for each thing that is chosen")
    if isinstance(labels, str) or len(labels) != 2 or not all(label.strip() for label in labels):
        raise ValueError(f"labels is {labels!r}: give one for the picture and one for what stands beside it")
    if not entries:
        raise ValueError("entries is empty: give something to choose from")
    for key in entries:
        if not isinstance(key, tuple) or len(key) != len(names) or not all(value.strip() for value in key):
            raise ValueError(f"the entry {key!r} needs one value for each of {', '.join(names)}, as a tuple of str")
    values = [list(dict.fromkeys(column)) for column in zip(*entries, strict=True)]
    for key in itertools.product(*values):
        if key not in entries:
            raise ValueError(f"there is no entry {key!r}: every combination of values needs one")
    return values


def _agree(ordered: Sequence[Shown]) -> None:
    """Check that all choices show the same parts, at one extent."""
    first = ordered[0]
    for shown in ordered:
        if (shown.bars is None) != (first.bars is None) or (shown.beside is None) != (first.beside is None):
            raise ValueError(f"{shown.caption!r} has other parts than {first.caption!r}: bars for all, or for none")
        if shown.bars is not None and shown.beside is not None:
            raise ValueError(f"{shown.caption!r} has bars and a second picture: give one of them")
        if (shown.truth is not None and shown.bars is None) or (shown.bars is not None and not shown.bars):
            raise ValueError(f"{shown.caption!r} has a true class or an empty list of bars: give at least one bar")
        if not all(0 <= part <= 1 for _, part in shown.bars or ()):
            raise ValueError(f"{shown.caption!r} has a bar outside 0 to 1: give probabilities")
        pictures = [image for image in (shown.image, shown.beside) if image is not None]
        check_extent(first.image.shape[-2:], [image.shape[-2:] for image in pictures])


class _Store:
    """Pictures as base64 of lossless WebP, equal ones once."""

    def __init__(self):
        self.pictures: list[str] = []
        self.numbers: dict[tuple, int] = {}

    def number(self, image: Tensor) -> int:
        array = to_uint8(image)
        key = array.shape, array.tobytes()
        if key not in self.numbers:
            self.numbers[key] = len(self.pictures)
            self.pictures.append(webp(array))
        return self.numbers[key]


def _page(
    data: Mapping[str, list], store: _Store, first: list[str], names: Sequence[str], labels: Sequence[str], alt: str
) -> str:
    """The HTML: lists, the first choice as it stands, and the script with everything else."""
    image, caption, beside, bars, truth = data["entries"][0]
    height, width = next(iter(store.numbers))[0][:2]
    lists = "".join(
        f'<label><span>{escape(name)}</span><select autocomplete="off">'
        + "".join(f"<option>{escape(value)}</option>" for value in values)
        + "</select></label>"
        for name, values in zip(names, data["values"], strict=True)
    )
    chosen = ", ".join(f"{name}: {value}" for name, value in zip(names, first, strict=True))
    panes = _pane(store.pictures[image], labels[0], f"{alt} ({chosen})", width)
    if beside is not None:
        panes += _pane(store.pictures[beside], labels[1], f"{labels[1]} ({chosen})", width)
    elif bars:
        listed = "".join(_bar(name, part, truth) for name, part in bars)
        panes += (
            f'<div class="rl-pane rl-says"><span class="rl-tag">{escape(labels[1])}</span>'
            f'<ol class="rl-bars" aria-label="{escape(labels[1])}">{listed}</ol>'
            f'<p class="rl-truth">{escape(f"true class: {truth}") if truth else ""}</p></div>'
        )
    digest = hashlib.sha256(json.dumps([data, alt, list(names), list(labels), store.pictures]).encode())
    body = (
        f'<div class="rl-lists">{lists}</div>'
        f'<p class="rl-chosen">{escape(chosen)}</p><div class="rl-row">{panes}</div>'
        f'<p class="rl-caption" role="status" aria-live="polite">{escape(caption)}</p>'
    )
    attributes = f' data-alt="{escape(alt)}"'
    return self_contained(
        "choice", "rl-chooser", digest, alt, (height, width), WIDE, body, data=data, attributes=attributes
    )


def _pane(data: str, label: str, alt: str, width: int) -> str:
    pixels = ' class="rl-pixels"' if width < SMOOTH else ""
    return (
        f'<div class="rl-pane"><img{pixels} src="data:image/webp;base64,{data}" data-label="{escape(label)}" '
        f'alt="{escape(alt)}"><span class="rl-tag">{escape(label)}</span></div>'
    )


def _bar(name: str, part: float, truth: str | None) -> str:
    """A line of the bars; the true class has a tick, bold letters and a striped bar."""
    opening, tick = ('<li class="rl-true">', "✓ ") if name == truth else ("<li>", "")
    return (
        f'{opening}<span class="rl-name">{tick}{escape(name)}</span>'
        f'<span class="rl-track"><span style="width: {100 * part:.2f}%"></span></span>'
        f'<span class="rl-part">{100 * part:.0f} %</span></li>'
    )
