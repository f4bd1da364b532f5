"""Chapter 4's reference answers against real layers: formulas that readers write must hold for networks that run."""

import pytest
import torch
from torch import nn

from restore_lib import noise
from restore_lib.denoising.denoiser import Residual
from restore_lib.nets.receptive import extent, receptive_field
from restore_lib.teaching.checks import all_exercises

FIELD, PARAMETERS, _, SIGMA = (all_exercises()[f"4.{number}"] for number in (1, 2, 3, 4))


def test_the_width_of_the_field_is_what_the_gradient_says():
    for seed in range(3):
        (layers,) = FIELD.inputs(torch.Generator().manual_seed(seed))
        stack = nn.Sequential(*(nn.Conv2d(1, 1, k, s, padding=k // 2) for k, s in layers))
        width = FIELD.reference(layers)
        assert extent(receptive_field(stack, 2 * width + 32, channels=1)) == (width, width)


def test_parameters_are_those_of_layers():
    for seed in range(3):
        channels, kernels, bias = PARAMETERS.inputs(torch.Generator().manual_seed(seed))
        stack = nn.ModuleList()
        for c, d, k in zip(channels, channels[1:], kernels, strict=False):
            stack += [nn.Conv2d(c, d, k, bias=bias), nn.BatchNorm2d(d)]
        assert PARAMETERS.reference(channels, kernels, bias) == sum(p.numel() for p in stack.parameters())


def test_the_bottleneck_of_the_chapter():
    counted = sum(p.numel() for p in Residual(128, relu_after_sum=True).parameters())
    assert PARAMETERS.reference([128, 32, 32, 128], [1, 3, 1], False) == counted


@pytest.mark.parametrize("sigma", [10, 25, 50])
def test_sigma_is_found_on_smooth_photos(rng, sigma):
    ramp = torch.linspace(0, 1, 256).expand(3, 256, 256)
    assert float(SIGMA.reference(noise.gaussian(ramp, sigma, rng))) == pytest.approx(sigma, rel=0.03)
