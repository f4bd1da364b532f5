"""Training pairs that look like real photos: RealSR's Algorithm 1 [ji2020realsr].

``lr = (hr * k) reduced by 4 + n``, with a kernel k and noise n drawn from pools that real photos filled. Everything is
computed in floating point: the released code hands 8-bit images to the correlation, which cuts off fractions and makes
every LR image half a grey level darker on average (``official_uint8=True`` shows it).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from numbers import Integral

import torch
from jaxtyping import Float
from torch import Tensor

from restore_lib import images
from restore_lib.realsr.noise_pool import NoisePool, NoiseRule
from restore_lib.realsr.pairs import Pair, PairedData
from restore_lib.resampling import downscale, imresize
from restore_lib.training.recipes import sourced


@dataclass(frozen=True)
class Track:
    """Settings of one track of the NTIRE 2020 challenge, as the released code has them.

    Attributes
    ----------
    name, scale, clean_up, kernels, use_targets, rule
        What each field means and where its value comes from is in its metadata.
    """

    name: str = sourced("", "NTIRE 2020", "What people call it.")
    scale: int = sourced(4, "NTIRE 2020", "Factor of the reduction.")
    clean_up: int = sourced(2, "official code", "Noisy photos are reduced by this to serve as clean ones.")
    kernels: bool = sourced(True, "official code", "Reduce with estimated kernels, or bicubically.")
    use_targets: bool = sourced(True, "official code", "Take the clean photos, too, and not the reduced ones alone.")
    rule: NoiseRule = field(default=NoiseRule(), metadata={"source": "official code", "doc": "What counts as noise."})


TRACK1 = Track(name="Track 1: image processing artefacts", kernels=False)
TRACK2 = Track(name="Track 2: smartphone images", use_targets=False, rule=NoiseRule(mean=50.0))


def clean_up(photo: Float[Tensor, "3 h w"], factor: Integral = 2, multiple: Integral = 4) -> Float[Tensor, "3 oh ow"]:
    """Reduce a noisy photo bicubically, which averages its noise away, and cut its sides to multiples of the scale."""
    return images.modcrop(imresize(photo, scale=1 / factor).clamp(0, 1), multiple)


@dataclass
class Degradation:
    """How an HR image becomes an LR image: pools to draw from.

    Attributes
    ----------
    scale : int
        Factor of the reduction.
    kernels : list of Tensor
        Correlation kernels, aligned for ``scale``; empty: the bicubic reduction.
    noises : NoisePool
        Empty: no noise.
    official_uint8 : bool
        Cut off the fractions of grey levels when reducing with a kernel, as the released code does by mistake.
    """

    scale: int = 4
    kernels: Sequence[Float[Tensor, "_ _"]] = ()
    noises: NoisePool = field(default_factory=NoisePool)
    official_uint8: bool = False

    def reduce(self, hr: Float[Tensor, "3 h w"], kernel: Integral | None = None) -> Float[Tensor, "3 oh ow"]:
        """The LR image before noise, in [0, 1]: with a kernel of the pool by its number, or bicubic."""
        if kernel is None:
            return imresize(hr, scale=1 / self.scale).clamp(0, 1)
        k = self.kernels[kernel]
        if self.official_uint8:
            levels = torch.from_numpy(images.to_uint8(hr)).permute(2, 0, 1).to(hr)
            return downscale(levels, k, self.scale, align=False).clamp(0, 255).floor() / 255
        return downscale(hr, k, self.scale, align=False).clamp(0, 1)

    def draw(self, generator: torch.Generator) -> int | None:
        """Number of a random kernel; None when the reduction is bicubic."""
        return int(torch.randint(len(self.kernels), (), generator=generator)) if len(self.kernels) else None


def algorithm_1(
    real: Iterable[tuple[str, Float[Tensor, "3 _ _"]]],
    clean: Iterable[tuple[str, Float[Tensor, "3 _ _"]]] = (),
    *,
    track: Track = TRACK2,
    estimate: Callable[[Tensor], Float[Tensor, "_ _"]] | None = None,
    seed: Integral = 0,
) -> PairedData:
    """RealSR's Algorithm 1: from unpaired photos to a paired training set.

    Parameters
    ----------
    real : iterable of (name, image)
        Photos from the camera; kernels and noise are theirs.
    clean : iterable of (name, image)
        Photos without noise, for tracks that use them.
    track : Track
    estimate : callable, optional
        Gives a photo's kernel for the track's scale, aligned. Needed when the track has kernels, for example
        ``lambda photo: estimate_kernel(photo, scale=4).kernel``.
    seed : int
        Of the choice of kernels.

    Returns
    -------
    PairedData
        Whose noise is injected when crops are drawn, as in the released code.
    """
    if track.kernels and estimate is None:
        raise ValueError(f"{track.name or 'this track'} needs estimate: a function from a photo to its kernel")
    pool, degradation = NoisePool(), Degradation(scale=track.scale)
    kernels, sharp = [], []
    for name, photo in real:
        if track.kernels:
            kernels.append(estimate(photo))  # Eq. 4
        pool.add(photo, track.rule, name)  # Eq. 7
        sharp.append((name, clean_up(photo, track.clean_up, track.scale)))
    if track.use_targets:
        sharp += [(name, images.modcrop(photo, track.scale)) for name, photo in clean]
    degradation.kernels, degradation.noises = kernels, pool
    generator = torch.Generator().manual_seed(int(seed))
    pairs = []
    for name, hr in sharp:
        k = degradation.draw(generator)
        pairs.append(Pair(name, hr, degradation.reduce(hr, k), k))
    return PairedData(pairs, pool, track.scale)
