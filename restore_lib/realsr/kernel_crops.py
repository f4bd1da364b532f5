"""Where KernelGAN looks: crops drawn where a photo has edges (``data.py`` and ``util.py`` of the released code).

Flat regions say nothing about blur. Each pixel's chance to be the centre of a crop grows with the gradients around it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor

from restore_lib.errors import ImageError
from restore_lib.realsr.kernelgan import CROP, SMALL
from restore_lib.resampling import imresize

GREY = (0.299, 0.587, 0.114)
BAND = 5  # pixels at the border without gradients, and side of the box that blurs them
NOISE = 1 / 255  # standard deviation of the discriminator's noise, in [0, 1] for the photo's crops

Box = tuple[int, int, int, int]  # top, left, bottom, right


class CropSampler:
    """Pairs of crops for every step: one for the generator, one of the photo for the discriminator.

    Parameters
    ----------
    image : Tensor
        (3, H, W) in [0, 1].
    steps : int
        How many pairs; all places are drawn beforehand.
    seed : sequence of int
        Equal seeds give equal crops and noise.
    shave : int
        Pixels cut from each side of the image first.
    noise_stays : bool
        The released code's defect: noise that is added to a crop stays in the image.
    held : sequence of (top, left, bottom, right)
        Boxes, in pixels of the shaved image, that no crop may touch.

    Attributes
    ----------
    image : Tensor
        (3, h, w) in [-1, 1]: shaved, with even sides.
    places : ndarray
        (2, steps, 2) top and left of the generator's and of the discriminator's crops, even numbers.

    Raises
    ------
    ImageError
        An image that is too small, not finite, or without any edge.
    """

    def __init__(
        self,
        image: Float[Tensor, "3 h w"],
        steps: int,
        seed: Sequence[int],
        *,
        shave: int = 10,
        noise_stays: bool = False,
        held: Sequence[Box] = (),
    ):
        inner = shaved(image, shave)
        self.noise_stays = noise_stays
        draw = np.random.default_rng(list(seed))
        self.places = np.stack(
            [
                places(chances, size, steps, draw)
                for chances, size in zip(crop_chances(inner, held), (CROP, SMALL), strict=True)
            ]
        )
        self.image = 2 * inner - 1
        self._noise = torch.Generator().manual_seed(int(draw.integers(2**62)))

    def pair(self, step: int) -> tuple[Float[Tensor, "3 64 64"], Float[Tensor, "3 26 26"], Float[Tensor, "3 26 26"]]:
        """The generator's crop, the discriminator's noisy crop, and noise for the discriminator's other input.

        All in [-1, 1], where the last noise is half as strong as the one in the crop, as in the released code.
        """
        (top, left), (top_d, left_d) = self.places[:, step].tolist()
        noise = NOISE * torch.randn(2, 3, SMALL, SMALL, generator=self._noise).to(self.image)
        crop = self.image[:, top : top + CROP, left : left + CROP]
        real = self.image[:, top_d : top_d + SMALL, left_d : left_d + SMALL]
        if self.noise_stays:
            crop = crop.clone()  # before the noise: both crops may overlap
            real += 2 * noise[0]
            return crop, real.clone(), noise[1]
        return crop, real + 2 * noise[0], noise[1]


def shaved(image: Float[Tensor, "3 h w"], shave: int) -> Float[Tensor, "3 oh ow"]:
    """Without ``shave`` pixels at each side and, where a side is odd, its last row or column.

    Raises
    ------
    ImageError
        What is left is too small for crops, not finite, or flat.
    """
    height, width = (side - 2 * shave for side in image.shape[-2:])
    least = CROP + 2
    if min(height, width) < least:
        raise ImageError(
            f"A kernel cannot be estimated from {image.shape[-1]} x {image.shape[-2]} pixels: "
            f"give a photo of at least {least + 2 * shave} pixels each way."
        )
    inner = image[:, shave : shave + height - height % 2, shave : shave + width - width % 2]
    if not bool(torch.isfinite(inner).all()):
        raise ImageError("The photo holds NaN or infinite values: find the step that made them.")
    if float(inner.amax() - inner.amin()) < 1e-4:
        raise ImageError("The photo is flat, and a kernel cannot be seen in it: give one with edges.")
    return inner


def crop_chances(
    image: Float[Tensor, "3 h w"], held: Sequence[Box] = ()
) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """Chance of each pixel to be the centre of the generator's and of the discriminator's crop.

    The discriminator's crops follow the gradients of the photo, the generator's those of the photo at half size, which
    is what it makes.
    """
    small = imresize(image, scale=1 / 2)
    doubled = gradient_map(small).repeat(2, 0).repeat(2, 1)
    return centre_chances(doubled, CROP, held), centre_chances(gradient_map(image), SMALL, held)


def gradient_map(image: Float[Tensor, "3 h w"], share: float = 0.97) -> Float[np.ndarray, "h w"]:
    """Where edges are: the strongest 3 % of gradients, nearly as yes or no, blurred by a 5 x 5 box; mean 1."""
    grey = np.tensordot(GREY, image.double().cpu().numpy(), 1)  # (h, w)
    down, right = np.gradient(grey)
    total = np.zeros_like(grey)
    for part in (np.abs(down), np.abs(right), np.hypot(down, right)):
        part = inside(part, BAND)
        ordered = np.sort(part, axis=None)
        pivot = int(share * ordered.size)
        low, high = ordered[pivot], ordered[min(pivot + 1, ordered.size - 1)]
        band = np.clip(part, low, high if high > low else low + 1e-5) - low
        total += band / max(band.sum(), 1e-30)
    total = ndimage.uniform_filter(total, BAND, mode="constant")
    return total / total.mean() if total.any() else np.ones_like(total)


def centre_chances(edges: Float[np.ndarray, "h w"], crop: int, held: Sequence[Box] = ()) -> Float[np.ndarray, "h w"]:
    """Chances that sum to 1, from the mean of ``edges`` over half a crop, where a whole crop fits in."""
    half = crop // 2
    chances = inside(np.maximum(ndimage.uniform_filter(edges, half, mode="constant"), 0), half)
    allowed = inside(np.ones_like(edges), half)
    for top, left, bottom, right in held:
        # centres whose crop (forced to even places: one pixel more) would reach into the box
        rows, columns = slice(max(top - half, 0), bottom + half + 2), slice(max(left - half, 0), right + half + 2)
        chances[rows, columns] = allowed[rows, columns] = 0
    if not chances.any():  # no edge at all: anywhere
        chances = allowed
    if not chances.any():
        raise ValueError("the boxes held back leave no place for a crop")
    return chances / chances.sum()


def inside(values: Float[np.ndarray, "h w"], border: int) -> Float[np.ndarray, "h w"]:
    """A copy with zeros in a border."""
    out = np.zeros_like(values)
    out[border:-border, border:-border] = values[border:-border, border:-border]
    return out


def places(chances: Float[np.ndarray, "h w"], crop: int, count: int, draw: np.random.Generator) -> np.ndarray:
    """Top and left, even, of crops whose centres follow ``chances``: (count, 2)."""
    height, width = chances.shape
    # by the inverse of the cumulative sum, which is what numpy's choice does, without its copies
    total = chances.ravel().cumsum()
    centres = np.searchsorted(total, total[-1] * draw.random(count), side="right")
    corners = np.stack(np.divmod(centres, width), 1) - crop // 2
    corners = corners.clip(0, [height - crop, width - crop])
    return corners - corners % 2
