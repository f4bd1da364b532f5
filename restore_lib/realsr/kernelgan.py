"""KernelGAN's two networks [bellkligler2019kernelgan]: the blur that made a photo, learned from the photo alone.

A photo's small details look like its large ones. So a generator shrinks crops of the photo, and a discriminator that
sees 7 x 7 pixels tells whether a patch is from the photo or from what the generator made. When it cannot tell, the
generator shrinks as the camera did. The generator has no activation: it is one blur kernel, in six layers.

Sizes are those of the released code (``networks.py``), with the stride in the generator's last layer.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

SIZES = (7, 5, 3, 1, 1, 1)  # of the generator's kernels; together they reach 13 pixels
KERNEL_SIZE = sum(SIZES) - len(SIZES) + 1  # 13
CROP = 64  # side of the generator's input in training
SMALL = (CROP - KERNEL_SIZE) // 2 + 1  # 26, side of its output and of the discriminator's input
PATCH = 7  # side of what one value of the discriminator's map looks at
TINY_MAP = SMALL - PATCH + 1  # 20, side of the discriminator's map
EPS = 1e-5  # of the batch norm


class KernelGenerator(nn.Module):
    """Deep linear generator: kernels of 7, 5, 3, 1, 1, 1, 64 channels, 150,656 weights; reduces by 2.

    Parameters
    ----------
    width : int
        Channels between the layers.
    """

    def __init__(self, width: int = 64):
        super().__init__()
        channels = [1, *[width] * (len(SIZES) - 1), 1]
        self.layers = nn.ModuleList(
            nn.Conv2d(channels[i], channels[i + 1], size, stride=2 if i == len(SIZES) - 1 else 1, bias=False)
            for i, size in enumerate(SIZES)
        )
        for layer in self.layers:
            nn.init.xavier_normal_(layer.weight, 0.1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c oh ow"]:
        """Blur and halve each colour by itself, layer by layer, without padding: 64 pixels become 26."""
        b, c, h, w = x.shape
        y = x.reshape(b * c, 1, h, w)
        for layer in self.layers:
            y = layer(y)  # (b c, width, h', w')
        return y.reshape(b, c, *y.shape[-2:])

    def kernel(self) -> Float[Tensor, "13 13"]:
        """The one correlation kernel that all layers are together. Differentiable."""
        return compose([layer.weight[None] for layer in self.layers])[0]


def compose(weights: list[Float[Tensor, "n _ _ _ _"]]) -> Float[Tensor, "n s s"]:
    """Kernels that stacks of convolutions without activations are, for n stacks at once.

    Two correlations in a row are one whose kernel is the full convolution of both; over channels it is a matrix
    product. Going from the last layer to the first keeps one row of channels instead of a matrix of them: a million
    multiplications for the generator, where a crop takes a thousand times as many layer by layer.

    Parameters
    ----------
    weights : list of Tensor
        First layer first; one channel comes in and one goes out.

    Returns
    -------
    Tensor
        Correlation kernels. Differentiable with respect to every weight.
    """
    return partial_kernels(weights)[-1][:, 0]


def partial_kernels(weights: list[Float[Tensor, "n _ _ _ _"]]) -> list[Float[Tensor, "n _ _ _"]]:
    """What the last layer, the last two, ... and all layers are together: (n, channels, size, size) each."""
    *earlier, last = weights
    kernel, found = last[:, 0], [last[:, 0]]
    for weight in reversed(earlier):
        n, o, i, k, _ = weight.shape
        size, side = kernel.shape[-1], kernel.shape[-1] + k - 1
        # every cell of one kernel times every cell of the other, summed where they land on the same spot: each cell of
        # the smaller stack lays its own copy of the layer, as far down and right as the cell itself lies
        products = torch.bmm(
            kernel.reshape(n, o, size * size).mT, weight.reshape(n, o, i * k * k)
        )  # (n, size size, i k k)
        copies = products.new_zeros(n, size, size, i, side, side)
        *steps, down, right = copies.stride()
        steps[1], steps[2] = steps[1] + down, steps[2] + right
        copies.as_strided((n, size, size, i, k, k), (*steps, down, right)).copy_(products.view(n, size, size, i, k, k))
        kernel = copies.sum((1, 2))  # (n, i, side, side)
        found.append(kernel)
    return found


class SpectralConv(nn.Module):
    """Convolution whose weight is divided by its largest singular value, which one power iteration a pass follows.

    As ``torch.nn.utils.spectral_norm`` in the version that the released code used: v is renewed first, then u, at each
    pass in training mode, and none in evaluation mode.
    """

    def __init__(self, channels: int, width: int, size: int):
        super().__init__()
        start = nn.Conv2d(channels, width, size)
        self.weight, self.bias = start.weight, nn.Parameter(torch.zeros(width))
        self.register_buffer("u", F.normalize(torch.randn(width), dim=0))
        self.register_buffer("v", F.normalize(torch.randn(channels * size * size), dim=0))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d oh ow"]:
        """Without padding."""
        matrix = self.weight.flatten(1)  # (d, c k k)
        if self.training:
            with torch.no_grad():
                self.v.copy_(F.normalize(matrix.T @ self.u, dim=0))
                self.u.copy_(F.normalize(matrix @ self.v, dim=0))
        largest = self.u.clone() @ (matrix @ self.v.clone())  # copies: the next pass changes u and v in place
        return F.conv2d(x, self.weight / largest, self.bias)


class KernelDiscriminator(nn.Module):
    """Patch discriminator: 7 x 7, five times [1 x 1, batch norm, ReLU], 1 x 1, sigmoid; 30,977 parameters.

    Each value of its map judges 7 x 7 pixels: it knows textures, not objects. Every convolution is a
    :class:`SpectralConv`. The released code means to start all weights from Xavier's distribution with gain 0.1, but
    sets the normalised copies, which the next pass overwrites: its discriminator starts from PyTorch's own values, and
    so does this one.
    """

    def __init__(self, width: int = 64, depth: int = 7):
        super().__init__()
        self.first = SpectralConv(3, width, PATCH)
        self.middle = nn.ModuleList(SpectralConv(width, width, 1) for _ in range(depth - 2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(depth - 2))
        self.last = SpectralConv(width, 1, 1)
        for norm in self.norms:
            nn.init.normal_(norm.weight, 1.0, 0.02)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 oh ow"]:
        """How real each patch of an image in [-1, 1] looks, in 0 to 1; 6 pixels fewer each way."""
        y = self.first(x)  # (b, width, h - 6, w - 6)
        for conv, norm in zip(self.middle, self.norms, strict=True):
            y = torch.relu(norm(conv(y)))
        return torch.sigmoid(self.last(y))
