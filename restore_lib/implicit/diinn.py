"""DIINN: a picture as a function of place, by two networks that talk to each other [nguyen2023diinn].

One, the modulation branch, looks at content; the other, the synthesis branch, at the place within a pixel. Layer by
layer, the first scales what the second makes of sines.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from restore_lib.implicit import coordinates
from restore_lib.implicit.anyscale import (
    AnyScale,
    Decoder,
    Queries,
    Size,
    Tables,
    checked,
    inverse_scale,
    linear,
    make_encoder,
    plus,
    relu,
    rows,
    sin,
    table,
    times,
)

# What the modulation branch's layers read, and whether the positional layer (Eqs. 8 and 9) comes before them.
VARIANTS = {
    "a": ("previous", True),  # Eq. 6; mode 1 of the official code
    "b": ("previous", False),
    "c": ("previous+content", True),  # Eq. 7; mode 2
    "d": ("previous+content", False),
    "e": ("synthesis+content", True),  # Eq. 4; mode 3
    "f": ("synthesis+content", False),  # the paper's final model
    "mode4": ("synthesis+content", False),  # in the official code only: as f, and the last layer sees 3x3 pixels
}


STRIP = 2**19  # pixels of a strip in mode4


@dataclass(frozen=True)
class Split:
    """Weights of the modulation branch: what multiplies the content, and what the output of a layer before."""

    content: Sequence[Tensor]
    before: Sequence[Tensor | None]  # the first layer has none before it
    last: Tensor
    last_bias: Tensor | None


class DIINNDecoder(Decoder):
    """The implicit function f of Eq. 1: from the content around a place, and the place, to its colours.

    Parameters
    ----------
    channels : int
        Of the features.
    variant : {"a", "b", "c", "d", "e", "f", "mode4"}
        A row of the paper's ablation, or ``"mode4"``, which only the official code has.
    width, layers : int
        Channels of both branches, and layers of each.
    third : {"area", "side"}
        What the place's third number is: ``"area"``, 1 / scale^2 as in the official code, or ``"side"``, 1 / scale as
        the paper writes.

    Notes
    -----
    Content is the 3x3 neighbourhood of the nearest feature. Initial weights are PyTorch's and the sine's frequency is
    1, as in the official code. Parameters for 64 channels: 544,259 in (b), 693,251 in (a), 986,627 in (d) and (f),
    1,135,619 in (c) and (e).
    """

    def __init__(
        self,
        channels: Integral = 64,
        variant: Literal["a", "b", "c", "d", "e", "f", "mode4"] = "f",
        *,
        width: Integral = 256,
        layers: Integral = 4,
        third: Literal["area", "side"] = "area",
    ):
        super().__init__()
        if variant not in VARIANTS:
            raise ValueError(f"variant must be one of {', '.join(VARIANTS)}, got {variant!r}")
        if third not in ("area", "side"):
            raise ValueError(f"third must be area or side, got {third!r}")
        content = 9 * channels
        self.variant, self.third, self.width = variant, third, width
        self.reads, positional = VARIANTS[variant]
        self.table_width = content if positional else layers * width
        before = width if self.reads == "previous" else width + content
        self.position = nn.Linear(3, content) if positional else None
        place = content if positional else 3
        self.modulation = nn.ModuleList(nn.Linear(before if i else content, width) for i in range(layers))
        self.synthesis = nn.ModuleList(nn.Linear(width if i else place, width) for i in range(layers))
        self.last = nn.Conv2d(width, 3, 3) if variant == "mode4" else nn.Linear(width, 3)

    def place(self, small: Integral, large: Integral) -> coordinates.Axis:
        """Nearest feature, local coordinates in [-1, 1]."""
        return coordinates.nearest(small, large)

    def split(self) -> Split:
        """Eqs. 4 and 7 multiply a layer's output and the content by one matrix; here by one each."""
        content, before = [self.modulation[0].weight], [None]
        for layer in self.modulation[1:]:
            before.append(layer.weight[:, : self.width].contiguous())
            content.append(layer.weight[:, self.width :].contiguous())  # has no columns under Eq. 6
        if self.variant == "mode4":  # nine 1x1 layers, one for each neighbour
            return Split(content, before, self.last.weight.permute(2, 3, 0, 1).flatten(0, 2), None)
        return Split(content, before, self.last.weight, self.last.bias)

    def tables(self, padded: Float[Tensor, "b c h2 w2"], weights: Split) -> Tables:
        """The content's part in each modulation layer; where it has no other part, the layer's output."""
        if self.position is not None:  # the content is multiplied pixel by pixel (Eq. 9) before it meets a weight
            columns = nn.functional.unfold(padded, 3)  # (b, 9 c, h w)
            return (columns.mT.flatten(0, 1).contiguous(),)
        found = []
        for i, (layer, weight) in enumerate(zip(self.modulation, weights.content, strict=True)):
            has_content = weight.shape[1] > 0
            products = table(padded, weight, layer.bias) if has_content else layer.bias  # (b h w, width)
            if self.reads != "synthesis+content":  # Eqs. 6 and 7 never leave the small picture
                products = torch.relu(products + linear(found[-1], weights.before[i], None) if i else products)
            elif i == 0:
                products = torch.relu(products)  # Eq. 2
            found.append(products)
        return tuple(found)

    def answer(self, tables: Tables, queries: Queries, weights: Split) -> Float[Tensor, "q _"]:
        """Eqs. 2 to 5, and the last layer; Eqs. 8 and 9 before them in variants that have them."""
        index, local = queries.index[0], queries.offset[0]
        area = queries.ratio.prod(1, keepdim=True)
        third = area if self.third == "area" else area.sqrt()
        place = torch.cat([local, third.expand(len(local), 1)], dim=1)  # (q, 3)
        content = None
        if self.position is not None:
            place = sin(self.position(place))  # (q, 9 c), Eq. 8
            content = place * rows(tables[0], index)  # (q, 9 c), Eq. 9
        synthesis = modulation = None
        for i, layer in enumerate(self.synthesis):
            before = synthesis if self.reads == "synthesis+content" else modulation
            modulation = self._modulation(i, before, content, tables, index, weights)  # (q, width)
            phase = linear(synthesis if i else place, layer.weight, layer.bias)
            synthesis = times(sin(phase), modulation)  # Eqs. 3 and 5
        return linear(synthesis, weights.last, weights.last_bias)  # (q, 3)

    def _modulation(
        self, i: Integral, before: Tensor | None, content: Tensor | None, tables: Tables, index: Tensor, weights: Split
    ) -> Tensor:
        """Layer i of the modulation branch; ``before`` is what it reads of layer i - 1."""
        if content is None:
            known = rows(tables[i], index)  # (q, width)
            if i == 0 or self.reads != "synthesis+content":
                return known  # has been through its ReLU
            return relu(plus(known, linear(before, weights.before[i], None)))  # Eq. 4
        bias = self.modulation[i].bias
        if i == 0:
            return relu(linear(content, weights.content[0], bias))  # Eq. 2
        heard = linear(before, weights.before[i], bias)
        if weights.content[i].shape[1]:
            heard = plus(heard, linear(content, weights.content[i], None))
        return relu(heard)

    def forward(self, feature: Float[Tensor, "b c h w"], size: Size) -> Float[Tensor, "b 3 H W"]:
        """A picture of ``size`` = (height, width) in normalised colours, for any size."""
        return super().forward(feature, size) if self.variant != "mode4" else self._seen_by_3x3(feature, size)

    def at(self, feature: Tensor, size: Size | Sequence[Size], pixels: Tensor) -> Tensor:
        """Some pixels of that picture; not in ``"mode4"``, where they need neighbours."""
        if self.variant == "mode4":
            raise ValueError("in mode4 a pixel depends on its neighbours: decode whole pictures")
        return super().at(feature, size, pixels)

    def _seen_by_3x3(self, feature: Tensor, size: Size) -> Tensor:
        """Strips of the picture before the last layer, mirrored at the picture's edge; then that layer."""
        height, width = checked(size)
        if min(height, width) < 2:
            raise ValueError(f"mode4 mirrors the border and needs at least 2 x 2 pixels, got {height} x {width}")
        h, w = feature.shape[2:]
        down, across = self.place(h, height), self.place(w, width).part(mirrored(-1, width + 1, width))
        tall, strips = max(1, STRIP // width), []
        for top in range(0, height, tall):
            high = min(tall, height - top)
            strip = down.part(mirrored(top - 1, top + high + 1, height))
            taps = self.pictures(
                feature, strip, across, inverse_scale(feature, (height, width))
            )  # (b, 27, high + 2, width + 2)
            taps = taps.unflatten(1, (3, 3, 3))
            parts = [taps[:, y, x, :, y : y + high, x : x + width] for y in range(3) for x in range(3)]
            strips.append(sum(parts[1:], parts[0]) + self.last.bias[:, None, None])
        return torch.cat(strips, dim=2)


def mirrored(start: Integral, stop: Integral, n: Integral) -> Int[Tensor, " m"]:
    """Whole numbers from ``start`` to below ``stop``, mirrored at 0 and n - 1."""
    return (n - 1) - ((n - 1) - torch.arange(start, stop).abs()).abs()


class DIINN(AnyScale):
    """Dual interactive implicit neural network: super-resolution at any scale.

    Parameters
    ----------
    variant : {"a", "b", "c", "d", "e", "f", "mode4"}
        A row of the paper's ablation; (f) is the final model.
    encoder : {"rdn", "edsr-baseline", "edsr", "small"} or Module
        By default the paper's, with which (f) has 22,960,579 parameters. A module says how many channels it gives in an
        attribute ``channels``.
    width, layers, third
        See :class:`DIINNDecoder`.
    """

    def __init__(
        self,
        variant: Literal["a", "b", "c", "d", "e", "f", "mode4"] = "f",
        encoder: str | nn.Module = "rdn",
        *,
        width: Integral = 256,
        layers: Integral = 4,
        third: Literal["area", "side"] = "area",
    ):
        encoder, channels = make_encoder(encoder)
        super().__init__(encoder, DIINNDecoder(channels, variant, width=width, layers=layers, third=third))
