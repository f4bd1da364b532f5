"""The multi-scale denoiser F_D of paper A, as its authors released it and as Figure 2 draws it [liu2018denoising].

Features are encoded at full, half and quarter size and decoded back up; each decoding module also sees the features
that were encoded at its own scale. The last layer gives the difference between clean and noisy image (Sec. 3.1).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from restore_lib import images
from restore_lib.training.precision import in_bfloat16

BORDER = 3  # pixels that the released network's two convolutions without padding take off each side
SMALLEST = 12  # side of the smallest image, in pixels
CONTEXT = 28  # how far the denoisers see at most (27 pixels, with max pooling); a DnCNN of depth 20 sees 20
TILE = 512


class Residual(nn.Module):
    """Bottleneck with a skip: 1x1 to a quarter of the channels, 3x3, 1x1 back; batch norm after each (Fig. 2).

    128, 32, 32, 128 channels in encoding modules, 256, 64, 64, 256 in decoding ones. ReLU comes after the sum in the
    released code; in the figure, before it.
    """

    def __init__(self, width: int, relu_after_sum: bool):
        super().__init__()
        self.relu_after_sum = relu_after_sum
        narrow = width // 4
        layers = ((width, narrow, 1), (narrow, narrow, 3), (narrow, width, 1))
        self.convs = nn.ModuleList(nn.Conv2d(i, o, k, padding=k // 2, bias=False) for i, o, k in layers)
        self.norms = nn.ModuleList(batch_norm(o) for _, o, _ in layers)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Same size as the input."""
        y = torch.relu(self.norms[0](self.convs[0](x)))  # (b, c / 4, h, w)
        y = torch.relu(self.norms[1](self.convs[1](y)))  # (b, c / 4, h, w)
        y = self.norms[2](self.convs[2](y))  # (b, c, h, w)
        return torch.relu(x + y) if self.relu_after_sum else x + torch.relu(y)


class FeatureModule(nn.Module):
    """A feature encoding or decoding module (Fig. 2): a 3x3 convolution, batch norm, ReLU, then a residual block.

    Encoding modules have a ``width`` of 128 channels, decoding ones of 256. ``downsampling`` halves the size:
    ``stride`` in the convolution, or a max ``pool`` before it.
    """

    def __init__(self, channels: int, width: int, relu_after_sum: bool, downsampling: str | None = None):
        super().__init__()
        self.pool = nn.MaxPool2d(2) if downsampling == "pool" else nn.Identity()
        self.conv = nn.Conv2d(channels, width, 3, 2 if downsampling == "stride" else 1, padding=1)
        self.norm = batch_norm(width)
        self.residual = Residual(width, relu_after_sum)

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
    noise_map : bool
        One network for all strengths of noise: like FFDNet [zhang2018ffdnet], it takes sigma as a further channel. Ours
        are two factors that bring weak noise half the way to that of sigma 25: the root of 25 / (sigma + 1) before the
        network, and that of sigma / 25 behind it, so that sigma 0 gives the image back.

    Notes
    -----
    Inside, colours go from 0 to 255 and have ImageNet's mean taken off, as in the official code, so that its initial
    weights mean the same here. Outside they are in [0, 1].
    """

    mean: Tensor

    def __init__(
        self,
        variant: str = "released",
        *,
        fusion: str = "concat",
        downsampling: str = "stride",
        scales: int = 3,
        residual: bool = True,
        width: int = 128,
        noise_map: bool = False,
    ):
        super().__init__()
        for name, value, choices in (
            ("variant", variant, ("released", "paper")),
            ("fusion", fusion, ("concat", "sum")),
            ("downsampling", downsampling, ("stride", "pool")),
            ("scales", scales, (1, 2, 3)),
        ):
            if value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}, got {value!r}")
        if width < 4 or width % 4:
            raise ValueError(f"width must be a positive multiple of 4, got {width}")
        if noise_map and not residual:
            raise ValueError("noise_map needs residual: sigma says how large the difference to the noisy image is")
        self.variant, self.fusion, self.scales, self.residual = variant, fusion, scales, residual
        self.noise_map = noise_map
        released, concat = variant == "released", fusion == "concat"
        self.border = BORDER if released else 0
        self.register_buffer("mean", torch.tensor([123.0, 117.0, 104.0])[:, None, None], persistent=False)

        # Channels at full size, from the encoder and from the deconvolution below it; and from the latter at half size.
        full = width // 2 if released else width
        up_2 = full if released or not concat else width
        up_3 = width // 4 if released and concat else width
        inputs = 4 if noise_map else 3
        self.first = nn.Conv2d(inputs, full, 5) if released else FeatureModule(inputs, width, released)
        if scales >= 2:
            self.encode_2 = FeatureModule(full, width, released, downsampling)
            self.up_2 = nn.ConvTranspose2d(width if scales == 2 else 2 * width, up_2, 4, stride=2, padding=1)
        if scales == 3:
            self.encode_3 = FeatureModule(width, width, released, downsampling)
            self.up_3 = nn.ConvTranspose2d(width, up_3, 4, stride=2, padding=1)
            self.decode_2 = FeatureModule(width + up_3 if concat else width, 2 * width, released)
        fused = full + up_2 if scales >= 2 and concat else full
        if not released:
            self.decode_1 = FeatureModule(fused, 2 * width, released)
        self.last = nn.Conv2d(fused, 3, 3) if released else nn.Conv2d(2 * width, 3, 3, padding=1)
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                _initialise(layer)

    def forward(
        self, noisy: Float[Tensor, "b 3 h w"], sigma: float | Float[Tensor, "b 1 1 1"] | None = None
    ) -> Float[Tensor, "b 3 oh ow"]:
        """Denoise (Sec. 3.1, Fig. 2) colours in [0, 1] plus noise, neither clipped nor rounded; 12 x 12 pixels or more.

        A network with a ``noise_map`` is told ``sigma``, on the scale 0 to 255, of all images or of each.

        Sizes that are no multiple of 4 are filled up by mirrored pixels at the right and the bottom, and cropped again.
        The result is as large as the input, or ``border`` pixels smaller on each side in the released variant.
        """
        height, width = _size(noisy)
        noisy = functional.pad(noisy, (0, -width % 4, 0, -height % 4), mode="reflect")  # (b, 3, h, w)
        levels = 255 * noisy - self.mean
        if self.noise_map:
            if sigma is None:
                raise ValueError("this network is for noise of any strength: give sigma")
            strength = torch.as_tensor(sigma, dtype=levels.dtype, device=levels.device).reshape(-1, 1, 1, 1)
            levels = levels * (25 / (strength + 1)).sqrt()
            levels = torch.cat([levels, strength.expand_as(levels[:, :1])], dim=1)  # (b, 4, h, w)
        with torch.autocast(levels.device.type, enabled=False):  # bfloat16 would round weak noise away
            full = self.first(levels)  # encoding I: (b, 64, h - 4, w - 4) or (b, 128, h, w)
        if self.scales >= 2:
            half = self.encode_2(full)  # encoding II: (b, 128, h / 2, w / 2)
            if self.scales == 3:
                quarter = self.encode_3(half)  # encoding III: (b, 128, h / 4, w / 4)
                half = self._fuse(half, self.up_3(quarter))  # (b, 160 or 256, h / 2, w / 2)
                half = self.decode_2(half)  # decoding II: (b, 256, h / 2, w / 2)
            full = self._fuse(full, self.up_2(half))  # (b, 128, h - 4, w - 4) or (b, 256, h, w)
        if self.variant == "paper":
            full = self.decode_1(full)  # decoding I: (b, 256, h, w)
        difference = self.last(full)  # (b, 3, h - 2 border, w - 2 border)
        if self.noise_map:
            difference = difference * (strength / 25).sqrt()
        b = self.border
        inside = noisy[..., b : noisy.shape[-2] - b, b : noisy.shape[-1] - b]
        clean = inside + difference / 255 if self.residual else (difference + self.mean) / 255
        return clean[..., : height - 2 * b, : width - 2 * b]

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


def _size(noisy: Tensor) -> tuple[int, int]:
    height, width = noisy.shape[-2:]
    if min(height, width) < SMALLEST:
        raise ValueError(f"height and width must be at least {SMALLEST}, got {height} x {width}")
    return height, width


def same_size(denoiser: nn.Module, noisy: Float[Tensor, "b 3 h w"], *told: float | None) -> Float[Tensor, "b 3 h w"]:
    """Denoise images, mirrored at their borders first by as much as the network takes off; ``told`` may be sigma."""
    return denoiser(functional.pad(noisy, (getattr(denoiser, "border", 0),) * 4, mode="reflect"), *told)


@torch.inference_mode()
def denoise(
    network: nn.Module,
    noisy: Float[Tensor, "3 h w"],
    sigma: float | None = None,
    *,
    tile: int | None = None,
    context: int = CONTEXT,
    precision: str = "exact",
) -> Float[Tensor, "3 h w"]:
    """Denoise a photo of any size in bounded memory; the result is as large, on the photo's device, not clipped.

    The network is in evaluation mode (:func:`restore_lib.fast.folding.folded` makes it faster), and the photo at least
    12 x 12 pixels. Photos of more than 1.5 megapixels are denoised in windows of 512 pixels, or of ``tile``, a multiple
    of 4 and more than ``4 * context``; these overlap so much that their inner parts are what the whole photo would
    give, as long as the network sees ``context`` pixels far. ``bf16`` precision multiplies in bfloat16 where the device
    does that natively, several times faster; it changes the result by less than storing it in 8 bit does. Networks with
    a ``noise_map`` need ``sigma``, on the scale 0 to 255; others are for the one of their training.
    """
    if network.training:
        raise ValueError("the network is in training mode: call network.eval() first")
    height, width = _size(noisy)
    device = next(network.parameters()).device
    bfloat16 = in_bfloat16(precision, device)
    told = (sigma,) if getattr(network, "noise_map", False) else ()

    def restore(x: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            return same_size(network, x.to(device).contiguous(memory_format=torch.channels_last), *told).float()

    # Windows must begin at multiples of 4, because the network halves its input twice.
    filled = functional.pad(noisy[None], (0, -width % 4, 0, -height % 4), mode="reflect")
    if tile is None and height * width <= 1_500_000:
        return restore(filled)[0, :, :height, :width].to(noisy.device)
    tile = TILE if tile is None else tile
    if tile % 4 or context % 4 or tile <= 4 * context:
        raise ValueError(f"tile={tile}, context={context}: need multiples of 4, and tile > 4 * context")
    return images.tiled(restore, filled, tile=tile, overlap=2 * context)[0, :, :height, :width]
