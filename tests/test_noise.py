"""Noise models against their moments, with bounds from statistics so that fresh seeds pass."""

import math

import pytest
import torch

from restore_lib import data, images, noise

N = 3 * 400 * 400


def flat(value=0.5):
    return torch.full((3, 400, 400), value, dtype=torch.float64)


@pytest.mark.parametrize("sigma", [5, 25, 50.0])
def test_gaussian_has_the_level_it_says(rng, sigma):
    n = noise.gaussian(flat(), sigma, rng) - 0.5
    std = sigma / 255
    assert abs(n.mean()) < 6 * std / math.sqrt(N)
    assert float(n.std()) == pytest.approx(std, rel=6 / math.sqrt(2 * N))
    assert float((n**4).mean()) == pytest.approx(3 * std**4, rel=0.05)  # normal, not just any noise


def test_channels_and_neighbours_are_independent(rng):
    n = noise.gaussian(flat(), 25, rng) - 0.5
    shifted = [(n[0], n[1]), (n[1], n[2]), (n[:, 1:], n[:, :-1]), (n[..., 1:], n[..., :-1])]
    for a, b in shifted:
        correlation = float((a * b).mean() / n.var())
        assert abs(correlation) < 6 / math.sqrt(a.numel())


def test_gaussian_is_neither_clipped_nor_rounded(rng):
    noisy = noise.gaussian(torch.ones(3, 64, 64), 50, rng)
    assert noisy.max() > 1.2
    assert len(noisy.unique()) > 10_000


def test_each_image_of_a_batch_may_have_its_own_level(rng):
    noisy = noise.gaussian(torch.zeros(3, 3, 200, 200), torch.tensor([0.0, 10.0, 40.0]), rng) * 255
    assert noisy[0].abs().max() == 0
    assert [float(x.std()) for x in noisy[1:]] == pytest.approx([10, 40], rel=0.03)


@pytest.mark.parametrize(
    "draw",
    [
        lambda x, g: noise.gaussian(x, 25, g),
        lambda x, g: noise.poisson_gaussian(x, 0.02, 5, g),
    ],
)
def test_one_seed_in_the_same_bits_out(draw):
    x = torch.rand(2, 3, 20, 30)
    first, again, other = (draw(x, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.shape == x.shape and first.dtype == x.dtype


def test_the_generator_moves_on_by_the_same_amount_for_every_level():
    states = []
    for sigma in (0, 25):
        generator = torch.Generator().manual_seed(0)
        noise.gaussian(torch.zeros(3, 8, 8), sigma, generator)
        states.append(generator.get_state())
    assert torch.equal(*states)


@pytest.mark.parametrize("value", [0.05, 0.3, 0.9])
def test_sensor_noise_lies_on_its_line(rng, value):
    gain, read = 0.01, 3.0
    n = noise.poisson_gaussian(flat(value), gain, read, rng) - value
    assert abs(float(n.mean())) < 6 * float(n.std()) / math.sqrt(N)
    assert float(n.var()) == pytest.approx(gain * value + (read / 255) ** 2, rel=0.02)


def test_sensor_noise_counts_whole_photons(rng):
    counted = noise.poisson_gaussian(flat(0.3), 0.01, 0, rng) / 0.01
    torch.testing.assert_close(counted, counted.round(), atol=1e-6, rtol=0)


def test_jpeg_loses_more_at_lower_quality():
    from skimage.data import astronaut

    photo = torch.from_numpy(astronaut()[:128, :128].copy()).permute(2, 0, 1).float() / 255
    errors = [float((noise.jpeg(photo, quality) - photo).square().mean()) for quality in (95, 50, 10)]
    assert errors == sorted(errors) and errors[0] < 1e-3
    assert noise.jpeg(photo[:1], 50).shape == (1, 128, 128)


def test_jpeg_is_what_pillow_writes():
    import io

    import numpy as np
    from PIL import Image
    from skimage.data import chelsea

    stream = io.BytesIO()
    Image.fromarray(chelsea()).save(stream, "JPEG", quality=30)
    expected = torch.from_numpy(np.array(Image.open(stream))).permute(2, 0, 1).float() / 255
    photo = torch.from_numpy(chelsea().copy()).permute(2, 0, 1).float() / 255
    torch.testing.assert_close(noise.jpeg(photo, 30), expected)


def test_gradients_pass_through_additive_noise(rng):
    x = torch.rand(1, 3, 8, 8, requires_grad=True)
    for noisy in (noise.gaussian(x, 25, rng), noise.poisson_gaussian(x, 0.01, 2, rng)):
        (gradient,) = torch.autograd.grad(noisy.sum(), x)
        assert torch.equal(gradient, torch.ones_like(x))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: noise.gaussian(x, -1),
        lambda x: noise.gaussian(x, math.nan),
        lambda x: noise.gaussian(x, torch.tensor([1.0, 2.0])),
        lambda x: noise.poisson_gaussian(x, 0),
        lambda x: noise.poisson_gaussian(x, math.inf),
        lambda x: noise.jpeg(x, 0),
    ],
)
def test_bad_parameters_are_refused(call):
    with pytest.raises(ValueError):
        call(torch.zeros(3, 8, 8))


def textured(size, rng):
    """A smooth picture with grass on its left half: fine dark lines in one direction, grey."""
    coarse = torch.rand(1, 3, 6, 6, generator=rng)
    smooth = torch.nn.functional.interpolate(coarse, size=size, mode="bicubic", align_corners=True)[0]
    lines = torch.nn.functional.interpolate(torch.rand(1, 1, size[0] // 3, size[1], generator=rng), size=size)[0]
    lines[..., size[1] // 2 :] = 0
    return (0.2 + 0.5 * smooth.clamp(0, 1) + 0.2 * lines).clamp(0, 1)


@pytest.mark.parametrize("sigma", [0.0, 2.0, 6.0, 15.0, 40.0])
def test_the_noise_is_told_from_texture(sigma, rng):
    photo = textured((180, 210), rng)
    found = noise.estimate(noise.gaussian(photo, sigma, rng))
    assert found == pytest.approx(sigma, rel=0.06, abs=0.2)
    saved = images.from_uint8(images.to_uint8(noise.gaussian(photo, sigma, rng)))
    assert noise.estimate(saved) == pytest.approx(sigma, rel=0.1, abs=0.4)


@pytest.mark.parametrize("sigma", [5.0, 20.0])
def test_small_and_grey_photos_and_photographs_have_their_noise(sigma, rng):
    photo = data.open("embedded")[0].image
    clean = noise.estimate(photo)
    noisy = noise.gaussian(photo, sigma, rng)
    assert clean < 3
    assert noise.estimate(noisy) == pytest.approx(math.hypot(sigma, clean), rel=0.1)
    assert noise.estimate(images.centre_crop(noisy, 48)) == pytest.approx(sigma, rel=0.2)
    grey = noise.gaussian(photo[1:2], sigma, rng).expand(3, -1, -1)
    assert 0.9 * sigma < noise.estimate(grey) < 1.2 * sigma + 2


def test_jpeg_leaves_most_of_the_estimate(rng):
    photo = images.centre_crop(data.open("embedded")[0].image, 200)
    for quality in (85, 95):
        noisy = noise.gaussian(photo, 20, rng)
        shifted = noise.jpeg(noisy, quality)[:, 3:, 5:]  # its blocks may begin anywhere
        assert 13 < noise.estimate(shifted) < 24
        assert noise.estimate(noise.jpeg(photo, quality)) < 7


def test_one_colour_has_no_noise_and_a_patch_of_pixels_some(rng):
    assert noise.estimate(torch.full((3, 40, 40), 0.3)) == 0
    ramp = torch.linspace(0.2, 0.8, 64).expand(3, 50, 64)
    assert noise.estimate(ramp) < 0.1
    assert 3 < noise.estimate(noise.gaussian(torch.full((3, 12, 12), 0.5), 10, rng)) < 13
