"""What is measured for paper B [ji2020realsr], Section 3: the kernel and the noise of a photo.

How far KernelGAN can be trusted (chapter 8), whether collected noise is like the camera's (chapter 9), and what a
kernel is worth: ZSSR on DIV2KRK (chapter 11).
"""

import hashlib
import statistics
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from restore_lib import data, files, metrics, noise
from restore_lib.experiments import published
from restore_lib.experiments.ledger import WORDS, Line, Protocol, Section, section
from restore_lib.experiments.protocols import Pair, from_8bit, quality, to_8bit
from restore_lib.experiments.records import Measurement, measurement, of_set
from restore_lib.experiments.runs import EvaluationProtocol, Experiment, Tell, Trial, trial
from restore_lib.realsr.kernelgan import KernelSettings, estimate_kernels
from restore_lib.realsr.kernels import KernelEstimate, KernelWarning, bicubic_kernel, kernel_error, random_kernel
from restore_lib.realsr.noise_pool import NoiseRule, compare
from restore_lib.realsr.zssr import BICUBIC, K_ZSSR, ZSSRSettings, k_zssr, quick, zssr
from restore_lib.resampling import align_kernel, downscale, imresize

Rule = Literal["average", "choice"]
RGB_INSIDE = metrics.Protocol(border=8, quantize=True)

# How far KernelGAN can be trusted

KERNEL_SETS = {"div2krk": "DIV2KRK (4 of 100)", "kodak24": "Kodak (4 of 24)"}
EVERY = 6  # of Kodak's photos, every sixth
KERNEL_SEEDS, CONSTRAINT_SEEDS = range(5), range(3)
RESTARTS = 4
KERNELS = Protocol(**WORDS["known-kernels"], conditions={"x2": 2.0})
SINGLE = KernelSettings()
Method = tuple[str, KernelSettings, int, Rule]  # title, settings, restarts, what becomes of several kernels
ONE_RUN: dict[str, Method] = {"kernelgan": ("KernelGAN, one run", SINGLE, 1, "average")}
METHODS: dict[str, Method] = {
    **ONE_RUN,
    f"kernelgan-average-of-{RESTARTS}": ("KernelGAN, average of four runs", SINGLE, RESTARTS, "average"),
    f"kernelgan-best-of-{RESTARTS}": ("KernelGAN, four runs and a choice", SINGLE, RESTARTS, "choice"),
}
CONSTRAINTS: dict[str, Method] = {
    "kernelgan-eq4": ("RealSR's Eq. 4", replace(SINGLE, form="realsr"), 1, "average"),
    "kernelgan-defects": ("released code with its defects", replace(SINGLE, official_defects=True), 1, "average"),
    "kernelgan-never-switches": ("first phase only", replace(SINGLE, threshold=-1.0), 1, "average"),
    "kernelgan-no-bicubic": ("without the bicubic anchor", replace(SINGLE, bicubic=0.0), 1, "average"),
    "kernelgan-no-sum": ("without the sum", replace(SINGLE, sum=0.0), 1, "average"),
    "kernelgan-no-boundaries": ("without the boundaries", replace(SINGLE, boundaries=0.0), 1, "average"),
    "kernelgan-no-centre": ("without the centre", replace(SINGLE, centre=0.0), 1, "average"),
    "kernelgan-no-sparse": ("without sparsity", replace(SINGLE, sparse=0.0), 1, "average"),
}
ASSUMED_METRICS = ("kernel_error", "kernel_error_median", "kernel_error_worst", "psnr", "psnr_worst")
KERNEL_METRICS = (*ASSUMED_METRICS, "off_centre", "sum", "switch_step", "distrusted")


@dataclass(frozen=True)
class ReducedPhoto:
    """A photo, what it became, and by which kernel."""

    name: str
    hr: Float[Tensor, "3 _ _"]
    lr: Float[Tensor, "3 _ _"]
    kernel: Float[Tensor, "_ _"]


@dataclass(frozen=True)
class Estimate:
    """What is kept of an estimate: the kernel, the raw kernel's sum and centre, and whether it was trusted."""

    kernel: Float[Tensor, "_ _"]
    sum: float
    centre: tuple[float, float]
    switch_step: int | None
    sound: bool


@cache
def known_kernels(dataset: str) -> list[ReducedPhoto]:
    """Photos whose kernel for x2 is known: DIV2KRK's, or Kodak's reduced here."""
    found = []
    if dataset == "div2krk":
        for item in data.open(dataset):
            kernel = align_kernel(item.read("kernel_x2").double(), 2)
            found.append(ReducedPhoto(item.name, item.image, item.read("lr_x2"), kernel))
        return found
    photos = [item for i, item in enumerate(data.open(dataset), 1) if i % EVERY == 0]
    for i, item in enumerate(photos):
        kernel = random_kernel(torch.Generator().manual_seed(i))
        found.append(ReducedPhoto(item.name, item.image, reduced(item.image, kernel), kernel))
    return found


def reduced(hr: Float[Tensor, "3 h w"], kernel: Float[Tensor, "_ _"]) -> Float[Tensor, "3 oh ow"]:
    """A photo reduced by 2 with an aligned kernel, in 8 bit as photos are stored."""
    return (downscale(hr, kernel.to(hr), 2, align=False).clamp(0, 1) * 255).round() / 255


def estimated(
    images: Sequence[Float[Tensor, "3 _ _"]],
    settings: KernelSettings = SINGLE,
    *,
    seed: int = 0,
    restarts: int = 1,
    rule: Rule = "average",
) -> list[Estimate]:
    """Kernels for x2 of several photos, each kept in the cache under a hash of photo, settings and seed.

    Parameters as for :func:`restore_lib.realsr.kernelgan.estimate_kernels`.
    """
    paths = [_cached(image, settings, seed, restarts, rule) for image in images]
    missing = [(path, image) for path, image in zip(paths, images, strict=True) if _load(path) is None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KernelWarning)  # it is a column of the table
        for i in range(0, len(missing), 4):
            files_of, photos = zip(*missing[i : i + 4], strict=True)
            estimates = estimate_kernels(list(photos), 2, seed, restarts, rule=rule, settings=settings)
            for path, estimate in zip(files_of, estimates, strict=True):
                if estimate is not None:  # which only estimation that is not strict returns
                    _store(path, estimate)
    return [estimate for path in paths if (estimate := _load(path))]


def _cached(image: Tensor, settings: KernelSettings, seed: int, restarts: int, rule: str) -> Path:
    several = f"{restarts} {rule}" if restarts > 1 else "1"
    content = hashlib.sha256(f"{settings} {seed} {several} {tuple(image.shape)}".encode())
    content.update(image.contiguous().numpy().tobytes())
    return files.cache_folder() / "kernelgan" / f"{content.hexdigest()[:32]}.npz"


def _store(path: Path, estimate: KernelEstimate) -> None:
    about = estimate.diagnostics
    kept = {"kernel": estimate.kernel.numpy(), "sum": about.sum, "centre": about.centre, "sound": not about.problems}
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic_write(path) as temporary, Path(temporary).open("wb") as out:
        np.savez(out, **kept, switch_step=-1 if about.switch_step is None else about.switch_step)


def _load(path: Path) -> Estimate | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            raw, centre = float(kept["sum"]), tuple(kept["centre"].tolist())
            switch = int(kept["switch_step"]) if kept["switch_step"] >= 0 else None
            return Estimate(torch.from_numpy(kept["kernel"]), raw, centre, switch, bool(kept["sound"]))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def kernel_measurements(photos: Sequence[ReducedPhoto], estimates: Sequence[Estimate], steps: int) -> list[Measurement]:
    """Every metric of the table; a kernel that never entered the second phase counts as switching at the end."""
    pairs = list(zip(photos, estimates, strict=True))
    each = {
        "kernel_error": [kernel_error(e.kernel, p.kernel) for p, e in pairs],
        "psnr": [metrics.psnr(reduced(p.hr, e.kernel), p.lr, RGB_INSIDE) for p, e in pairs],
        "off_centre": [max(abs(c - 6.5) for c in e.centre) for e in estimates],
        "sum": [e.sum for e in estimates],
        "switch_step": [float(steps if e.switch_step is None else e.switch_step) for e in estimates],
        "distrusted": [float(not e.sound) for e in estimates],
    }
    whole = {
        "kernel_error_median": statistics.median(each["kernel_error"]),
        "kernel_error_worst": max(each["kernel_error"]),
        "psnr_worst": min(each["psnr"]),
    }
    return [measurement("x2", metric, values) for metric, values in each.items()] + [
        of_set("x2", metric, value) for metric, value in whole.items()
    ]


def kernel_trials(sets: Sequence[str], tier: str) -> Iterator[Trial]:
    """Every method with every seed on photos of known kernels; then each constraint left out.

    Estimates are kept in the cache: stopped at any time, the same command goes on. At tier ``smoke`` three steps each.
    """
    photos = {name: known_kernels(name)[: 1 if tier == "smoke" else None] for name in sets}
    jobs: list[tuple[int, str, Method]] = [(seed, *job) for seed in KERNEL_SEEDS for job in METHODS.items()]
    jobs += [(seed, *job) for seed in CONSTRAINT_SEEDS for job in CONSTRAINTS.items()]
    if tier == "smoke":
        jobs = [(0, k, (t, replace(s, steps=3), min(n, 2), rule)) for k, (t, s, n, rule) in METHODS.items()]
    for name, reduced_photos in photos.items():
        yield kernel_trial("bicubic-kernel", name, reduced_photos)
    for seed, recipe, method in jobs:
        for name, reduced_photos in photos.items():
            yield kernel_trial(recipe, name, reduced_photos, method, seed)


def kernel_trial(
    recipe: str, dataset: str, photos: Sequence[ReducedPhoto], method: Method | None = None, seed: int | None = None
) -> Trial:
    """Kernels of a set's photos, estimated with one seed; without a method the bicubic one, which nobody estimated."""
    about = {}
    if method:
        _, settings, restarts, rule = method
        about = {"seed": seed, "steps": settings.steps, "settings": {**asdict(settings), "restarts": restarts}}

    def measure(tell: Tell) -> list[Measurement]:
        if method:
            estimates = estimated([p.lr for p in photos], settings, seed=seed or 0, restarts=restarts, rule=rule)
        else:
            estimates = [Estimate(bicubic_kernel(), 1.0, (6.5, 6.5), None, True)] * len(photos)
        for photo in photos:
            tell(f"{dataset}: {photo.name}")
        measurements = kernel_measurements(photos, estimates, settings.steps if method else 0)
        return [m for m in measurements if method or m.metric in ASSUMED_METRICS]

    return Trial(recipe, dataset, [p.name for p in photos], KERNELS, measure, **about)


def has_metric(line: Line) -> bool:
    """Whether a method has the metric of a line: the bicubic kernel has no estimation to be measured."""
    return line.recipe != "bicubic-kernel" or line.metric in ASSUMED_METRICS


TITLES = {"bicubic-kernel": "bicubic kernel assumed"} | {recipe: title for recipe, (title, *_) in METHODS.items()}
UNDONE = {recipe: title for recipe, (title, *_) in (ONE_RUN | CONSTRAINTS).items()}
FOR_WHAT = "What each constraint is for"
KERNEL_TABLE = Experiment(
    "kernelgan",
    f"{KERNELS.title} (KernelGAN, paper B)",
    (
        section(KERNELS, KERNEL_METRICS, TITLES, KERNEL_SETS, keep=has_metric),
        section(KERNELS, KERNEL_METRICS, UNDONE, KERNEL_SETS, name="constraints", title=FOR_WHAT),
    ),
    trials=kernel_trials,
    sets=tuple(KERNEL_SETS),
    other_sets=True,
)

# Is collected noise like the camera's? Its statistics beside those of true, injected and Gaussian noise

NOISE_SETS = {"polyu_crops": "PolyU", "dnd_noisy": "DND", "phone_photos": "phones"}
NOISE_RULES: Mapping[str, NoiseRule] = {
    "polyu_crops": NoiseRule(patch=64, stride=64),
    "dnd_noisy": NoiseRule(patch=64, stride=64, adaptive=1.5),
    "phone_photos": NoiseRule(patch=64, stride=64),
}
KINDS = {
    "camera": "true noise, everywhere",
    "there": "true noise where the rule keeps patches",
    "collected": "collected",
    "injected": "collected, put into other photos",
    "gaussian": "Gaussian of the same strength",
}
STATISTICS = ("sigma", "luma share", "red-green", "green-blue", "across 1", "across 2", "fine")
STATISTICS += ("dark sigma", "bright sigma")
NOISE = Protocol(**WORDS["noise-statistics"], conditions={kind: float(i) for i, kind in enumerate(KINDS)})


def noise_measurements(dataset: str, tell: Tell) -> list[Measurement]:
    """Statistics of a set's noise, collected, injected and, where pairs tell it, the camera's own."""
    items = data.open(dataset)
    pairs = all("noisy" in item.parts for item in items)
    photos = [(item.name, item.read("noisy" if pairs else "image")) for item in items]
    means = [item.image for item in items] if pairs else None
    kinds = compare(photos, NOISE_RULES[dataset], means=means, generator=torch.Generator().manual_seed(0))
    tell(dataset)
    return [of_set(kind, metric, value) for kind, values in kinds.items() for metric, value in values.items()]


def noise_trials(sets: Sequence[str], tier: str) -> Iterator[Trial]:
    """One trial for each set of noisy photos."""
    for name in sets:
        about = {"seed": 0, "settings": asdict(NOISE_RULES[name]), "ticks": 1}
        names = [item.name for item in data.open(name)]
        yield Trial("noise", name, names, NOISE, partial(noise_measurements, name), **about)


NOISE_LINES = [
    Line(f"{title}: {KINDS[kind]}", kind, metric, "noise", dataset, NOISE.name)
    for metric in STATISTICS
    for dataset, title in NOISE_SETS.items()
    for kind in KINDS
    if dataset == "polyu_crops" or kind not in ("camera", "there")
]
NOISE_SECTION = Section("statistics", NOISE.title, NOISE.rules, NOISE_LINES, published=False)
NOISE_TABLE = Experiment("noise", NOISE.title, (NOISE_SECTION,), trials=noise_trials, sets=tuple(NOISE_SETS))

# What is a kernel worth? ZSSR on DIV2KRK

DIV2KRK = "div2krk"
ZSSR_SEEDS = range(3)
SIGMA = 10
#: Scale and noise of each protocol.
CONDITIONS: Mapping[str, tuple[int, int]] = {"x2": (2, 0), "x4": (4, 0), "x4-noisy": (4, SIGMA)}
FOUR = "4 of 100 photos, the quick settings: not comparable"
AVERAGED = f"k-zssr-average-of-{RESTARTS}"
ZSSR_TITLES = {
    "bicubic": "bicubic interpolation",
    "zssr": "ZSSR, bicubic kernel assumed",
    "k-zssr": "K-ZSSR, KernelGAN's kernel",
    AVERAGED: "K-ZSSR, average kernel of four runs",
    "zssr-true": "ZSSR, true kernel",
}
ZSSR_SETTINGS: Mapping[str, ZSSRSettings] = {
    "zssr": quick(BICUBIC),
    "k-zssr": quick(K_ZSSR),
    AVERAGED: quick(K_ZSSR),
    "zssr-true": quick(K_ZSSR),  # as KernelGAN's code treats every kernel, so that the kernel alone differs
}


@torch.enable_grad()
def enlarged(recipe: str, item, lr: Float[Tensor, "3 h w"], scale: int, seed: int) -> Float[Tensor, "3 oh ow"]:
    """A photo enlarged by a method of ``ZSSR_TITLES``; the true kernel is read from the item of the data set."""
    if recipe == "bicubic":
        return imresize(lr, scale=scale)
    settings = ZSSR_SETTINGS[recipe]
    if recipe == "zssr":
        return zssr(lr, (2, 4)[: scale // 2], None, settings, seed=seed).sr
    if recipe == "zssr-true":
        kernel = align_kernel(item.read(f"kernel_x{scale}").double(), scale)
        return zssr(lr, (scale,), [kernel], settings, seed=seed).sr
    estimate = estimated([lr], seed=seed, restarts=RESTARTS if recipe == AVERAGED else 1)[0]
    return k_zssr(lr, estimate.kernel, scale, settings, seed=seed).sr


def div2krk_protocol(condition: str) -> EvaluationProtocol:
    """The protocol of one condition of DIV2KRK's tables."""
    scale, sigma = CONDITIONS[condition]
    rule = metrics.Protocol(channels="y", border=scale, quantize=True)

    def prepare(item, value: float, generator: torch.Generator) -> Pair:
        lr = item.read(f"lr_x{scale}")
        return from_8bit(to_8bit(noise.gaussian(lr, sigma, generator))) if sigma else lr, item.image

    def measure(sr: Tensor, hr: Tensor, value: float) -> dict[str, float]:
        return {f"{name}_y": number for name, number in quality(("psnr", "ssim"), sr.clamp(0, 1), hr, rule).items()}

    words, conditions = WORDS[f"{DIV2KRK}-{condition}"], {condition: float(scale)}
    return EvaluationProtocol(**words, conditions=conditions, prepare=prepare, measure=measure)


def compared(condition: str) -> list[str]:
    """Recipes that train under a condition: with noise, only those that the paper compares."""
    return [recipe for recipe in ZSSR_SETTINGS if recipe in ("zssr", "k-zssr") or not CONDITIONS[condition][1]]


def div2krk_trial(recipe: str, condition: str, seed: int | None) -> Trial:
    """One method with one seed under one condition, on all photos."""
    protocol, scale, current = div2krk_protocol(condition), CONDITIONS[condition][0], {}
    settings = ZSSR_SETTINGS.get(recipe)

    def prepare(item, value: float, generator: torch.Generator) -> Pair:
        current["item"] = item  # one method reads its true kernel
        return protocol.prepare(item, value, generator)

    def model(lr: Tensor, size: tuple[int, int]) -> Tensor:
        return enlarged(recipe, current["item"], lr, scale, seed or 0)

    about = {"steps": settings.steps, "settings": asdict(settings)} if settings else {}
    return trial(recipe, lambda: model, DIV2KRK, replace(protocol, prepare=prepare), seed=seed, **about)


def div2krk_trials(sets: Sequence[str], tier: str) -> Iterator[Trial]:
    """Every method with every seed; at tier ``smoke`` only interpolation. Kernels are kept in the cache."""
    for condition in CONDITIONS:
        yield div2krk_trial("bicubic", condition, None)
    for seed in ZSSR_SEEDS if tier != "smoke" else ():
        for condition in CONDITIONS:
            for recipe in compared(condition):
                yield div2krk_trial(recipe, condition, seed)


def div2krk_reference(line: Line) -> dict:
    """A user's run of the official code, of KernelGAN's own method alone."""
    if line.recipe != "k-zssr" or line.condition == "x4-noisy":
        return {"comparable": False}
    column = f"{line.condition} {'PSNR' if line.metric == 'psnr_y' else 'SSIM'}"
    paper = published.number("div2krk-rerun", "KernelGAN + ZSSR", column)
    return {"paper": paper, "comparable": False, "why": FOUR}


def div2krk_section(condition: str) -> Section:
    protocol, quality_y = div2krk_protocol(condition), ("psnr_y", "ssim_y")
    methods = {recipe: ZSSR_TITLES[recipe] for recipe in ("bicubic", *compared(condition))}
    return section(protocol, quality_y, methods, {DIV2KRK: ""}, name=condition, reference=div2krk_reference)


DIV2KRK_TABLE = Experiment(
    "div2krk",
    "What an estimated kernel is worth (DIV2KRK)",
    tuple(map(div2krk_section, CONDITIONS)),
    trials=div2krk_trials,
    sets=(DIV2KRK,),
)

EXPERIMENTS = (KERNEL_TABLE, NOISE_TABLE, DIV2KRK_TABLE)
