"""The two files in which a store keeps decoded pictures: written whole or not at all, and never trusted blindly.

``pixels.u8`` is nothing but levels, uint8, picture after picture as (height, width, RGB). ``index.json`` names the
pictures in that order, with their heights, widths and the SHA-256 of the files they come from, and vouches for the
levels by their SHA-256 and for itself by that of its own content.
"""

import contextlib
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from restore_lib import files, images
from restore_lib.data.opening import Item
from restore_lib.errors import DataError

FORMAT = 1  # of the two files: a store of another format is built anew
AT_ONCE = 16  # pictures that are decoded side by side, and wait in memory to be written
PIXELS, INDEX = "pixels.u8", "index.json"


def hash_of(item: Item) -> str:
    """SHA-256 of a picture's file."""
    try:
        return files.sha256(item.parts["image"])
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read ({error.strerror}): fetch its data set again.") from error


def levels_of(item: Item) -> np.ndarray:
    """Decode one picture to uint8 (h, w, 3)."""
    return images.to_uint8(item.image)


def write(home: Path, sources: str, items: list[Item], hashes: list[str]) -> None:
    """Decode everything into ``home``: the levels first, then the index that vouches for them."""
    shapes, digest = [], hashlib.sha256()
    try:
        # Both are written before either gets its name, the levels first: an index never vouches for what is not there.
        with files.atomic_write(home / INDEX) as index_file, files.atomic_write(home / PIXELS) as pixels_file:
            with open(pixels_file, "wb") as stream, ThreadPoolExecutor(min(AT_ONCE, os.cpu_count() or 1)) as pool:
                for start in range(0, len(items), AT_ONCE):
                    for levels in pool.map(levels_of, items[start : start + AT_ONCE]):
                        stream.write(levels.data)
                        digest.update(levels.data)
                        shapes.append(levels.shape[:2])
            rows = [[item.name, *shape, file] for item, shape, file in zip(items, shapes, hashes, strict=True)]
            index = {"format": FORMAT, "sources": sources, "sha256": digest.hexdigest(), "pictures": rows}
            index_file.write_text(json.dumps(index | {"check": _seal(index)}, indent=1), encoding="utf-8")
    except BaseException:
        with contextlib.suppress(OSError):
            home.rmdir()  # when it is empty: an older store, or one that another process finished, stays
        raise


def _seal(index: dict) -> str:
    """SHA-256 of an index's content."""
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()


def read_index(home: Path, check: bool) -> dict:
    """The index of a store whose levels are as it says; with ``check``, to the last byte. DataError otherwise."""
    problem = ""
    try:
        index = json.loads((home / INDEX).read_text(encoding="utf-8"))
        seal = index.pop("check", None) if isinstance(index, dict) else None
        if seal is None or seal != _seal(index) or index.get("format") != FORMAT:
            problem = "its index is damaged, or was written by another program"
        elif (home / PIXELS).stat().st_size != sum(3 * height * width for _, height, width, _ in index["pictures"]):
            problem = "its file of levels has the wrong length"
        elif check and not files.matches(home / PIXELS, index["sha256"]):
            problem = "its file of levels is damaged"
    except FileNotFoundError as error:
        raise DataError(f"{home} holds no decoded pictures: build the store there first.") from error
    except (OSError, ValueError) as error:  # ValueError: neither text nor JSON
        raise DataError(f"{home} cannot be read ({error}): delete it and build the store again.") from error
    if problem:
        raise DataError(f"{home} holds no good store of pictures, {problem}: delete it and build the store again.")
    return index
