"""RRDBNet: the papers' formula in float64, how it starts, and names in three kinds of files."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from restore_lib.nets.rrdbnet import DenseBlock, RRDBNet
from restore_lib.pretrained import build, describe, load_author_weights


def test_it_has_as_many_parameters_as_published():
    with torch.device("meta"):  # counted, not filled
        assert sum(p.numel() for p in RRDBNet().parameters()) == 16_697_987


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_without_dense_convolutions_each_block_multiplies_by_six_fifths(scale, rng):
    net = RRDBNet(3, 6, 4, scale).double()
    for name, parameter in net.named_parameters():
        if ".convs." in name:
            nn.init.zeros_(parameter)
    lr = torch.rand(2, 3, 5, 7, generator=rng, dtype=torch.float64)
    x = net.first(lr)
    x = x + net.body(1.2**3 * x)
    for up in net.ups:
        x = functional.leaky_relu(up(x.repeat_interleave(2, 2).repeat_interleave(2, 3)), 0.2)
    expected = net.last(functional.leaky_relu(net.detail(x), 0.2))
    torch.testing.assert_close(net(lr), expected)
    assert expected.shape == (2, 3, 5 * scale, 7 * scale)


def test_a_dense_block_is_the_papers(rng):
    block = DenseBlock(5, 3).double()
    x = torch.randn(2, 5, 6, 4, generator=rng, dtype=torch.float64)
    seen = x
    for i in range(4):
        weight, bias = block.convs[i].weight, block.convs[i].bias
        assert weight.shape == (3, 5 + 3 * i, 3, 3)
        y = functional.conv2d(seen, weight, bias, padding=1)
        seen = torch.cat([seen, torch.where(y > 0, y, 0.2 * y)], 1)
    y = functional.conv2d(seen, block.convs[4].weight, block.convs[4].bias, padding=1)
    torch.testing.assert_close(block(x), x + y / 5)


def test_dense_blocks_alone_start_from_a_tenth_of_kaimings_values():
    net = RRDBNet(2, 32, 16)  # from a fixed seed
    for name, conv in net.named_modules():
        if not isinstance(conv, nn.Conv2d):
            continue
        fan_in = 9 * conv.in_channels
        if ".convs." in name:
            assert conv.weight.std().item() == pytest.approx(0.1 * (2 / fan_in) ** 0.5, rel=0.05)
            assert not conv.bias.any()
        else:  # PyTorch's: uniform up to 1 / sqrt(fan in)
            assert 0.9 < conv.weight.abs().max().item() * fan_in**0.5 <= 1 + 1e-6 and conv.bias.any()


class Skip(nn.Module):
    """ESRGAN's first code: a part of a Sequential with a skip around it."""

    def __init__(self, *parts):
        super().__init__()
        self.sub = nn.Sequential(*parts)

    def forward(self, x):
        return x + self.sub(x)


class TheirDense(nn.Module):
    """Dense block with convolutions under the names conv1 to conv5, in a Sequential each if ``wrapped``."""

    def __init__(self, width, growth, wrapped):
        super().__init__()
        for i in range(5):
            conv = nn.Conv2d(width + i * growth, width if i == 4 else growth, 3, padding=1)
            setattr(self, f"conv{i + 1}", nn.Sequential(conv) if wrapped else conv)

    def forward(self, x):
        seen = x
        for i in range(4):
            seen = torch.cat([seen, functional.leaky_relu(getattr(self, f"conv{i + 1}")(seen), 0.2)], 1)
        return x + 0.2 * self.conv5(seen)


class TheirRRDB(nn.Module):
    def __init__(self, width, growth, name, wrapped):
        super().__init__()
        self.order = [f"{name}{i}" for i in (1, 2, 3)]
        for part in self.order:
            setattr(self, part, TheirDense(width, growth, wrapped))

    def forward(self, x):
        y = x
        for part in self.order:
            y = getattr(self, part)(y)
        return x + 0.2 * y


def conv(width, out=None):
    return nn.Conv2d(width, out or width, 3, padding=1)


def old_esrgan(blocks, width, growth, doublings):
    """The layers of ESRGAN's first code, under its names."""
    trunk = [TheirRRDB(width, growth, "RDB", True) for _ in range(blocks)]
    layers = [conv(3, width), Skip(*trunk, conv(width))]
    for _ in range(doublings):
        layers += [nn.Upsample(scale_factor=2), conv(width), nn.LeakyReLU(0.2)]
    layers += [conv(width), nn.LeakyReLU(0.2), conv(width, 3)]
    return nn.ModuleDict({"model": nn.Sequential(*layers)})


class Named(nn.Module):
    """The layers of the newer codes: ESRGAN's and BasicSR's names differ, the network does not."""

    def __init__(self, blocks, width, growth, doublings, names, dense):
        super().__init__()
        first, trunk, body, up, detail, last = self.names = names
        self.ups = [up.format(i + 1) for i in range(doublings)]
        self.add_module(first, conv(3, width))
        self.add_module(trunk, nn.Sequential(*(TheirRRDB(width, growth, dense, False) for _ in range(blocks))))
        for name in (body, *self.ups, detail):
            self.add_module(name, conv(width))
        self.add_module(last, conv(width, 3))

    def forward(self, x):
        first, trunk, body, _, detail, last = (getattr(self, name, None) for name in self.names)
        x = first(x)
        x = x + body(trunk(x))
        for name in self.ups:
            x = functional.leaky_relu(getattr(self, name)(functional.interpolate(x, scale_factor=2)), 0.2)
        return last(functional.leaky_relu(detail(x), 0.2))


ESRGAN = ("conv_first", "RRDB_trunk", "trunk_conv", "upconv{}", "HRconv", "conv_last")
BASICSR = ("conv_first", "body", "conv_body", "conv_up{}", "conv_hr", "conv_last")
THEIRS = {
    "old-esrgan": lambda *size: old_esrgan(*size)["model"],
    "esrgan": lambda *size: Named(*size, ESRGAN, "RDB"),
    "basicsr": lambda *size: Named(*size, BASICSR, "rdb"),
}


@pytest.mark.parametrize("form", THEIRS)
@pytest.mark.parametrize("doublings", [0, 1, 2])
def test_names_of_every_kind_of_file_lead_to_the_same_network(form, doublings, rng):
    theirs = THEIRS[form](2, 6, 4, doublings)
    prefix = "model." if form == "old-esrgan" else ""
    state = {prefix + key: value for key, value in theirs.state_dict().items()}
    net = RRDBNet(2, 6, 4, 2**doublings)
    load_author_weights(net, state)
    lr = torch.rand(1, 3, 6, 5, generator=rng)
    torch.testing.assert_close(net(lr), theirs(lr))


def test_what_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="1, 2 or 4, got 3"):
        RRDBNet(scale=3)


def test_cards_can_name_it():
    net = build(describe(RRDBNet, blocks=1, width=4, growth=2))
    assert net.scale == 4 and len(net.blocks) == 1
