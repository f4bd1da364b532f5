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
from restore_lib.realsr.kernels import LUMA, Box
from restore_lib.resampling import imresize

CROP, SMALL = 64, 26  # sides of the generator's input, and of its output and the discriminator's input
SMOOTH = 2.5 / 255  # second difference: rounding a smooth gradient to 8 bits makes 2 levels at most
NOISE = 1 / 255  # standard deviation of the discriminator's noise, in [0, 1] for the photo's crops
DRAWN = 50  # steps whose noise is drawn, and brought to the photo's device, at once


class CropSampler:
    """The crops of every step of an estimation, their places drawn beforehand.

    ``image`` is the photo in [0, 1] as :func:`shaved` leaves it; equal ``seed`` give equal crops and noise. With
    ``noise_stays``, the released code's defect, noise that is added to a crop stays in the image. No crop touches the
    box ``held``.
    """

    def __init__(
        self,
        image: Float[Tensor, "3 h w"],
        seed: Sequence[int],
        steps: int,
        noise_stays: bool = False,
        held: Box | None = None,
    ):
        draw = np.random.default_rng(list(seed))
        maps = zip(crop_chances(image, held), (CROP, SMALL), strict=True)
        self.places = np.stack([places(chances, size, steps, draw) for chances, size in maps])  # (2, steps, 2)
        self.image, self.noise_stays = 2 * image - 1, noise_stays
        self._noise = torch.Generator().manual_seed(int(draw.integers(2**62)))
        self._drawn: list[Tensor] = []

    def crops(self, step: int) -> tuple[Float[Tensor, "3 64 64"], Float[Tensor, "3 26 26"], Float[Tensor, "3 26 26"]]:
        """The generator's crop, the discriminator's noisy crop, and noise for its other input, in [-1, 1]."""
        (top, left), (top_d, left_d) = self.places[:, step].tolist()
        if not self._drawn:
            drawn = [torch.randn(2, 3, SMALL, SMALL, generator=self._noise) for _ in range(DRAWN)]
            self._drawn = list(NOISE * torch.stack(drawn).to(self.image))
        noise = self._drawn.pop(0)  # (2, 3, 26, 26)
        crop = self.image[:, top : top + CROP, left : left + CROP]
        real = self.image[:, top_d : top_d + SMALL, left_d : left_d + SMALL]
        if self.noise_stays:
            crop = crop.clone()  # before the noise: both crops may overlap
            real += 2 * noise[0]
            return crop, real.clone(), noise[1]
        return crop, real + 2 * noise[0], noise[1]


def shaved(image: Float[Tensor, "3 h w"], shave: int) -> Float[Tensor, "3 oh ow"]:
    """Without ``shave`` pixels at each side, and with even sides; ImageError when too small, not finite, or flat."""
    height, width = (side - 2 * shave for side in image.shape[-2:])
    if min(height, width) < CROP + 2:
        raise ImageError(
            f"A kernel cannot be estimated from {image.shape[-1]} x {image.shape[-2]} pixels: "
            f"give a photo of at least {CROP + 2 + 2 * shave} pixels each way."
        )
    inner = image[:, shave : shave + height - height % 2, shave : shave + width - width % 2]
    if not bool(torch.isfinite(inner).all()):
        raise ImageError("The photo holds NaN or infinite values: find the step that made them.")
    if float(inner.amax() - inner.amin()) < 1e-4:
        raise ImageError("The photo is flat, and a kernel cannot be seen in it: give one with edges.")
    bends = torch.cat([inner.diff(n=2, dim=dim).abs().amax(0).flatten() for dim in (1, 2)])
    if float((bends > SMOOTH).float().mean()) < 1e-3:  # a ramp looks the same after any centred kernel of sum 1
        raise ImageError("The photo shows smooth gradients alone, which no blur changes: give one with edges.")
    return inner


def crop_chances(
    image: Float[Tensor, "3 h w"], held: Box | None = None
) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """Chance of each pixel to be the centre of the generator's and of the discriminator's crop.

    The latter follow the gradients of the photo, the former those of the photo at half size, which the generator makes.
    """
    doubled = gradient_map(imresize(image, scale=1 / 2)).repeat(2, 0).repeat(2, 1)
    return centre_chances(doubled, CROP, held), centre_chances(gradient_map(image), SMALL, held)


def gradient_map(image: Float[Tensor, "3 h w"]) -> Float[np.ndarray, "h w"]:
    """Where edges are: the strongest 3 % of gradients, nearly as yes or no, blurred by a 5 x 5 box; mean 1."""
    grey = np.tensordot(LUMA, image.double().cpu().numpy(), 1)  # (h, w)
    down, right = np.gradient(grey)
    total = np.zeros_like(grey)
    for part in (np.abs(down), np.abs(right), np.hypot(down, right)):
        part = inside(part, 5)
        ordered = np.sort(part, axis=None)
        pivot = int(0.97 * ordered.size)
        low, high = ordered[pivot], ordered[min(pivot + 1, ordered.size - 1)]
        band = np.clip(part, low, high if high > low else low + 1e-5) - low
        total += band / max(band.sum(), 1e-30)
    total = ndimage.uniform_filter(total, 5, mode="constant")
    return total / total.mean() if total.any() else np.ones_like(total)


def centre_chances(edges: Float[np.ndarray, "h w"], crop: int, held: Box | None = None) -> Float[np.ndarray, "h w"]:
    """Chances that sum to 1, from the mean of ``edges`` over half a crop, where a whole crop fits in."""
    half = crop // 2
    chances = inside(np.maximum(ndimage.uniform_filter(edges, half, mode="constant"), 0), half)
    allowed = inside(np.ones_like(edges), half)
    if held:  # no centres whose crop (forced to even places: one pixel more) would reach into the box
        top, left, bottom, right = held
        rows, columns = slice(max(top - half, 0), bottom + half + 2), slice(max(left - half, 0), right + half + 2)
        chances[rows, columns] = allowed[rows, columns] = 0
    chances = chances if chances.any() else allowed  # no edge at all: anywhere
    return chances / chances.sum()


def inside(values: Float[np.ndarray, "h w"], border: int) -> Float[np.ndarray, "h w"]:
    """A copy with zeros in a border."""
    return np.pad(values[border:-border, border:-border], border)


def places(chances: Float[np.ndarray, "h w"], crop: int, count: int, draw: np.random.Generator) -> np.ndarray:
    """Top and left, even, of crops whose centres follow ``chances``: (count, 2)."""
    height, width = chances.shape
    total = chances.ravel().cumsum()
    centres = np.searchsorted(total, total[-1] * draw.random(count), side="right")  # the inverse of the distribution
    corners = np.stack(np.divmod(centres, width), 1) - crop // 2
    corners = corners.clip(0, [height - crop, width - crop])
    return corners - corners % 2


def hold_out(image: Float[Tensor, "3 h w"]) -> Box:
    """A strip at the end of the longer side with more edges, a quarter or 66 pixels, that training must not see."""
    height, width = image.shape[-2:]
    longer = max(height, width)
    strip = max(longer // 4, CROP + 2)
    if longer - strip < CROP + 4:
        raise ImageError(
            f"{width} x {height} pixels are too few to keep some from training: give a larger photo or one restart."
        )
    along = crop_chances(image)[1].sum(0 if width >= height else 1)  # (longer,)
    ends = [(float(along[:strip].sum()), 0), (float(along[-strip:].sum()), longer - strip)]
    start = max([end for end in ends if end[0] <= 0.5] or [min(ends)])[1]
    return (0, start, height, start + strip) if width >= height else (start, 0, start + strip, width)
