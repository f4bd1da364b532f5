"""Synthetic noise, which is added to a clean photo to make a noisy one; and how strong the noise of a photo is.

Noise levels are quoted as papers do, on the scale 0 to 255; images stay in [0, 1]. Nothing is clipped or rounded
unless a function says so: a network that is trained on clipped noise learns the clipping.
"""

import io
import math

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor
from torch.nn import functional

from restore_lib import images, metrics

LUMA, CHROMA = (0.299, 0.587, 0.114), ((-0.1687, -0.3313, 0.5), (0.5, -0.4187, -0.0813))  # as JPEG has them
LARGEST_COUNT = 20_000  # patches that an estimate looks at
CLEAN_JPEG = 5.0  # levels: what photos without noise mostly have in JPEG's middle frequencies


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


def estimate(image: Float[Tensor, "3 h w"]) -> float:
    """Standard deviation of the white noise of a photo, estimated, on the scale 0 to 255; 0 where there is none.

    Patches of a clean photo lie close to a space of few dimensions, whatever its texture, and noise fills all
    dimensions alike: the variance of the noise is the mean of the smallest eigenvalues of the patches' covariance, as
    many as have a mean equal to their median [chen2015noise].

    Texture of grey photos fills more dimensions: there the finest wavelets (:func:`metrics.noise_level`) say how strong
    the noise is at most. JPEG takes fine detail away, and so these eigenvalues. Where its blocks show, noise is read
    from middle frequencies of luma and of chroma in the smoothest patches, and from wavelets: the smallest of the three
    counts, less what photos without noise have there. Factors were set on photos of BSDS500 at quality 75 to 95.

    ``image`` is RGB in [0, 1], at least 12 x 12 pixels.
    """
    levels = 255 * image.detach().float().cpu()
    grey = bool((levels == levels[:1]).all())
    levels = levels[:1] if grey else levels
    varied = levels[levels.flatten(1).std(1) > 0]
    if not len(varied):
        return 0.0
    side = next(side for side in (7, 5, 3) if side == 3 or min(levels.shape[1:]) >= 8 * side)
    sigma = _floor(_patches(varied, side).flatten(1))
    luma = levels if grey else (levels * torch.tensor(LUMA)[:, None, None]).sum(0, keepdim=True)  # (1, h, w)
    in_blocks = _in_blocks(luma[0])
    if not grey and not in_blocks:
        return sigma
    finest = metrics.noise_level(image)
    if not in_blocks:
        return min(sigma, finest)
    k, sums = torch.arange(8), torch.arange(8) + torch.arange(8)[:, None]
    middle = (k >= 2) & (k <= 4)
    middle = middle & middle[:, None]
    readings = [1.3 * finest, 0.95 * _smoothest(luma, sums <= 2, middle) / (1 if grey else math.hypot(*LUMA))]
    if not grey:
        weights = functional.normalize(torch.tensor(CHROMA))  # each row's sum has noise of sigma, too
        chroma = 2 * functional.avg_pool2d(torch.einsum("kc,chw->khw", weights, levels), 2)  # (2, h / 2, w / 2)
        readings.append(1.5 * _smoothest(chroma, sums <= 1, (sums >= 2) & (sums <= 3)))
    return max(sigma, math.sqrt(max(min(readings) ** 2 - CLEAN_JPEG**2, 0)))


def _patches(planes: Float[Tensor, "c h w"], side: int) -> Float[Tensor, "n c side side"]:
    """Patches at the same distance all over a picture, of those the half that is farthest from black and white, where
    noise is clipped.
    """
    step = math.ceil(math.sqrt(planes[0].numel() / LARGEST_COUNT))
    found = planes.unfold(1, side, step).unfold(2, side, step).permute(1, 2, 0, 3, 4)  # (rows, columns, c, side, side)
    found = found.reshape(-1, len(planes), side, side)
    off_grey = (found.mean((2, 3)) - 127.5).abs().amax(1)
    return found[off_grey.topk(math.ceil(len(found) / 2), largest=False).indices]


def _floor(vectors: Float[Tensor, "n d"]) -> float:
    """Root of the mean of the smallest eigenvalues of the covariance, as many as have that mean for a median."""
    values = torch.linalg.eigvalsh(torch.cov(vectors.T.double())).clamp(min=0)  # (d,), rising
    count = next(n for n in range(len(values), 0, -1) if values[:n].mean() <= values[:n].quantile(0.5) * (1 + 1e-9))
    return math.sqrt(float(values[:count].mean()))


def _cosines() -> Float[Tensor, "8 8"]:
    """The cosine transform of eight values, orthonormal, as JPEG has it."""
    k = torch.arange(8)
    return torch.cos(math.pi / 8 * (k + 0.5) * k[:, None]) * torch.where(k == 0, 0.125, 0.25).sqrt()[:, None]


def _in_blocks(luma: Float[Tensor, "h w"]) -> bool:
    """Whether a JPEG file was read: in its blocks of 8 x 8, high frequencies are zero more often than elsewhere."""
    fine = torch.arange(8) + torch.arange(8)[:, None] >= 6
    shares = []
    for down, right in np.ndindex(8, 8):
        blocks = luma[down:, right:].unfold(0, 8, 8).unfold(1, 8, 8).flatten(0, 1)  # (n, 8, 8)
        if len(blocks) < 16:
            return False
        blocks = blocks[:: math.ceil(len(blocks) / 500)]
        high = (_cosines() @ blocks @ _cosines().T)[:, fine]  # (n, 43)
        shares.append(float((high.abs() < 1).float().mean()))
    most, second = sorted(shares)[:-3:-1]
    return most - second > 0.06


def _smoothest(planes: Float[Tensor, "c h w"], coarse: Bool[Tensor, "8 8"], band: Bool[Tensor, "8 8"]) -> float:
    """Standard deviation of the frequencies of a ``band`` in the tenth of patches with least in ``coarse`` ones."""
    if min(planes.shape[1:]) < 8:
        return math.inf
    waves = (_cosines() @ _patches(planes, 8) @ _cosines().T).square()  # (n, c, 8, 8)
    energy = waves[:, :, coarse].sum((1, 2)) - waves[:, :, 0, 0].sum(1)  # (n,)
    smoothest = waves[energy.topk(math.ceil(len(energy) / 10), largest=False).indices]
    return float(smoothest[:, :, band].mean(0).median().sqrt())


def _normal(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal numbers of x's shape, drawn where the generator lives, so that its seed decides alone."""
    dtype = x.dtype if x.dtype in (torch.float32, torch.float64) else torch.float32
    return torch.randn(x.shape, generator=generator, dtype=dtype, device=_device(x, generator)).to(x)


def _device(x: Tensor, generator: torch.Generator | None) -> torch.device:
    return x.device if generator is None else generator.device
