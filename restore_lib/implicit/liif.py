"""LIIF: a picture as a function of place, one network for content and place together [chen2021liif].

A place asks the four features around it and mixes their answers, so that nothing jumps where the nearest feature
changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral

import torch
from jaxtyping import Float
from torch import Tensor, nn

from restore_lib.implicit import coordinates
from restore_lib.implicit.anyscale import AnyScale, Decoder, Queries, Tables, linear, make_encoder, relu, rows, table
from restore_lib.nets.edsr import MEAN


@dataclass(frozen=True)
class Split:
    """The first layer: what multiplies the content, and what the place and the cell, transposed."""

    content: Tensor
    place: Tensor


class LIIFDecoder(Decoder):
    """The local implicit image function (Eq. 1), with what Sec. 3 adds to it.

    Parameters
    ----------
    channels : int
        Of the features.
    hidden : sequence of int
        Channels of the hidden layers.
    unfold : bool
        Join the 3x3 features around a place (feature unfolding, Eq. 3).
    ensemble : bool
        Mix the answers of the four nearest features, each by the area of the rectangle between the place and the
        opposite feature (local ensemble, Eq. 4); else only the nearest one answers.
    cell : bool
        Tell the network how large a pixel is (cell decoding, Eq. 5).

    Notes
    -----
    346,883 parameters with the defaults.
    """

    block = 512

    def __init__(
        self,
        channels: Integral = 64,
        hidden: Sequence[Integral] = (256, 256, 256, 256),
        *,
        unfold: bool = True,
        ensemble: bool = True,
        cell: bool = True,
    ):
        super().__init__()
        self.content = 9 * channels if unfold else channels
        self.ensemble, self.cell, self.table_width = ensemble, cell, hidden[0]
        widths = [self.content + (4 if cell else 2), *hidden, 3]
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(widths))

    def place(self, small: Integral, large: Integral) -> coordinates.Axis:
        """Features on both sides, or the nearest one."""
        return coordinates.around(small, large, (-1, 1) if self.ensemble else (0,))

    def split(self) -> Split:
        """The first layer multiplies content and place by one matrix; here by one each."""
        weight = self.layers[0].weight
        return Split(weight[:, : self.content].contiguous(), weight[:, self.content :].T.contiguous())

    def tables(self, padded: Float[Tensor, "b c h2 w2"], weights: Split) -> Tables:
        """The content's part in the first layer."""
        return (table(padded, weights.content, self.layers[0].bias),)

    def answer(self, tables: Tables, queries: Queries, weights: Split) -> Float[Tensor, "q 3"]:
        """Eq. 1 for each feature that is asked, and Eq. 4."""
        corners, count = queries.index.shape
        place = queries.offset.flatten(0, 1)  # (k q, 2)
        if self.cell:
            size = (2 * queries.ratio).expand(count, 2)  # a large pixel in halves of a small one
            place = torch.cat([place, size.repeat(corners, 1)], dim=1)  # (k q, 4)
        x = relu(torch.addmm(rows(tables[0], queries.index.flatten()), place, weights.place))  # (k q, hidden)
        for layer in self.layers[1:-1]:
            x = relu(linear(x, layer.weight, layer.bias))  # (k q, hidden)
        if self.ensemble:  # mixing before the last layer is mixing after it: it is linear, and shares add up to 1
            area = queries.offset.prod(-1).abs() + 1e-9  # (4, q)
            share = area.flip(0) / area.sum(0)  # the area opposite to a feature
            x = (x.unflatten(0, (corners, count)) * share[..., None]).sum(0)  # (q, hidden)
        return linear(x, self.layers[-1].weight, self.layers[-1].bias)


class LIIF(AnyScale):
    """Local implicit image function: super-resolution at any scale.

    Parameters
    ----------
    encoder : {"rdn", "edsr-baseline", "edsr", "small"} or Module
        The paper has the first two. A module says how many channels it gives in an attribute ``channels``.
    hidden, unfold, ensemble, cell
        See :class:`LIIFDecoder`.
    """

    def __init__(
        self,
        encoder: str | nn.Module = "rdn",
        *,
        hidden: Sequence[Integral] = (256, 256, 256, 256),
        unfold: bool = True,
        ensemble: bool = True,
        cell: bool = True,
    ):
        encoder, channels = make_encoder(encoder)
        super().__init__(encoder, LIIFDecoder(channels, hidden, unfold=unfold, ensemble=ensemble, cell=cell))

    def author_names(self) -> Mapping[str, str]:
        """Own name of each weight, and the name in files of LIIF's code; with an EDSR as encoder.

        Other encoders' files are read by :func:`restore_lib.implicit.load_author_checkpoint`.
        """
        names = {f"encoder.{own}": f"encoder.{theirs}" for own, theirs in self.encoder.author_names().items()}
        for i in range(len(self.decoder.layers)):  # every second layer there is an activation
            names |= {f"decoder.layers.{i}.{part}": f"imnet.layers.{2 * i}.{part}" for part in ("weight", "bias")}
        return names

    def author_constants(self) -> Mapping[str, Tensor]:
        """What these files hold beside weights: a mean colour that LIIF's code never takes off."""
        mean, same = torch.tensor(MEAN), torch.eye(3)[:, :, None, None]
        constants = {"sub_mean.weight": same, "sub_mean.bias": -mean, "add_mean.weight": same, "add_mean.bias": mean}
        return {f"encoder.{name}": value for name, value in constants.items()}
