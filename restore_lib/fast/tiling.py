"""Photos of any size through RRDBNet or EDSR: window by window in bounded memory, in the form that is fastest."""

import copy
import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from restore_lib import images
from restore_lib.training.precision import in_bfloat16

TILE, OVERLAP = 192, 16  # pixels of the small photo


@torch.inference_mode()
def upscale(
    network: nn.Module,
    lr: Float[Tensor, "3 h w"],
    *,
    precision: str = "exact",
    tile: int = TILE,
    overlap: int = OVERLAP,
    progress: Callable[[int, int], None] | None = None,
) -> Float[Tensor, "3 H W"]:
    """Enlarge a photo, RGB in [0, 1], by the network's factor, window by window; on its device, not clipped.

    The network is in evaluation mode; windows of ``tile`` pixels, which bounds the memory, move to its device. They
    reach ``overlap`` pixels into their neighbours, half of them context alone. ``bf16`` multiplies in bfloat16 where
    the device does that natively. ``progress`` is called with (windows done, windows).
    """
    scale = getattr(network, "scale", None)
    if network.training:
        raise ValueError("the network is in training mode: call network.eval() first")
    if scale is None:
        raise ValueError("the network has no upsampler: give one with a scale")
    enlarge, done = prepared(network, precision), 0
    device = next(network.parameters()).device
    windows = math.prod(max(math.ceil((n - tile) / max(tile - 2 * overlap, 1)), 0) + 1 for n in lr.shape[1:])

    def one(window: Tensor) -> Tensor:
        nonlocal done
        sr = enlarge(window.to(device)).to(lr.device)
        done += 1
        if progress is not None:
            progress(done, windows)
        return sr

    return images.tiled(one, lr, tile=tile, overlap=overlap, scale=scale)


def prepared(network: nn.Module, precision: str = "exact") -> Callable[[Tensor], Tensor]:
    """The network as a function of a batch, in the memory layout that is fastest; the network does not change."""
    device = next(network.parameters()).device
    half = in_bfloat16(precision, device)
    fast = copy.deepcopy(network).requires_grad_(False).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  an overload is missing

    def enlarge(batch: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=half):  # sums of colours stay in float32
            return fast(batch.contiguous(memory_format=torch.channels_last)).float()

    return enlarge
