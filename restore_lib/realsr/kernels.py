"""Blur kernels: known ones, from the generator's raw kernel to one that degrades photos, and which one to trust.

All are correlation kernels for :func:`restore_lib.resampling.downscale`, which neither flips them nor shifts them when
they are aligned: (kh, kw), float64, with sum 1 unless a function says otherwise.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from restore_lib.errors import ImageError, ResultWarning
from restore_lib.resampling import align_kernel, downscale, imresize

LUMA = (0.299, 0.587, 0.114)  # red, green and blue in grey
OFF_SUM, OFF_CENTRE = 0.1, 0.5  # how far a raw kernel may be from sum 1, and its centre from 6.5, to be trusted
WINDOW = 32  # side of the windows whose spectra are compared

Box = tuple[int, int, int, int]  # top, left, bottom, right


def bicubic_kernel(scale: int = 2) -> Float[Tensor, "n n"]:
    """The kernel, 4 cells times ``scale``, that MATLAB's bicubic reduction correlates with, away from the border."""
    rows = imresize(torch.eye(8 * scale, dtype=torch.float64)[None], size=(8, 8 * scale))[0]  # (8, 8 scale)
    one_axis = rows[3, 3 * scale // 2 :][: 4 * scale]
    return torch.outer(one_axis, one_axis)


def gaussian_kernel(size: int, widths: tuple[float, float], angle: float = 0.0) -> Float[Tensor, "n n"]:
    """A Gaussian with standard deviations ``widths`` along two axes, turned clockwise by ``angle`` in radians."""
    if size < 1 or min(widths) <= 0:
        raise ValueError(f"size and widths must be positive, got {size} and {tuple(widths)}")
    along = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    y, x = torch.meshgrid(along, along, indexing="ij")  # (n, n) each
    first, second = (math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x)
    kernel = torch.exp(-0.5 * ((first / widths[0]) ** 2 + (second / widths[1]) ** 2))
    return kernel / kernel.sum()


def random_kernel(
    generator: torch.Generator, scale: int = 2, size: int = 21, roughness: float = 0.4
) -> Float[Tensor, "kh kw"]:
    """A rough anisotropic Gaussian, aligned, as the authors' notebook makes them for DIV2KRK.

    Variances along the axes are uniform in [0.175 s, 2.5 s] and the angle is uniform; each of ``size`` x ``size`` cells
    is multiplied by a number uniform in 1 +- ``roughness``. The notebook's values, for scale 4, are the defaults.
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


def drop_small(kernel: Float[Tensor, "kh kw"], keep: int = 40) -> Float[Tensor, "kh kw"]:
    """Take three quarters of the (keep + 1)-th largest value off all cells, clip at 0 and normalise.

    The released post-processing [bellkligler2019kernelgan, ``util.py``]: far cells, which the loss hardly holds down,
    vanish. ValueError when nothing positive is left.
    """
    if not 0 < keep < kernel.numel():
        raise ValueError(f"keep must be between 1 and {kernel.numel() - 1}, got {keep}")
    floor = 0.75 * kernel.flatten().sort(descending=True).values[keep]
    left = (kernel - floor).clamp(min=0)
    if not float(left.sum()) > 0:
        raise ValueError("the kernel has no positive values")
    return left / left.sum()


def post_process(raw: Float[Tensor, "kh kw"], scale: int = 2, keep: int = 40) -> Float[Tensor, "oh ow"]:
    """From a generator's kernel to one that degrades photos: :func:`drop_small`, then the aligned centre."""
    return align_kernel(drop_small(raw.double(), keep), scale)


def analytic_x4(kernel: Float[Tensor, "n n"]) -> Float[Tensor, "m m"]:
    """The kernel of a reduction by 4 that is the same aligned reduction by 2 twice [bellkligler2019kernelgan].

    ``k4[u] = sum_m k2[m] k2[u - 2 m]``. Half a pixel of alignment at x2 becomes the one and a half that x4 needs. Of
    the 3 n - 2 cells, ``n // 2`` that are nearly 0 are cut from each side.
    """
    whole = F.conv_transpose2d(kernel[None, None], kernel[None, None], stride=2)[0, 0]  # (3 n - 2, 3 n - 2)
    cut = len(kernel) // 2
    inner = whole[cut : len(whole) - cut, cut : len(whole) - cut]
    return inner / inner.sum()


def kernel_error(estimated: Float[Tensor, "ah aw"], true: Float[Tensor, "bh bw"], scale: int = 2) -> float:
    """Sum of absolute differences of two kernels, normalised and centred on the same spot: 0 if equal, 2 at most."""
    a, b = on_one_grid([align_kernel((k / k.sum()).double(), scale) for k in (estimated, true)])
    return float((a - b).abs().sum())


def on_one_grid(kernels: Sequence[Float[Tensor, "_ _"]]) -> list[Float[Tensor, "kh kw"]]:
    """Pad kernels of different sizes to one size, the cells that reductions count from over each other."""
    before = [max((k.shape[axis] - 1) // 2 for k in kernels) for axis in (0, 1)]
    after = [max(k.shape[axis] // 2 for k in kernels) for axis in (0, 1)]
    return [pad_kernel(k, before, after) for k in kernels]


def pad_kernel(kernel: Float[Tensor, "kh kw"], before: Sequence[int], after: Sequence[int]) -> Float[Tensor, "oh ow"]:
    """Pad to so many cells above and left, below and right of the one that reductions place on pixel ``scale j``."""
    up, left = (n - (k - 1) // 2 for n, k in zip(before, kernel.shape, strict=True))
    down, right = (n - k // 2 for n, k in zip(after, kernel.shape, strict=True))
    return F.pad(kernel, (left, right, up, down))


class KernelWarning(ResultWarning):
    """An estimated kernel should not be trusted, and why."""


@dataclass(frozen=True)
class Trajectory:
    """How an estimation went."""

    steps: Int64[Tensor, "t"] = field(repr=False)  #: after which the kernels were taken: 0, 50, 100, ... and the last
    kernels: Float[Tensor, "t 13 13"] = field(repr=False)  #: raw
    losses: Mapping[str, Float[Tensor, "steps"]] = field(repr=False)  #: each unweighted term, and the discriminator's


@dataclass(frozen=True)
class Diagnostics:
    """What tells a kernel that one can trust from one that one cannot."""

    sum: float  #: of the raw kernel; should be 1
    centre: tuple[float, float]  #: of mass, small values dropped, before the shift: row, column; should be 6.5, 6.5
    switch_step: int | None  #: when the terms for centre and sparsity came in; None: never (always with RealSR's form)
    problems: tuple[str, ...] = ()  #: what is wrong, in words


@dataclass(frozen=True)
class Candidate:
    """A kernel that could be chosen, aligned for a reduction by 2."""

    kernel: Float[Tensor, "kh kw"] = field(repr=False)
    score: float  #: :func:`dissimilarity` of the photo and its reduction; the smallest wins
    sound: bool  #: whether the estimation's own diagnostics found nothing wrong


@dataclass(frozen=True)
class KernelEstimate:
    """An estimated kernel and how it came about."""

    kernel: Float[Tensor, "kh kw"]  #: for correlation, float64, sum 1, aligned for ``scale``
    scale: int
    trajectory: Trajectory  #: of the chosen restart; with an average, of the best one in it
    diagnostics: Diagnostics  #: of the same
    candidates: tuple[Candidate, ...] = ()  #: every restart, then their average; empty for one restart
    chosen: int = 0  #: index into ``candidates``


def diagnose(raw: Float[Tensor, "13 13"], switch_step: int | None, two_phases: bool = True) -> Diagnostics:
    """Sum and centre of a generator's kernel, and what is wrong with them."""
    total, problems, middle = float(raw.sum()), [], raw.shape[-1] / 2
    try:
        row, column = centre_of_mass(drop_small(raw.double())).tolist()
    except ValueError:
        row = column = float("nan")
    if not max(abs(row - middle), abs(column - middle)) <= OFF_CENTRE:
        problems.append(f"its centre of mass lies at {row:.2f}, {column:.2f} instead of {middle}, {middle}")
    if not abs(total - 1) <= OFF_SUM:
        problems.append(f"it sums to {total:.2f} instead of 1")
    if two_phases and switch_step is None:
        problems.append("the second phase, which centres it, never began")
    return Diagnostics(total, (row, column), switch_step, tuple(problems))


def conclude(
    image: Float[Tensor, "3 h w"], runs: Sequence[tuple[Trajectory, Diagnostics]], scale: int, held: Box | None
) -> KernelEstimate:
    """From the runs on one photo to its kernel: the one run's, their average, or a choice if a box is held back."""
    kernels, usable = [], []
    for run in runs:
        try:
            kernels.append(post_process(run[0].kernels[-1]))
            usable.append(run)
        except ValueError:  # nothing positive in it, or no centre
            continue
    if not kernels:
        raise ImageError("No kernel was found: the estimation failed; try another seed or more steps.")
    kernel, best, candidates, chosen = kernels[0], 0, [], 0
    if len(runs) > 1:
        sound = [not diagnostics.problems for _, diagnostics in usable]
        candidates, chosen = choose(image, kernels, sound, held or (0, 0, image.shape[-2], image.shape[-1]))
        if not held and len(candidates) > len(kernels):
            chosen = len(kernels)  # the average comes last
        kernel = candidates[chosen].kernel
        best = min((i for i in range(len(usable)) if candidates[i].sound), key=lambda i: candidates[i].score)
        best = best if chosen == len(usable) else chosen
    trajectory, diagnostics = usable[best]
    if diagnostics.problems:
        warnings.warn(
            f"Do not trust this kernel: {'; '.join(diagnostics.problems)}. Try another seed or more restarts.",
            KernelWarning,
            stacklevel=4,
        )
    kernel = analytic_x4(kernel) if scale == 4 else kernel
    return KernelEstimate(kernel, scale, trajectory, diagnostics, tuple(candidates), chosen)


def choose(
    image: Float[Tensor, "3 h w"], kernels: Sequence[Float[Tensor, "_ _"]], sound: Sequence[bool], held: Box
) -> tuple[list[Candidate], int]:
    """Score every kernel, and the average of the sound ones, on the part of the photo that training did not see.

    Kernels are aligned for a reduction by 2. If none is ``sound``, all may be chosen and averaged. Gives a candidate
    for each kernel and, of two or more, their average last; and the number of the sound one with the smallest score.
    """
    sound = list(sound) if any(sound) else [True] * len(kernels)
    averaged = [kernel for kernel, good in zip(kernels, sound, strict=True) if good]
    if len(averaged) > 1:
        kernels, sound = [*kernels, average(averaged)], [*sound, True]
    candidates = [
        Candidate(kernel, dissimilarity(image, kernel, held), good) for kernel, good in zip(kernels, sound, strict=True)
    ]
    return candidates, min((i for i, c in enumerate(candidates) if c.sound), key=lambda i: candidates[i].score)


def average(kernels: Sequence[Float[Tensor, "_ _"]]) -> Float[Tensor, "kh kw"]:
    """Mean of aligned kernels. As the error of a mean is at most the mean of the errors, it spares the worst runs."""
    return torch.stack(on_one_grid(kernels)).mean(0)


def dissimilarity(image: Float[Tensor, "3 h w"], kernel: Float[Tensor, "kh kw"], held: Box) -> float:
    """How unlike the photo its reduction with a kernel is, in the part ``held``.

    The absolute difference of both power spectra's logarithms, over all frequencies but the lowest. Photos are alike at
    every scale, so the right kernel makes the spectra alike.
    """
    top, left, bottom, right = held
    grey = (image * image.new_tensor(LUMA)[:, None, None]).sum(0)[top:bottom, left:right]  # (h, w)
    reach = kernel.shape[-1] // 4  # as far as the mirrored border reaches into the reduction
    small = downscale(grey, kernel.to(grey), 2, align=False)
    inner = small[reach:-reach, reach:-reach]
    if min(inner.shape) >= WINDOW:  # else a narrow strip, where the border is better than nothing
        small = inner
    unlike = (spectrum(grey) / spectrum(small)).log().abs()
    frequency = torch.hypot(torch.fft.fftfreq(WINDOW)[:, None], torch.fft.rfftfreq(WINDOW)[None])
    counted = (frequency >= 2 / WINDOW) & (frequency <= 0.5)  # the lowest are the window's own, the corners few
    return float(unlike[counted].mean())


def spectrum(grey: Float[Tensor, "h w"]) -> Float[Tensor, "n m"]:
    """Mean power spectrum of windows of 32 x 32 pixels under a bell, each without its mean."""
    step = 4 if min(grey.shape) < 8 * WINDOW else 8
    tiles = grey.unfold(0, WINDOW, step).unfold(1, WINDOW, step).reshape(-1, WINDOW, WINDOW)
    bell = torch.hann_window(WINDOW, periodic=False, dtype=grey.dtype)
    tiles = (tiles - tiles.mean((1, 2), keepdim=True)) * torch.outer(bell, bell)
    return torch.fft.rfft2(tiles).abs().square().mean(0).clamp(min=1e-9)
