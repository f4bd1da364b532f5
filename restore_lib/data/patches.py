"""Crops for training: pictures decoded once into one memory-mapped file, crops drawn by seed and step alone.

A batch is a pure function of (seed, step). There is no sampler whose state must be saved: training that goes on at
step 1000 asks for step 1000, and several processes take their shares of the batch that one process would see.
"""

import hashlib
import mmap
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped, UInt8
from torch import Tensor

from restore_lib import files
from restore_lib.data import decoded
from restore_lib.data.opening import Item
from restore_lib.errors import DataError

STREAM = 0x70617463  # sets these random numbers apart from others that are seeded by the same (seed, step)


def random_words(stream: int, seed: int, step: int, shape: tuple[int, ...]) -> np.ndarray:
    """The uint64 numbers that a batch is drawn from, a pure function of the arguments.

    ``stream`` sets the numbers of one purpose apart. These are the generator's raw words, which NumPy promises to keep
    from version to version, unlike ``Generator.integers``. ``words % n`` chooses one of n, and favours low ones by less
    than one part in 2**64 / n.
    """
    return np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(stream, step))).random_raw(shape)


def share(batch: int, rank: int, world: int) -> slice:
    """Which elements of a batch process ``rank`` of ``world`` computes with: a block, as large for all processes."""
    if batch < 1 or world < 1 or batch % world:
        raise ValueError(f"batch is {batch} for {world} processes: give a multiple, so that all have the same share")
    if not 0 <= rank < world:
        raise ValueError(f"rank is {rank}: the {world} processes are numbered from 0")
    size = batch // world
    return slice(rank * size, (rank + 1) * size)


class PatchStore:
    """Decoded pictures in a memory-mapped file, and random crops of them.

    Opens a ``folder`` that :meth:`build` filled (else DataError); most programs call ``build``, which opens what is
    there already. Pictures with a side shorter than ``min_size`` are left out, of ``names`` and ``sizes`` as well.
    ``check`` compares the SHA-256 of all levels with the index: it reads the file once from end to end, which also
    brings it into memory faster than crops would; leave it out where the file is larger than memory.
    """

    def __init__(self, folder: Path | str, *, min_size: int = 1, check: bool = True):
        self.folder, self.min_size = Path(folder), min_size
        index = decoded.read_index(self.folder, check)
        self.sources: str = index["sources"]  # SHA-256 over names and files of all pictures
        shapes = np.array([(height, width) for _, height, width, _ in index["pictures"]], dtype=np.int64)  # (n, 2)
        offsets = np.concatenate([[0], 3 * shapes.prod(1).cumsum()[:-1]])  # (n,) bytes before each picture
        large = shapes.min(1) >= min_size
        if not large.any():
            raise DataError(f"None of the {len(large)} pictures is {min_size} pixels wide and high: ask for less.")
        names = [name for name, *_ in index["pictures"]]
        self.names = [name for name, fits in zip(names, large, strict=True) if fits]
        self._shapes, self._offsets = shapes[large], offsets[large]
        self._ends: dict[int, np.ndarray] = {}
        with open(self.folder / decoded.PIXELS, "rb") as stream:  # the map outlives it, and a file put in its place
            self._pixels = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)

    @classmethod
    def build(cls, pictures: Iterable[Item], folder: Path | str | None = None, *, min_size: int = 1) -> "PatchStore":
        """Decode every picture once, or open what an earlier call decoded.

        What is there is taken only if it was made from the same files and is undamaged; else it is built anew. Several
        processes may build at the same time: each writes a file of its own, and the last one that is whole stays. Grey
        pictures are stored as RGB, levels rounded to 8 bits. ``folder``, by default ``patches`` in the library's cache,
        holds one folder for each selection of pictures.
        """
        items = list(pictures)
        if not items:
            raise ValueError("pictures is empty: give at least one")
        hashes = [decoded.hash_of(item) for item in items]
        sources = hashlib.sha256(f"{decoded.FORMAT} image\n".encode())
        for item, digest in zip(items, hashes, strict=True):
            sources.update(f"{item.name} {item.even} {digest}\n".encode())
        home = (files.cache_folder() / "patches" if folder is None else Path(folder)) / sources.hexdigest()[:32]
        try:
            good = decoded.read_index(home, True)["sources"] == sources.hexdigest()
        except DataError:  # absent or damaged: either way there is one thing to do
            good = False
        if not good:
            decoded.write(home, sources.hexdigest(), items, hashes)
        return cls(home, min_size=min_size, check=False)  # its hash was compared, or taken, a moment ago

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"<PatchStore: {len(self)} pictures, {len(self._pixels) / 1e6:.1f} MB in {self.folder}>"

    def __reduce__(self):
        # Processes that are handed a store map the same file: pickling the map itself would copy every picture.
        return partial(PatchStore, min_size=self.min_size, check=False), (self.folder,)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of each picture."""
        return [(height, width) for height, width in self._shapes.tolist()]

    def picture(self, index: int, rows: slice = slice(None), cols: slice = slice(None)) -> UInt8[Tensor, "3 h w"]:
        """One picture, or some rows and columns of it, copied out of the file; in memory as (h, w, 3)."""
        shape = (*self._shapes[index].tolist(), 3)
        levels = np.ndarray(shape, np.uint8, self._pixels, int(self._offsets[index]))[rows, cols]  # (h, w, 3)
        return torch.from_numpy(levels.copy()).permute(2, 0, 1)

    def pixels(self, which: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> UInt8[Tensor, "n 3"]:
        """Single pixels: of each the picture, the row and the column."""
        first = self._offsets[which] + 3 * (rows * self._shapes[which, 1] + cols)
        return torch.from_numpy(np.frombuffer(self._pixels, np.uint8)[first[:, None] + np.arange(3)])

    def crops(
        self, step: int, rank: int = 0, world: int = 1, *, batch: int, size: int, seed: int
    ) -> tuple[UInt8[Tensor, "b 3 size size"], Int64[Tensor, " b"]]:
        """Random square crops, levels 0 to 255 in channels-last order, and a code for :func:`augment` for each.

        A pure function of the store and the arguments: ``seed`` and ``step``, at least 0, are all randomness there is.
        Every place in every picture is as likely as any other. Process ``rank`` of ``world`` gets its :func:`share` of
        the ``batch``: the shares in order are what one process would get.
        """
        block = share(batch, rank, world)
        if size < 1:
            raise ValueError(f"size is {size}: crops have at least 1 pixel")
        small = np.flatnonzero(self._shapes.min(1) < size)
        if len(small):
            height, width = self._shapes[small[0]]
            raise ValueError(
                f"crops of {size} pixels do not fit into {len(small)} of {len(self)} pictures, such as "
                f"{self.names[small[0]]} ({height} x {width}): open the store with min_size={size} to leave them out"
            )
        if size not in self._ends:
            self._ends[size] = (self._shapes - size + 1).prod(1).cumsum()  # (n,) crops up to and with each picture
        ends = self._ends[size]
        places, turns = (words[block] for words in random_words(STREAM, seed, step, (2, batch)))  # (b,) each
        place = (places % np.uint64(ends[-1])).astype(np.int64)  # (b,) among all crops
        which = np.searchsorted(ends, place, side="right")  # (b,) pictures
        place = place - np.concatenate([[0], ends])[which]  # (b,) inside the picture
        width = self._shapes[which, 1]
        top, left = np.divmod(place, width - size + 1)
        starts = self._offsets[which] + 3 * (top * width + left)
        crops = np.empty((len(which), size, size, 3), np.uint8)  # (b, size, size, 3)
        for crop, start, pitch in zip(crops, starts.tolist(), (3 * width).tolist(), strict=True):
            crop[...] = np.ndarray((size, size, 3), np.uint8, self._pixels, start, (pitch, 3, 1))
        codes = torch.from_numpy((turns >> np.uint64(61)).astype(np.int64))  # 0 to 7
        return torch.from_numpy(crops).permute(0, 3, 1, 2), codes  # (b, 3, size, size), channels last in memory


def augment(x: Shaped[Tensor, "b c h w"], codes: Int64[Tensor, " b"]) -> Shaped[Tensor, "b c h w"]:
    """Turn and mirror each square picture of a batch, on any device: the 8 symmetries of the square.

    A code says ``code % 4`` quarter turns counter-clockwise, as ``torch.rot90``; then, from 4 on, mirrored left to
    right. Gives a copy in the memory format of ``x``. On a GPU nothing waits for it.
    """
    count, channels, side, width = x.shape
    if side != width:
        raise ValueError(f"x has pictures of {side} x {width}: only square ones keep their shape when turned")
    codes = codes.to(x.device, non_blocking=True)
    grid = torch.arange(side * side, device=x.device).view(side, side)
    turned = [torch.rot90(grid, quarter) for quarter in range(4)]
    table = torch.stack([*turned, *(each.flip(-1) for each in turned)]).flatten(1)  # (8, side * side): pixel from where
    if x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last):
        source = table[codes][:, None].expand(count, channels, -1)  # (b, c, side * side)
        return x.flatten(2).gather(2, source).view(x.shape)
    first = side * side * torch.arange(count, device=x.device)  # pixels before each picture
    pixels = x.permute(0, 2, 3, 1).reshape(-1, channels)  # (b * side * side, c), a view
    chosen = pixels.index_select(0, (table[codes] + first[:, None]).flatten())
    return chosen.view(count, side, side, channels).permute(0, 3, 1, 2)  # (b, c, side, side)


def to_float(x: UInt8[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Levels 0 to 255 as float32 in [0, 1], in the same memory format; the values of ``images.from_uint8``."""
    return x.float().div_(255)
