"""What KernelGAN's generator is asked for, and when: five constraints in two phases, or RealSR's four terms at once.

Every function takes a batch of independent estimations, first dimension n, and returns one number for each.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from restore_lib.realsr.kernels import centre_of_mass
from restore_lib.training.recipes import sourced

TERMS = ("gan", "bicubic", "sum", "boundaries", "centre", "sparse")


@dataclass(frozen=True)
class KernelSettings:
    """How an estimation runs; the defaults are the released code's, its two defects mended.

    Attributes
    ----------
    form, official_defects, steps, learning_rate, rate_every, sum, boundaries, bicubic, centre, sparse, threshold, \
check_every, shave
        What each field means and where its value comes from is in its metadata; ``with_provenance`` tables show it.
    """

    form: Literal["released", "realsr"] = sourced(
        "released", "official code of KernelGAN", "'released': five constraints, two phases. 'realsr': Eq. 4 of RealSR."
    )
    official_defects: bool = sourced(
        False, "ours: mended", "Bicubic reference summed over colours; the discriminator's noise stays in the image."
    )
    steps: int = sourced(3000, "official code", "Updates of both networks.")
    learning_rate: float = sourced(2e-4, "official code", "Adam's, for both networks.")
    rate_every: int = sourced(750, "official code", "Steps after which the learning rates are divided by 10.")
    sum: float = sourced(0.5, "official code", "Weight of the distance of the kernel's sum to 1.")
    boundaries: float = sourced(0.5, "official code", "Weight of what lies in the two outer rings.")
    bicubic: float = sourced(5.0, "official code", "Weight, at first, of the distance to a bicubic reduction.")
    centre: float = sourced(1.0, "official code", "Weight, in the second phase, of the centre's distance.")
    sparse: float = sourced(5.0, "official code", "Weight, in the second phase, of the mean of |k| ** 0.2.")
    threshold: float | None = sourced(
        None, "ours: see Schedule", "Bicubic loss that ends the first phase; None: 0.4 with defects, 0.4 / 9 without."
    )
    check_every: int = sourced(200, "official code", "Steps between two divisions of the bicubic weight by 100.")
    shave: int = sourced(10, "official code", "Pixels cut from each side of the image first; 0 for its real photos.")

    def __post_init__(self) -> None:
        if self.form not in ("released", "realsr"):
            raise ValueError(f"form must be 'released' or 'realsr', got {self.form!r}")
        if min(self.steps, self.check_every, self.rate_every) < 1 or self.shave < 0:
            raise ValueError("steps, check_every and rate_every must be at least 1, and shave at least 0")


class Schedule:
    """Weights of the terms as training goes on (``learner.py`` of the released code).

    First the generator learns the bicubic reduction, which anchors scale and place. Once its error was below a
    threshold in three steps running, the anchor's weight is divided by 100 at every 200th step; at the second division
    (5, 0.05, 0.0005) the terms for centre and sparsity come in.

    The threshold. The released code compares each colour with the *sum* of the three bicubic colours, and waits for
    0.4. On a grey photo that sum is three times a colour and the squared error nine times that of one colour, so the
    mended comparison waits for 0.4 / 9.

    Attributes
    ----------
    weights : dict of str to float
        Of each of ``TERMS`` at the present step.
    switch_step : int or None
        Step after which the second phase's terms came in.
    """

    def __init__(self, settings: KernelSettings):
        self.settings = settings
        self.threshold = settings.threshold
        if self.threshold is None:
            self.threshold = 0.4 if settings.official_defects else 0.4 / 9
        self.switch_step: int | None = None
        self._below, self._anchored = 0, False
        if settings.form == "realsr":  # Eq. 4: all terms from the start, each with weight 1
            self.weights = {"gan": 1.0, "bicubic": 1.0, "sum": 1.0, "boundaries": 1.0, "centre": 0.0, "sparse": 0.0}
        else:
            fixed = {"sum": settings.sum, "boundaries": settings.boundaries}
            self.weights = {"gan": 1.0, "bicubic": settings.bicubic, **fixed, "centre": 0.0, "sparse": 0.0}

    def rate(self, step: int) -> float:
        """Learning rate at a step, counted from 0."""
        # the released code divides after step 750 has been made
        return self.settings.learning_rate / 10 ** (max(step - 1, 0) // self.settings.rate_every)

    def after(self, step: int, bicubic_loss: float) -> bool:
        """Take note of a step's bicubic loss; True when weights have changed."""
        if step == 0 or self.settings.form == "realsr":
            return False
        if not self._anchored:
            self._below = self._below + 1 if bicubic_loss < self.threshold else 0
            self._anchored = self._below >= 3
            return False
        least = min(5e-6, self.settings.bicubic)
        if step % self.settings.check_every or (self.switch_step and self.weights["bicubic"] <= least):
            return False
        self.weights["bicubic"] = max(self.weights["bicubic"] / 100, least)
        if self.switch_step is None and self.weights["bicubic"] < 5e-3:
            self.weights |= {"centre": self.settings.centre, "sparse": self.settings.sparse}
            self.switch_step = step
        return True


def realness(judged: Float[Tensor, "n p"], real: bool) -> Float[Tensor, "n"]:
    """L1 distance of the discriminator's map to all 1 (real) or all 0. The paper says squares, the code has L1."""
    mean = judged.mean(1)
    return 1 - mean if real else mean  # the map lies in [0, 1]: no absolute value is needed


def generator_terms(
    form: str,
    kernel: Float[Tensor, "n s s"],
    made: Float[Tensor, "n p"],
    bicubic: Float[Tensor, "n p"],
    judged: Float[Tensor, "n q"],
) -> Mapping[str, Float[Tensor, "n"]]:
    """Every term of the generator's loss, without its weight.

    Parameters
    ----------
    form : {"released", "realsr"}
        ``"realsr"``: Eq. 4 of RealSR [ji2020realsr], absolute values throughout.
    kernel
        The generator's kernel.
    made, bicubic
        What the generator made of a crop in [-1, 1], and the bicubic reduction of it.
    judged
        The discriminator's map of ``made``.
    """
    difference = made - bicubic
    total = {"gan": realness(judged, True), "sum": (1 - kernel.sum((1, 2))).abs()}
    outer = kernel * boundary_mask(kernel.shape[-1]).to(kernel)
    if form == "realsr":
        return total | {"bicubic": difference.abs().mean(1), "boundaries": outer.sum((1, 2)).abs()}
    return total | {
        "bicubic": difference.square().mean(1),
        "boundaries": outer.abs().mean((1, 2)),
        "centre": (centre_of_mass(kernel) - kernel.shape[-1] / 2).square().mean(1),  # 6.5 of 13: the aligned centre
        "sparse": kernel.abs().pow(0.2).mean((1, 2)),
    }


def terms_and_gradients(
    form: str,
    kernel: Float[Tensor, "n s s"],
    made: Float[Tensor, "n p"],
    bicubic: Float[Tensor, "n p"],
    judged: Float[Tensor, "n q"],
    weights: Mapping[str, Float[Tensor, "n 1"]],
) -> tuple[Mapping[str, Float[Tensor, "n"]], tuple[Float[Tensor, "n s s"], Float[Tensor, "n p"], Float[Tensor, "n q"]]]:
    """:func:`generator_terms`, and the gradients of their weighted sum, written out.

    Returns
    -------
    terms : dict of str to Tensor
    gradients : tuple of Tensor
        Of the kernel, of what the generator made, and of the discriminator's map.
    """
    cells, difference, side = kernel.flatten(1), made - bicubic, kernel.shape[-1]
    mask, places = _cells(side, kernel.dtype, kernel.device)  # (s s,), (s s, 2)
    total = cells.sum(1, keepdim=True)  # (n, 1)
    lack = 1 - total
    terms = {"gan": realness(judged, True), "sum": lack.abs()[:, 0]}
    of_map = (-weights["gan"] / judged.shape[1]).expand_as(judged)
    of_cells = -weights["sum"] * lack.sign()  # (n, 1)
    if form == "realsr":
        outer = (cells @ mask)[:, None]
        terms |= {"bicubic": difference.abs().mean(1), "boundaries": outer.abs()[:, 0]}
        of_cells = of_cells + weights["boundaries"] * outer.sign() * mask
        return terms, (of_cells.view_as(kernel), weights["bicubic"] / made.shape[1] * difference.sign(), of_map)
    size = cells.abs()
    root = size.pow(0.2)
    centre = cells @ places / total  # (n, 2)
    away = centre - side / 2
    terms |= {
        "bicubic": difference.square().mean(1),
        "boundaries": (size @ mask) / side**2,
        "centre": away.square().mean(1),
        "sparse": root.mean(1),
    }
    pull = weights["centre"] / total * away  # (n, 2); a cell moves the centre by its distance from it
    of_cells = of_cells - (pull * centre).sum(1, keepdim=True) + pull @ places.mT
    of_cells += weights["boundaries"] / side**2 * (cells.sign() * mask)
    of_cells += 0.2 / side**2 * weights["sparse"] * (root / cells)
    return terms, (of_cells.view_as(kernel), 2 / made.shape[1] * weights["bicubic"] * difference, of_map)


@lru_cache(maxsize=8)
def _cells(side: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """The boundary mask, and row and column of every cell."""
    mask = boundary_mask(side).flatten()
    return mask.to(device, dtype), torch.cartesian_prod(*[torch.arange(side)] * 2).to(device, dtype)


@lru_cache(maxsize=4)
def boundary_mask(size: int, scale: float = 30.0) -> Float[Tensor, "s s"]:
    """Weights of the cells in the outer two rings, more the farther from the middle, and 0 inside (for 13 cells)."""
    along = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    bell = torch.exp(-0.5 * (along / size) ** 2)
    mask = scale * (1 - torch.outer(bell, bell))
    margin = (size - math.ceil(size / 2)) // 2 - 1
    mask[margin : size - margin, margin : size - margin] = 0
    return mask
