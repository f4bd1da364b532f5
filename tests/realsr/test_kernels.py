"""Kernels: closed forms, and the reductions that they stand for."""

import numpy as np
import pytest
import torch
from scipy import signal

from restore_lib.realsr.kernels import (
    analytic_x4,
    bicubic_kernel,
    centre_of_mass,
    drop_small,
    gaussian_kernel,
    kernel_error,
    post_process,
    random_kernel,
)
from restore_lib.resampling import downscale, imresize


def test_the_bicubic_kernel_reduces_as_imresize_does(rng):
    x = torch.rand(3, 40, 36, generator=rng, dtype=torch.float64)
    small = downscale(x, bicubic_kernel(), 2, align=False)
    torch.testing.assert_close(small[:, 2:-2, 2:-2], imresize(x, scale=0.5)[:, 2:-2, 2:-2])


def test_the_x4_kernel_is_two_reductions_in_one(rng):
    k2 = random_kernel(rng, 2, 9)
    k4 = analytic_x4(k2)
    x = torch.rand(1, 240, 240, generator=rng, dtype=torch.float64)
    twice = downscale(downscale(x, k2, 2, align=False), k2, 2, align=False)[0, 20:-20, 20:-20]
    once = downscale(x, k4, 4, align=False)[0, 20:-20, 20:-20]
    assert (once - twice).abs().max() < 1e-3 * twice.std()  # what is cut off is nearly nothing
    assert (centre_of_mass(k4) - (len(k4) - 1) // 2 - 1.5).abs().max() < 0.01  # aligned for x4
    assert len(k4) == 3 * len(k2) - 2 - 2 * (len(k2) // 2)


def test_the_x4_kernel_against_a_plain_convolution(rng):
    k2 = torch.rand(5, 5, generator=rng, dtype=torch.float64)
    spread = np.zeros((9, 9))
    spread[::2, ::2] = k2
    whole = signal.convolve2d(spread, k2)[2:-2, 2:-2]
    torch.testing.assert_close(analytic_x4(k2), torch.from_numpy(whole / whole.sum()))


def test_moments_of_a_gaussian_are_its_widths():
    kernel = gaussian_kernel(41, (3.0, 1.0), 0.5)
    along = torch.arange(41.0, dtype=torch.float64) - 20
    y, x = torch.meshgrid(along, along, indexing="ij")
    covariance = torch.stack([(kernel * a * b).sum() for a, b in ((x, x), (x, y), (y, y))])
    cos, sin = np.cos(0.5), np.sin(0.5)
    expected = [9 * cos**2 + sin**2, (9 - 1) * cos * sin, 9 * sin**2 + cos**2]
    assert covariance.tolist() == pytest.approx(expected, rel=1e-3)


def test_centres_of_mass_and_their_gradient():
    kernel = torch.zeros(2, 5, 7, dtype=torch.float64)
    kernel[0, 1, 5], kernel[0, 3, 5], kernel[1, 4, 0] = 1.0, 3.0, -2.0
    assert centre_of_mass(kernel).tolist() == [[2.5, 5.0], [4.0, 0.0]]
    kernel = torch.rand(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(centre_of_mass, kernel)


def test_small_values_go_as_in_the_released_code(rng):
    kernel = torch.rand(13, 13, generator=rng, dtype=torch.float64)
    floor = 0.75 * np.sort(kernel.numpy().ravel())[-41]
    expected = np.clip(kernel.numpy() - floor, 0, 100)
    torch.testing.assert_close(drop_small(kernel), torch.from_numpy(expected / expected.sum()))
    with pytest.raises(ValueError, match="no positive"):
        drop_small(-torch.ones(13, 13))
    done = post_process(kernel)
    assert done.sum().item() == pytest.approx(1)
    middle = (done.shape[-1] - 1) // 2 + 0.5
    assert centre_of_mass(done).tolist() == pytest.approx([middle, middle], abs=0.01)


@pytest.mark.parametrize("scale", [2, 4])
def test_the_error_of_a_kernel_ignores_its_place_and_size(scale, rng):
    kernel = gaussian_kernel(15, (1.8, 1.2), 0.3)
    moved = torch.nn.functional.pad(kernel, (4, 1, 0, 3))
    assert kernel_error(kernel, kernel, scale) == 0
    assert kernel_error(moved, kernel, scale) < 0.01
    one, two = torch.zeros(2, 31, 31, dtype=torch.float64)
    one[15, 15] = 1
    two[3, 3] = two[3, 27] = two[27, 3] = two[27, 27] = 0.25
    assert kernel_error(one, two, 1) == pytest.approx(2)
    assert kernel_error(random_kernel(rng), random_kernel(rng)) > 0.05
