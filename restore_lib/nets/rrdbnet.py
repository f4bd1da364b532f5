"""RRDBNet, ESRGAN's generator, which RealSR and Real-ESRGAN train again on other pairs [wang2018esrgan].

Dense blocks without batch norm, each inside two nested skips; then the picture doubles by repeating pixels, and
convolutions draw the detail.
"""

import copy
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.2  # of every leaky ReLU
SHARE = 0.2  # of what a dense block, and three of them together, add to their input
DOUBLINGS = {1: 0, 2: 1, 4: 2}


class DenseBlock(nn.Module):
    """Five 3 x 3 convolutions, each of which sees the input and all results before it (Fig. 4, dense block)."""

    def __init__(self, width: int, growth: int):
        super().__init__()
        outs = [growth] * 4 + [width]
        convs = [nn.Conv2d(width + i * growth, out, 3, padding=1) for i, out in enumerate(outs)]
        for conv in convs:  # small, so that a deep network begins near the identity (Sec. 3.1)
            nn.init.kaiming_normal_(conv.weight)
            conv.weight.data *= 0.1
            nn.init.zeros_(cast(Tensor, conv.bias))
        self.convs = nn.ModuleList(convs)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Same size as the input."""
        seen = [x]
        for conv in self.convs[:-1]:
            seen.append(functional.leaky_relu_(conv(torch.cat(seen, 1)), SLOPE))  # (b, growth, h, w)
        return torch.add(x, self.convs[-1](torch.cat(seen, 1)), alpha=SHARE)


class RRDB(nn.Module):
    """Residual in residual: three dense blocks and a skip around them (Fig. 4)."""

    def __init__(self, width: int, growth: int):
        super().__init__()
        self.dense = nn.ModuleList(DenseBlock(width, growth) for _ in range(3))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Same size as the input."""
        y = x
        for block in self.dense:
            y = block(y)
        return torch.add(x, y, alpha=SHARE)


class RRDBNet(nn.Module):
    """Residual-in-residual dense network; 16,697,987 parameters as published.

    ``blocks`` RRDBs with ``width`` channels between them, ``growth`` as in :class:`DenseBlock`, and an enlargement by
    ``scale`` 1, 2 or 4. Convolutions in dense blocks start from a tenth of Kaiming's normal values and without bias,
    all others as PyTorch starts them, as in the official code.
    """

    def __init__(self, blocks: int = 23, width: int = 64, growth: int = 32, scale: int = 4):
        super().__init__()
        if scale not in DOUBLINGS:
            raise ValueError(f"scale must be 1, 2 or 4, got {scale}: the network doubles its picture, or does not")
        self.scale = scale
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.ModuleList(RRDB(width, growth) for _ in range(blocks))
        self.body = nn.Conv2d(width, width, 3, padding=1)
        self.ups = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(DOUBLINGS[scale]))
        self.detail = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 H W"]:
        """Enlarge pictures of any size, RGB in [0, 1]; the result may leave [0, 1] a little."""
        shallow = self.first(lr)  # (b, width, h, w)
        x = shallow
        for block in self.blocks:
            x = block(x)
        x = self.body(x) + shallow
        for up in self.ups:
            x = functional.interpolate(x, scale_factor=2, mode="nearest")  # (b, width, 2 h, 2 w)
            x = functional.leaky_relu_(up(x), SLOPE)
        return self.last(functional.leaky_relu_(self.detail(x), SLOPE))  # (b, 3, scale h, scale w)


def begin_as_interpolation(network: RRDBNet) -> RRDBNet:
    """Set a few fresh weights such that the network begins as linear interpolation, all others free to learn.

    Three channels carry the colours to the end: a pixel repeated twice each way and then averaged with weights 1, 2, 1
    is linear interpolation, and leaky ReLU leaves what is not negative as it is.
    """
    line = torch.tensor([0.25, 0.5, 0.25])
    smooth, same = torch.outer(line, line), torch.zeros(3, 3)
    same[1, 1] = 1
    kernels = {"first": same, "body": 0 * same, "detail": same, "last": same}
    layers = [(getattr(network, name), kernel) for name, kernel in kernels.items()]
    with torch.no_grad():
        for layer, kernel in [*layers, *((up, smooth) for up in network.ups)]:
            layer.weight[:3] = 0
            layer.bias[:3] = 0
            for colour in range(3):
                layer.weight[colour, colour] = kernel
    return network


def interpolate_networks(first: nn.Module, second: nn.Module, alpha: float) -> nn.Module:
    """A network between two: ``(1 - alpha) * first + alpha * second``, weight by weight (Sec. 3.4 of ESRGAN).

    Between them lies something sensible only if the second was trained on from the first. ValueError for networks of
    different architectures.
    """
    network, other = copy.deepcopy(first), second.state_dict()
    own = network.state_dict()
    if {name: value.shape for name, value in own.items()} != {name: value.shape for name, value in other.items()}:
        raise ValueError("the two networks have other weights: interpolate between networks of one architecture")
    for name, value in own.items():
        if value.is_floating_point():
            value.copy_((1 - alpha) * value + alpha * other[name])
    return network
