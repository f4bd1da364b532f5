"""What noise is like: its strength, spectrum, neighbours, colours, and how it depends on brightness.

White noise of independent channels has a flat spectrum, no correlation between pixels or colours, and the same strength
everywhere. A camera's noise, by the time it is in a file, has none of these. Spectra and correlations are on any scale;
images are in [0, 1]; strengths in a :func:`summary` are on the scale 0 to 255, as papers quote them.
"""

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from restore_lib import noise
from restore_lib.errors import DataError
from restore_lib.realsr.noise_pool import NoisePool, NoiseRule, find_patches

SIDE = 32  # of the crops that RealSR injects
FINE = 0.25  # periods per pixel: what is faster along either axis counts as fine
LUMA = (0.299, 0.587, 0.114)
MOST_PAIRED = 1500  # points of a robust line: a million pairs of them are compared


class Line(NamedTuple):
    """``y = slope * x + intercept``."""

    slope: float
    intercept: float


def crops(patches: Iterable[Float[Tensor, "3 _ _"]], side: Integral = SIDE) -> Float[Tensor, "n 3 side side"]:
    """Cut patches into squares side by side; what is left over at the edges is dropped.

    Raises
    ------
    DataError
        No patch is as large as that.
    """
    cut = [
        patch[:, top : top + side, left : left + side]
        for patch in patches
        for top in range(0, patch.shape[-2] - side + 1, side)
        for left in range(0, patch.shape[-1] - side + 1, side)
    ]
    if not cut:
        raise DataError(f"There is no patch of {side} x {side} pixels to measure: collect with another rule.")
    return torch.stack(cut)


def without_mean(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Each channel of each crop without its own mean, as noise is injected."""
    return x - x.mean((2, 3), keepdim=True)


def power_spectrum(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "h w"]:
    """Power at each frequency, averaged over crops and channels; frequency zero is in the middle.

    The mean over all frequencies is the mean square of ``x``, so white noise has its variance everywhere.
    """
    return torch.fft.fftshift(_power(x, x.shape[-2:]) / x[0, 0].numel())  # (h, w)


def radial(spectrum: Float[Tensor, "h w"], bins: Integral = 12) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """Mean power in rings of frequency, from just above zero to 0.5 periods per pixel: (frequency, power)."""
    fy, fx = (torch.fft.fftshift(torch.fft.fftfreq(side, dtype=torch.float64)) for side in spectrum.shape)
    radius = torch.hypot(fy[:, None], fx[None, :])  # (h, w)
    ring = (radius * 2 * bins).ceil().long() - 1  # -1: frequency zero
    inside = [ring == index for index in range(bins)]
    found = [(radius[where].mean(), spectrum[where].mean()) for where in inside if where.any()]
    frequency, power = (torch.stack(values) for values in zip(*found, strict=True))
    return frequency, power


def fine_share(spectrum: Float[Tensor, "h w"], above: float = FINE) -> float:
    """Share of the power that lies at frequencies of ``above`` periods per pixel or more, along either axis."""
    fy, fx = (torch.fft.fftshift(torch.fft.fftfreq(side)).abs() for side in spectrum.shape)
    fast = torch.maximum(fy[:, None], fx[None, :]) >= above
    return float(spectrum[fast].sum() / spectrum.sum())


def autocorrelation(x: Float[Tensor, "n c h w"], reach: Integral = 4) -> Float[Tensor, "r r"]:
    """How alike noise is at two pixels, by their distance: 1 in the middle, (2 reach + 1) x (2 reach + 1).

    Averaged over crops and channels, each without its mean. Crops are padded with zeros, so that no pixel is compared
    with one across the border, and each distance is divided by how many pairs have it. Taking out the mean of a crop of
    N pixels lowers every value but the middle by about 1 / N of the sum of all.
    """
    height, width = x.shape[-2:]
    if not 0 <= reach < min(height, width):
        raise ValueError(f"reach is {reach}: give a distance that fits into {height} x {width} pixels")
    power = _power(without_mean(x.double()), (2 * height, 2 * width))
    sums = torch.fft.ifft2(power).real  # (2h, 2w), lag zero at the corner
    lags = torch.arange(-reach, reach + 1)
    pairs = (height - lags.abs())[:, None] * (width - lags.abs())[None, :]
    covariance = sums[lags][:, lags] / pairs
    return covariance / covariance[reach, reach]


def colour_covariance(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "c c"]:
    """Covariance of the channels, over all pixels of all crops, each channel of a crop without its mean."""
    flat = without_mean(x.double()).transpose(0, 1).flatten(1)  # (c, n h w)
    return flat @ flat.T / flat.shape[1]


def colour_correlation(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "c c"]:
    """Covariance of the channels divided by their standard deviations: 1 on the diagonal."""
    covariance = colour_covariance(x)
    spread = covariance.diagonal().sqrt()
    return covariance / (spread[:, None] * spread[None, :])


def signal_dependence(x: Float[Tensor, "n 3 h w"]) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Mean luma of each crop, and the variance of its pixels averaged over the channels."""
    mean = (x.double().mean((2, 3)) * torch.tensor(LUMA, dtype=torch.float64)).sum(1)
    return mean, x.double().var((2, 3), correction=1).mean(1)


def robust_line(x: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> Line:
    """The line through points, a quarter of which may be anywhere: the median slope of all pairs (Theil and Sen).

    Crops that hold some texture lie far above the rest, and least squares would follow them. Of very many points
    evenly chosen ones are paired.
    """
    step = -(-len(x) // MOST_PAIRED)
    x, y = x[::step].double(), y[::step].double()
    first, second = torch.triu_indices(len(x), len(x), 1)
    run = x[second] - x[first]
    slopes = ((y[second] - y[first]) / run)[run != 0]
    slope = float(slopes.quantile(0.5)) if len(slopes) else 0.0
    return Line(slope, float((y - slope * x).quantile(0.5)))


def summary(patches: NoisePool | Sequence[Float[Tensor, "3 _ _"]], side: Integral = SIDE) -> dict[str, float]:
    """The statistics of noise in plain numbers, measured on crops as RealSR injects them.

    Parameters
    ----------
    patches : NoisePool or sequence of Tensor
        (3, h, w) in [0, 1]: noise on a ground that should be flat, mean included.
    side : int
        Of the crops.

    Returns
    -------
    dict of str to float
        ``crops``: how many. ``sigma``: standard deviation of a channel, 0 to 255. ``luma share``: variance of luma
        over that of a channel; 0.447 if channels are independent, 1 if they are equal. ``red-green``, ``green-blue``,
        ``red-blue``: correlations. ``across 1``, ``down 1``, ``across 2``, ``down 2``: correlation with the next and
        the next but one pixel. ``fine``: share of the power of at least 0.25 periods per pixel. ``dark sigma``,
        ``bright sigma``: median strength in the darkest and brightest third of the crops. ``slope``: of the variance
        over mean luma, both on the scale 0 to 255, by :func:`robust_line`.
    """
    x = crops(patches.patches if isinstance(patches, NoisePool) else patches, side)
    around = without_mean(x)
    covariance, colours = colour_covariance(around), colour_correlation(around)
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
        "slope": 255 * robust_line(signal, variance).slope,
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
    side: Integral = SIDE,
    most: Integral = 1000,
) -> dict[str, Float[Tensor, "_n 3 side side"]]:
    """Noise of the same photos by four ways, on flat grounds of their own colours.

    Parameters
    ----------
    photos : sequence of (name, image)
        Noisy, in [0, 1].
    rule : NoiseRule, optional
        What counts as noise.
    means : sequence of Tensor, optional
        For each photo the same scene without noise, such as the mean of many shots.
    generator : torch.Generator
        On the CPU.
    side : int
        Of the crops.
    most : int
        At most so many crops each, evenly chosen.

    Returns
    -------
    dict of str to Tensor
        ``camera`` (with ``means`` only): photo minus mean at every place. ``there`` (with ``means`` only): the same
        where the rule keeps the photo's patch. ``collected``: what the rule keeps. ``injected``: crops of the pool, as
        RealSR adds them, at every place. ``gaussian``: independent normal noise of the pool's strength at every place,
        in 8 bit.

    Raises
    ------
    DataError
        The rule keeps nothing of any photo.
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
    found = {} if means is None else {"camera": _minus(every, side), "there": _minus(there, side)}
    levels = (255 * noise.gaussian(flat, sigma, generator)).round().clamp(0, 255) / 255
    injected = (flat + pool.sample(side, len(flat), generator)).clamp(0, 1)
    found |= {"collected": collected, "injected": injected, "gaussian": levels}
    return {name: _thinned(x, most) for name, x in found.items()}


def compare(
    photos: Sequence[tuple[str, Float[Tensor, "3 _ _"]]],
    rule: NoiseRule | None = None,
    *,
    means: Sequence[Float[Tensor, "3 _ _"]] | None = None,
    generator: torch.Generator,
    most: Integral = 1000,
) -> dict[str, dict[str, float]]:
    """A :func:`summary` of each of the :func:`samples`: is the collected noise like the camera's?"""
    found = samples(photos, rule, means=means, generator=generator, most=most)
    return {name: summary(list(x)) for name, x in found.items()}


def _power(x: Float[Tensor, "n c h w"], size: Sequence[int]) -> Float[Tensor, "h2 w2"]:
    """Squared magnitude of the Fourier transform, averaged over crops and channels; few crops at a time for memory."""
    sums = [torch.fft.fft2(part.double(), s=size).abs().square().sum(0) for part in x.split(128)]
    return torch.stack(sums).sum(0).mean(0) / len(x)


def _thinned(x: Float[Tensor, "n *rest"], most: Integral) -> Float[Tensor, "m *rest"]:
    """At most so many crops, evenly chosen, so that the photos keep their shares."""
    return x[torch.linspace(0, len(x) - 1, most).round().long()] if len(x) > most else x


def _minus(pairs: Sequence[tuple[Tensor, Tensor]], side: Integral) -> Float[Tensor, "n 3 side side"]:
    """Noise of (photo, mean) on flat grounds of the mean's colours."""
    cut = [[crops([image], side) for image in pair] for pair in pairs]
    return torch.cat([photo - clean + grounds(clean) for photo, clean in cut])
