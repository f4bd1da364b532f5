"""Pictures that a reader moves: before and after, a loupe, a stack of frames.

Each is a piece of HTML with its pictures, style and script inside, which needs neither a kernel nor a network: in the
built book (opened as a file, too), in JupyterLab and in Colab. Where scripts are off, the pictures stand beside each
other with their labels. Pictures are in [0, 1], (3, H, W) or (1, H, W), all shown at one extent: smaller ones are
enlarged pixel by pixel. Each has a label, and ``alt`` says what they show to readers who do not see them; ValueError
where one of these is empty or missing, or the proportions differ.
"""

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from restore_lib.images import to_uint8

HERE = Path(__file__).parent
SMOOTH = 400  # narrower sources are shown with visible pixels, wider ones as the browser scales photographs
WIDE = 512  # CSS pixels
LONGEST_SIDE = 16383  # of WebP


class Widget:
    """A piece of HTML that notebooks and the book show; its plain text is one short line."""

    def __init__(self, html: str, text: str):
        self.html = html
        self.text = text

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


def before_after(
    before: Float[Tensor, "c h w"],
    after: Float[Tensor, "c H W"],
    *,
    labels: Sequence[str] = ("before", "after"),
    alt: str,
) -> Widget:
    """Show two pictures on top of each other with a divider that the reader drags.

    The divider follows a mouse or finger on the picture and the slider below it, which takes arrow keys.
    """
    arrays = _checked((before, after), labels, alt)
    first, second = (escape(label) for label in labels)
    bar = (
        f'<div class="rl-bar"><input type="range" min="0" max="100" value="50" step="1" data-before="{first}" '
        f'aria-label="Divider: {first} to its left, {second} to its right"></div>'
    )
    return _widget("before-after", "rl-stack rl-before-after", _row(arrays, labels, alt) + bar, arrays, labels, alt)


def frames(images: Sequence[Float[Tensor, "c _h _w"]], *, labels: Sequence[str], alt: str) -> Widget:
    """Show one of several pictures at a time, the first at first; a slider steps through them.

    Labels stand beside the slider: ``"sigma = 25"``.
    """
    arrays = _checked(images, labels, alt)
    bar = (
        f'<div class="rl-bar"><input type="range" min="0" max="{len(arrays) - 1}" value="0" step="1" '
        f'aria-label="Frame"><output aria-hidden="true">{escape(labels[0])}</output></div>'
    )
    return _widget("frames", "rl-stack rl-frames", _row(arrays, labels, alt) + bar, arrays, labels, alt)


def loupe(images: Sequence[Float[Tensor, "c _h _w"]], *, labels: Sequence[str], alt: str, zoom: int = 4) -> Widget:
    """Show pictures side by side under one lens: the same spot of each, enlarged ``zoom`` times without smoothing.

    The lens follows a mouse or finger on any of the pictures. With the lens in focus, arrow keys move it, and with
    Shift by one pixel. On narrow screens the pictures stand below each other.
    """
    if zoom < 2:
        raise ValueError(f"zoom is {zoom}: choose 2 or more")
    arrays = _checked(images, labels, alt)
    advice = "Move over any picture, or tap it, or use Tab and the arrow keys (with Shift: one pixel)."
    rows, columns = _largest(arrays).shape[:2]
    data = f' data-columns="{columns}" data-rows="{rows}" data-zoom="{zoom}"'
    pane = '<div class="rl-pane"><div class="rl-view">{}</div>'
    body = f'{_row(arrays, labels, alt, pane)}<p class="rl-help">{advice}</p>'
    return _widget("loupe", "rl-loupe", body, arrays, labels, alt, data)


def _checked(images: Sequence[Tensor], labels: Sequence[str], alt: str) -> list[np.ndarray]:
    """Turn the pictures into 8 bits after checking that they can be shown at one extent, named and described."""
    if not alt.strip():
        raise ValueError("alt is empty: say in a few words what the pictures show")
    if len(images) < 2:
        raise ValueError(f"{len(images)} picture given: give two or more")
    if isinstance(labels, str) or len(labels) != len(images) or not all(label.strip() for label in labels):
        raise ValueError(f"labels is {labels!r}: give a name for each of the {len(images)} pictures")
    arrays = [to_uint8(image) for image in images]
    check_extent(_largest(arrays).shape[:2], [array.shape[:2] for array in arrays])
    return arrays


def check_extent(extent: Sequence[int], sizes: Sequence[Sequence[int]]) -> None:
    """Refuse pictures (heights and widths) that cannot be shown at one extent."""
    rows, columns = extent
    for height, width in sizes:
        if max(height, width) > LONGEST_SIDE:
            raise ValueError(f"a picture is {width} pixels wide and {height} high: crop or shrink it before showing it")
        # A pixel more or less is what rounding leaves when a picture is made smaller.
        if abs(height * columns - width * rows) > max(rows, columns, height, width):
            raise ValueError(
                f"pictures of {columns} x {rows} and {width} x {height} pixels differ in proportions: crop them alike"
            )


def _largest(arrays: list[np.ndarray]) -> np.ndarray:
    return max(arrays, key=lambda array: array.shape[0] * array.shape[1])


def webp(array: np.ndarray, quality: int | None = None) -> str:
    """A picture as a WebP file in base64, for a page; lossless without a ``quality``."""
    options = {"lossless": True, "quality": 100} if quality is None else {"quality": quality}
    stream = io.BytesIO()
    Image.fromarray(array).convert("RGB").save(stream, "WEBP", method=4, **options)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def _row(arrays: list[np.ndarray], labels: Sequence[str], alt: str, pane: str = '<div class="rl-pane">{}') -> str:
    """Pictures with their labels."""
    height, width = _largest(arrays).shape[:2]
    panes = []
    for array, label in zip(arrays, labels, strict=True):
        pixels = ' class="rl-pixels"' if array.shape[1] < SMOOTH else ""
        picture = (
            f'<img{pixels} src="data:image/webp;base64,{webp(array)}" width="{width}" height="{height}" '
            f'draggable="false" data-label="{escape(label)}" alt="{escape(f"{alt} ({label})")}">'
        )
        panes.append(f'{pane.format(picture)}<span class="rl-tag">{escape(label)}</span></div>')
    return f'<div class="rl-row">{"".join(panes)}</div>'


def _widget(
    kind: str, classes: str, body: str, arrays: list[np.ndarray], labels: Sequence[str], alt: str, data: str = ""
) -> Widget:
    digest = hashlib.sha256("\0".join((kind, data, alt, *labels)).encode())
    for array in arrays:
        digest.update(repr(array.shape).encode() + array.tobytes())
    size = _largest(arrays).shape[:2]
    html = self_contained("widgets", classes, digest, alt, size, WIDE, body, attributes=data, style="; --split: 50%")
    return Widget(html, f"<{kind.replace('-', '/')}: {' | '.join(labels)}>")


def self_contained(
    name: str,
    classes: str,
    digest: Any,
    alt: str,
    size: Sequence[int],
    wide: int,
    body: str,
    *,
    data: object = None,
    attributes: str = "",
    style: str = "",
    script: bool = True,
) -> str:
    """HTML with the style sheets and the script of ``name`` around a body, and ``data`` for the script.

    One class name comes from a hash of what is shown, so that a page finds each piece and repeats no id. A picture of
    this size (height, width) is enlarged by the largest whole factor that stays within ``wide`` CSS pixels.
    """
    token = f"rl-{digest.hexdigest()[:12]}"
    height, width = size
    shown = width * max(1, wide // max(height, width))
    sheets = "".join((HERE / f"{sheet}.css").read_text(encoding="utf-8") for sheet in dict.fromkeys(("widgets", name)))
    page = (
        f'<style>\n{sheets}</style><div class="rl-widget {classes} {token}" role="group" aria-label="{escape(alt)}"'
        f'{attributes} style="--width: {shown}px; --ratio: {width} / {height}{style}">{body}</div>'
    )
    if not script:
        return page
    code = (HERE / f"{name}.js").read_text(encoding="utf-8").replace("TOKEN", token)
    if data is not None:  # as an argument of the script, where "<" could end it: escaped, no text in it is markup
        code = code.replace('"DATA"', json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"))
    return f"{page}<script>\n{code}</script>"
