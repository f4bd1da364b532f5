"""Whole photos through RRDBNet: the fast form against the plain one, windows without seams, and what is refused."""

import math

import pytest
import torch
from torch.nn import functional

from restore_lib import nets
from restore_lib.fast.tiling import upscale
from restore_lib.nets.rrdbnet import RRDBNet
from restore_lib.training import precision


def lively(scale=4, blocks=2, seed=0):
    """A small network whose dense blocks do something, unlike freshly started ones."""
    network = RRDBNet(blocks, 8, 4, scale)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in network.parameters():
            spread = (2 / p[0].numel()) ** 0.5 if p.ndim > 1 else 0.1
            p.copy_(spread * torch.randn(p.shape, generator=generator))
    return network.eval()


@torch.no_grad()
def plain(network, lr):
    """RRDBNet as its papers write it, and other networks as they are."""
    if not isinstance(network, RRDBNet):
        return network(lr[None])[0]
    active = lambda y: functional.leaky_relu(y, 0.2)  # noqa: E731
    x = shallow = network.first(lr[None])
    for group in network.blocks:
        y = x
        for block in group.dense:
            seen = y
            for conv in block.convs[:4]:
                seen = torch.cat([seen, active(conv(seen))], 1)
            y = y + 0.2 * block.convs[4](seen)
        x = x + 0.2 * y
    x = shallow + network.body(x)
    for up in network.ups:
        x = active(up(functional.interpolate(x, scale_factor=2)))
    return network.last(active(network.detail(x)))[0]


def decibel(found, expected):
    """PSNR against the spread of what is expected, so that a network's gain does not matter."""
    return -10 * math.log10(((found - expected) ** 2).mean() / expected.var())


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("size", [(17, 22), (1, 1), (3, 40)])
def test_the_fast_form_is_the_plain_one(scale, size, rng):
    network, lr = lively(scale), torch.rand(3, *size, generator=rng)
    expected = plain(network, lr)
    found = upscale(network, lr)
    assert found.shape == (3, scale * size[0], scale * size[1])
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5 * float(expected.abs().max()))


def test_weights_of_the_network_are_not_changed_or_kept(rng):
    network, lr = lively(), torch.rand(3, 9, 9, generator=rng)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    upscale(network, lr, precision="bf16")
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert isinstance(network.first.weight, torch.nn.Parameter) and network.first.weight.requires_grad


def test_bfloat16_is_near(rng, monkeypatch):
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)
    network, lr = lively(), torch.rand(3, 24, 20, generator=rng)
    found = upscale(network, lr, precision="bf16")
    expected = plain(network, lr)
    assert not torch.equal(found, upscale(network, lr)) and decibel(found, expected) > 30
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: False)
    assert torch.equal(upscale(network, lr, precision="bf16"), upscale(network, lr))


@pytest.mark.parametrize("make", [lambda: lively(blocks=1), lambda: nets.EDSR(1, 6, 1.0, 3).eval()])
def test_windows_are_the_whole_where_they_see_all_that_counts(make, rng):
    network, lr, told = make(), torch.rand(3, 61, 140, generator=rng), []
    # one block looks less than 20 pixels far, and half of the overlap is context
    found = upscale(network, lr, tile=90, overlap=40, progress=lambda *count: told.append(count))
    expected = plain(network, lr)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5 * float(expected.abs().max()))
    assert told == [(i + 1, 6) for i in range(6)]


def test_memory_is_that_of_a_window(rng):
    network, seen = lively(), []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[2:]))
    upscale(network, torch.rand(3, 50, 90, generator=rng), tile=32, overlap=8)
    assert max(max(size) for size in seen) == 32 and len(seen) == 3 * 5


def test_what_cannot_be_is_refused(rng):
    lr = torch.rand(3, 8, 8, generator=rng)
    for network, options, words in (
        (lively().train(), {}, "training mode"),
        (nets.EDSR(1, 4).eval(), {}, "no upsampler"),
        (lively(), {"precision": "fp8"}, "exact, bf16"),
        (lively(), {"tile": 16, "overlap": 8}, "overlap"),
    ):
        with pytest.raises(ValueError, match=words):
            upscale(network, lr, **options)
