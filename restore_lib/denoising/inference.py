"""Whole photos through a denoising network: of any size, in bounded memory, at the speed that the network allows."""

import copy
from numbers import Integral

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from restore_lib import images
from restore_lib.training.speed import in_bfloat16

CONTEXT = 28  # how far the multi-scale denoisers look at most (27 pixels, with max pooling); DnCNN of depth 20 looks 20
TILE = 512


def folded(network: nn.Module) -> nn.Module:
    """A copy for inference whose batch norms are folded into the convolutions before them.

    With its running statistics a batch norm multiplies each channel and adds to it, which weights and bias of the
    convolution can do as well. Results agree up to rounding.

    Parameters
    ----------
    network : Module
        Parts that have ``conv`` and ``norm``, or lists ``convs`` and ``norms``, are folded, and so is a batch norm that
        follows a convolution in an ``nn.Sequential``; others stay.
    """
    network = copy.deepcopy(network).eval().requires_grad_(False)
    for part in network.modules():
        if isinstance(part, nn.Sequential):
            for number in range(1, len(part)):
                if isinstance(part[number], nn.BatchNorm2d) and isinstance(part[number - 1], nn.Conv2d):
                    part[number - 1] = fuse_conv_bn_eval(part[number - 1], part[number])
                    part[number] = nn.Identity()
        elif hasattr(part, "convs") and hasattr(part, "norms"):
            for number, norm in enumerate(part.norms):
                if isinstance(norm, nn.BatchNorm2d):
                    part.convs[number] = fuse_conv_bn_eval(part.convs[number], norm)
                    part.norms[number] = nn.Identity()
        elif isinstance(getattr(part, "norm", None), nn.BatchNorm2d) and hasattr(part, "conv"):
            part.conv, part.norm = fuse_conv_bn_eval(part.conv, part.norm), nn.Identity()
    return network.to(memory_format=torch.channels_last)


@torch.inference_mode()
def denoise(
    network: nn.Module,
    noisy: Float[Tensor, "3 h w"],
    *,
    tile: Integral | None = None,
    context: Integral = CONTEXT,
    precision: str = "exact",
) -> Float[Tensor, "3 h w"]:
    """Denoise a photo of any size.

    Where the network returns a little less than it gets (the released one: 3 pixels on each side), the photo is
    mirrored at its borders first, so that the result is as large as the photo.

    Parameters
    ----------
    network : Module
        In evaluation mode; :func:`folded` makes it faster. Photos larger than a tile stay on the CPU, and tiles move
        to the network's device.
    noisy
        Colours in [0, 1] plus noise.
    tile : int, optional
        Side of the windows that are denoised one after another, a multiple of 4 and more than ``4 * context``. By
        default photos of more than 1.5 megapixels get windows of 512 pixels, which bounds the memory.
    context : int
        How far the network looks, a multiple of 4: windows overlap so much that their inner parts are what the whole
        photo would give.
    precision : {"exact", "bf16"}
        ``"bf16"`` multiplies in bfloat16 where the device does that natively, several times faster, and is exact
        elsewhere. Its 8 bits of precision change the result by less than storing it in 8 bit does; colours come in and
        are added up in float32 all the same.

    Returns
    -------
    Tensor
        On the photo's device, not clipped.

    Raises
    ------
    ValueError
        A photo of less than 12 x 12 pixels, a tile that is too small, another precision, or a network in training mode.
    """
    height, width = noisy.shape[-2:]
    if network.training:
        raise ValueError("the network is in training mode: call network.eval() first")
    if min(height, width) < 12:
        raise ValueError(f"height and width must be at least 12, got {height} x {width}")
    device = next(network.parameters()).device
    border, half = getattr(network, "border", 0), in_bfloat16(precision, device)

    def restore(x: Tensor) -> Tensor:
        x = functional.pad(x.to(device), (border,) * 4, mode="reflect")
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            return network(x.contiguous(memory_format=torch.channels_last)).float()

    # Windows must begin at multiples of 4, because the network halves its input twice.
    filled = functional.pad(noisy[None], (0, -width % 4, 0, -height % 4), mode="reflect")
    if tile is None and height * width <= 1_500_000:
        return restore(filled)[0, :, :height, :width].to(noisy.device)
    tile = TILE if tile is None else tile
    if tile % 4 or context % 4 or tile <= 4 * context:
        raise ValueError(f"tile={tile}, context={context}: need multiples of 4, and tile > 4 * context")
    return images.tiled(restore, filled, tile=int(tile), overlap=2 * int(context))[0, :, :height, :width]
