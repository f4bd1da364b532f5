"""Which of two methods is better on the same pictures: differences picture by picture, from run records."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from restore_lib import vision_metrics
from restore_lib.experiments.records import RunRecord


@dataclass(frozen=True)
class Paired:
    """The first method's mean minus the second's, with a 95 % bootstrap interval over pictures.

    Attributes
    ----------
    mean, low, high : float
        In units of the metric.
    pictures : int
        How many both methods were measured on.
    """

    mean: float
    low: float
    high: float
    pictures: int

    @property
    def sure(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return f"{self.mean:+.1f} ({self.low:+.1f} to {self.high:+.1f})"


def paired(
    records: Sequence[RunRecord], first: str, second: str, dataset: str, condition: str, metric: str
) -> Paired | None:
    """Compare two methods on the pictures that both saw; a picture's values over draws of the noise are averaged first.

    Parameters
    ----------
    records : sequence of RunRecord
        Such as :func:`restore_lib.experiments.load_all` gives; of one protocol, if methods were measured under several.
    first, second : str
        Recipes of the records: ``"joint+classifier-tiny"``.
    dataset, condition, metric : str
        The metric must have one value a picture: ``"top1_each"``.

    Returns
    -------
    Paired or None
        None when one of them was not measured.

    Raises
    ------
    ValueError
        The records hold the metric under more than one protocol.
    """
    one, two = (by_picture(records, name, dataset, condition, metric) for name in (first, second))
    shared = [name for name in one if name in two]
    if not shared:
        return None
    differences = torch.tensor([one[name] - two[name] for name in shared], dtype=torch.float64)
    low, high = vision_metrics.bootstrap(differences, torch.mean)
    return Paired(float(differences.mean()), low, high, len(shared))


def by_picture(
    records: Sequence[RunRecord], recipe: str, dataset: str, condition: str, metric: str
) -> dict[str, float]:
    """One value for each picture: the mean over the records, which differ in their draw of the noise."""
    values: dict[str, list[float]] = {}
    protocols = set()
    for record in records:
        if (record.recipe, record.dataset) == (recipe, dataset) and (found := record.find(condition, metric)):
            protocols.add(record.protocol)
            for name, value in zip(record.images, found.per_image, strict=True):
                values.setdefault(name, []).append(value)
    if len(protocols) > 1:
        raise ValueError(f"{metric} of {recipe} under {' and '.join(sorted(protocols))}: give the records of one")
    return {name: sum(found) / len(found) for name, found in values.items()}
