"""Exercises of chapter 17, every scale."""

import math

import torch

from restore_lib import metrics
from restore_lib.experiments import paper_c
from restore_lib.resampling import resize_antialiased

ROUNDED = ((2.4, (33, 45), (37, 41)), (2.6, (33, 41), (37, 45)), (3.3, (45, 55), (37, 41)))  # scale; sides up, down


def _pair(generator):
    """A truth, a result that leaves [0, 1] in places, and a scale by which one side is rounded up, the other down."""
    which, up, down, turn = torch.randint(0, 6, (4,), generator=generator).tolist()
    scale, larger, smaller = ROUNDED[which % 3]
    sides = [larger[up % 2], smaller[down % 2]][:: 1 if turn % 2 else -1]
    hr = torch.rand(3, *sides, generator=generator)
    smooth = resize_antialiased(resize_antialiased(hr, [n // 2 for n in sides]), sides)
    sr = smooth + 0.3 * torch.randn(3, 1, 1, generator=generator) + 0.05 * torch.randn(hr.shape, generator=generator)
    return sr, hr, scale


def _lr_psnr(sr, hr, scale):
    return metrics.lr_psnr(sr.clamp(0, 1), hr, scale)


def _reduced(sr, hr, scale, *, whole=round, clip=True, antialias=True, levels=0, border=0):
    """The same by hand; each option set otherwise is a slip."""
    size = [max(1, whole(n / scale)) for n in hr.shape[1:]]
    small = []
    for x in (sr.clamp(0, 1) if clip else sr, hr):
        if antialias:
            x = resize_antialiased(x, size)
        else:
            x = torch.nn.functional.interpolate(x[None], size=size, mode="bicubic")[0]
        x = (x.clamp(0, 1) * levels).round() / levels if levels else x
        small.append(x[:, border : size[0] - border, border : size[1] - border])
    return -10 * (small[0] - small[1]).square().mean().log10()


def _slip(**options):
    return lambda *given: _reduced(*given, **options)


def _enlarged(sr, hr, scale):
    """The truth reduced and enlarged again, compared at the large size."""
    size = [round(n / scale) for n in hr.shape[1:]]
    small = [resize_antialiased(resize_antialiased(x, size), hr.shape[1:]) for x in (sr.clamp(0, 1), hr)]
    return -10 * (small[0] - small[1]).square().mean().log10()


def _cells(generator):
    """A picture with a slope, some noise, and jumps where cells meet."""
    cell = int(torch.randint(4, 9, (), generator=generator))
    high, wide = (cell * int(torch.randint(3, 6, (), generator=generator)) for _ in range(2))
    levels = torch.rand(3, high // cell, wide // cell, generator=generator)
    blocks = levels.repeat_interleave(cell, 1).repeat_interleave(cell, 2)
    slope = torch.linspace(0, 1, wide) + torch.linspace(0, 2, high)[:, None]
    noise = torch.rand(3, high, wide, generator=generator)
    return (0.2 * blocks + 0.2 * slope + 0.1 * noise).double(), cell


def _jump(image, cell):
    return torch.tensor(paper_c.border_jump(image, cell), dtype=torch.float64)


def _jumps(image, cell, *, less=True, ways=2, inside="inner", absolute=True, shift=0, power=1):
    """The same by hand; each option set otherwise is a slip."""
    borders, insides = [], []
    for along in (image, image.transpose(1, 2))[:ways]:
        step = along.diff(dim=2)
        aside = (step[..., :-2] + step[..., 2:]) / 2 if less else 0
        jump = step[..., 1:-1] - aside
        jump = jump.abs() ** power if absolute else jump
        phase = (torch.arange(jump.shape[2]) + 1 + shift) % cell
        borders.append(jump[..., phase == cell - 1].flatten())
        inner = {"inner": (phase >= 1) & (phase <= cell - 3), "all": phase < cell, "other": phase != cell - 1}[inside]
        insides.append(jump[..., inner].flatten())
    return torch.cat(borders).mean() / torch.cat(insides).mean()


def _off(**options):
    return lambda *given: _jumps(*given, **options)


def _price(generator):
    """Multiplications: encoder, content and the rest of a decoder; and a scale."""
    encoder, content, rest = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
    scale = 1.5 + 5 * torch.rand((), generator=generator).item()
    return 1e6 * (0.2 + encoder), 1e5 * (2 + content), 1e5 * (2 + rest), scale


def _whole(encoder, content, rest, scale, *, power=2, counted=True, cached="small"):
    large = scale**power
    before = (encoder if counted else 0) + large * (content + rest)
    paid = {"small": content, "free": 0, "large": large * content}[cached]
    return torch.tensor(before / ((encoder if counted else 0) + paid + large * rest), dtype=torch.float64)


def _priced(**options):
    return lambda *given: _whole(*given, **options)


def _trainings(generator):
    """Results of two variants: two to five seeds each, on nine photos, which differ far more than seeds do."""
    seeds = torch.randint(2, 6, (2,), generator=generator).tolist()
    photos = 28 + 3 * torch.randn(9, generator=generator, dtype=torch.float64)
    of_seeds = [0.1 * torch.randn(n, 1, generator=generator, dtype=torch.float64) for n in seeds]
    apart = 0.2 * torch.randn((), generator=generator, dtype=torch.float64)
    both = [photos + seed + 0.02 * torch.randn(len(seed), 9, generator=generator) for seed in of_seeds]
    return both[0] + apart, both[1]


def _claim(a, b):
    means = a.mean(1), b.mean(1)
    error = math.sqrt(sum(float(m.var()) / len(m) for m in means))
    return torch.stack([means[0].mean() - means[1].mean(), torch.tensor(error, dtype=torch.float64)])


def _error(other):
    """The right difference, with another error."""

    def answer(a, b):
        return torch.stack([_claim(a, b)[0], torch.as_tensor(other(a, b), dtype=torch.float64)])

    return answer


def _over(variance):
    return lambda a, b: math.sqrt(sum(float(variance(x)) for x in (a, b)))


EXERCISES = [
    {
        "id": "17.1",
        "reference": _lr_psnr,
        "inputs": _pair,
        "tolerance": 1e-4,
        "mistakes": (
            (_slip(clip=False), "The result leaves [0, 1]: clip it first, as a file would."),
            (_slip(whole=int), "Half a pixel is rounded, not cut off: round(n / scale)."),
            (_slip(whole=math.ceil), "Half a pixel is rounded, not up: round(n / scale)."),
            (
                _slip(antialias=False),
                "Reducing needs antialiasing: `resize_antialiased`, which made the small picture.",
            ),
            (_slip(levels=255), "These small pictures are compared in floating point, not rounded to 8 bits."),
            (_slip(border=1), "No border is cut off here: all pixels count."),
            (_enlarged, "Compare the two *small* pictures; do not enlarge them again."),
            (
                lambda sr, hr, scale: metrics.psnr(sr.clamp(0, 1), hr, metrics.DIINN_TEST),
                "That is the PSNR of the large pictures. Both have to be reduced first.",
            ),
            (lambda *given: -_lr_psnr(*given), "The sign is the other way round: -10 log10(MSE)."),
        ),
        "hints": (
            "The small picture has round(H / scale) x round(W / scale) pixels. Which filter makes it?",
            "small = [resize_antialiased(x, size) for x in (sr.clamp(0, 1), hr)], and then the PSNR of these two.",
        ),
    },
    {
        "id": "17.2",
        "reference": _jump,
        "inputs": _cells,
        "tolerance": 1e-4,
        "mistakes": (
            (_off(less=False), "A slope is no jump: take off the mean of the differences on either side."),
            (_off(ways=1), "That looks along rows only. Borders lie across columns, too."),
            (_off(inside="all"), "Inside means inside: the borders' own jumps are among those that you divide by."),
            (
                _off(inside="other"),
                "Next to a border, one of the two differences on either side *is* the border's. Leave those out.",
            ),
            (_off(absolute=False), "Jumps up and down cancel: take their size."),
            (_off(power=2), "The mean *size*, not the mean square."),
            (_off(shift=1), "You are off by a pixel: cells begin at pixel 0, and the first border is after cell - 1."),
            (_off(shift=-1), "You are off by a pixel: cells begin at pixel 0, and the first border is after cell - 1."),
            (lambda *given: 1 / _jump(*given), "The other way round: borders divided by insides."),
        ),
        "hints": (
            "step = image.diff(dim=2); jump = step[..., 1:-1] less the mean of its two neighbours.",
            "Jump k lies behind pixel k + 1: (k + 1) % cell is cell - 1 at borders, and 1 to cell - 3 inside cells.",
        ),
    },
    {
        "id": "17.3",
        "reference": _whole,
        "inputs": _price,
        "tolerance": 1e-9,
        "mistakes": (
            (_priced(power=1), "At scale s there are s^2 large pixels for a small one."),
            (_priced(counted=False), "That is the decoder alone. The encoder has to run either way."),
            (_priced(cached="free"), "The content's products are made once for each small pixel: they are not free."),
            (_priced(cached="large"), "Then nothing is saved: the content's products are made for *small* pixels."),
            (lambda *given: 1 / _whole(*given), "The other way round: what it cost, divided by what it costs now."),
            (
                lambda encoder, content, rest, scale: torch.tensor((content + rest) / rest),
                "That is the decoder's limit at large scales. Here the scale is given, and the encoder counts.",
            ),
        ),
        "hints": (
            "Count everything for one small pixel, which has scale^2 large ones.",
            "(encoder + s^2 (content + rest)) / (encoder + content + s^2 rest).",
        ),
    },
    {
        "id": "17.4",
        "reference": _claim,
        "inputs": _trainings,
        "tolerance": 1e-6,
        "mistakes": (
            (
                _error(_over(lambda x: x.var() / x.numel())),
                "You take all numbers as independent. Photos share their training: average over them first.",
            ),
            (
                _error(_over(lambda x: x.mean(0).var() / x.shape[1])),
                "That is the spread over *photos*. What another training would say shows in the spread over seeds.",
            ),
            (
                _error(_over(lambda x: x.mean(1).var())),
                "That is for a single training each. A mean of n trainings varies less: divide by n.",
            ),
            (
                _error(_over(lambda x: x.mean(1).var(correction=0) / len(x))),
                "With few seeds it matters: divide by n - 1 for the variance, not by n.",
            ),
            (
                _error(lambda a, b: sum(float(x.mean(1).std()) / math.sqrt(len(x)) for x in (a, b))),
                "Errors that know nothing of each other add up in squares.",
            ),
            (
                lambda a, b: _claim(a, b) * torch.tensor([-1.0, 1.0]),
                "The first variant's mean minus the second's.",
            ),
            (lambda a, b: _claim(a, b) ** torch.tensor([1.0, 2.0]), "That is the variance: take the root."),
        ),
        "hints": (
            "One number for each training: x.mean(1). How much do these vary?",
            "The variance of a mean of n is var / n; that of a difference is the sum of both. Then the root.",
        ),
    },
]
