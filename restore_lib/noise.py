"""Synthetic noise: what is added to a clean photo to make a noisy one.

Noise levels are quoted as papers do, on the scale 0 to 255; images stay in [0, 1]. Nothing is clipped or rounded
unless a function says so: a network that is trained on clipped noise learns the clipping.
"""

import io
import math

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from restore_lib import images


def gaussian(
    x: Float[Tensor, "*batch c h w"],
    sigma: float | Float[Tensor, "b"],
    generator: torch.Generator | None = None,
) -> Float[Tensor, "*batch c h w"]:
    """Add independent normal noise of one standard deviation everywhere; the sum is neither clipped nor rounded.

    Parameters
    ----------
    x : Tensor
        Image or batch in [0, 1].
    sigma : float or Tensor
        Standard deviation on the scale 0 to 255, at least 0; a tensor (B,) gives each image of a batch its own.
    generator : torch.Generator, optional
        On the CPU or on x's device; torch's global one by default. The same state gives the same bits, and every call
        draws as many numbers as x has values, whatever sigma is.

    Raises
    ------
    ValueError
        A sigma that is negative or not finite, or not one for each image.
    """
    levels = torch.as_tensor(sigma, dtype=torch.float64)
    if not bool(torch.isfinite(levels).all()) or bool((levels < 0).any()):
        raise ValueError(f"sigma must be finite and at least 0, on the scale 0 to 255; got {sigma}")
    if levels.ndim and (x.ndim != 4 or len(levels) != len(x)):
        raise ValueError(f"sigma of shape {tuple(levels.shape)} needs a batch of as many images, got {tuple(x.shape)}")
    levels = levels.reshape(-1, 1, 1, 1) if levels.ndim else levels  # (b, 1, 1, 1)
    return x + levels.to(x) / 255 * _normal(x, generator)


def poisson_gaussian(
    x: Float[Tensor, "*batch c h w"],
    gain: float,
    read_sigma: float = 0.0,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "*batch c h w"]:
    """Add the noise of a sensor: photons arrive at random, and reading them out adds a little more.

    The variance is a line in the signal, ``gain * x + (read_sigma / 255) ** 2`` [foi2008practical]: a pixel of value x
    has collected x / gain photons on average, and their number is Poisson distributed. ``gain`` is the value of one
    photon: at 0.01, white is 100 photons, a dark room; values below 0 count as none. Otherwise as :func:`gaussian`.
    """
    if not (math.isfinite(gain) and gain > 0):
        raise ValueError(f"gain must be positive and finite, got {gain}")
    photons = (x.detach().clamp(min=0) / gain).to(_device(x, generator))
    counted = torch.poisson(photons, generator=generator).to(x) * gain
    return gaussian(x + (counted - x).detach(), read_sigma, generator)


def jpeg(x: Float[Tensor, "c h w"], quality: int) -> Float[Tensor, "c h w"]:
    """Pass an image through a JPEG file: clipped, rounded to 8 bit, compressed (colour at half resolution), read back.

    ``x`` is RGB or grey in [0, 1]; ``quality`` goes from 1 (worst) to 95, as Pillow defines it.
    """
    if not 1 <= quality <= 95:
        raise ValueError(f"quality goes from 1 to 95, got {quality}")
    stream = io.BytesIO()
    Image.fromarray(images.to_uint8(x.detach())).save(stream, "JPEG", quality=quality, subsampling="4:2:0")
    return images.from_uint8(np.array(Image.open(stream))).to(x)


def _normal(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal numbers of x's shape, drawn where the generator lives, so that its seed decides alone."""
    dtype = x.dtype if x.dtype in (torch.float32, torch.float64) else torch.float32
    return torch.randn(x.shape, generator=generator, dtype=dtype, device=_device(x, generator)).to(x)


def _device(x: Tensor, generator: torch.Generator | None) -> torch.device:
    return x.device if generator is None else generator.device
