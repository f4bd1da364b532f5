"""How ZSSR trains: settings of each published use, and the rule that lowers the learning rate [shocher2018zssr]."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from numbers import Real

import numpy as np

from restore_lib.realsr.zssr_crops import Augmentation
from restore_lib.training.recipes import sourced

LEAST_RATE = 9e-6  # training ends when the learning rate falls below


@dataclass(frozen=True)
class ZSSRSettings:
    """How ZSSR trains and what it does afterwards; the defaults are its own for a bicubic reduction.

    Attributes
    ----------
    steps, learning_rate, schedule, test_every, window, check_every, patience, slope_ratio, augmentation, noise, \
weighted, back_projections, ensemble, mixed
        What each field means and where its value comes from is in its metadata.
    """

    steps: int = sourced(3000, "official code", "Updates at most, in each jump.")
    learning_rate: float = sourced(1e-3, "official code", "Adam's, at first.")
    schedule: str = sourced("slope", "official code", "How the rate falls: by the slope rule, or along a cosine.")
    test_every: int = sourced(50, "official code", "Steps between two reconstructions of the whole photo.")
    window: int = sourced(0, "official code", "Side of the middle of the photo that is reconstructed; 0: all of it.")
    check_every: int = sourced(60, "official code", "Steps between two looks at the slope.")
    patience: int = sourced(256, "official code", "Steps that a line is fitted to, and least steps between two rates.")
    slope_ratio: float = sourced(1.5, "official code", "The rate falls when -slope times this is below its error.")
    augmentation: Augmentation = field(
        default=Augmentation(), metadata={"source": "official code", "doc": "How crops are made."}
    )
    noise: float = sourced(0.0, "official code", "Standard deviation, in [0, 1], of noise on sons.")
    weighted: bool = sourced(False, "official code", "Weigh the loss by the gradients of the photo.")
    back_projections: int = sourced(10, "official code", "Times that the result is made to fit the photo.")
    ensemble: bool = sourced(True, "official code", "Median over the eight positions of the photo.")
    mixed: bool = sourced(
        False, "official code", "bfloat16 and channels last where the processor multiplies so itself."
    )

    def __post_init__(self) -> None:
        if min(self.steps, self.test_every, self.check_every, self.patience) < 1 or self.back_projections < 0:
            raise ValueError("steps, test_every, check_every and patience must be at least 1, back_projections 0")
        if self.noise < 0:
            raise ValueError(f"noise must be at least 0, got {self.noise}")
        if self.schedule not in ("slope", "cosine") or 0 < self.window < 32:
            raise ValueError('schedule is "slope" or "cosine", window 0 or at least 32')


BICUBIC = ZSSRSettings()
GIVEN_KERNEL = replace(BICUBIC, augmentation=Augmentation(rotate=False), back_projections=2, ensemble=False)
REAL = replace(
    BICUBIC,
    augmentation=Augmentation(rotate=False, stretch=0.0, shear=0.0, least_scale=0.75),
    back_projections=0,
    ensemble=False,
    noise=0.0125,
)
K_ZSSR = replace(GIVEN_KERNEL, augmentation=Augmentation(as_is=1.0, turned=0.0, rotate=False), weighted=True)
K_ZSSR_REAL = replace(K_ZSSR, back_projections=0, noise=0.0125)


@dataclass(frozen=True)
class QuickSettings(ZSSRSettings):
    """What :func:`quick` changes: nearly the same result for a fraction of the work."""

    steps: int = sourced(2000, "ours: a cosine needs fewer", "Updates in each jump.")
    schedule: str = sourced("cosine", "ours: it ends when it is to end", "How the rate falls.")
    test_every: int = sourced(50, "ours: for the curves alone", "Steps between two reconstructions of the photo.")
    window: int = sourced(128, "ours: for the curves alone", "Side of the middle of the photo that is reconstructed.")
    mixed: bool = sourced(True, "ours: faster where there is bfloat16", "bfloat16 and channels last, if supported.")


def quick(settings: ZSSRSettings, crop: int = 64) -> QuickSettings:
    """A published use (``BICUBIC``, ``GIVEN_KERNEL``, ``K_ZSSR``, ...) in a minute: smaller crops, fewer steps.

    Parameters
    ----------
    settings : ZSSRSettings
        What stays: augmentation, weights, back-projection, ensemble.
    crop : int
        Side of a crop in pixels.

    Examples
    --------
    >>> quick(K_ZSSR).steps < K_ZSSR.steps
    True
    """
    kept = {f.name: getattr(settings, f.name) for f in fields(settings) if f.name not in QuickSettings.__annotations__}
    return QuickSettings(**(kept | {"augmentation": replace(settings.augmentation, crop=crop)}))


class RateControl:
    """Divide the learning rate by 10 when the reconstruction no longer gets better.

    A line is fitted to the last reconstructions' mean squared errors; when 1.5 times its fall is less than the standard
    error of its slope, the rate falls. (The NumPy of the released code's days gave a larger standard error, dividing by
    n - 4 instead of n - 2; today's, which later versions of that code use, is taken here.)

    Attributes
    ----------
    rate : float
    steps, errors : list
        When the photo was reconstructed, and the mean squared error then.
    changes : list of int
        Steps at which the rate fell.
    """

    def __init__(self, settings: ZSSRSettings):
        self.settings, self.rate = settings, settings.learning_rate
        if settings.schedule == "cosine":
            self.rate *= cosine(1, settings.steps)
        self.steps: list[int] = []
        self.errors: list[float] = []
        self.changes: list[int] = []

    def tested(self, step: int, error: float) -> None:
        """Note a reconstruction's error."""
        self.steps.append(step)
        self.errors.append(error)

    def after(self, step: int) -> bool:
        """Look at the slope when it is time to; True when training shall end."""
        if self.settings.schedule == "cosine":
            self.rate = self.settings.learning_rate * cosine(step + 1, self.settings.steps)
            return False
        since = step - (self.changes[-1] if self.changes else 0)
        count = max(self.settings.patience // self.settings.test_every, 3)
        if (step + 1) % self.settings.check_every or since <= self.settings.patience or len(self.steps) < count:
            return False
        if -self.settings.slope_ratio * (fit := line(self.steps[-count:], self.errors[-count:]))[0] < fit[1]:
            self.rate /= 10
            self.changes.append(step)
        return self.rate < LEAST_RATE


def cosine(step: int, steps: int, warm: int = 100) -> float:
    """The rate after some steps of all, from 0 up to 1 in ``warm`` steps and back to 0 along a cosine.

    A full first step of Adam's would throw most of the small first weights over, and leave units that never fire.
    """
    return min(1.0, step / warm) * (1 + math.cos(math.pi * step / steps)) / 2


def line(x: Sequence[Real] | np.ndarray, y: Sequence[Real] | np.ndarray) -> tuple[float, float]:
    """Slope of the line of least squares, and its standard error."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    x = x - x.mean()
    slope = (x @ y) / (x @ x)
    left = y - y.mean() - slope * x
    return float(slope), float(np.sqrt(left @ left / (len(x) - 2) / (x @ x)))
