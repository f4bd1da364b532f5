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
    """Add independent normal noise of one standard deviation everywhere.

    Parameters
    ----------
    x : Tensor
        Image or batch in [0, 1].
    sigma : float or Tensor
        Standard deviation on the scale 0 to 255, at least 0; a tensor (B,) gives each image of a batch its own.
    generator : torch.Generator, optional
        Source of randomness, on the CPU or on x's device. The same state gives the same bits, and every call draws
        as many numbers as x has values, whatever sigma is. Default: torch's global one.

    Returns
    -------
    Tensor
        x + n, neither clipped nor rounded, as x in shape, dtype and device.

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

    The variance is a line in the signal, ``gain * x + (read_sigma / 255) ** 2`` [foi2008practical]: a pixel of
    value x has collected x / gain photons on average, and their number is Poisson distributed.

    Parameters
    ----------
    x : Tensor
        Image or batch in [0, 1]; values below 0 count as 0 photons.
    gain : float
        Value of one photon, greater than 0. 0.01 means that white is 100 photons: a dark room.
    read_sigma : float
        Standard deviation of the read-out noise on the scale 0 to 255, at least 0.
    generator : torch.Generator, optional
        As in :func:`gaussian`.

    Returns
    -------
    Tensor
        The noisy image, neither clipped nor rounded, as x in shape, dtype and device.

    Raises
    ------
    ValueError
        A gain that is not positive, or either parameter not finite.
    """
    if not (math.isfinite(gain) and gain > 0):
        raise ValueError(f"gain must be positive and finite, got {gain}")
    photons = (x.detach().clamp(min=0) / gain).to(_device(x, generator))
    counted = torch.poisson(photons, generator=generator).to(x) * gain
    return gaussian(x + (counted - x).detach(), read_sigma, generator)


def salt_and_pepper(
    x: Float[Tensor, "*batch c h w"], amount: float, generator: torch.Generator | None = None
) -> Float[Tensor, "*batch c h w"]:
    """Replace a share of the pixels by black or white, all channels together, half and half.

    Parameters
    ----------
    x : Tensor
        Image or batch in [0, 1].
    amount : float
        Probability that a pixel is hit, in [0, 1].
    generator : torch.Generator, optional
        As in :func:`gaussian`.

    Raises
    ------
    ValueError
        An amount outside [0, 1].
    """
    if not 0 <= amount <= 1:
        raise ValueError(f"amount is a probability in [0, 1], got {amount}")
    shape = (*x.shape[:-3], 1, *x.shape[-2:])
    dice = torch.rand(shape, generator=generator, device=_device(x, generator)).to(x.device)  # (..., 1, h, w)
    return torch.where(dice < amount / 2, 0.0, torch.where(dice < amount, 1.0, x)).to(x.dtype)


def jpeg(x: Float[Tensor, "c h w"], quality: int) -> Float[Tensor, "c h w"]:
    """Pass an image through a JPEG file: clipped, rounded to 8 bit, compressed (colour at half resolution), read back.

    Parameters
    ----------
    x : Tensor
        RGB or grey image in [0, 1].
    quality : int
        1 (worst) to 95, as Pillow defines it.

    Raises
    ------
    ValueError
        A quality outside 1 to 95.
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
