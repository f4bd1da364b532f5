"""Labelled pictures of different sizes that stay in their files, as those of ILSVRC2012 and PASCAL VOC 2012.

Batches are asked for as those of :class:`restore_lib.data.labelled.Labelled`, and are a pure function of seed and step,
too. Pictures are decoded when a batch wants them, several at a time.
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from restore_lib import images
from restore_lib.data import opening, registry
from restore_lib.data.labelled import IGNORED, STREAM
from restore_lib.errors import DataError
from restore_lib.resampling import resize_antialiased

VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
MEAN = (123, 117, 104)  # of ImageNet's pictures in RGB, as the papers round it: what fills the border of small pictures

Picture = UInt8[Tensor, "3 h w"]
Target = Int64[Tensor, ""] | Int64[Tensor, "h w"]


class LabelledFiles:
    """Pictures in files with a class each, or with a class for every pixel.

    Parameters
    ----------
    found : ImageSet
        What :func:`restore_lib.data.open` gave.
    classes : sequence of str
        Name of each class.
    of : {"label", "mask"}
        Class of each picture, or of every pixel.
    short_side : int, optional
        Pictures are resized so that their shorter side has this many pixels; the classes of pixels are taken from the
        nearest ones.
    threads : int
        Pictures decoded at the same time.

    Attributes
    ----------
    name, split : str
    classes : sequence of str

    Raises
    ------
    DataError
        Pictures have no class.
    ValueError
        They have no masks.
    """

    def __init__(
        self,
        found: opening.ImageSet,
        classes: Sequence[str],
        *,
        of: str = "label",
        short_side: int | None = None,
        threads: int = 4,
    ):
        if of not in ("label", "mask"):
            raise ValueError(f"of is {of!r}: choose label or mask")
        if of == "mask" and any("mask" not in item.parts for item in found):
            raise ValueError(f"the pictures of {found.name} have no masks")
        if of == "label" and any(item.label is None for item in found):
            title = registry.find(found.name).title
            raise DataError(
                f"The pictures of {title}, {found.split or 'all of it'}, have no classes: sort "
                "them into one folder for each class, named by its WordNet id (such as val/n01440764)."
            )
        self.name, self.split, self.classes = found.name, found.split, tuple(classes)
        self._found, self._of, self._short, self._threads = found, of, short_side, int(threads)

    def __len__(self) -> int:
        return len(self._found)

    @property
    def names(self) -> list[str]:
        """Of the pictures."""
        return [item.name for item in self._found]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the names, classes and lengths of all files: their content is too much to be read for it."""
        total = hashlib.sha256(f"{self._of} {self._short} {' '.join(self.classes)}\n".encode())
        for item in self._found:
            sizes = [f"{part} {path.stat().st_size}" for part, path in sorted(item.parts.items())]
            total.update(f"{item.name} {item.label} {' '.join(sizes)}\n".encode())
        return total.hexdigest()

    def whole(self, which: int) -> tuple[Picture, Target]:
        """One picture, resized but not cropped, with its class or the classes of its pixels.

        Raises
        ------
        ImageError, DataError
            A file is damaged, or picture and mask have different sizes.
        """
        item = self._found[int(which)]
        picture = torch.from_numpy(images.to_uint8(item.image)).permute(2, 0, 1)  # (3, h, w)
        target = item.read("mask") if self._of == "mask" else torch.tensor(item.label)
        if target.ndim and target.shape != picture.shape[1:]:
            raise DataError(
                f"{item.parts['mask']} and its picture differ in size, {tuple(target.shape)} and "
                f"{tuple(picture.shape[1:])}: copy both from the set's archives again."
            )
        if self._short is None:
            return picture, target
        short = min(picture.shape[1:])
        size = [max(1, round(n * self._short / short)) for n in picture.shape[1:]]
        if target.ndim:
            rows, columns = ((torch.arange(m) * 2 + 1) * n // (2 * m) for m, n in zip(size, target.shape, strict=True))
            target = target[rows][:, columns]
        return resize_antialiased(picture, size), target

    def centre(self, which: int, size: int) -> tuple[Picture, Target]:
        """The square of ``size`` pixels in the middle of :meth:`whole`, as classifiers are tested."""
        picture, target = _filled(*self.whole(which), size)
        return _cut(picture, target, size, *((n - size) // 2 for n in picture.shape[1:]))

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

        A picture smaller than the crop lies in its upper left corner; the rest has the mean colour and no class.

        Parameters
        ----------
        step, batch, size, seed, rank, world
            As for :meth:`restore_lib.data.patches.PatchStore.crops`.

        Raises
        ------
        ImageError, DataError
            See :meth:`whole`.
        """
        if batch % world:
            raise ValueError(
                f"batch is {batch} for {world} processes: give a multiple, so that all have the same share"
            )
        words = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(STREAM, step))).random_raw(4 * batch)
        share = words.reshape(batch, 4)[rank * batch // world : (rank + 1) * batch // world].tolist()
        with ThreadPoolExecutor(self._threads) as pool:
            made = list(pool.map(lambda drawn: self._crop(size, *drawn), share))
        crops, targets = zip(*made, strict=True)
        return torch.stack(crops).contiguous(memory_format=torch.channels_last), torch.stack(targets)

    def _crop(self, size: int, which: int, top: int, left: int, mirrored: int) -> tuple[Tensor, Tensor]:
        """One crop by four random words of 64 bits: how many places it has is known when the picture is."""
        picture, target = _filled(*self.whole(which % len(self)), size)
        height, width = picture.shape[1:]
        crop, target = _cut(picture, target, size, top % (height - size + 1), left % (width - size + 1))
        if mirrored % 2:
            crop, target = crop.flip(-1), target.flip(-1) if target.ndim else target
        return crop, target


def _filled(picture: Tensor, target: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Extend to the right and below until a crop fits."""
    height, width = picture.shape[1:]
    if min(height, width) >= size:
        return picture, target
    whole = torch.tensor(MEAN, dtype=torch.uint8).view(3, 1, 1).repeat(1, max(height, size), max(width, size))
    whole[:, :height, :width] = picture
    if target.ndim:
        target = torch.nn.functional.pad(target, (0, whole.shape[2] - width, 0, whole.shape[1] - height), value=IGNORED)
    return whole, target


def _cut(picture: Tensor, target: Tensor, size: int, top: int, left: int) -> tuple[Tensor, Tensor]:
    window = (..., slice(top, top + size), slice(left, left + size))
    return picture[window], target[window] if target.ndim else target


def ilsvrc(split: str, short_side: int = 256, threads: int = 4) -> LabelledFiles:
    """ILSVRC2012 with its classes, named by their WordNet ids; both parts in one folder for each class.

    Parameters
    ----------
    split : {"train", "val"}
    short_side, threads
        See :class:`LabelledFiles`.

    Raises
    ------
    DataError
        The set is not on this computer, or its pictures lie flat.
    """
    found = opening.open("ilsvrc2012", split)
    wnids = {item.label: item.parts["image"].parent.name for item in found if item.label is not None}
    return LabelledFiles(found, [wnids[label] for label in sorted(wnids)], short_side=short_side, threads=threads)


def voc(split: str, threads: int = 4) -> LabelledFiles:
    """PASCAL VOC 2012 with a class for every pixel, ``IGNORED`` at the contours.

    Parameters
    ----------
    split : {"train", "val", "trainval", "train_aug"}
    threads
        See :class:`LabelledFiles`.

    Raises
    ------
    DataError
        The set, or what the split needs of it, is not on this computer.
    """
    return LabelledFiles(opening.open("voc2012", split), VOC, of="mask", threads=threads)
