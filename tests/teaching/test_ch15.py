"""References of chapter 15 against sums over single pixels, and gradient descent that is really run."""

from fractions import Fraction
from math import floor

import pytest
import torch

from restore_lib.teaching import check
from restore_lib.teaching.checks import all_exercises

LOCAL, MODULATED, OWNERS, LEFT = (all_exercises()[f"15.{number}"] for number in (1, 2, 3, 4))


def in_fractions(small, large):
    """Owner and local coordinate of each large pixel, without rounding."""
    for i in range(large):
        place = Fraction(2 * i + 1, large) - 1
        owner = floor((place + 1) * small / 2)
        yield owner, small * (place - (Fraction(2 * owner + 1, small) - 1))


@pytest.mark.parametrize("exercise", [LOCAL, OWNERS], ids=lambda exercise: exercise.id)
def test_places_in_fractions(exercise, rng):
    for _ in range(5):
        small, large = exercise.inputs(rng)
        found = exercise.reference(small, large).tolist()
        expected = [pair[exercise is LOCAL] for pair in in_fractions(small, large)]
        assert found == pytest.approx([float(value) for value in expected], abs=1e-12)
        assert large % small, "at whole scales the planted bug does not show"


def test_the_modulated_layer_number_by_number(rng):
    z, p, wm, bm, ws, bs = MODULATED.inputs(rng)
    found = MODULATED.reference(z, p, wm, bm, ws, bs)
    for q in range(len(z)):
        for k in range(len(wm)):
            m = sum(float(a * b) for a, b in zip(wm[k], z[q], strict=True)) + float(bm[k])
            phase = sum(float(a * b) for a, b in zip(ws[k], p[q], strict=True)) + bs[k]
            assert float(found[q, k]) == pytest.approx(max(m, 0) * float(phase.sin()), abs=1e-9)


def test_what_descent_really_leaves(rng):
    """A linear model whose Jacobian has the waves as its singular vectors."""
    speeds, rate, steps = LEFT.inputs(rng)
    n = len(speeds)
    waves = torch.linalg.qr(torch.randn(n, n, generator=rng, dtype=torch.float64)).Q
    jacobian = waves * (n * speeds).sqrt()
    target, weights = torch.randn(n, generator=rng, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    for _ in range(steps):
        weights = weights - rate * 2 / n * jacobian.T @ (jacobian @ weights - target)
    left = (waves.T @ (jacobian @ weights - target)) / (waves.T @ -target)
    assert left.tolist() == pytest.approx(LEFT.reference(speeds, rate, steps).tolist(), abs=1e-6)


def by_rounding(small, large):
    place = (torch.arange(large).double() + 0.5) / large * small - 0.5
    return 2 * (place - place.round())


def by_interpolation(small, large):
    index = torch.arange(small).float()[None, None]
    return torch.nn.functional.interpolate(index, size=large, mode="nearest-exact").flatten()


@pytest.mark.parametrize(("number", "answer"), [("15.1", by_rounding), ("15.3", by_interpolation)])
def test_other_ways_to_write_it_pass(number, answer):
    assert check(number, answer, seed=1).passed
