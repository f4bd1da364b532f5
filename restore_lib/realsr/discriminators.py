"""The two discriminators of RealSR's code: one judges every patch, the other the whole crop [ji2020realsr].

The paper names the first [isola2017pix2pix]; the released code trains its first track with the second, ESRGAN's
[wang2018esrgan]. Both give logits, for photos in [0, 1].
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.2  # of every leaky ReLU
STEP = 32  # how many times smaller the map of the VGG discriminator is


class PatchDiscriminator(nn.Module):
    """Judge overlapping patches of 70 x 70 pixels: convolutions alone, so photos of any size; 2,765,633 parameters.

    ``layers`` convolutions of 4 x 4 that halve the map, two more that do not, batch norm on all but the first and the
    last. 128 x 128 pixels give a map of 14 x 14 logits.

    Parameters
    ----------
    layers : int
        Halvings: 1, 2, 3 and 4 see patches of 16, 34, 70 and 142 pixels.
    width : int
        Channels of the first convolution; they double up to eight times as many.
    """

    def __init__(self, layers: int = 3, width: int = 64):
        super().__init__()
        if min(layers, width) < 1:
            raise ValueError(f"layers={layers}, width={width}: each must be at least 1")
        channels = [width * min(2**i, 8) for i in range(layers + 1)]
        self.first = nn.Conv2d(3, channels[0], 4, stride=2, padding=1)
        self.convs = nn.ModuleList(
            nn.Conv2d(channels[i], channels[i + 1], 4, stride=2 if i + 1 < layers else 1, padding=1, bias=False)
            for i in range(layers)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(c) for c in channels[1:])
        self.last = nn.Conv2d(channels[-1], 1, 4, padding=1)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 oh ow"]:
        """One logit a patch; high means photo, low means network."""
        y = functional.leaky_relu(self.first(x), SLOPE)  # (b, width, h / 2, w / 2)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            y = functional.leaky_relu(norm(conv(y)), SLOPE)
        return self.last(y)


class VGGDiscriminator(nn.Module):
    """Judge a whole crop of a fixed size, as ESRGAN does; 14,499,401 parameters for 128 x 128.

    Five pairs of convolutions, 3 x 3 and then 4 x 4 that halves the map, batch norm on all but the first, and two
    linear layers.

    Parameters
    ----------
    width : int
        Channels of the first convolution; they double up to eight times as many.
    size : int
        Side of the crops, a multiple of 32.
    """

    def __init__(self, width: int = 64, size: int = 128):
        super().__init__()
        if size < STEP or size % STEP or width < 1:
            raise ValueError(f"width={width}, size={size}: width must be at least 1 and size a multiple of {STEP}")
        self.size = size
        channels = [3] + [width * min(2 ** (i // 2), 8) for i in range(10)]
        self.convs = nn.ModuleList(
            nn.Conv2d(channels[i], channels[i + 1], 3 + i % 2, stride=1 + i % 2, padding=1, bias=i == 0)
            for i in range(10)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(c) for c in channels[2:])
        self.hidden = nn.Linear(channels[-1] * (size // STEP) ** 2, 100)
        self.last = nn.Linear(100, 1)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1"]:
        """One logit a crop; high means photo, low means network."""
        if x.shape[-2:] != (self.size, self.size):
            raise ValueError(f"crops must be {self.size} x {self.size} pixels, got {tuple(x.shape[-2:])}")
        y = functional.leaky_relu(self.convs[0](x), SLOPE)  # (b, width, h, w)
        for conv, norm in zip(self.convs[1:], self.norms, strict=True):
            y = functional.leaky_relu(norm(conv(y)), SLOPE)
        y = functional.leaky_relu(self.hidden(y.flatten(1)), SLOPE)  # (b, 100), from (b, 8 width, h / 32, w / 32)
        return self.last(y)
