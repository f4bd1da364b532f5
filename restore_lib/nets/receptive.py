"""Which input pixels an output pixel of a network can see, computed by differentiating the network itself."""

import copy

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def receptive_field(
    network: nn.Module, size: int, *, at: tuple[int, int] | None = None, channels: int = 3
) -> Bool[Tensor, "size size"]:
    """Input pixels that can change one output pixel, ``at`` (row, column) or in the middle: True where they matter.

    The gradient of an output with respect to the input is not zero exactly there, as long as no ReLU is off and nothing
    cancels: so the weights of a copy are made positive, batch norms neutral, the input positive, and max pooling, which
    lets one pixel through, becomes mean pooling. ``size`` is larger than the field.
    """
    network = _averaging(copy.deepcopy(network)).double().eval()
    for part in network.modules():
        if isinstance(part, _BatchNorm):
            part.reset_running_stats()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.5 + torch.rand(parameter.shape, generator=generator, dtype=torch.float64))
            parameter /= max(parameter[0].numel(), 1)  # keeps sums from growing beyond what float64 holds
    x = 10 + torch.rand(1, channels, size, size, generator=generator, dtype=torch.float64)
    x.requires_grad_(True)
    result = network(x)  # (1, C, h, w)
    row, column = at or (result.shape[-2] // 2, result.shape[-1] // 2)
    (gradient,) = torch.autograd.grad(result[0, :, row, column].sum(), x)
    return (gradient[0] != 0).any(0)


def _averaging(part: nn.Module) -> nn.Module:
    """A network with mean pooling in place of its max pooling."""
    if isinstance(part, nn.AdaptiveMaxPool2d):
        return nn.AdaptiveAvgPool2d(part.output_size)
    if isinstance(part, nn.MaxPool2d):
        if part.dilation not in (1, (1, 1)):
            raise ValueError("max pooling with dilation has no mean that looks at the same pixels")
        return nn.AvgPool2d(part.kernel_size, part.stride, part.padding, part.ceil_mode)
    for name, child in part.named_children():
        setattr(part, name, _averaging(child))
    return part


def extent(seen: Bool[Tensor, "h w"]) -> tuple[int, int]:
    """Height and width of the smallest box around the True pixels; (0, 0) when there are none."""
    rows, columns = seen.any(1).nonzero(), seen.any(0).nonzero()
    if not len(rows):
        return 0, 0
    return int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
