"""Where a pixel of the large picture lies among the pixels of the small one.

A picture of n pixels spans [-1, 1]; the centre of pixel i is at -1 + (2 i + 1) / n. Rows and columns are independent,
so each rule is about one axis; :func:`queries` puts both together. Three networks have three rules for which small
pixels answer for a large one, and for what they learn about its place.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Axis:
    """For each of n large pixels: k small pixels, and how far the large one lies from each."""

    index: Int[Tensor, "k n"]  #: small pixels, never decreasing along n
    offset: Float[Tensor, "k n"]  #: float64, in the unit that the rule names

    def part(self, which: slice | Int[Tensor, " m"]) -> "Axis":
        """The same for some of the large pixels."""
        return Axis(self.index[:, which], self.offset[:, which])

    def to(self, like: Tensor) -> "Axis":
        """The same on the device of a tensor, offsets with its kind of number."""
        return Axis(self.index.to(like.device), self.offset.to(like.device, like.dtype))

    def paired(
        self, cols: "Axis", width: int | Int[Tensor, " n"]
    ) -> tuple[Int[Tensor, "k2 n"], Float[Tensor, "k2 n 2"]]:
        """Places in the plane: small pixels as ``y * width + x``, and the ways down and to the right from them."""
        index = self.index[:, None] * width + cols.index  # (k, k, n)
        offset = torch.stack(torch.broadcast_tensors(self.offset[:, None], cols.offset), dim=-1)  # (k, k, n, 2)
        return index.flatten(0, 1), offset.flatten(0, 1)


def nearest(small: int, large: int) -> Axis:
    """DIINN's rule: the nearest small pixel, and the way from its centre in half small pixels, in [-1, 1].

    The index is that of ``interpolate`` with mode ``nearest-exact``. Mode ``nearest`` chooses by the pixel's corner,
    not its centre, so that offsets leave [-1, 1]: for 5 to 13 pixels they reach 1.23.
    """
    index = functional.interpolate(torch.arange(small).double()[None, None], size=large, mode="nearest-exact")
    index = index[0].long()  # (1, large)
    centres = (2 * torch.arange(large) + 1) * small  # of large pixels, in units of half a small pixel / large
    return Axis(index, (centres - (2 * index + 1) * large).double() / large)


def containing(small: int, large: int) -> Axis:
    """Meta-SR's rule: the small pixel in which the large one's upper left corner lies, and how far in, in [0, 1)."""
    corners = torch.arange(large)[None] * small  # in units of a small pixel / large
    return Axis(corners // large, (corners % large).double() / large)


def around(small: int, large: int, sides: Sequence[int] = (-1, 1)) -> Axis:
    """LIIF's rule: the nearest small pixel on either side, and the way from its centre in half small pixels.

    With ``sides=(0,)`` it is the nearest of all, where the local ensemble is left out.

    At the border both are the same pixel. Where in addition a large pixel lies exactly on the centre of the last small
    one (x3), the four weights of the local ensemble are ratios of rounding errors. So that weights trained with the
    official code mean the same here, this is computed step by step in float32, as there.
    """
    centres, query = ((1 / n - 1) + (2 / n) * torch.arange(n).float() for n in (small, large))
    nudge, axes = 1e-6 if len(sides) > 1 else 0.0, []
    for side in sides:
        shifted = (query + (side / small + nudge)).clamp(-1 + 1e-6, 1 - 1e-6)
        index = ((shifted + 1) * (small / 2) - 0.5).round().long().clamp(0, small - 1)  # as grid_sample does
        axes.append((index, (query - centres[index]) * small))
    index, offset = (torch.stack(part) for part in zip(*axes, strict=True))
    return Axis(index, offset.double())


def queries(
    feature: Float[Tensor, "b c h w"],
    size: Sequence[int],
    place: Callable[[int, int], Axis],
    pixels: Int[Tensor, " q"] | None = None,
) -> tuple[Int[Tensor, "k q"], Float[Tensor, "k q 2"]]:
    """The small pixels that answer for pixels of a large picture of ``size``, and the ways from there.

    ``place`` is one of the rules above, for both axes. Large ``pixels`` are ``y * width + x``, by default all, row by
    row. Small ones are ``y * w + x``, k of them for each; ways are down and to the right.
    """
    (height, width), (h, w) = checked(size), feature.shape[2:]
    if pixels is None:
        pixels = torch.arange(height * width, device=feature.device)
    rows = place(h, height).to(feature).part(pixels // width)
    cols = place(w, width).to(feature).part(pixels % width)
    return rows.paired(cols, w)


def unfolded(feature: Float[Tensor, "b c h w"]) -> Float[Tensor, "b p c9"]:
    """The 3x3 features around each of the p = h w small pixels, zeros outside the picture."""
    return functional.unfold(feature, 3, padding=1).mT  # (b, h w, 9 c)


def checked(size: Sequence[int]) -> tuple[int, int]:
    """Height and width, or a ValueError."""
    if len(size) != 2 or not all(n > 0 and n == int(n) for n in size):
        raise ValueError(f"size must be a height and a width of at least one pixel, got {size}")
    return int(size[0]), int(size[1])
