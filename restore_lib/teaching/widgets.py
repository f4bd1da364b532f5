"""Pictures that a reader moves: before and after, a loupe, a stack of frames.

Each is a piece of HTML with its pictures, style and script inside. It needs neither a kernel nor a network, so it works
in the built book (opened as a file, too), in JupyterLab and in Colab. Where scripts are off, the pictures stand beside
each other with their labels. Nothing moves by itself.
"""

import base64
import hashlib
import io
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
WIDE = 512  # small pictures are enlarged by the largest whole factor that stays within this many CSS pixels
LONGEST_SIDE = 16383  # of WebP


class Widget:
    """A piece of HTML that notebooks and the book show; its plain text is one short line.

    Parameters
    ----------
    html : str
        Self-contained HTML.
    text : str
        What stands for it where only text is shown.
    """

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

    Parameters
    ----------
    before, after : Float[Tensor, "c h w"]
        In [0, 1], (3, H, W) or (1, H, W). Both are shown at the same extent: a smaller one is enlarged pixel by pixel,
        so a low-resolution input can stand against its super-resolved output.
    labels : two str
        What the left and the right part are called.
    alt : str
        What the pictures show, for readers who do not see them.

    Returns
    -------
    Widget
        The last value of a cell is shown; elsewhere use ``display``.

    Raises
    ------
    ValueError
        Empty ``alt`` or labels, not two labels, or pictures of different proportions.
    """
    arrays = _checked((before, after), labels, alt)
    first, second = (escape(label) for label in labels)
    bar = (
        f'<div class="rl-bar"><input type="range" min="0" max="100" value="50" step="1" data-before="{first}" '
        f'aria-label="Divider: {first} to its left, {second} to its right"></div>'
    )
    panes = "".join(
        f'<div class="rl-pane">{_picture(array, label, alt, arrays)}<span class="rl-tag">{escape(label)}</span></div>'
        for array, label in zip(arrays, labels, strict=True)
    )
    body = f'<div class="rl-row">{panes}</div>{bar}'
    return _widget("before-after", "rl-stack rl-before-after", body, arrays, labels, alt)


def frames(images: Sequence[Float[Tensor, "c _h _w"]], *, labels: Sequence[str], alt: str) -> Widget:
    """Show one of several pictures at a time; a slider steps through them.

    Parameters
    ----------
    images : sequence of Float[Tensor, "c h w"]
        In [0, 1], (3, H, W) or (1, H, W), all shown at the same extent. For instance one picture at rising ``sigma``.
    labels : sequence of str
        One for each picture, shown beside the slider: ``"sigma = 25"``.
    alt : str
        What the pictures show, for readers who do not see them.

    Returns
    -------
    Widget
        Starts at the first picture.

    Raises
    ------
    ValueError
        Fewer than two pictures, empty ``alt`` or labels, not one label a picture, or pictures of different proportions.
    """
    arrays = _checked(images, labels, alt)
    panes = "".join(
        f'<div class="rl-pane">{_picture(array, label, alt, arrays)}<span class="rl-tag">{escape(label)}</span></div>'
        for array, label in zip(arrays, labels, strict=True)
    )
    bar = (
        f'<div class="rl-bar"><input type="range" min="0" max="{len(arrays) - 1}" value="0" step="1" '
        f'aria-label="Frame"><output aria-hidden="true">{escape(labels[0])}</output></div>'
    )
    return _widget("frames", "rl-stack rl-frames", f'<div class="rl-row">{panes}</div>{bar}', arrays, labels, alt)


def loupe(images: Sequence[Float[Tensor, "c _h _w"]], *, labels: Sequence[str], alt: str, zoom: int = 4) -> Widget:
    """Show pictures side by side under one lens: the same spot of each, enlarged without smoothing.

    The lens follows a mouse or finger on any of the pictures. With the lens in focus, arrow keys move it, and with
    Shift by one pixel. On narrow screens the pictures stand below each other.

    Parameters
    ----------
    images : sequence of Float[Tensor, "c h w"]
        In [0, 1], (3, H, W) or (1, H, W), all shown at the same extent.
    labels : sequence of str
        One for each picture, shown below it.
    alt : str
        What the pictures show, for readers who do not see them.
    zoom : int
        How many times larger the lens shows things: screen pixels for each pixel of the largest picture, more where
        the picture itself is shown enlarged.

    Returns
    -------
    Widget
        The lens starts in the middle.

    Raises
    ------
    ValueError
        Fewer than two pictures, empty ``alt`` or labels, not one label a picture, pictures of different proportions, or
        ``zoom`` below 2.
    """
    if zoom < 2:
        raise ValueError(f"zoom is {zoom}: choose 2 or more")
    arrays = _checked(images, labels, alt)
    panes = "".join(
        f'<div class="rl-pane"><div class="rl-view">{_picture(array, label, alt, arrays)}</div>'
        f'<span class="rl-tag">{escape(label)}</span></div>'
        for array, label in zip(arrays, labels, strict=True)
    )
    advice = "Move over any picture, or tap it, or use Tab and the arrow keys (with Shift: one pixel)."
    rows, columns = _largest(arrays).shape[:2]
    data = f' data-columns="{columns}" data-rows="{rows}" data-zoom="{zoom}"'
    body = f'<div class="rl-row">{panes}</div><p class="rl-help">{advice}</p>'
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
    rows, columns = _largest(arrays).shape[:2]
    for height, width in (array.shape[:2] for array in arrays):
        if max(height, width) > LONGEST_SIDE:
            raise ValueError(f"a picture is {width} pixels wide and {height} high: crop or shrink it before showing it")
        # A pixel more or less is what rounding leaves when a picture is made smaller.
        if abs(height * columns - width * rows) > max(rows, columns):
            raise ValueError(
                f"pictures of {columns} x {rows} and {width} x {height} pixels differ in proportions: crop them alike"
            )
    return arrays


def _largest(arrays: list[np.ndarray]) -> np.ndarray:
    return max(arrays, key=lambda array: array.shape[0] * array.shape[1])


def webp(array: np.ndarray, quality: int | None = None) -> str:
    """A picture as a WebP file in base64, for a page; lossless without a ``quality``."""
    options = {"lossless": True, "quality": 100} if quality is None else {"quality": quality}
    stream = io.BytesIO()
    Image.fromarray(array).convert("RGB").save(stream, "WEBP", method=4, **options)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def _picture(array: np.ndarray, label: str, alt: str, arrays: list[np.ndarray]) -> str:
    height, width = _largest(arrays).shape[:2]
    pixels = ' class="rl-pixels"' if array.shape[1] < SMOOTH else ""
    return (
        f'<img{pixels} src="data:image/webp;base64,{webp(array)}" width="{width}" height="{height}" draggable="false" '
        f'data-label="{escape(label)}" alt="{escape(f"{alt} ({label})")}">'
    )


def _widget(
    kind: str,
    classes: str,
    body: str,
    arrays: list[np.ndarray],
    labels: Sequence[str],
    alt: str,
    data: str = "",
) -> Widget:
    """Wrap the body. Its class name is a hash of what is shown, so that a page finds each piece and repeats no id."""
    digest = hashlib.sha256("\0".join((kind, data, alt, *labels)).encode())
    for array in arrays:
        digest.update(repr(array.shape).encode() + array.tobytes())
    token = f"rl-{digest.hexdigest()[:12]}"
    height, width = _largest(arrays).shape[:2]
    shown = width * max(1, WIDE // max(height, width))
    style = (HERE / "widgets.css").read_text(encoding="utf-8")
    script = (HERE / "widgets.js").read_text(encoding="utf-8").replace("TOKEN", token)
    html = (
        f"<style>\n{style}</style>"
        f'<div class="rl-widget {classes} {token}" role="group" aria-label="{escape(alt)}"{data} '
        f'style="--width: {shown}px; --ratio: {width} / {height}; --split: 50%">{body}</div>'
        f"<script>\n{script}</script>"
    )
    return Widget(html, f"<{kind.replace('-', '/')}: {' | '.join(labels)}>")
