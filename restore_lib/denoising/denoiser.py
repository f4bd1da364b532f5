"""The multi-scale denoiser of paper A as its authors released it [liu2018denoising].

Three scales: features are encoded at full, half and quarter size, decoded back up, and each decoder also sees the
encoder of its own scale. What comes out is the difference between clean and noisy image.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

BORDER = 3  # pixels that the two convolutions without padding take off each side


class Residual(nn.Module):
    """Bottleneck with a skip: 1x1 to few channels, 3x3, 1x1 back; batch norm after each (Sec. 3.1, Fig. 2).

    Parameters
    ----------
    width, narrow : int
        Channels outside and inside.
    """

    def __init__(self, width: int, narrow: int):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, k, padding=k // 2, bias=False)
            for i, o, k in ((width, narrow, 1), (narrow, narrow, 3), (narrow, width, 1))
        )
        self.norms = nn.ModuleList(batch_norm(conv.out_channels) for conv in self.convs)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """ReLU comes after the sum, as in the released code; the paper's figure shows none there."""
        y = torch.relu(self.norms[0](self.convs[0](x)))  # (b, narrow, h, w)
        y = torch.relu(self.norms[1](self.convs[1](y)))  # (b, narrow, h, w)
        return torch.relu(x + self.norms[2](self.convs[2](y)))  # (b, c, h, w)


class Encoder(nn.Module):
    """A 3x3 convolution, batch norm, ReLU, then a residual block."""

    def __init__(self, channels: int, width: int, narrow: int, stride: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3, stride, padding=1)
        self.norm = batch_norm(width)
        self.residual = Residual(width, narrow)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """With stride 2, half as high and wide."""
        return self.residual(torch.relu(self.norm(self.conv(x))))


class Denoiser(nn.Module):
    """The released network: ``train_denoise.prototxt`` of the official code, 1,033,443 parameters.

    Inside, colours go from 0 to 255 and have ImageNet's mean taken off, as in the original, so that its initial weights
    mean the same here. Outside they are in [0, 1].
    """

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([123.0, 117.0, 104.0])[:, None, None], persistent=False)
        self.first = nn.Conv2d(3, 64, 5)
        self.encode_2 = Encoder(64, 128, 32, stride=2)
        self.encode_3 = Encoder(128, 128, 32, stride=2)
        self.up_3 = nn.ConvTranspose2d(128, 32, 4, stride=2, padding=1)
        self.decode_2 = Encoder(128 + 32, 256, 64, stride=1)
        self.up_2 = nn.ConvTranspose2d(256, 64, 4, stride=2, padding=1)
        self.last = nn.Conv2d(64 + 64, 3, 3)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                _initialise(module)

    def forward(self, noisy: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 oh ow"]:
        """Denoise; the result is 3 pixels smaller on each side.

        Parameters
        ----------
        noisy
            Colours in [0, 1] plus noise, neither clipped nor rounded; height and width are multiples of 4, at least 12.

        Raises
        ------
        ValueError
            Another height or width.
        """
        height, width = noisy.shape[-2:]
        if height % 4 or width % 4 or min(height, width) < 12:
            raise ValueError(f"height and width must be multiples of 4 and at least 12, got {height} x {width}")
        full = self.first(255 * noisy - self.mean)  # (b, 64, h - 4, w - 4)
        half = self.encode_2(full)  # (b, 128, (h - 4) / 2, ..)
        quarter = self.encode_3(half)  # (b, 128, (h - 4) / 4, ..)
        half = torch.cat([half, self.up_3(quarter)], dim=1)  # (b, 160, (h - 4) / 2, ..)
        half = self.decode_2(half)  # (b, 256, (h - 4) / 2, ..)
        full = torch.cat([full, self.up_2(half)], dim=1)  # (b, 128, h - 4, w - 4)
        inside = noisy[..., BORDER : height - BORDER, BORDER : width - BORDER]
        return inside + self.last(full) / 255  # (b, 3, h - 6, w - 6)


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with the running average of the official code: a thousandth of each batch."""
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.001)


def _initialise(layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
    """Caffe's ``xavier``: uniform within sqrt(3 / n), n = weights for each entry of the weight's first dimension."""
    bound = (3 * layer.weight.shape[0] / layer.weight.numel()) ** 0.5
    nn.init.uniform_(layer.weight, -bound, bound)
    if layer.bias is not None:
        nn.init.constant_(layer.bias, 0.0 if isinstance(layer, nn.ConvTranspose2d) else 0.2)
