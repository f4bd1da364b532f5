"""Weights out of ncnn's files: ``NAME.param`` lists layers as text, ``NAME.bin`` holds their numbers in the same order.

RealSR's and Real-ESRGAN's networks travel in this form. Only convolutions and layers without weights are read.
"""

import io
import math
import sys
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from restore_lib.errors import CheckpointError
from restore_lib.nets.rrdbnet import RRDBNet

NCNN = (".param", ".bin")
MAGIC = "7767517"  # first line of a .param file
HALF, SINGLE = 0x01306B47, (0, 0x0002C056)  # what stands before weights of 16 and of 32 bits
CONVOLUTION = "Convolution"
WEIGHTLESS = {"BinaryOp", "Concat", "Eltwise", "Input", "Interp", "Padding", "PixelShuffle", "ReLU", "Split"}


class Convolution(NamedTuple):
    """One convolution of a file, in float32 and with PyTorch's order of dimensions."""

    name: str
    weight: Float[Tensor, "o i kh kw"]
    bias: Float[Tensor, " o"] | None


def file_pair(path: Path) -> tuple[Path, Path]:
    """Both files of a network, from either; endings in capitals where the given one is."""
    param, binary = (path.with_suffix(ending.upper() if path.suffix.isupper() else ending) for ending in NCNN)
    return param, binary


def read_ncnn(param: str | PathLike, binary: str | PathLike) -> list[Convolution]:
    """All convolutions of a network, in the order of its files; every byte of both must make sense.

    CheckpointError where a file is missing, truncated, of another kind or network, or has other layers with weights.
    """
    param, binary = Path(param), Path(binary)
    layers = list(_layers(param))
    try:
        content = io.BytesIO(binary.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{binary} cannot be read ({error.strerror}): give both files of the network.") from error
    convolutions = [_convolution(name, values, content, binary) for kind, name, values in layers if kind == CONVOLUTION]
    if rest := content.read():
        raise CheckpointError(
            f"{binary} has {len(rest):,} bytes more than {param.name} lists: give the two files of one network."
        )
    if not convolutions:
        raise CheckpointError(f"{param} lists no convolution: give the files of a network that restores pictures.")
    return convolutions


def rrdbnet_from_ncnn(param: str | PathLike, binary: str | PathLike) -> RRDBNet:
    """The RRDBNet in a file pair such as RealSR's and Real-ESRGAN's, as large as its weights, in evaluation mode.

    CheckpointError as for :func:`read_ncnn`, or where the network is no RRDBNet.
    """
    convolutions = read_ncnn(param, binary)
    blocks, ups = divmod(len(convolutions) - 4, 15)  # 15 in a block; 4 others beside those that enlarge
    growth = len(convolutions[1].weight) if len(convolutions) > 1 else 0
    wrong = CheckpointError(
        f"{param} is no RRDBNet of 3 x 3 convolutions ({len(convolutions)} of them): give the x4 files of RealSR or "
        "Real-ESRGAN."
    )
    if blocks < 1 or ups > 2:
        raise wrong
    with torch.device("meta"):  # shapes alone: every value comes from the file
        network = RRDBNet(blocks, len(convolutions[0].weight), growth, 2**ups)
    own = network.state_dict()
    layers = [name.removesuffix(".weight") for name in own if name.endswith(".weight")]
    state = {}
    for layer, (_, weight, bias) in zip(layers, convolutions, strict=True):
        if bias is None or weight.shape != own[f"{layer}.weight"].shape:
            raise wrong
        state |= {f"{layer}.weight": weight, f"{layer}.bias": bias}
    network.load_state_dict(state, assign=True)
    return network.eval()


def _layers(param: Path) -> Iterator[tuple[str, str, dict[int, float]]]:
    """Kind, name and numbers of each layer, in order."""
    try:
        lines = param.read_text(encoding="ascii").split("\n")
    except OSError as error:
        raise CheckpointError(f"{param} cannot be read ({error.strerror}): give both files of the network.") from error
    except UnicodeDecodeError:
        lines = []
    if not lines or lines[0].strip() != MAGIC:
        raise CheckpointError(f"{param} is no list of layers of ncnn (it begins otherwise): give the .param file.")
    rows = [line.split() for line in lines[2:] if line.strip()]
    counts = lines[1].split() if len(lines) > 1 else []
    if len(counts) != 2 or not all(word.isdigit() for word in counts) or int(counts[0]) != len(rows):
        announced = counts[0] if counts else "no"
        raise CheckpointError(
            f"{param} lists {len(rows)} layers where it announces {announced}: it is damaged, fetch it again."
        )
    for row in rows:
        try:
            kind, name, inputs, outputs = row[0], row[1], int(row[2]), int(row[3])
            values = dict(_value(word) for word in row[4 + inputs + outputs :])
        except (IndexError, ValueError) as error:
            raise CheckpointError(f"{param} is damaged in the line of {' '.join(row[:2])}: fetch it again.") from error
        if kind not in WEIGHTLESS | {CONVOLUTION}:
            raise CheckpointError(f"{param} has a layer {kind}, which is not read here: give another network.")
        yield kind, name, values


def _value(word: str) -> tuple[int, float]:
    """``6=1728`` is number 6 of a layer; lists (``-23310=1,0.2``) belong to activations, and their length will do."""
    key, value = word.split("=")
    number = float(value.split(",")[0])
    if not math.isfinite(number):
        raise ValueError(f"{word} is not finite")
    return int(key), number


def _convolution(name: str, values: dict[int, float], content: io.BytesIO, path: Path) -> Convolution:
    """The convolution whose numbers come next."""

    def numbers(count: int, kind: str) -> Tensor:
        size = -(-np.dtype(kind).itemsize * count // 4) * 4  # groups of four bytes
        found = content.read(min(size, sys.maxsize))
        if len(found) < size:
            raise CheckpointError(f"{path} ends before the weights of {name} do: it is truncated, fetch it again.")
        values = torch.from_numpy(np.frombuffer(found, kind, count).astype(np.float32))
        if not torch.isfinite(values).all():
            raise CheckpointError(f"{path}: {name} has numbers that are not finite; it is damaged, fetch it again.")
        return values

    out, width, count = (int(values.get(key, 0)) for key in (0, 1, 6))
    height = int(values.get(11, width))
    area = out * width * height
    if min(out, width, height) < 1 or count < 1 or count % area or values.get(8):
        raise CheckpointError(f"{path}: the list of layers gives {name} impossible sizes; fetch both files again.")
    head = content.read(4)
    if len(head) < 4:
        raise CheckpointError(f"{path} ends before the weights of {name} do: it is truncated, fetch it again.")
    tag = int.from_bytes(head, "little")
    if tag != HALF and tag not in SINGLE:
        raise CheckpointError(
            f"{path} holds no 16- or 32-bit weights where {name} begins (tag 0x{tag:08X}): it is damaged, or of "
            "another network or kind."
        )
    weight = numbers(count, "<f2" if tag == HALF else "<f4").reshape(out, count // area, height, width)
    return Convolution(name, weight, numbers(out, "<f4") if values.get(5) else None)
