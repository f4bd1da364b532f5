"""Time a training step of the recipes `diinn`, `liif` and `metasr`, beside steps as the official codes make them.

A step is forward, loss, back and update of the whole network at tier cpu: 3 photos at x2, x3 and x4. "Plain" runs
every layer of the decoder at every pixel of the crops, in float32. Contestants take turns in one process on the same
batch; what counts is the fastest turn. Printed, too: how far the gradient of all pixels is from the plain one.
"""

import argparse
import json
import platform
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from timing import device_name, device_option, now
from torch import Tensor, nn

from restore_lib.data.patches import to_float
from restore_lib.fast.decoders import decode
from restore_lib.implicit.recipes import AnyScaleRecipe
from restore_lib.pretrained import build
from restore_lib.recipes import find
from restore_lib.training import at_tier

Batch = tuple[Tensor, ...]


def whole(network: nn.Module, batch: Batch, decode: Callable) -> Tensor:
    """The loss on all pixels of the crops, scale by scale."""
    lr, *groups = batch
    losses = []
    for small, hr in zip(lr.split(len(groups[0])), groups, strict=True):
        feature = network.encoder(network.normalise(to_float(small))).float()
        losses.append((decode(feature, hr.shape[2:]).float() - network.normalise(to_float(hr))).abs().mean())
    return sum(losses) / len(losses)


def some(network: nn.Module, batch: Batch) -> Tensor:
    """The loss on some pixels of each crop, as the recipe has it."""
    lr, sizes, pixels, colours = batch
    return 2 * (network(to_float(lr), sizes.tolist(), pixels).float() - to_float(colours)).abs().mean()


def contestants(recipe: AnyScaleRecipe, device: str) -> dict[str, Callable[[bool], Tensor]]:
    """Steps by name; each updates weights only when told to, and returns loss and gradients in one row."""
    torch.manual_seed(0)
    network = build(recipe.architecture()).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), 0.0, fused=True)
    photos, crop, scales = recipe.batch_size, recipe.crop, recipe.scales
    levels = partial(torch.randint, 256, dtype=torch.uint8, device=device)
    groups = [levels((photos, 3, s * crop, s * crop)) for s in scales]
    lr = levels((photos * len(scales), 3, crop, crop))
    sizes = torch.tensor([group.shape[2:] for group in groups for _ in range(photos)])
    pixels = torch.stack([torch.randperm(h * w)[: recipe.queries].sort().values for h, w in sizes.tolist()]).to(device)
    each = [picture for group in groups for picture in group]
    colours = torch.stack([picture.flatten(1)[:, asked] for picture, asked in zip(each, pixels, strict=True)])

    def step(loss: Callable[[], Tensor], half: bool = False) -> Tensor:
        optimizer.zero_grad()
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=half):
            found = loss()
        found.backward()
        optimizer.step()
        return torch.cat([found.detach()[None], *(p.grad.flatten() for p in network.parameters())])

    def all_of(decode: Callable) -> Callable[[], Tensor]:
        return lambda: whole(network, (lr, *groups), decode)

    def few() -> Tensor:
        return some(network, (lr, sizes, pixels, colours))

    return {
        "plain": lambda: step(all_of(network.decoder)),
        "all pixels": lambda: step(all_of(partial(decode, network.decoder))),
        "all pixels, bfloat16": lambda: step(all_of(partial(decode, network.decoder)), True),
        f"{recipe.queries} pixels": lambda: step(few),
        f"{recipe.queries} pixels, bfloat16": lambda: step(few, True),
    }


def race(steps: dict[str, Callable], rounds: int, device: str) -> dict[str, dict[str, float]]:
    """Fastest turns in milliseconds, and how far the exact gradient is from the plain one."""
    found = {name: step() for name, step in steps.items()}  # also warms up
    times = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            start = now(device)
            step()
            times[name].append(1000 * (now(device) - start))
    rows = {name: {"ms": min(taken), "speedup": min(times["plain"]) / min(taken)} for name, taken in times.items()}
    gradient, expected = found["all pixels"][1:], found["plain"][1:]
    rows["all pixels"]["difference"] = float((gradient - expected).abs().max() / expected.abs().max())
    return rows


def main() -> None:
    """Run all and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    device_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    result = {}
    for name in ("diinn", "liif", "metasr"):
        result[name] = race(contestants(at_tier(find(name), "cpu"), options.device), options.rounds, options.device)
        for way, row in result[name].items():
            away = f"  difference {row['difference']:.0e}" if "difference" in row else ""
            print(f"{name:7} {way:22} {row['ms']:8.1f} ms  {row['speedup']:5.2f}x{away}", flush=True)
    if options.json:
        about = {
            "device": device_name(options.device),
            "machine": platform.machine(),
            "threads": options.threads,
            "rounds": options.rounds,
        }
        about |= {"torch": torch.__version__, "python": platform.python_version()}
        options.json.write_text(json.dumps({"about": about, **result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
