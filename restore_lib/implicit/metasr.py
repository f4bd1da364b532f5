"""Meta-SR: a small network predicts, for each large pixel, the filter that makes it [hu2019metasr].

The filter depends on where the pixel lies within a small one, and on the scale; it is applied to the 3x3 features
around that small pixel.
"""

from dataclasses import dataclass
from numbers import Integral, Real

import torch
from jaxtyping import Float
from torch import Tensor, nn

from restore_lib.implicit import coordinates
from restore_lib.implicit.anyscale import (
    AnyScale,
    Decoder,
    Queries,
    Tables,
    linear,
    make_encoder,
    relu,
    rows,
    table,
    times,
)


@dataclass(frozen=True)
class Split:
    """The second layer, as weights of the features: for each colour and hidden channel, and for each colour alone."""

    hidden: Tensor
    bias: Tensor


class MetaSRDecoder(Decoder):
    """Meta-upscale module (Sec. 3.3): location projection, weight prediction, feature mapping.

    Parameters
    ----------
    channels : int
        Of the features.
    width : int
        Hidden channels of the weight prediction network.

    Notes
    -----
    445,120 parameters with the defaults. A place is the way from the small pixel's corner down and to the right, each
    in [0, 1), and 1 / scale of the height, as in the official code.

    The official code predicts 1,728 weights for each large pixel. They are linear in the hidden channels, and the
    colour is linear in them; so here the features are multiplied with the second layer first, once for each small
    pixel, and a large pixel only takes the sum over hidden channels.
    """

    block = 512

    def __init__(self, channels: Integral = 64, width: Integral = 256):
        super().__init__()
        self.width, self.table_width = width, 3 * width
        self.layers = nn.ModuleList([nn.Linear(3, width), nn.Linear(width, 9 * channels * 3)])

    def place(self, small: Integral, large: Integral) -> coordinates.Axis:
        """The small pixel that holds the large one's corner (Eq. 3)."""
        return coordinates.containing(small, large)

    def split(self) -> Split:
        """The second layer from the features' side."""
        last = self.layers[-1]
        hidden = last.weight.unflatten(0, (-1, 3)).permute(1, 2, 0).flatten(0, 1)  # (3 width, 9 c)
        return Split(hidden.contiguous(), last.bias.unflatten(0, (-1, 3)).T.contiguous())

    def tables(self, padded: Float[Tensor, "b c h2 w2"], weights: Split) -> Tables:
        """Features times second layer: a number for each colour and hidden channel, and one for each colour."""
        return table(padded, weights.hidden, None), table(padded, weights.bias, None)  # (b h w, 3 width), (b h w, 3)

    def answer(self, tables: Tables, queries: Queries, weights: Split) -> Float[Tensor, "q 3"]:
        """Eqs. 4 to 6."""
        index, offset = queries.index[0], queries.offset[0]
        place = torch.cat([offset, queries.ratio[:, :1].expand(len(offset), 1)], dim=1)  # (q, 3)
        hidden = relu(linear(place, self.layers[0].weight, self.layers[0].bias))  # (q, width)
        products = rows(tables[0], index).unflatten(1, (3, -1))  # (q, 3, width)
        return times(products, hidden[:, None]).sum(-1) + rows(tables[1], index)


class MetaSR(AnyScale):
    """Meta-SR: super-resolution at any scale, by predicted filters.

    Parameters
    ----------
    encoder : {"rdn", "edsr-baseline", "edsr", "small"} or Module
        The paper has the first. A module says how many channels it gives in an attribute ``channels``.
    width : int
        See :class:`MetaSRDecoder`.
    rgb_range : float, optional
        With 255, colours are seen as Meta-SR's official code sees them: from 0 to 255, without DIV2K's mean. By default
        as LIIF's and DIINN's codes do it: from -1 to 1.
    """

    def __init__(self, encoder: str | nn.Module = "rdn", *, width: Integral = 256, rgb_range: Real | None = None):
        encoder, channels = make_encoder(encoder)
        super().__init__(encoder, MetaSRDecoder(channels, width), rgb_range)
