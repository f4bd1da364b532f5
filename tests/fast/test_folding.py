"""Folded batch norm against the networks as they are trained."""

import pytest
import torch
from shaking import shaken
from torch import nn

from restore_lib.denoising import Denoiser, DnCNN
from restore_lib.fast.folding import folded
from restore_lib.nets.efficientnet import EfficientNetLite0
from restore_lib.nets.largefov import DeepLabLargeFOV
from restore_lib.nets.resnet import SmallResNet
from restore_lib.nets.vgg import SmallVGG

NETS = {
    "released": lambda: Denoiser("released", width=16),
    "paper": lambda: Denoiser("paper", width=16),
    "pool": lambda: Denoiser("paper", width=16, downsampling="pool"),
    "dncnn": lambda: DnCNN(6, 8),
    "vgg": lambda: SmallVGG(6),
    "resnet": lambda: SmallResNet(6),
    "largefov": lambda: DeepLabLargeFOV(6, 8, 16, 2, norm=True),
    "efficientnet": EfficientNetLite0,
}


@pytest.mark.parametrize("name", NETS)
def test_folding_changes_nothing_but_rounding(name, rng):
    net = shaken(NETS[name](), rng).double()
    quick = folded(net)
    x = torch.rand(2, 3, 64, 48, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(quick(x), net(x), rtol=1e-9, atol=1e-9)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in quick.modules())
    assert any(isinstance(part, nn.BatchNorm2d) for part in net.modules()), "the original stays as it was"
