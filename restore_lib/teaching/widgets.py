"""Pictures that a reader moves: before and after, a loupe, a stack of frames.

Each is a piece of HTML with its pictures, style and script inside, which needs neither a kernel nor a network: in the
built book (opened as a file, too), in JupyterLab and in Colab. Where scripts are off, the pictures stand beside each
other with their labels. Pictures are in [0, 1], (3, H, W) or (1, H, W), all shown at one extent: smaller ones are
enlarged pixel by pixel. Each has a label, and ``alt`` says what they show to readers who do not see them.
"""

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from restore_lib.images import to_uint8

HERE = Path(__file__).parent
SMOOTH = 400  # narrower sources are shown with visible pixels, wider ones as the browser scales photographs
WIDE = 512  # CSS pixels
LONGEST_SIDE = 16383  # of WebP
LARGEST = 3_000_000  # bytes of a piece with many pictures: a page with one still opens quickly on a phone


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
    first, second = (escape(label) for label in labels)
    bar = (
        f'<div class="rl-bar"><input type="range" min="0" max="100" value="50" step="1" data-before="{first}" '
        f'aria-label="Divider: {first} to its left, {second} to its right"></div>'
    )
    return _widget("before-after", "rl-stack rl-before-after", (before, after), labels, alt, bar)


def frames(images: Sequence[Float[Tensor, "c _h _w"]], *, labels: Sequence[str], alt: str) -> Widget:
    """Show one of several pictures at a time, the first at first; a slider steps through them.

    Labels stand beside the slider: ``"sigma = 25"``.
    """
    bar = (
        f'<div class="rl-bar"><input type="range" min="0" max="{len(images) - 1}" value="0" step="1" '
        f'aria-label="Frame"><output aria-hidden="true">{escape(labels[0])}</output></div>'
    )
    return _widget("frames", "rl-stack rl-frames", images, labels, alt, bar)


def loupe(images: Sequence[Float[Tensor, "c _h _w"]], *, labels: Sequence[str], alt: str) -> Widget:
    """Show pictures side by side under one lens: the same spot of each, enlarged four times without smoothing.

    The lens follows a mouse or finger on any of the pictures. With the lens in focus, arrow keys move it, and with
    Shift by one pixel. On narrow screens the pictures stand below each other.
    """
    advice = "Move over any picture, or tap it, or use Tab and the arrow keys (with Shift: one pixel)."
    below, view = f'<p class="rl-help">{advice}</p>', '<div class="rl-view">{}</div>'
    return _widget("loupe", "rl-loupe", images, labels, alt, below, view)


def _widget(
    kind: str,
    classes: str,
    images: Sequence[Tensor],
    labels: Sequence[str],
    alt: str,
    below: str,
    view: str = "{}",
) -> Widget:
    """Pictures with their labels, and what stands below them."""
    arrays = [to_uint8(image) for image in images]
    size = one_extent(arrays)
    panes = [
        pane(webp(array), label, f"{alt} ({label})", size, pixels=array.shape[1] < SMOOTH, view=view)
        for array, label in zip(arrays, labels, strict=True)
    ]
    body = f'<div class="rl-row">{"".join(panes)}</div>{below}'
    html = self_contained("widgets", classes, alt, size, WIDE, body)
    return Widget(html, f"<{kind.replace('-', '/')}: {' | '.join(labels)}>")


def one_extent(arrays: Sequence[np.ndarray]) -> tuple[int, int]:
    """Height and width of the largest picture, at which all are shown; ValueError where their proportions differ."""
    rows, columns = max((array.shape[:2] for array in arrays), key=lambda size: size[0] * size[1])
    for height, width, *_ in (array.shape for array in arrays):
        if max(height, width) > LONGEST_SIDE:
            raise ValueError(f"a picture is {width} pixels wide and {height} high: crop or shrink it before showing it")
        # A pixel more or less is what rounding leaves when a picture is made smaller.
        if abs(height * columns - width * rows) > max(rows, columns, height, width):
            sizes = f"{columns} x {rows} and {width} x {height}"
            raise ValueError(f"pictures of {sizes} pixels differ in proportions: crop them alike")
    return rows, columns


def webp(array: np.ndarray, quality: int | None = None) -> str:
    """A picture as a WebP file in base64, for a page; lossless without a ``quality``."""
    options = {"lossless": True, "quality": 100} if quality is None else {"quality": quality}
    stream = io.BytesIO()
    Image.fromarray(array).convert("RGB").save(stream, "WEBP", method=4, **options)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def pane(data: str, label: str, alt: str, size: tuple[int, int], *, pixels: bool = False, view: str = "{}") -> str:
    """A picture (base64 of WebP) with its label, at an extent (height, width), its ``pixels`` visible or not."""
    kind = ' class="rl-pixels"' if pixels else ""
    image = (
        f'<img{kind} src="data:image/webp;base64,{data}" width="{size[1]}" height="{size[0]}" decoding="sync" '
        f'draggable="false" data-label="{escape(label)}" alt="{escape(alt)}">'
    )
    return f'<div class="rl-pane">{view.format(image)}<span class="rl-tag">{escape(label)}</span></div>'


def self_contained(
    name: str,
    classes: str,
    alt: str,
    size: tuple[int, int],
    wide: int,
    body: str,
    *,
    data: object = None,
    script: bool = True,
) -> str:
    """HTML with the style sheets and the script of ``name`` around a body, and ``data`` for the script.

    One class name comes from a hash of what is shown, so that a page finds each piece and repeats no id. A picture of
    this size (height, width) is enlarged by the largest whole factor that stays within ``wide`` CSS pixels. ValueError
    where ``alt`` is empty, or a piece with data is too large for a page.
    """
    if not alt.strip():
        raise ValueError("alt is empty: say in a few words what the pictures show")
    # Data are an argument of the script, where "<" could end it: escaped, no text in it is markup.
    argument = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    token = f"rl-{hashlib.sha256(repr((classes, alt, body, argument)).encode()).hexdigest()[:12]}"
    shown = size[1] * max(1, wide // max(size))
    sheets = "".join((HERE / f"{sheet}.css").read_text(encoding="utf-8") for sheet in dict.fromkeys(("widgets", name)))
    page = (
        f'<style>\n{sheets}</style><div class="rl-widget {classes} {token}" role="group" aria-label="{escape(alt)}"'
        f' style="--width: {shown}px; --ratio: {size[1]} / {size[0]}">{body}</div>'
    )
    if script:
        code = (HERE / f"{name}.js").read_text(encoding="utf-8")
        code = code.replace("TOKEN", token).replace('"DATA"', argument)
        page += f"<script>\n{code}</script>"
    if data is not None and len(page) > LARGEST:
        raise ValueError(f"the piece has {len(page):,} bytes, more than {LARGEST:,}: show fewer or smaller pictures")
    return page
