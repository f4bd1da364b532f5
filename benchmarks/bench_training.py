"""Time the training loop beside a hand-written one, on the released denoiser: 32 crops of 48 x 48 pixels a step.

Contestants take turns in one process. A turn trains for some steps; what counts is the median time from one step to the
next. "of peak" is the part of the device's measured matrix-product speed that a step's multiplications reach.
"""

import argparse
import json
import platform
import statistics
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from timing import device_name, now
from torch.utils.flop_counter import FlopCounterMode

from restore_lib import data
from restore_lib.data.patches import PatchStore, augment, to_float
from restore_lib.denoising.denoiser import BORDER, Denoiser
from restore_lib.training import Task, fit
from restore_lib.training.precision import PLAIN, Speed, best_device, fastest
from restore_lib.training.recipes import Recipe

BATCH, SIZE, SIGMA = 32, 48, 25 / 255


@dataclass(frozen=True)
class Timed(Recipe):
    """The released denoiser with SGD; notes when each step begins."""

    name: str = "bench"
    steps: int = 25
    batch_size: int = BATCH
    validate_every: int = 10**9

    def task(self, seed: int) -> Task:
        """What the loop runs."""
        net, store = Denoiser(), PatchStore.build(data.open("embedded"))

        def step(run, batch):
            starts.append(now(run.device))
            clean = run.speed.layout(to_float(augment(*batch)))
            noisy = clean + SIGMA * run.randn(clean)
            loss = (run.networks["net"](noisy) - inside(clean)).square().mean()
            run.update("net", loss)
            return {"loss": loss.detach()}

        return Task(
            networks={"net": net},
            optimizers={"net": torch.optim.SGD(net.parameters(), 1e-4, momentum=0.9)},
            step=step,
            batches=lambda step, rank, world: store.crops(step, batch=BATCH, size=SIZE, seed=seed),
        )


starts: list[float] = []


def inside(x: torch.Tensor) -> torch.Tensor:
    """Without the border that the denoiser does not compute."""
    return x[..., BORDER:-BORDER, BORDER:-BORDER]


def by_hand(steps: int, device: torch.device, autocast: bool) -> None:
    """The loop that one would write without the library's: same data, same model, same optimiser."""
    net = Denoiser().to(device).train()
    optimizer = torch.optim.SGD(net.parameters(), 1e-4, momentum=0.9)
    store = PatchStore.build(data.open("embedded"))
    generator = torch.Generator(device).manual_seed(0)
    for step in range(steps):
        crops, codes = store.crops(step, batch=BATCH, size=SIZE, seed=0)
        starts.append(now(device))
        clean = to_float(augment(crops.to(device), codes.to(device))).contiguous()
        noisy = clean + SIGMA * torch.randn(clean.shape, generator=generator, device=device)
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            restored = net(noisy)
        loss = (restored.float() - inside(clean)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def by_fit(steps: int, speed: Speed) -> None:
    """The library's loop in a fresh folder."""
    with tempfile.TemporaryDirectory() as folder:
        fit(Timed(steps=steps), Path(folder) / "run", speed=speed, quiet=True)


def matmul_peak(device: torch.device, dtype: torch.dtype, n: int) -> float:
    """Best of ten products of two n x n matrices, in operations a second."""
    a = torch.randn(n, n, device=device).to(dtype)
    best = 0.0
    for _ in range(10):
        start = now(device)
        a @ a
        best = max(best, 2 * n**3 / (now(device) - start))
    return best


def step_operations() -> float:
    """Multiplications and additions of one step, forward and back."""
    net = Denoiser()
    with FlopCounterMode(display=False) as counter:
        net(torch.rand(BATCH, 3, SIZE, SIZE)).square().mean().backward()
    return counter.get_total_flops()


def main() -> None:
    """Run the contestants in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--compile", action="store_true", help="Also the library's loop with compiled networks.")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = torch.device(best_device())
    contestants = {
        "by hand, float32": lambda: by_hand(options.steps, device, False),
        "fit, options off": lambda: by_fit(options.steps, PLAIN),
        "by hand, bfloat16": lambda: by_hand(options.steps, device, True),
        "fit, options on": lambda: by_fit(options.steps, fastest(device)),
    }
    if options.compile:
        contestants["fit, options on, compiled"] = lambda: by_fit(options.steps, fastest(device, compiled=True))
    times = {name: [] for name in contestants}
    for _ in range(options.rounds):
        for name, run in contestants.items():
            starts.clear()
            run()
            times[name].append(1000 * statistics.median(b - a for a, b in pairwise(starts[4:])))
    n = 8192 if device.type == "cuda" else 2048
    peaks = {"float32": matmul_peak(device, torch.float32, n), "bfloat16": matmul_peak(device, torch.bfloat16, n)}
    operations = step_operations()
    plain = statistics.median(times["by hand, float32"])
    rows = {}
    for name, found in times.items():
        ms = statistics.median(found)
        peak = peaks["bfloat16" if "bfloat16" in name or "on" in name.split() or "on," in name else "float32"]
        reached = operations / (ms / 1000) / peak
        rows[name] = {"ms": ms, "fastest_ms": min(found), "speedup": plain / ms, "of_peak": reached}
        print(f"{name:26} {ms:8.1f} ms  {plain / ms:5.2f}x  {100 * reached:5.1f} % of peak  (fastest {min(found):.1f})")
    for name, peak in peaks.items():
        print(f"matrix product in {name}: {peak / 1e9:.0f} GFLOP/s; a step has {operations / 1e9:.1f} GFLOP")
    if options.json:
        about = {"device": device_name(device), "machine": platform.machine(), "threads": torch.get_num_threads()}
        about |= {"torch": torch.__version__, "python": platform.python_version(), "steps": options.steps}
        options.json.write_text(json.dumps({"about": about, "rows": rows, "peaks": peaks}, indent=1) + "\n")


if __name__ == "__main__":
    main()
