"""Exercises of chapter 7, segmentation, and one denoiser for both."""

import torch
from torch.nn import functional

from restore_lib import metrics
from restore_lib.data.labelled import IGNORED

ENDS = torch.tensor([0.025, 0.975])


def _counts(generator):
    """A confusion matrix with a class that is nowhere, and one that is only predicted."""
    counts = torch.randint(1, 30, (7, 7), generator=generator) + 60 * torch.eye(7, dtype=torch.int64)
    nowhere, predicted = torch.randperm(7, generator=generator)[:2].tolist()
    counts[nowhere], counts[:, nowhere], counts[predicted] = 0, 0, 0
    return (counts,)


def _parts(counts):
    """Pixels on the diagonal, and of each class: true ones, predicted ones."""
    counts = counts.double()
    return counts.diagonal(), counts.sum(1), counts.sum(0)


def _share(hit, total):
    """Mean share over the classes that have one."""
    return (hit / total)[total > 0].mean()


def _iou_of_all(counts, missing):
    hit, true, predicted = _parts(counts)
    return (hit / (true + predicted - hit)).nan_to_num(missing).mean()


def _iou_of_true(counts):
    hit, true, predicted = _parts(counts)
    return (hit / (true + predicted - hit))[true > 0].mean()


def _masks(generator):
    """Predictions that are often right; a fifth of the pixels has no class."""
    height, width = torch.randint(10, 20, (2,), generator=generator).tolist()
    truth = torch.randint(0, 5, (height, width), generator=generator)
    guess = torch.randint(0, 5, (height, width), generator=generator)
    predicted = torch.where(torch.rand(height, width, generator=generator) < 0.5, truth, guess)
    truth[torch.rand(height, width, generator=generator) < 0.2] = IGNORED
    return predicted, truth, 5


def _confusion(predicted, truth, classes):
    return metrics.confusion(predicted[None], truth[None], classes, IGNORED)[0]


def _mask(generator):
    """Classes that change from pixel to pixel, with pixels without a class; sides that are no multiples of 8."""
    height, width = (8 * torch.randint(4, 9, (2,), generator=generator)).tolist()
    extra = torch.randint(1, 8, (2,), generator=generator).tolist()
    mask = torch.randint(0, 21, (height + extra[0], width + extra[1]), generator=generator)
    mask[torch.rand(mask.shape, generator=generator) < 0.2] = IGNORED
    return (mask,)


def _resized(mask, mode):
    size = [-(-n // 8) for n in mask.shape]
    return functional.interpolate(mask[None, None].double(), size=size, mode=mode)[0, 0].round()


def _right_or_wrong(generator):
    """Two denoisers on the same pictures: most are easy or hard for both."""
    pictures = 80
    easy = torch.rand(pictures, generator=generator) < 0.7
    ours, theirs = (easy ^ (torch.rand(pictures, generator=generator) < part) for part in (0.04, 0.1))
    draws = torch.randint(0, pictures, (300, pictures), generator=generator)
    return ours.float(), theirs.float(), draws


def _interval(ours, theirs, draws):
    return 100 * (ours - theirs)[draws].mean(1).quantile(ENDS)


def _each_alone(ours, theirs, draws):
    (low, high), (low_of_theirs, high_of_theirs) = (100 * x[draws].mean(1).quantile(ENDS) for x in (ours, theirs))
    return torch.stack([low - high_of_theirs, high - low_of_theirs])


UNPAIRED = (
    "You draw for each denoiser alone. Subtract picture by picture first: pictures that are hard for both drop out."
)
MIDDLES = (
    "Those are middles of 8 x 8 blocks. Follow score row 0 back through the layers: on which pixel row is it centred?"
)

EXERCISES = [
    {
        "id": "7.1",
        "reference": lambda counts: metrics.mean_iou(counts),
        "inputs": _counts,
        "mistakes": (
            (
                lambda counts: _iou_of_all(counts, 0.0),
                "You count the class that is nowhere as 0. It was not missed: leave it out of the mean.",
            ),
            (
                lambda counts: _iou_of_all(counts, 1.0),
                "You count the class that is nowhere as 1. Nothing was achieved there: leave it out of the mean.",
            ),
            (
                _iou_of_true,
                "You leave out classes that are not in the truth. One that was predicted all the same is wrong: 0.",
            ),
            (
                lambda counts: _share(_parts(counts)[0], _parts(counts)[1] + _parts(counts)[2]),
                "In row plus column the diagonal is there twice: take it off once.",
            ),
            (
                lambda counts: _share(_parts(counts)[0], _parts(counts)[1]),
                "Divided by the true pixels alone it is an accuracy: a class that is seen everywhere would get 1.",
            ),
            (
                lambda counts: _share(_parts(counts)[0], _parts(counts)[2]),
                "You divide by the predicted pixels alone: pixels of a class that were missed count, too.",
            ),
            (
                lambda counts: _parts(counts)[0].sum() / counts.sum(),
                "That is the pixel accuracy, in which large classes decide. One ratio for each class, then the mean.",
            ),
            (
                lambda counts: 100 * metrics.mean_iou(counts),
                "As a number from 0 to 1, not in percent.",
            ),
        ),
        "hints": (
            "The intersection is the diagonal; the union is row plus column minus the diagonal.",
            "(hit / union)[union > 0].mean()",
        ),
    },
    {
        "id": "7.2",
        "reference": _confusion,
        "inputs": _masks,
        "mistakes": (
            (
                lambda predicted, truth, classes: _confusion(predicted, truth, classes).T,
                "Transposed: true classes are rows, predicted ones columns.",
            ),
            (
                lambda predicted, truth, classes: _confusion(predicted, truth.where(truth != IGNORED, 0), classes),
                "You count pixels without a class as class 0. Nobody knows what is there: leave them out.",
            ),
            (
                lambda predicted, truth, classes: _confusion(predicted, truth.clamp(max=classes - 1), classes),
                "You count pixels without a class as the last class. Nobody knows what is there: leave them out.",
            ),
            (
                lambda predicted, truth, classes: _confusion(
                    predicted, truth.where(truth != IGNORED, predicted), classes
                ),
                "You count pixels without a class as right. Nobody knows what is there: leave them out.",
            ),
            (
                lambda predicted, truth, classes: _confusion(predicted, truth.where(truth != 0, IGNORED), classes),
                "You leave out class 0 as well; only 255 means without a class.",
            ),
            (
                lambda predicted, truth, classes: (
                    _confusion(predicted, truth, classes) / _confusion(predicted, truth, classes).sum(1, keepdim=True)
                ),
                "You divide by the rows. Keep the numbers: mean IoU needs them, and matrices of pictures can be added.",
            ),
        ),
        "hints": (
            "`counted = truth != 255` says which pixels count; `truth[counted]` are their classes.",
            "Number each pair, truth * classes + predicted, and count the numbers: torch.bincount(..., minlength=...).",
        ),
    },
    {
        "id": "7.3",
        "reference": lambda mask: mask[::8, ::8],
        "inputs": _mask,
        "mistakes": (
            (
                lambda mask: mask[4::8, 4::8],
                MIDDLES,
            ),
            (
                lambda mask: mask[3::8, 3::8],
                MIDDLES,
            ),
            (lambda mask: mask[7::8, 7::8], "You begin with row 7; the first score is centred on row 0."),
            (
                lambda mask: _resized(mask, "nearest"),
                "Resizing takes rows at i * height / rows, not at 8 * i: too far apart or too close by the last.",
            ),
            (
                lambda mask: _resized(mask, "nearest-exact"),
                "Resizing takes rows at the middles of equal parts, not at 8 * i.",
            ),
            (
                lambda mask: _resized(mask, "bilinear"),
                "You average class numbers: between a cat (8) and a cow (10) there is no chair (9). Pick pixels.",
            ),
            (
                lambda mask: _resized(mask, "area"),
                "You average class numbers: between a cat (8) and a cow (10) there is no chair (9). Pick pixels.",
            ),
            (
                lambda mask: mask.where(mask != IGNORED, 0)[::8, ::8],
                "You made pixels without a class background. Leave their 255: the loss will skip them.",
            ),
            (lambda mask: mask[::8], "Every eighth row, but also every eighth column."),
        ),
        "hints": (
            "A 3 x 3 pooling with padding 1 and stride 2 centres its output i on its input 2 * i. Three of them?",
            "Rows 0, 8, 16, ...: a slice with a step does it.",
        ),
    },
    {
        "id": "7.4",
        "reference": _interval,
        "inputs": _right_or_wrong,
        "mistakes": (
            (_each_alone, UNPAIRED),
            (
                lambda ours, theirs, draws: (
                    100 * (ours[draws].mean(1) - theirs[draws.roll(1, 0)].mean(1)).quantile(ENDS)
                ),
                UNPAIRED,
            ),
            (
                lambda ours, theirs, draws: (
                    100 * (ours[draws].mean(1).quantile(ENDS) - theirs[draws].mean(1).quantile(ENDS))
                ),
                "You subtract the ends of two intervals. Subtract picture by picture, and take one interval of that.",
            ),
            (
                lambda ours, theirs, draws: _interval(theirs, ours, draws),
                "Upside down: ours minus theirs, so that a gain is positive.",
            ),
            (
                lambda ours, theirs, draws: 100 * (ours - theirs).quantile(ENDS),
                "That is where single pictures lie: won, equal or lost. Where do *means* over drawn pictures lie?",
            ),
            (
                lambda ours, theirs, draws: _interval(ours, theirs, draws) / 100,
                "In percentage points: times 100.",
            ),
            (
                lambda ours, theirs, draws: 100 * (ours - theirs)[draws].mean(1).quantile(torch.tensor([0.05, 0.95])),
                "A tenth lies outside yours: that is a 90 % interval. The ends are at 0.025 and 0.975.",
            ),
            (
                lambda ours, theirs, draws: 100 * (ours - theirs)[draws].mean(0).quantile(ENDS),
                "You average over the draws. Each row of `draws` is one set of pictures: average along the row.",
            ),
        ),
        "hints": (
            "ours - theirs is 1 where only ours is right, -1 where only theirs is, else 0; then draw from these.",
            "100 * differences[draws].mean(1), and its quantiles at 0.025 and 0.975.",
        ),
    },
]
