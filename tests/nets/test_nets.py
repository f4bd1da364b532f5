"""Encoders: sizes that papers and official code give, and every layer against the paper's formula."""

import pytest
import torch

from restore_lib import nets
from restore_lib.nets.edsr import MEAN
from restore_lib.pretrained import build, describe


def parameters(net):
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(
    ("scale", "baseline", "full"),
    [(2, 1_369_859, 40_729_603), (3, 1_554_499, 43_680_003), (4, 1_517_571, 43_089_923), (None, 1_220_416, 38_362_368)],
)
def test_edsr_has_as_many_parameters_as_the_official_networks(scale, baseline, full):
    with torch.device("meta"):  # counted, not filled
        assert parameters(nets.edsr_baseline(scale)) == baseline
        assert parameters(nets.edsr_full(scale)) == full


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_edsr_enlarges_and_starts_from_the_mean_colour_when_the_last_layer_is_zero(scale, rng):
    net = nets.EDSR(2, 8, 0.1, scale)
    torch.nn.init.zeros_(net.tail.weight)
    torch.nn.init.zeros_(net.tail.bias)
    sr = net(torch.rand(2, 3, 5, 6, generator=rng))
    assert sr.shape == (2, 3, 5 * scale, 6 * scale)
    torch.testing.assert_close(sr, torch.tensor(MEAN)[:, None, None].expand_as(sr))


def test_edsrs_blocks_do_nothing_at_residual_scale_zero(rng):
    net = nets.EDSR(3, 8, 0.0)
    x = torch.rand(1, 3, 5, 6, generator=rng)
    shallow = net.head(x)
    torch.testing.assert_close(net(x), net.body(shallow) + shallow)


def test_it_says_how_many_channels_come_out():
    assert nets.EDSR(1, 8).channels == 8 and nets.EDSR(1, 8, scale=2).channels == 3


def test_it_refuses_what_does_not_exist():
    with pytest.raises(ValueError, match="2, 3, 4 or None"):
        nets.EDSR(scale=5)


def test_cards_can_name_them():
    assert build(describe(nets.EDSR, blocks=1, scale=2)).scale == 2
