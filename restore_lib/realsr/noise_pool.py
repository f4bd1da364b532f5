"""Collect a camera's noise from the flat parts of its photos, put it into clean images, and measure it [ji2020realsr].

Where a photo shows nothing, what varies is noise. A patch is kept when its luma varies little (Eq. 7, with the numbers
of ``collect_noise.py``); later a crop of it, without its mean, is added to a clean image. White noise of independent
channels has a flat spectrum, no correlation between pixels or colours, and the same strength everywhere; a camera's
noise, by the time it is in a file, has none of these. Strengths in a :func:`summary` are on the scale 0 to 255.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from restore_lib import images, noise
from restore_lib.errors import DataError
from restore_lib.realsr.kernels import LUMA
from restore_lib.resampling import imresize
from restore_lib.training.recipes import sourced

SIDES = ("patch", "stride")
MAD_TO_SIGMA = 1.4826  # of a normal distribution
SIDE = 32  # of the crops that RealSR injects
FINE = 0.25  # periods per pixel: what is faster along either axis counts as fine
MOST_PAIRED = 1500  # points of a robust line: a million pairs of them are compared


@dataclass(frozen=True)
class NoiseRule:
    """Which patches of a photo count as noise; levels are on the scale 0 to 255."""

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


def noise_variance(grey: Float[np.ndarray, "h w"] | UInt8[np.ndarray, "h w"], step: int = 2) -> float:
    """Variance of the noise in an image that also shows something, on the image's own scale.

    The second difference along both axes removes what changes slowly; the median of what is left is not moved by edges,
    which are few. It compares pixels ``step`` apart, because the colours of direct neighbours come from the same cells
    of the sensor and share noise: with a step of 1 a camera's noise is underestimated several times over. Noise that is
    smooth over more pixels still is; a larger step counts more of it, and more of the picture.
    """
    if min(grey.shape) < 2 * step + 1:
        raise ValueError(f"at least {2 * step + 1} x {2 * step + 1} pixels are needed, got {grey.shape}")
    second = grey.astype(np.float64)
    for _ in range(2):  # the second difference along both axes
        second = (second[: -2 * step] - 2 * second[step:-step] + second[2 * step :]).T
    # of white noise it has 36 times the variance
    return float((MAD_TO_SIGMA * np.median(np.abs(second)) / 6) ** 2)


def threshold(grey: UInt8[np.ndarray, "h w"], rule: NoiseRule) -> float:
    """The variance that patches of this photo must stay below; an adaptive rule asks the photo itself."""
    return rule.variance if rule.adaptive is None else max(rule.variance, rule.adaptive * noise_variance(grey))


def find_patches(image: Float[Tensor, "3 h w"], rule: NoiseRule | None = None) -> list[Patch]:
    """Every patch of the grid over a photo, and whether it counts as noise; the released rule of Track 1 by default."""
    rule = rule or NoiseRule()
    grey = luma(image)
    height, width = (side - rule.patch + (1 if rule.last_block else 0) for side in grey.shape)
    if min(height, width) <= 0 or min(grey.shape) < 5:
        return []
    limit, patches = threshold(grey, rule), []
    for top in range(0, height, rule.stride):
        for left in range(0, width, rule.stride):
            block = grey[top : top + rule.patch, left : left + rule.patch]
            variance, mean = float(block.var()), float(block.mean())
            patches.append(Patch(top, left, variance, mean, variance < limit and mean > rule.mean))
    return patches


@dataclass
class NoisePool:
    """Patches that show nothing but noise, (3, p, p) in [0, 1] as they were in the photo, and where each comes from."""

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

    def sample(self, size: int | Sequence[int], count: int, generator: torch.Generator) -> Float[Tensor, "n 3 h w"]:
        """``count`` random crops of random patches, each channel without its mean over the crop.

        ``size`` is a side or (height, width); DataError when no patch is so large.
        """
        height, width = size if isinstance(size, Sequence) else (size, size)
        fitting = [p for p in self.patches if p.shape[-2] >= height and p.shape[-1] >= width]
        if not fitting:
            raise DataError(f"No noise of {height} x {width} pixels: collect larger patches, or by the adaptive rule.")
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
    scales: Sequence[float] = (1.0,),
) -> NoisePool:
    """The noise pool of several photos, given as pairs of name and image; the released rule for Track 1 by default.

    With ``scales``, above 0 and at most 1, noise is collected from each photo at each of these sizes, reduced
    bicubically: its grains cover fewer pixels there, and are weaker. Patches and their grid shrink with the photo.
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


def fill(pool: NoisePool, size: Sequence[int], generator: torch.Generator) -> Float[Tensor, "3 h w"]:
    """Noise for an image larger than any patch: random patches side by side, their joints at a random place."""
    if not pool.patches:
        raise DataError("The noise pool is empty: collect with a higher variance or with the adaptive rule.")
    tile = min(min(patch.shape[-2:]) for patch in pool.patches)
    height, width = size
    rows, columns = (-(-side // tile) + 1 for side in (height, width))
    tiles = pool.sample(tile, rows * columns, generator)  # (rows columns, 3, tile, tile)
    sheet = tiles.unflatten(0, (rows, columns)).permute(2, 0, 3, 1, 4).reshape(3, rows * tile, columns * tile)
    top, left = _draw(tile, generator), _draw(tile, generator)
    return sheet[:, top : top + height, left : left + width]


def luma_variance(sigma: float) -> float:
    """Variance of the luma of independent RGB noise of standard deviation ``sigma``: 0.447 sigma ** 2."""
    return sum(weight**2 for weight in LUMA) * sigma**2


def _draw(below: int, generator: torch.Generator) -> int:
    return int(torch.randint(below, (), generator=generator))


def crops(patches: Iterable[Float[Tensor, "3 _ _"]], side: int = SIDE) -> Float[Tensor, "n 3 side side"]:
    """Cut patches into squares side by side; what is left over at the edges is dropped."""
    large = [patch.unfold(1, side, side).unfold(2, side, side) for patch in patches if min(patch.shape[1:]) >= side]
    if not large:
        raise DataError(f"There is no patch of {side} x {side} pixels to measure: collect with another rule.")
    return torch.cat([squares.permute(1, 2, 0, 3, 4).flatten(0, 1) for squares in large])


def without_mean(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Each channel of each crop without its own mean, as noise is injected."""
    return x - x.mean((2, 3), keepdim=True)


def power_spectrum(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "h w"]:
    """Power at each frequency, zero in the middle, averaged over crops and channels; its mean is that of ``x ** 2``."""
    return torch.fft.fftshift(_power(x, x.shape[-2:]) / x[0, 0].numel())  # (h, w)


def radial(spectrum: Float[Tensor, "h w"], bins: int = 12) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """Mean power in rings of frequency, from just above zero to 0.5 periods per pixel: (frequency, power)."""
    fy, fx = (torch.fft.fftshift(torch.fft.fftfreq(side, dtype=torch.float64)) for side in spectrum.shape)
    radius = torch.hypot(fy[:, None], fx[None, :])  # (h, w)
    ring = (radius * 2 * bins).ceil().long() - 1  # -1: frequency zero
    inside = [ring == index for index in range(bins)]
    rings = [(radius[where].mean(), spectrum[where].mean()) for where in inside if where.any()]
    frequency, power = (torch.stack(values) for values in zip(*rings, strict=True))
    return frequency, power


def fine_share(spectrum: Float[Tensor, "h w"], above: float = FINE) -> float:
    """Share of the power that lies at frequencies of ``above`` periods per pixel or more, along either axis."""
    fy, fx = (torch.fft.fftshift(torch.fft.fftfreq(side)).abs() for side in spectrum.shape)
    fast = torch.maximum(fy[:, None], fx[None, :]) >= above
    return float(spectrum[fast].sum() / spectrum.sum())


def autocorrelation(x: Float[Tensor, "n c h w"], reach: int = 4) -> Float[Tensor, "r r"]:
    """How alike noise is at two pixels, by their distance up to ``reach`` each way: 1 in the middle of the result."""
    height, width = x.shape[-2:]
    if not 0 <= reach < min(height, width):
        raise ValueError(f"reach is {reach}: give a distance that fits into {height} x {width} pixels")
    power = _power(without_mean(x.double()), (2 * height, 2 * width))  # zeros around: no pair across the border
    sums = torch.fft.ifft2(power).real  # (2h, 2w), lag zero at the corner
    lags = torch.arange(-reach, reach + 1)
    pairs = (height - lags.abs())[:, None] * (width - lags.abs())[None, :]
    covariance = sums[lags][:, lags] / pairs
    return covariance / covariance[reach, reach]


def colour_covariance(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "c c"]:
    """Covariance of the channels, over all pixels of all crops, each channel of a crop without its mean."""
    flat = without_mean(x.double()).transpose(0, 1).flatten(1)  # (c, n h w)
    return flat @ flat.T / flat.shape[1]


def signal_dependence(x: Float[Tensor, "n 3 h w"]) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Mean luma of each crop, and the variance of its pixels averaged over the channels."""
    mean = (x.double().mean((2, 3)) * torch.tensor(LUMA, dtype=torch.float64)).sum(1)
    return mean, x.double().var((2, 3), correction=1).mean(1)


def robust_line(x: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> tuple[float, float]:
    """Slope and intercept of the line through points, a quarter of which may be anywhere (Theil and Sen).

    Crops that hold some texture lie far above the rest, and least squares would follow them. Of very many points
    evenly chosen ones are paired.
    """
    step = -(-len(x) // MOST_PAIRED)
    x, y = x[::step].double(), y[::step].double()
    first, second = torch.triu_indices(len(x), len(x), 1)
    run = x[second] - x[first]
    slopes = ((y[second] - y[first]) / run)[run != 0]
    slope = float(slopes.quantile(0.5)) if len(slopes) else 0.0
    return slope, float((y - slope * x).quantile(0.5))


def summary(patches: NoisePool | Sequence[Float[Tensor, "3 _ _"]], side: int = SIDE) -> dict[str, float]:
    """The statistics of noise in plain numbers, measured on crops of ``side`` pixels as RealSR injects them.

    ``patches`` hold noise on a ground that should be flat, (3, h, w) in [0, 1]. Keys: ``crops``, how many; ``sigma``, a
    channel's, 0 to 255; ``luma share``, the variance of luma over a channel's: 0.447 if channels are independent, 1 if
    they are equal; ``red-green`` ...: correlations of colours; ``across 1`` ...: with the next and the next but one
    pixel; ``fine``: share of the power of at least 0.25 periods per pixel; ``dark sigma``, ``bright sigma``: median
    strength in the darkest and brightest third of the crops; ``slope`` of the variance over mean luma, 0 to 255.
    """
    x = crops(patches.patches if isinstance(patches, NoisePool) else patches, side)
    around = without_mean(x)
    covariance = colour_covariance(around)
    spread = covariance.diagonal().sqrt()
    colours = covariance / torch.outer(spread, spread)
    weights = torch.tensor(LUMA, dtype=torch.float64)
    channel = float(covariance.diagonal().mean())
    near = autocorrelation(around, 2)
    signal, variance = signal_dependence(x)
    low, high = signal.quantile(1 / 3), signal.quantile(2 / 3)
    return {
        "crops": float(len(x)),
        "sigma": 255 * channel**0.5,
        "luma share": float(weights @ covariance @ weights) / channel,
        "red-green": float(colours[0, 1]),
        "green-blue": float(colours[1, 2]),
        "red-blue": float(colours[0, 2]),
        "across 1": float(near[2, 3]),
        "down 1": float(near[3, 2]),
        "across 2": float(near[2, 4]),
        "down 2": float(near[4, 2]),
        "fine": fine_share(power_spectrum(around)),
        "dark sigma": 255 * float(variance[signal <= low].median().sqrt()),
        "bright sigma": 255 * float(variance[signal >= high].median().sqrt()),
        "slope": 255 * robust_line(signal, variance)[0],
    }


def grounds(x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
    """Flat crops of the same mean colours."""
    return x.mean((2, 3), keepdim=True).expand_as(x)


def samples(
    photos: Sequence[tuple[str, Float[Tensor, "3 _ _"]]],
    rule: NoiseRule | None = None,
    *,
    means: Sequence[Float[Tensor, "3 _ _"]] | None = None,
    generator: torch.Generator,
    side: int = SIDE,
    most: int = 1000,
) -> dict[str, Float[Tensor, "_n 3 side side"]]:
    """Noise of the same photos by four ways, on flat grounds of their own colours; at most ``most`` crops each.

    ``photos`` are pairs of name and noisy image; ``means`` show for each the same scene without noise. Gives what the
    rule ``collected``; crops of the pool ``injected`` at every place, as RealSR does; ``gaussian`` noise of the pool's
    strength, in 8 bit; and with ``means`` that of the ``camera``, photo minus mean: at every place, and ``there``,
    where the rule keeps the photo's patch.
    """
    rule = rule or NoiseRule()
    pool, every, there = NoisePool(), [], []
    for number, (name, photo) in enumerate(photos):
        pool.add(photo, rule, name)
        ground = photo if means is None else means[number]
        every.append((photo, ground))
        for place in find_patches(photo, rule) if means is not None else ():
            if place.kept:
                part = (..., slice(place.top, place.top + rule.patch), slice(place.left, place.left + rule.patch))
                there.append((photo[part], ground[part]))
    collected = crops(pool.patches, side)
    flat = _thinned(torch.cat([grounds(crops([ground], side)) for _, ground in every]), most)
    sigma = 255 * float(colour_covariance(collected).diagonal().mean().sqrt())
    kinds = {} if means is None else {"camera": _minus(every, side), "there": _minus(there, side)}
    levels = (255 * noise.gaussian(flat, sigma, generator)).round().clamp(0, 255) / 255
    injected = (flat + pool.sample(side, len(flat), generator)).clamp(0, 1)
    kinds |= {"collected": collected, "injected": injected, "gaussian": levels}
    return {name: _thinned(x, most) for name, x in kinds.items()}


def compare(
    photos: Sequence[tuple[str, Float[Tensor, "3 _ _"]]],
    rule: NoiseRule | None = None,
    *,
    means: Sequence[Float[Tensor, "3 _ _"]] | None = None,
    generator: torch.Generator,
    most: int = 1000,
) -> dict[str, dict[str, float]]:
    """A :func:`summary` of each of the :func:`samples`: is the collected noise like the camera's?"""
    kinds = samples(photos, rule, means=means, generator=generator, most=most)
    return {name: summary(list(x)) for name, x in kinds.items()}


def _power(x: Float[Tensor, "n c h w"], size: Sequence[int]) -> Float[Tensor, "h2 w2"]:
    """Squared magnitude of the Fourier transform, averaged over crops and channels; few crops at a time for memory."""
    sums = [torch.fft.fft2(part.double(), s=size).abs().square().sum(0) for part in x.split(128)]
    return torch.stack(sums).sum(0).mean(0) / len(x)


def _thinned(x: Float[Tensor, "n *rest"], most: int) -> Float[Tensor, "m *rest"]:
    """At most so many crops, evenly chosen, so that the photos keep their shares."""
    return x[torch.linspace(0, len(x) - 1, most).round().long()] if len(x) > most else x


def _minus(pairs: Sequence[tuple[Tensor, Tensor]], side: int) -> Float[Tensor, "n 3 side side"]:
    """Noise of (photo, mean) on flat grounds of the mean's colours."""
    cut = [[crops([image], side) for image in pair] for pair in pairs]
    return torch.cat([photo - clean + grounds(clean) for photo, clean in cut])
