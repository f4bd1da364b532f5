"""What is a kernel worth? ZSSR on DIV2KRK: bicubic's kernel, KernelGAN's, the true one; and with noise on the photo."""

import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor

from restore_lib import data, metrics, noise, tiers
from restore_lib.errors import DataError
from restore_lib.experiments import kernel_study, runs
from restore_lib.experiments.protocols import from_8bit, to_8bit
from restore_lib.experiments.records import RunRecord, measurement, save
from restore_lib.realsr.zssr import k_zssr, zssr
from restore_lib.realsr.zssr_settings import BICUBIC, K_ZSSR, ZSSRSettings, quick
from restore_lib.resampling import align_kernel, imresize

DATASET = "div2krk"
SEEDS = range(3)
SIGMA = 10
CONDITIONS: Mapping[str, tuple[int, int]] = MappingProxyType({"x2": (2, 0), "x4": (4, 0), "x4-noisy": (4, SIGMA)})
"""Scale and noise of each protocol."""
RULES = {
    "low resolution": "DIV2KRK's own LR photos, 8 bit",
    "result": "clipped and rounded to 8 bit",
    "measured on": "luma (BT.601, 16 to 235), without a border of s pixels",
    "training": "one network for each photo, by the quick settings; kernels by the whole schedule of KernelGAN",
}
NOISY = {"noise": f"Gaussian of sigma {SIGMA} added to the LR photo, clipped and rounded, before all else"}
TITLES = {
    "bicubic": "bicubic interpolation",
    "zssr": "ZSSR, bicubic kernel assumed",
    "k-zssr": "K-ZSSR, KernelGAN's kernel",
    f"k-zssr-average-of-{kernel_study.RESTARTS}": "K-ZSSR, average kernel of four runs",
    "zssr-true": "ZSSR, true kernel",
}
SETTINGS: Mapping[str, ZSSRSettings] = MappingProxyType(
    {
        "zssr": quick(BICUBIC),
        "k-zssr": quick(K_ZSSR),
        f"k-zssr-average-of-{kernel_study.RESTARTS}": quick(K_ZSSR),
        "zssr-true": quick(K_ZSSR),  # as KernelGAN's code treats every kernel, so that the kernel alone differs
    }
)


def photo(item, condition: str, seed: int) -> Float[Tensor, "3 h w"]:
    """The LR photo of an item under a condition."""
    scale, sigma = CONDITIONS[condition]
    lr = item.read(f"lr_x{scale}")
    if not sigma:
        return lr
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {item.name} {condition}".encode()))
    return from_8bit(to_8bit(noise.gaussian(lr, sigma, generator)))


def enlarged(
    recipe: str, item, lr: Float[Tensor, "3 h w"], scale: int, seed: int, settings: ZSSRSettings | None = None
) -> Float[Tensor, "3 oh ow"]:
    """A photo enlarged by a method of the table.

    Parameters
    ----------
    recipe : str
        One of ``TITLES``.
    item
        Of the data set: where the true kernel is read.
    lr, scale, seed
        What to enlarge, by how much, and the seed of everything random.
    settings : ZSSRSettings, optional
        Those of the table by default.
    """
    if recipe == "bicubic":
        return imresize(lr, scale=scale)
    settings = settings or SETTINGS[recipe]
    if recipe == "zssr":
        return zssr(lr, (2, 4)[: scale // 2], None, settings, seed=seed).sr
    if recipe == "zssr-true":
        kernel = align_kernel(item.read(f"kernel_x{scale}").double(), scale)
        return zssr(lr, (scale,), [kernel], settings, seed=seed).sr
    restarts = kernel_study.METHODS[recipe.replace("k-zssr", "kernelgan")][0]
    found = kernel_study.estimated([lr], seed=seed, restarts=restarts)[0]
    return k_zssr(lr, found.kernel, scale, settings, seed=seed).sr


def methods(condition: str) -> list[str]:
    """Recipes that are trained under a condition: with noise, only those that the paper compares."""
    return [recipe for recipe in SETTINGS if recipe in ("zssr", "k-zssr") or not CONDITIONS[condition][1]]


def div2krk_tables(
    folder: Path | str,
    *,
    sets: Iterable[str] | None = None,
    tier: str | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> list[Path]:
    """Every method with every seed on the photos of DIV2KRK; parameters as for `runs.bicubic`.

    Kernels are kept in the cache. At tier ``smoke`` only interpolation runs.

    Raises
    ------
    DataError
        The photos are not on this computer.
    """
    if set(sets or [DATASET]) != {DATASET}:
        raise DataError(f"This table is about {DATASET} alone: leave out --sets.")
    tier = tier or tiers.current()
    jobs = [("bicubic", condition, None) for condition in CONDITIONS]
    if tier != "smoke":
        jobs += [
            (recipe, condition, seed) for seed in SEEDS for condition in CONDITIONS for recipe in methods(condition)
        ]
    tell = runs.counted(progress, len(jobs) * len(data.open(DATASET)))
    return [save(run(*job, tier=tier, progress=tell), folder) for job in jobs]


def run(
    recipe: str,
    condition: str,
    seed: int | None,
    *,
    tier: str | None = None,
    settings: ZSSRSettings | None = None,
    progress: Callable[[str], None] | None = None,
) -> RunRecord:
    """One method with one seed under one condition, on all photos."""
    begun, items, scale = time.monotonic(), data.open(DATASET), CONDITIONS[condition][0]
    rule = metrics.Protocol(channels="y", border=scale, quantize=True)
    settings = settings or SETTINGS.get(recipe)
    found: dict[str, list[float]] = {"psnr_y": [], "ssim_y": []}
    for item in items:
        sr = enlarged(recipe, item, photo(item, condition, seed or 0), scale, seed or 0, settings)
        found["psnr_y"].append(metrics.psnr(sr.clamp(0, 1), item.image, rule))
        found["ssim_y"].append(metrics.ssim(sr.clamp(0, 1), item.image, rule))
        if progress:
            progress(f"{recipe} {condition}: {item.name}")
    return runs.described(
        recipe,
        [measurement(condition, metric, values) for metric, values in found.items()],
        begun,
        dataset=DATASET,
        images=[item.name for item in items],
        protocol=f"{DATASET}-{condition}",
        rules=RULES | (NOISY if CONDITIONS[condition][1] else {}),
        seed=seed,
        steps=settings.steps if settings else 0,
        settings=asdict(settings) if settings else {},
        tier=tier,
    )
