"""Arrays in MATLAB's MAT-files of version 5 (`MAT-File Format`, MathWorks), which hold published blur kernels.

SciPy's reader of them is written for trusted files: a damaged one can end the process. This one reads dense real arrays
and cells of them, asks for no more memory than ``MOST`` bytes, and raises ValueError for anything else.
"""

import math
import zlib

import numpy as np

MOST = 2**26  # bytes of a file's contents, unpacked
TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
MATRIX, COMPRESSED = 14, 15  # kinds of elements that are no plain numbers
CELL, NUMERIC = 1, range(6, 16)  # classes of arrays
COMPLEX = 0x800
DEEPEST = 4  # cells within cells


def load(content: bytes) -> list[np.ndarray]:
    """The arrays of a file, in order; a cell is an array of objects that holds arrays."""
    if content[126:128] != b"IM":
        raise ValueError("no MAT-file of version 5 in little-endian order")
    arrays, at = [], 128
    while at + 8 <= len(content):
        kind, data, at = element(content, at)
        if kind == COMPRESSED:
            packed = zlib.decompressobj()
            try:
                data = packed.decompress(data, MOST)
            except zlib.error as error:
                raise ValueError(str(error)) from error
            if packed.unconsumed_tail:
                raise ValueError(f"more than {MOST} bytes")
            kind, data, _ = element(data, 0)
        if kind == MATRIX:
            arrays.append(array(data))
    return arrays


def element(content: bytes, at: int) -> tuple[int, bytes, int]:
    """Kind and data of the element that begins at a byte, and where the next one does."""
    kind, size = (int.from_bytes(content[at + i : at + i + 4], "little") for i in (0, 4))
    start = at + 8
    if kind >> 16:  # a short one: size and kind share four bytes, the data are the next four
        kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
    data = content[start : start + size]
    if len(data) < size:
        raise ValueError("the file ends too early")
    return kind, data, start + size if kind == COMPRESSED else -(-(start + size) // 8) * 8


def array(content: bytes, depth: int = 0) -> np.ndarray:
    """The array in an element of kind ``MATRIX``."""
    _, flags, at = element(content, 0)
    _, sides, at = element(content, at)
    _, _, at = element(content, at)  # its name
    flag = int.from_bytes(flags[:4], "little")
    shape = np.frombuffer(sides, "<i4", len(sides) // 4).tolist()
    if len(shape) < 2 or min(shape) < 0:
        raise ValueError("an array without a shape")
    if flag & 0xFF == CELL and depth < DEEPEST and math.prod(shape) <= len(content):
        cell = np.empty(math.prod(shape), object)
        for i in range(len(cell)):
            _, data, at = element(content, at)
            cell[i] = array(data, depth + 1)
        return cell.reshape(shape, order="F")
    kind, data, _ = element(content, at)
    if flag & 0xFF not in NUMERIC or flag & COMPLEX or kind not in TYPES:
        raise ValueError("an array that does not hold real numbers")
    return np.frombuffer(data, f"<{TYPES[kind]}").reshape(shape, order="F")
