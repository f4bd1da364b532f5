"""Indices without a reference: what white noise has, what blur does, and what happens without the package."""

import sys

import numpy as np
import pytest
import torch

from restore_lib import data, no_reference
from restore_lib.errors import DataError
from restore_lib.resampling import imresize


@pytest.fixture
def forgotten():
    """The package is looked for anew."""
    no_reference._brisque.cache_clear()
    yield
    no_reference._brisque.cache_clear()


@pytest.mark.parametrize("sigma", [3.0, 20.0])
def test_white_noise_has_its_own_level_and_interpolated_noise_none(sigma, rng):
    ramp = torch.linspace(0.2, 0.8, 128).expand(3, 128, 128)
    noisy = ramp + sigma / 255 * torch.randn(3, 128, 128, generator=rng)
    assert no_reference.noise_level(noisy) == pytest.approx(sigma, rel=0.08)
    assert no_reference.noise_level(imresize(noisy, scale=4)) < 0.1 * sigma
    assert no_reference.noise_level(ramp) < 0.01
    noisy[1:] = 0.5  # two colours without anything
    assert no_reference.noise_level(noisy) == pytest.approx(sigma / 3, rel=0.12)


def test_a_blurred_photo_is_blurred_and_noise_counts_as_sharp(rng):
    photo = data.open("embedded")["chelsea"].image[:, :160, :200]
    smaller = imresize(imresize(photo, scale=1 / 4), scale=4)
    noisy = smaller + 0.1 * torch.randn(smaller.shape, generator=rng)
    values = [no_reference.blur(x.clamp(0, 1)) for x in (noisy, photo, smaller)]
    assert 0 <= values[0] < values[2] <= 1 and values[1] < values[2]
    with pytest.raises(ValueError, match="one colour"):
        no_reference.blur(torch.full((3, 40, 40), 0.5))


def test_brisque_says_what_to_install(monkeypatch, forgotten):
    monkeypatch.setitem(sys.modules, "brisque", None)
    with pytest.raises(DataError, match="pip install brisque"):
        no_reference.brisque(torch.zeros(3, 64, 64))


def test_brisque_judges_the_photo_and_its_half(monkeypatch, forgotten, rng):
    """Features go from the package to its regression as plain numbers, those of the photo first."""
    seen = []

    class Package:
        def __init__(self, url):
            assert url is False

        def calculate_brisque_features(self, grey, kernel_size, sigma):
            seen.append(grey.shape)
            return np.array([grey.mean(), np.array([float(kernel_size)])], dtype=object)

        def calculate_image_quality_score(self, features):
            assert features.dtype == np.float64 and features.shape == (4,)
            return features[0] * 100

    monkeypatch.setitem(sys.modules, "brisque", type(sys)("brisque"))
    sys.modules["brisque"].BRISQUE = Package
    photo = torch.rand(3, 64, 80, generator=rng)
    weights = torch.tensor([0.2125, 0.7154, 0.0721])[:, None, None]
    expected = 100 * float(((photo * 255).round() / 255 * weights).sum(0).mean())
    assert no_reference.brisque(photo) == pytest.approx(expected, abs=1e-3) and seen == [(64, 80), (32, 40)]
    for wrong in (torch.rand(3, 31, 80, generator=rng), torch.full((3, 64, 64), 0.5)):
        with pytest.raises(ValueError):
            no_reference.brisque(wrong)


def test_brisque_finds_noise_and_blur_worse_than_the_photo(forgotten, rng):
    pytest.importorskip("brisque", reason="an optional package")
    photo = data.open("embedded")["chelsea"].image
    noisy = (photo + 25 / 255 * torch.randn(photo.shape, generator=rng)).clamp(0, 1)
    soft = imresize(imresize(photo, scale=1 / 4), size=tuple(photo.shape[-2:])).clamp(0, 1)
    clean, *spoilt = (no_reference.brisque(x) for x in (photo, noisy, soft))
    assert clean + 20 < min(spoilt) and max(spoilt) < 120
