"""Time KernelGAN's step composed against the step layer by layer, with everything that an estimation does besides.

Contestants take turns in one process. A turn runs an estimation for some steps, crops and bookkeeping included; what
counts is the fastest turn's time a step, as other programs only ever add to it; the processor's own time is shown, too,
which a busy machine lengthens less. Both forms run with every number of threads that ``--threads`` names, the composed
one with two at most, and are compared with the plain form's best: by the clock with the quickest, by the processor's
time with the thriftiest.
"""

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

import torch

from restore_lib import data
from restore_lib.realsr.kernel_crops import CropSampler, shaved
from restore_lib.realsr.kernelgan import KernelSettings, networks, train


def turn(image: torch.Tensor, count: int, steps: int, fast: bool, threads: int) -> tuple[float, float]:
    """Milliseconds, by the clock and of the processor, for a step of one estimation when ``count`` run together."""
    torch.set_num_threads(threads)
    settings = KernelSettings(steps=steps)
    samplers = [CropSampler(shaved(image, settings.shave), [seed], steps) for seed in range(count)]
    pairs = [networks(seed) for seed in range(count)]
    start, worked = time.perf_counter(), time.process_time()
    train(samplers, pairs, settings, fast=fast)
    passed = time.perf_counter() - start, time.process_time() - worked
    return tuple(1000 * seconds / steps / count for seconds in passed)


def main() -> None:
    """Run the contestants in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--steps", type=int, default=20, help="Of the plain form in a turn; the composed makes 10 times."
    )
    default = sorted({1, torch.get_num_threads()})
    parser.add_argument("--threads", type=int, nargs="+", default=default, help="One number after another.")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    image = data.open("embedded")[0].image[:, :300, :300]
    plain = {f"layer by layer, {n} thread{'s' * (n > 1)}": (1, options.steps, False, n) for n in options.threads}
    composed = {
        f"composed, {words}, {n} thread{'s' * (n > 1)}": (count, steps * options.steps, True, n)
        for words, count, steps in (("1 photo", 1, 10), ("4 together", 4, 4))
        for n in options.threads
        if n <= 2  # it takes no more
    }
    contestants = plain | composed
    for count, _, *form in contestants.values():
        turn(image, count, 3, *form)  # libraries choose their ways in the first calls
    times = {name: [] for name in contestants}
    for _ in range(options.rounds):
        for name, contestant in contestants.items():
            times[name].append(turn(image, *contestant))
    best = {name: [min(kind) for kind in zip(*found, strict=True)] for name, found in times.items()}
    plain_ms, plain_cpu_ms = (min(best[name][kind] for name in plain) for kind in range(2))
    rows = {}
    for name, (ms, cpu_ms) in best.items():
        rows[name] = {"ms": ms, "seconds_of_3000": 3 * ms, "speedup": plain_ms / ms, "cpu_ms": cpu_ms}
        median = statistics.median(t[0] for t in times[name])
        rows[name] |= {"median_ms": median, "cpu_speedup": plain_cpu_ms / cpu_ms}
        print(f"{name:31} {ms:7.2f} ms a step {3 * ms:6.1f} s for 3,000 {plain_ms / ms:5.1f}x", end="")
        print(f"   processor {cpu_ms:7.2f} ms {plain_cpu_ms / cpu_ms:5.1f}x")
    if options.json:
        about = {"machine": platform.machine(), "cores": os.cpu_count(), "threads": options.threads}
        about |= {"load": os.getloadavg()[0], "torch": torch.__version__, "python": platform.python_version()}
        about |= {"steps": options.steps, "rounds": options.rounds}
        options.json.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
