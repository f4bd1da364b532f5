"""References of chapter 9 against the library's own functions and sums written out."""

import numpy as np
import pytest
import torch

from restore_lib import noise
from restore_lib.realsr import noise_pool
from restore_lib.realsr.noise_pool import NoisePool, NoiseRule, find_patches, luma_variance
from restore_lib.teaching import check
from restore_lib.teaching.checks import all_exercises

RULE, MEANS, LAGS, STRENGTH = (all_exercises()[f"9.{number}"] for number in (1, 2, 3, 4))


@pytest.fixture
def drawn(rng):
    """Fresh inputs of an exercise, three times."""
    return lambda exercise: [exercise.inputs(rng) for _ in range(3)]


def test_the_rule_one_patch_at_a_time(drawn):
    for patches, variance, mean in drawn(RULE):
        kept = []
        for patch in 255 * patches.double().numpy():
            grey = (0.299 * patch[0] + 0.587 * patch[1] + 0.114 * patch[2]).ravel()
            level = sum(grey) / len(grey)
            kept.append(bool(sum((grey - level) ** 2) / len(grey) < variance and level > mean))
        assert RULE.reference(patches, variance, mean).tolist() == kept
        assert 0 < sum(kept) < len(kept)


def test_the_rule_is_the_librarys_but_for_its_rounding(rng):
    photos = [
        noise.gaussian(torch.full((3, 32, 32), level), sigma, rng)
        for level, sigma in ((0.5, 3.0), (0.5, 12.0), (0.1, 3.0))
    ]
    rule = NoiseRule(patch=32, stride=32, mean=50.0)
    ours = [find_patches(photo, rule)[0].kept for photo in photos]
    assert RULE.reference(torch.stack(photos), 20.0, 50.0).tolist() == ours == [True, False, False]


def test_crops_without_means_are_what_the_pool_gives(drawn, rng):
    for (crops,) in drawn(MEANS):
        torch.testing.assert_close(MEANS.reference(crops), noise_pool.without_mean(crops))
    patch = torch.rand(3, 8, 8, generator=rng)
    whole = NoisePool([patch], ["one"]).sample(8, 1, rng)
    torch.testing.assert_close(MEANS.reference(patch[None]), whole)


def test_the_autocorrelation_pair_by_pair(drawn):
    for x, reach in drawn(LAGS):
        y = x.double().numpy() - x.double().mean().item()
        height, width = y.shape
        for i in range(reach + 1):
            for j in range(reach + 1):
                expected = (y[: height - i, : width - j] * y[i:, j:]).mean() / (y**2).mean()
                assert float(LAGS.reference(x, reach)[i, j]) == pytest.approx(expected, abs=1e-5)
        ours = noise_pool.autocorrelation(x[None, None], reach)[reach:, reach:]
        np.testing.assert_allclose(LAGS.reference(x, reach), ours, atol=1e-5)


def test_the_strength_of_luma_from_the_covariance(drawn):
    weights = np.array([0.299, 0.587, 0.114])
    for sigma, rho in drawn(STRENGTH):
        covariance = sigma**2 * (rho + (1 - rho) * np.eye(3))
        assert STRENGTH.reference(sigma, rho) ** 2 == pytest.approx(weights @ covariance @ weights)
    assert STRENGTH.reference(7.0, 0.0) ** 2 == pytest.approx(luma_variance(7.0))
    assert STRENGTH.reference(7.0, 1.0) == pytest.approx(7.0)


@pytest.mark.parametrize("exercise", [RULE, MEANS, LAGS, STRENGTH], ids=lambda exercise: exercise.id)
def test_each_mistake_is_met_with_its_own_hint(exercise):
    assert check(exercise.id, exercise.reference, seed=1).passed
    for mistake, words in exercise.mistakes:
        result = check(exercise.id, mistake, seed=1)
        assert not result.passed and words in result.message
