"""Pairs of HR and LR images for training: crops drawn on the fly, and a folder of PNG files with a manifest."""

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
from jaxtyping import Float
from torch import Tensor

from restore_lib import files, images
from restore_lib.errors import DataError
from restore_lib.realsr.noise_pool import NoisePool

FORMAT = 1  # of the manifest
STREAM = 0x70616972  # sets these random numbers apart from others that are seeded by the same (seed, step)


@dataclass(frozen=True)
class Pair:
    """An HR image, the LR image without noise, and which kernel made it (None: bicubic)."""

    name: str
    hr: Float[Tensor, "3 h w"] = field(repr=False)
    lr: Float[Tensor, "3 oh ow"] = field(repr=False)
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
        self, step: Integral, *, batch: Integral = 16, size: Integral = 128, seed: Integral = 0
    ) -> tuple[Float[Tensor, "b 3 s s"], Float[Tensor, "b 3 t t"]]:
        """A batch of crops, a pure function of (seed, step): turned and mirrored, then noise on the LR ones.

        Parameters
        ----------
        step, seed : int
        batch : int
            RealSR trains with 16.
        size : int
            Side of the HR crops, a multiple of the scale; RealSR has 128.

        Returns
        -------
        hr, lr : Tensor
            In [0, 1].
        """
        if size % self.scale:
            raise ValueError(f"size must be a multiple of the scale {self.scale}, got {size}")
        small = size // self.scale
        fitting = [pair for pair in self.pairs if min(pair.lr.shape[-2:]) >= small]
        if not fitting:
            raise DataError(f"No image is {size} pixels wide and high: ask for smaller crops or give larger images.")
        dice = np.random.default_rng([STREAM, int(seed), int(step)])
        hrs, lrs = [], []
        for _ in range(batch):
            pair = fitting[dice.integers(len(fitting))]
            top, left = (dice.integers(side - small + 1) for side in pair.lr.shape[-2:])
            turns = dice.integers(2, size=3).astype(bool).tolist()
            lrs.append(turn(cut(pair.lr, top, left, small), turns))
            hrs.append(turn(cut(pair.hr, self.scale * top, self.scale * left, size), turns))
        lr = torch.stack(lrs)
        if len(self.noises):
            lr = self.noises.inject(lr, torch.Generator().manual_seed(int(dice.integers(2**62))))
        return torch.stack(hrs), lr


def cut(x: Float[Tensor, "3 h w"], top: Integral, left: Integral, size: Integral) -> Float[Tensor, "3 s s"]:
    """A square crop."""
    return x[:, top : top + size, left : left + size]


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
        manifest = {"format": FORMAT, "scale": data.scale, "pairs": [], "noise": []}
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


def read_pairs(folder: Path | str) -> PairedData:
    """Read what :func:`write_pairs` wrote; every file's SHA-256 is compared with the manifest.

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
        pairs = [
            Pair(entry["name"], _read(folder, entry["hr"]), _read(folder, entry["lr"]), entry["kernel"])
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


def _read(folder: Path, entry: dict[str, str]) -> Tensor:
    path = folder / entry["path"]
    if not files.matches(path, entry["sha256"]):
        raise DataError(f"{path} is not the file that was written: write the pairs again.")
    return images.read(path)
