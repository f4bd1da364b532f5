"""Figures with axes: methods in the plane of two metrics, a row of pixels, spectra, noise over signal."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from restore_lib.plots.style import COLOURS, MARKERS, WIDTH, BookFigure, in_style, same_length


@in_style
def psnr_lpips_scatter(points: Mapping[str, tuple[float, float]]) -> Figure:
    """Show methods, (psnr, lpips) by name, in the plane of PSNR (right is better) and LPIPS (drawn so that up is)."""
    same_length(points)
    figure = BookFigure(figsize=(WIDTH, 4.2))
    ax = figure.subplots()
    for index, (name, point) in enumerate(points.items()):
        style = {"color": COLOURS[index % len(COLOURS)], "markersize": 9, "linestyle": ""}
        ax.plot(*point, MARKERS[index % len(MARKERS)], label=name, **style)
    ax.margins(0.12)
    low, high = ax.get_xlim()
    if high - low < 1:  # a tenth of a decibel must not look like a victory
        ax.set_xlim((low + high) / 2 - 0.5, (low + high) / 2 + 0.5)
    ax.invert_yaxis()
    ax.set(xlabel="PSNR in dB, higher is better", ylabel="LPIPS, lower is better")
    ax.annotate("better", (0.98, 0.98), xycoords="axes fraction", ha="right", va="top", color="#555555", size=12)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@in_style
def line_profile(images: Sequence[Float[Tensor, "_c _h _w"]], labels: Sequence[str], row: int) -> Figure:
    """Plot a row of pixels, in green, of pictures in [0, 1] on the scale 0 to 255; the first in black above the others.

    ``row`` counts in the first picture. Others are spread over its width, and their row is the one at the same height.
    """
    same_length(images, labels=labels)
    height, width = images[0].shape[-2:]
    figure = BookFigure(figsize=(WIDTH, 3.2))
    ax = figure.subplots()
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        values = image[1, row * image.shape[-2] // height].detach().cpu().numpy()
        at = (np.arange(len(values)) + 0.5) * width / len(values) - 0.5
        # The first, which the others are compared with, is black and lies on top.
        ax.plot(at, 255 * values, color=COLOURS[index % len(COLOURS)], label=label, zorder=3 if index == 0 else 2)
    ax.set(xlabel=f"column, along row {row}", ylabel="value, 0 to 255", xlim=(0, width - 1))
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    return figure


@in_style
def training_curve(
    curves: Mapping[str, Sequence[tuple[float, float]]], quantity: str = "PSNR in dB", *, log: bool = False
) -> Figure:
    """Plot what a run reported over its steps, for one run or several: label to (step, value) pairs of ``quantity``.

    Later ones are drawn dashed and thinner, so that curves which lie on each other can be told apart. ``log`` is for
    losses.
    """
    if not curves or not all(len(points) for points in curves.values()):
        raise ValueError("nothing to draw: give at least one curve with at least one point")
    figure = BookFigure(figsize=(WIDTH, 3.3))
    ax = figure.subplots()
    for index, (label, points) in enumerate(curves.items()):
        steps, values = zip(*points, strict=True)
        style = {"linestyle": ("-", "--", ":", "-.")[index % 4], "linewidth": max(3.2 - 0.8 * index, 1.4)}
        ax.plot(steps, values, color=COLOURS[index % len(COLOURS)], label=label, **style)
    ax.set(xlabel="step", ylabel=quantity, yscale="log" if log else "linear")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    return figure


@in_style
def dot_plot(labels: Sequence[str], panels: Mapping[str, Mapping[str, Sequence[tuple[float, float] | None]]]) -> Figure:
    """Show numbers by name, a row for each label and a panel beside the others for each quantity, each on its scale.

    A panel maps the names of its series (``"ours"``, ``"paper"``), which all panels share, to (value, spread) for each
    label, with NaN for a spread that is not known, or None where there is no number. The first series has filled marks,
    the others open ones; spreads are bars.
    """
    same_length(labels)
    same_length(panels)
    figure = BookFigure(figsize=(WIDTH, 1.3 + 0.36 * len(labels)))
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, (quantity, series) in zip(axes, panels.items(), strict=True):
        for index, (name, numbers) in enumerate(series.items()):
            rows = [(row, *number) for row, number in enumerate(numbers) if number]
            at, values, spreads = zip(*rows, strict=True) if rows else ((), (), ())
            style = {"color": COLOURS[1 + index], "markerfacecolor": "none" if index else COLOURS[1 + index]}
            ax.errorbar(values, at, xerr=spreads, fmt=MARKERS[index], markersize=8, capsize=3, label=name, **style)
        ax.set_xlabel(quantity)
        ax.margins(0.15)
        ax.grid(axis="y", color="#dddddd")
        ax.xaxis.set_major_locator(MaxNLocator(3))
    axes[0].set_yticks(range(len(labels)), labels)
    axes[0].invert_yaxis()
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper right", ncols=len(names))
    return figure


@in_style
def spectrum(images: Sequence[Float[Tensor, "_c _h _w"]], titles: Sequence[str] | None = None) -> Figure:
    """Show how much of each frequency pictures hold: coarse patterns in the middle, fine ones at the rim.

    Channels are averaged, the mean is taken out, and a Hann window keeps the edges from drawing a cross. Power is in
    decibel below the strongest of all pictures, on one scale; axes are in periods per pixel.
    """
    same_length(images, titles=titles)
    figure = BookFigure(figsize=(WIDTH, min(WIDTH / len(images), 3.6) + 0.6))
    axes = figure.subplots(1, len(images), squeeze=False)[0]
    powers = [_power(image.detach().cpu().double().mean(0).numpy()) for image in images]
    top = max(power.max() for power in powers) or 1.0
    ticks, extent = [-0.5, 0, 0.5], (-0.5, 0.5, 0.5, -0.5)
    for index, (ax, power) in enumerate(zip(axes, powers, strict=True)):
        decibel = 10 * np.log10(np.maximum(power / top, 1e-9))
        ax.imshow(decibel, cmap="magma", vmin=-80, vmax=0, extent=extent, aspect="equal")
        ax.set(xticks=ticks, yticks=[] if index else ticks, xlabel="periods per pixel")
        if titles:
            ax.set_title(titles[index], pad=4)
    figure.colorbar(axes[-1].images[0], ax=axes.tolist(), label="power, dB", shrink=0.8)
    return figure


@in_style
def noise_curve(
    points: Mapping[str, tuple[Float[Tensor, " n"], Float[Tensor, " n"]]],
    lines: Mapping[str, tuple[float, float]] | None = None,
) -> Figure:
    """Plot the variance of noise over the signal: a line for a sensor, level for noise that ignores the light.

    ``points`` map labels to (signal in [0, 1], variance in the square of these units); ``lines`` to (slope, intercept)
    of straight lines for comparison.
    """
    same_length(points)
    figure = BookFigure(figsize=(WIDTH, 3.3))
    ax = figure.subplots()
    for index, (label, (signal, variance)) in enumerate(points.items()):
        colour = COLOURS[1 + index % (len(COLOURS) - 1)]
        ax.plot(signal.cpu(), variance.cpu(), MARKERS[index % len(MARKERS)], color=colour, label=label, markersize=5)
    for index, (label, (slope, intercept)) in enumerate((lines or {}).items()):
        style = ("-", "--", ":")[index % 3]
        ax.plot((0, 1), (intercept, intercept + slope), linestyle=style, color="black", label=label)
    ax.set(xlabel="signal, 0 to 1", ylabel="variance of the noise", xlim=(0, 1))
    ax.set_ylim(bottom=0)
    ax.ticklabel_format(axis="y", scilimits=(-2, 2))
    ax.legend(loc="upper left")
    return figure


def _power(grey: np.ndarray) -> np.ndarray:
    """Power spectrum with frequency zero in the middle."""
    window = np.outer(np.hanning(grey.shape[0]), np.hanning(grey.shape[1]))
    return np.abs(np.fft.fftshift(np.fft.fft2((grey - grey.mean()) * window))) ** 2
