"""Where pixels lie: checked with fractions, at sizes where rounding is easy to get wrong."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from restore_lib.implicit import coordinates

SIZES = st.integers(1, 70)


def centre(i, n):
    return Fraction(2 * i + 1, n) - 1


@settings(deadline=None, max_examples=80)
@given(SIZES, SIZES)
def test_nearest_is_nearest_and_offsets_stay_within_a_pixel(small, large):
    axis = coordinates.nearest(small, large)
    for i, (index, offset) in enumerate(zip(axis.index[0].tolist(), axis.offset[0].tolist(), strict=True)):
        away = [abs(centre(i, large) - centre(j, small)) for j in range(small)]
        assert away[index] == min(away)
        assert offset == pytest.approx(float((centre(i, large) - centre(index, small)) * small), abs=1e-12)
        assert abs(offset) <= 1


@pytest.mark.parametrize(("small", "large"), [(5, 13), (5, 17), (3, 8), (7, 31)])
def test_plain_nearest_would_leave_the_pixel(small, large):
    index = functional.interpolate(torch.arange(small).double()[None, None], size=large, mode="nearest")[0, 0]
    wrong = [float((centre(i, large) - centre(int(j), small)) * small) for i, j in enumerate(index)]
    assert max(map(abs, wrong)) > 1
    assert coordinates.nearest(small, large).offset.abs().max() < 1
    if (small, large) == (5, 13):
        assert max(map(abs, wrong)) == pytest.approx(1.23, abs=0.005)


@settings(deadline=None, max_examples=80)
@given(SIZES, SIZES)
def test_the_containing_pixel_and_the_way_in_add_up_to_the_corner(small, large):
    axis = coordinates.containing(small, large)
    for i, (index, offset) in enumerate(zip(axis.index[0].tolist(), axis.offset[0].tolist(), strict=True)):
        assert index == Fraction(i * small, large).__floor__() and 0 <= offset < 1
        assert index + offset == pytest.approx(i * small / large, abs=1e-12)


@settings(deadline=None, max_examples=80)
@given(SIZES, SIZES)
def test_around_are_the_neighbours_that_linear_interpolation_has(small, large):
    axis = coordinates.around(small, large)
    for i in range(large):
        place = Fraction((2 * i + 1) * small, 2 * large) - Fraction(1, 2)  # in small pixels, 0 at the first centre
        expected = [min(max(place.__floor__() + side, 0), small - 1) for side in (0, 1)]
        assert axis.index[:, i].tolist() == expected
        for index, offset in zip(expected, axis.offset[:, i].tolist(), strict=True):
            assert offset == pytest.approx(float(2 * (place - index)), abs=1e-6 * small)


@pytest.mark.parametrize("rule", [coordinates.nearest, coordinates.containing, coordinates.around])
@pytest.mark.parametrize("n", [1, 2, 9, 48])
def test_at_scale_1_each_pixel_is_its_own(rule, n):
    axis = rule(n, n)
    assert axis.index[0].tolist() == list(range(n))
    assert axis.offset[0].abs().max() < 1e-5


def test_a_part_of_an_axis():
    axis = coordinates.around(4, 9)
    part = axis.part(torch.tensor([7, 0]))
    assert torch.equal(part.index, axis.index[:, [7, 0]]) and torch.equal(part.offset, axis.offset[:, [7, 0]])
