"""Several pictures side by side that change together as a reader moves one slider: a zoom, by three methods.

Where scripts are off, one step stands there with its names; see :mod:`restore_lib.teaching.widgets`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from jaxtyping import Float
from torch import Tensor

from restore_lib.images import to_uint8
from restore_lib.teaching.choice import LARGEST
from restore_lib.teaching.widgets import LONGEST_SIDE, Widget, self_contained, webp

SHARP = 256  # CSS pixels that a picture is shown at, at most, if it is smaller
QUALITY = 90  # of WebP: many pictures of photographs, whose exact levels nobody needs here


def sweep(
    series: Mapping[str, Sequence[Float[Tensor, "_c _h _w"]]],
    *,
    steps: Sequence[str],
    alt: str,
    start: int = 0,
    captions: Sequence[str] | None = None,
) -> Widget:
    """Show a picture of each series, two in a row; a slider steps through all series at once.

    Pictures are kept as WebP with losses that no eye sees, unlike those of other pieces.

    Parameters
    ----------
    series : mapping of str to sequence of Float[Tensor, "c h w"]
        Names, and pictures in [0, 1], all of one size: ``{"bicubic": [...], "DIINN": [...]}``.
    steps, start : sequence of str, int
        A label for each step of the slider, such as ``"x2.5"``; the step that is shown first.
    alt : str
        What the pictures show, for readers who do not see them.
    captions : sequence of str, optional
        A line of text below the pictures for each step.

    Examples
    --------
    >>> import torch
    >>> fades = torch.linspace(0, 1, 3)[:, None, None, None] * torch.rand(2, 1, 3, 8, 8)
    >>> sweep({"a cat": list(fades[0]), "a dog": list(fades[1])}, steps=("dark", "dusk", "day"), alt="Two animals")
    <sweep: a cat | a dog>
    """
    if captions is not None and len(captions) != len(steps):
        raise ValueError(f"{len(captions)} captions: give one for each of the {len(steps)} steps")
    arrays = _checked(series, steps, alt, start)
    html = _page(arrays, list(series), list(steps), alt, int(start), list(captions or ()))
    if len(html) > LARGEST:
        raise ValueError(f"the piece has {len(html):,} bytes, more than {LARGEST:,}: show fewer steps or smaller ones")
    return Widget(html, f"<sweep: {' | '.join(series)}>")


def _checked(
    series: Mapping[str, Sequence[Tensor]], steps: Sequence[str], alt: str, start: int
) -> list[list[np.ndarray]]:
    """Pictures in 8 bits, after checking that there is one of each series for each step, all of one size."""
    if not alt.strip():
        raise ValueError("alt is empty: say in a few words what the pictures show")
    if not series or not all(name.strip() for name in series):
        raise ValueError(f"series is named {list(series)}: give at least one, each with a name")
    if isinstance(steps, str) or len(steps) < 2 or not all(step.strip() for step in steps):
        raise ValueError(f"steps is {steps!r}: give labels for two or more steps")
    if not 0 <= start < len(steps):
        raise ValueError(f"start is {start}: choose one of the {len(steps)} steps, counted from 0")
    for name, images in series.items():
        if len(images) != len(steps):
            raise ValueError(f"{name!r} has {len(images)} pictures: give one for each of the {len(steps)} steps")
    arrays = [[to_uint8(image) for image in images] for images in series.values()]
    sizes = {array.shape[:2] for row in arrays for array in row}
    if len(sizes) > 1 or max(next(iter(sizes))) > LONGEST_SIDE:
        raise ValueError(f"pictures of {len(sizes)} sizes, {min(sizes)} to {max(sizes)}: crop them alike")
    return arrays


def _page(
    arrays: list[list[np.ndarray]], names: list[str], steps: list[str], alt: str, start: int, captions: list[str]
) -> str:
    """The HTML: the first step's pictures as they stand, and the script with all others."""
    pictures = [[webp(array, QUALITY) for array in row] for row in arrays]
    bar = (
        f'<div class="rl-bar"><input type="range" min="0" max="{len(steps) - 1}" value="{start}" step="1" '
        f'autocomplete="off" aria-label="Step"><output aria-hidden="true">{escape(steps[start])}</output></div>'
    )
    digest = hashlib.sha256(json.dumps([pictures, steps, names, alt, start, captions]).encode())
    # The first step's pictures stand in the page itself: the script takes them from there.
    waiting = [[None if step == start else picture for step, picture in enumerate(row)] for row in pictures]
    data = {"steps": steps, "pictures": waiting, "captions": captions}
    size = arrays[0][0].shape[:2]
    row = _row([row[start] for row in pictures], names, [f"{alt} ({name}, {steps[start]})" for name in names], size)
    below = f'<p class="rl-caption" role="status">{escape(captions[start])}</p>' if captions else ""
    body = f'<p class="rl-step">{escape(steps[start])}</p>{row}{bar}{below}'
    attributes = f' data-alt="{escape(alt)}"'
    return self_contained("sweep", _classes(names), digest, alt, size, SHARP, body, data=data, attributes=attributes)


def live_page(pictures: Mapping[str, Float[Tensor, "_c _h _w"]], caption: str, alt: str) -> str:
    """One step as it would stand in a page, without a slider or a script: what a kernel sends for each setting."""
    arrays = [to_uint8(picture) for picture in pictures.values()]
    size = arrays[0].shape[:2]
    names = list(pictures)
    row = _row([webp(array, QUALITY) for array in arrays], names, [f"{alt} ({name})" for name in names], size)
    body = f'{row}<p class="rl-caption" role="status" aria-live="polite">{escape(caption)}</p>'
    return self_contained("sweep", _classes(names), hashlib.sha256(), alt, size, SHARP, body, script=False)


def _classes(names: list[str]) -> str:
    return "rl-sweep" if len(names) > 1 else "rl-sweep rl-single"


def _row(pictures: list[str], names: list[str], alts: list[str], size: Sequence[int]) -> str:
    height, width = size
    return (
        '<div class="rl-row">'
        + "".join(
            f'<div class="rl-pane"><img src="data:image/webp;base64,{picture}" width="{width}" height="{height}" '
            f'decoding="sync" draggable="false" data-label="{escape(name)}" alt="{escape(alt)}">'
            f'<span class="rl-tag">{escape(name)}</span></div>'
            for picture, name, alt in zip(pictures, names, alts, strict=True)
        )
        + "</div>"
    )
