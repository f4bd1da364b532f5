"""Batch norm folded into the convolution before it, for inference."""

import copy
from typing import cast

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def folded(network: nn.Module) -> nn.Module:
    """A copy for inference whose batch norms are folded into the convolutions before them; the same up to rounding.

    With its running statistics a batch norm multiplies each channel and adds to it, which weights and bias of the
    convolution can do as well. Folded are parts with ``conv`` and ``norm``, or lists ``convs`` and ``norms``, and a
    batch norm that follows a convolution in an ``nn.Sequential``.
    """
    network = copy.deepcopy(network).eval().requires_grad_(False)
    for part in network.modules():
        if isinstance(part, nn.Sequential):
            for number in range(1, len(part)):
                part[number - 1], part[number] = _fused(part[number - 1], part[number])
        elif hasattr(part, "convs") and hasattr(part, "norms"):
            convs, norms = cast(nn.ModuleList, part.convs), cast(nn.ModuleList, part.norms)
            for number, (conv, norm) in enumerate(zip(convs, norms, strict=True)):
                convs[number], norms[number] = _fused(conv, norm)
        elif hasattr(part, "conv") and hasattr(part, "norm"):
            part.conv, part.norm = _fused(cast(nn.Module, part.conv), cast(nn.Module, part.norm))
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  an overload is missing


def _fused(conv: nn.Module, norm: nn.Module) -> tuple[nn.Module, nn.Module]:
    """The convolution with the batch norm in it, and nothing to do after it; other pairs as they are."""
    if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
        return fuse_conv_bn_eval(conv, norm), nn.Identity()
    return conv, norm
