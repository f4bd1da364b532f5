"""Exercises of chapter 5, Kodak, image by image."""

import math

import torch
from torch import Tensor

from restore_lib import metrics

ENDS = torch.tensor([0.025, 0.975])


def _restored(generator):
    clean = torch.randint(0, 256, (3, 20, 26), generator=generator) / 255
    restored = clean + 0.05 * torch.randn(clean.shape, generator=generator)
    for side in (restored[:, :3], restored[:, -3:], restored[..., :3], restored[..., -3:]):
        side += 0.2 * torch.rand((), generator=generator)  # errors at every side, so that the border shows
    return restored, clean


def _bytes(x: Tensor) -> Tensor:
    return (x.clamp(0, 1) * 255).round() / 255


def _db(a: Tensor, b: Tensor) -> Tensor:
    return -10 * torch.log10((a - b).square().mean())


def _inner(x: Tensor) -> Tensor:
    return x[..., 3:-3, 3:-3]


def _two_methods(generator):
    photos, draws = 12, 200
    easy = 30 + 2 * torch.randn(photos, generator=generator)
    ours = easy + 0.1 + 0.1 * torch.randn(photos, generator=generator)
    return ours, easy, torch.randint(0, photos, (draws, photos), generator=generator)


def _interval(ours, theirs, draws):
    return (ours - theirs)[draws].mean(1).quantile(ENDS)


def _wins(generator):
    photos = int(torch.randint(10, 25, (), generator=generator))
    return photos // 2 + int(torch.randint(1, 4, (), generator=generator)), photos


def _chance(won, photos):
    return sum(math.comb(photos, k) for k in range(won, photos + 1)) / 2**photos


def _blocks(generator):
    # Each block has a brightness and a contrast of its own, so that different ways of comparing find different ones.
    blocks = torch.rand(60, 1, generator=generator) + torch.rand(60, 1, generator=generator) * torch.randn(
        60, 16, generator=generator
    )
    return blocks, int(torch.randint(0, 60, (), generator=generator)), 8


def _squared(blocks, i):
    return (blocks - blocks[i]).square().sum(1)


def _spread_and_difference(generator):
    low, more = torch.rand(2, generator=generator).tolist()
    return 0.02 + 0.05 * low, 0.2 + 0.2 * more


EXERCISES = [
    {
        "id": "5.1",
        "reference": lambda restored, clean: metrics.psnr(restored, clean, metrics.DENOISING),
        "inputs": _restored,
        "mistakes": (
            (lambda a, b: _db(_inner(a), _inner(b)), "You compare what no file can hold: clip and round first."),
            (
                lambda a, b: _db(_inner(a.clamp(0, 1)), _inner(b)),
                "You clip, but do not round: a file holds whole numbers from 0 to 255.",
            ),
            (
                lambda a, b: _db(_inner((a * 255).round() / 255), _inner(b)),
                "You round, but do not clip: no file holds 260, or -3.",
            ),
            (
                lambda a, b: _db(_inner((a.clamp(0, 1) * 255).floor() / 255), _inner(b)),
                "You cut off the digits after the point, as a plain conversion to bytes does. Round to the nearest.",
            ),
            (lambda a, b: _db(_bytes(a), b), "The border is still there: 3 pixels go off each side."),
            (
                lambda a, b: _db(_bytes(a)[..., 3:, 3:], b[..., 3:, 3:]),
                "You cut the border at the top and left only; it goes off all four sides.",
            ),
        ),
        "hints": (
            "Three steps before the formula of chapter 2: into [0, 1], onto 256 levels, without 3 pixels at each side.",
            "x.clamp(0, 1), then (x * 255).round() / 255, then x[..., 3:-3, 3:-3].",
        ),
    },
    {
        "id": "5.2",
        "reference": _interval,
        "inputs": _two_methods,
        "mistakes": (
            (
                lambda ours, theirs, draws: ours[draws].mean(1).quantile(ENDS) - theirs[draws].mean(1).quantile(ENDS),
                "You draw for each method alone. Subtract photo by photo first: then hard photos no longer matter.",
            ),
            (
                lambda ours, theirs, draws: (ours - theirs).quantile(ENDS),
                "That is where single photos lie. Where do *means* over drawn photos lie?",
            ),
            (
                lambda ours, theirs, draws: (ours - theirs)[draws].mean(1).quantile(torch.tensor([0.05, 0.95])),
                "A tenth lies outside yours: that is a 90 % interval. The ends are at 0.025 and 0.975.",
            ),
            (
                lambda ours, theirs, draws: (theirs - ours)[draws].mean(1).quantile(ENDS),
                "Upside down: ours minus theirs, so that a gain is positive.",
            ),
            (
                lambda ours, theirs, draws: (ours - theirs)[draws].mean(0).quantile(ENDS),
                "You average over the draws. Each row of `draws` is one set of photos: average along the row.",
            ),
        ),
        "hints": (
            "One difference for each photo; `differences[draws]` has a row for each drawn set of photos.",
            "The mean of each row, then `.quantile(torch.tensor([0.025, 0.975]))`.",
        ),
    },
    {
        "id": "5.3",
        "reference": _chance,
        "inputs": _wins,
        "mistakes": (
            (
                lambda won, photos: math.comb(photos, won) / 2**photos,
                "That is the chance of exactly so many. More would have impressed you as well: add them.",
            ),
            (
                lambda won, photos: _chance(won + 1, photos),
                "You left out the number that was won itself: at *least* so many.",
            ),
            (lambda won, photos: 1 - _chance(won, photos), "That is the chance of fewer. Take it from 1."),
            (
                lambda won, photos: min(1.0, 2 * _chance(won, photos)),
                "You counted both sides. Here only the chance of so many wins for the first method is asked for.",
            ),
            (lambda won, photos: won / photos, "That is the share of photos won. How likely is it, or more, by coins?"),
        ),
        "hints": (
            "Toss a coin for each photo. In how many of all 2^n outcomes are there at least so many heads?",
            "`math.comb(photos, k)` outcomes have exactly k heads; add them from k = won to photos.",
        ),
    },
    {
        "id": "5.4",
        "reference": lambda blocks, i, k: _squared(blocks, i).argsort()[:k],
        "inputs": _blocks,
        "mistakes": (
            (lambda blocks, i, k: _squared(blocks, i).argsort()[-k:], "Those are the blocks that are *least* alike."),
            (
                lambda blocks, i, k: _squared(blocks, i).argsort(descending=True)[:k],
                "Those are the blocks that are *least* alike: sort upwards.",
            ),
            (
                lambda blocks, i, k: _squared(blocks, i).argsort()[1 : k + 1],
                "You left out the block itself. It belongs to its group, with distance 0.",
            ),
            (
                lambda blocks, i, k: (blocks @ blocks[i]).argsort(descending=True)[:k],
                "A product is large for any bright block. Subtract, square, add.",
            ),
            (
                lambda blocks, i, k: (blocks - blocks[i]).abs().sum(1).argsort()[:k],
                "You add up absolute differences; here the squares of the differences are asked for.",
            ),
            (
                lambda blocks, i, k: (blocks - blocks[i]).sum(1).square().argsort()[:k],
                "You add first and square then, so that errors cancel: you compare brightness alone.",
            ),
        ),
        "hints": (
            "The distance of every block to block i is one line; `argsort` says who comes first.",
            "(blocks - blocks[i]).square().sum(1)",
        ),
    },
    {
        "id": "5.5",
        "reference": lambda difference, spread: math.ceil((1.96 * spread / difference) ** 2),
        "inputs": _spread_and_difference,
        "mistakes": (
            (
                lambda difference, spread: math.ceil(1.96 * spread / difference),
                "The mean of n photos varies by spread / sqrt(n), not by spread / n: square it.",
            ),
            (
                lambda difference, spread: math.floor((1.96 * spread / difference) ** 2),
                "Just too few: round up.",
            ),
            (
                lambda difference, spread: (1.96 * spread / difference) ** 2,
                "Photos come whole: round up.",
            ),
            (
                lambda difference, spread: math.ceil((spread / difference) ** 2),
                "That is one standard error. A 95 % interval reaches 1.96 of them to each side.",
            ),
            (
                lambda difference, spread: math.ceil((2 * 1.96 * spread / difference) ** 2),
                "Half the interval's width has to fit below the difference, not all of it.",
            ),
        ),
        "hints": (
            "The interval is the mean plus and minus 1.96 standard errors. When does it just leave out zero?",
            "1.96 * spread / sqrt(n) = difference; solve for n, and round up.",
        ),
    },
]
