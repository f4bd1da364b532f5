"""Collect a camera's noise from the flat parts of its photos, and put it into clean images [ji2020realsr].

Where a photo shows nothing, what varies is noise. A patch is kept when its luma varies little; later a crop of it,
without its mean, is added to a clean image. The rule is Eq. 7 of RealSR with the released code's numbers
(``collect_noise.py``).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from restore_lib import images
from restore_lib.errors import DataError
from restore_lib.resampling import imresize
from restore_lib.training.recipes import sourced

SIDES = ("patch", "stride")
MAD_TO_SIGMA = 1.4826  # of a normal distribution


@dataclass(frozen=True)
class NoiseRule:
    """Which patches of a photo count as noise; levels are on the scale 0 to 255.

    Attributes
    ----------
    patch, stride, variance, mean, adaptive, last_block
        What each field means and where its value comes from is in its metadata.
    """

    patch: int = sourced(256, "official code, authors' issue", "Side of a patch in pixels.")
    stride: int = sourced(256, "official code", "Pixels between two patches of the grid.")
    variance: float = sourced(20.0, "official code, authors' issue", "Luma varies less than this (Eq. 7).")
    mean: float = sourced(0.0, "official code, Track 1; 50 in Track 2", "Mean luma is more than this: not black.")
    adaptive: float | None = sourced(
        None, "ours", "Raise the threshold to this many times the photo's own noise variance; None: never."
    )
    last_block: bool = sourced(
        True, "ours: the official loop leaves out a last block that ends at the border", "Use the whole grid."
    )

    def __post_init__(self) -> None:
        if min(self.patch, self.stride) < 1 or self.variance <= 0:
            raise ValueError("patch, stride and variance must be positive")
        if self.adaptive is not None and self.adaptive <= 0:
            raise ValueError(f"adaptive must be positive or None, got {self.adaptive}")


class Patch(NamedTuple):
    """A place in a photo: its corner, the variance and mean of its luma, and whether the rule keeps it."""

    top: int
    left: int
    variance: float
    mean: float
    kept: bool


def luma(image: Float[Tensor, "3 h w"]) -> UInt8[np.ndarray, "h w"]:
    """Luma in 8 bit as Pillow's mode "L" has it, which the released rule measures."""
    return np.asarray(Image.fromarray(images.to_uint8(image)).convert("L"))


def noise_variance(grey: Float[np.ndarray, "h w"] | UInt8[np.ndarray, "h w"], step: Integral = 2) -> float:
    """Variance of the noise in an image that also shows something, on the image's own scale.

    The second difference along both axes removes what changes slowly; the median of what is left is not moved by
    edges, which are few. It compares pixels ``step`` apart, because the colours of direct neighbours come from the same
    cells of the sensor and share noise: with a step of 1 a camera's noise is underestimated several times over. Noise
    that is smooth over more pixels, as strong denoising or JPEG leaves it, still is; a larger step counts more of it,
    and more of the picture.
    """
    if step < 1 or min(grey.shape) < 2 * step + 1:
        raise ValueError(f"at least {2 * step + 1} x {2 * step + 1} pixels are needed, got {grey.shape}")
    second = _second(_second(grey.astype(np.float64), step).T, step)  # of white noise: 36 times its variance
    return float((MAD_TO_SIGMA * np.median(np.abs(second)) / 6) ** 2)


def threshold(grey: UInt8[np.ndarray, "h w"], rule: NoiseRule) -> float:
    """The variance that patches of this photo must stay below.

    A fixed 20 keeps nothing once RGB noise is stronger than sigma 6.7, as the luma of independent noise has 0.447
    times its variance; the adaptive rule then asks the photo itself.
    """
    return rule.variance if rule.adaptive is None else max(rule.variance, rule.adaptive * noise_variance(grey))


def find_patches(image: Float[Tensor, "3 h w"], rule: NoiseRule | None = None) -> list[Patch]:
    """Every patch of the grid over a photo, and whether it counts as noise.

    Parameters
    ----------
    image : Tensor
        RGB in [0, 1].
    rule : NoiseRule, optional
        The released code's for Track 1 by default.
    """
    rule = rule or NoiseRule()
    grey = luma(image)
    height, width = (side - rule.patch + (1 if rule.last_block else 0) for side in grey.shape)
    if min(height, width) <= 0 or min(grey.shape) < 5:
        return []
    limit, found = threshold(grey, rule), []
    for top in range(0, height, rule.stride):
        for left in range(0, width, rule.stride):
            block = grey[top : top + rule.patch, left : left + rule.patch]
            variance, mean = float(block.var()), float(block.mean())
            found.append(Patch(top, left, variance, mean, variance < limit and mean > rule.mean))
    return found


@dataclass
class NoisePool:
    """Patches that show nothing but noise.

    Attributes
    ----------
    patches : list of Tensor
        (3, p, p) RGB in [0, 1], as they were in the photo, mean included.
    sources : list of str
        Where each comes from.
    """

    patches: list[Float[Tensor, "3 _ _"]] = field(default_factory=list, repr=False)
    sources: list[str] = field(default_factory=list, repr=False)

    def __len__(self) -> int:
        return len(self.patches)

    def add(self, image: Float[Tensor, "3 h w"], rule: NoiseRule | None = None, name: str = "") -> int:
        """Collect a photo's patches; gives how many were kept."""
        rule, before = rule or NoiseRule(), len(self)
        for place in find_patches(image, rule):
            if place.kept:
                rows, columns = (slice(at, at + rule.patch) for at in (place.top, place.left))
                self.patches.append(image[:, rows, columns].clone())
                self.sources.append(f"{name} {place.top},{place.left}".strip())
        return len(self) - before

    def sample(
        self, size: Integral | Sequence[Integral], count: Integral, generator: torch.Generator
    ) -> Float[Tensor, "n 3 h w"]:
        """Random crops of random patches, each channel without its mean over the crop.

        Parameters
        ----------
        size : int or (height, width)
            Of the crops. The released code takes 32 in training, the size of its LR crops.
        count : int
            How many.
        generator : torch.Generator
            On the CPU.

        Raises
        ------
        DataError
            The pool is empty, or its patches are smaller than ``size``.
        """
        height, width = (size, size) if isinstance(size, Integral) else size
        fitting = [p for p in self.patches if p.shape[-2] >= height and p.shape[-1] >= width]
        if not fitting:
            raise DataError(
                f"No patch in the noise pool has {height} x {width} pixels: collect with a higher variance, "
                "with the adaptive rule, or larger patches."
            )
        crops = []
        for _ in range(count):
            patch = fitting[_draw(len(fitting), generator)]
            top = _draw(patch.shape[-2] - height + 1, generator)
            left = _draw(patch.shape[-1] - width + 1, generator)
            crop = patch[:, top : top + height, left : left + width]
            crops.append(crop - crop.mean((1, 2), keepdim=True))
        return torch.stack(crops)

    def inject(self, lr: Float[Tensor, "b 3 h w"], generator: torch.Generator) -> Float[Tensor, "b 3 h w"]:
        """Add a crop of the pool to each image and clamp the sum to [0, 1], as RealSR does in training."""
        noise = self.sample(tuple(lr.shape[-2:]), len(lr), generator)
        return (lr + noise.to(lr)).clamp(0, 1)


def collect(
    photos: Iterable[tuple[str, Float[Tensor, "3 _ _"]]],
    rule: NoiseRule | None = None,
    scales: Sequence[Real] = (1.0,),
) -> NoisePool:
    """The noise pool of several photos, given as pairs of name and image.

    Parameters
    ----------
    photos : iterable of (str, Tensor)
        Name and RGB in [0, 1].
    rule : NoiseRule, optional
        The released code's for Track 1 by default.
    scales : sequence of float
        Above 0 and at most 1: collect from each photo at each of these sizes, reduced bicubically. Grains of noise
        that covered four pixels cover one in a photo of half the size, and are weaker, so the pool has noise of several
        grains and strengths. Patches and their grid shrink with the photo: they show the same places of it.
    """
    rule, pool = rule or NoiseRule(), NoisePool()
    if not scales or not all(0 < scale <= 1 for scale in scales):
        raise ValueError(f"scales must be above 0 and at most 1, got {tuple(scales)}")
    for name, image in photos:
        for scale in scales:
            if scale == 1:
                pool.add(image, rule, name)
            else:
                smaller = replace(rule, **{side: max(1, round(getattr(rule, side) * scale)) for side in SIDES})
                pool.add(imresize(image, scale=float(scale)).clamp(0, 1), smaller, f"{name} x{float(scale):g}")
    return pool


def fill(pool: NoisePool, size: Sequence[Integral], generator: torch.Generator) -> Float[Tensor, "3 h w"]:
    """Noise for an image larger than any patch: random patches side by side, their joints at a random place.

    For whole images; training needs small crops only. The joints show in the spectrum of very large images.

    Raises
    ------
    DataError
        The pool is empty.
    """
    if not pool.patches:
        raise DataError("The noise pool is empty: collect with a higher variance or with the adaptive rule.")
    tile = min(min(patch.shape[-2:]) for patch in pool.patches)
    height, width = size
    rows, columns = (-(-side // tile) + 1 for side in (height, width))
    tiles = pool.sample(tile, rows * columns, generator)  # (rows columns, 3, tile, tile)
    sheet = tiles.unflatten(0, (rows, columns)).permute(2, 0, 3, 1, 4).reshape(3, rows * tile, columns * tile)
    top, left = _draw(tile, generator), _draw(tile, generator)
    return sheet[:, top : top + height, left : left + width]


def luma_variance(sigma: Real) -> float:
    """Variance of the luma of independent RGB noise of standard deviation ``sigma``: 0.447 sigma ** 2."""
    return (0.299**2 + 0.587**2 + 0.114**2) * float(sigma) ** 2


def _second(x: np.ndarray, step: int) -> np.ndarray:
    """Second difference of rows, ``step`` apart."""
    return x[: -2 * step] - 2 * x[step:-step] + x[2 * step :]


def _draw(below: int, generator: torch.Generator) -> int:
    return int(torch.randint(below, (), generator=generator))
