"""A "Track 1" of our own: a camera whose degradation no method knows, and training pairs from what it shows.

The photos of the challenge that RealSR won [lugmayr2020ntire] are not free to pass on; this is the same task with
others. The *degradation* is a blur by an anisotropic Gaussian, another one for each photo, then noise that real cameras
left in flat places of DND's photos [plotz2017dnd], then 8 bits. *Sources* are degraded photos at full size, all that
training sees of it; *targets* are clean photos of other scenes; *validation* and *test* pairs are clean photos with
their degraded reduction by 4. Half of DND's photos give the noise of sources and validation pairs, the other half that
of the tests.
"""

import hashlib
import warnings
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from restore_lib import data, files, images, noise
from restore_lib.data.opening import Item
from restore_lib.errors import DataError, TrainingError
from restore_lib.pretrained import load
from restore_lib.realsr.degradation import Degradation, Pair, PairedData, clean_up
from restore_lib.realsr.kernelgan import KernelSettings, estimate_kernels
from restore_lib.realsr.kernels import KernelWarning, bicubic_kernel, gaussian_kernel
from restore_lib.realsr.noise_pool import NoisePool, NoiseRule, collect, fill, luma, noise_variance
from restore_lib.resampling import downscale, imresize
from restore_lib.training.precision import best_device
from restore_lib.training.recipes import sourced

SCALE = 4
BLUR_WIDTHS = (0.4, 1.0)  # standard deviations of the blur along its axes, in pixels of the degraded photo
BLUR_SIZE = 9
NOISE_STRENGTH = 0.5  # brings bicubic interpolation near what it has in the challenge
RULE = NoiseRule(patch=64, stride=64, adaptive=1.5)  # photos are small; the noise is too strong for a threshold of 20
VALIDATION_PHOTOS = 6
PARTS = ("sources", "targets", "validation", "test")
HALVES = ("source", "test")  # of the noise


@dataclass(frozen=True)
class PhotoSets:
    """Which photos serve as what: (name, split) of a set, or (set, names with spaces between)."""

    sources: tuple[str, str]
    targets: tuple[str, str]  #: other photos than the sources
    test: tuple[str, str]
    noise: str = ""  #: set of noisy photos; empty: noise is made up
    other_noise: str = ""  #: set of another camera's photos, whose noise is wrong; empty: made up
    validation: tuple[str, str] = ("", "")  #: empty: the last photos of the sources' set, which are then no sources
    blurred: bool = True  #: whether the camera blurs
    noise_variance: float = 0.0  #: its noise is weakened to this variance of luma, squared levels; 0: to half of it


# Kodak: lossless, sharp, free to pass on, and nothing in this room is trained on it.
PHOTOS = PhotoSets(("bsds500", "train400"), ("div2k_test_lr_x4", ""), ("kodak24", ""), "dnd_noisy", "phone_photos")
COFFEE, CHINA = ("embedded", "coffee rocket motorcycle_left"), ("embedded", "astronaut china")
PHOTO_SETS: Mapping[str, PhotoSets] = {
    "photos": PHOTOS,
    # No blur, and noise at half of what RealSR's released rule takes for noise: a variance below 20.
    "weak noise": replace(PHOTOS, blurred=False, noise_variance=10.0),
    "2k": replace(PHOTOS, sources=("flickr2k", "train"), targets=("div2k", "train")),
    "embedded": PhotoSets(COFFEE, CHINA, ("embedded", "chelsea"), validation=("embedded", "flower")),
}


def photo_sets(name: str) -> PhotoSets:
    """Photo sets by their name: ``photos``, ``weak noise``, ``2k`` (larger sets, which you must have), ``embedded``."""
    if name not in PHOTO_SETS:
        raise ValueError(f"there are no photo sets {name!r}: choose one of {', '.join(PHOTO_SETS)}")
    return PHOTO_SETS[name]


def items(sets: str, part: str, count: int = 0) -> list[Item]:
    """Clean photos of one of the ``PARTS`` of photo sets; ``count`` of them, evenly chosen, or all (0)."""
    chosen = photo_sets(sets)
    if part not in PARTS:
        raise ValueError(f"part must be one of {', '.join(PARTS)}, got {part!r}")
    from_sources = part in ("sources", "validation") and not any(chosen.validation)
    name, split = chosen.sources if from_sources else getattr(chosen, part)
    photos = list(data.open(name, None if name == "embedded" else split or None))
    if name == "embedded":
        photos = [photo for word in split.split() for photo in photos if photo.name == word]
    if from_sources:
        photos = photos[:-VALIDATION_PHOTOS] if part == "sources" else photos[-VALIDATION_PHOTOS:]
    return thinned(photos, count) if count else photos


def thinned(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many of them, evenly chosen."""
    count = min(most, len(items))
    return [items[i * len(items) // count] for i in range(count)]


@dataclass
class HiddenCamera:
    """The degradation."""

    noise_pools: Sequence[NoisePool] = field(repr=False)  #: one a noisy photo; a degraded photo has the noise of one
    blurred: bool = True  #: whether it blurs
    noise_variance: float = 0.0  #: as in :class:`PhotoSets`

    def degrade(self, photo: Float[Tensor, "3 h w"], generator: torch.Generator) -> Float[Tensor, "3 h w"]:
        """What the camera makes of a photo, of the same size."""
        blurred = downscale(photo, draw_blur(generator), 1, align=False) if self.blurred else photo
        pool = self.noise_pools[int(torch.randint(len(self.noise_pools), (), generator=generator))]
        noisy = blurred + self.strength(pool) * fill(pool, photo.shape[-2:], generator)
        return images.from_uint8(images.to_uint8(noisy.clamp(0, 1)))

    def strength(self, pool: NoisePool) -> float:
        """Factor of a pool's noise."""
        if not self.noise_variance:
            return NOISE_STRENGTH
        variances = [float(luma(patch).astype(float).var()) for patch in pool.patches]
        return (self.noise_variance * len(variances) / sum(variances)) ** 0.5

    def pair(self, name: str, photo: Float[Tensor, "3 _ _"], seed: int = 0) -> Pair:
        """A clean photo, cut to a multiple of 4, and its reduction, degraded; a pure function of name and seed."""
        hr = images.modcrop(photo, SCALE)
        return Pair(name, hr, self.degrade(imresize(hr, scale=1 / SCALE).clamp(0, 1), seeded(seed, name)))


def seeded(seed: int, name: str) -> torch.Generator:
    """Randomness for one photo: the same whichever others there are."""
    return torch.Generator().manual_seed(zlib.crc32(f"{seed} {name}".encode()))


def draw_blur(generator: torch.Generator) -> Float[Tensor, "n n"]:
    """A random blur of the degradation, in pixels of the degraded photo."""
    a, b, turn = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
    low, high = BLUR_WIDTHS
    return gaussian_kernel(BLUR_SIZE, (low + (high - low) * a, low + (high - low) * b), torch.pi * turn)


def x4_kernel(blur: Float[Tensor, "n n"]) -> Float[Tensor, "m m"]:
    """The aligned kernel of a bicubic reduction by 4 and a blur after it: ``k[u] = sum_t blur[t] b[u - 4 t]``."""
    bicubic = bicubic_kernel(SCALE)  # (16, 16)
    whole = functional.conv_transpose2d(blur[None, None].double(), bicubic[None, None], stride=SCALE)[0, 0]
    return functional.pad(whole, (2, 0, 2, 0))  # puts the middle where downscale wants it


@cache
def camera(sets: str = "photos", half: str = "source", seed: int = 0) -> HiddenCamera:
    """The hidden camera, with one half of its noise, ``source`` or ``test``; ``seed`` is that of made-up noise.

    Noisy photos are put in order of their noise; of each four, the first and the last are the tests', so that both
    halves have weak and strong noise.
    """
    if half not in HALVES:
        raise ValueError(f"half must be one of {', '.join(HALVES)}, got {half!r}")
    chosen = photo_sets(sets)
    noisy_set, about = chosen.noise, {"blurred": chosen.blurred, "noise_variance": chosen.noise_variance}
    if not noisy_set:
        first = seed + 10 * HALVES.index(half)
        return HiddenCamera([made_up_noise(sigma, first + i) for i, sigma in enumerate((12.0, 20.0))], **about)
    noisy = sorted(data.open(noisy_set), key=lambda item: noise_variance(luma(item.image)))
    pools = []
    for rank, item in enumerate(noisy):
        pool = NoisePool()
        if (rank % 4 in (0, 3)) == (half == "test") and pool.add(item.image, RULE, item.name) > 1:  # one says little
            pools.append(pool)
    if not pools:
        raise DataError(f"No photo of {noisy_set} has a flat place to collect noise from: get the set again.")
    return HiddenCamera(pools, **about)


def made_up_noise(sigma: float, seed: int, size: int = 192) -> NoisePool:
    """A pool of made-up noise like a camera's: coarser than white noise, and stronger in red and blue than in green."""
    generator = torch.Generator().manual_seed(seed)
    grey = torch.full((3, size, size), 0.5)
    raw = noise.gaussian(grey, sigma, generator) - 0.5
    smooth = functional.avg_pool2d(functional.pad(raw, (1, 0, 1, 0), mode="circular"), 2, stride=1)  # (3, size, size)
    shares = torch.tensor([2.2, 1.6, 2.6])[:, None, None]  # averaging four pixels has halved it
    return NoisePool([grey + smooth * shares], ["made up"])


def other_noise(sets: str = "photos", seed: int = 0) -> NoisePool:
    """Noise of cameras that the sources do not come from."""
    noisy_set = photo_sets(sets).other_noise
    if not noisy_set:
        return made_up_noise(2.0, seed + 99)
    return collect([(item.name, item.image) for item in data.open(noisy_set)], NoiseRule(patch=64, stride=64))


def sources(sets: str = "photos", count: int = 0, seed: int = 0) -> list[tuple[str, Float[Tensor, "3 _ _"]]]:
    """Degraded photos as the camera gives them: name and photo."""
    hidden = camera(sets, "source", seed)
    photos = items(sets, "sources", count)
    return [(item.name, hidden.degrade(item.image, seeded(seed, item.name))) for item in photos]


def validation_pairs(sets: str = "photos", seed: int = 0) -> list[Pair]:
    """Pairs to validate with: photos that are no sources, degraded with the sources' noise."""
    hidden = camera(sets, "source", seed)
    return [hidden.pair(item.name, item.image, seed) for item in items(sets, "validation")]


def unseen_pair(item: Item, sets: str = "photos", seed: int = 0) -> Pair:
    """A clean test photo and what a method gets of it: reduced by 4 and degraded with the tests' half of the noise."""
    return camera(sets, "test", seed).pair(item.name, item.image, seed)


def description(sets: str = "photos") -> str:
    """The sets that training sees, in words."""
    chosen = photo_sets(sets)
    parts = [" ".join(filter(None, part)) for part in (chosen.sources, chosen.targets)]
    return " + ".join([*parts, f"noise of {chosen.noise}" if chosen.noise else "made-up noise"])


def digest(sets: str = "photos", count: int = 0) -> str:
    """SHA-256 over the files that training sees."""
    noisy_set, total = photo_sets(sets).noise, hashlib.sha256()
    for photos in (items(sets, "sources", count), items(sets, "targets"), data.open(noisy_set) if noisy_set else ()):
        for item in photos:
            total.update(f"{item.name} {files.sha256(item.parts['image'])}\n".encode())
    return total.hexdigest()


CHOICES = {
    "way": ("bicubic", "kernel", "noise", "both", "learned"),
    "camera": ("right", "wrong"),
    "kernels": ("estimated", "true"),
}
SMALLEST = 0.5  # size of the sources at which noise can be collected: patches of 32 pixels are left


@dataclass(frozen=True)
class PairSettings:
    """How training pairs are made: parts of RealSR's Algorithm 1 that can be left out."""

    world: str = sourced("photos", "ours: the challenge's photos may not be passed on", "Which photos play which part.")
    way: str = sourced("both", "paper Sec. 3.1", "LR images: bicubic, kernel, noise, both or learned.")
    camera: str = sourced("right", "paper Sec. 3.3", "Whose noise: the sources' (right) or other cameras' (wrong).")
    kernels: str = sourced("estimated", "paper Sec. 3.2", "KernelGAN's (estimated), or the hidden ones (true).")
    kernel_photos: int = sourced(8, "ours: half a minute each; the paper has all", "Sources whose kernel is estimated.")
    clean_up: int = sourced(2, "official code", "Sources are reduced by this to serve as HR images; 1: as they are.")
    sources: int = sourced(60, "ours: enough for minutes of training", "Sources, evenly chosen; 0: all.")
    learned: str = sourced("", "ours", "Checkpoint of a network that degrades, for the way learned.")
    noise_scales: tuple = sourced((1.0,), "paper Sec. 3.3", "Sizes of the sources at which noise is collected.")

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise TrainingError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}.")
        if (self.way == "learned") != bool(self.learned):
            raise TrainingError('The way "learned" needs the checkpoint of a degrading network, and no other way does.')
        if not self.noise_scales or not all(SMALLEST <= scale <= 1 for scale in self.noise_scales):
            raise TrainingError(f"noise_scales must be from {SMALLEST} to 1, got {tuple(self.noise_scales)}.")
        if self.camera == "wrong" and tuple(self.noise_scales) != (1.0,):
            raise TrainingError("Other cameras' noise is collected at full size alone: leave noise_scales at (1,).")


def training_pairs(settings: PairSettings, seed: int = 0) -> PairedData:
    """RealSR's Algorithm 1, or parts of it, on sources and targets; ``seed`` is that of the choice of kernels."""
    photos = sources(settings.world, settings.sources)
    pool, kernels = NoisePool(), []
    if settings.way in ("noise", "both"):
        right = settings.camera == "right"
        pool = collect(photos, RULE, settings.noise_scales) if right else other_noise(settings.world)
        if not len(pool):
            raise DataError("No source has a flat place to collect noise from: take more sources.")
    if settings.way in ("kernel", "both"):
        count = settings.kernel_photos
        chosen = [photo for _, photo in thinned(photos, count)]
        kernels = estimated_kernels(chosen) if settings.kernels == "estimated" else true_kernels(count)
    degradation, generator = Degradation(SCALE, kernels), torch.Generator().manual_seed(seed)
    network = load(settings.learned).to(best_device()) if settings.learned else None
    reduced = settings.clean_up
    hr_images = [(name, clean_up(hr, reduced) if reduced > 1 else images.modcrop(hr, SCALE)) for name, hr in photos]
    hr_images += [(item.name, images.modcrop(item.image, SCALE)) for item in items(settings.world, "targets")]
    pairs = [pair_in_levels(name, hr, degradation, generator, network) for name, hr in hr_images]
    return PairedData(pairs, pool, SCALE)


@torch.no_grad()
def pair_in_levels(
    name: str, hr: Tensor, degradation: Degradation, generator: torch.Generator, network: nn.Module | None = None
) -> Pair:
    """An HR image and its LR image before noise, by a random kernel or a network that degrades, both in uint8."""
    hr = images.from_uint8(images.to_uint8(hr)).to(best_device())  # what LR images are made of and compared with
    if network is None:
        pair = degradation.pair(name, hr, generator)
    else:
        pair = Pair(name, hr, network(imresize(hr, scale=1 / SCALE).clamp(0, 1)[None])[0].clamp(0, 1))
    return Pair(name, levels(pair.hr), levels(pair.lr), pair.kernel)


def levels(image: Float[Tensor, "3 h w"]) -> Tensor:
    """An image in [0, 1] as levels in uint8, (3, h, w)."""
    return torch.from_numpy(images.to_uint8(image)).permute(2, 0, 1).contiguous()


def true_kernels(count: int, seed: int = 1) -> list[Float[Tensor, "_ _"]]:
    """Kernels for x4 drawn from the hidden degradation itself, which no method can do: an upper bound."""
    return [x4_kernel(draw_blur(seeded(seed, str(i)))) for i in range(count)]


def estimated_kernels(
    photos: Sequence[Float[Tensor, "3 _ _"]], seed: int = 0, settings: KernelSettings | None = None
) -> list[Float[Tensor, "_ _"]]:
    """KernelGAN's kernels of photos for x4, kept in the cache, without unsound ones; DataError when none is left."""
    settings = settings or KernelSettings()
    content = hashlib.sha256(f"{settings} {seed} {SCALE}".encode())
    for photo in photos:
        content.update(f"{tuple(photo.shape)}".encode() + photo.contiguous().numpy().tobytes())
    path = files.cache_folder() / "kernelgan" / f"pool-{content.hexdigest()[:32]}.npz"
    with suppress(OSError, ValueError, KeyError, EOFError), np.load(path, allow_pickle=False) as archive:
        return [torch.from_numpy(archive[f"kernel{i}"]) for i in range(len(archive.files))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KernelWarning)  # those are left out below
        place = {"device": best_device(), "together": 4 if best_device() == "cpu" else 32}
        tried = estimate_kernels(photos, SCALE, seed, settings=settings, strict=False, **place)
    estimates = [one for one in tried if one]
    good = [one for one in estimates if not one.diagnostics.problems]
    kernels = [one.kernel for one in good or estimates]
    if not kernels:
        raise DataError(f"KernelGAN found no kernel in {len(photos)} photos: take more, or less noisy ones.")
    with files.atomic_write(path) as temporary:
        arrays = {f"kernel{i}": kernel for i, kernel in enumerate(kernels)}
        np.savez(temporary, **arrays)  # pyright: ignore[reportArgumentType]  any name may be an array
    return kernels
