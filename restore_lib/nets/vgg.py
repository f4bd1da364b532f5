"""VGG-16 [simonyan2015vgg], paper A's classifier, and a small network of the same family for small pictures.

VGG-16 is torchvision's, layer by layer and with its weights; the small one is ours. Both take RGB in [0, 1] and bring
it to the scale they were trained with themselves, so that a denoiser can stand right before them.
"""

import pickle
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from restore_lib import files, metrics
from restore_lib.errors import DataError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pictures, as torchvision's networks expect
PLAN = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class Normalize(nn.Module):
    """Subtract a mean from each colour channel and divide by a deviation; nothing to train, nothing to save."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """RGB in [0, 1] to values around 0."""
        return (x - self.mean) / self.std


def convolution(channels: int, out: int, kernel: int, dilation: int, norm: bool) -> list[nn.Module]:
    """A convolution that keeps the size, batch norm in its bias's place if ``norm``, and ReLU."""
    conv = nn.Conv2d(channels, out, kernel, padding=dilation * (kernel // 2), dilation=dilation, bias=not norm)
    return [conv, nn.BatchNorm2d(out), nn.ReLU()] if norm else [conv, nn.ReLU()]


def convolutions(plan: Sequence[Sequence[int]], norm: bool = False) -> list[nn.Module]:
    """3x3 convolutions of these channels with ReLUs, and a pooling after each block of them."""
    layers: list[nn.Module] = []
    channels = 3
    for block in plan:
        for width in block:
            layers += convolution(channels, width, 3, 1, norm)
            channels = width
        layers.append(nn.MaxPool2d(2))
    return layers


class VGG16(nn.Module):
    """Thirteen 3x3 convolutions in five blocks, then three fully connected layers: configuration D of the paper.

    138,357,544 parameters for 1,000 classes. Names of weights are torchvision's, whose file loads as it is.
    """

    def __init__(self, classes: int = 1000):
        super().__init__()
        self.normalize = Normalize()
        self.features = nn.Sequential(*convolutions(PLAN))
        self.avgpool = nn.AdaptiveAvgPool2d(7)  # does nothing to pictures of 224 x 224
        hidden = [nn.Linear(512 * 7 * 7, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout()]
        self.classifier = nn.Sequential(*hidden, nn.Linear(4096, classes))

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes"]:
        """Scores of RGB pictures in [0, 1], made for 224 x 224; at least 32 x 32."""
        y = self.features(self.normalize(x))  # (b, 512, h/32, w/32)
        y = self.avgpool(y)  # (b, 512, 7, 7)
        return self.classifier(y.flatten(1))  # (b, classes)


def pretrained() -> VGG16:
    """VGG-16 with torchvision's weights for ImageNet's 1,000 classes (553 MB), in evaluation mode.

    DataError when the file is not on this computer, or damaged; the message names the command that fetches it.
    """
    official = next(file for file in metrics.TRUNKS["vgg"] if file.url)  # the other file has the convolutions only
    fetch = "run `restore data fetch vgg16`"
    missing = f"VGG-16's weights are not on this computer: {fetch}, or name a folder that holds them in RESTORE_DATA."
    network = VGG16()
    network.load_state_dict(read_weights(official, missing, f"delete it and {fetch}."))
    return network.eval()


def read_weights(file: files.KnownFile, missing: str, advice: str, path: Path | None = None) -> dict[str, Tensor]:
    """The weights in a file that this library knows by its hash; it lies at ``path``, or where users keep their data.

    DataError with the sentence ``missing`` when it is not on this computer; with ``advice`` when it is damaged.
    """
    path = path or files.locate(file.path)
    if path is None:
        raise DataError(missing)
    try:
        if not files.matches(path, file.sha256):
            raise ValueError("another hash")
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
        raise DataError(f"{path} is damaged or not what it says: {advice}") from error


class SmallVGG(nn.Module):
    """Four blocks of 3x3 convolutions with batch norm, each twice as wide, then the mean over all places, one layer."""

    def __init__(self, classes: int, width: int = 24):
        super().__init__()
        self.normalize = Normalize()
        self.features = nn.Sequential(*convolutions([(width * 2**number,) * 2 for number in range(4)], norm=True))
        self.dropout = nn.Dropout(0.3)
        self.classifier = nn.Linear(8 * width, classes)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes"]:
        """Scores of RGB pictures in [0, 1], at least 16 x 16."""
        y = self.features(self.normalize(x))  # (b, 8 width, h/16, w/16)
        return self.classifier(self.dropout(y.mean((2, 3))))  # (b, classes)
