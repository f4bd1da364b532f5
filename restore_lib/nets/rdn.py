"""RDN: convolutions that see all layers before them, in blocks that all count in the end [zhang2018rdn].

Here without an upsampler, as the encoder that super-resolution at any scale begins with.
"""

from numbers import Integral

import torch
from jaxtyping import Float
from torch import Tensor, nn


class DenseBlock(nn.Module):
    """Residual dense block (Sec. 3.2): each convolution reads the block's input and all convolutions before it.

    Parameters
    ----------
    width, layers, growth : int
        Channels that come in and go out, convolutions, and channels that each of them adds.
    """

    def __init__(self, width: Integral, layers: Integral, growth: Integral):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(width + i * growth, growth, 3, padding=1) for i in range(layers))
        self.fuse = nn.Conv2d(width + layers * growth, width, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Same size as the input."""
        if torch.is_grad_enabled():
            grown = x
            for conv in self.convs:
                grown = torch.cat([grown, torch.relu(conv(grown))], dim=1)  # (b, width + i growth, h, w)
            return x + self.fuse(grown)
        # Without gradients nothing need be kept but the last stage: one buffer instead of a copy a layer.
        grown = x.new_empty(len(x), self.fuse.in_channels, *x.shape[-2:])
        filled = x.shape[1]
        grown[:, :filled] = x
        for conv in self.convs:
            grown[:, filled : filled + conv.out_channels] = conv(grown[:, :filled]).relu_()
            filled += conv.out_channels
        return self.fuse(grown).add_(x)


class RDN(nn.Module):
    """Residual dense network without its upsampler.

    Parameters
    ----------
    blocks, layers, growth, width : int
        Dense blocks, convolutions in each, channels that each convolution adds, and channels between blocks: D, C, G
        and G0 of the paper. The defaults are configuration "B" of the official code, 21,973,952 parameters;
        (20, 6, 32, 64) is "A".

    Attributes
    ----------
    channels : int
        Of the features that come out.

    Notes
    -----
    Initial weights are PyTorch's, as in the official code.
    """

    def __init__(self, blocks: Integral = 16, layers: Integral = 8, growth: Integral = 64, width: Integral = 64):
        super().__init__()
        if min(blocks, layers, growth, width) < 1:
            raise ValueError(
                f"blocks, layers, growth and width must be at least 1, got {blocks, layers, growth, width}"
            )
        self.channels = width
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.blocks = nn.ModuleList(DenseBlock(width, layers, growth) for _ in range(blocks))
        self.gather = nn.Conv2d(blocks * width, width, 1)
        self.last = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h w"]:
        """Features of normalised colours, one for each pixel."""
        shallow = self.first(image)  # (b, width, h, w), Eq. 1
        x, gathered = self.second(shallow), self.gather.bias[:, None, None]  # Eq. 2
        # Eq. 5 joins the outputs of all blocks before a 1x1 convolution; its sum can run along with the blocks.
        for block, weight in zip(self.blocks, self.gather.weight.split(self.channels, dim=1), strict=True):
            x = block(x)  # (b, width, h, w), Eq. 3
            gathered = gathered + nn.functional.conv2d(x, weight)
        return self.last(gathered) + shallow  # Eq. 4: global residual


def small_trunk(blocks: Integral = 4, layers: Integral = 3, growth: Integral = 32, width: Integral = 64) -> RDN:
    """An RDN that a laptop can train: 465,472 parameters."""
    return RDN(blocks, layers, growth, width)
