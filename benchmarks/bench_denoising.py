"""Time whole photos through the released denoiser: ours beside the authors' test mode, and a large photo's memory.

The authors' code runs overlapping blocks of 134 x 134 pixels, 64 apart, through the network as it is, one by one,
and averages; here it does so in plain PyTorch. Contestants take turns in one process.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from restore_lib.denoising.denoiser import BORDER, Denoiser, denoise
from restore_lib.fast.folding import folded

BLOCK, STRIDE = 134, 64


@torch.no_grad()
def in_blocks(network: nn.Module, noisy: Tensor) -> Tensor:
    """The authors' test mode: (3, H, W) by averages over blocks; the photo is filled up with its mean colour."""
    _, height, width = noisy.shape
    inside = BLOCK - 2 * BORDER
    rows, columns = (-(-max(n - inside, 0) // STRIDE) * STRIDE + inside for n in (height, width))
    filled = noisy.mean((1, 2), keepdim=True).repeat(1, rows + 2 * BORDER, columns + 2 * BORDER)
    filled[:, BORDER : BORDER + height, BORDER : BORDER + width] = noisy
    total, count = torch.zeros(3, rows, columns), torch.zeros(rows, columns)
    for top in range(0, rows - inside + 1, STRIDE):
        for left in range(0, columns - inside + 1, STRIDE):
            block = filled[None, :, top : top + BLOCK, left : left + BLOCK]  # (1, 3, 134, 134)
            place = slice(top, top + inside), slice(left, left + inside)
            total[(slice(None), *place)] += network(block)[0]
            count[place] += 1
    return (total / count)[:, :height, :width]


def large(side: tuple[int, int]) -> None:
    """Denoise one large photo and print how long it took and how much memory the process had at most."""
    network = folded(Denoiser().eval())
    photo = torch.rand(3, *side)
    start = time.perf_counter()
    denoise(network, photo)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def main() -> None:
    """Run the contestants in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--large", type=int, nargs=2, metavar=("H", "W"), help="Only this photo, in this process.")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.large:
        large(tuple(options.large))
        return
    network = Denoiser().eval()
    quick = folded(network)
    photo = torch.rand(3, 512, 768)
    contestants = {
        "blocks, as the authors test": lambda: in_blocks(network, photo),
        "whole photo": lambda: denoise(network, photo),
        "whole photo, batch norm folded": lambda: denoise(quick, photo),
        "windows of 256, folded": lambda: denoise(quick, photo, tile=256),
        "whole photo, folded, bfloat16": lambda: denoise(quick, photo, precision="bf16"),
    }
    times = {name: [] for name in contestants}
    for _ in range(options.rounds):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    plain = statistics.median(times["blocks, as the authors test"])
    rows = {}
    for name, found in times.items():
        seconds = statistics.median(found)
        rows[name] = {"seconds": seconds, "fastest": min(found), "speedup": plain / seconds}
        print(f"{name:32} {seconds:7.2f} s  {plain / seconds:5.2f}x  (fastest {min(found):.2f})")
    command = [sys.executable, __file__, "--threads", str(options.threads), "--large", "4000", "6000"]
    answer = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    print(f"24 megapixels: {answer['seconds']:.0f} s, at most {answer['peak_mb']:.0f} MB")
    if options.json:
        about = {"machine": platform.machine(), "threads": options.threads, "torch": torch.__version__}
        options.json.write_text(json.dumps({"about": about, "rows": rows, "large": answer}, indent=1) + "\n")


if __name__ == "__main__":
    main()
