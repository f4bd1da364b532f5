"""How far can KernelGAN be trusted? Photos reduced with known kernels, several seeds, every constraint left out."""

import hashlib
import statistics
import time
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from restore_lib import data, files, metrics, tiers
from restore_lib.experiments import runs
from restore_lib.experiments.records import Measurement, RunRecord, measurement, save
from restore_lib.realsr.kernelgan import KernelSettings, estimate_kernels
from restore_lib.realsr.kernels import KernelEstimate, KernelWarning, bicubic_kernel, kernel_error, random_kernel
from restore_lib.resampling import align_kernel, downscale

PROTOCOL = "known-kernels"
SETS = ("div2krk", "kodak24")
EVERY = 6  # of Kodak's photos, every sixth
SEEDS, ABLATION_SEEDS = range(5), range(3)
RESTARTS = 4
RULES = {
    "photos": "DIV2KRK's own LR images; every sixth photo of Kodak, reduced by 2 with a random kernel and rounded",
    "random kernels": "rough anisotropic Gaussians as DIV2KRK's, by the generator of its authors; one for each photo",
    "kernel error": "sum of absolute differences, both kernels normalised and aligned; 0 to 2",
    "PSNR": "of the photo reduced with the estimated kernel, against the LR image, without a border of 8 pixels",
    "median, worst": "over the photos of the set, then the mean over seeds",
    "distrusted": "share of kernels that come with a warning",
}

SINGLE = KernelSettings()
METHODS: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "kernelgan": (1, "average"),
        f"kernelgan-average-of-{RESTARTS}": (RESTARTS, "average"),
        f"kernelgan-best-of-{RESTARTS}": (RESTARTS, "choice"),
    }
)
"""Restarts of each method, and what becomes of several kernels."""
ABLATION: Mapping[str, KernelSettings] = MappingProxyType(
    {
        "kernelgan-eq4": replace(SINGLE, form="realsr"),
        "kernelgan-defects": replace(SINGLE, official_defects=True),
        "kernelgan-never-switches": replace(SINGLE, threshold=-1.0),
        "kernelgan-no-bicubic": replace(SINGLE, bicubic=0.0),
        "kernelgan-no-sum": replace(SINGLE, sum=0.0),
        "kernelgan-no-boundaries": replace(SINGLE, boundaries=0.0),
        "kernelgan-no-centre": replace(SINGLE, centre=0.0),
        "kernelgan-no-sparse": replace(SINGLE, sparse=0.0),
    }
)
TITLES = {
    "bicubic-kernel": "bicubic kernel assumed",
    "kernelgan": "KernelGAN, one run",
    f"kernelgan-average-of-{RESTARTS}": "KernelGAN, average of four runs",
    f"kernelgan-best-of-{RESTARTS}": "KernelGAN, four runs and a choice",
    "kernelgan-eq4": "RealSR's Eq. 4",
    "kernelgan-defects": "released code with its defects",
    "kernelgan-never-switches": "first phase only",
    "kernelgan-no-bicubic": "without the bicubic anchor",
    "kernelgan-no-sum": "without the sum",
    "kernelgan-no-boundaries": "without the boundaries",
    "kernelgan-no-centre": "without the centre",
    "kernelgan-no-sparse": "without sparsity",
}


@dataclass(frozen=True)
class Known:
    """A photo, what it became, and by which kernel."""

    name: str
    hr: Float[Tensor, "3 _ _"]
    lr: Float[Tensor, "3 _ _"]
    kernel: Float[Tensor, "_ _"]


@dataclass(frozen=True)
class Found:
    """What is kept of an estimate: the kernel, the raw kernel's sum and centre, and whether it was trusted."""

    kernel: Float[Tensor, "_ _"]
    sum: float
    centre: tuple[float, float]
    switch_step: int | None
    sound: bool


def known_kernels(dataset: str) -> list[Known]:
    """Photos whose kernel for x2 is known: DIV2KRK's, or Kodak's reduced here."""
    pictures = data.open(dataset)
    if dataset == "div2krk":
        return [
            Known(item.name, item.image, item.read("lr_x2"), align_kernel(item.read("kernel_x2").double(), 2))
            for item in pictures
        ]
    chosen = [item for i, item in enumerate(pictures, 1) if i % EVERY == 0]
    kernels = [random_kernel(torch.Generator().manual_seed(i)) for i in range(len(chosen))]
    return [
        Known(item.name, item.image, reduced(item.image, kernel), kernel)
        for item, kernel in zip(chosen, kernels, strict=True)
    ]


def reduced(hr: Float[Tensor, "3 h w"], kernel: Float[Tensor, "_ _"]) -> Float[Tensor, "3 oh ow"]:
    """A photo reduced by 2 with an aligned kernel, in 8 bit as photos are stored."""
    return (downscale(hr, kernel.to(hr), 2, align=False).clamp(0, 1) * 255).round() / 255


def estimated(
    images: Sequence[Float[Tensor, "3 _ _"]],
    settings: KernelSettings = SINGLE,
    *,
    seed: int = 0,
    restarts: int = 1,
    rule: str = "average",
    progress: Callable[[int, int], None] | None = None,
) -> list[Found]:
    """Kernels for x2 of several photos, each kept in the cache under a hash of photo, settings and seed.

    Parameters
    ----------
    images, settings, seed, restarts, rule, progress
        As for :func:`restore_lib.realsr.kernelgan.estimate_kernels`.
    """
    paths = [_cached(image, settings, seed, restarts, rule) for image in images]
    missing = [i for i, path in enumerate(paths) if _load(path) is None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KernelWarning)  # it is a column of the table
        for i in range(0, len(missing), 4):
            part = missing[i : i + 4]
            made = estimate_kernels(
                [images[j] for j in part], 2, seed, restarts, rule=rule, settings=settings, progress=progress
            )
            for j, estimate in zip(part, made, strict=True):
                _store(paths[j], estimate)
    return [_load(path) for path in paths]


def _cached(image: Tensor, settings: KernelSettings, seed: int, restarts: int, rule: str) -> Path:
    several = f"{restarts} {rule}" if restarts > 1 else "1"
    content = hashlib.sha256(f"{settings} {seed} {several} {tuple(image.shape)}".encode())
    content.update(image.contiguous().numpy().tobytes())
    return files.cache_folder() / "kernelgan" / f"{content.hexdigest()[:32]}.npz"


def _store(path: Path, estimate: KernelEstimate) -> None:
    about = estimate.diagnostics
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic_write(path) as temporary, Path(temporary).open("wb") as out:
        np.savez(
            out,
            kernel=estimate.kernel.numpy(),
            sum=about.sum,
            centre=about.centre,
            switch_step=-1 if about.switch_step is None else about.switch_step,
            sound=not about.problems,
        )


def _load(path: Path) -> Found | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            switch = int(kept["switch_step"])
            return Found(
                torch.from_numpy(kept["kernel"]),
                float(kept["sum"]),
                tuple(kept["centre"].tolist()),
                None if switch < 0 else switch,
                bool(kept["sound"]),
            )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def measure(known: Sequence[Known], found: Sequence[Found], steps: int) -> list[Measurement]:
    """Every metric of the table; a kernel that never entered the second phase counts as switching at the end."""
    rule = metrics.Protocol(channels="rgb", border=8, quantize=True)
    each = {
        "kernel_error": [kernel_error(f.kernel, k.kernel) for k, f in zip(known, found, strict=True)],
        "psnr": [metrics.psnr(reduced(k.hr, f.kernel), k.lr, rule) for k, f in zip(known, found, strict=True)],
        "off_centre": [max(abs(c - 6.5) for c in f.centre) for f in found],
        "sum": [f.sum for f in found],
        "switch_step": [float(steps if f.switch_step is None else f.switch_step) for f in found],
        "distrusted": [float(not f.sound) for f in found],
    }
    whole = {
        "kernel_error_median": statistics.median(each["kernel_error"]),
        "kernel_error_worst": max(each["kernel_error"]),
        "psnr_worst": min(each["psnr"]),
    }
    return [measurement("x2", metric, values) for metric, values in each.items()] + [
        Measurement("x2", metric, round(float(value), 6)) for metric, value in whole.items()
    ]


def kernel_tables(
    folder: Path | str,
    *,
    sets: Iterable[str] | None = None,
    tier: str | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> list[Path]:
    """Every method with every seed on photos of known kernels; then each constraint left out. As for `runs.bicubic`.

    Estimates are kept in the cache: stopped at any time, the same command goes on.

    Raises
    ------
    DataError
        The photos are not on this computer.
    """
    sets = list(sets or SETS)
    tier = tier or tiers.current()
    quick = tier == "smoke"
    known = {name: known_kernels(name)[: 1 if quick else None] for name in sets}
    jobs = [(name, SINGLE, *METHODS[name], seed) for seed in SEEDS for name in METHODS]
    jobs += [(name, settings, 1, "average", seed) for seed in ABLATION_SEEDS for name, settings in ABLATION.items()]
    if quick:
        jobs = [(name, replace(s, steps=3), min(restarts, 2), rule, 0) for name, s, restarts, rule, _ in jobs[:3]]
    total, written = sum(len(photos) for photos in known.values()) * (len(jobs) + 1), []
    for dataset, photos in known.items():
        bicubic = Found(bicubic_kernel(), 1.0, (6.5, 6.5), None, True)
        record = _record("bicubic-kernel", dataset, photos, [bicubic] * len(photos), None, tier, time.monotonic())
        written.append(save(record, folder))
        if progress:
            progress(f"{dataset}: bicubic", total)
    for name, settings, restarts, rule, seed in jobs:
        for dataset, photos in known.items():
            begun = time.monotonic()
            found = estimated([k.lr for k in photos], settings, seed=seed, restarts=restarts, rule=rule)
            record = _record(name, dataset, photos, found, seed, tier, begun, settings, restarts)
            written.append(save(record, folder))
            if progress:
                for photo in photos:
                    progress(f"{dataset}: {photo.name}", total)
    return written


def _record(
    name: str,
    dataset: str,
    known: Sequence[Known],
    found: Sequence[Found],
    seed: int | None,
    tier: str,
    begun: float,
    settings: KernelSettings | None = None,
    restarts: int = 1,
) -> RunRecord:
    steps = settings.steps if settings else 0
    measured = measure(known, found, steps)
    if settings is None:  # a kernel that was not estimated
        measured = [m for m in measured if m.metric.startswith(("kernel", "psnr"))]
    names = [photo.name for photo in known]
    where = {"dataset": dataset, "images": names, "protocol": PROTOCOL, "rules": RULES}
    about = {**asdict(settings), "restarts": restarts} if settings else {}
    return runs.described(name, measured, begun, **where, seed=seed, steps=steps, settings=about, tier=tier)
