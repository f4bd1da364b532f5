"""Exercises of chapter 0, how to use this book."""

import numpy as np
import torch

from restore_lib import images, noise


def _size(generator, low=5, high=12):
    height, width = torch.randint(low, high, (2,), generator=generator).tolist()
    return height, width + (height == width)  # never square, so that a swap of the axes shows


def _bytes(generator):
    height, width = _size(generator)
    pixels = torch.randint(0, 256, (height, width, 3), generator=generator)
    return (pixels.numpy().astype(np.uint8),)


def _noise_inputs(generator):
    x = torch.rand(3, *_size(generator), generator=generator)
    sigma, seed = torch.randint(10, 60, (2,), generator=generator).tolist()
    return x, sigma, seed


def _sizes(generator):
    height, width, batch = torch.randint(2, 400, (3,), generator=generator).tolist()
    return height, width, batch


def _seeded(seed):
    return torch.Generator().manual_seed(seed)


def _planes(a):
    return torch.from_numpy(a).permute(2, 0, 1).float()


EXERCISES = [
    {
        "id": "0.1",
        "reference": images.from_uint8,
        "inputs": _bytes,
        "mistakes": (
            (
                lambda a: torch.from_numpy(a).reshape(3, *a.shape[:2]).float() / 255,
                "The colours are shuffled: `reshape` cuts the same row of numbers anew. `permute` turns axes.",
            ),
            (_planes, "The values go up to 255. The book's images go up to 1."),
            (lambda a: _planes(a) / 256, "White became 0.996: the largest byte is 255, not 256."),
            (
                lambda a: torch.from_numpy(a).permute(2, 1, 0).float() / 255,
                "Rows and columns are swapped: (H, W, 3) becomes (3, H, W), so the axes go 2, 0, 1.",
            ),
            (lambda a: torch.from_numpy(a).float() / 255, "The colours still come last: move that axis to the front."),
        ),
        "hints": (
            "Three steps: make a tensor, move the colour axis to the front, change the range.",
            "`torch.from_numpy(a).permute(2, 0, 1)` has the right shape; its values are still bytes.",
        ),
    },
    {
        "id": "0.2",
        "reference": lambda x, sigma, seed: noise.gaussian(x, sigma, _seeded(seed)),
        "inputs": _noise_inputs,
        "mistakes": (
            (
                lambda x, sigma, seed: x + sigma * torch.randn(x.shape, generator=_seeded(seed)),
                "The noise is 255 times too strong: sigma is given on the scale 0 to 255, the image on 0 to 1.",
            ),
            (
                lambda x, sigma, seed: x + sigma / 255 * torch.rand(x.shape, generator=_seeded(seed)),
                "`rand` draws between 0 and 1, always upwards. Normal noise comes from `randn`.",
            ),
            (
                lambda x, sigma, seed: noise.gaussian(x, sigma, _seeded(seed)).clamp(0, 1),
                "You clip the result. A file would; but a model trained on clipped noise learns the clipping.",
            ),
        ),
        "hints": (
            "Make a generator from the seed inside the function, and hand it to whatever draws.",
            "`torch.Generator().manual_seed(seed)`, then `noise.gaussian(x, sigma, generator)`.",
        ),
    },
    {
        "id": "0.3",
        "reference": lambda height, width, batch: batch * 3 * height * width * 4 / 1e6,
        "inputs": _sizes,
        "mistakes": (
            (lambda h, w, b: b * h * w * 4 / 1e6, "You counted one channel; a colour image has three."),
            (lambda h, w, b: b * 3 * h * w / 1e6, "You counted values, not bytes: a float32 takes four bytes."),
            (lambda h, w, b: b * 3 * h * w * 4 / 2**20, "That is mebibytes (2^20 bytes); a megabyte is 10^6 bytes."),
            (lambda h, w, b: b * 3 * h * w * 4, "That is bytes; divide by a million."),
        ),
        "hints": ("How many numbers does the batch hold, and how many bytes does each take?",),
    },
]
