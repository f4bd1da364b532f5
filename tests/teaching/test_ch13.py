"""References of chapter 13 against simulation, loops over pixels, and pairs of the library."""

import numpy as np
import pytest
import torch

from restore_lib.realsr.degradation import Degradation, Pair, PairedData
from restore_lib.realsr.dsgan import high
from restore_lib.realsr.noise_pool import NoisePool
from restore_lib.teaching import check
from restore_lib.teaching.checks import all_exercises

MISMATCH, PAIR, LEAKS, SEPARATED = (all_exercises()[f"13.{number}"] for number in (1, 2, 3, 4))


@pytest.fixture
def drawn(rng):
    """Fresh inputs of an exercise, three times."""
    return lambda exercise: [exercise.inputs(rng) for _ in range(3)]


def test_the_error_of_a_filter_is_that_of_waves_and_noise(drawn):
    """Waves of two signs and noise of two signs have exactly the moments that the formula uses."""
    for power, blur, noise, assumed_blur, assumed_noise in drawn(MISMATCH):
        gain = power * assumed_blur / (power * assumed_blur**2 + assumed_noise)
        squares = [
            (gain * (blur * a * power.sqrt() + b * noise.sqrt()) - a * power.sqrt()) ** 2
            for a in (-1, 1)
            for b in (-1, 1)
        ]
        expected = float(sum(x.sum() for x in squares)) / 4
        found = float(MISMATCH.reference(power, blur, noise, assumed_blur, assumed_noise))
        assert found == pytest.approx(expected, rel=1e-9)


def test_no_assumption_beats_the_truth(drawn):
    for power, blur, noise, assumed_blur, assumed_noise in drawn(MISMATCH):
        best = MISMATCH.reference(power, blur, noise, blur, noise)
        assert best <= MISMATCH.reference(power, blur, noise, assumed_blur, assumed_noise) + 1e-12


def test_the_pair_is_the_librarys(drawn):
    """A crop with the whole patch as noise, drawn by the loader: no other noise of that size is in the pool."""
    for hr, patch in drawn(PAIR):
        hr, patch = hr[:, :, : hr.shape[1]], patch[:, :, : patch.shape[1]]  # crops are square
        pair = Pair("one", hr, Degradation(4).reduce(hr))
        made = PairedData([pair], NoisePool([patch], ["one"]), 4).crops(0, batch=1, size=hr.shape[1], turned=False)
        expected = PAIR.reference(hr, patch)
        for a, b in zip(made, expected, strict=True):
            assert torch.allclose(a[0], b, atol=1e-6)


def test_leaks_are_found_by_looking_everywhere(drawn):
    for train, test in drawn(LEAKS):
        found = LEAKS.reference(train, test)
        assert int(found.sum()) == 8
        for crop, leaked in zip(test.numpy(), found.tolist(), strict=True):
            positions = [np.rot90(x, k, (1, 2)) for x in (crop, crop[:, :, ::-1]) for k in range(4)]
            windows = np.lib.stride_tricks.sliding_window_view(train.numpy(), crop.shape, (1, 2, 3))
            assert leaked == any((np.abs(windows - x).max((-3, -2, -1)) < 1e-3).any() for x in positions)


def test_low_and_high_frequencies_pixel_by_pixel(drawn):
    for (x,) in drawn(SEPARATED):
        low, rest = SEPARATED.reference(x)
        assert torch.allclose(low + rest, x, atol=1e-6)
        assert torch.allclose(rest, high(x), atol=1e-6)
        for row, column in ((0, 0), (4, 5), (8, 1)):
            inside = x[..., max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3].mean((2, 3))
            assert torch.allclose(low[..., row, column], inside, atol=1e-6)


def noise_first_mean_later(hr, patch):
    from restore_lib.resampling import imresize

    lr = imresize(hr, scale=1 / 4).clamp(0, 1)
    return hr.clone(), torch.clamp(lr + patch - patch.mean((1, 2), keepdim=True), 0, 1)


def test_other_ways_to_write_it_pass():
    assert check("13.2", noise_first_mean_later).passed


def test_what_is_no_pair_is_met_with_one_sentence():
    assert "fails with" in check("13.2", lambda hr, patch: 3).message
