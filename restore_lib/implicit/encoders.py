"""Encoders: from the colours of a small picture to features, one for each pixel.

RDN [zhang2018rdn], without its upsampler: convolutions that see all layers before them, in blocks whose outputs all
count in the end. The other encoder is EDSR, :mod:`restore_lib.nets.edsr`.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from restore_lib.nets.edsr import edsr_baseline, edsr_full

DAMPING = 3e-3  # of the largest variance


class DenseBlock(nn.Module):
    """Residual dense block (Sec. 3.2): each convolution reads the block's input and all convolutions before it."""

    def __init__(self, width: int, layers: int, growth: int):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(width + i * growth, growth, 3, padding=1) for i in range(layers))
        self.fuse = nn.Conv2d(width + layers * growth, width, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Same size as the input."""
        grown = x
        for conv in self.convs:
            grown = torch.cat([grown, torch.relu(conv(grown))], dim=1)  # (b, width + i growth, h, w)
        return x + self.fuse(grown)


class RDN(nn.Module):
    """Residual dense network without its upsampler; ``channels`` says how many come out.

    Dense blocks, convolutions in each, channels that each convolution adds, and channels between blocks are D, C, G and
    G0 of the paper. The defaults are configuration "B" of the official code, 21,973,952 parameters; (20, 6, 32, 64) is
    "A". Initial weights are PyTorch's, as in the official code.
    """

    def __init__(self, blocks: int = 16, layers: int = 8, growth: int = 64, width: int = 64):
        super().__init__()
        if min(blocks, layers, growth, width) < 1:
            raise ValueError(f"RDN's numbers must be at least 1, got {blocks, layers, growth, width}")
        self.channels = width
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.blocks = nn.ModuleList(DenseBlock(width, layers, growth) for _ in range(blocks))
        self.gather = nn.Conv2d(blocks * width, width, 1)
        self.last = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h w"]:
        """Features of normalised colours, one for each pixel."""
        shallow = self.first(image)  # (b, width, h, w), Eq. 1
        x, gathered = self.second(shallow), self.gather.get_parameter("bias")[:, None, None]  # Eq. 2
        # Eq. 5 joins the outputs of all blocks before a 1x1 convolution. Its sum can run along: no block is kept.
        for block, weight in zip(self.blocks, self.gather.weight.split(self.channels, dim=1), strict=True):
            x = block(x)  # (b, width, h, w), Eq. 3
            gathered = gathered + functional.conv2d(x, weight)
        return self.last(gathered) + shallow  # Eq. 4: global residual


def small_trunk(blocks: int = 4, layers: int = 3, growth: int = 32, width: int = 64) -> RDN:
    """An RDN that a laptop can train: 465,472 parameters."""
    return RDN(blocks, layers, growth, width)


class Decorrelated(nn.Module):
    """An encoder and a fixed 1x1 layer that decorrelates its features (ZCA).

    The features of a trained encoder are small and alike: a few directions hold nearly all of their variance, and
    a decoder that starts from nothing learns slowly from the others. What can be computed from features stays the same.
    The layer is the identity until :meth:`fit`, and has no bias: zeros beyond a picture's border stay zeros.
    """

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder, self.channels = encoder, int(getattr(encoder, "channels", 64))
        self.mix = nn.Conv2d(self.channels, self.channels, 1, bias=False)
        nn.init.dirac_(self.mix.weight)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h w"]:
        """Features, every channel about as large as the others."""
        return self.mix(self.encoder(image))

    @torch.no_grad()
    def fit(self, features: Float[Tensor, "n c"], damping: float = DAMPING) -> None:
        """Choose the layer for some features; ``damping``, of the largest variance, keeps it from enlarging noise."""
        features = features.double()
        covariance = features.T @ features / len(features)  # (c, c)
        variance, directions = torch.linalg.eigh(covariance)
        whiten = directions @ ((variance + damping * variance[-1]).rsqrt()[:, None] * directions.T)
        self.mix.weight.copy_(whiten.half().float()[:, :, None, None])


ENCODERS = {"rdn": RDN, "edsr-baseline": edsr_baseline, "edsr": edsr_full, "small": small_trunk}


def make_encoder(encoder: str | nn.Module) -> tuple[nn.Module, int]:
    """An encoder by name or a module as it is, and its channels.

    Names are ``rdn``, ``edsr-baseline``, ``edsr`` and ``small``, with ``-white`` after them for :class:`Decorrelated`.
    A module says how many channels it gives in an attribute ``channels``; without one, 64 are expected.
    """
    if isinstance(encoder, str):
        name = encoder.removesuffix("-white")
        if name not in ENCODERS:
            raise ValueError(f"encoder must be one of {', '.join(ENCODERS)} or a module, got {encoder!r}")
        encoder = ENCODERS[name]() if name == encoder else Decorrelated(ENCODERS[name]())
    return encoder, int(getattr(encoder, "channels", 64))
