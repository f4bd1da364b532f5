"""Discriminators: sizes, and what one logit sees."""

import pytest
import torch

from restore_lib import realsr
from restore_lib.nets.receptive import extent, receptive_field


def test_they_have_as_many_parameters_as_the_released_ones():
    with torch.device("meta"):
        assert sum(p.numel() for p in realsr.PatchDiscriminator().parameters()) == 2_765_633
        assert sum(p.numel() for p in realsr.VGGDiscriminator().parameters()) == 14_499_401


@pytest.mark.parametrize(("layers", "side"), [(1, 16), (2, 34), (3, 70), (4, 142)])
def test_a_logit_sees_a_patch(layers, side):
    network = realsr.PatchDiscriminator(layers, width=2)
    assert extent(receptive_field(network, 2 * side)) == (side, side)


@pytest.mark.parametrize(("size", "logits"), [((128, 128), (14, 14)), ((70, 133), (6, 14)), ((24, 24), (1, 1))])
def test_patches_of_any_photo_are_judged(size, logits, rng):
    network = realsr.PatchDiscriminator(width=2).eval()
    assert network(torch.rand(2, 3, *size, generator=rng)).shape == (2, 1, *logits)


def test_training_moves_the_batch_norms(rng):
    network = realsr.PatchDiscriminator(width=2)
    before = network.norms[0].running_mean.clone()
    network(torch.rand(2, 3, 64, 64, generator=rng))
    assert not torch.equal(network.norms[0].running_mean, before)


def test_whole_crops_of_one_size_are_judged(rng):
    network = realsr.VGGDiscriminator(width=2, size=64).eval()
    assert network(torch.rand(3, 3, 64, 64, generator=rng)).shape == (3, 1)
    assert network.hidden.in_features == 16 * 2 * 2
    with pytest.raises(ValueError, match="crops must be 64 x 64 pixels, got"):
        network(torch.rand(1, 3, 64, 65, generator=rng))


def test_every_pixel_of_a_crop_counts():
    as_map = torch.nn.Sequential(realsr.VGGDiscriminator(width=1, size=32), torch.nn.Unflatten(1, (1, 1, 1)))
    seen = receptive_field(as_map, 32)
    assert seen.all()


def test_sizes_that_do_not_exist_are_refused():
    for size in (100, 0):
        with pytest.raises(ValueError, match="multiple of 32"):
            realsr.VGGDiscriminator(size=size)
