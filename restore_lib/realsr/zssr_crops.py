"""What ZSSR trains on: crops of the one photo, as they are, turned, or warped [shocher2018zssr, ``utils.py``]."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real

import cv2
import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor

from restore_lib.realsr.kernels import LUMA
from restore_lib.training.recipes import sourced


@dataclass(frozen=True)
class Augmentation:
    """How crops are made; the defaults are ZSSR's own.

    Attributes
    ----------
    crop, as_is, turned, least_scale, stretch, shear, rotate
        What each field means and where its value comes from is in its metadata.
    """

    crop: int = sourced(128, "official code", "Side of a crop in pixels; smaller for smaller photos.")
    as_is: float = sourced(0.05, "official code", "Share of crops that are left as they are.")
    turned: float = sourced(0.45, "official code", "Share that is turned by quarters and mirrored; the rest is warped.")
    least_scale: float = sourced(0.5, "official code", "Warped crops are reduced by a factor between this and 1.")
    stretch: float = sourced(0.25, "official code", "Standard deviation of the difference between both axes' scales.")
    shear: float = sourced(0.1, "official code", "Standard deviation of the shear.")
    rotate: bool = sourced(True, "official code", "Rotate and mirror; not with kernels that are not symmetric.")

    def __post_init__(self) -> None:
        if self.crop < 16 or not 0 < self.least_scale <= 1:
            raise ValueError("crop must be at least 16 and least_scale in (0, 1]")
        if min(self.as_is, self.turned) < 0 or self.as_is + self.turned > 1 + 1e-9:
            raise ValueError("as_is and turned are shares, and at most 1 together")


@dataclass(frozen=True)
class Father:
    """An image that crops are taken of: the photo, or an enlargement of it made before.

    Attributes
    ----------
    image : Tensor
        (3, H, W) in [0, 1].
    weights : Tensor
        (1, H, W) how much each pixel counts in the loss.
    scale : float
        How much larger than the photo it is.
    """

    image: Float[Tensor, "3 h w"]
    weights: Float[Tensor, "1 h w"]
    scale: Real = 1.0


def edge_weights(image: Float[Tensor, "3 h w"], window: Integral = 5) -> Float[Tensor, "1 h w"]:
    """Gradient magnitude in a box around each pixel, zero in a border of 3, mean 1: K-ZSSR's weights of the loss."""
    grey = np.tensordot(LUMA, image.double().cpu().numpy(), 1)  # (h, w)
    magnitude = ndimage.uniform_filter(np.hypot(*np.gradient(grey)), window, mode="constant")
    border = (window + 1) // 2
    inner = np.zeros_like(magnitude)
    inner[border:-border, border:-border] = magnitude[border:-border, border:-border]
    mean = inner.mean()
    weights = inner / mean if mean > 0 else np.ones_like(inner)
    return torch.from_numpy(weights).to(image)[None]


def random_crop(
    fathers: Sequence[Father], how: Augmentation, multiple: Integral, dice: np.random.Generator
) -> tuple[Float[Tensor, "3 s t"], Float[Tensor, "1 s t"]]:
    """A crop of one of the fathers and its weights; sides are multiples of ``multiple``.

    Crops that are warped draw a scale up to that of the largest father, and come from the smallest father that is at
    least as large: where an enlargement is among them, it is reduced. Others come from the photo itself.
    """
    kind = dice.random()
    if kind >= how.as_is + how.turned:
        return _warped(fathers, how, multiple, dice)
    father = fathers[0]
    height, width = crop_size(father, how, multiple)
    turns = 0
    if kind >= how.as_is and how.rotate:
        turns = int(dice.integers(4))
        height, width = (width, height) if turns % 2 else (height, width)
    top, left = (int(dice.integers(n - m + 1)) for n, m in zip(father.image.shape[1:], (height, width), strict=True))
    parts = [x[:, top : top + height, left : left + width] for x in (father.image, father.weights)]
    if kind >= how.as_is and how.rotate:
        mirrored = bool(dice.integers(2))
        parts = [torch.rot90(part.flip(-1) if mirrored else part, turns, (1, 2)) for part in parts]
    return parts[0], parts[1]


def _warped(fathers: Sequence[Father], how: Augmentation, multiple: int, dice: np.random.Generator) -> tuple:
    """A crop that was reduced, stretched, sheared and rotated in one interpolation."""
    scale = how.least_scale + (fathers[-1].scale - how.least_scale) * dice.random()
    father = next(f for f in fathers if f.scale > scale - 1e-6)
    height, width = crop_size(father, how, multiple)
    matrix = warp_matrix(father.image.shape[1:], (height, width), scale / father.scale, how, dice)
    warped = [
        cv2.warpAffine(
            x.permute(1, 2, 0).cpu().numpy(), matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101
        ).reshape(height, width, -1)
        for x, flags in ((father.image, cv2.INTER_CUBIC), (father.weights, cv2.INTER_LINEAR))
    ]
    image, weights = (torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1))).to(father.image) for x in warped)
    return image.clamp(0, 1), weights


def warp_matrix(
    size: Sequence[Integral], crop: Sequence[Integral], scale: Real, how: Augmentation, dice: np.random.Generator
) -> Float[np.ndarray, "2 3"]:
    """From places (x, y) in a father of ``size`` (height, width) to places in a crop, both counted from pixel centres.

    The middle of the crop is a random place as far inside the father as the crop's own size allows.
    """
    stretch = how.stretch * dice.standard_normal() / 2
    linear = np.diag([scale * (1 + stretch), scale * (1 - stretch)])
    if how.rotate:
        angle, shear = 2 * math.pi * dice.random(), how.shear * dice.standard_normal(2)
        mirror = np.diag([1.0 if dice.random() < 0.5 else -1.0, 1.0])
        turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        linear = np.array([[1, shear[0]], [shear[1], 1]]) @ turn @ linear @ mirror
    inner = np.maximum(np.array(size[::-1]) - np.array(crop[::-1]) / scale, 0)  # (x, y) room for the middle
    middle = (np.array(size[::-1]) - 1) / 2 + inner * (dice.random(2) - 0.5)
    shift = (np.array(crop[::-1]) - 1) / 2 - linear @ middle
    return np.concatenate([linear, shift[:, None]], 1)


def crop_size(father: Father, how: Augmentation, multiple: Integral) -> tuple[int, int]:
    """Height and width of a crop: as asked for, or as large as the father is."""
    height, width = (min(how.crop, side) for side in father.image.shape[1:])
    return height - height % multiple, width - width % multiple
