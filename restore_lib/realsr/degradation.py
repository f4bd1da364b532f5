"""Training pairs that look like real photos: RealSR's Algorithm 1 [ji2020realsr].

``lr = (hr * k) reduced by 4 + n``, with a kernel k and noise n drawn from pools that real photos filled, in floating
point. The released code cuts off the fractions of grey levels, in HR and LR images and once more before the
correlation, which makes images half a level darker on average; ``official_uint8=True`` does as it does.
"""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Shaped
from pydantic import Field, TypeAdapter
from torch import Tensor

from restore_lib import files, images
from restore_lib.data.patches import random_words, share, to_float
from restore_lib.errors import DataError
from restore_lib.realsr.kernels import centre_of_mass
from restore_lib.realsr.noise_pool import NoisePool, NoiseRule, fill
from restore_lib.resampling import downscale, imresize
from restore_lib.training.recipes import sourced

OFF = 0.25  # pixels of the larger image: cutting a kernel's tails moves its centre by less than a tenth of that
FORMAT = 1  # of the manifest
STREAM = 0x70616972  # sets these random numbers apart from others that are seeded by the same (seed, step)


@dataclass(frozen=True)
class Track:
    """Settings of one track of the NTIRE 2020 challenge, as the released code has them."""

    name: str = sourced("", "NTIRE 2020", "What people call it.")
    scale: int = sourced(4, "NTIRE 2020", "Factor of the reduction.")
    clean_up: int = sourced(2, "official code", "Noisy photos are reduced by this to serve as clean ones.")
    kernels: bool = sourced(True, "official code", "Reduce with estimated kernels, or bicubically.")
    use_targets: bool = sourced(True, "official code", "Take the clean photos, too, and not the reduced ones alone.")
    rule: NoiseRule = sourced(NoiseRule(), "official code", "What counts as noise.")


TRACK1 = Track(name="Track 1: image processing artefacts", kernels=False)
TRACK2 = Track(name="Track 2: smartphone images", use_targets=False, rule=NoiseRule(mean=50.0))


def clean_up(photo: Float[Tensor, "3 h w"], factor: int = 2, multiple: int = 4) -> Float[Tensor, "3 oh ow"]:
    """Reduce a noisy photo bicubically, which averages its noise away, and cut its sides to multiples of the scale."""
    return images.modcrop(imresize(photo, scale=1 / factor).clamp(0, 1), multiple)


@dataclass(frozen=True)
class Pair:
    """An HR image, the LR image without noise, and which kernel made it (None: bicubic); in [0, 1], or uint8 levels."""

    name: str
    hr: Shaped[Tensor, "3 h w"] = field(repr=False)
    lr: Shaped[Tensor, "3 oh ow"] = field(repr=False)
    kernel: int | None = None


@dataclass
class Degradation:
    """How an HR image becomes an LR image: pools to draw from. ValueError for a kernel that is not aligned."""

    scale: int = 4
    kernels: Sequence[Float[Tensor, "_ _"]] = ()  #: for correlation, aligned for ``scale``; empty: bicubic reduction
    noises: NoisePool = field(default_factory=NoisePool)  #: empty: no noise
    official_uint8: bool = False  #: cut off the fractions of grey levels wherever the released code does by mistake

    def __post_init__(self) -> None:
        for number, kernel in enumerate(self.kernels):
            if not (off := off_centre(kernel, self.scale)) <= OFF:
                raise ValueError(
                    f"kernel {number} has its centre {off:.2f} pixels off the middle of the {self.scale} x "
                    f"{self.scale} pixels that become one: give align_kernel(kernel, scale)"
                )

    def reduce(self, hr: Float[Tensor, "3 h w"], kernel: int | None = None) -> Float[Tensor, "3 oh ow"]:
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


def off_centre(kernel: Float[Tensor, "kh kw"], scale: int) -> float:
    """How far an image moves when it is reduced with a kernel as it is, in pixels of the larger image."""
    first = torch.tensor([(cells - 1) // 2 for cells in kernel.shape])  # the cell that lies on pixel scale j
    return float((centre_of_mass(kernel).cpu() - first - (scale - 1) / 2).norm())


def cut_off(image: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 h w"]:
    """Grey levels without their fractions, as a conversion to 8 bits that forgets to round leaves them."""
    return (image * 255).floor() / 255


@dataclass
class PairedData:
    """A paired training set: images in memory, noise added when crops are drawn."""

    pairs: list[Pair]
    noises: NoisePool
    scale: int = 4

    def __len__(self) -> int:
        return len(self.pairs)

    def crops(
        self,
        step: int,
        rank: int = 0,
        world: int = 1,
        *,
        batch: int = 16,
        size: int = 128,
        seed: int = 0,
        turned: bool = True,
    ) -> tuple[Float[Tensor, "b 3 s s"], Float[Tensor, "b 3 t t"]]:
        """A batch of HR and LR crops in [0, 1], turned and mirrored, then noise on the LR ones.

        ``size`` is the side of the HR crops, a multiple of the scale; ``turned=False`` leaves crops as they lie in
        their photos. All else is as for :meth:`restore_lib.data.patches.PatchStore.crops`.
        """
        if size % self.scale:
            raise ValueError(f"size must be a multiple of the scale {self.scale}, got {size}")
        mine = share(batch, rank, world)
        small = size // self.scale
        fitting = [pair for pair in self.pairs if min(pair.lr.shape[-2:]) >= small]
        if not fitting:
            raise DataError(f"No image is {size} pixels wide and high: ask for smaller crops or give larger images.")
        words = random_words(STREAM, seed, step, (batch + 1, 4))  # pair, top, left and position of each crop
        hrs, lrs = [], []
        for which, down, right, position in words[:batch][mine].tolist():
            pair = fitting[which % len(fitting)]
            top, left = (at % (side - small + 1) for at, side in zip((down, right), pair.lr.shape[-2:], strict=True))
            turns = [turned and bool(position >> bit & 1) for bit in (61, 62, 63)]
            lrs.append(turn(cut(pair.lr, top, left, small), turns))
            hrs.append(turn(cut(pair.hr, self.scale * top, self.scale * left, size), turns))
        lr = torch.stack(lrs)
        if len(self.noises):
            generator = torch.Generator().manual_seed(int(words[-1, 0]) >> 1)
            noise = self.noises.sample(small, batch, generator)[mine]  # drawn for all processes: none has its own
            lr = (lr + noise).clamp(0, 1)
        return torch.stack(hrs), lr


def cut(x: Shaped[Tensor, "3 h w"], top: int, left: int, size: int) -> Float[Tensor, "3 s s"]:
    """A square crop, in [0, 1]."""
    crop = x[:, top : top + size, left : left + size]
    return to_float(crop) if crop.dtype == torch.uint8 else crop


def turn(x: Float[Tensor, "3 s s"], turns: Sequence[bool]) -> Float[Tensor, "3 s s"]:
    """Mirror left and right, up and down, and along the diagonal, where asked to: all eight positions of a square."""
    x = x.flip(-1) if turns[0] else x
    x = x.flip(-2) if turns[1] else x
    return x.mT if turns[2] else x


def algorithm_1(
    real: Iterable[tuple[str, Float[Tensor, "3 _ _"]]],
    clean: Iterable[tuple[str, Float[Tensor, "3 _ _"]]] = (),
    *,
    track: Track = TRACK2,
    estimate: Callable[[Tensor], Float[Tensor, "_ _"]] | None = None,
    seed: int = 0,
    official_uint8: bool = False,
) -> PairedData:
    """RealSR's Algorithm 1: from unpaired photos to a paired training set; noise is injected when crops are drawn.

    ``real`` and ``clean`` give names and photos: the camera's, and ones without noise. ``estimate``, needed when the
    track has kernels, gives a photo's kernel for the track's scale, aligned: ``lambda photo: estimate_kernel(photo,
    scale=4).kernel``. ``seed`` is that of the choice of kernels.
    """
    if track.kernels and estimate is None:
        raise ValueError(f"{track.name} needs estimate: a function from a photo to its kernel")
    pool, kernels, sharp = NoisePool(), [], []
    for name, photo in real:
        if track.kernels and estimate:
            kernels.append(estimate(photo))  # Eq. 4
        pool.add(photo, track.rule, name)  # Eq. 7
        sharp.append((name, clean_up(photo, track.clean_up, track.scale)))
    if track.use_targets:
        sharp += [(name, images.modcrop(photo, track.scale)) for name, photo in clean]
    degradation = Degradation(track.scale, kernels, pool, official_uint8)
    generator = torch.Generator().manual_seed(int(seed))
    pairs = [degradation.pair(name, hr, generator) for name, hr in sharp]
    return PairedData(pairs, pool, track.scale)


def write_pairs(folder: Path | str, data: PairedData, *, bits: int = 8) -> Path:
    """Write a paired set: ``hr/``, ``lr/`` and ``noise/`` as PNG, and ``manifest.json`` with what belongs together.

    LR images are written without noise, which is drawn anew in training. The folder must be new or empty (else
    DataError) and is renamed into place at the end: it is whole, or not there. ``bits`` is 8, as released, or 16.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} holds something already: choose an empty folder for the pairs.")
    manifest = {"format": FORMAT, "scale": data.scale, "bits": int(bits), "pairs": [], "noise": []}
    try:
        with files.temporary_folder(folder.parent, f".{folder.name}.") as beside:
            partial = Path(beside, "pairs")
            partial.mkdir()
            for i, pair in enumerate(data.pairs):
                entry = {"name": pair.name, "kernel": pair.kernel}
                for part, image in (("hr", pair.hr), ("lr", pair.lr)):
                    entry[part] = _write(partial, f"{part}/{i:05d}.png", image, bits)
                manifest["pairs"].append(entry)
            for i, (patch, source) in enumerate(zip(data.noises.patches, data.noises.sources, strict=True)):
                manifest["noise"].append({"source": source, "file": _write(partial, f"noise/{i:05d}.png", patch, bits)})
            (partial / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
            os.replace(partial, folder)  # an empty folder in its place is replaced
    except OSError as error:
        raise files.writing_failed(folder, error) from error
    return folder


@dataclass(frozen=True)
class _File:
    path: Annotated[str, Field(pattern=r"^(hr|lr|noise)/[0-9]{5,9}\.png$")]
    sha256: str


@dataclass(frozen=True)
class _PairFiles:
    name: str
    kernel: Annotated[int, Field(ge=0)] | None
    hr: _File
    lr: _File


@dataclass(frozen=True)
class _NoiseFile:
    source: str
    file: _File


@dataclass(frozen=True)
class _Manifest:
    format: Literal[1]
    scale: Annotated[int, Field(ge=1, le=16)]
    bits: Literal[8, 16]
    pairs: Sequence[_PairFiles]
    noise: Sequence[_NoiseFile]


def read_pairs(folder: Path | str, *, levels: bool = False) -> PairedData:
    """What :func:`write_pairs` wrote; ``levels`` as in :class:`Pair`. DataError when a file is missing or changed."""
    folder = Path(folder)
    try:
        manifest = TypeAdapter(_Manifest).validate_json((folder / "manifest.json").read_bytes(), strict=True)
        levels = levels and manifest.bits == 8
        pairs = [
            Pair(one.name, _read(folder, one.hr, levels), _read(folder, one.lr, levels), one.kernel)
            for one in manifest.pairs
        ]
        noise = [(_read(folder, one.file), one.source) for one in manifest.noise]
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} holds no complete set of pairs of this version: write it again.") from error
    if any(pair.hr.shape[1:] != torch.Size(manifest.scale * n for n in pair.lr.shape[1:]) for pair in pairs):
        raise DataError(f"{folder} holds pairs that do not differ by the scale {manifest.scale}: write them again.")
    pool = NoisePool([patch for patch, _ in noise], [source for _, source in noise])
    return PairedData(pairs, pool, manifest.scale)


def _write(folder: Path, name: str, image: Tensor, bits: int) -> dict[str, str]:
    images.write(folder / name, image, bits=bits)
    return {"path": name, "sha256": files.sha256(folder / name)}


def _read(folder: Path, entry: _File, levels: bool = False) -> Tensor:
    path = folder / entry.path
    if not files.matches(path, entry.sha256):
        raise DataError(f"{path} is not the file that was written: write the pairs again.")
    image = images.read(path)
    return (image * 255).round().to(torch.uint8) if levels else image
