"""Exercises of chapter 11, super-resolution out of one photo."""

import math

import torch
from torch.nn import functional

from restore_lib.realsr.kernels import random_kernel
from restore_lib.realsr.zssr import back_project, line
from restore_lib.resampling import downscale, imresize


def _enlarged_photo(generator):
    """A result that does not fit its photo yet, the photo, and a kernel without symmetry."""
    height, width = (torch.randint(15, 22, (2,), generator=generator)).tolist()
    lr = 0.4 + 0.2 * torch.rand(3, height, width, generator=generator)
    sr = imresize(lr, scale=2) + 0.04 * torch.randn(3, 2 * height, 2 * width, generator=generator)
    return sr, lr, random_kernel(generator, 2, 9).float()


def _son(image, kernel):
    return downscale(image, kernel.to(image), 2, align=False)


def _twice(x):
    return imresize(x, scale=2)


def _step(sr, lr, kernel, *, sign: float = 1, reduce=_son, enlarge=_twice):
    return sr + sign * enlarge(lr - reduce(sr, kernel))


def _repeated(x):
    return x.repeat_interleave(2, 1).repeat_interleave(2, 2)


def _spread(x):
    large = x.new_zeros(x.shape[0], 2 * x.shape[1], 2 * x.shape[2])
    large[:, ::2, ::2] = x
    return large


def _trainings(generator):
    """Five errors of each of many trainings: falling ones, level ones, and some between."""
    first, gap = torch.randint(0, 900, (), generator=generator).item(), 50
    steps = first + gap * torch.arange(5)
    scatter = torch.randn(300, 5, generator=generator).double()
    fall = 0.6 * torch.rand(300, 1, generator=generator).double() - 0.1
    errors = 1e-3 * (4 - fall * torch.arange(5) + 0.3 * scatter)
    return steps, errors


def _rule(steps, errors, *, ratio=1.5, fewer=2, sign=-1):
    """Whether the rate falls, in full; ``fewer`` is what the number of errors is lessened by."""
    x = steps.double() - steps.double().mean()
    slope = errors @ x / (x @ x)
    left = errors - errors.mean(1, keepdim=True) - slope[:, None] * x
    error = (left.square().sum(1) / (len(x) - fewer) / (x @ x)).sqrt()
    return sign * ratio * slope < error


def _by_the_library(steps, errors):
    fits = [line(steps.numpy(), row) for row in errors.numpy()]
    return torch.tensor([-1.5 * slope < error for slope, error in fits])


def _scatter(steps, errors):
    x = steps.double() - steps.double().mean()
    slope = errors @ x / (x @ x)
    left = errors - errors.mean(1, keepdim=True) - slope[:, None] * x
    return -1.5 * slope < (left.square().sum(1) / (len(x) - 2)).sqrt()


def _photo(generator):
    height, width = (2 * torch.randint(14, 22, (2,), generator=generator)).tolist()
    return torch.rand(3, height, width, generator=generator), random_kernel(generator, 2, 9).float()


def _pair(photo, kernel, *, reduce=_son, enlarge=_twice):
    return torch.stack([enlarge(reduce(photo, kernel)), photo])


def _enlarged_first(photo, kernel):
    return torch.stack([_son(_twice(photo), kernel), photo])


def _one_size_up(photo, kernel):
    large = _twice(photo)
    return torch.stack([_twice(_son(large, kernel)), large])


def _bicubic(photo, kernel):
    return imresize(photo, scale=1 / 2)


def _widths(generator):
    """True and assumed width in pixels, and the photo's power at some frequencies in cycles a pixel."""
    true, apart = 0.7 + 0.5 * torch.rand(2, generator=generator).double()
    assumed = true + (0.5 * apart if torch.rand((), generator=generator) < 0.5 else -0.4 * apart)
    frequencies = torch.linspace(0.02, 0.5, 25, dtype=torch.float64)
    power = (0.5 + torch.rand(25, generator=generator).double()) / frequencies**2
    return float(true), float(assumed), frequencies, power


def _share(true, assumed, frequencies, power, *, squares=True, twice=2.0):
    gap = true**2 - assumed**2 if squares else true - assumed
    gain = torch.exp(-twice * math.pi**2 * frequencies**2 * gap)
    return ((gain - 1).square() * power).sum() / power.sum()


EXERCISES = [
    {
        "id": "11.1",
        "reference": lambda sr, lr, kernel: back_project(sr, lr, 2, kernel, 1),
        "inputs": _enlarged_photo,
        "mistakes": (
            (
                lambda sr, lr, kernel: _step(sr, lr, kernel, sign=-1),
                "Wrong sign: you take away what the result lacks. That is the photo minus the reduced result.",
            ),
            (
                lambda sr, lr, kernel: _step(sr, lr, kernel, reduce=_bicubic),
                "You reduce bicubically, but this photo was not made so: reduce with its own kernel.",
            ),
            (
                lambda sr, lr, kernel: _step(sr, lr, kernel.flip(0, 1)),
                "Your kernel is turned by 180 degrees. `downscale` correlates: hand it over as it is.",
            ),
            (
                lambda sr, lr, kernel: _step(sr, lr, kernel, enlarge=_repeated),
                "You enlarge the residual by repeating pixels: enlarge it bicubically, as smooth as the photo is.",
            ),
            (
                lambda sr, lr, kernel: _step(sr, lr, kernel, enlarge=_spread),
                "The residual is not enlarged: it sits on every second pixel, with zeros between. `imresize` fills in.",
            ),
            (
                lambda sr, lr, kernel: _twice(lr),
                "That is the photo enlarged: compared at the large size, all that the network found is lost. Compare "
                "at the photo's size.",
            ),
            (
                lambda sr, lr, kernel: _twice(lr - _son(sr, kernel)),
                "That is the correction alone: add it to the result.",
            ),
            (
                lambda sr, lr, kernel: _step(sr, lr, kernel, sign=0.5),
                "You add half the correction; here all of it is added.",
            ),
        ),
        "hints": (
            "Three things in a row: reduce the result, subtract it from the photo, enlarge the difference.",
            "sr + imresize(lr - downscale(sr, kernel, 2, align=False), scale=2)",
        ),
    },
    {
        "id": "11.2",
        "reference": _by_the_library,
        "inputs": _trainings,
        "mistakes": (
            (
                lambda steps, errors: _rule(steps, errors, sign=1),
                "Wrong sign: falling errors have a negative slope. It is minus the slope that is to be large.",
            ),
            (
                lambda steps, errors: ~_rule(steps, errors),
                "The other way round: where the fall stands out from the scatter, the rate stays.",
            ),
            (
                lambda steps, errors: _rule(steps, errors, ratio=1),
                "The factor 1.5 is missing: minus 1.5 times the slope is what is compared.",
            ),
            (
                lambda steps, errors: _rule(steps, errors, fewer=0),
                "The line has taken two of the degrees of freedom: divide the squares that are left by n - 2.",
            ),
            (
                lambda steps, errors: _rule(steps, errors, fewer=4),
                "You divide by n - 4, as NumPy's `polyfit` once did. Today's takes n - 2, and so does the library.",
            ),
            (
                _scatter,
                "That is how far errors lie from the line. The slope's own standard error is that, divided by the root "
                "of the summed squares of the steps from their mean.",
            ),
            (
                lambda steps, errors: errors[:, -1] >= errors[:, 0],
                "First and last alone: with scatter, that is chance. Fit a line to all five.",
            ),
        ),
        "hints": (
            "`np.polyfit(steps, row, 1, cov=True)` gives (slope, intercept) and the covariance of both.",
            "With (slope, _), cov = np.polyfit(...): -1.5 * slope < cov[0, 0] ** 0.5, for each row.",
        ),
    },
    {
        "id": "11.3",
        "reference": _pair,
        "inputs": _photo,
        "mistakes": (
            (
                _enlarged_first,
                "You enlarge the photo before you reduce it: then hardly anything is lost, so little can be learnt. "
                "Reduce first.",
            ),
            (
                _one_size_up,
                "Your father is the enlarged photo, as blurred as interpolation leaves it. The photo itself is the "
                "sharpest picture there is.",
            ),
            (
                lambda photo, kernel: _pair(photo, kernel, reduce=_bicubic),
                "You reduce bicubically; the son has to lose what photos of this camera lose: use the kernel.",
            ),
            (
                lambda photo, kernel: _pair(photo, kernel.flip(0, 1)),
                "Your kernel is turned by 180 degrees. `downscale` correlates: hand it over as it is.",
            ),
            (
                lambda photo, kernel: _pair(photo, kernel, enlarge=_repeated),
                "You enlarge the son by repeating pixels; the network starts from a bicubic enlargement.",
            ),
            (
                lambda photo, kernel: _pair(photo, kernel).flip(0),
                "Swapped: the input comes first, what the network is to make of it second.",
            ),
            (
                lambda photo, kernel: torch.stack([photo, photo]),
                "Input and target are the same: reduce the photo for the input, and enlarge it again.",
            ),
            (
                lambda photo, kernel: torch.stack(
                    [functional.interpolate(_son(photo, kernel)[None], scale_factor=2, mode="bilinear")[0], photo]
                ),
                "That is bilinear; the network starts from a bicubic enlargement.",
            ),
        ),
        "hints": (
            "The photo is the father. Which picture is to its son as it is to the large one that we look for?",
            "torch.stack([imresize(downscale(photo, kernel, 2, align=False), scale=2), photo])",
        ),
    },
    {
        "id": "11.4",
        "reference": _share,
        "inputs": _widths,
        "mistakes": (
            (
                lambda true, assumed, f, power: _share(assumed, true, f, power),
                "The two widths are swapped: the photo was blurred by the true one, and the assumed one is undone.",
            ),
            (
                lambda true, assumed, f, power: _share(true, assumed, f, power, squares=False),
                "In the exponent widths are squared: the difference of squares, not of widths.",
            ),
            (
                lambda true, assumed, f, power: _share(true, assumed, f, power, twice=4.0),
                "You have squared the gain already. The Gaussian is exp(-2 pi^2 s^2 f^2); square what differs from 1.",
            ),
            (
                lambda true, assumed, f, power: _share(true, assumed, f, power, twice=0.5),
                "Frequencies are in cycles a pixel: exp(-2 pi^2 s^2 f^2), not exp(-s^2 f^2 pi^2 / 2).",
            ),
            (
                lambda true, assumed, f, power: (
                    ((torch.exp(-2 * math.pi**2 * f**2 * (true**2 - assumed**2)) - 1).abs() * power).sum() / power.sum()
                ),
                "Power goes with the square: square what the gain differs from 1 by.",
            ),
            (
                lambda true, assumed, f, power: (
                    (torch.exp(-2 * math.pi**2 * f**2 * (true**2 - assumed**2)) - 1).square() * power
                ).sum(),
                "As a share: divide by all the photo's power.",
            ),
            (
                lambda true, assumed, f, power: (
                    (torch.exp(-2 * math.pi**2 * f**2 * (true**2 - assumed**2)) - 1).square()
                ).mean(),
                "You count all frequencies alike; photos have most of their power at low ones: weigh by `power`.",
            ),
        ),
        "hints": (
            "The gain first: blur multiplies frequencies by exp(-2 pi^2 s^2 f^2); undoing one divides by that.",
            "gain = exp(-2 pi^2 f^2 (true^2 - assumed^2)); the error is (gain - 1)^2, weighed by power.",
        ),
    },
]
