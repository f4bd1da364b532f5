"""Exercises of chapter 18, restore your own photo."""

import torch
from torch.nn import functional

from restore_lib.resampling import imresize


def _photo_and_result(generator):
    result = torch.rand(3, 12, 16, generator=generator)
    return result + 0.1 * torch.randn(3, 12, 16, generator=generator) + 0.05 * result, result


def _photo_and_method(generator):
    photo = torch.rand(3, 16, 20, generator=generator)
    gain = 1.5 + float(torch.rand((), generator=generator))  # beyond [0, 1], so that clipping matters

    def enlarge(small):
        return gain * functional.interpolate(small[None], scale_factor=2, mode="bilinear")[0] - 0.2

    return photo, enlarge


def _print(generator):
    pixels = torch.randint(300, 1000, (8,), generator=generator).double()
    pixels[::2] *= 10  # of large photos, which need no enlargement
    centimetres, dpi = torch.randint(12, 40, (2,), generator=generator).tolist()
    return pixels, centimetres, 10 * dpi


def _scale(pixels, centimetres, dpi, *, inch=2.54, least=1.0):
    return (dpi * centimetres / inch / pixels).clamp(min=least)


def _taken_away(photo, result, *, unit=255, other=None):
    r = photo - result
    pair = torch.stack([r.flatten(), (result if other is None else other).flatten()])
    return torch.stack([unit * r.std(), torch.corrcoef(pair)[0, 1]])


def _self_test(photo, enlarge, *, clip=True, reduce=None, turn=False):
    small = imresize(photo, scale=0.5) if reduce is None else reduce(photo)
    back = enlarge(small)
    back = back.clamp(0, 1) if clip else back
    return (10 if turn else -10) * (back - photo).square().mean().log10()


EXERCISES = [
    {
        "id": "18.1",
        "reference": _taken_away,
        "inputs": _photo_and_result,
        "mistakes": (
            (
                lambda photo, result: _taken_away(result, photo, other=result),
                "The signs are the other way round: the method noise is the photo minus the result.",
            ),
            (
                lambda photo, result: _taken_away(photo, result, unit=1),
                "The strength is 255 times too small: give it in levels of 255.",
            ),
            (
                lambda photo, result: _taken_away(photo, result, other=photo),
                "You correlate with the photo, which contains the noise itself. Correlate with the result.",
            ),
        ),
        "hints": ("`torch.corrcoef` takes two rows of numbers and gives a 2 x 2 table.",),
    },
    {
        "id": "18.2",
        "reference": _self_test,
        "inputs": _photo_and_method,
        "mistakes": (
            (
                lambda photo, enlarge: _self_test(photo, enlarge, clip=False),
                "Clip the enlarged picture to [0, 1] before you compare: no file could hold the rest.",
            ),
            (
                lambda photo, enlarge: _self_test(photo, enlarge, reduce=lambda x: x[:, ::2, ::2]),
                "You keep every second pixel, which aliases. Reduce with `imresize`.",
            ),
            (
                lambda photo, enlarge: _self_test(photo, enlarge, turn=True),
                "The sign is wrong: a smaller error gives a higher PSNR.",
            ),
        ),
        "hints": ("`imresize(photo, scale=0.5)` makes the small photo; PSNR is -10 log10 of the mean squared error.",),
    },
    {
        "id": "18.3",
        "reference": _scale,
        "inputs": _print,
        "mistakes": (
            (
                lambda pixels, centimetres, dpi: _scale(pixels, centimetres, dpi, least=0.0),
                "Below 1 where a photo has pixels enough: no photo has to shrink, so give at least 1.",
            ),
            (
                lambda pixels, centimetres, dpi: _scale(pixels, centimetres, dpi, inch=1.0),
                "Dots are counted per inch, and an inch is 2.54 centimetres.",
            ),
            (
                lambda pixels, centimetres, dpi: (pixels / (dpi * centimetres / 2.54)).clamp(min=1),
                "Upside down: how many pixels are wanted, divided by how many there are.",
            ),
        ),
        "hints": ("How many dots does the side of the print have?",),
    },
]
