"""Photos of any size to any size: encoder and decoder window by window, with the whole picture's answer.

An encoder's memory grows with the picture. So it sees windows, with as much of their surroundings as it looks at; no
seam can appear, because what a window answers is what the whole picture would answer.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from restore_lib.fast.decoders import accelerated, decode_grid
from restore_lib.implicit.anyscale import AnyScale
from restore_lib.implicit.coordinates import Axis, checked
from restore_lib.training.precision import in_bfloat16

TILE = 384  # pixels of the small photo
LOOKS = 2  # how far a decoder looks: the 3x3 features around the next pixel but one


@torch.inference_mode()
def upscale(
    network: AnyScale,
    lr: Float[Tensor, "3 h w"],
    size: Sequence[int],
    *,
    precision: str = "exact",
    tile: int = TILE,
    progress: Callable[[int, int], None] | None = None,
) -> Float[Tensor, "3 H W"]:
    """Enlarge a photo of any size, RGB in [0, 1], to any height and width; on the photo's device, not clipped.

    The network is in evaluation mode; windows move to its device. With ``"bf16"`` the encoder multiplies in bfloat16
    where the device does that natively; the decoder, which tells places apart, is always exact. ``tile`` is the side of
    a window without the surroundings that the encoder sees, too. It bounds the memory; for DIINN's ``"mode4"``, whose
    pixels see their neighbours, nothing does. ``progress`` is told (windows done, windows).
    """
    if network.training:
        raise ValueError("the network is in training mode: call network.eval() first")
    if tile < 1:
        raise ValueError(f"tile is {tile}: a window needs at least one pixel")
    (height, width), (h, w) = checked(size), lr.shape[1:]
    device = next(network.parameters()).device
    half = in_bfloat16(precision, device)
    if accelerated(network.decoder) is None:
        return network(lr[None].to(device), (height, width))[0].to(lr.device)
    out = lr.new_empty(3, height, width)
    margin = reach(network.encoder) + LOOKS
    down = list(windows(network.decoder.place(h, height), h, int(tile), margin))
    right = list(windows(network.decoder.place(w, width), w, int(tile), margin))
    ratio = torch.tensor([[h / height, w / width]], dtype=lr.dtype, device=device)
    for i, (rows, rows_out, rows_axis) in enumerate(down):
        for j, (cols, cols_out, cols_axis) in enumerate(right):
            window = network.normalise(lr[None, :, rows, cols].to(device))  # (1, 3, th, tw)
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                feature = network.encoder(window)
            picture = decode_grid(network.decoder, feature.to(lr.dtype), rows_axis, cols_axis, ratio)[0]
            out[:, rows_out, cols_out] = (picture * network.unit + network.mean).to(lr.device)
            if progress is not None:
                progress(i * len(right) + j + 1, len(down) * len(right))
    return out


def reach(encoder: nn.Module) -> int:
    """How many pixels away an encoder looks at most: in ours, every convolution reads what the one before it made."""
    return sum(max(layer.kernel_size) // 2 for layer in encoder.modules() if isinstance(layer, nn.Conv2d))


def windows(axis: Axis, small: int, tile: int, margin: int) -> Iterator[tuple[slice, slice, Axis]]:
    """Windows along one side of ``small`` pixels: at most ``tile`` are a window's own, ``margin`` more on either side.

    Gives the small pixels that a window sees, the large ones that it answers for, and the places of these among those
    that it sees. Windows without large pixels are left out.
    """
    count = math.ceil(small / tile)
    first = axis.index[0].contiguous()  # of the small pixels that answer together
    for i in range(count):
        start, stop = small * i // count, small * (i + 1) // count
        left, right = torch.searchsorted(first, torch.tensor([start, stop])).tolist()
        if left < right:
            seen = slice(max(start - margin, 0), min(stop + margin, small))
            part = axis.part(slice(left, right))
            yield seen, slice(left, right), Axis(part.index - seen.start, part.offset)
