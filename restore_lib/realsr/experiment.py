"""A "Track 1" of one's own: a hidden degradation for clean photos, and what training may see of it.

The challenge that RealSR won [lugmayr2020ntire] gave degraded photos without clean versions, clean photos of other
scenes, and a test of clean photos that were made smaller and then degraded in the same way. Its photos are not free to
pass on; this is the same game with other photos:

- the *degradation* is a blur by an anisotropic Gaussian, another one for each photo, and noise that real cameras left
  in flat places of DND's photos [plotz2017dnd], at half its strength, which brings bicubic interpolation near what it
  has in the challenge; then levels are rounded to 8 bits. It is known to no method;
- *sources* are degraded photos as a camera would give them, at their full size: all that training sees of it;
- *targets* are clean photos of other scenes;
- *held* and *test* pairs are clean photos with their reduction by 4, degraded: to validate with, and to measure with.

Half of DND's photos give the noise of sources and held pairs, the other half that of the tests: a method that knew the
noise by heart would not be helped. Real noise depends on the brightness; this noise, once collected, does not.
"""

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from restore_lib import data, files, images, noise
from restore_lib.data.opening import Item
from restore_lib.errors import DataError
from restore_lib.realsr.kernels import gaussian_kernel
from restore_lib.realsr.noise_pool import NoisePool, NoiseRule, fill, luma, noise_variance
from restore_lib.realsr.pairs import Pair
from restore_lib.resampling import downscale, imresize

SCALE = 4
WIDTHS = (0.4, 1.0)  # standard deviations of the blur along its axes, in pixels of the degraded photo
CELLS = 9
STRENGTH = 0.5  # of the collected noise: as if the cameras had had four times the light
RULE = NoiseRule(patch=64, stride=64, adaptive=1.5)  # photos are small; the noise is too strong for a threshold of 20
HELD = 6  # photos
HALVES = ("source", "test")


@dataclass(frozen=True)
class World:
    """Which photos play which part.

    Attributes
    ----------
    sources, targets, test : (str, str)
        Name and split of a set; or (set, names with spaces between). Sources and targets have no photo in common.
    noise : str
        Set of noisy photos; empty: noise is made up.
    other : str
        Set of another camera's photos, to collect the wrong noise from; empty: made up.
    held : tuple of str
        As ``test``; empty for the last photos of the sources' part, which are then no sources.
    """

    sources: tuple[str, str]
    targets: tuple[str, str]
    test: tuple[str, str]
    noise: str = ""
    other: str = ""
    held: tuple[str, ...] = ()


WORLDS: Mapping[str, World] = MappingProxyType(
    {
        # Kodak: lossless, sharp, free to pass on, and nothing in this room is trained on it.
        "photos": World(
            ("bsds500", "train400"), ("div2k_test_lr_x4", ""), ("kodak24", ""), "dnd_noisy", "phone_photos"
        ),
        "2k": World(("flickr2k", "train"), ("div2k", "train"), ("kodak24", ""), "dnd_noisy", "phone_photos"),
        "embedded": World(
            ("embedded", "coffee rocket motorcycle_left"),
            ("embedded", "astronaut china"),
            ("embedded", "chelsea"),
            held=("embedded", "flower"),
        ),
    }
)


def world(name: str) -> World:
    """A world by its name: ``photos``, ``2k`` (larger sets, which you must have) or ``embedded``."""
    if name not in WORLDS:
        raise ValueError(f"there is no world {name!r}: choose one of {', '.join(WORLDS)}")
    return WORLDS[name]


def items(where: tuple[str, ...]) -> list[Item]:
    """Items of a part of a world."""
    name, split = where
    if name != "embedded":
        return list(data.open(name, split or None))
    photos = data.open(name)
    return [photos[word] for word in split.split()]


@dataclass
class Hidden:
    """The degradation.

    Attributes
    ----------
    cameras : list of NoisePool
        One pool a noisy photo: a degraded photo has the noise of one of them.
    """

    cameras: Sequence[NoisePool] = field(repr=False)

    def degrade(self, photo: Float[Tensor, "3 h w"], generator: torch.Generator) -> Float[Tensor, "3 h w"]:
        """Blur a photo, add noise, round: what the camera makes of it, of the same size."""
        blurred = downscale(photo, draw_kernel(generator), 1, align=False)
        pool = self.cameras[int(torch.randint(len(self.cameras), (), generator=generator))]
        noisy = blurred + STRENGTH * fill(pool, photo.shape[-2:], generator)
        return images.from_uint8(images.to_uint8(noisy.clamp(0, 1)))

    def pair(self, name: str, photo: Float[Tensor, "3 _ _"], seed: int = 0) -> Pair:
        """A clean photo, cut to a multiple of 4, and its reduction, degraded; a pure function of name and seed."""
        hr = images.modcrop(photo, SCALE)
        return Pair(name, hr, self.degrade(imresize(hr, scale=1 / SCALE).clamp(0, 1), dice(seed, name)))


def dice(seed: int, name: str) -> torch.Generator:
    """Randomness for one photo: the same whichever others there are."""
    return torch.Generator().manual_seed(zlib.crc32(f"{seed} {name}".encode()))


def draw_kernel(generator: torch.Generator) -> Float[Tensor, "n n"]:
    """A random blur of the degradation, in pixels of the degraded photo."""
    a, b, turn = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
    low, high = WIDTHS
    return gaussian_kernel(CELLS, (low + (high - low) * a, low + (high - low) * b), torch.pi * turn)


def x4_kernel(blur: Float[Tensor, "n n"]) -> Float[Tensor, "m m"]:
    """The one kernel that does what the test's bicubic reduction by 4 and a blur after it do; aligned.

    ``k[u] = sum_t blur[t] b[u - 4 t]`` with the bicubic kernel b of 16 cells.
    """
    one_axis = imresize(torch.eye(32, dtype=torch.float64)[None], size=(8, 32))[0, 3, 6:22]  # (16,)
    bicubic = torch.outer(one_axis, one_axis)
    whole = functional.conv_transpose2d(blur[None, None].double(), bicubic[None, None], stride=SCALE)[0, 0]
    return functional.pad(whole, (2, 0, 2, 0))  # puts the middle where downscale wants it


@cache
def hidden(name: str = "photos", half: str = "source", seed: int = 0) -> Hidden:
    """The degradation of a world with one half of its noise.

    Noisy photos are put in order of their noise; of each four, the first and the last are the tests', so that both
    halves have weak and strong noise.

    Parameters
    ----------
    name : str
        Of the world.
    half : {"source", "test"}
    seed : int
        Of made-up noise.
    """
    if half not in HALVES:
        raise ValueError(f"half must be one of {', '.join(HALVES)}, got {half!r}")
    where = world(name)
    if not where.noise:
        first = seed + 10 * HALVES.index(half)
        return Hidden([made_up(sigma, first + i) for i, sigma in enumerate((12.0, 20.0))])
    noisy = sorted(((noise_variance(luma(item.image)), item) for item in data.open(where.noise)), key=lambda x: x[0])
    cameras = []
    for rank, (_, item) in enumerate(noisy):
        pool = NoisePool()
        if (rank % 4 in (0, 3)) == (half == "test") and pool.add(item.image, RULE, item.name) > 1:  # one says little
            cameras.append(pool)
    if not cameras:
        raise DataError(f"No photo of {where.noise} has a flat place to collect noise from: get the set again.")
    return Hidden(cameras)


def made_up(sigma: float, seed: int, size: int = 192) -> NoisePool:
    """A pool of made-up noise like a camera's: coarser than white noise, and stronger in red and blue than in green."""
    generator = torch.Generator().manual_seed(seed)
    grey = torch.full((3, size, size), 0.5)
    raw = noise.gaussian(grey, sigma, generator) - 0.5
    smooth = functional.avg_pool2d(functional.pad(raw, (1, 0, 1, 0), mode="circular"), 2, stride=1)  # (3, size, size)
    shares = torch.tensor([2.2, 1.6, 2.6])[:, None, None]  # averaging four pixels has halved it
    return NoisePool([grey + smooth * shares], ["made up"])


def wrong_noise(name: str = "photos", seed: int = 0) -> NoisePool:
    """Noise of cameras that the sources do not come from."""
    where = world(name)
    if not where.other:
        return made_up(2.0, seed + 99)
    pool = NoisePool()
    for item in data.open(where.other):
        pool.add(item.image, NoiseRule(patch=64, stride=64), item.name)
    return pool


def source_items(name: str = "photos", count: int = 0) -> list[Item]:
    """Items whose photos become sources: ``count`` of them evenly spread, or all."""
    where = world(name)
    found = items(where.sources)
    found = found if where.held else found[:-HELD]
    if count and count < len(found):
        found = [found[i * len(found) // count] for i in range(count)]
    return found


def sources(name: str = "photos", count: int = 0, seed: int = 0) -> list[tuple[str, Float[Tensor, "3 _ _"]]]:
    """Degraded photos as the camera gives them: name and photo."""
    camera = hidden(name, "source", seed)
    return [(item.name, camera.degrade(item.image, dice(seed, item.name))) for item in source_items(name, count)]


def target_items(name: str = "photos") -> list[Item]:
    """Items of clean photos of other scenes."""
    return items(world(name).targets)


def held_pairs(name: str = "photos", seed: int = 0) -> list[Pair]:
    """Pairs to validate with: photos that are no sources, degraded with the sources' noise."""
    where = world(name)
    found = items(where.held) if where.held else items(where.sources)[-HELD:]
    return [hidden(name, "source", seed).pair(item.name, item.image, seed) for item in found]


def unseen_items(name: str = "photos") -> list[Item]:
    """Items of the test."""
    return items(world(name).test)


def unseen_pair(item: Item, name: str = "photos", seed: int = 0) -> Pair:
    """A clean test photo and what a method gets of it: reduced by 4 and degraded with the tests' half of the noise."""
    return hidden(name, "test", seed).pair(item.name, item.image, seed)


def described(name: str = "photos") -> str:
    """The sets that training sees in a world, in words."""
    where = world(name)
    words = [" ".join(filter(None, part)) for part in (where.sources, where.targets)]
    return " + ".join([*words, f"noise of {where.noise}" if where.noise else "made-up noise"])


def digest(name: str = "photos", count: int = 0) -> str:
    """SHA-256 over the files that training sees in a world."""
    where, total = world(name), hashlib.sha256()
    for chosen in (source_items(name, count), target_items(name), data.open(where.noise) if where.noise else ()):
        for item in chosen:
            total.update(f"{item.name} {files.sha256(item.parts['image'])}\n".encode())
    return total.hexdigest()
