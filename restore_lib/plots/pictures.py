"""Figures made of pictures: rows with an enlarged part, kernels, noise, maps."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from restore_lib.images import to_uint8
from restore_lib.plots.style import COLOURS, WIDTH, BookFigure, in_style, same_length


@in_style
def image_row(
    images: Sequence[Float[Tensor, "_c _h _w"]],
    titles: Sequence[str] | None = None,
    captions: Sequence[str] | None = None,
    *,
    zoom: tuple[int, int, int, int] | None = None,
    columns: int | None = None,
) -> Figure:
    """Show pictures beside each other, with a name above, numbers below, and one part of each enlarged.

    Pictures are in [0, 1], (3, H, W) or (1, H, W); a smaller one is shown at the same width, with larger pixels.
    ``zoom`` (top, left, height, width) is a part in pixels of the first picture; a second line shows it from every
    picture. Up to four pictures stand in a line, evenly filled, if ``columns`` does not say otherwise.
    """
    same_length(images, titles=titles, captions=captions)
    arrays = [to_uint8(image.detach().cpu()) for image in images]
    rows = -(-len(arrays) // (columns or 4))
    columns = min(columns or -(-len(arrays) // rows), len(arrays))
    boxes = [_scaled(zoom, arrays[0], array) for array in arrays] if zoom else []
    cell = min(WIDTH / columns, WIDTH / 2)
    heights = [max(array.shape[0] / array.shape[1] for array in arrays), *([zoom[2] / zoom[3]] if zoom else [])]
    text = 0.3 * (titles is not None) + 0.3 * (captions is not None)
    figure = BookFigure(figsize=(WIDTH, rows * (cell * sum(heights) + text + 0.05)))
    ratios = {"height_ratios": heights * rows}
    axes = figure.subplots(rows * len(heights), columns, squeeze=False, gridspec_kw=ratios)
    for ax in axes.flat:
        ax.set_axis_off()
    for index, array in enumerate(arrays):
        row, column = divmod(index, columns)
        panel = axes[row * len(heights) : (row + 1) * len(heights), column]
        _picture(panel[0], array)
        if titles:
            panel[0].set_title(titles[index], pad=4)
        if zoom:
            _enlarge(panel[0], panel[1], array, boxes[index])
        if captions:
            panel[-1].text(0.5, -0.03, captions[index], transform=panel[-1].transAxes, ha="center", va="top", size=12)
    return figure


@in_style
def kernel_map(kernels: Sequence[Float[Tensor, "_h _w"]], titles: Sequence[str] | None = None) -> Figure:
    """Show kernels as heat maps, each on its own scale, with a cross at the centre of mass and the size below.

    Weights below zero are blue, above zero red to black. A centre of mass outside the kernel is not shown.
    """
    same_length(kernels, titles=titles)
    arrays = [kernel.detach().cpu().double().numpy() for kernel in kernels]
    columns = min(len(arrays), 4)
    rows = -(-len(arrays) // columns)
    figure = BookFigure(figsize=(WIDTH, rows * (min(WIDTH / columns, 2.4) + 0.6)))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(arrays) :]:
        ax.set_axis_off()
    for index, (ax, weights) in enumerate(zip(axes, arrays, strict=False)):
        limit = np.abs(weights).max() or 1.0
        ax.imshow(weights, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
        row, column = np.indices(weights.shape)
        if abs(weights.sum()) > 1e-12 * np.abs(weights).sum():
            middle = [(weights * place).sum() / weights.sum() for place in (column, row)]
            if all(-0.5 < place < n - 0.5 for place, n in zip(middle, weights.shape[::-1], strict=True)):
                # weights of both signs may have it far away, where a cross would squeeze the picture
                ax.plot(*middle, "+", color="black", markersize=11, markeredgewidth=1.4, gid="centre of mass")
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(True)
        ax.set_xlabel(f"{weights.shape[0]} x {weights.shape[1]}", size=12)
        if titles:
            ax.set_title(titles[index], pad=4)
    return figure


@in_style
def noise_patches(
    patches: Sequence[Float[Tensor, "_c _h _w"]], titles: Sequence[str] | None = None, *, gain: float = 4.0
) -> Figure:
    """Show noise around mid grey, with its contrast raised ``gain`` times, and its sigma on the scale 0 to 255 below.

    ``patches`` hold noise alone (a noisy picture minus the clean one), in units where a picture spans [0, 1].
    """
    captions = [f"sigma {255 * patch.std(correction=0).item():.1f}" for patch in patches]
    # The undecorated function: one style and one figure are enough.
    return image_row.__wrapped__([0.5 + gain * patch for patch in patches], titles, captions)


@in_style
def heat_map(
    map: Float[Tensor, "h w"],
    image: Float[Tensor, "_c _h _w"] | None = None,
    title: str | None = None,
    *,
    low: float | None = None,
    high: float | None = None,
) -> Figure:
    """Show one value for each place, bright for high, with its scale, beside the picture in [0, 1] it belongs to.

    ``low`` and ``high`` are the ends of the scale; by default the extremes of ``map``.
    """
    columns = 1 if image is None else 2
    height, width = map.shape
    figure = BookFigure(figsize=(WIDTH if columns == 2 else 4.6, 3.3 * min(height / width, 1.4) + 0.4))
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for ax in axes:
        ax.set_axis_off()
    if image is not None:
        _picture(axes[0], to_uint8(image.detach().cpu()))
    shown = axes[-1].imshow(map.detach().cpu().numpy(), cmap="viridis", vmin=low, vmax=high, interpolation="nearest")
    if title:
        axes[-1].set_title(title, pad=4)
    figure.colorbar(shown, ax=axes[-1], shrink=0.9)
    return figure


def _picture(ax: Axes, array: np.ndarray) -> None:
    ax.imshow(array, cmap="gray", vmin=0, vmax=255, interpolation="nearest" if array.shape[1] < 256 else "antialiased")


def _scaled(zoom: tuple[int, int, int, int], first: np.ndarray, array: np.ndarray) -> tuple[int, int, int, int]:
    """Part ``zoom`` of the first picture in the pixels of another, at least one pixel large."""
    top, left, height, width = zoom
    rows, columns = first.shape[:2]
    if min(top, left) < 0 or min(height, width) < 1 or top + height > rows or left + width > columns:
        raise ValueError(f"zoom {zoom} leaves the first picture of {rows} x {columns} pixels")
    y, x = array.shape[0] / rows, array.shape[1] / columns
    return round(top * y), round(left * x), max(round(height * y), 1), max(round(width * x), 1)


def _enlarge(whole: Axes, part: Axes, array: np.ndarray, box: tuple[int, int, int, int]) -> None:
    top, left, height, width = box
    part.imshow(array[top : top + height, left : left + width], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    frame = {"fill": False, "edgecolor": COLOURS[5], "linewidth": 1.6}
    whole.add_patch(Rectangle((left - 0.5, top - 0.5), width, height, **frame))
    part.add_patch(Rectangle((0, 0), 1, 1, transform=part.transAxes, clip_on=False, **frame))
