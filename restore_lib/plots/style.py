"""The look of the book's figures, and what all of them need."""

import io
from collections.abc import Collection, Sequence
from functools import wraps
from typing import Any, cast

import matplotlib as mpl
from matplotlib.figure import Figure

WIDTH = 7.2  # inches: a page's column
# Okabe and Ito's palette, black first; the yellow is left out, it is too faint for lines on white.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = "osD^vPX"
STYLE = {
    "axes.edgecolor": "#555555",
    "axes.facecolor": "white",
    "axes.grid": False,
    "axes.labelcolor": "black",
    "axes.labelsize": 13,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 13,
    "figure.constrained_layout.use": True,
    "figure.dpi": 120,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 13,
    "legend.fontsize": 12,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "text.color": "black",
    "xtick.color": "black",
    "xtick.labelsize": 12,
    "ytick.color": "black",
    "ytick.labelsize": 12,
}


class BookFigure(Figure):
    """A figure that notebooks show as it is, without pyplot keeping it alive or showing it a second time."""

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.savefig(stream, format="png", facecolor="white")
        return stream.getvalue()

    def __repr__(self) -> str:
        width, height = (round(inches * self.dpi) for inches in self.get_size_inches())
        return f"Figure, {width} x {height} pixels"


def in_style(draw):
    """Run a drawing function under the book's style, whatever the caller's is."""

    @wraps(draw)
    def styled(*args, **kwargs) -> Figure:
        style = {key: value for key, value in mpl.rcParamsDefault.items() if key != "backend"} | STYLE
        with mpl.rc_context(cast(Any, style)):
            return draw(*args, **kwargs)

    return styled


def same_length(shown: Collection, **texts: Sequence[str] | None) -> None:
    """Refuse an empty list, and texts that are not one for each thing shown (ValueError)."""
    if len(shown) == 0:
        raise ValueError("nothing to draw: give at least one")
    for name, values in texts.items():
        if values is not None and (isinstance(values, str) or len(values) != len(shown)):
            raise ValueError(f"{name} is {values!r}: give one for each of the {len(shown)} shown")
