"""Denoising networks: sizes, receptive fields and layers as the papers and the released code have them."""

import numpy as np
import pytest
import torch
from torch import nn

from restore_lib.denoising.denoiser import BORDER, Denoiser
from restore_lib.denoising.dncnn import DnCNN
from restore_lib.denoising.recipes import SmallDenoiser, middle, warm_cosine
from restore_lib.training import at_tier
from restore_lib.training.architectures import build


def test_the_released_denoiser_has_as_many_parameters_as_the_released_file():
    assert sum(p.numel() for p in Denoiser().parameters()) == 1_033_443


@pytest.mark.parametrize(("height", "width"), [(12, 16), (48, 48), (40, 64)])
def test_it_takes_three_pixels_off_each_side(height, width):
    assert Denoiser()(torch.rand(2, 3, height, width)).shape == (2, 3, height - 6, width - 6)


@pytest.mark.parametrize("size", [(8, 8), (46, 48), (48, 50)])
def test_it_refuses_other_sizes(size):
    with pytest.raises(ValueError, match="multiples of 4"):
        Denoiser()(torch.rand(1, 3, *size))


def test_it_starts_from_the_noisy_image_when_the_last_layer_is_zero(rng):
    net = Denoiser()
    nn.init.zeros_(net.last.weight)
    nn.init.zeros_(net.last.bias)
    x = torch.rand(1, 3, 24, 20, generator=rng)
    torch.testing.assert_close(net(x), x[..., BORDER:-BORDER, BORDER:-BORDER])


def test_initial_weights_are_caffes():
    net = Denoiser()
    bound = np.sqrt(3 / (128 * 9))
    weight = net.encode_3.conv.weight
    assert weight.abs().max() <= bound and weight.std().item() == pytest.approx(bound / np.sqrt(3), rel=0.02)
    # A deconvolution's blob is (in, out, k, k): Caffe divides by out * k * k.
    assert net.up_3.weight.abs().max().item() == pytest.approx(np.sqrt(3 / (32 * 16)), rel=0.01)
    assert (net.first.bias == 0.2).all() and (net.up_3.bias == 0).all()


@pytest.mark.parametrize("norm", [False, True])
def test_dncnn_starts_close_to_leaving_the_image_as_it_is(norm, rng):
    x = torch.rand(1, 3, 16, 18, generator=rng)
    assert (DnCNN(5, 8, norm=norm)(x) - x).abs().max() < 0.2


@pytest.mark.parametrize("depth", [2, 5, 9])
def test_dncnns_receptive_field_is_what_the_docstring_says(depth):
    net = DnCNN(depth, 4, norm=False).double()
    size = 4 * depth + 9
    x = torch.rand(1, 3, size, size, dtype=torch.float64, requires_grad=True)
    net(x)[0, 0, size // 2, size // 2].backward()
    reached = x.grad[0].abs().sum((0, 1)).nonzero()
    assert reached.max() - reached.min() + 1 <= 2 * depth + 1


def test_dncnn_has_the_papers_layers():
    net = DnCNN(17, 64)
    assert len(net.convs) == 17 and sum(isinstance(n, nn.BatchNorm2d) for n in net.norms) == 15
    with pytest.raises(ValueError, match="at least 2"):
        DnCNN(1)


def test_the_recipe_builds_what_its_card_will_say():
    for tier in ("smoke", "cpu", "gpu"):
        recipe = at_tier(SmallDenoiser, tier)
        net = build(recipe.architecture())
        assert len(net.convs) == recipe.depth and net.convs[0].out_channels == recipe.width


def test_the_learning_rate_rises_in_a_line_and_falls_in_half_a_cosine():
    factor = warm_cosine(1000, 100)
    assert factor(0) == pytest.approx(0.01) and factor(49) == pytest.approx(0.5)
    assert factor(500) == pytest.approx(0.5) and factor(1000) == pytest.approx(0, abs=1e-12)
    values = [factor(t) for t in range(1001)]
    assert max(values) < 1 and np.argmax(values) in range(80, 105)


def test_the_middle_of_a_photo():
    photo = torch.arange(35.0).reshape(1, 5, 7)
    assert middle(photo, 3).tolist() == [[[9, 10, 11], [16, 17, 18], [23, 24, 25]]]
    assert torch.equal(middle(photo, 9), photo)
