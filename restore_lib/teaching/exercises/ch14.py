"""Exercises of chapter 14, PSNR against LPIPS."""

from itertools import pairwise

import torch
from torch import Tensor

BORDER = 4


def _networks(generator):
    """State dicts of two networks with batch norm, and a share; the count of batches is a whole number."""
    states = []
    for batches in (3, 40):
        states.append(
            {
                "conv.weight": torch.randn(2, 3, 3, 3, generator=generator),
                "conv.bias": torch.randn(2, generator=generator),
                "norm.running_var": 0.5 + torch.rand(2, generator=generator),
                "norm.num_batches_tracked": torch.tensor(batches),
            }
        )
    return *states, float(0.1 + 0.3 * torch.rand(1, generator=generator))


def _in_a_row(returned, *_):
    """All values by sorted name; whole numbers must have stayed whole."""
    whole = [float(not value.is_floating_point()) for _, value in sorted(returned.items())]
    return torch.cat([torch.tensor(whole), *(value.flatten().double() for _, value in sorted(returned.items()))])


def _between(first, second, share, weights=None):
    """``weights(share)`` gives the factors of the two networks."""
    a, b = (weights or (lambda s: (1 - s, s)))(share)
    return {name: a * value + b * second[name] if value.is_floating_point() else value for name, value in first.items()}


def _with(changed, first, second, share):
    """As it should be but for entries that ``changed(name)`` takes from the first network."""
    made = _between(first, second, share)
    return {name: first[name] if changed(name) else value for name, value in made.items()}


def _answers(generator):
    """Possible values of six pixels and their chances; the likeliest one is never the mean."""
    values, chances = torch.rand(2, 6, 5, generator=generator, dtype=torch.float64)
    chances = (0.1 + chances) / (0.1 + chances).sum(1, keepdim=True)
    return values, chances


def _expected(values, chances):
    return (values * chances).sum(1)


def _cost(answer, values, chances):
    """Expected squared error of one answer a pixel, averaged over pixels."""
    return _expected((values - answer[:, None]) ** 2, chances).mean()


def _drawn(values, chances):
    apart = (values[:, :, None] - values[:, None, :]) ** 2
    return (chances[:, :, None] * chances[:, None, :] * apart).sum((1, 2)).mean()


def _likeliest(values, chances):
    return values.gather(1, chances.argmax(1, keepdim=True))[:, 0]


def _costs(values, chances):
    return torch.stack(
        [
            _cost(_expected(values, chances), values, chances),
            _drawn(values, chances),
            _cost(_likeliest(values, chances), values, chances),
        ]
    )


def _pictures(generator):
    """A photo that reaches black and white, and a result that leaves [0, 1] and is worse at its border."""
    hr = (1.4 * torch.rand(3, 20, 24, generator=generator) - 0.2).clamp(0, 1)
    hr = (hr * 255).round() / 255
    sr = hr + 0.04 * torch.randn(3, 20, 24, generator=generator)
    rim = torch.ones(20, 24)
    rim[BORDER:-BORDER, BORDER:-BORDER] = 0
    return sr + 0.2 * rim * torch.randn(3, 20, 24, generator=generator), hr


def _psnr(sr: Tensor, hr: Tensor, *, clip: bool = True, quantized: bool = True, border: int = BORDER) -> Tensor:
    sr = sr.clamp(0, 1) if clip else sr
    sr = (sr * 255).round() / 255 if quantized else sr
    inside = (slice(None), *(slice(border, n - border) for n in hr.shape[1:]))
    return -10 * (sr[inside] - hr[inside]).double().square().mean().log10()


def _methods(generator):
    """Nine methods along a curve on which both get better and worse, some pushed off it; no two alike."""
    along = torch.linspace(0, 1, 9) + 0.02 * torch.rand(9, generator=generator)
    off = torch.zeros(9)
    off[torch.randperm(7, generator=generator)[:4] + 1] = 0.3
    psnr, lpips = 22 + 4 * along - 6 * off, 0.2 + 0.3 * along**2 + 0.5 * off
    order = torch.randperm(9, generator=generator)
    return psnr[order], lpips[order]


def _front(psnr, lpips):
    at_least = (psnr[:, None] <= psnr) & (lpips[:, None] >= lpips)
    better = (psnr[:, None] < psnr) | (lpips[:, None] > lpips)
    return ~(at_least & better).any(1)


def _along(psnr, lpips):
    """Only neighbours in PSNR are compared."""
    order = psnr.argsort(descending=True).tolist()
    kept = torch.zeros(len(psnr), dtype=torch.bool)
    kept[order[0]] = True
    for before, at in pairwise(order):
        kept[at] = bool(lpips[at] < lpips[before])
    return kept


EXERCISES = [
    {
        "id": "14.1",
        "reference": _between,
        "seen": _in_a_row,
        "inputs": _networks,
        "mistakes": (
            (
                lambda first, second, share: _between(second, first, share),
                "The other way round: share 0 is the first network, share 1 the second.",
            ),
            (
                lambda first, second, share: _between(first, second, share, lambda s: (1, s)),
                "You add the share to the whole first network; the first gets 1 - share.",
            ),
            (
                lambda first, second, share: _between(first, second, share, lambda s: (0.5, 0.5)),
                "That is always the middle. Where is the share?",
            ),
            (
                lambda first, second, share: {
                    name: (1 - share) * value + share * second[name] for name, value in first.items()
                },
                "The count of batches has become a fraction. Leave whole numbers as they are in the first network.",
            ),
            (
                lambda first, second, share: _with(lambda name: not name.endswith("weight"), first, second, share),
                "You interpolate weights alone. Biases belong to them, and so do running variances.",
            ),
            (
                lambda first, second, share: _with(lambda name: name.startswith("norm"), first, second, share),
                "The running variance stays the first network's: it does not fit the layers in front of it any more.",
            ),
        ),
        "hints": (
            "One dictionary with the same names; of each value (1 - share) * first + share * second.",
            "value.is_floating_point() tells what may be interpolated.",
        ),
    },
    {
        "id": "14.2",
        "reference": _costs,
        "inputs": _answers,
        "mistakes": (
            (
                lambda values, chances: _costs(values, torch.full_like(chances, 1 / chances.shape[1])),
                "You count all answers alike; some are likelier than others.",
            ),
            (
                lambda values, chances: torch.stack(
                    [
                        _costs(values, chances)[0],
                        _cost(_expected(values, chances), values, chances),
                        _costs(values, chances)[2],
                    ]
                ),
                "A draw costs more than the mean: truth *and* draw are off the mean, independently.",
            ),
            (
                lambda values, chances: torch.stack(
                    [*_costs(values, chances)[:2], _cost(values.mean(1), values, chances)]
                ),
                "The third is the value with the largest chance, not the plain mean of all values.",
            ),
            (
                lambda values, chances: _costs(values, chances)[[0, 2, 1]],
                "The order: the mean, a draw, the likeliest.",
            ),
            (
                lambda values, chances: _costs(values, chances) * len(values),
                "That is the sum over pixels; their mean is asked for.",
            ),
            (
                lambda values, chances: _costs(values, chances).sqrt(),
                "Squared errors are asked for, without the root.",
            ),
        ),
        "hints": (
            "The cost of an answer a is the sum of chances * (values - a)**2. Of which a is the sum smallest?",
            "For a draw, average the cost of each value with its own chance; it must come out as twice the first.",
        ),
    },
    {
        "id": "14.3",
        "reference": _psnr,
        "inputs": _pictures,
        "tolerance": 1e-6,
        "mistakes": (
            (
                lambda sr, hr: _psnr(sr, hr, clip=False, quantized=False, border=0),
                "That is the function as printed. A file holds 8 bits from black to white, and the table says: without "
                "the border.",
            ),
            (
                lambda sr, hr: _psnr(sr, hr, clip=False, quantized=False),
                "One of two is mended. Nobody will ever see values beyond white, or between two levels.",
            ),
            (
                lambda sr, hr: _psnr(sr, hr, border=0),
                "One of two is mended. The border is still there.",
            ),
            (
                lambda sr, hr: _psnr(sr, hr, clip=False),
                "Rounded, but not clipped: levels below 0 and above 255 are in no file.",
            ),
            (
                lambda sr, hr: _psnr(sr, hr, quantized=False),
                "Clipped, but not rounded to levels.",
            ),
            (
                lambda sr, hr: _psnr(sr, hr, border=2 * BORDER),
                "You cut too much: 4 pixels from each side.",
            ),
            (
                lambda sr, hr: _psnr((sr.clamp(0, 1) * 255).floor() / 255, hr),
                "You cut fractions off instead of rounding: half a level darker on average.",
            ),
        ),
        "hints": (
            "What would the numbers be if the result were written to a file, and read again?",
            "sr = (sr.clamp(0, 1) * 255).round() / 255, and then [:, 4:-4, 4:-4] of both.",
        ),
    },
    {
        "id": "14.4",
        "reference": _front,
        "inputs": _methods,
        "mistakes": (
            (
                lambda psnr, lpips: _front(psnr, -lpips),
                "You look for high LPIPS. Lower is better there.",
            ),
            (
                lambda psnr, lpips: ~_front(psnr, lpips),
                "The other way round: true for those that no other beats.",
            ),
            (
                lambda psnr, lpips: (psnr == psnr.max()) | (lpips == lpips.min()),
                "Those are the two ends. Between them there are methods that no *single* other beats in both.",
            ),
            (
                _along,
                "You compare neighbours only. A method far away may beat both.",
            ),
        ),
        "hints": (
            "Method i is beaten if some j has at least its PSNR and at most its LPIPS, and is not the same in both.",
            "psnr[:, None] <= psnr is a table: row i, column j says whether j is at least as good as i.",
        ),
    },
]
