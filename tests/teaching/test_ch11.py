"""References of chapter 11 against sums written out, NumPy's fits and blurs of real pictures."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from restore_lib.realsr.zssr import BICUBIC, RateControl
from restore_lib.resampling import imresize
from restore_lib.teaching import check
from restore_lib.teaching.checks import all_exercises

BACK, SLOPE, PAIR, WIDTHS = (all_exercises()[f"11.{number}"] for number in (1, 2, 3, 4))


@pytest.fixture
def drawn(rng):
    """Fresh inputs of an exercise, three times."""
    return lambda exercise: [exercise.inputs(rng) for _ in range(3)]


def reduced(image, kernel):
    """By SciPy: correlate with the border mirrored, keep every second pixel."""
    even = [1 - n % 2 for n in kernel.shape]  # SciPy lays an even kernel's later middle cell on the pixel
    found = [
        ndimage.correlate(plane, kernel.double().numpy(), mode="reflect", origin=[-e for e in even])[::2, ::2]
        for plane in image.double().numpy()
    ]
    return torch.from_numpy(np.stack(found))


def test_back_projection_by_scipy(drawn):
    for sr, lr, kernel in drawn(BACK):
        expected = sr.double() + imresize(lr.double() - reduced(sr, kernel), scale=2)
        assert expected.min() > 0 and expected.max() < 1, "nothing is clipped, so readers need not clip"
        found = BACK.reference(sr, lr, kernel)
        torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)
        miss = [(reduced(x, kernel) - lr).abs().mean() for x in (sr, found)]
        assert miss[1] < miss[0]


def test_the_slope_rule_is_numpys_and_the_librarys_own(drawn):
    for steps, errors in drawn(SLOPE):
        found = SLOPE.reference(steps, errors)
        for row, falls in zip(errors.numpy(), found.tolist(), strict=True):
            (slope, _), covariance = np.polyfit(steps.numpy(), row, 1, cov=True)
            assert falls == (-1.5 * slope < covariance[0, 0] ** 0.5)
            control = RateControl(BICUBIC)
            for step, error in zip(steps.tolist(), row.tolist(), strict=True):
                control.steps.append(step)
                control.errors.append(error)
            control.after(1199 + 60 * 4)
            assert bool(control.changes) == falls
        assert 0.1 < found.double().mean() < 0.9


def test_an_answer_by_polyfit_passes():
    def falls(steps, errors):
        fits = [np.polyfit(steps.numpy(), row, 1, cov=True) for row in errors.numpy()]
        return [-1.5 * line[0] < cov[0, 0] ** 0.5 for line, cov in fits]

    assert check("11.2", falls).passed


def test_the_pair_by_scipy(drawn):
    for photo, kernel in drawn(PAIR):
        start, target = PAIR.reference(photo, kernel)
        assert torch.equal(target, photo)
        torch.testing.assert_close(start.double(), imresize(reduced(photo, kernel), scale=2), rtol=0, atol=1e-5)


def test_the_share_is_that_of_waves_blurred_and_sharpened(drawn):
    """A wave through a Gaussian of SciPy's, then through the inverse of another, for one frequency at a time."""
    for true, assumed, frequencies, _ in drawn(WIDTHS):
        for i in (2, 6, 11):  # beyond, a sampled Gaussian is not quite one
            count = 400
            wave = np.cos(2 * math.pi * float(frequencies[i]) * (np.arange(count) - count // 2))
            amplitudes = [
                ndimage.gaussian_filter1d(wave, width, truncate=8)[count // 2] for width in (true, max(assumed, 0.7))
            ]
            power = torch.zeros_like(frequencies)
            power[i] = 3.0
            share = WIDTHS.reference(true, max(assumed, 0.7), frequencies, power)
            assert float(share) == pytest.approx((amplitudes[0] / amplitudes[1] - 1) ** 2, rel=0.05, abs=2e-3)


def test_too_wide_costs_more_than_too_narrow(drawn):
    for true, _, frequencies, power in drawn(WIDTHS):
        for off in (0.1, 0.3, 0.5):
            narrow, wide = (float(WIDTHS.reference(true, true + d, frequencies, power)) for d in (-off, off))
            assert narrow < wide and narrow < 1
