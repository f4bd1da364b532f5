"""LIIF: a picture as a function of place, one network for content and place together [chen2021liif].

A place asks the four features around it and mixes their answers, so that nothing jumps where the nearest feature
changes.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from restore_lib.implicit.anyscale import AnyScale
from restore_lib.implicit.coordinates import Axis, around, queries, unfolded
from restore_lib.implicit.encoders import make_encoder


class LIIFDecoder(nn.Module):
    """The local implicit image function (Eq. 1), with what Sec. 3 adds to it; 346,883 parameters with the defaults.

    ``unfold`` joins the 3x3 features around a place (Eq. 3). ``ensemble`` mixes the answers of the four nearest
    features, each by the area of the rectangle between the place and the opposite feature (Eq. 4); else only the
    nearest one answers. ``cell`` tells the network how large a pixel is (Eq. 5).
    """

    def __init__(
        self,
        channels: int = 64,
        hidden: Sequence[int] = (256, 256, 256, 256),
        *,
        unfold: bool = True,
        ensemble: bool = True,
        cell: bool = True,
    ):
        super().__init__()
        self.unfold, self.ensemble, self.cell = unfold, ensemble, cell
        self.content = 9 * channels if unfold else channels
        widths = [self.content + (4 if cell else 2), *hidden, 3]
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(widths))

    def place(self, small: int, large: int) -> Axis:
        """The features on both sides, or the nearest one."""
        return around(small, large, (-1, 1) if self.ensemble else (0,))

    def forward(
        self, feature: Float[Tensor, "b c h w"], size: Sequence[int], pixels: Int[Tensor, " q"] | None = None
    ) -> Float[Tensor, "b 3 *pixels"]:
        """A picture of ``size`` in normalised colours, or ``pixels``, ``y * width + x``, of it (Eqs. 1 and 3 to 5)."""
        index, offset = queries(feature, size, self.place, pixels)  # (k, q) and (k, q, 2), k = 4 or 1
        content = unfolded(feature) if self.unfold else feature.flatten(2).mT  # (b, h w, 9 c), Eq. 3
        cell = feature.new_tensor([2 * n / large for n, large in zip(feature.shape[2:], size, strict=True)])
        answers = []
        for i, place in zip(index, offset, strict=True):
            z = content[:, i]  # (b, q, 9 c)
            inputs = [z, place.expand(*z.shape[:2], 2)]
            if self.cell:
                inputs.append(cell.expand(*z.shape[:2], 2))  # Eq. 5
            x = torch.cat(inputs, dim=-1)  # (b, q, 9 c + 4)
            for layer in self.layers[:-1]:
                x = torch.relu(layer(x))  # (b, q, hidden)
            answers.append(self.layers[-1](x))  # (b, q, 3), Eq. 1
        area = offset.prod(-1).abs() + 1e-9  # (k, q)
        share = area.flip(0) / area.sum(0)  # (k, q), of the area on the opposite side
        colours = (share[..., None] * torch.stack(answers, dim=1)).sum(1).mT  # (b, 3, q), Eq. 4
        return colours.unflatten(2, tuple(size)) if pixels is None else colours


class LIIF(AnyScale):
    """Local implicit image function: super-resolution at any scale.

    ``encoder`` is a name (the paper has ``rdn`` and ``edsr-baseline``) or a module, see
    :func:`~restore_lib.implicit.encoders.make_encoder`. ``options`` are those of :class:`LIIFDecoder`.
    """

    def __init__(self, encoder: str | nn.Module = "rdn", **options: Any):
        encoder, channels = make_encoder(encoder)
        super().__init__(encoder, LIIFDecoder(channels, **options))
