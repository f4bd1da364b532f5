"""The multi-scale denoiser of paper A, as its figure draws it and as its authors released it [liu2018denoising].

Features are encoded at full, half and quarter size and decoded back up; each decoder also sees the encoder of its own
scale. What comes out of the last layer is the difference between the clean and the noisy image.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

BORDER = 3  # pixels that the released network's two convolutions without padding take off each side


class Residual(nn.Module):
    """Bottleneck with a skip: 1x1 to few channels, 3x3, 1x1 back; batch norm after each (Sec. 3.1, Fig. 2).

    Parameters
    ----------
    width, narrow : int
        Channels outside and inside.
    relu_after_sum : bool
        True as in the released code; False as in the figure, where the last ReLU comes before the sum.
    """

    def __init__(self, width: int, narrow: int, relu_after_sum: bool):
        super().__init__()
        self.relu_after_sum = relu_after_sum
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, k, padding=k // 2, bias=False)
            for i, o, k in ((width, narrow, 1), (narrow, narrow, 3), (narrow, width, 1))
        )
        self.norms = nn.ModuleList(batch_norm(conv.out_channels) for conv in self.convs)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Same size as the input."""
        y = torch.relu(self.norms[0](self.convs[0](x)))  # (b, narrow, h, w)
        y = torch.relu(self.norms[1](self.convs[1](y)))  # (b, narrow, h, w)
        y = self.norms[2](self.convs[2](y))  # (b, c, h, w)
        return torch.relu(x + y) if self.relu_after_sum else x + torch.relu(y)


class Module(nn.Module):
    """An encoding or decoding module: a 3x3 convolution, batch norm, ReLU, then a residual block.

    Parameters
    ----------
    channels, width, narrow : int
        Channels that come in, that go out, and inside the residual block.
    downsampling : {"stride", "pool"}, optional
        How the module halves the size: its convolution has stride 2, or max pooling comes before it.
    """

    def __init__(self, channels: int, width: int, narrow: int, relu_after_sum: bool, downsampling: str | None = None):
        super().__init__()
        self.pool = nn.MaxPool2d(2) if downsampling == "pool" else nn.Identity()
        self.conv = nn.Conv2d(channels, width, 3, 2 if downsampling == "stride" else 1, padding=1)
        self.norm = batch_norm(width)
        self.residual = Residual(width, narrow, relu_after_sum)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """As high and wide as the input, or half of it."""
        return self.residual(torch.relu(self.norm(self.conv(self.pool(x)))))


class Denoiser(nn.Module):
    """Paper A's denoiser.

    Parameters
    ----------
    variant : {"released", "paper"}
        ``"released"``: ``train_denoise.prototxt`` of the official code, 1,033,443 parameters; at full size it has one
        5x5 and one 3x3 convolution without padding, so that the result is 3 pixels smaller on each side.
        ``"paper"``: Figure 2 read literally, 2,468,483 parameters; whole modules at full size, result as large as the
        input. The figure leaves out how many channels leave a deconvolution (here as many as the encoder has) and how
        the last decoder's 256 become 3 (here by a 3x3 convolution).
    fusion : {"concat", "sum"}
        How a decoder takes up the encoder of its own scale (Sec. 3.1 compares both, and takes ``"concat"``).
    downsampling : {"stride", "pool"}
        By a convolution of stride 2, or by max pooling (Sec. 3.1 compares both, and takes ``"stride"``).
    scales : int
        1 to 3. With 1, the released variant is a linear filter.
    residual : bool
        Predict the difference to the noisy image, not the clean image.
    width : int
        Channels of the encoders, a multiple of 4; decoders have twice as many.

    Raises
    ------
    ValueError
        An option is none of these.

    Notes
    -----
    Inside, colours go from 0 to 255 and have ImageNet's mean taken off, as in the official code, so that its initial
    weights mean the same here. Outside they are in [0, 1].
    """

    def __init__(
        self,
        variant: str = "released",
        *,
        fusion: str = "concat",
        downsampling: str = "stride",
        scales: int = 3,
        residual: bool = True,
        width: int = 128,
    ):
        super().__init__()
        for name, value, known in (
            ("variant", variant, ("released", "paper")),
            ("fusion", fusion, ("concat", "sum")),
            ("downsampling", downsampling, ("stride", "pool")),
            ("scales", scales, (1, 2, 3)),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(map(str, known))}, got {value!r}")
        if width < 4 or width % 4:
            raise ValueError(f"width must be a positive multiple of 4, got {width}")
        self.variant, self.fusion, self.scales, self.residual = variant, fusion, scales, residual
        self.border = BORDER if variant == "released" else 0
        self.register_buffer("mean", torch.tensor([123.0, 117.0, 104.0])[:, None, None], persistent=False)
        released, join = variant == "released", fusion == "concat"

        def module(channels: int, width: int, narrow: int, down: str | None = None) -> Module:
            return Module(channels, width, narrow, released, down)

        # full size: what the first layer makes, how much of it there is, and what the decoder gets
        full = width // 2 if released else width
        up_2 = full if released or not join else width
        self.first = nn.Conv2d(3, full, 5) if released else module(3, width, width // 4)
        if scales >= 2:
            self.encode_2 = module(full, width, width // 4, downsampling)
            half = width if scales == 2 else 2 * width  # channels that are enlarged to full size
            self.up_2 = nn.ConvTranspose2d(half, up_2, 4, stride=2, padding=1)
        if scales == 3:
            up_3 = width // 4 if released and join else width
            self.encode_3 = module(width, width, width // 4, downsampling)
            self.up_3 = nn.ConvTranspose2d(width, up_3, 4, stride=2, padding=1)
            self.decode_2 = module(width + up_3 if join else width, 2 * width, width // 2)
        fused = full + up_2 if scales >= 2 and join else full
        if not released:
            self.decode_1 = module(fused, 2 * width, width // 2)
        self.last = nn.Conv2d(fused, 3, 3) if released else nn.Conv2d(2 * width, 3, 3, padding=1)
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                _initialise(layer)

    def forward(self, noisy: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 oh ow"]:
        """Denoise.

        Parameters
        ----------
        noisy
            Colours in [0, 1] plus noise, neither clipped nor rounded. Sizes that are no multiple of 4 are filled up at
            the right and the bottom by mirrored pixels, and the result is cropped again.

        Returns
        -------
        Tensor
            As large as the input, or ``border`` pixels smaller on each side in the released variant.

        Raises
        ------
        ValueError
            An image of less than 12 x 12 pixels.
        """
        height, width = noisy.shape[-2:]
        if min(height, width) < 12:
            raise ValueError(f"height and width must be at least 12, got {height} x {width}")
        padded = functional.pad(noisy, (0, -width % 4, 0, -height % 4), mode="reflect")  # (b, 3, h', w')
        clean = self._whole(padded)  # (b, 3, h' - 2 border, w' - 2 border)
        return clean[..., : height - 2 * self.border, : width - 2 * self.border]

    def _whole(self, noisy: Tensor) -> Tensor:
        """For sizes that are multiples of 4."""
        centred = 255 * noisy - self.mean
        full = self.first(centred)  # (b, 64 or 128, h, w); 4 rows and columns fewer in the released variant
        if self.scales >= 2:
            half = self.encode_2(full)  # (b, 128, h / 2, w / 2)
            if self.scales == 3:
                quarter = self.encode_3(half)  # (b, 128, h / 4, w / 4)
                half = self.decode_2(self._fuse(half, self.up_3(quarter)))  # (b, 256, h / 2, w / 2)
            full = self._fuse(full, self.up_2(half))  # (b, 128 or 256, h, w)
        if self.variant == "paper":
            full = self.decode_1(full)  # (b, 256, h, w)
        difference = self.last(full)  # (b, 3, h - 2 border, w - 2 border)
        if not self.residual:
            return (difference + self.mean) / 255
        inside = noisy[..., self.border : noisy.shape[-2] - self.border, self.border : noisy.shape[-1] - self.border]
        return inside + difference / 255

    def _fuse(self, encoded: Tensor, enlarged: Tensor) -> Tensor:
        return torch.cat([encoded, enlarged], dim=1) if self.fusion == "concat" else encoded + enlarged


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm whose running average takes a hundredth of each batch.

    The official code takes a thousandth and divides by the sum of the weights so far, as PyTorch does not: with a
    thousandth alone, the first thousands of steps would leave statistics that are half those of the random start.
    """
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.01)


def _initialise(layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
    """Caffe's ``xavier``: uniform within sqrt(3 / n), n = weights for each entry of the weight's first dimension."""
    bound = (3 * layer.weight.shape[0] / layer.weight.numel()) ** 0.5
    nn.init.uniform_(layer.weight, -bound, bound)
    if layer.bias is not None:
        nn.init.constant_(layer.bias, 0.0 if isinstance(layer, nn.ConvTranspose2d) else 0.2)
