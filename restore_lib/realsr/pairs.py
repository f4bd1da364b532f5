"""Pairs of HR and LR images for training: crops drawn on the fly, and a folder of PNG files with a manifest.

A batch is a pure function of (seed, step), as the training loop wants it: ``PairedData.crops`` can be a task's
``batches`` as it is.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from restore_lib import files, images
from restore_lib.errors import DataError
from restore_lib.realsr.noise_pool import NoisePool

FORMAT = 1  # of the manifest
STREAM = 0x70616972  # sets these random numbers apart from others that are seeded by the same (seed, step)


@dataclass(frozen=True)
class Pair:
    """An HR image, the LR image without noise, and which kernel made it (None: bicubic).

    Images are in [0, 1]; or levels in uint8, in a quarter of the memory, as ``read_pairs(..., levels=True)`` has them.
    """

    name: str
    hr: Shaped[Tensor, "3 h w"] = field(repr=False)
    lr: Shaped[Tensor, "3 oh ow"] = field(repr=False)
    kernel: int | None = None


@dataclass
class PairedData:
    """A paired training set: images in memory, noise added when crops are drawn.

    Attributes
    ----------
    pairs : list of Pair
    noises : NoisePool
    scale : int
    """

    pairs: list[Pair]
    noises: NoisePool
    scale: int = 4

    def __len__(self) -> int:
        return len(self.pairs)

    def crops(
        self,
        step: Integral,
        rank: Integral = 0,
        world: Integral = 1,
        *,
        batch: Integral = 16,
        size: Integral = 128,
        seed: Integral = 0,
        turned: bool = True,
    ) -> tuple[Float[Tensor, "b 3 s s"], Float[Tensor, "b 3 t t"]]:
        """A batch of crops, a pure function of (seed, step): turned and mirrored, then noise on the LR ones.

        Each pair is as likely as any other, and so is each place in it.

        Parameters
        ----------
        step, seed : int
            All randomness there is, at least 0.
        rank, world : int
            This process and how many there are; it gets its share of the batch that one process would get.
        batch : int
            Crops of a step in all processes together, a multiple of ``world``; RealSR trains with 16.
        size : int
            Side of the HR crops, a multiple of the scale; RealSR has 128.
        turned : bool
            False leaves crops as they lie in their photos.

        Returns
        -------
        hr, lr : Tensor
            In [0, 1].
        """
        if size % self.scale:
            raise ValueError(f"size must be a multiple of the scale {self.scale}, got {size}")
        if batch % world or not 0 <= rank < world:
            raise ValueError(f"a batch of {batch} has no equal share for process {rank} of {world}")
        small = size // self.scale
        fitting = [pair for pair in self.pairs if min(pair.lr.shape[-2:]) >= small]
        if not fitting:
            raise DataError(f"No image is {size} pixels wide and high: ask for smaller crops or give larger images.")
        # Raw words, which NumPy promises to keep from version to version: pair, top, left and position of each crop.
        words = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(STREAM, step))).random_raw((batch + 1, 4))
        mine = slice(rank * batch // world, (rank + 1) * batch // world)
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


def cut(x: Shaped[Tensor, "3 h w"], top: Integral, left: Integral, size: Integral) -> Float[Tensor, "3 s s"]:
    """A square crop, in [0, 1]."""
    crop = x[:, top : top + size, left : left + size]
    return crop.float() / 255 if crop.dtype == torch.uint8 else crop


def turn(x: Float[Tensor, "3 s s"], turns: Sequence[bool]) -> Float[Tensor, "3 s s"]:
    """Mirror left and right, up and down, and along the diagonal, where asked to: all eight positions of a square."""
    x = x.flip(-1) if turns[0] else x
    x = x.flip(-2) if turns[1] else x
    return x.mT if turns[2] else x


def write_pairs(folder: Path | str, data: PairedData, *, bits: Integral = 8) -> Path:
    """Write a paired set: ``hr/``, ``lr/`` and ``noise/`` as PNG, and ``manifest.json`` with what belongs together.

    LR images are written without noise, which is drawn anew in training. Everything is written beside the folder first
    and renamed at the end: the folder is whole, or not there.

    Parameters
    ----------
    folder : path
        Must not exist, or be empty.
    data : PairedData
    bits : {8, 16}
        Bits a sample of the PNG files; the released code has 8.

    Raises
    ------
    DataError
        The folder holds something already.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} holds something already: choose an empty folder for the pairs.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise files.writing_failed(folder, error) from error
    try:
        manifest = {"format": FORMAT, "scale": data.scale, "bits": int(bits), "pairs": [], "noise": []}
        for i, pair in enumerate(data.pairs):
            entry = {"name": pair.name, "kernel": pair.kernel}
            for part, image in (("hr", pair.hr), ("lr", pair.lr)):
                entry[part] = _write(partial, f"{part}/{i:05d}.png", image, bits)
            manifest["pairs"].append(entry)
        for i, (patch, source) in enumerate(zip(data.noises.patches, data.noises.sources, strict=True)):
            manifest["noise"].append({"source": source, "file": _write(partial, f"noise/{i:05d}.png", patch, bits)})
        (partial / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        umask = os.umask(0)
        os.umask(umask)
        partial.chmod(0o777 & ~umask)
        os.replace(partial, folder)  # an empty folder in its place is replaced
    except OSError as error:
        raise files.writing_failed(folder, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def read_pairs(folder: Path | str, *, levels: bool = False) -> PairedData:
    """Read what :func:`write_pairs` wrote; every file's SHA-256 is compared with the manifest.

    Parameters
    ----------
    folder : path
    levels : bool
        Keep images of 8 bits as levels in uint8. The same crops come out of a quarter of the memory.

    Raises
    ------
    DataError
        There is no manifest, or a file is missing or changed.
    """
    folder = Path(folder)
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise DataError(f"{folder} was written by another version of the library: write the pairs again.")
        levels = levels and manifest["bits"] == 8
        pairs = [
            Pair(entry["name"], *(_read(folder, entry[part], levels) for part in ("hr", "lr")), entry["kernel"])
            for entry in manifest["pairs"]
        ]
        patches = [_read(folder, entry["file"]) for entry in manifest["noise"]]
        return PairedData(
            pairs, NoisePool(patches, [entry["source"] for entry in manifest["noise"]]), manifest["scale"]
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder} holds no complete set of pairs: write it again.") from error


def _write(folder: Path, name: str, image: Tensor, bits: int) -> dict[str, str]:
    images.write(folder / name, image, bits=bits)
    return {"path": name, "sha256": files.sha256(folder / name)}


def _read(folder: Path, entry: dict[str, str], levels: bool = False) -> Tensor:
    path = folder / entry["path"]
    if not files.matches(path, entry["sha256"]):
        raise DataError(f"{path} is not the file that was written: write the pairs again.")
    image = images.read(path)
    return (image * 255).round().to(torch.uint8) if levels else image
