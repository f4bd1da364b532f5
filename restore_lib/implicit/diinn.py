"""DIINN: a picture as a function of place, by two networks that talk to each other [nguyen2023diinn].

One, the modulation branch, looks at content; the other, the synthesis branch, at the place within a pixel. Layer by
layer, the first scales what the second makes of sines.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from restore_lib.implicit.anyscale import AnyScale
from restore_lib.implicit.coordinates import Axis, nearest, queries, unfolded
from restore_lib.implicit.encoders import make_encoder

Variant = Literal["a", "b", "c", "d", "e", "f", "mode4"]

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


class DIINNDecoder(nn.Module):
    """The implicit function f of Eq. 1: from the content around a place, and the place, to its colours.

    Content is the 3x3 neighbourhood of the nearest feature, of some ``channels``. ``variant`` is a row of the paper's
    ablation, or ``"mode4"``, which only the official code has; ``width`` and ``layers`` are those of both branches. The
    place's ``third`` number is 1 / scale^2 (``"area"``, as in the official code) or 1 / scale (``"side"``, as the paper
    writes). Initial weights are PyTorch's and the sine's frequency is 1, as in the official code. Parameters for 64
    channels: 544,259 in (b), 693,251 in (a), 986,627 in (d) and (f), 1,135,619 in (c) and (e).
    """

    def __init__(
        self,
        channels: int = 64,
        variant: Variant = "f",
        *,
        width: int = 256,
        layers: int = 4,
        third: Literal["area", "side"] = "area",
    ):
        super().__init__()
        if variant not in VARIANTS:
            raise ValueError(f"variant must be one of {', '.join(VARIANTS)}, got {variant!r}")
        if third not in ("area", "side"):
            raise ValueError(f"third must be area or side, got {third!r}")
        self.variant, self.third, self.width = variant, third, width
        self.reads, positional = VARIANTS[variant]
        content = 9 * channels
        place = content if positional else 3
        before = width if self.reads == "previous" else width + content
        self.position = nn.Linear(3, content) if positional else None
        self.modulation = nn.ModuleList(nn.Linear(before if i else content, width) for i in range(layers))
        self.synthesis = nn.ModuleList(nn.Linear(width if i else place, width) for i in range(layers))
        self.last = nn.Conv2d(width, 3, 3) if variant == "mode4" else nn.Linear(width, 3)

    def place(self, small: int, large: int) -> Axis:
        """The nearest feature, and local coordinates in [-1, 1]."""
        return nearest(small, large)

    def forward(
        self, feature: Float[Tensor, "b c h w"], size: Sequence[int], pixels: Int[Tensor, " q"] | None = None
    ) -> Float[Tensor, "b 3 *pixels"]:
        """A picture of ``size`` = (height, width) in normalised colours, or some of its pixels (Eqs. 1 to 9).

        ``pixels`` are ``y * width + x``; in ``"mode4"``, where a pixel needs its neighbours, only whole pictures exist.
        """
        (index,), (local,) = queries(feature, size, self.place, pixels)
        z = unfolded(feature)[:, index]  # (b, q, 9 c), the content of the nearest small pixel
        area = feature.shape[2] * feature.shape[3] / (size[0] * size[1])
        third = torch.full_like(local[:, :1], area if self.third == "area" else area**0.5)
        p = torch.cat([local, third], dim=-1)  # (q, 3)
        if self.position is not None:
            p = torch.sin(self.position(p))  # (q, 9 c), Eq. 8
            z = p * z  # (b, q, 9 c), Eq. 9
        m = torch.relu(self.modulation[0](z))  # (b, q, width), Eq. 2
        s = m * torch.sin(self.synthesis[0](p))  # (b, q, width), Eq. 3
        for modulation, synthesis in zip(self.modulation[1:], self.synthesis[1:], strict=True):
            before = {
                "previous": [m],  # Eq. 6
                "previous+content": [m, z],  # Eq. 7
                "synthesis+content": [s, z],  # Eq. 4
            }[self.reads]
            m = torch.relu(modulation(torch.cat(before, dim=-1)))  # (b, q, width)
            s = m * torch.sin(synthesis(s))  # (b, q, width), Eq. 5
        if self.variant == "mode4":
            return self._last_3x3(s, size, pixels)
        colours = self.last(s).mT  # (b, 3, q)
        return colours.unflatten(2, tuple(size)) if pixels is None else colours

    def _last_3x3(self, s: Float[Tensor, "b q width"], size: Sequence[int], pixels: Tensor | None) -> Tensor:
        """The last layer of the official code's mode 4: a convolution, mirrored at the picture's edge."""
        if pixels is not None:
            raise ValueError("in mode4 a pixel depends on its neighbours: decode whole pictures")
        if min(size) < 2:
            raise ValueError(f"mode4 mirrors the border and needs at least 2 x 2 pixels, got {size[0]} x {size[1]}")
        picture = s.mT.unflatten(2, tuple(size))  # (b, width, H, W)
        return self.last(functional.pad(picture, (1, 1, 1, 1), mode="reflect"))


class DIINN(AnyScale):
    """Dual interactive implicit neural network: super-resolution at any scale.

    ``encoder`` is a name or a module, see :func:`~restore_lib.implicit.encoders.make_encoder`; with the paper's, the
    final model (f) has 22,960,579 parameters. ``options`` are those of :class:`DIINNDecoder`.
    """

    def __init__(self, variant: Variant = "f", encoder: str | nn.Module = "rdn", **options: Any):
        encoder, channels = make_encoder(encoder)
        super().__init__(encoder, DIINNDecoder(channels, variant, **options))
