"""Networks as training leaves them, without training."""

import torch
from torch import nn


def shaken(net: nn.Module, rng: torch.Generator) -> nn.Module:
    """Statistics and shifts of batch norm that a trained network could have: none neutral."""
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            n = part.num_features
            part.running_mean.copy_(torch.randn(n, generator=rng))
            part.running_var.copy_(0.5 + torch.rand(n, generator=rng))
            part.weight.data.copy_(0.5 + torch.rand(n, generator=rng))
            part.bias.data.copy_(torch.randn(n, generator=rng))
    return net.eval()
