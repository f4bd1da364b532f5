"""Exercises of chapter 10, training pairs that look real."""

import torch
import torch.nn.functional as F

from restore_lib.realsr.degradation import cut, cut_off
from restore_lib.realsr.kernels import gaussian_kernel
from restore_lib.resampling import align_kernel, downscale, imresize


def _lopsided(generator, cells):
    """A positive kernel about its middle that is not its own mirror image, in a margin of 3 cells, sum 1."""
    low, high, angle = torch.rand(3, generator=generator).tolist()
    spot = F.pad(gaussian_kernel(cells, (0.7 + 0.4 * low, 1.2 + 0.5 * high), 3 * angle), (3, 3, 3, 3))
    axis = int(torch.randint(2, (), generator=generator))
    return (2 * spot.roll(-1, axis) + spot.roll(2, axis)) / 3  # the centre of mass stays: 2 (-1) + 2 = 0


def _scene(generator, height, width):
    """Soft shapes up to black and white."""
    rough = torch.rand(3, height // 4, width // 4, generator=generator)
    return (imresize(rough, scale=4) * 1.6 - 0.3).clamp(0, 1)


def _off_phase(generator):
    """A photo, a kernel whose centre is anywhere, and each of three scales in turn."""
    scale = 2 + generator.initial_seed() % 3
    move = torch.randint(-1, 1, (2,), generator=generator).tolist()
    return _scene(generator, 48, 36), _lopsided(generator, 9).roll(move, (0, 1)), scale


def _from(hr, kernel, scale, first):
    return downscale(hr, kernel, 1, align=False)[..., first::scale, first::scale]


def _other_way(hr, kernel, scale):
    return downscale(hr, align_kernel(kernel.flip(0, 1), scale).flip(0, 1), scale, align=False)


def _step(generator):
    """A scene with black and white in it, a kernel aligned for x4, and a noise patch as large as the scene.

    The patch is darker on one side, and each channel has its own mean.
    """
    kernel = F.pad(_lopsided(generator, 8), (2, 0, 2, 0))
    slope = torch.linspace(-0.05, 0.05, 40)[None, :, None]
    patch = torch.tensor([0.45, 0.5, 0.6])[:, None, None] + slope + 0.08 * torch.randn(3, 40, 48, generator=generator)
    return _scene(generator, 40, 48), kernel, patch.clamp(0, 1)


def _reduced(hr, kernel):
    return downscale(hr, kernel, 4, align=False)


def _corner(hr, patch, axes=(1, 2)):
    """The noise that belongs to an LR image: a crop of the patch without its mean."""
    crop = patch[:, : hr.shape[1] // 4, : hr.shape[2] // 4]
    return crop - crop.mean(axes, keepdim=True) if axes else crop


def _degrade(hr, kernel, patch):
    return (_reduced(hr, kernel) + _corner(hr, patch)).clamp(0, 1)


def _whole_mean(hr, kernel, patch):
    noise = patch - patch.mean((1, 2), keepdim=True)
    return (_reduced(hr, kernel) + _corner(hr, noise, ())).clamp(0, 1)


def _noise_first(hr, kernel, patch):
    return _reduced(hr + patch - patch.mean((1, 2), keepdim=True), kernel).clamp(0, 1)


def _weights(generator):
    """Some weights, a few of them below 0 as bicubic has them, sum 1; and a noise level."""
    rows, columns = torch.randint(4, 10, (2,), generator=generator).tolist()
    kernel = torch.rand(rows, columns, generator=generator, dtype=torch.float64) - 0.15
    return kernel / kernel.sum(), 5 + 25 * torch.rand((), generator=generator).item()


def _pair(generator):
    """A photo, its reduction by 4, a place, and each of the four settings of two switches in turn."""
    hr = torch.rand(3, 64, 80, generator=generator)
    top, left = (1 + torch.randint(0, side - 9, (2,), generator=generator)[0].item() for side in (16, 20))
    settings = generator.initial_seed() % 4
    return hr, imresize(hr, scale=0.25), top, left, 8, settings % 2 == 1, settings >= 2


def _turned(x, mirror, transpose):
    x = x.flip(-1) if mirror else x
    return x.mT if transpose else x


def _crop_pair(hr, lr, top, left, size, mirror, transpose):
    crops = cut(hr, 4 * top, 4 * left, 4 * size), cut(lr, top, left, size)
    return tuple(_turned(x, mirror, transpose) for x in crops)


def _hr_only(hr, lr, top, left, size, mirror, transpose):
    crops = _crop_pair(hr, lr, top, left, size, False, False)
    return _turned(crops[0], mirror, transpose), crops[1]


def _lr_only(hr, lr, top, left, size, mirror, transpose):
    crops = _crop_pair(hr, lr, top, left, size, False, False)
    return crops[0], _turned(crops[1], mirror, transpose)


def _same_corner(hr, lr, top, left, size, mirror, transpose):
    crops = cut(hr, top, left, 4 * size), cut(lr, top, left, size)
    return tuple(_turned(x, mirror, transpose) for x in crops)


def _transposed_first(hr, lr, top, left, size, mirror, transpose):
    crops = _crop_pair(hr, lr, top, left, size, False, transpose)
    return tuple(_turned(x, mirror, False) for x in crops)


def _upside_down(hr, lr, top, left, size, mirror, transpose):
    crops = (x.flip(-2) if mirror else x for x in _crop_pair(hr, lr, top, left, size, False, False))
    return tuple(_turned(x, False, transpose) for x in crops)


def _both(returned, *inputs):
    """Sizes and values of two crops in one row of numbers."""
    hr, lr = returned
    sizes = torch.tensor([*hr.shape, *lr.shape]).double()
    return torch.cat([sizes, hr.double().flatten(), lr.double().flatten()])


EXERCISES = [
    {
        "id": "10.1",
        "reference": downscale,
        "inputs": _off_phase,
        "mistakes": (
            (
                lambda hr, kernel, scale: downscale(hr, kernel, scale, align=False),
                "That is the planted bug: output pixel j stands for a whole block of the photo, but you lay the "
                "kernel's middle on the first pixel of the block. Where is the block's own middle?",
            ),
            (
                lambda hr, kernel, scale: _from(hr, kernel, scale, (scale - 1) // 2),
                "Whole pixels do not do: with an even scale the middle of a block lies between two pixels. Move the "
                "kernel, which can move by fractions.",
            ),
            (
                lambda hr, kernel, scale: _from(hr, kernel, scale, scale // 2),
                "Starting at pixel scale // 2 is half a pixel too far when the scale is even. Move the kernel, which "
                "can move by fractions.",
            ),
            (_other_way, "You move the kernel the wrong way: up and left instead of down and right."),
            (
                lambda hr, kernel, scale: downscale(hr, align_kernel(kernel, 2), scale, align=False),
                "Right for a scale of 2 only. The middle of a block is (scale - 1) / 2 pixels from its first one.",
            ),
            (
                lambda hr, kernel, scale: downscale(hr, kernel.flip(0, 1), scale),
                "The place is right, but you flip the kernel: it is a correlation here, as in KernelGAN's code.",
            ),
            (
                lambda hr, kernel, scale: imresize(downscale(hr, kernel, 1, align=False), scale=1 / scale),
                "`imresize` blurs, too, so the photo is blurred twice. Blur with the kernel alone.",
            ),
        ),
        "hints": (
            "Pixel j of the output is the middle of pixels scale * j to scale * j + scale - 1 of the photo.",
            "`align_kernel(kernel, scale)` moves a kernel so that [::scale] becomes right.",
        ),
    },
    {
        "id": "10.2",
        "reference": _degrade,
        "inputs": _step,
        "mistakes": (
            (
                _noise_first,
                "You add the noise before the reduction, which averages most of it away: a camera's noise comes last.",
            ),
            (
                lambda hr, kernel, patch: _reduced(hr, kernel) + _corner(hr, patch),
                "Values leave [0, 1]: clamp the sum, as a camera does.",
            ),
            (
                lambda hr, kernel, patch: (_reduced(hr, kernel) + _corner(hr, patch, ())).clamp(0, 1),
                "The patch still has its own brightness, and all LR images become brighter: take the mean off.",
            ),
            (
                _whole_mean,
                "You take off the mean of the whole patch: the crop that you add has another one.",
            ),
            (
                lambda hr, kernel, patch: (_reduced(hr, kernel) + _corner(hr, patch, (0, 1, 2))).clamp(0, 1),
                "One mean for all three channels: what is left tints the image. Each channel has its own.",
            ),
            (
                lambda hr, kernel, patch: (_reduced(hr, kernel) + _corner(hr, patch).clamp(0, 1)).clamp(0, 1),
                "You clamp the noise, which cuts off its negative half, and images become brighter. Clamp the sum.",
            ),
            (
                lambda hr, kernel, patch: (
                    _reduced((255 * hr).round(), kernel).clamp(0, 255).floor() / 255 + _corner(hr, patch)
                ).clamp(0, 1),
                "You reduce 8-bit levels and cut their fractions off, as the released code does: half a level too "
                "dark. Stay in floating point.",
            ),
            (
                lambda hr, kernel, patch: (_reduced(hr, kernel).mul(255).floor() / 255 + _corner(hr, patch)).clamp(
                    0, 1
                ),
                "You cut off the fractions of the reduced image: half a level too dark. Stay in floating point.",
            ),
            (
                lambda hr, kernel, patch: cut_off(_degrade(hr, kernel, patch)),
                "You cut off the fractions at the end: half a level too dark. Stay in floating point.",
            ),
            (
                lambda hr, kernel, patch: _degrade(hr, kernel, patch).mul(255).round() / 255,
                "You round to 8 bits. It does no harm to the brightness, but here everything stays floating point.",
            ),
            (
                lambda hr, kernel, patch: (_reduced(hr, kernel.flip(0, 1)) + _corner(hr, patch)).clamp(0, 1),
                "You flip the kernel: it is a correlation here, and the flipped kernel is not aligned any more.",
            ),
            (
                lambda hr, kernel, patch: (_reduced(hr, kernel) - _corner(hr, patch)).clamp(0, 1),
                "Noise is added, not taken off.",
            ),
        ),
        "hints": (
            "In this order: reduce with the kernel; crop the patch to the LR size; take the crop's mean off; add.",
            "noise = crop - crop.mean((1, 2), keepdim=True), then (lr + noise).clamp(0, 1).",
        ),
    },
    {
        "id": "10.3",
        "reference": lambda kernel, sigma: sigma * kernel.square().sum().sqrt(),
        "inputs": _weights,
        "mistakes": (
            (lambda kernel, sigma: sigma**2 * kernel.square().sum(), "That is the variance: take its square root."),
            (
                lambda kernel, sigma: sigma * kernel.square().sum(),
                "Variances are multiplied by the sum of squares. And standard deviations?",
            ),
            (
                lambda kernel, sigma: sigma * kernel.sum(),
                "Errors of different signs cancel: it is variances that add up, with squared weights.",
            ),
            (
                lambda kernel, sigma: sigma * kernel.abs().sum(),
                "That is the worst that could happen, all errors with the same sign. On average they cancel: add up "
                "variances, with squared weights.",
            ),
            (
                lambda kernel, sigma: sigma / kernel.numel() ** 0.5,
                "True of a plain mean. These weights differ: each variance is multiplied by its weight squared.",
            ),
            (
                lambda kernel, sigma: sigma * kernel.square().mean().sqrt(),
                "Sum up the squared weights; do not average them.",
            ),
            (
                lambda kernel, sigma: sigma * kernel.abs().max(),
                "The largest weight is not alone: every cell brings its share of noise.",
            ),
            (lambda kernel, sigma: sigma / 2, "That would be right for the mean over 2 x 2 pixels only."),
        ),
        "hints": (
            "The variance of a sum of independent numbers is the sum of their variances.",
            "The variance of w n is w squared times the variance of n.",
        ),
    },
    {
        "id": "10.4",
        "reference": _crop_pair,
        "seen": _both,
        "inputs": _pair,
        "mistakes": (
            (_hr_only, "You turn the HR crop only: no pixel of the pair belongs together any more."),
            (_lr_only, "You turn the LR crop only: no pixel of the pair belongs together any more."),
            (
                _same_corner,
                "The corner is counted in LR pixels. In the HR image it lies at 4 * top and 4 * left.",
            ),
            (_transposed_first, "You transpose first, then mirror: that is another position. Mirror first."),
            (_upside_down, "You mirror up and down; asked for is left and right, the last axis."),
            (
                lambda hr, lr, top, left, size, *_: _crop_pair(hr, lr, top, left, size, False, False),
                "The crops are right, but neither mirrored nor transposed.",
            ),
            (
                lambda *inputs: _crop_pair(*inputs)[::-1],
                "You return LR first; asked for is HR, then LR.",
            ),
            (
                lambda hr, lr, top, left, size, mirror, transpose: (
                    _turned(cut(hr, 4 * top, 4 * left, size), mirror, transpose),
                    _turned(cut(lr, top, left, size), mirror, transpose),
                ),
                "The HR crop is 4 times as large as the LR crop: 4 * size.",
            ),
        ),
        "hints": (
            "Cut first, both of them; then do the same to both.",
            "x.flip(-1) mirrors left and right, x.mT transposes: a loop over the two crops keeps them together.",
        ),
    },
]
