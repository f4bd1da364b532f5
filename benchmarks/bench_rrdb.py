"""Time RRDBNet x4: the plain network beside its fast forms, how much they differ, and a large photo's memory.

Contestants take turns in one process, on a photo that was reduced by 4 and with the authors' weights where those have
been imported (`restore weights import realsr-df2k`).
"""

import argparse
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import torch
from timing import device_name, device_option, now
from torch import Tensor, nn
from torch.nn import functional

from restore_lib import data
from restore_lib.errors import DataError
from restore_lib.fast.tiling import OVERLAP, TILE, prepared, upscale
from restore_lib.nets.rrdbnet import RRDBNet
from restore_lib.pretrained import load_published
from restore_lib.resampling import imresize


def plain(network: RRDBNet, x: Tensor) -> Tensor:
    """The network as one writes it down from the paper: every sum and every activation a picture of its own."""
    x = shallow = network.first(x)
    for group in network.blocks:
        y = x
        for block in group.dense:
            seen = y
            for conv in block.convs[:4]:
                seen = torch.cat([seen, functional.leaky_relu(conv(seen), 0.2)], 1)
            y = y + 0.2 * block.convs[4](seen)
        x = x + 0.2 * y
    x = shallow + network.body(x)
    for up in network.ups:
        x = functional.leaky_relu(up(functional.interpolate(x, scale_factor=2)), 0.2)
    return network.last(functional.leaky_relu(network.detail(x), 0.2))


def weighted(name: str) -> tuple[nn.Module, str]:
    """The named model, or a fresh network where it has not been imported."""
    try:
        return load_published(name), name
    except DataError:
        return RRDBNet().eval(), "fresh weights"


def small_photo(side: int) -> Tensor:
    """A part of an embedded photo, reduced by 4."""
    photo = max((item.image for item in data.open("embedded")), key=lambda hr: hr[0].numel())
    return imresize(photo[:, : 4 * side, : 4 * side], scale=0.25).clamp(0, 1)


def decibel(found: Tensor, expected: Tensor) -> float:
    """PSNR for a peak of 1, nothing rounded."""
    return -10 * math.log10(max(float(((found - expected).double() ** 2).mean()), 1e-30))


def large(side: tuple[int, int], precision: str, device: str) -> None:
    """Enlarge one large photo and print how long it took and how much memory the process had at most."""
    network, photo = weighted("realsr-df2k")[0].to(device), torch.rand(3, *side)
    before, start = peak_mb(device), now(device)
    upscale(network, photo, precision=precision)
    print(json.dumps({"seconds": now(device) - start, "peak_mb": peak_mb(device), "before_mb": before}))


def peak_mb(device: str) -> float:
    """The most memory that the process has had, on the device that computes."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def seams(network: nn.Module, lr: Tensor, overlaps: list[int]) -> dict[int, float]:
    """How near windows come to the whole photo, in dB, by how far they reach into each other."""
    whole = upscale(network, lr, tile=max(lr.shape[1:]))
    half = max(lr.shape[1:]) // 2
    return {o: decibel(upscale(network, lr, tile=half + o, overlap=o), whole) for o in overlaps if o < half}


@torch.inference_mode()
def main() -> None:
    """Run the contestants in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", type=int, default=96, help="Of the small photo.")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--large", type=int, nargs=2, metavar=("H", "W"), help="Only this photo, in this process.")
    parser.add_argument("--precision", default="exact")
    parser.add_argument("--overlaps", type=int, nargs="*", default=[4, 8, 16, 24])
    parser.add_argument("--json", type=Path)
    device_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.large:
        large(tuple(options.large), options.precision, options.device)
        return
    load = os.getloadavg()[0]
    network, weights = weighted("realsr-df2k")
    network, lr = network.to(options.device), small_photo(options.side).to(options.device)
    exact, half = prepared(network), prepared(network, "bf16")
    contestants = {
        "plain": lambda: plain(network, lr[None]),
        "the network as it is": lambda: network(lr[None]),
        "exact": lambda: exact(lr[None]),
        "bf16": lambda: half(lr[None]),
    }
    answers = {name: run() for name, run in contestants.items()}  # also the first, slower run of each
    times = {name: [] for name in contestants}
    for _ in range(options.rounds):
        for name, run in contestants.items():
            start = now(options.device)
            run()
            times[name].append(now(options.device) - start)
    rows = {}
    for name, found in times.items():
        speedup = statistics.median(a / b for a, b in zip(times["plain"], found, strict=True))
        rows[name] = {"seconds": statistics.median(found), "fastest": min(found), "speedup": speedup}
        rows[name]["decibel"] = decibel(answers[name], answers["plain"])
        print(f"{name:24} {rows[name]['seconds']:7.2f} s  {speedup:5.2f}x  {rows[name]['decibel']:6.1f} dB to plain")
    near = seams(network, lr, options.overlaps)
    print("windows against the whole: " + ", ".join(f"overlap {o}: {db:.1f} dB" for o, db in near.items()))
    command = [sys.executable, __file__, "--threads", str(options.threads), "--large", "320", "480"]
    command += ["--device", options.device]
    answer = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    print(f"320 x 480: {answer['seconds']:.0f} s, at most {answer['peak_mb']:.0f} MB")
    if options.json:
        about = {
            "device": device_name(options.device),
            "machine": platform.machine(),
            "threads": options.threads,
            "torch": torch.__version__,
        }
        about |= {"weights": weights, "side": options.side, "load before": load, "tile": TILE, "overlap": OVERLAP}
        record = {"about": about, "rows": rows, "seams": near, "large": answer}
        options.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
