"""Blur kernels: from the generator's raw kernel to one that degrades photos, from x2 to x4, and how wrong one is.

Kernels here are correlation kernels for :func:`restore_lib.resampling.downscale`: neither flipped nor shifted by it
when they are aligned already. A kernel is (kh, kw), float64, and sums to 1 unless a function says otherwise.
"""

import math
from numbers import Integral, Real

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from restore_lib.resampling import align_kernel, imresize


def bicubic_kernel() -> Float[Tensor, "8 8"]:
    """The kernel that MATLAB's bicubic reduction by 2 correlates with, away from the border."""
    one_axis = imresize(torch.eye(16, dtype=torch.float64)[None], size=(8, 16))[0, 3, 3:11]  # (8,)
    return torch.outer(one_axis, one_axis)


def gaussian_kernel(size: Integral, widths: tuple[Real, Real], angle: Real = 0.0) -> Float[Tensor, "n n"]:
    """A Gaussian about the middle of its cells.

    Parameters
    ----------
    size : int
        Cells along each side.
    widths : (float, float)
        Standard deviations in cells along its two axes, positive.
    angle : float
        Of the first axis to the horizontal, in radians, clockwise as seen in an image.
    """
    if size < 1 or min(widths) <= 0:
        raise ValueError(f"size and widths must be positive, got {size} and {tuple(widths)}")
    along = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    y, x = torch.meshgrid(along, along, indexing="ij")  # (n, n) each
    first, second = (math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x)
    kernel = torch.exp(-0.5 * ((first / widths[0]) ** 2 + (second / widths[1]) ** 2))
    return kernel / kernel.sum()


def random_kernel(
    generator: torch.Generator, scale: Integral = 2, size: Integral = 21, roughness: Real = 0.4
) -> Float[Tensor, "kh kw"]:
    """A rough anisotropic Gaussian, aligned, as the authors' notebook makes them for DIV2KRK.

    The notebook's values, for scale 4: variances along the axes uniform in [0.175 s, 2.5 s], angle uniform, each cell
    multiplied by a number uniform in 1 +- 0.4, 21 x 21 cells.

    Parameters
    ----------
    generator : torch.Generator
        Source of randomness, on the CPU.
    scale, size : int
        Factor of the reduction, and cells along each side before alignment.
    roughness : float
        In [0, 1).
    """
    dice = torch.rand(3, generator=generator, dtype=torch.float64)
    low, high = 0.175 * scale, 2.5 * scale
    widths = (low + (high - low) * dice[:2]).sqrt().tolist()
    kernel = gaussian_kernel(size, tuple(widths), math.pi * dice[2].item())
    kernel = kernel * (1 + roughness * (2 * torch.rand(kernel.shape, generator=generator, dtype=torch.float64) - 1))
    return align_kernel(kernel / kernel.sum(), scale)


def centre_of_mass(kernel: Float[Tensor, "*batch kh kw"]) -> Float[Tensor, "*batch 2"]:
    """Row and column of the centre of mass, counted from 0 in cells. Differentiable."""
    rows, columns = (torch.arange(n, dtype=kernel.dtype, device=kernel.device) for n in kernel.shape[-2:])
    total = kernel.sum((-2, -1))
    row, column = (kernel.sum(-1) * rows).sum(-1) / total, (kernel.sum(-2) * columns).sum(-1) / total
    return torch.stack([row, column], -1)


def drop_small(kernel: Float[Tensor, "kh kw"], keep: Integral = 40) -> Float[Tensor, "kh kw"]:
    """Take three quarters of the (keep + 1)-th largest value off all cells, clip at 0 and normalise.

    The released post-processing [bellkligler2019kernelgan, ``util.py``]: far cells, which the loss hardly holds down,
    vanish.

    Raises
    ------
    ValueError
        Nothing positive is left.
    """
    if not 0 < keep < kernel.numel():
        raise ValueError(f"keep must be between 1 and {kernel.numel() - 1}, got {keep}")
    floor = 0.75 * kernel.flatten().sort(descending=True).values[keep]
    left = (kernel - floor).clamp(min=0)
    if not float(left.sum()) > 0:
        raise ValueError("the kernel has no positive values")
    return left / left.sum()


def post_process(raw: Float[Tensor, "kh kw"], scale: Integral = 2, keep: Integral = 40) -> Float[Tensor, "oh ow"]:
    """From a generator's kernel to one that degrades photos: :func:`drop_small`, then the aligned centre.

    The shift by a spline leaves a margin of a few cells, and values slightly below 0 beside sharp edges.
    """
    return align_kernel(drop_small(raw.double(), keep), scale)


def analytic_x4(kernel: Float[Tensor, "n n"]) -> Float[Tensor, "m m"]:
    """The kernel of a reduction by 4 that is the same reduction by 2 twice [bellkligler2019kernelgan].

    ``k4[u] = sum_m k2[m] k2[u - 2 m]``: k2 convolved with itself, once with zeros between its cells. Half a pixel of
    alignment at x2 becomes the one and a half that x4 needs.

    Parameters
    ----------
    kernel : Tensor
        Of the reduction by 2, aligned, (n, n).

    Returns
    -------
    Tensor
        (m, m) with ``m = 3 n - 2 - 2 (n // 2)``: cells that are nearly 0 are cut from each side.
    """
    n = kernel.shape[-1]
    spread = kernel.new_zeros(2 * n - 1, 2 * n - 1)
    spread[::2, ::2] = kernel
    flipped = kernel.flip(0, 1)[None, None]
    whole = F.conv2d(spread[None, None], flipped, padding=n - 1)[0, 0]  # (3 n - 2, 3 n - 2)
    cut = n // 2
    inner = whole[cut : len(whole) - cut, cut : len(whole) - cut]
    return inner / inner.sum()


def kernel_error(estimated: Float[Tensor, "ah aw"], true: Float[Tensor, "bh bw"], scale: Integral = 2) -> float:
    """Sum of absolute differences of two kernels, normalised and with their centres on the same spot.

    Returns
    -------
    float
        0 for equal kernels, 2 for kernels that do not overlap. Where the centre lies does not count: no image tells.
    """
    aligned = [align_kernel((k / k.sum()).double(), scale) for k in (estimated, true)]
    before = [max((k.shape[i] - 1) // 2 for k in aligned) for i in (0, 1)]
    after = [max(k.shape[i] // 2 for k in aligned) for i in (0, 1)]
    a, b = (lay(k, before, after) for k in aligned)
    return float((a - b).abs().sum())


def lay(kernel: Float[Tensor, "kh kw"], before: list[int], after: list[int]) -> Float[Tensor, "oh ow"]:
    """Pad a kernel to ``before`` cells above and left, and ``after`` below and right, of the cell that is counted from.

    That is cell ``(k - 1) // 2``, which :func:`restore_lib.resampling.downscale` lays on pixel ``scale j``.
    """
    (up, left), (down, right) = (
        [n - (k - 1) // 2 for n, k in zip(before, kernel.shape, strict=True)],
        [n - k // 2 for n, k in zip(after, kernel.shape, strict=True)],
    )
    return F.pad(kernel, (left, right, up, down))
