"""Open a data set: a sequence of items whose pictures, kernels and masks are read when asked for."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from restore_lib import files, images
from restore_lib.data import checking, matlab, registry
from restore_lib.data.registry import DataSet, LayoutRow
from restore_lib.errors import DataError


@dataclass(frozen=True)
class Item:
    """One picture of a set with what belongs to it. Nothing is read until it is asked for."""

    name: str  #: in the set, without folder and suffix
    parts: dict[str, Path] = field(repr=False)  #: ``image``, and in some sets ``mask``, ``noisy``, ``lr``, ...
    label: int | None = None
    even: bool = field(default=False, repr=False)  #: read without the last row or column of an odd side
    index: int = field(default=0, repr=False)  #: which kernel, in a file that holds several

    @property
    def image(self) -> Float[Tensor, "3 h w"]:
        """The picture in RGB, values in [0, 1]; in sets of pairs the clean or high-resolution one."""
        return self.read("image")

    def read(self, part: str = "image", channels: str = "rgb") -> Tensor:
        """Read one part: a key of ``parts``, else ValueError.

        A picture is (3, H, W) float32 in [0, 1], and (1, H, W) if it is grey and ``channels="native"``; a kernel is (h,
        w) float64 and sums to 1 as nearly as its authors stored it; a mask is (H, W) int64. ImageError or DataError for
        a damaged file.
        """
        if part not in self.parts:
            raise ValueError(f"{self.name} has no part {part!r}; it has {', '.join(self.parts)}")
        path = self.parts[part]
        if path.suffix == ".mat":
            return read_kernel(path, self.index)
        picture = read_mask(path) if part == "mask" else images.read(path, channels=channels)
        return images.modcrop(picture, 2) if self.even else picture


def read_kernel(path: Path, index: int = 0) -> Float[Tensor, "h w"]:
    """A blur kernel from a MATLAB file: its only array, or number ``index`` of the cell array it holds."""
    try:
        array = matlab.load(path.read_bytes())[0]
        kernel = array.flat[index] if array.dtype == object else array
        return torch.from_numpy(np.ascontiguousarray(kernel, dtype=np.float64))  # (h, w)
    except (OSError, ValueError, TypeError, IndexError) as error:
        raise DataError(f"{path} is not a file of kernels: delete it and fetch the set again.") from error


def read_mask(path: Path) -> Int[Tensor, "h w"]:
    """Class numbers of a label image, as stored: palette indices or grey values, never colours."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            if picture.mode not in ("L", "P"):
                raise DataError(f"{path} is a colour picture ({picture.mode}), not a label image: fetch the set again.")
            return torch.from_numpy(np.array(picture, dtype=np.int64))  # (h, w)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path} is not a readable label image: delete it and fetch the set again.") from error


class ImageSet(Sequence[Item]):
    """An opened data set, or a split: its items in natural order of their names, and the name of each label."""

    def __init__(self, name: str, split: str, items: list[Item], classes: dict[int, str]):
        self.name, self.split, self.items, self.classes = name, split, items, classes

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int | str) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> "ImageSet": ...
    def __getitem__(self, index: int | str | slice) -> "Item | ImageSet":
        """Item ``index``; a slice gives a shorter ``ImageSet``, a string the item of that name."""
        if isinstance(index, str):
            return {item.name: item for item in self.items}[index]
        if isinstance(index, slice):
            return ImageSet(self.name, self.split, self.items[index], self.classes)
        return self.items[index]

    def __repr__(self) -> str:
        return f"<{self.name}{' ' + self.split if self.split else ''}: {len(self)} items>"

    def digest(self) -> str:
        """SHA-256 over the content of every file in order: two runs saw the same data if it agrees."""
        total = hashlib.sha256()
        for item in self.items:
            for part, path in sorted(item.parts.items()):
                total.update(f"{item.name} {part} {files.sha256(path)}\n".encode())
        return total.hexdigest()


def open(name: str, split: str | None = None) -> ImageSet:
    """Open a data set that lies on this computer, by a name that :func:`names` lists; nothing is downloaded.

    ValueError where the card names no such ``split``; DataError when there is no such set, or files of it are missing;
    only ``restore data verify`` compares their hashes.
    """
    data = registry.find(name)
    if data.kind == "embedded":  # pictures that came with installed packages, in the card's order
        here = zip(data.pictures, checking.installed(data), strict=True)
        pairs = [(picture["split"], Item(path.stem, {"image": path})) for picture, path in here]
    else:
        pairs = by_hand(data) if data.kind == "by hand" else grouped(data)
    split = split or data.default
    splits = list(dict.fromkeys([each for each, _ in pairs] + [row.split for row in data.layout if row.split]))
    wanted = data.splits.get(split, [split]) if split else splits
    if not set(wanted) <= set(splits):
        offer = ", ".join(filter(None, [*splits, *data.splits])) or "no splits"
        raise ValueError(f"{data.title} has no split {split!r}; it has {offer}")
    items = [item for each, item in pairs if each in wanted]
    if data.layout and not items:
        folders = {row.folder for row in data.layout if row.split in wanted}
        raise DataError(
            f"{data.title} is not complete, {' and '.join(sorted(folders))} must hold what split {split} is made of: "
            f"{checking.advice(data)}"
        )
    checking.require(data, [path for item in items for path in item.parts.values()])
    if data.kind != "embedded":
        items.sort(key=lambda item: natural(item.name))
    return ImageSet(data.name, split, items, dict(data.classes.values()))


def grouped(data: DataSet) -> list[tuple[str, Item]]:
    """Split and item of every group of files that the card's pattern finds in a set or view."""
    if data.kind == "weights":
        raise DataError(f"{data.title} holds weights, not pictures: `restore data where {data.name}` shows the file.")
    groups, folders = {}, files.local_folders()
    for file in data.files:
        path = files.locate(file.path, folders) or files.cache_folder() / file.path
        match = re.fullmatch(data.items, file.path.partition("/")[2])
        if match is None:
            raise ValueError(f"the pattern of {data.name} does not fit {file.path}")
        group = match.groupdict()
        key = group.get("split") or "", group.get("name") or ""
        label = data.classes[group["label"]][0] if group.get("label") else None
        parts = groups.setdefault((key, label), {})
        parts[data.parts.get(group.get("part") or "", "image")] = path
    items = []
    for ((split, name), label), parts in groups.items():
        if split in data.counts:  # one file, several kernels
            kernels = range(data.counts[split])
            items += [(split, Item(f"{split}-{i + 1}", {"kernel": parts["image"]}, index=i)) for i in kernels]
        else:
            items.append((split, Item(name, parts, label, data.even)))
    if not data.shared:
        return items
    every = {part for _, item in items for part in item.parts}
    common = [part for part in every if all(part in item.parts for _, item in items)]
    pairs = [("pairs", item) for _, item in items if set(item.parts) == every]
    return pairs + [(data.shared, Item(item.name, {part: item.parts[part] for part in common})) for _, item in items]


def by_hand(data: DataSet) -> list[tuple[str, Item]]:
    """Pictures of a folder that its owner filled, by the splits that the card's layout names."""
    home = checking.home(data)
    items = []
    for row in data.layout:
        if not row.split or home is None:
            continue
        if row.parts:
            items += [(row.split, item) for item in _by_name(home, row)]
            continue
        paths = [home / path for path in row.numbered] or sorted((home / row.folder).glob(row.files))
        wnids = sorted({path.parent.name for path in paths if re.fullmatch(r"n\d{8}", path.parent.name)})
        labels = {wnid: label for label, wnid in enumerate(wnids)}
        items += [(row.split, Item(p.stem, {"image": p}, labels.get(p.parent.name))) for p in paths]
    if not items:
        checking.require(data, [])
    return items


def _by_name(home: Path, row: LayoutRow) -> list[Item]:
    """Items of one row of a layout that gives names: the lines of a list, or what the files of a folder are called."""
    paths = sorted((home / row.folder).glob(row.files))
    lists = [path for path in paths if path.suffix == ".txt"]
    names = [name for path in lists for name in _lines(path)] or [path.stem for path in paths if not lists]
    without = set(_lines(home / row.not_in)) if row.not_in and names else ()
    kept = [name for name in names if name not in without]
    return [Item(name, {part: home / path.format(name) for part, path in row.parts.items()}) for name in kept]


def _lines(path: Path) -> list[str]:
    """Names in a list; one a line."""
    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is missing or no list of names: copy it from the set's archive again.") from error


def natural(name: str) -> list:
    """Sorting key in which ``kernel_2`` comes before ``kernel_10``."""
    return [int(piece) if piece.isdigit() else piece for piece in re.split(r"(\d+)", name)]
