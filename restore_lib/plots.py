"""Figures that chapters share: pictures with an enlarged part, kernels, noise, spectra, and the two metrics' plane.

Every function returns a matplotlib ``Figure`` that nothing else holds: as the last value of a cell it is shown once.
Figures are drawn for white paper, in colours that colour-blind readers tell apart, with type that stays readable when
a page is shrunk to a phone. Pictures are shown pixel by pixel, never smoothed.
"""

import io
from collections.abc import Mapping, Sequence
from functools import wraps
from numbers import Real

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from restore_lib.images import to_uint8

__all__ = [
    "COLOURS",
    "heat_map",
    "image_row",
    "kernel_map",
    "line_profile",
    "noise_curve",
    "noise_patches",
    "psnr_lpips_scatter",
    "spectrum",
]

WIDTH = 7.2  # inches: a page's column
# Okabe and Ito's palette, black first; the yellow is left out, it is too faint for lines on white.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = "osD^vPX"
STYLE = {
    "axes.edgecolor": "#555555",
    "axes.facecolor": "white",
    "axes.grid": False,
    "axes.labelcolor": "black",
    "axes.labelsize": 11,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "figure.constrained_layout.use": True,
    "figure.dpi": 120,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "text.color": "black",
    "xtick.color": "black",
    "xtick.labelsize": 10,
    "ytick.color": "black",
    "ytick.labelsize": 10,
}


class BookFigure(Figure):
    """A figure that notebooks show as it is, without pyplot keeping it alive or showing it a second time."""

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.savefig(stream, format="png", facecolor="white")
        return stream.getvalue()


def _styled(draw):
    """Run a drawing function under the book's style, whatever the caller's is."""

    @wraps(draw)
    def styled(*args, **kwargs) -> Figure:
        style = {key: value for key, value in mpl.rcParamsDefault.items() if key != "backend"} | STYLE
        with mpl.rc_context(style):
            return draw(*args, **kwargs)

    return styled


@_styled
def image_row(
    images: Sequence[Float[Tensor, "_c _h _w"]],
    titles: Sequence[str] | None = None,
    captions: Sequence[str] | None = None,
    *,
    zoom: tuple[int, int, int, int] | None = None,
    columns: int | None = None,
) -> Figure:
    """Show pictures beside each other, with a name above, numbers below, and one part of each enlarged.

    Parameters
    ----------
    images : sequence of Float[Tensor, "c h w"]
        In [0, 1], (3, H, W) or (1, H, W); values outside are clipped. Sizes may differ: a smaller one is shown at the
        same width, with larger pixels.
    titles, captions : sequence of str, optional
        Above and below each picture; captions hold what was measured ("28.42 dB").
    zoom : (top, left, height, width), optional
        A part in pixels of the first picture; a second line shows it from every picture.
    columns : int, optional
        Pictures in a line; by default up to four, evenly filled.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        No picture, not one title or caption a picture, or a part that leaves the first picture.
    """
    _same_length(images, titles=titles, captions=captions)
    arrays = [to_uint8(image.detach().cpu()) for image in images]
    rows = -(-len(arrays) // (columns or 4))
    columns = min(columns or -(-len(arrays) // rows), len(arrays))
    boxes = [None if zoom is None else _scaled(zoom, arrays[0], array) for array in arrays]
    lines = 1 if zoom is None else 2
    tall = max(array.shape[0] / array.shape[1] for array in arrays)
    cell = min(WIDTH / columns, WIDTH / 2)
    tall_part = 0.0 if zoom is None else zoom[2] / zoom[3]
    text = 0.25 * (titles is not None) + 0.25 * (captions is not None)
    figure = BookFigure(figsize=(WIDTH, rows * (cell * (tall + tall_part) + text + 0.05)))
    heights = [tall, tall_part][:lines] * rows
    axes = figure.subplots(rows * lines, columns, squeeze=False, gridspec_kw={"height_ratios": heights})
    for index in range(rows * columns):
        row, column = divmod(index, columns)
        panel = axes[row * lines : (row + 1) * lines, column]
        for ax in panel:
            ax.set_axis_off()
        if index >= len(arrays):
            continue
        _picture(panel[0], arrays[index])
        if titles:
            panel[0].set_title(titles[index], pad=4)
        if boxes[index] is not None:
            _enlarge(panel[0], panel[1], arrays[index], boxes[index])
        if captions:
            panel[-1].text(0.5, -0.03, captions[index], transform=panel[-1].transAxes, ha="center", va="top", size=10)
    return figure


@_styled
def kernel_map(kernels: Sequence[Float[Tensor, "_h _w"]], titles: Sequence[str] | None = None) -> Figure:
    """Show kernels as heat maps, each on its own scale, with a cross at the centre of mass and the size below.

    Weights below zero are blue, above zero red to black.

    Parameters
    ----------
    kernels : sequence of Float[Tensor, "h w"]
        Two-dimensional weights.
    titles : sequence of str, optional
        Above each.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        No kernel, or not one title a kernel.
    """
    _same_length(kernels, titles=titles)
    arrays = [kernel.detach().cpu().double().numpy() for kernel in kernels]
    columns = min(len(arrays), 4)
    rows = -(-len(arrays) // columns)
    figure = BookFigure(figsize=(WIDTH, rows * (min(WIDTH / columns, 2.4) + 0.5)))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(arrays) :]:
        ax.set_axis_off()
    for index, (ax, weights) in enumerate(zip(axes, arrays, strict=False)):
        limit = np.abs(weights).max() or 1.0
        ax.imshow(weights, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
        row, column = np.indices(weights.shape)
        if abs(weights.sum()) > 1e-12 * np.abs(weights).sum():
            middle = [(weights * place).sum() / weights.sum() for place in (column, row)]
            ax.plot(*middle, "+", color="black", markersize=11, markeredgewidth=1.4, gid="centre of mass")
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(True)
        ax.set_xlabel(f"{weights.shape[0]} x {weights.shape[1]}", size=10)
        if titles:
            ax.set_title(titles[index], pad=4)
    return figure


@_styled
def noise_patches(
    patches: Sequence[Float[Tensor, "_c _h _w"]], titles: Sequence[str] | None = None, *, gain: Real = 4.0
) -> Figure:
    """Show noise around mid grey, with its contrast raised, and its strength below.

    Parameters
    ----------
    patches : sequence of Float[Tensor, "c h w"]
        Noise alone (a noisy picture minus the clean one), around zero, in units where a picture spans [0, 1].
    titles : sequence of str, optional
        Above each.
    gain : float
        How often the contrast is multiplied.

    Returns
    -------
    Figure
        Below each patch its standard deviation on the scale 0 to 255.

    Raises
    ------
    ValueError
        No patch, or not one title a patch.
    """
    captions = [f"sigma {255 * patch.std(correction=0).item():.1f}" for patch in patches]
    # The undecorated function: one style and one figure are enough.
    return image_row.__wrapped__([0.5 + gain * patch for patch in patches], titles, captions)


@_styled
def psnr_lpips_scatter(
    points: Mapping[str, tuple[Real, Real]], published: Mapping[str, tuple[Real, Real]] | None = None
) -> Figure:
    """Show methods in the plane of PSNR (right is better) and LPIPS (drawn downwards, so up is better).

    Parameters
    ----------
    points : mapping of name to (psnr, lpips)
        What was measured: filled marks.
    published : mapping of name to (psnr, lpips), optional
        What papers print: open marks, in the colour of the measured method of the same name.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        No point.
    """
    if not points:
        raise ValueError("no point to draw: give at least one method")
    published = published or {}
    names = list(dict.fromkeys((*points, *published)))
    figure = BookFigure(figsize=(WIDTH, 4.2))
    ax = figure.subplots()
    for index, name in enumerate(names):
        style = {"color": COLOURS[index % len(COLOURS)], "markersize": 9, "linestyle": ""}
        marker = MARKERS[index % len(MARKERS)]
        if name in points:
            ax.plot(*points[name], marker, label=name, **style)
        if name in published:
            ax.plot(*published[name], marker, label=f"{name} (published)", markerfacecolor="none", **style)
    ax.margins(0.12)
    low, high = ax.get_xlim()
    if high - low < 1:  # a tenth of a decibel must not look like a victory
        ax.set_xlim((low + high) / 2 - 0.5, (low + high) / 2 + 0.5)
    ax.invert_yaxis()
    ax.set(xlabel="PSNR in dB, higher is better", ylabel="LPIPS, lower is better")
    ax.annotate("better", (0.98, 0.98), xycoords="axes fraction", ha="right", va="top", color="#555555", size=10)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@_styled
def line_profile(
    images: Sequence[Float[Tensor, "_c _h _w"]], labels: Sequence[str], row: int, *, channel: int = 1
) -> Figure:
    """Plot one row of pixels of several pictures, on the scale 0 to 255.

    Parameters
    ----------
    images : sequence of Float[Tensor, "c h w"]
        In [0, 1]. Narrower ones are spread over the width of the first.
    labels : sequence of str
        One for each, for the legend. The first is drawn in black, above the others.
    row : int
        Of the first picture; the others' is the one at the same height.
    channel : int
        Which colour, counted from 0: green by default.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        No picture, not one label a picture, or a row or channel that is not there.
    """
    _same_length(images, labels=labels)
    channels, height, width = images[0].shape
    if not 0 <= row < height or not 0 <= channel < channels:
        raise ValueError(f"row {row}, channel {channel} is outside a picture of {channels} channels and {height} rows")
    figure = BookFigure(figsize=(WIDTH, 2.9))
    ax = figure.subplots()
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        values = image[channel, row * image.shape[-2] // height].detach().cpu().numpy()
        at = (np.arange(len(values)) + 0.5) * width / len(values) - 0.5
        # The first, which the others are compared with, is black and lies on top.
        ax.plot(at, 255 * values, color=COLOURS[index % len(COLOURS)], label=label, zorder=3 if index == 0 else 2)
    ax.set(xlabel=f"column, along row {row}", ylabel="value, 0 to 255", xlim=(0, width - 1))
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    return figure


@_styled
def spectrum(images: Sequence[Float[Tensor, "_c _h _w"]], titles: Sequence[str] | None = None) -> Figure:
    """Show how much of each frequency pictures hold: coarse patterns in the middle, fine ones at the rim.

    Parameters
    ----------
    images : sequence of Float[Tensor, "c h w"]
        Channels are averaged, the mean is taken out, and a Hann window keeps the edges from drawing a cross.
    titles : sequence of str, optional
        Above each.

    Returns
    -------
    Figure
        Power in decibel below the strongest of all pictures, on one scale; axes in periods per pixel.

    Raises
    ------
    ValueError
        No picture, or not one title a picture.
    """
    _same_length(images, titles=titles)
    figure = BookFigure(figsize=(WIDTH, min(WIDTH / len(images), 3.6) + 0.6))
    axes = figure.subplots(1, len(images), squeeze=False)[0]
    powers = [_power(image.detach().cpu().double().mean(0).numpy()) for image in images]
    top = max(power.max() for power in powers) or 1.0
    shown = None
    for index, (ax, power) in enumerate(zip(axes, powers, strict=True)):
        decibel = 10 * np.log10(np.maximum(power / top, 1e-9))
        shown = ax.imshow(decibel, cmap="magma", vmin=-80, vmax=0, extent=(-0.5, 0.5, 0.5, -0.5), aspect="equal")
        ax.set(xticks=[-0.5, 0, 0.5], yticks=[-0.5, 0, 0.5] if index == 0 else [], xlabel="periods per pixel")
        if titles:
            ax.set_title(titles[index], pad=4)
    figure.colorbar(shown, ax=axes.tolist(), label="power, dB", shrink=0.8)
    return figure


@_styled
def noise_curve(
    points: Mapping[str, tuple[Float[Tensor, " n"], Float[Tensor, " n"]]],
    lines: Mapping[str, tuple[Real, Real]] | None = None,
) -> Figure:
    """Plot the variance of noise over the signal: a line for a sensor, level for noise that ignores the light.

    Parameters
    ----------
    points : mapping of label to (signal, variance)
        Measured: signal in [0, 1], variance in the square of these units.
    lines : mapping of label to (slope, intercept), optional
        Straight lines for comparison.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        Nothing to draw.
    """
    if not points:
        raise ValueError("no point to draw: give at least one series")
    figure = BookFigure(figsize=(WIDTH, 3.3))
    ax = figure.subplots()
    ends = np.array([0.0, 1.0])
    for index, (label, (signal, variance)) in enumerate(points.items()):
        colour = COLOURS[1 + index % (len(COLOURS) - 1)]
        ax.plot(signal.cpu(), variance.cpu(), MARKERS[index % len(MARKERS)], color=colour, label=label, markersize=5)
    for index, (label, (slope, intercept)) in enumerate((lines or {}).items()):
        ax.plot(ends, intercept + slope * ends, linestyle=("-", "--", ":")[index % 3], color="black", label=label)
    ax.set(xlabel="signal, 0 to 1", ylabel="variance of the noise", xlim=(0, 1))
    ax.set_ylim(bottom=0)
    ax.ticklabel_format(axis="y", scilimits=(-2, 2))
    ax.legend(loc="upper left")
    return figure


@_styled
def heat_map(
    map: Float[Tensor, "h w"],
    image: Float[Tensor, "_c _h _w"] | None = None,
    title: str | None = None,
    *,
    low: Real | None = None,
    high: Real | None = None,
) -> Figure:
    """Show one value for each place, with its scale, beside the picture it belongs to.

    Parameters
    ----------
    map : Float[Tensor, "h w"]
        Values; bright is high.
    image : Float[Tensor, "c h w"], optional
        Shown at the left, in [0, 1].
    title : str, optional
        Of the map.
    low, high : float, optional
        Ends of the scale; by default the extremes of ``map``.

    Returns
    -------
    Figure
    """
    columns = 1 if image is None else 2
    height, width = map.shape
    figure = BookFigure(figsize=(WIDTH if columns == 2 else 4.6, 3.3 * min(height / width, 1.4) + 0.4))
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for ax in axes:
        ax.set_axis_off()
    if image is not None:
        _picture(axes[0], to_uint8(image.detach().cpu()))
        axes[0].set_title("")
    shown = axes[-1].imshow(map.detach().cpu().numpy(), cmap="viridis", vmin=low, vmax=high, interpolation="nearest")
    if title:
        axes[-1].set_title(title, pad=4)
    figure.colorbar(shown, ax=axes[-1], shrink=0.9)
    return figure


def _same_length(shown: Sequence, **texts: Sequence[str] | None) -> None:
    if len(shown) == 0:
        raise ValueError("nothing to draw: give at least one")
    for name, values in texts.items():
        if values is not None and (isinstance(values, str) or len(values) != len(shown)):
            raise ValueError(f"{name} is {values!r}: give one for each of the {len(shown)} shown")


def _picture(ax: Axes, array: np.ndarray) -> None:
    ax.imshow(array, cmap="gray", vmin=0, vmax=255, interpolation="nearest" if array.shape[1] < 256 else "antialiased")


def _scaled(zoom: tuple[int, int, int, int], first: np.ndarray, array: np.ndarray) -> tuple[int, int, int, int]:
    """Part ``zoom`` of the first picture in the pixels of another, at least one pixel large."""
    top, left, height, width = zoom
    rows, columns = first.shape[:2]
    if min(top, left) < 0 or min(height, width) < 1 or top + height > rows or left + width > columns:
        raise ValueError(f"zoom {zoom} leaves the first picture of {rows} x {columns} pixels")
    down, across = array.shape[0] / rows, array.shape[1] / columns
    return round(top * down), round(left * across), max(round(height * down), 1), max(round(width * across), 1)


def _enlarge(whole: Axes, part: Axes, array: np.ndarray, box: tuple[int, int, int, int]) -> None:
    top, left, height, width = box
    part.imshow(array[top : top + height, left : left + width], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    frame = {"fill": False, "edgecolor": COLOURS[5], "linewidth": 1.6}
    whole.add_patch(Rectangle((left - 0.5, top - 0.5), width, height, **frame))
    part.add_patch(Rectangle((0, 0), 1, 1, transform=part.transAxes, clip_on=False, **frame))


def _power(grey: np.ndarray) -> np.ndarray:
    """Power spectrum with frequency zero in the middle."""
    window = np.outer(np.hanning(grey.shape[0]), np.hanning(grey.shape[1]))
    return np.abs(np.fft.fftshift(np.fft.fft2((grey - grey.mean()) * window))) ** 2
