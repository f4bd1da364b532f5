"""Compare ZSSR's published schedule with the quick one: PSNR of the same photos, and time.

Time is by the clock and of the processor, which says more on a busy machine.

Photos are made small by a random kernel, rounded to 8 bits, or bicubically; each is enlarged twice by every form:
``full`` (published, float32), ``full mixed`` (published, in bfloat16 where the processor has it) and ``quick``. Results
are written after every photo, and those that a file holds already are not computed again: a comparison of hours can be
taken up where it stopped.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from restore_lib import data, metrics
from restore_lib.files import atomic_write
from restore_lib.realsr.kernels import random_kernel
from restore_lib.realsr.zssr import (
    BICUBIC,
    GIVEN_KERNEL,
    K_ZSSR,
    ZSSRNet,
    ZSSRSettings,
    enlarge,
    father,
    quick,
    train,
    zssr,
)
from restore_lib.resampling import downscale, imresize

USES = {"bicubic": BICUBIC, "given kernel": GIVEN_KERNEL, "k-zssr": K_ZSSR}
RULE = metrics.Protocol(channels="y", border=2, quantize=True)


def forms(settings: ZSSRSettings) -> dict[str, ZSSRSettings]:
    """Each form of a published use."""
    return {"full": settings, "full mixed": replace(settings, mixed=True), "quick": quick(settings)}


def photo(name: str) -> torch.Tensor:
    """``embedded:astronaut`` or ``bsds500-val:4``, sides cut to multiples of 4."""
    where, _, which = name.partition(":")
    if where == "embedded":
        image = {item.name: item.image for item in data.open("embedded")}[which][:, :500, :500]
    else:
        image = data.open(*where.split("-"))[int(which)].image
    height, width = (side // 4 * 4 for side in image.shape[1:])
    return image[:, :height, :width]


def reduced(image: torch.Tensor, use: str, seed: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The small photo in 8 bits, and the kernel that made it."""
    kernel = None if use == "bicubic" else random_kernel(torch.Generator().manual_seed(seed), 2)
    small = imresize(image, scale=1 / 2) if kernel is None else downscale(image, kernel, 2, align=False)
    return (255 * small.clamp(0, 1)).round() / 255, kernel


def rows(options: argparse.Namespace, known: list[dict]) -> Iterator[dict]:
    """One row for each photo, use and form that is not known yet."""
    done = {(row["photo"], row["use"], row["form"]) for row in known}
    for number, name in enumerate(options.photos):
        for use in options.uses:
            for form in options.forms:
                if (name, use, form) in done:
                    continue
                image = photo(name)
                small, kernel = reduced(image, use, 100 + number)
                settings = forms(USES[use])[form]
                clock, worked = time.perf_counter(), time.process_time()
                found = zssr(small, (2,), [kernel], settings)
                row = {"photo": name, "size": list(small.shape[1:]), "use": use, "form": form}
                row |= {"seconds": time.perf_counter() - clock, "cpu_seconds": time.process_time() - worked}
                row |= {"steps": len(found.jumps[0].losses), "psnr_y": metrics.psnr(found.sr, image, RULE)}
                large = imresize(small, scale=2).clamp(0, 1)
                yield row | {"interpolated": metrics.psnr(large, image, RULE), "load": os.getloadavg()[0]}


def step_times(rounds: int) -> dict[str, float]:
    """Milliseconds of processor time for one step of each form, the least of some rounds."""
    small = photo("embedded:astronaut")[:, :250, :250]
    best = {}
    for _ in range(rounds):
        for form, settings in forms(K_ZSSR).items():
            few = replace(settings, steps=10, test_every=1000)
            worked = time.process_time()
            train(ZSSRNet(), [father(small, few)], 2, None, few, np.random.default_rng(0))
            milliseconds = 100 * (time.process_time() - worked)
            best[form] = min(best.get(form, milliseconds), milliseconds)
    return best


def bfloat16_costs(name: str = "embedded:astronaut") -> float:
    """PSNR in dB that bfloat16 takes from the last pass of a network that has learned some."""
    image = photo(name)
    small, kernel = reduced(image, "k-zssr", 100)
    settings = replace(quick(K_ZSSR), steps=300)
    torch.manual_seed(0)
    net = ZSSRNet()
    train(net, [father(small, settings)], 2, kernel, settings, np.random.default_rng(0))
    exact, mixed = (
        metrics.psnr(enlarge(net, small, 2, kernel, replace(settings, mixed=m)), image, replace(RULE, quantize=False))
        for m in (False, True)
    )
    return exact - mixed


def main() -> None:
    """Compute what is missing, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", nargs="+", default=["embedded:astronaut"])
    parser.add_argument("--uses", nargs="+", choices=USES, default=["k-zssr"])
    parser.add_argument("--forms", nargs="+", choices=["full", "full mixed", "quick"], default=["full mixed", "quick"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", action="store_true", help="Time single steps, and what bfloat16 costs, too.")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    content = {"about": {}, "rows": []}
    if options.json and options.json.is_file():
        content = json.loads(options.json.read_text())
    about = {"machine": platform.machine(), "cores": os.cpu_count(), "threads": options.threads}
    content["about"] = about | {"torch": torch.__version__, "python": platform.python_version()}

    def save() -> None:
        if options.json:
            with atomic_write(options.json) as path:
                path.write_text(json.dumps(content, indent=1) + "\n")

    if options.steps:
        content["step_cpu_ms"], content["bfloat16_costs_db"] = step_times(5), bfloat16_costs()
        print(content["step_cpu_ms"], f"bfloat16 in the last pass costs {content['bfloat16_costs_db']:.4f} dB")
        save()
    for row in rows(options, content["rows"]):
        content["rows"].append(row)
        save()
    for row in content["rows"]:
        print(f"{row['photo']:20} {row['use']:12} {row['form']:10} {row['psnr_y']:6.2f} dB", end="")
        print(f" (interpolated {row['interpolated']:.2f}) {row['steps']:5} steps", end="")
        print(f" {row['seconds']:7.1f} s, of the processor {row['cpu_seconds']:7.1f} s")


if __name__ == "__main__":
    main()
