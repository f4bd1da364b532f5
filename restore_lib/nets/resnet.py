"""A small residual network, ours after [he2016resnet]: a classifier that no denoiser here was trained with."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from restore_lib.nets.vgg import Normalize


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm, and a skip around them (Fig. 2); the first may halve the size."""

    def __init__(self, channels: int, out: int, stride: int):
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(channels, out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            nn.BatchNorm2d(out),
        )
        same = stride == 1 and channels == out
        self.skip = nn.Identity() if same else nn.Sequential(nn.Conv2d(channels, out, 1, stride), nn.BatchNorm2d(out))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b _ _ _"]:
        """From ``channels`` to ``out``, and smaller by ``stride``."""
        return torch.relu(self.convs(x) + self.skip(x))


class SmallResNet(nn.Module):
    """A 5x5 convolution with stride 2, then three stages of two blocks, each twice as wide and half as large."""

    def __init__(self, classes: int, width: int = 32):
        super().__init__()
        self.normalize = Normalize()
        self.first = nn.Sequential(nn.Conv2d(3, width, 5, 2, padding=2, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.stages = nn.Sequential(
            Block(width, width, 1),
            Block(width, width, 1),
            Block(width, 2 * width, 2),
            Block(2 * width, 2 * width, 1),
            Block(2 * width, 4 * width, 2),
            Block(4 * width, 4 * width, 1),
        )
        self.classifier = nn.Linear(4 * width, classes)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes"]:
        """Scores of RGB pictures in [0, 1], at least 8 x 8."""
        y = self.stages(self.first(self.normalize(x)))  # (b, 4 width, h/8, w/8)
        return self.classifier(y.mean((2, 3)))  # (b, classes)
