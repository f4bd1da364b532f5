"""Exercises of chapter 8, which blur made this photo."""

import torch
from torch.nn import functional

from restore_lib.realsr.kernelgan import KernelSettings, Schedule
from restore_lib.realsr.kernels import centre_of_mass


def _spread(kernel, step):
    """Zeros between the cells: they lie ``step`` apart."""
    height, width = kernel.shape
    wide = kernel.new_zeros(step * (height - 1) + 1, step * (width - 1) + 1)
    wide[::step, ::step] = kernel
    return wide


def _full(a, b, *, flip=True):
    """Full convolution of two kernels; without the flip it is their correlation."""
    height, width = b.shape
    b = b.flip(0, 1) if flip else b
    return functional.conv2d(a[None, None], b[None, None], padding=(height - 1, width - 1))[0, 0]


def _compose(first, second, stride):
    return _full(first, _spread(second, stride))


def _same_size(first, second, stride):
    whole = _compose(first, second, stride)
    rows, columns = ((n - m) // 2 for n, m in zip(whole.shape, first.shape, strict=True))
    return whole[rows : rows + first.shape[0], columns : columns + first.shape[1]]


def _two_kernels(generator):
    """No symmetry, different sizes, so that every flip and every wrong order shows."""
    first = torch.rand(5, 4, generator=generator, dtype=torch.float64)
    second = torch.rand(3, 3, generator=generator, dtype=torch.float64)
    return first, second, int(torch.randint(2, 4, (), generator=generator))


def _one_kernel(generator):
    """Its sum is not quite 1, as a generator's."""
    kernel = torch.rand(7, 7, generator=generator, dtype=torch.float64)
    return (kernel / kernel.sum() * (1.05 + 0.1 * torch.rand((), generator=generator).item()),)


def _x4(kernel, *, step=2, flip=True):
    whole = _full(kernel, _spread(kernel, step), flip=flip)
    return whole / whole.sum()


def _off_centre(generator):
    """Sizes differ along the axes, the mass lies anywhere near the middle, and no scale of 2 hides a mistake."""
    kernel = torch.rand(9, 13, generator=generator, dtype=torch.float64) ** 3
    return kernel, int(torch.randint(3, 6, (), generator=generator))


def _shift(kernel, scale, *, offset=lambda s: (s - 1) / 2, sign=1):
    middle = torch.tensor([(n - 1) / 2 for n in kernel.shape], dtype=kernel.dtype)
    return sign * (middle + offset(scale) - centre_of_mass(kernel))


def _losses(generator):
    """Two short dips, each before a check, then three low losses in a row before the next, and high ones again."""

    def between(low, high):
        return int(torch.randint(low, high, (), generator=generator))

    threshold = 0.02 + 0.04 * torch.rand((), generator=generator).item()
    losses = threshold * (1.1 + torch.rand(80, generator=generator, dtype=torch.float64))
    for start, length in ((between(1, 8), 2), (between(11, 18), 2), (between(21, 27), 3)):
        losses[start : start + length] = threshold * 0.8
    return losses, threshold, 10


def _schedule(losses, threshold, every):
    schedule, rows = Schedule(KernelSettings(threshold=threshold, check_every=every)), []
    for step, loss in enumerate(losses.tolist()):
        schedule.after(step, loss)
        rows.append([schedule.weights[name] for name in ("bicubic", "centre", "sparse")])
    return torch.tensor(rows, dtype=torch.float64)


def _other_schedule(**changed):
    """The rule with one thing changed."""
    rule = {"needed": 3, "running": True, "factor": 100, "least": 5e-6, "below": 5e-3, "later": (1.0, 5.0)}
    rule |= {"at": lambda step, every: step % every == 0, "lost": False} | changed

    def schedule(losses, threshold, every):
        bicubic, others, low, anchored, rows = 5.0, (0.0, 0.0), 0, False, []
        for step, loss in enumerate(losses.tolist()):
            if anchored and rule["at"](step, every):
                bicubic = max(bicubic / rule["factor"], rule["least"])
                others = rule["later"] if bicubic < rule["below"] else others
            low = low + 1 if loss < threshold else (0 if rule["running"] else low)
            anchored = low >= rule["needed"] or (anchored and not rule["lost"])
            rows.append([bicubic, *others])
        return torch.tensor(rows, dtype=torch.float64)

    return schedule


EXERCISES = [
    {
        "id": "8.1",
        "reference": _compose,
        "inputs": _two_kernels,
        "mistakes": (
            (
                lambda a, b, s: _full(a, b),
                "You forgot the stride: neighbours under the second kernel lie `stride` pixels apart in the image.",
            ),
            (
                lambda a, b, s: _full(_spread(a, s), b),
                "You spread the first kernel. It sees the image before any pixel was dropped; spread the second.",
            ),
            (
                lambda a, b, s: _full(a, _spread(b, s), flip=False),
                "You correlate the kernels with each other. Two correlations in a row are one whose kernel is their "
                "*convolution*: `conv2d` correlates, so flip one of them first.",
            ),
            (
                lambda a, b, s: _compose(a, b, s).flip(0, 1),
                "The kernel is right but turned by 180 degrees: flip one of the two, and pad the other.",
            ),
            (
                _same_size,
                "You keep the size of the first kernel. Together the two reach further: pad by the second's size "
                "minus 1 on each side.",
            ),
            (
                lambda a, b, s: _compose(a, b, s) / _compose(a, b, s).sum(),
                "You normalise. The sum of the whole is the product of the sums; leave it.",
            ),
        ),
        "hints": (
            "A pixel of the result is a weighted sum of weighted sums. Which input pixel does cell u of the first meet "
            "under cell v of the second? The one at u + stride * v.",
            "Put stride - 1 zeros between the cells of `second`, then take the full convolution of both: conv2d of the "
            "padded first with the flipped second.",
        ),
    },
    {
        "id": "8.2",
        "reference": _x4,
        "inputs": _one_kernel,
        "mistakes": (
            (
                lambda k: _x4(k, step=1),
                "Without zeros between the cells of one of them, this is the kernel of blurring twice at the same "
                "size. The second reduction sees pixels that are two apart.",
            ),
            (
                lambda k: _x4(k, step=4),
                "You spread by 4. The second reduction works on an image that was reduced by 2.",
            ),
            (
                lambda k: _full(k, _spread(k, 2)),
                "Right, but for the sum: a kernel of sum 1.1 would brighten. Divide by the sum at the end.",
            ),
            (
                lambda k: _full(k, _spread(k, 2)) / k.sum(),
                "Both kernels bring their sum along: divide by the sum of the result.",
            ),
            (
                lambda k: _full(k, _spread(k, 2)) / _full(k, _spread(k, 2)).max(),
                "You divide by the largest cell. The brightness is kept when the *sum* is 1.",
            ),
            (
                lambda k: _x4(k, flip=False),
                "One of the two is turned by 180 degrees: `conv2d` correlates, so flip the one that you hand it as "
                "weight.",
            ),
            (
                lambda k: _x4(k)[3:-3, 3:-3] / _x4(k)[3:-3, 3:-3].sum(),
                "You cut the border off, as `analytic_x4` does where cells are nearly 0. Here they are not: keep all.",
            ),
            (
                lambda k: _full(_spread(k, 2), _spread(k, 2)) / k.sum() ** 2,
                "You spread both. The first reduction sees every pixel of the large image.",
            ),
        ),
        "hints": (
            "It is exercise 8.1 with the same kernel twice and stride 2.",
            "The result has 3 n - 2 cells along each side. Then divide by its sum.",
        ),
    },
    {
        "id": "8.3",
        "reference": _shift,
        "inputs": _off_centre,
        "mistakes": (
            (
                lambda k, s: _shift(k, s, offset=lambda s: 0),
                "That is the planted mistake: it puts the centre on the middle cell, as if s were 1. Where is the "
                "middle of a block of s x s pixels?",
            ),
            (
                lambda k, s: _shift(k, s, offset=lambda s: s / 2),
                "You count from 1, cells or pixels: s pixels, from 0 to s - 1, have their middle at (s - 1) / 2.",
            ),
            (
                lambda k, s: _shift(k, s, offset=lambda s: -(s - 1) / 2),
                "Up and left of the middle cell lies what belongs to the block before: the other way.",
            ),
            (
                lambda k, s: _shift(k, s, sign=-1),
                "That is from where it should be to where it is: exchange the sign.",
            ),
            (
                lambda k, s: _shift(k, s).flip(0),
                "Columns before rows: a kernel is stored rows first, and so is its shift.",
            ),
            (
                lambda k, s: _shift(k, s, offset=lambda s: 0.5),
                "Half a pixel is right for s = 2 only.",
            ),
            (
                lambda k, s: torch.full((2,), (s - 1) / 2, dtype=k.dtype),
                "That would do for a kernel whose centre of mass lies on its middle cell. Where does this one's lie?",
            ),
        ),
        "hints": (
            "Shift = where the centre of mass should be, minus where it is.",
            "It should be (scale - 1) / 2 cells below and right of cell (n - 1) / 2, along each axis.",
        ),
    },
    {
        "id": "8.4",
        "reference": _schedule,
        "inputs": _losses,
        "tolerance": 1e-7,
        "mistakes": (
            (
                _other_schedule(needed=1),
                "One low loss ends your first phase. It may be a lucky crop: three steps running are asked for.",
            ),
            (
                _other_schedule(needed=3, running=False),
                "You count low losses in all. They must follow each other: a high one sets the count back to 0.",
            ),
            (
                _other_schedule(lost=True),
                "You divide only while the loss is low. Once three low ones in a row have been seen, that is settled.",
            ),
            (
                _other_schedule(at=lambda step, every: True),
                "You divide at every step. Weights change only at steps that are multiples of `every`.",
            ),
            (_other_schedule(factor=10), "The bicubic weight is divided by 100 each time."),
            (_other_schedule(least=0.0), "The bicubic weight never falls below 5e-6."),
            (
                _other_schedule(below=1.0),
                "The new constraints come in too early: after the first division the weight is 0.05, not below 5e-3.",
            ),
            (_other_schedule(later=(5.0, 1.0)), "Centre and sparsity are exchanged: their weights are 1 and 5."),
            (
                _other_schedule(later=(1.0, 1.0)),
                "The weight of sparsity is 5.",
            ),
        ),
        "hints": (
            "Keep three things while walking through the losses: the weights, how many low losses came in a row, and "
            "whether three ever did.",
            "At a multiple of `every`, if three in a row have been seen before: bicubic = max(bicubic / 100, 5e-6); if "
            "that is below 5e-3, centre = 1 and sparse = 5.",
        ),
    },
]
