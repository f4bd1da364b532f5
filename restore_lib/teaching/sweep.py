"""Several pictures side by side that change together as a reader moves one slider: a zoom, by three methods.

Where scripts are off, one step stands there with its names; see :mod:`restore_lib.teaching.widgets`.
"""

from collections.abc import Mapping, Sequence
from html import escape

from jaxtyping import Float
from torch import Tensor

from restore_lib.images import to_uint8
from restore_lib.teaching.widgets import Widget, one_extent, pane, self_contained, webp

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

    ``series`` map names to pictures in [0, 1], (c, h, w), all of one size: ``{"bicubic": [...], "DIINN": [...]}``;
    ``steps`` are labels such as ``"x2.5"``, ``start`` is the step that is shown first, ``captions`` a line of text for
    each step, and ``alt`` says what the pictures show, for readers who do not see them. Pictures are kept as WebP with
    losses that no eye sees, unlike those of other pieces.

    >>> import torch
    >>> fades = torch.linspace(0, 1, 3)[:, None, None, None] * torch.rand(2, 1, 3, 8, 8)
    >>> sweep({"a cat": list(fades[0]), "a dog": list(fades[1])}, steps=("dark", "dusk", "day"), alt="Two animals")
    <sweep: a cat | a dog>
    """
    arrays = [[to_uint8(image) for image in images] for images in series.values()]
    if len(steps) < 2 or {*map(len, arrays), len(captions or steps)} != {len(steps)}:
        raise ValueError(f"steps is {steps!r}: give two or more, and for each a picture of every series and a caption")
    size, names = one_extent([array for row in arrays for array in row]), list(series)
    pictures = [[webp(array, QUALITY) for array in row] for row in arrays]
    bar = (
        f'<div class="rl-bar"><input type="range" min="0" max="{len(steps) - 1}" value="{start}" step="1" '
        f'autocomplete="off" aria-label="Step"><output aria-hidden="true">{escape(steps[start])}</output></div>'
    )
    row = _row([row[start] for row in pictures], names, [f"{alt} ({name}, {steps[start]})" for name in names], size)
    below = f'<p class="rl-caption" role="status">{escape(captions[start])}</p>' if captions else ""
    body = f'<p class="rl-step">{escape(steps[start])}</p>{row}{bar}{below}'
    # The first step's pictures stand in the page itself: the script takes them from there.
    waiting = [[None if step == start else picture for step, picture in enumerate(row)] for row in pictures]
    data = {"steps": list(steps), "pictures": waiting, "captions": list(captions or ())}
    html = self_contained("sweep", _classes(names), alt, size, SHARP, body, data=data)
    return Widget(html, f"<sweep: {' | '.join(names)}>")


def live_page(pictures: Mapping[str, Float[Tensor, "_c _h _w"]], caption: str, alt: str) -> str:
    """One step as it would stand in a page, without a slider or a script: what a kernel sends for each setting."""
    arrays, names = [to_uint8(picture) for picture in pictures.values()], list(pictures)
    size = one_extent(arrays)
    row = _row([webp(array, QUALITY) for array in arrays], names, [f"{alt} ({name})" for name in names], size)
    body = f'{row}<p class="rl-caption" role="status" aria-live="polite">{escape(caption)}</p>'
    return self_contained("sweep", _classes(names), alt, size, SHARP, body, script=False)


def _classes(names: list[str]) -> str:
    return "rl-sweep" if len(names) > 1 else "rl-sweep rl-single"


def _row(pictures: list[str], names: list[str], alts: list[str], size: tuple[int, int]) -> str:
    panes = (pane(*described, size) for described in zip(pictures, names, alts, strict=True))
    return f'<div class="rl-row">{"".join(panes)}</div>'
