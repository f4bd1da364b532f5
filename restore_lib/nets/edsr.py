"""EDSR: residual blocks without batch norm, and an upsampler at the end [lim2017edsr], as EDSR-PyTorch has it.

With a scale it makes a larger picture. Without one it is the encoder that LIIF and others begin with.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K's colours, as the official code takes it off
RANGE = 255.0  # its networks see colours from 0 to 255


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, and a skip (Fig. 2 c); a ``residual_scale`` of 0.1 keeps wide networks stable."""

    def __init__(self, width: int, residual_scale: float):
        super().__init__()
        self.residual_scale = residual_scale
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Same size as the input."""
        y = self.convs[1](torch.relu(self.convs[0](x)))
        return x + (y if self.residual_scale == 1 else y * self.residual_scale)


class EDSR(nn.Module):
    """Enhanced deep residual network of some ``blocks`` with ``width`` channels between them.

    With a ``scale`` of 2, 3 or 4, colours in [0, 1] come in and go out; the network itself sees them from 0 to 255
    without their mean, as the official code does, so that its weights mean the same here. Without one there is no
    upsampler: ``width`` features come out, and nothing is done to the colours, as in LIIF's code.
    """

    mean: Tensor

    def __init__(self, blocks: int = 16, width: int = 64, residual_scale: float = 1.0, scale: int | None = None):
        super().__init__()
        if scale not in (None, 2, 3, 4):
            raise ValueError(f"scale must be 2, 3, 4 or None, got {scale}")
        self.scale, self.channels = scale, width if scale is None else 3  # that come out
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.ModuleList(ResidualBlock(width, residual_scale) for _ in range(blocks))
        self.body = nn.Conv2d(width, width, 3, padding=1)
        if scale is not None:
            factors = {2: (2,), 3: (3,), 4: (2, 2)}[scale]
            self.ups = nn.ModuleList(nn.Conv2d(width, width * f * f, 3, padding=1) for f in factors)
            self.tail = nn.Conv2d(width, 3, 3, padding=1)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c H W"]:
        """The larger picture in [0, 1] (which it may leave a little), or features of normalised colours."""
        shallow = self.head(image if self.scale is None else (image - self.mean) * RANGE)  # (b, width, h, w)
        x = shallow
        for block in self.blocks:
            x = block(x)
        x = self.body(x) + shallow
        if self.scale is None:
            return x
        for up in self.ups:
            x = nn.functional.pixel_shuffle(up(x), 3 if self.scale == 3 else 2)  # (b, width, f h, f w)
        return self.tail(x) / RANGE + self.mean


def edsr_baseline(scale: int | None = None) -> EDSR:
    """The small EDSR: 16 blocks of 64 channels; 1.37, 1.55 and 1.52 million parameters for x2, x3 and x4."""
    return EDSR(16, 64, 1.0, scale)


def edsr_full(scale: int | None = None) -> EDSR:
    """The paper's EDSR: 32 blocks of 256 channels; 40.7, 43.7 and 43.1 million parameters for x2, x3 and x4."""
    return EDSR(32, 256, 0.1, scale)
