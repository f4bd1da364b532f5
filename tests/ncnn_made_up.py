"""Small networks written as ncnn's two files, and what ncnn's own runtime answers, where it is installed."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from restore_lib.nets.rrdbnet import RRDBNet


class Writer:
    """Lines of a .param file and bytes of a .bin file; blobs have the names of their layers."""

    def __init__(self):
        self.nodes, self.content = [], b""

    def add(self, kind: str, inputs: list[str], values: str = "") -> str:
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append((kind, name, list(inputs), values))
        return name

    def conv(self, x: str, weight, bias=None, tag: int = 0x01306B47, slope: float | None = None) -> str:
        out, _, height, width = weight.shape
        kind = "<f2" if tag == 0x01306B47 else "<f4"
        data = weight.detach().numpy().astype(kind).tobytes()
        self.content += struct.pack("<I", tag) + data + b"\0" * (-len(data) % 4)
        values = f"0={out} 1={width} 4={width // 2} 6={weight.numel()}"
        if height != width:
            values += f" 11={height} 14={height // 2}"
        if bias is not None:
            self.content += bias.detach().numpy().astype("<f4").tobytes()
            values += " 5=1"
        if slope is not None:
            values += f" 9=2 -23310=1,{slope:e}"
        return self.add("Convolution", [x], values)

    def write(self, folder: Path, stem: str = "x4") -> tuple[Path, Path]:
        uses = {}
        for _, _, inputs, _ in self.nodes:
            for blob in inputs:
                uses[blob] = uses.get(blob, 0) + 1
        lines, blobs, given = [], 0, {}
        for kind, name, inputs, values in self.nodes:
            taken = []
            for blob in inputs:  # ncnn wants a copy for each reader
                given[blob] = given.get(blob, 0) + 1
                taken.append(f"{blob}_{given[blob]}" if uses[blob] > 1 else blob)
            lines.append(f"{kind:<16} {name:<16} {len(inputs)} 1 {' '.join([*taken, name])} {values}".rstrip())
            blobs += 1
            if uses.get(name, 0) > 1:
                copies = [f"{name}_{i + 1}" for i in range(uses[name])]
                lines.append(f"{'Split':<16} {'split_' + name:<16} 1 {len(copies)} {name} {' '.join(copies)}")
                blobs += len(copies)
        folder.mkdir(parents=True, exist_ok=True)
        param, binary = folder / f"{stem}.param", folder / f"{stem}.bin"
        param.write_text("\n".join(["7767517", f"{len(lines)} {blobs}", *lines]) + "\n")
        binary.write_bytes(self.content)
        return param, binary


def write_rrdbnet(network: RRDBNet, folder: Path, stem: str = "x4") -> tuple[Path, Path]:
    """An RRDBNet as RealSR's files have it: weights of 16 bits, biases of 32."""
    file = Writer()

    def conv(x: str, layer, slope=None) -> str:
        return file.conv(x, layer.weight, layer.bias, slope=slope)

    def plus(x: str, y: str, share: float | None = None) -> str:
        y = y if share is None else file.add("BinaryOp", [y], f"0=2 1=1 2={share:e}")
        return file.add("BinaryOp", [x, y], "0=0")

    x = shallow = conv(file.add("Input", []), network.first)
    for block in network.blocks:
        y = x
        for dense in block.dense:
            seen = [y]
            for i, layer in enumerate(dense.convs):
                joined = seen[0] if i == 0 else file.add("Concat", seen)
                seen.append(conv(joined, layer, slope=0.2 if i < 4 else None))
            y = plus(y, seen[-1], 0.2)
        x = plus(x, y, 0.2)
    x = plus(shallow, conv(x, network.body))
    for up in network.ups:
        x = conv(file.add("Interp", [x], "0=1 1=2.0 2=2.0"), up, slope=0.2)
    conv(conv(x, network.detail, slope=0.2), network.last)
    return file.write(folder, stem)


def small_rrdbnet(seed: int = 0, scale: int = 4) -> RRDBNet:
    """One block, few channels; biases that 16 bits do not hold, and weights that they do."""
    generator = torch.Generator().manual_seed(seed)
    network = RRDBNet(1, 5, 3, scale)
    with torch.no_grad():
        for name, p in network.named_parameters():
            fan_in = p[0].numel()
            value = torch.randn(p.shape, generator=generator) / fan_in**0.5
            p.copy_(value.half().float() if name.endswith("weight") else 0.1 * value)
    return network.eval()


def runtime_answers(param: Path, binary: Path, image: torch.Tensor) -> list[torch.Tensor]:
    """What ncnn's own CPU runtime computes after each convolution (and the activation that belongs to it)."""
    ncnn = pytest.importorskip("ncnn", reason="ncnn's own runtime is not installed")
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "winograd_convolution"):
        setattr(net.opt, f"use_{name}", False)
    net.opt.lightmode = False
    assert net.load_param(str(param)) == 0 and net.load_model(str(binary)) == 0
    lines = [line.split() for line in param.read_text().splitlines()[2:]]
    start = next(row for row in lines if row[0] == "Input")[4]
    extractor = net.create_extractor()
    extractor.input(start, ncnn.Mat(np.ascontiguousarray(image.numpy())))
    answers = []
    for row in lines:
        if row[0] == "Convolution":
            code, blob = extractor.extract(row[4 + int(row[2])])
            assert code == 0
            answers.append(torch.from_numpy(np.array(blob)))
    return answers
