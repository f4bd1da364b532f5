"""Time ``restore_lib.resampling`` beside Pillow's bicubic, on a 2-megapixel RGB image.

The contestants of a row run in turns, in one process, so that whatever else the computer does hits all of them.
Pillow resizes uint8 RGB on one thread, always; torch uses the number of threads in the first column.
"""

import argparse
import json
import platform
import statistics
import time

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from PIL import __version__ as pillow_version

from restore_lib.resampling import downscale, imresize, resize_antialiased

HEIGHT, WIDTH = 1224, 1632
SCALES = {"x1/4": 1 / 4, "x1/3": 1 / 3, "x1/2": 1 / 2, "x0.37": 0.37, "x1.7": 1.7, "x2": 2, "x3": 3}
KERNELS = {"11x11, x1/2": (11, 2), "21x21, x1/4": (21, 4), "31x31, x1/4": (31, 4)}


def in_turns(contestants: dict, rounds: int) -> dict:
    """Milliseconds of each contestant, minimum and median over ``rounds`` turns after one to warm up."""
    times = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            if turn:
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: {"min": min(values), "median": statistics.median(values)} for name, values in times.items()}


def resizing(image: Image.Image, rounds: int) -> dict:
    """All ways to resize, for each scale."""
    levels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()  # (3, h, w)
    x = levels.float() / 255
    rows = {}
    for name, scale in SCALES.items():
        size = imresize(x[:1], scale=scale).shape[-2:]
        leaf = x.clone().requires_grad_()
        y = imresize(leaf, scale=scale)
        ones = torch.ones_like(y)
        rows[name] = in_turns(
            {
                "Pillow": lambda size=size: image.resize(size[::-1], Image.Resampling.BICUBIC),
                "imresize": lambda scale=scale: imresize(x, scale=scale),
                "imresize uint8": lambda scale=scale: imresize(levels, scale=scale),
                "resize_antialiased uint8": lambda size=size: resize_antialiased(levels, size),
                "torch interpolate": lambda size=size: F.interpolate(x[None], size, mode="bicubic", antialias=True),
                "imresize backward": lambda y=y, leaf=leaf, g=ones: torch.autograd.grad(y, leaf, g, retain_graph=True),
            },
            rounds,
        )
    return rows


def blurring(image: Image.Image, rounds: int) -> dict:
    """Correlation with a kernel and subsampling."""
    x = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    rows = {}
    for name, (cells, scale) in KERNELS.items():
        kernel = torch.hann_window(cells + 2, periodic=False)[1:-1]
        kernel = kernel[:, None] * kernel / kernel.sum() ** 2
        run = {"downscale": lambda kernel=kernel, scale=scale: downscale(x, kernel, scale)}
        rows[name] = in_turns(run, rounds)
    return rows


def table(threads: int, rows: dict) -> str:
    """One line for each row: the minimum of each contestant, and its ratio to Pillow where Pillow runs."""
    lines = [f"{threads} thread{'s'[: threads > 1]}, milliseconds (minimum)"]
    for name, results in rows.items():
        cells = []
        for contestant, times in results.items():
            ratio = f" ({times['min'] / results['Pillow']['min']:.2f})" if "Pillow" in results else ""
            cells.append(f"{contestant} {times['min']:.1f}{ratio if contestant != 'Pillow' else ''}")
        lines.append(f"  {name:12s} " + "  |  ".join(cells))
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="turns of each contestant (default 9)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="torch's threads (default 1 2)")
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    options = parser.parse_args()
    levels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    image = Image.fromarray(levels)
    report = {
        "image": [HEIGHT, WIDTH, 3],
        "unit": "ms",
        "torch": torch.__version__,
        "pillow": pillow_version,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": {},
    }
    for threads in options.threads:
        torch.set_num_threads(threads)
        rows = {**resizing(image, options.rounds), **blurring(image, options.rounds)}
        report["threads"][threads] = rows
        print(table(threads, rows), flush=True)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as stream:
            json.dump(report, stream, indent=2)


if __name__ == "__main__":
    main()
