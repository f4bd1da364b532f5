"""References of chapter 10 against sums written out, SciPy, and other right ways to the same answer."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from restore_lib.realsr.degradation import Degradation, off_centre, turn
from restore_lib.realsr.noise_pool import NoisePool
from restore_lib.resampling import align_kernel, downscale, imresize
from restore_lib.teaching import check
from restore_lib.teaching.checks import all_exercises

PHASE, STEP, LEFT, PAIR = (all_exercises()[f"10.{number}"] for number in (1, 2, 3, 4))


@pytest.fixture
def drawn(rng):
    """Fresh inputs of an exercise, three times, each from a seed of its own."""
    seeds = torch.randint(10**6, (3,), generator=rng).tolist()
    return lambda exercise: [exercise.inputs(torch.Generator().manual_seed(seed)) for seed in seeds]


@pytest.mark.parametrize("number", ["10.1", "10.2", "10.3", "10.4"])
def test_every_known_mistake_is_told_apart(number):
    exercise = all_exercises()[number]
    for answer, words in exercise.mistakes:
        result = check(number, answer, seed=5)
        assert not result.passed and words in result.message
    assert check(number, exercise.reference, seed=5).passed


def test_a_mended_phase_puts_the_ramp_where_it_belongs(drawn):
    """A picture whose value is its column keeps it: output j is the middle of its block."""
    for hr, kernel, scale in drawn(PHASE):
        ramp = torch.arange(72.0).expand(3, 24, 72)
        j = torch.arange(72 // scale)
        inner = slice(5, -5)
        got = PHASE.reference(ramp, kernel, scale)[0, 3]
        assert torch.allclose(got[inner], (scale * j + (scale - 1) / 2)[inner], atol=1e-3)
        assert off_centre(kernel, scale) > 0.3, "the planted bug shows"
        assert hr.shape[1] % scale == hr.shape[2] % scale == 0


def test_other_ways_to_mend_the_phase_pass():
    def by_hand(hr, kernel, scale):
        return downscale(hr, align_kernel(kernel, scale), 1, align=False)[..., ::scale, ::scale]

    assert check("10.1", by_hand).passed
    assert check("10.1", lambda hr, kernel, scale: downscale(hr, align_kernel(kernel, scale), scale)).passed


def test_the_degrade_step_by_scipy(drawn):
    for hr, kernel, patch in drawn(STEP):
        assert off_centre(kernel, 4) < 1e-6 and float(kernel.min()) >= 0
        noise = patch[:, :10, :12].double().numpy()
        for channel, got in enumerate(STEP.reference(hr, kernel, patch)):
            # SciPy counts an even kernel from the cell after its middle; the library from the one before
            blurred = ndimage.correlate(hr[channel].double().numpy(), kernel.numpy(), mode="reflect", origin=-1)
            expected = blurred[::4, ::4] + noise[channel] - noise[channel].mean()
            assert np.allclose(got.numpy(), np.clip(expected, 0, 1), atol=1e-5)


def test_the_librarys_own_step_passes():
    def by_the_library(hr, kernel, patch):
        lr = Degradation(4, [kernel]).reduce(hr, 0)
        pool = NoisePool([patch[:, : lr.shape[1], : lr.shape[2]]], [""])
        return pool.inject(lr[None], torch.Generator())[0]

    assert check("10.2", by_the_library).passed
    assert check("10.2", lambda hr, kernel, patch: STEP.reference(hr, align_kernel(kernel, 4), patch)).passed


def test_what_is_left_of_noise_measured(drawn):
    """Many weighted sums of independent numbers have the standard deviation that the formula says."""
    for kernel, sigma in drawn(LEFT):
        generator = torch.Generator().manual_seed(0)
        sums = sigma * torch.randn(20_000, kernel.numel(), generator=generator, dtype=torch.float64) @ kernel.flatten()
        assert float(LEFT.reference(kernel, sigma)) == pytest.approx(float(sums.std()), rel=0.03)


def test_a_pair_stays_together(drawn):
    for inputs in drawn(PAIR):
        hr, lr = PAIR.reference(*inputs)
        assert hr.shape == (3, 32, 32) and lr.shape == (3, 8, 8)
        assert torch.allclose(imresize(hr, scale=0.25)[:, 2:-2, 2:-2], lr[:, 2:-2, 2:-2], atol=1e-5)


def test_the_librarys_own_turn_passes():
    def by_the_library(hr, lr, top, left, size, mirror, transpose):
        crops = ((4, hr), (1, lr))
        return tuple(
            turn(x[:, k * top : k * (top + size), k * left : k * (left + size)], [mirror, False, transpose])
            for k, x in crops
        )

    assert check("10.4", by_the_library).passed


def test_five_seeds_in_a_row_have_every_setting():
    found = {PAIR.inputs(torch.Generator().manual_seed(seed))[5:] for seed in range(3, 8)}
    assert len(found) == 4
    assert {PHASE.inputs(torch.Generator().manual_seed(seed))[2] for seed in range(3, 8)} == {2, 3, 4}
