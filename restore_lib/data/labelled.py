"""Labelled pictures for networks that look at them: classes for whole pictures, or a class for every pixel.

:class:`Labelled` holds pictures of one size in memory, as 8-bit levels. Those of :class:`LabelledFiles` differ in size
and stay in their files. A batch is a pure function of seed and step, as in :mod:`restore_lib.data.patches`.
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import safetensors.torch
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from restore_lib import files, images
from restore_lib.data import opening, registry, scenes
from restore_lib.data.patches import random_words, share
from restore_lib.errors import DataError
from restore_lib.resampling import resize_antialiased

STREAM = 0x6C61626C  # sets these random numbers apart from others that are seeded by the same (seed, step)
IGNORED = 255
"""Class number of pixels without a class: losses and scores leave them out."""
MEAN = (123, 117, 104)  # of ImageNet's pictures in RGB, as the papers round it: what fills the border of small pictures

CAMVID = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist")
VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

Picture = UInt8[Tensor, "3 h w"]
Target = Int64[Tensor, ""] | Int64[Tensor, "h w"] | UInt8[Tensor, "h w"]
Batch = tuple[UInt8[Tensor, "b 3 size size"], Int64[Tensor, "b"] | Int64[Tensor, "b size size"]]


@dataclass(frozen=True)
class Labelled:
    """Pictures of one size with their classes."""

    name: str
    split: str
    names: Sequence[str]  #: of the pictures
    pictures: UInt8[Tensor, "n 3 h w"]  #: levels 0 to 255, channels last in memory
    targets: Int64[Tensor, "n"] | UInt8[Tensor, "n h w"]  #: class of each picture or pixel; ``IGNORED`` for none
    classes: Sequence[str]  #: name of each class
    digest: str  #: SHA-256 of the set's files; of drawn scenes, of the code that draws them and its arguments

    def __len__(self) -> int:
        return len(self.pictures)

    def part(self, chosen: Sequence[int]) -> "Labelled":
        """The pictures of these numbers."""
        chosen = list(chosen)
        names, pictures = [self.names[number] for number in chosen], _packed(self.pictures[chosen])
        return replace(self, names=names, pictures=pictures, targets=self.targets[chosen])

    def batch(self, step: int, rank: int = 0, world: int = 1, *, batch: int, size: int, seed: int) -> Batch:
        """Random square crops, half of them mirrored left to right, with their classes; see ``PatchStore.crops``."""
        height, width = self.pictures.shape[-2:]
        if size > min(height, width):
            raise ValueError(f"crops of {size} pixels do not fit into pictures of {height} x {width}")
        words = random_words(STREAM, seed, step, (batch, 4))[share(batch, rank, world)].tolist()
        return _stacked(
            [_crop(self.pictures[w % len(self)], self.targets[w % len(self)], size, *place) for w, *place in words]
        )


class LabelledFiles:
    """Pictures in files with a class each (``of`` is ``label``) or for every pixel (``mask``), as in VOC 2012.

    They may differ in size, and are decoded when a batch asks for them, ``threads`` at a time; those with a class each
    are resized to ``short_side`` pixels on the shorter side. DataError or ValueError without labels or masks.
    """

    def __init__(
        self,
        pictures: opening.ImageSet,
        classes: Sequence[str],
        *,
        of: str = "label",
        short_side: int | None = None,
        threads: int = 4,
    ):
        if of == "mask" and any("mask" not in item.parts for item in pictures):
            raise ValueError(f"the pictures of {pictures.name} have no masks")
        if of == "label" and any(item.label is None for item in pictures):
            title = registry.find(pictures.name).title
            raise DataError(
                f"The pictures of {title}, {pictures.split or 'all of it'}, have no classes: sort "
                "them into one folder for each class, named by its WordNet id (such as val/n01440764)."
            )
        self.name, self.split, self.classes = pictures.name, pictures.split, tuple(classes)
        self._pictures, self._of, self._short, self._threads = pictures, of, short_side, int(threads)

    def __len__(self) -> int:
        return len(self._pictures)

    @property
    def names(self) -> list[str]:
        """Of the pictures."""
        return [item.name for item in self._pictures]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the names, classes and lengths of all files: their content is too much to be read for it."""
        total = hashlib.sha256(f"{self._of} {self._short} {' '.join(self.classes)}\n".encode())
        for item in self._pictures:
            sizes = [f"{part} {path.stat().st_size}" for part, path in sorted(item.parts.items())]
            total.update(f"{item.name} {item.label} {' '.join(sizes)}\n".encode())
        return total.hexdigest()

    def whole(self, which: int) -> tuple[Picture, Target]:
        """One picture, resized but not cropped, with its class or the classes of its pixels.

        ImageError or DataError when a file is damaged, or picture and mask have different sizes.
        """
        item = self._pictures[int(which)]
        picture = _levels(item.image)
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
        return resize_antialiased(picture, size), target

    def centre(self, which: int, size: int) -> tuple[Picture, Target]:
        """The square of ``size`` pixels in the middle of :meth:`whole`, as classifiers are tested."""
        picture, target = self._filled(which, size)
        return images.centre_crop(picture, size), images.centre_crop(target, size) if target.ndim else target

    def batch(self, step: int, rank: int = 0, world: int = 1, *, batch: int, size: int, seed: int) -> Batch:
        """Random square crops, half of them mirrored left to right, with their classes; see ``PatchStore.crops``.

        A picture smaller than the crop lies in its upper left corner; the rest has the mean colour and no class.
        """

        def crop(words: list[int]) -> tuple[Tensor, Tensor]:
            return _crop(*self._filled(words[0] % len(self), size), size, *words[1:])

        words = random_words(STREAM, seed, step, (batch, 4))[share(batch, rank, world)].tolist()
        with ThreadPoolExecutor(self._threads) as pool:
            return _stacked(list(pool.map(crop, words)))

    def _filled(self, which: int, size: int) -> tuple[Picture, Target]:
        """What :meth:`whole` gives, extended to the right and below until a crop fits."""
        picture, target = self.whole(which)
        height, width = picture.shape[1:]
        if min(height, width) >= size:
            return picture, target
        full = torch.tensor(MEAN, dtype=torch.uint8).view(3, 1, 1).repeat(1, max(height, size), max(width, size))
        full[:, :height, :width] = picture
        if target.ndim:
            right, below = full.shape[2] - width, full.shape[1] - height
            target = torch.nn.functional.pad(target, (0, right, 0, below), value=IGNORED)
        return full, target


def _crop(picture: Picture, target: Target, size: int, top: int, left: int, mirrored: int) -> tuple[Tensor, Tensor]:
    """The crop that three random words choose; mirrored left to right if the third is odd."""
    top, left = (word % (n - size + 1) for word, n in zip((top, left), picture.shape[1:], strict=True))
    window = (..., slice(top, top + size), slice(left, left + size))
    crop, target = picture[window], target[window] if target.ndim else target
    if mirrored % 2:
        crop, target = crop.flip(-1), target.flip(-1) if target.ndim else target
    return crop, target


def _stacked(crops: list[tuple[Tensor, Tensor]]) -> Batch:
    """One batch, channels last."""
    pictures, targets = (torch.stack(each) for each in zip(*crops, strict=True))
    return _packed(pictures), targets.long()


def classified(name: str, split: str) -> Labelled:
    """A set of small pictures of one size with a class each, such as ``tiny_imagenet10``."""
    items = opening.open(name, split)
    pictures = torch.stack([_levels(item.image) for item in items])
    targets = torch.tensor([item.label for item in items])
    classes = [items.classes[label] for label in sorted(items.classes)]
    return Labelled(name, split, [i.name for i in items], _packed(pictures), targets, classes, items.digest())


def camvid(split: str, shrink: int = 2) -> Labelled:
    """Street scenes with a class for every pixel, ``shrink`` times smaller than the set's 480 x 360 pixels.

    Pictures are reduced with an antialiasing filter; of the classes every ``shrink``-th is taken.
    """
    items = opening.open("camvid", split)
    pictures, masks = [], []
    for item in items:
        picture, mask = item.image, item.read("mask")
        size = [n // shrink for n in picture.shape[-2:]]
        pictures.append(_levels(resize_antialiased(picture, size).clamp(0, 1)))
        mask = mask[shrink // 2 :: shrink, shrink // 2 :: shrink][: size[0], : size[1]]
        masks.append(torch.where(mask < len(CAMVID), mask, IGNORED).to(torch.uint8))
    names = [item.name for item in items]
    return Labelled("camvid", split, names, _packed(torch.stack(pictures)), torch.stack(masks), CAMVID, items.digest())


def ilsvrc(split: str, short_side: int = 256, threads: int = 4) -> LabelledFiles:
    """Split ``train`` or ``val`` of ILSVRC2012 with its classes, named by their WordNet ids, a folder for each."""
    pictures = opening.open("ilsvrc2012", split)
    wnids = {item.label: item.parts["image"].parent.name for item in pictures if item.label is not None}
    return LabelledFiles(pictures, [wnids[label] for label in sorted(wnids)], short_side=short_side, threads=threads)


def voc(split: str, threads: int = 4) -> LabelledFiles:
    """A split of PASCAL VOC 2012 with a class for every pixel, ``IGNORED`` at the contours."""
    return LabelledFiles(opening.open("voc2012", split), VOC, of="mask", threads=threads)


def drawn(split: str, count: int, size: int, *, of: str = "label", seed: int = 0) -> Labelled:
    """``count`` scenes of ``size`` pixels from :mod:`restore_lib.data.scenes`, of split ``train`` or ``test``.

    ``of`` is the ``label`` of the central object, or a ``mask`` of every pixel's class.
    """
    order = f"{count} scenes of {size} x {size}, split {split}, seed {seed}"
    digest = hashlib.sha256(Path(scenes.__file__).read_bytes() + order.encode()).hexdigest()
    # Kept in the cache, since drawing takes ten milliseconds a scene.
    path = files.cache_folder() / "scenes" / f"{digest[:32]}.safetensors"
    try:
        stored = safetensors.torch.load(path.read_bytes())
    except (OSError, safetensors.SafetensorError):
        pictures, masks, labels = cast(Any, scenes.batch)(range(count), split=split, size=size, seed=seed)
        levels = torch.stack([_levels(picture) for picture in pictures])
        stored = {"pictures": levels, "masks": masks.to(torch.uint8), "labels": labels}
        with files.atomic_write(path) as temporary:
            temporary.write_bytes(safetensors.torch.save({k: v.contiguous() for k, v in stored.items()}))
    names = [f"scene-{number}" for number in range(count)]
    return Labelled("scenes", split, names, _packed(stored["pictures"]), stored[f"{of}s"], scenes.CLASSES, digest)


def _levels(picture: Float[Tensor, "3 h w"]) -> UInt8[Tensor, "3 h w"]:
    return torch.from_numpy(images.to_uint8(picture)).permute(2, 0, 1)


def _packed(pictures: UInt8[Tensor, "n 3 h w"]) -> UInt8[Tensor, "n 3 h w"]:
    return pictures.contiguous(memory_format=torch.channels_last)
