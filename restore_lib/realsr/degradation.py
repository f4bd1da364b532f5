"""Training pairs that look like real photos: RealSR's Algorithm 1 [ji2020realsr].

``lr = (hr * k) reduced by 4 + n``, with a kernel k and noise n drawn from pools that real photos filled. Everything is
computed in floating point. The released code turns floats into 8 bits by cutting off fractions, in HR images as well as
in LR ones, and hands 8-bit images to the correlation, which cuts off once more: what it cuts becomes half a grey level
darker on average (``official_uint8=True`` does as it does).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from numbers import Integral

import torch
from jaxtyping import Float
from torch import Tensor

from restore_lib import images
from restore_lib.realsr.kernels import centre_of_mass
from restore_lib.realsr.noise_pool import NoisePool, NoiseRule, fill
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
        Cut off the fractions of grey levels wherever the released code does so by mistake.

    Raises
    ------
    ValueError
        A kernel is not aligned: LR images would not lie on their HR images.
    """

    scale: int = 4
    kernels: Sequence[Float[Tensor, "_ _"]] = ()
    noises: NoisePool = field(default_factory=NoisePool)
    official_uint8: bool = False

    def __post_init__(self) -> None:
        for number, kernel in enumerate(self.kernels):
            off = off_centre(kernel, self.scale)
            if not off <= OFF:
                raise ValueError(
                    f"kernel {number} has its centre {off:.2f} pixels off the middle of the {self.scale} x "
                    f"{self.scale} pixels that become one: give align_kernel(kernel, scale)"
                )

    def reduce(self, hr: Float[Tensor, "3 h w"], kernel: Integral | None = None) -> Float[Tensor, "3 oh ow"]:
        """The LR image before noise, in [0, 1]: with a kernel of the pool by its number, or bicubic."""
        if kernel is None:
            lr = imresize(hr, scale=1 / self.scale).clamp(0, 1)
        else:
            lr = downscale(hr, self.kernels[kernel], self.scale, align=False).clamp(0, 1)
        return cut_off(lr) if self.official_uint8 else lr

    def draw(self, generator: torch.Generator) -> int | None:
        """Number of a random kernel; None when the reduction is bicubic."""
        return int(torch.randint(len(self.kernels), (), generator=generator)) if len(self.kernels) else None

    def pair(self, name: str, hr: Float[Tensor, "3 h w"], generator: torch.Generator) -> Pair:
        """An HR image with its LR image, by a random kernel and before noise."""
        number = self.draw(generator)
        kept = cut_off(hr) if self.official_uint8 else hr
        if number is None:
            return Pair(name, kept, self.reduce(hr))  # the released code cuts both off, but reduces what it had before
        return Pair(name, kept, self.reduce(kept, number), number)

    def degrade(self, hr: Float[Tensor, "3 h w"], generator: torch.Generator) -> Float[Tensor, "3 oh ow"]:
        """A whole LR photo, in [0, 1]: a random kernel, reduced, and noise of random patches side by side."""
        lr = self.reduce(hr, self.draw(generator))
        return (lr + fill(self.noises, lr.shape[-2:], generator).to(lr)).clamp(0, 1) if len(self.noises) else lr


OFF = 0.25  # pixels of the larger image: cutting a kernel's tails moves its centre by less than a tenth of that


def off_centre(kernel: Float[Tensor, "kh kw"], scale: Integral) -> float:
    """How far an image moves when it is reduced with a kernel as it is, in pixels of the larger image."""
    first = torch.tensor([(cells - 1) // 2 for cells in kernel.shape])  # the cell that lies on pixel scale j
    return float((centre_of_mass(kernel).cpu() - first - (scale - 1) / 2).norm())


def cut_off(image: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 h w"]:
    """Grey levels without their fractions, as a conversion to 8 bits that forgets to round leaves them."""
    return (image * 255).floor() / 255


def algorithm_1(
    real: Iterable[tuple[str, Float[Tensor, "3 _ _"]]],
    clean: Iterable[tuple[str, Float[Tensor, "3 _ _"]]] = (),
    *,
    track: Track = TRACK2,
    estimate: Callable[[Tensor], Float[Tensor, "_ _"]] | None = None,
    seed: Integral = 0,
    official_uint8: bool = False,
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
    official_uint8 : bool
        As in :class:`Degradation`.

    Returns
    -------
    PairedData
        Whose noise is injected when crops are drawn, as in the released code.
    """
    if track.kernels and estimate is None:
        raise ValueError(f"{track.name or 'this track'} needs estimate: a function from a photo to its kernel")
    pool, kernels, sharp = NoisePool(), [], []
    for name, photo in real:
        if track.kernels:
            kernels.append(estimate(photo))  # Eq. 4
        pool.add(photo, track.rule, name)  # Eq. 7
        sharp.append((name, clean_up(photo, track.clean_up, track.scale)))
    if track.use_targets:
        sharp += [(name, images.modcrop(photo, track.scale)) for name, photo in clean]
    degradation = Degradation(track.scale, kernels, pool, official_uint8)
    generator = torch.Generator().manual_seed(int(seed))
    pairs = [degradation.pair(name, hr, generator) for name, hr in sharp]
    return PairedData(pairs, pool, track.scale)
