"""References of chapter 8 against sums written out, two reductions in a row, and pictures that stay in place."""

import numpy as np
import pytest
import torch
from scipy import ndimage, signal

from restore_lib.realsr.kernels import analytic_x4, centre_of_mass
from restore_lib.resampling import downscale, imresize
from restore_lib.teaching import check
from restore_lib.teaching.checks import all_exercises

COMPOSE, X4, SHIFT, SCHEDULE = (all_exercises()[f"8.{number}"] for number in (1, 2, 3, 4))


@pytest.fixture
def drawn(rng):
    """Fresh inputs of an exercise, three times."""
    return lambda exercise: [exercise.inputs(rng) for _ in range(3)]


def test_the_composed_kernel_does_what_both_do_in_turn(drawn, rng):
    for first, second, stride in drawn(COMPOSE):
        x = torch.rand(1, 1, 40, 37, generator=rng, dtype=torch.float64)
        twice = torch.conv2d(torch.conv2d(x, first[None, None], stride=stride), second[None, None])
        once = torch.conv2d(x, COMPOSE.reference(first, second, stride)[None, None], stride=stride)
        torch.testing.assert_close(once, twice)


def test_the_composed_kernel_cell_by_cell(drawn):
    for first, second, stride in drawn(COMPOSE):
        expected = np.zeros(COMPOSE.reference(first, second, stride).shape)
        for u, a in np.ndenumerate(first.numpy()):
            for v, b in np.ndenumerate(second.numpy()):
                expected[u[0] + stride * v[0], u[1] + stride * v[1]] += a * b
        assert np.allclose(COMPOSE.reference(first, second, stride).numpy(), expected)


def test_the_x4_kernel_by_scipy_and_by_the_library(drawn):
    for (kernel,) in drawn(X4):
        spread = np.kron(kernel.numpy(), [[1, 0], [0, 0]])[:-1, :-1]
        whole = signal.convolve2d(kernel.numpy(), spread)
        found = X4.reference(kernel)
        assert np.allclose(found.numpy(), whole / whole.sum()) and found.shape == (19, 19)
        inner = found[3:-3, 3:-3]
        torch.testing.assert_close(inner / inner.sum(), analytic_x4(kernel))


def test_after_the_shift_the_centre_lies_amid_the_block(drawn):
    for kernel, scale in drawn(SHIFT):
        room = torch.nn.functional.pad(kernel, (6, 6, 6, 6))
        moved = torch.from_numpy(ndimage.shift(room.numpy(), SHIFT.reference(kernel, scale).numpy(), order=3))
        wanted = [(n - 1) // 2 + (scale - 1) / 2 for n in room.shape]
        assert centre_of_mass(moved).tolist() == pytest.approx(wanted, abs=0.02)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_ramp_tells_where_a_reduction_looks(scale, rng):
    """Of a ramp every blur is a ramp: only the place counts, and the library's is the middle of each block."""
    kernel = torch.rand(9, 13, generator=rng, dtype=torch.float64)
    kernel = kernel / kernel.sum()
    ramp = torch.arange(20.0 * scale, dtype=torch.float64).repeat(20 * scale, 1)  # along the columns
    moved = float(SHIFT.reference(kernel, scale)[1])
    plain = downscale(ramp, kernel, scale, align=False)[10, 8:12]
    assert torch.allclose(plain + moved, imresize(ramp, scale=1 / scale)[10, 8:12])


def test_the_rule_of_two_phases_written_out(drawn):
    for losses, threshold, every in drawn(SCHEDULE):
        low = [loss < threshold for loss in losses.tolist()]
        third = next(t for t in range(2, 80) if low[t - 2] and low[t - 1] and low[t])
        rows = SCHEDULE.reference(losses, threshold, every)
        for step in range(80):
            checks = sum(third < t <= step for t in range(0, 80, every))
            bicubic = [5, 0.05, 5e-4, 5e-6][min(checks, 3)]
            later = [1.0, 5.0] if checks > 1 else [0.0, 0.0]
            assert rows[step].tolist() == pytest.approx([bicubic, *later], rel=1e-9)


@pytest.mark.parametrize("number", ["8.1", "8.2", "8.3", "8.4"])
def test_mistakes_are_told_apart(number):
    exercise = all_exercises()[number]
    assert check(number, exercise.reference, seed=1).passed
    for mistake, words in exercise.mistakes:
        result = check(number, mistake, seed=1)
        assert not result.passed and words in result.message
