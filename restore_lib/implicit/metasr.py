"""Meta-SR: a small network predicts, for each large pixel, the filter that makes it [hu2019metasr].

The filter depends on where the pixel lies within a small one, and on the scale; it is applied to the 3x3 features
around that small pixel.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from restore_lib.implicit.anyscale import AnyScale
from restore_lib.implicit.coordinates import Axis, containing, queries, unfolded
from restore_lib.implicit.encoders import make_encoder


class MetaSRDecoder(nn.Module):
    """Meta-upscale module (Sec. 3.3): location projection, weight prediction by ``width`` channels, feature mapping.

    445,120 parameters with the defaults. A place is the way from the small pixel's corner down and to the right, each
    in [0, 1), and 1 / scale of the height, as in the official code.
    """

    def __init__(self, channels: int = 64, width: int = 256):
        super().__init__()
        self.width = width
        self.layers = nn.ModuleList([nn.Linear(3, width), nn.Linear(width, 9 * channels * 3)])

    def place(self, small: int, large: int) -> Axis:
        """The small pixel that holds the large one's corner (Eq. 3)."""
        return containing(small, large)

    def forward(
        self, feature: Float[Tensor, "b c h w"], size: Sequence[int], pixels: Int[Tensor, " q"] | None = None
    ) -> Float[Tensor, "b 3 *pixels"]:
        """A picture of ``size`` in normalised colours, or some ``pixels``, ``y * width + x``, of it (Eqs. 3 to 6)."""
        (index,), (offset,) = queries(feature, size, self.place, pixels)  # (q,) and (q, 2), location projection
        z = unfolded(feature)[:, index]  # (b, q, 9 c)
        place = torch.cat([offset, torch.full_like(offset[:, :1], feature.shape[2] / size[0])], dim=1)  # (q, 3), Eq. 5
        hidden = torch.relu(self.layers[0](place))  # (q, width)
        filters = self.layers[1](hidden).unflatten(1, (-1, 3))  # (q, 9 c, 3), weight prediction, Eq. 4
        colours = torch.einsum("bqc,qco->boq", z, filters)  # (b, 3, q), feature mapping, Eq. 6
        return colours.unflatten(2, tuple(size)) if pixels is None else colours


class MetaSR(AnyScale):
    """Meta-SR: super-resolution at any scale, by predicted filters.

    ``encoder`` is a name (the paper has ``rdn``) or a module, see :func:`~restore_lib.implicit.encoders.make_encoder`.
    With an ``rgb_range`` of 255, colours are seen as Meta-SR's official code sees them: from 0 to 255, without DIV2K's
    mean. By default as LIIF's and DIINN's codes do it: from -1 to 1.
    """

    def __init__(self, encoder: str | nn.Module = "rdn", *, width: int = 256, rgb_range: float | None = None):
        encoder, channels = make_encoder(encoder)
        super().__init__(encoder, MetaSRDecoder(channels, width), rgb_range)
