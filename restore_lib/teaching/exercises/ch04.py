"""Exercises of chapter 4, a denoiser at three scales."""

import itertools

import torch
from torch.nn import functional

from restore_lib import noise


def _layers(generator):
    """Layers that mix kernels and strides, so that every mistake gives another width."""
    kernels = (2 * torch.randint(1, 4, (6,), generator=generator) + 1).tolist()
    strides = torch.randint(1, 3, (6,), generator=generator).tolist()
    return (list(zip(kernels, [*strides[:2], 2, 1, 2, strides[5]], strict=True)),)


def _field(layers):
    width, jump = 1, 1
    for kernel, stride in layers:
        width += (kernel - 1) * jump
        jump *= stride
    return width


def _field_own_stride(layers):
    width, jump = 1, 1
    for kernel, stride in layers:
        jump *= stride
        width += (kernel - 1) * jump
    return width


def _field_last_stride(layers):
    width, before = 1, 1
    for kernel, stride in layers:
        width += (kernel - 1) * before
        before = stride
    return width


def _stack(generator):
    channels = (4 * torch.randint(2, 20, (4,), generator=generator)).tolist()
    kernels = [1, 3, 5][:: 1 if torch.rand((), generator=generator) < 0.5 else -1]
    return channels, kernels, bool(generator.initial_seed() % 2)  # a check counts seeds up: both occur in every one


def _parameters(channels, kernels, bias, *, square=True, norm=2, first=0):
    total = 0
    for (c, d), k in zip(itertools.pairwise(channels), kernels, strict=True):
        total += c * d * (k**2 if square else k) + bool(bias) * (c if first else d) + norm * d
    return total


def _two_tensors(generator):
    height, width = (2 * torch.randint(3, 7, (2,), generator=generator) + 1).tolist()
    encoded = torch.randn(2, 5, height, width, generator=generator)
    return encoded, torch.randn(2, 5, height + 1, width + 1, generator=generator)


def _fuse(encoded, enlarged):
    height, width = encoded.shape[-2:]
    return torch.cat([encoded, enlarged[..., :height, :width]], dim=1)


def _photo(generator):
    """A step between two halves, which bothers a standard deviation, and noise; an odd number of blocks."""
    height, width = (2 * torch.randint(15, 25, (2,), generator=generator) + 1).tolist()
    sigma = 10 + 40 * torch.rand((), generator=generator).item()
    rows = torch.arange(2 * height)[:, None] + torch.arange(2 * width) > width
    clean = (0.2 + 0.6 * rows.float()).expand(3, -1, -1)
    return (noise.gaussian(clean, sigma, generator),)


def _sigma(y, *, half=0.5, scale=255 / 0.6745, spread=None):
    a, b, c, d = y[:, ::2, ::2], y[:, ::2, 1::2], y[:, 1::2, ::2], y[:, 1::2, 1::2]
    detail = half * (a - b - c + d)
    return scale * (detail.abs().median() if spread is None else spread(detail))


EXERCISES = [
    {
        "id": "4.1",
        "reference": _field,
        "inputs": _layers,
        "mistakes": (
            (
                lambda layers: 1 + sum(kernel - 1 for kernel, _ in layers),
                "You left out the strides: after a halving, a pixel stands for two pixels of the photo.",
            ),
            (
                _field_own_stride,
                "A layer's own stride changes the grid of the layers after it, not what its own kernel covers.",
            ),
            (_field_last_stride, "Strides multiply: after two halvings a pixel stands for four pixels of the photo."),
            (lambda layers: _field(layers) - 1, "Begin with 1: the pixel itself counts."),
        ),
        "hints": (
            "Keep two numbers: the width so far, and how many pixels of the photo one pixel of this layer's input is.",
            "width += (kernel - 1) * jump, and only then jump *= stride",
        ),
    },
    {
        "id": "4.2",
        "reference": _parameters,
        "inputs": _stack,
        "mistakes": (
            (lambda c, k, bias: _parameters(c, k, bias, square=False), "A kernel of side k has k times k weights."),
            (
                lambda c, k, bias: _parameters(c, k, bias, norm=0),
                "Batch norm learns, too: a scale and a shift a channel.",
            ),
            (lambda c, k, bias: _parameters(c, k, bias, norm=1), "Batch norm has two parameters a channel, not one."),
            (
                lambda c, k, bias: _parameters(c, k, bias, norm=4),
                "Running mean and variance are stored, but not learnt: they are no parameters.",
            ),
            (lambda c, k, bias: _parameters(c, k, True), "`bias` can be False: then the convolutions have none."),
            (lambda c, k, bias: _parameters(c, k, False), "`bias` can be True: then each output channel has one more."),
        ),
        "hints": (
            "Go through pairs of neighbouring channels: zip(channels, channels[1:], kernels).",
            "From c to d channels: c * d * k**2 weights, d biases if there are any, and 2 * d for batch norm.",
        ),
    },
    {
        "id": "4.3",
        "reference": _fuse,
        "inputs": _two_tensors,
        "mistakes": (
            (
                lambda a, b: torch.cat([b[..., : a.shape[-2], : a.shape[-1]], a], dim=1),
                "The other way round: the encoder's channels come first.",
            ),
            (
                lambda a, b: torch.cat([a, b[..., 1:, 1:]], dim=1),
                "You cropped at the top left, which moves the coarse view by a pixel: crop at right and bottom.",
            ),
            (
                lambda a, b: torch.cat([a, functional.interpolate(b, a.shape[-2:], mode="bilinear")], dim=1),
                "You resized: that blurs and moves what comes up. Crop it.",
            ),
            (
                lambda a, b: torch.cat([a, b[..., : a.shape[-2], : a.shape[-1]]], dim=0),
                "You joined along the batch. Channels are dimension 1.",
            ),
            (
                lambda a, b: a + b[..., : a.shape[-2], : a.shape[-1]],
                "That is the fusion by sum; here the channels stand beside each other.",
            ),
        ),
        "hints": (
            "enlarged[..., :height, :width] has the encoder's size.",
            "torch.cat([first, second], dim=1) puts channels beside each other.",
        ),
    },
    {
        "id": "4.4",
        "reference": _sigma,
        "inputs": _photo,
        "mistakes": (
            (
                lambda y: _sigma(y, scale=255, spread=torch.std),
                "A standard deviation counts edges as noise: take the median of absolute values.",
            ),
            (lambda y: _sigma(y, scale=255), "The median is not sigma yet: divide by 0.6745."),
            (lambda y: _sigma(y, scale=255 * 0.6745), "Divide by 0.6745, do not multiply."),
            (lambda y: _sigma(y, half=1.0), "Four independent values have twice the sigma of one: halve the detail."),
            (
                lambda y: _sigma(y, half=0.25),
                "Not a mean of four: the factor one half keeps the noise as strong as it is.",
            ),
            (lambda y: _sigma(y, scale=1 / 0.6745), "On the scale 0 to 255: multiply by 255."),
            (
                lambda y: _sigma(y, spread=torch.median),
                "Details are as often negative as positive: take absolute values before the median.",
            ),
        ),
        "hints": (
            "y[:, ::2, ::2] holds the top left pixel of each block, y[:, ::2, 1::2] the top right one.",
            "255 * detail.abs().median() / 0.6745",
        ),
    },
]
