"""Receptive fields: closed forms, and pixels changed one by one."""

import pytest
import torch
from torch import nn

from restore_lib.nets.receptive import extent, receptive_field


def stack(*layers):
    """Convolutions from (kernel, stride, dilation), with ReLU between."""
    parts, channels = [], 3
    for kernel, stride, dilation in layers:
        padding = dilation * (kernel - 1) // 2
        parts += [nn.Conv2d(channels, 4, kernel, stride, padding, dilation), nn.BatchNorm2d(4), nn.ReLU()]
        channels = 4
    return nn.Sequential(*parts)


@pytest.mark.parametrize(
    "layers",
    [[(3, 1, 1)], [(5, 1, 1), (3, 1, 1)], [(3, 2, 1), (3, 2, 1), (3, 1, 1)], [(3, 1, 4), (7, 2, 1), (3, 1, 2)]],
)
def test_stacks_have_the_size_of_the_formula(layers):
    size, jump = 1, 1
    for kernel, stride, dilation in layers:
        size, jump = size + dilation * (kernel - 1) * jump, jump * stride
    seen = receptive_field(stack(*layers), 64)
    assert extent(seen) == (size, size)


NETS = {
    "stride": lambda: stack((3, 2, 1), (3, 1, 1)),
    "gaps": lambda: stack((3, 1, 2)),  # looks at every other pixel only
    "pool": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 2, 3, padding=1)
    ),
    "two pools": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.MaxPool2d(3, 1, 1)
    ),
    "enlarged": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.ConvTranspose2d(4, 3, 4, 2, 1)),
}


@pytest.mark.parametrize("name", NETS)
def test_it_is_what_changing_pixels_shows(name, rng):
    net, size = NETS[name]().double().eval(), 14
    at = (net(torch.zeros(1, 3, size, size).double()).shape[-1] // 2,) * 2
    seen = receptive_field(net, size, at=at)
    changed = torch.zeros(size, size, dtype=torch.bool)
    with torch.no_grad():
        for _ in range(40):  # ReLUs and pooling hide pixels from some inputs
            x = 3 * torch.randn(1, 3, size, size, generator=rng, dtype=torch.float64)
            answer = net(x)[0, :, at[0], at[1]]
            many = x.repeat(size * size, 1, 1, 1)
            for pixel in range(size * size):
                many[pixel, :, pixel // size, pixel % size] += 5 * torch.randn(3, generator=rng, dtype=torch.float64)
            moved = (net(many)[..., at[0], at[1]] != answer).any(1)
            changed |= moved.reshape(size, size)
    assert torch.equal(seen, changed)


def test_the_network_stays_as_it_was(rng):
    net = stack((3, 1, 1))
    before = {key: value.clone() for key, value in net.state_dict().items()}
    receptive_field(net, 9)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items()) and net.training


def test_the_box_around_nothing_is_empty():
    seen = torch.zeros(5, 6, dtype=torch.bool)
    assert extent(seen) == (0, 0)
    seen[1, 2] = seen[3, 2] = True
    assert extent(seen) == (3, 1)


def test_dilated_max_pooling_is_refused():
    with pytest.raises(ValueError, match="dilation"):
        receptive_field(nn.Sequential(nn.MaxPool2d(2, dilation=2)), 9)
