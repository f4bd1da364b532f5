"""Labelled pictures for networks that look at them: classes for whole pictures, or a class for every pixel.

All pictures of a set have one size and stay in memory as 8-bit levels. A batch is a pure function of seed and step, as
in :mod:`restore_lib.data.patches`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from restore_lib import files, images
from restore_lib.data import opening, scenes
from restore_lib.resampling import resize_antialiased

STREAM = 0x6C61626C  # sets these random numbers apart from others that are seeded by the same (seed, step)
IGNORED = 255
"""Class number of pixels without a class: losses and scores leave them out."""


@dataclass(frozen=True)
class Labelled:
    """Pictures of one size with their classes.

    Attributes
    ----------
    name, split : str
    names : sequence of str
        Of the pictures.
    pictures : UInt8[Tensor, "n 3 h w"]
        Levels 0 to 255, channels last in memory.
    targets : Int64[Tensor, "n"] or UInt8[Tensor, "n h w"]
        Class of each picture, or of each pixel, with ``IGNORED`` for none.
    classes : sequence of str
        Name of each class.
    digest : str
        SHA-256 of the set's files; of drawn scenes, of the code that draws them and its arguments.
    """

    name: str
    split: str
    names: Sequence[str]
    pictures: UInt8[Tensor, "n 3 h w"]
    targets: Int64[Tensor, "n"] | UInt8[Tensor, "n h w"]
    classes: Sequence[str]
    digest: str

    def __len__(self) -> int:
        return len(self.pictures)

    def part(self, chosen: Sequence[int]) -> "Labelled":
        """The pictures of these numbers."""
        chosen = list(chosen)
        names = [self.names[number] for number in chosen]
        found = _packed(self.pictures[chosen]), self.targets[chosen]
        return Labelled(self.name, self.split, names, *found, self.classes, self.digest)

    def batch(
        self,
        step: int,
        *,
        batch: int,
        size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> tuple[UInt8[Tensor, "b 3 size size"], Int64[Tensor, "b"] | Int64[Tensor, "b size size"]]:
        """Random square crops, half of them mirrored left to right, with their classes.

        Parameters
        ----------
        step, batch, size, seed, rank, world
            As for :meth:`restore_lib.data.patches.PatchStore.crops`.
        """
        if batch % world:
            raise ValueError(
                f"batch is {batch} for {world} processes: give a multiple, so that all have the same share"
            )
        height, width = self.pictures.shape[-2:]
        if size > min(height, width):
            raise ValueError(f"crops of {size} pixels do not fit into pictures of {height} x {width}")
        limits = np.array([len(self), height - size + 1, width - size + 1, 2], dtype=np.uint64)
        words = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(STREAM, step))).random_raw(4 * batch)
        drawn = (words.reshape(batch, 4) % limits).astype(np.int64)[rank * batch // world : (rank + 1) * batch // world]
        crops, targets = [], []
        for which, top, left, mirrored in drawn.tolist():
            window = (..., slice(top, top + size), slice(left, left + size))
            crop, target = self.pictures[which][window], self.targets[which]
            target = target[window] if target.ndim else target
            crops.append(crop.flip(-1) if mirrored else crop)
            targets.append(target.flip(-1) if mirrored and target.ndim else target)
        stacked = torch.stack(crops).contiguous(memory_format=torch.channels_last)
        return stacked, torch.stack(targets).long()


def classified(name: str, split: str) -> Labelled:
    """A set of small pictures with a class each, such as ``tiny_imagenet10``; all must have one size.

    Raises
    ------
    DataError
        The set is not on this computer.
    """
    found = opening.open(name, split)
    pictures = torch.stack([_levels(item.image) for item in found])
    targets = torch.tensor([item.label for item in found])
    names = [found.classes[label] for label in sorted(found.classes)]
    return Labelled(name, split, [i.name for i in found], _packed(pictures), targets, names, found.digest())


CAMVID = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist")


def camvid(split: str, shrink: int = 2) -> Labelled:
    """Street scenes with a class for every pixel, ``shrink`` times smaller than the set's 480 x 360 pixels.

    Pictures are reduced with an antialiasing filter; of the classes every ``shrink``-th is taken.

    Raises
    ------
    DataError
        The set is not on this computer.
    """
    found = opening.open("camvid", split)
    pictures, masks = [], []
    for item in found:
        picture, mask = item.image, item.read("mask")
        size = [n // shrink for n in picture.shape[-2:]]
        pictures.append(_levels(resize_antialiased(picture, size).clamp(0, 1)))
        mask = mask[shrink // 2 :: shrink, shrink // 2 :: shrink][: size[0], : size[1]]
        masks.append(torch.where(mask < len(CAMVID), mask, IGNORED).to(torch.uint8))
    names = [item.name for item in found]
    return Labelled("camvid", split, names, _packed(torch.stack(pictures)), torch.stack(masks), CAMVID, found.digest())


def drawn(split: str, count: int, size: int, *, of: str = "label", seed: int = 0) -> Labelled:
    """Scenes that the library draws, see :mod:`restore_lib.data.scenes`.

    Parameters
    ----------
    split : {"train", "test"}
    count, size : int
        How many, and how large.
    of : {"label", "mask"}
        Class of the central object, or of every pixel.
    seed : int
        Of the sequence of scenes.
    """
    order = f"{count} scenes of {size} x {size}, split {split}, seed {seed}"
    digest = hashlib.sha256(Path(scenes.__file__).read_bytes() + order.encode()).hexdigest()
    pictures, masks, labels = _scenes(int(count), split, int(size), int(seed), digest)
    targets = labels if of == "label" else masks
    names = [f"scene-{number}" for number in range(count)]
    return Labelled("scenes", split, names, _packed(pictures), targets, scenes.CLASSES, digest)


def _scenes(count: int, split: str, size: int, seed: int, digest: str) -> tuple[Tensor, Tensor, Tensor]:
    """Levels, masks and labels; kept in the cache, since drawing takes ten milliseconds a scene."""
    path = files.cache_folder() / "scenes" / f"{digest[:32]}.safetensors"
    try:
        found = safetensors.torch.load(path.read_bytes())
    except (OSError, safetensors.SafetensorError):
        pictures, masks, labels = scenes.batch(range(count), split=split, size=size, seed=seed)
        levels = torch.stack([_levels(picture) for picture in pictures])
        found = {"pictures": levels, "masks": masks.to(torch.uint8), "labels": labels}
        with files.atomic_write(path) as temporary:
            temporary.write_bytes(safetensors.torch.save({k: v.contiguous() for k, v in found.items()}))
    return found["pictures"], found["masks"], found["labels"]


def _levels(picture: Float[Tensor, "3 h w"]) -> UInt8[Tensor, "3 h w"]:
    return torch.from_numpy(images.to_uint8(picture)).permute(2, 0, 1)


def _packed(pictures: UInt8[Tensor, "n 3 h w"]) -> UInt8[Tensor, "n 3 h w"]:
    return pictures.contiguous(memory_format=torch.channels_last)
