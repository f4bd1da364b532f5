"""Predict what training costs on a GPU, from kernels and bytes: `python benchmarks/cost.py --device h200`.

A step takes as long as the slowest of three: the GPU's multiplications at the share of its peak that training reaches,
the bytes that kernels read and write at the memory's speed, and the launches, which the processor makes one by one. A
loader that is slower than the step is what the step waits for. Printed for one recipe of each kind: minutes of a run,
and how many batches the loader's thread makes in the time of a step.
"""

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from restore_lib.recipes import RECIPES
from restore_lib.training import Recipe, at_tier
from restore_lib.training.precision import Speed
from restore_lib.training.task import Run

REPRESENTATIVE = ("small-denoiser", "denoiser-25", "diinn", "liif", "metasr", "liif-continuous", "edsr-l1-bicubic")
REPRESENTATIVE += ("rrdb-l1-bicubic", "rrdb-gan-bicubic", "dsgan")
SMALL = {"world": "embedded", "sources": 2, "kernels": "true", "kernel_photos": 2, "start": "", "features": "untrained"}
SMALL |= {"dataset": "embedded", "split": "", "also": "", "held": 2, "perceptual_weight": 0.0}


@dataclass(frozen=True)
class GPU:
    """A card by its data sheet, and what of it training reaches."""

    flops: float  #: a second, dense, in the number format that training takes
    bytes: float  #: a second
    reached: float = 0.35  #: of the multiplications, by convolutions of 32 to 256 channels
    launch: float = 7e-6  #: seconds, from Python, forward and back


GPUS = {
    "h200": GPU(989e12, 4.8e12),  # bfloat16
    "a100": GPU(312e12, 2.0e12),
    "t4": GPU(65e12, 0.32e12),  # float16
}


class Work(TorchDispatchMode):
    """Counts kernels, and the bytes that they read and write."""

    def __init__(self):
        super().__init__()
        self.launches, self.bytes = 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if not (function.is_view or function._schema.name.startswith(("aten::empty", "aten::detach"))):
            self.launches += 1
            tensors = torch.utils._pytree.tree_leaves((args, kwargs, out))
            self.bytes += sum(x.numel() * x.element_size() for x in tensors if isinstance(x, torch.Tensor))
        return out


@dataclass(frozen=True)
class Cost:
    """Of one step."""

    flops: float
    bytes: float
    launches: int
    loader: float  #: seconds of one thread for a batch

    def seconds(self, gpu: GPU) -> float:
        """How long a step takes on a GPU, if nothing else is in its way."""
        # bfloat16 halves the bytes of activations
        return max(self.flops / (gpu.flops * gpu.reached), self.bytes / 2 / gpu.bytes, self.launches * gpu.launch)

    def minutes(self, gpu: GPU, steps: int) -> float:
        """Of a run, the loader included."""
        return steps * max(self.seconds(gpu), self.loader) / 60


def cost(recipe: Recipe, part: int = 16) -> Cost:
    """Count one step of a recipe on the CPU with a ``part`` of its batch, and time its loader."""
    small = max(1, recipe.batch_size // part)
    present = recipe.__dataclass_fields__
    changes = {name: value for name, value in SMALL.items() if name in present}
    whole = replace(recipe, **changes)
    few = replace(whole, batch_size=small)
    run = Run(few.task(0), Fabric(accelerator="cpu", devices=1), Speed(fused=True), 0)
    run.step = 1
    batch = run.task.batches(1, 0, 1)
    with FlopCounterMode(display=False) as flops, Work() as work:
        run.task.step(run, batch)
        run.update_averages()
    loader = whole.task(0).batches
    loader(1, 0, 1)
    begun = time.perf_counter()
    for step in range(2, 5):
        loader(step, 0, 1)
    seconds = (time.perf_counter() - begun) / 3
    scale = recipe.batch_size / small
    return Cost(flops.get_total_flops() * scale, work.bytes * scale, work.launches, seconds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=GPUS, default="h200")
    parser.add_argument("--tier", default="gpu")
    parser.add_argument("--recipes", nargs="*", default=REPRESENTATIVE)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    gpu, rows = GPUS[options.device], {}
    print("recipe             TFLOP  GB moved  launches  step/ms  loader/ms  batches a step  steps    minutes")
    for name in options.recipes:
        recipe = at_tier(RECIPES[name], options.tier)
        found = cost(recipe)
        step, minutes = found.seconds(gpu), found.minutes(gpu, recipe.steps)
        rows[name] = {"step": step, "minutes": minutes, **found.__dict__}
        print(
            f"{name:18} {found.flops / 1e12:5.2f} {found.bytes / 1e9:9.1f} {found.launches:9d} {1000 * step:8.1f} "
            f"{1000 * found.loader:10.1f} {step / found.loader:15.2f} {recipe.steps:7,} {minutes:9.0f}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps({"device": options.device, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
