"""DeepLab-LargeFOV [chen2015deeplab], paper A's segmenter: VGG-16 made to give a class to every eighth pixel."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from restore_lib.nets.vgg import PLAN, VGG16, Normalize, convolution


class DeepLabLargeFOV(nn.Module):
    """A segmenter whose score map is an eighth of the picture's size, as ``train_seg.prototxt`` of paper A's code.

    Against VGG-16: pooling is 3x3; the last two poolings keep the size, and the convolutions after the first of them
    look twice as far instead (dilation 2); an average pooling follows the last; the fully connected layers are
    convolutions of ``hidden`` channels, the first with a 3x3 kernel whose taps lie ``dilation`` places apart (12 in the
    paper, for pictures of 321 x 321): the large field of view. With all defaults 20,505,429 parameters.

    ``classes`` include the background; ``width`` is that of the first block. ``norm`` adds batch norm after each
    convolution but the last: ours, to train narrow networks from scratch, where the paper's starts from VGG-16's
    weights.
    """

    def __init__(
        self, classes: int = 21, width: int = 64, hidden: int = 1024, dilation: int = 12, *, norm: bool = False
    ):
        super().__init__()
        self.normalize = Normalize()
        layers: list[nn.Module] = []
        channels = 3
        for number, block in enumerate(PLAN):
            spread = 2 if number == 4 else 1
            for out in (width * n // 64 for n in block):
                layers += convolution(channels, out, 3, spread, norm)
                channels = out
            layers.append(nn.MaxPool2d(3, 2 if number < 3 else 1, padding=1))
        self.features = nn.Sequential(*layers, nn.AvgPool2d(3, 1, padding=1))
        self.head = nn.Sequential(
            *convolution(channels, hidden, 3, dilation, norm),
            nn.Dropout(),
            *convolution(hidden, hidden, 1, 1, norm),
            nn.Dropout(),
            nn.Conv2d(hidden, classes, 1),
        )

    def scores(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes _ _"]:
        """Scores at every eighth pixel of RGB pictures in [0, 1]: rows and columns 0, 8, 16, ..."""
        return self.head(self.features(self.normalize(x)))  # (b, classes, ceil(h / 8), ceil(w / 8)), about

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes h w"]:
        """Scores of every pixel: those of :meth:`scores`, interpolated between their places."""
        coarse = self.scores(x)
        reach = [8 * (n - 1) + 1 for n in coarse.shape[2:]]  # rows and columns from the first place to the last
        fine = functional.interpolate(coarse, size=reach, mode="bilinear", align_corners=True)
        missing = [max(n - m, 0) for n, m in zip(x.shape[2:], reach, strict=True)]
        fine = functional.pad(fine, (0, missing[1], 0, missing[0]), mode="replicate")
        return fine[..., : x.shape[2], : x.shape[3]]


@torch.no_grad()
def start_from_vgg(network: DeepLabLargeFOV, vgg: VGG16) -> None:
    """Copy VGG-16's thirteen convolutions into a network of full width without batch norm; else ValueError."""
    pairs = [[layer for layer in net.features if isinstance(layer, nn.Conv2d)] for net in (network, vgg)]
    if [c.weight.shape for c in pairs[0]] != [c.weight.shape for c in pairs[1]] or pairs[0][0].bias is None:
        raise ValueError("only a network of width 64 without batch norm can start from VGG-16")
    for own, given in zip(*pairs, strict=True):
        own.weight.copy_(given.weight)
        own.bias.copy_(given.bias)
