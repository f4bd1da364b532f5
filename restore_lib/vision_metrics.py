"""How well a network recognises what it sees: top-k accuracy, pixel accuracy, mean intersection over union, and
bootstrap intervals.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Integer
from torch import Tensor


def top_k(scores: Float[Tensor, "n classes"], labels: Int64[Tensor, "n"], k: int = 1) -> Bool[Tensor, "n"]:
    """Whether the true class is among the ``k`` highest scores, picture by picture.

    Of equal scores the class with the lower number counts as the higher one.

    Raises
    ------
    ValueError
        ``k`` is not between 1 and the number of classes.
    """
    if not 1 <= k <= scores.shape[1]:
        raise ValueError(f"k must be between 1 and the number of classes, {scores.shape[1]}; got {k}")
    best = scores.argsort(dim=1, descending=True, stable=True)[:, :k]  # (n, k)
    return (best == labels[:, None]).any(1)


def confusion(
    predicted: Integer[Tensor, "n h w"], truth: Integer[Tensor, "n h w"], classes: int, ignored: int = 255
) -> Int64[Tensor, "n classes classes"]:
    """Pixels of each picture by true class (rows) and predicted class (columns); pixels of class ``ignored`` left out.

    Raises
    ------
    ValueError
        A predicted class, or a true one that is not ``ignored``, is not between 0 and ``classes - 1``.
    """
    n, counted = len(truth), truth != ignored
    rows, columns = truth.long(), predicted.long()
    pairs = torch.stack([rows[counted], columns[counted]])
    if pairs.numel() and (int(pairs.min()) < 0 or int(pairs.max()) >= classes):
        raise ValueError(f"classes must lie between 0 and {classes - 1}, or be {ignored}; got {int(pairs.max())}")
    picture = torch.arange(n, device=truth.device).view(-1, 1, 1).expand_as(rows)
    index = (picture * classes + rows)[counted] * classes + columns[counted]
    return torch.bincount(index, minlength=n * classes * classes).view(n, classes, classes)


def mean_iou(counts: Int64[Tensor, "*batch classes classes"]) -> float:
    """Mean over classes of intersection over union, of all pictures' pixels together.

    A class that neither occurs nor is predicted has no IoU and is left out of the mean; NaN when that is so of all.
    """
    total = counts.reshape(-1, *counts.shape[-2:]).sum(0).double()
    hit = total.diagonal()
    union = total.sum(0) + total.sum(1) - hit
    return float((hit / union)[union > 0].mean())


def pixel_accuracy(counts: Int64[Tensor, "*batch classes classes"]) -> float:
    """Share of all pixels that got their class."""
    total = counts.reshape(-1, *counts.shape[-2:]).sum(0).double()
    return float(total.diagonal().sum() / total.sum())


def bootstrap(
    values: Tensor,
    statistic: Callable[[Tensor], float | Tensor],
    *,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap [efron1979]: interval of a statistic over other pictures of the same kind.

    Draws as many pictures as there are, with replacement, ``draws`` times, and returns the ends of the middle
    ``level`` of the statistic's values. ``values`` is (n, ...), one entry a picture.
    """
    generator = np.random.default_rng(seed)
    drawn = (torch.from_numpy(generator.integers(len(values), size=len(values))) for _ in range(draws))
    outside = (1 - level) / 2
    low, high = np.nanquantile([float(statistic(values[index])) for index in drawn], [outside, 1 - outside])
    return float(low), float(high)
