"""Exercises of chapter 2, measuring restoration."""

import math

import torch

from restore_lib import images, metrics

PLAIN = metrics.Protocol("rgb", 0, False)


def _pair(generator):
    clean = torch.rand(3, 24, 30, generator=generator)
    per_channel = 0.2 * torch.rand(3, 1, 1, generator=generator)  # so that an average over channels shows
    return clean, clean + per_channel * torch.randn(clean.shape, generator=generator)


def _pair_and_border(generator):
    clean, restored = _pair(generator)
    restored[:, :1] += 0.3 * torch.rand(1, generator=generator)  # errors near every side, so that the border shows
    restored[:, -1:] -= 0.3 * torch.rand(1, generator=generator)
    return clean, restored, int(torch.randint(1, 6, (), generator=generator))


def _mse(a, b):
    return (a - b).square().mean()


def _db(mse):
    return -10 * torch.log10(torch.as_tensor(mse))


def _psnr_y(a, b, border):
    return metrics.psnr(a, b, metrics.Protocol("y", border, False))


def _jpeg_luma(x):
    return 0.299 * x[0] + 0.587 * x[1] + 0.114 * x[2]


def _inner(x, border):
    return x[..., border:-border, border:-border]


EXERCISES = [
    {
        "id": "2.1",
        "reference": lambda a, b: metrics.psnr(a, b, PLAIN),
        "inputs": _pair,
        "mistakes": (
            (
                lambda a, b: 2 * _db(_mse(a, b)),
                "Twice too large: 20 log10 belongs to the root of the MSE, 10 log10 to the MSE.",
            ),
            (
                lambda a, b: _db(_mse(a, b) / 255**2),
                "48.13 dB too much: 255 is the peak of bytes. These images have a peak of 1.",
            ),
            (
                lambda a, b: torch.stack([_db(_mse(x, y)) for x, y in zip(a, b, strict=True)]).mean(),
                "You averaged the decibels of the three channels. Average the squared error over everything first.",
            ),
            (lambda a, b: -10 * _mse(a, b).log(), "That is the natural logarithm; decibels need log10."),
            (lambda a, b: -_db(_mse(a, b)), "The sign is upside down: a smaller error is a larger PSNR."),
            (
                lambda a, b: _db((a - b).abs().mean()),
                "That is the mean absolute error; PSNR uses the mean squared error.",
            ),
        ),
        "hints": (
            "Difference, square, mean, logarithm: in this order.",
            "`-10 * torch.log10(mse)` for images in [0, 1].",
        ),
    },
    {
        "id": "2.2",
        "reference": _psnr_y,
        "inputs": _pair_and_border,
        "mistakes": (
            (
                lambda a, b, border: _db(_mse(_inner(_jpeg_luma(a), border), _inner(_jpeg_luma(b), border))),
                "1.32 dB too low: your luma spans 0 to 255, as JPEG's does. MATLAB's spans 16 to 235.",
            ),
            (lambda a, b, border: _psnr_y(a, b, 0), "You did not cut the border."),
            (
                lambda a, b, border: _db(
                    _mse(images.rgb_to_y(a)[..., border:, border:], images.rgb_to_y(b)[..., border:, border:])
                ),
                "You cut the border at the top and left only; it goes off all four sides.",
            ),
            (
                lambda a, b, border: metrics.psnr(a, b, metrics.Protocol("rgb", border, False)),
                "That is all three channels. The Y of the name is luma.",
            ),
        ),
        "hints": (
            "`images.rgb_to_y` converts; slicing cuts; exercise 2.1 does the rest.",
            "x[..., border:-border, border:-border] cuts all four sides.",
        ),
        "tolerance": 1e-4,
    },
    {
        "id": "2.3",
        "reference": lambda mu_a, mu_b: (2 * mu_a * mu_b + 1e-4) / (mu_a**2 + mu_b**2 + 1e-4),
        "inputs": lambda generator: tuple((0.02 + 0.2 * torch.rand(2, generator=generator)).tolist()),
        "mistakes": (
            (lambda a, b: 2 * a * b / (a**2 + b**2), "You left out C1, which matters when both images are dark."),
            (
                lambda a, b: (2 * a * b + 0.01) / (a**2 + b**2 + 0.01),
                "C1 is the square of 0.01.",
            ),
            (lambda a, b: 0.0, "The second factor is C2 / C2 = 1: two images without contrast agree in contrast."),
        ),
        "hints": ("A constant image has no variance and no covariance: what is left of the second factor?",),
        "tolerance": 1e-7,
    },
    {
        "id": "2.4",
        "reference": lambda mse: (-10 * mse.log10()).mean(),
        "inputs": lambda generator: (10 ** (-1 - 3 * torch.rand(12, generator=generator)),),
        "mistakes": (
            (
                lambda mse: -10 * mse.mean().log10(),
                "That is the decibel of the mean error. The field averages the decibels of the images.",
            ),
            (lambda mse: -10 * mse.log10().sum(), "That is their sum; divide by the number of images."),
            (
                lambda mse: -10 * math.log10(float(mse.median())) + torch.zeros(()),
                "That is the median image. Tables print the mean.",
            ),
        ),
        "hints": ("First one PSNR for each image, then the mean of these.",),
    },
]
