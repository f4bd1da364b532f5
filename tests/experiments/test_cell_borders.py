"""Jumps and errors at cell borders, on pictures whose blocking is known."""

import pytest
import torch

from restore_lib import images
from restore_lib.experiments.paper_c import BORDERS, border_error, border_jump
from restore_lib.resampling import imresize


def blocks(cell, size, rng, strength=1.0):
    """A number for each cell, repeated over its pixels."""
    values = strength * torch.randn(3, size // cell, size // cell, generator=rng)
    return values.repeat_interleave(cell, 1).repeat_interleave(cell, 2)


@pytest.mark.parametrize("cell", [4, 5, 6, 8])
@pytest.mark.parametrize("strength", [0.0, 0.5, 3.0])
def test_blocks_in_noise_jump_as_much_as_they_must(cell, strength, rng):
    size = 80 * cell
    picture = torch.randn(3, size, size, generator=rng) + blocks(cell, size, rng, strength)
    # a jump weighs four pixels of noise by 1/2, 3/2, 3/2, 1/2, and a border's two blocks by 1
    expected = (1 + 2 * strength**2 / 5) ** 0.5
    assert border_jump(picture, cell) == pytest.approx(expected, rel=0.04)


def test_slopes_and_flat_pictures_do_not_jump(rng):
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(40.0), indexing="ij")
    slope = (0.01 * y - 0.02 * x)[None] + torch.zeros(3, 1, 1)
    assert border_jump(slope, 8) == pytest.approx(1, abs=0.05)
    assert border_jump(torch.full((3, 32, 32), 0.3), 4) == 1
    assert border_jump(slope + blocks(8, 40, rng)[:, :32], 8) > 1e4


def test_every_jump_is_where_the_docstring_says():
    for column in range(1, 15):  # one step between columns `column` and `column + 1`: its neighbours see half of it
        picture = torch.zeros(1, 16, 17)
        picture[..., column + 1 :] = 1.0
        borders = [i for i in range(1, 15) if i % 4 == 3]
        inside = [i for i in range(1, 15) if i % 4 == 1]
        size = {column - 1: 0.5, column: 1.0, column + 1: 0.5}
        rows = {"across": 3 * 17, "inside": 4 * 17}  # jumps along columns, all zero: i = 3, 7, 11 and 1, 5, 9, 13
        mean = [
            16 * sum(size.get(i, 0) for i in some) / (16 * len(some) + rows[name])
            for name, some in (("across", borders), ("inside", inside))
        ]
        assert border_jump(picture, 4) == pytest.approx((mean[0] + 1e-6) / (mean[1] + 1e-6))


def test_a_grid_that_is_shifted_is_not_the_grid(rng):
    picture = blocks(6, 240, rng) + 0.1 * torch.randn(3, 240, 240, generator=rng)
    assert border_jump(picture, 6) > 5 and border_jump(picture[:, 2:-4, 2:-4], 6) < 1


def test_repeating_pixels_shows_the_grid_and_interpolation_does_not(rng):
    small = torch.rand(3, 30, 30, generator=rng)
    repeated = small.repeat_interleave(8, 1).repeat_interleave(8, 2)
    assert border_jump(repeated, 8) > 1000 and border_jump(imresize(small, scale=8), 8) < 1.5


@pytest.mark.parametrize("cell", [4, 6])
def test_errors_at_borders_are_set_against_all_others(cell, rng):
    hr = torch.rand(3, 12 * cell, 13 * cell, generator=rng)
    near = [(torch.arange(n) % cell == 0) | (torch.arange(n) % cell == cell - 1) for n in hr.shape[1:]]
    border = near[0][:, None] | near[1]
    sign = torch.randint(0, 2, hr.shape, generator=rng) * 2 - 1
    assert border_error(hr + sign * torch.where(border, 0.03, 0.01), hr, cell) == pytest.approx(3, rel=1e-4)
    assert border_error(hr, hr, cell) == 1


def test_cells_are_whole_under_the_protocol(tmp_path, rng):
    from restore_lib.data.opening import Item

    images.write(tmp_path / "a.png", torch.rand(3, 50, 67, generator=rng))
    for name, scale in BORDERS.conditions.items():
        lr, hr = BORDERS.prepare(Item("a", {"image": tmp_path / "a.png"}), scale, torch.Generator())
        assert name == f"x{scale:g}" and [int(scale) * n for n in lr.shape[1:]] == list(hr.shape[1:])
        actual = BORDERS.measure(hr + 3, hr, scale)  # clipped first
        assert actual["border_jump"] == 1 and 0.5 < actual["border_error"] < 2


def test_cells_without_an_inside_are_refused():
    for cell, size in ((3, 40), (8, 15)):
        with pytest.raises(ValueError, match="need 4 or more"):
            border_jump(torch.rand(3, size, size), cell)
    with pytest.raises(ValueError, match="at least 4"):
        border_error(torch.rand(3, 9, 9), torch.rand(3, 9, 9), 2)
