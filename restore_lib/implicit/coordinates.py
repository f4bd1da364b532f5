"""Where a pixel of the large picture lies among the pixels of the small one.

A picture of n pixels spans [-1, 1]; the centre of pixel i is at -1 + (2 i + 1) / n. Rows and columns are independent,
so everything here is about one axis. Three networks have three rules for which small pixels answer for a large one,
and what they are told about its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Axis:
    """For each of n large pixels: k small pixels, and how far the large one lies from each.

    Attributes
    ----------
    index : (k, n)
        Small pixels, never decreasing along n.
    offset : (k, n), float64
        In the unit that the rule names.
    """

    index: Int[Tensor, "k n"]
    offset: Float[Tensor, "k n"]

    def part(self, which: slice | Int[Tensor, " m"]) -> "Axis":
        """The same for some of the large pixels."""
        return Axis(self.index[:, which], self.offset[:, which])

    def to(self, like: Tensor) -> "Axis":
        """The same on the device of a tensor, offsets with its kind of number."""
        return Axis(self.index.to(like.device), self.offset.to(like.device, like.dtype))


def nearest(small: Integral, large: Integral) -> Axis:
    """DIINN's rule: the nearest small pixel, and the way from its centre in half small pixels, in [-1, 1].

    The index is that of ``interpolate`` with mode ``nearest-exact``. Mode ``nearest`` chooses by the pixel's corner,
    not its centre, so that offsets leave [-1, 1]: for 5 to 13 pixels they reach 1.23.
    """
    index = functional.interpolate(torch.arange(small).double()[None, None], size=large, mode="nearest-exact")
    index = index[0].long()  # (1, large)
    centres = (2 * torch.arange(large) + 1) * small  # of large pixels, in units of half a small pixel / large
    return Axis(index, (centres - (2 * index + 1) * large).double() / large)


def containing(small: Integral, large: Integral) -> Axis:
    """Meta-SR's rule: the small pixel in which the large one's upper left corner lies, and how far in, in [0, 1)."""
    corners = torch.arange(large)[None] * small  # in units of a small pixel / large
    return Axis(corners // large, (corners % large).double() / large)


def around(small: Integral, large: Integral, sides: Sequence[Literal[-1, 0, 1]] = (-1, 1)) -> Axis:
    """LIIF's rule: the nearest small pixel on either side, and the way from its centre in half small pixels.

    With ``sides=(0,)`` it is the nearest of all, where the local ensemble is left out.

    At the border both are the same pixel. Where in addition a large pixel lies exactly on the centre of the last small
    one (x3), the four weights of the local ensemble are ratios of rounding errors. So that weights trained with the
    official code mean the same here, this is computed step by step in float32, as there.
    """
    centres = _centres(small)
    query = _centres(large)
    nudge, found = 1e-6 if len(sides) > 1 else 0.0, []
    for side in sides:
        shifted = (query + (side / small + nudge)).clamp(-1 + 1e-6, 1 - 1e-6)
        index = ((shifted + 1) * (small / 2) - 0.5).round().long().clamp(0, small - 1)  # as grid_sample finds it
        found.append((index, (query - centres[index]) * small))
    index, offset = (torch.stack(part) for part in zip(*found, strict=True))
    return Axis(index, offset.double())


def _centres(n: Integral) -> Float[Tensor, " n"]:
    return (1 / n - 1) + (2 / n) * torch.arange(n).float()
