"""Paper A's Tables 2 and 3 in the small: what networks make of denoised pictures, case by case and sigma by sigma.

Nothing is trained here: denoisers and networks come from their checkpoints.
"""

import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from restore_lib import data, images, noise, tiers
from restore_lib.data.labelled import Labelled
from restore_lib.data.patches import to_float
from restore_lib.denoising import baselines
from restore_lib.denoising.denoiser import same_size
from restore_lib.denoising.vision_recipes import SIGMAS, TASK_WEIGHTS, pictures
from restore_lib.errors import DataError
from restore_lib.experiments import runs
from restore_lib.experiments.records import Measurement, RunRecord, save
from restore_lib.experiments.seeing import measure_quality, measure_seen
from restore_lib.fast.folding import folded
from restore_lib.nets import efficientnet
from restore_lib.pretrained import card, load
from restore_lib.resampling import resize_antialiased
from restore_lib.training.precision import has_bfloat16

PROTOCOL = "liu2018-vision"
SEEDS = (0, 1, 2)
DATASETS = {"scenes": "scenes", "tiny": "tiny_imagenet10", "camvid": "camvid", "imagenet": "imagenet_sample200"}
DATASETS["camvid-train"] = "camvid-train"
CBM3D = {"scenes": 60, "tiny": 100, "camvid": 12}  # pictures, evenly over the set: it takes seconds for each
RULES = {
    "input": "picture plus Gaussian noise, neither clipped nor rounded; the same noise for every case",
    "denoisers": "in bfloat16 where the processor has it, which changes pictures by less than storing them in 8 bit",
    "seen": "the network gets the denoised picture as it comes, neither clipped nor rounded",
    "measured on": "all test pictures, three draws of the noise; CBM3D: some of them",
    "intervals": "hold nineteen of twenty bootstrap draws of the pictures",
    "PSNR, SSIM, LPIPS": "of the clipped, rounded pictures, first draw of the noise",
}


@dataclass(frozen=True)
class Look:
    """A network that looks at denoised pictures.

    Attributes
    ----------
    source, goal : str
        Which labelled pictures, and what the network does with them.
    network : str
        Its checkpoint, or ``efficientnet-lite0``.
    cases : sequence of str
        See :func:`denoiser_of`.
    sigmas : sequence of int
    """

    source: str
    goal: str
    network: str
    cases: tuple[str, ...]
    sigmas: tuple[int, ...] = SIGMAS


ALL = ("clean", "noisy", "cbm3d", "photos", "separate", "joint", "cross")
WEIGHTED = (*(f"lambda-{weight}" for weight in TASK_WEIGHTS), "official")
LOOKS = (
    Look("scenes", "classify", "classifier-scenes-cpu", ALL),
    Look("scenes", "classify", "classifier-scenes-noisy-cpu", ("clean", "noisy")),
    Look("scenes", "classify", "classifier-scenes-resnet-cpu", ("clean", "noisy", "separate", "joint", "cross")),
    Look("scenes", "classify", "classifier-scenes-cpu", WEIGHTED, (30,)),
    Look("scenes", "segment", "segmenter-scenes-cpu", ALL),
    Look("scenes", "segment", "segmenter-scenes-cpu", ("official",), (30,)),
    Look("scenes", "segment", "segmenter-scenes-noisy-cpu", ("clean", "noisy")),
    Look("tiny", "classify", "classifier-tiny-cpu", (*ALL, "elsewhere")),
    Look("tiny", "classify", "classifier-tiny-noisy-cpu", ("clean", "noisy")),
    Look("tiny", "classify", "classifier-tiny-resnet-cpu", ("clean", "noisy", "separate", "joint", "cross")),
    Look("camvid", "segment", "segmenter-camvid-cpu", (*ALL, "elsewhere")),
    Look("camvid", "segment", "segmenter-camvid-noisy-cpu", ("clean", "noisy")),
    Look("camvid-train", "segment", "segmenter-camvid-cpu", ("clean", "separate", "joint")),
    Look("imagenet", "classify", "efficientnet-lite0", ("clean", "noisy", "photos", "joint", "cross")),
)
CROSS = {
    ("scenes", "classify"): ("scenes", "segment"),
    ("scenes", "segment"): ("scenes", "classify"),
    ("tiny", "classify"): ("camvid", "segment"),
    ("camvid", "segment"): ("tiny", "classify"),
    ("camvid-train", "segment"): ("tiny", "classify"),
    ("imagenet", "classify"): ("camvid", "segment"),
}
"""For each task the pictures and the task that the cross-task denoiser was trained with."""


def denoiser_of(case: str, source: str, goal: str, sigma: int) -> str | None:
    """Checkpoint of the denoiser of a case; None for the cases without one.

    Parameters
    ----------
    case : str
        ``clean``, ``noisy``, ``cbm3d``: no denoiser of ours.
        ``photos``: trained on photographs by the mean squared error, where all others start from; ``separate``: trained
        further on the source's pictures by the mean squared error; ``joint``: by both losses; ``cross``: by both losses
        for the other task; ``elsewhere``: by the mean squared error on the other task's pictures; ``lambda-0.01``,
        ``official``: with other weights of the losses.
    source, goal, sigma
        What is looked at. ImageNet's pictures get the denoisers of Tiny ImageNet, CamVid's training pictures CamVid's.
    """
    own = {"imagenet": "tiny", "camvid-train": "camvid"}.get(source, source)
    if case == "photos":
        return f"half-denoiser-{sigma}-cpu"
    if case == "separate":
        return f"{own}-separate-{sigma}-cpu"
    if case == "joint":
        return f"{own}-{goal}-{sigma}-cpu"
    if case == "cross":
        other, task = CROSS[source, goal]
        return f"{other}-{task}-{sigma}-cpu"
    if case == "elsewhere":
        return f"{CROSS[source, goal][0]}-separate-{sigma}-cpu"
    if case in WEIGHTED:
        return f"{own}-{goal}-{sigma}-{case}-cpu"
    return None


@cache
def looked_at(source: str, goal: str) -> Labelled:
    """The test pictures of a source; of ``imagenet`` 200 photographs, middles of 224 x 224.

    ``camvid-train``: those that denoisers and segmenter were trained on, to see what they learnt by heart.
    """
    if source == "camvid-train":
        return replace(pictures("camvid", goal, "train"), name=source)
    if source != "imagenet":
        return pictures(source, goal, "test")
    found = data.open("imagenet_sample200")
    crops = torch.stack([torch.from_numpy(images.to_uint8(_imagenet_crop(item.image))) for item in found])
    names, labels = [item.name for item in found], torch.tensor([item.label for item in found])
    classes = [found.classes.get(number, "") for number in range(1000)]
    return Labelled(found.name, "", names, crops.permute(0, 3, 1, 2), labels, classes, found.digest())


def _imagenet_crop(photo: Tensor) -> Tensor:
    """The middle 224 x 224 pixels of a photo whose short side was brought to 256."""
    height, width = photo.shape[-2:]
    size = [round(n * 256 / min(height, width)) for n in (height, width)]
    small = resize_antialiased(photo, size).clamp(0, 1)
    top, left = (size[0] - 224) // 2, (size[1] - 224) // 2
    return small[:, top : top + 224, left : left + 224]


@cache
def network(name: str) -> nn.Module:
    """A network of a checkpoint, its batch norms folded into the convolutions; or the pretrained EfficientNet-Lite0."""
    if name == "efficientnet-lite0":
        return folded(efficientnet.pretrained())
    return folded(load(name))


def noisy(found: Labelled, sigma: int, seed: int) -> Tensor:
    """All pictures under noise that depends on seed, name and sigma alone."""
    parts = []
    for name, picture in zip(found.names, found.pictures, strict=True):
        generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {name} sigma {sigma}".encode()))
        parts.append(noise.gaussian(to_float(picture), sigma, generator))
    return torch.stack(parts)


def chosen(case: str, source: str, found: Labelled) -> list[int]:
    """Numbers of the pictures that a case is measured on: all, or for CBM3D some."""
    if case != "cbm3d":
        return list(range(len(found)))
    count = min(CBM3D[source], len(found))
    return [number * len(found) // count for number in range(count)]


def given(case: str, source: str, goal: str, sigma: int, seed: int) -> Tensor:
    """What the network of a case gets to see, (n, 3, h, w)."""
    found = looked_at(source, goal)
    if case == "clean":
        return to_float(found.pictures)
    x = noisy(found, sigma, seed)
    if case == "cbm3d":
        return torch.stack([baselines.cbm3d(x[number], sigma) for number in chosen(case, source, found)])
    name = denoiser_of(case, source, goal, sigma)
    return x if name is None else denoised(name, x)


def batches(x: Tensor, pixels: int) -> Iterator[Tensor]:
    """Batches of at most so many pixels: what a layer writes must still be in the processor's cache for the next."""
    at_once = max(1, pixels // (x.shape[-2] * x.shape[-1]))
    return (part.contiguous(memory_format=torch.channels_last) for part in x.split(at_once))


@torch.no_grad()
def denoised(name: str, x: Tensor) -> Tensor:
    """Pictures through the denoiser of a checkpoint."""
    with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16("cpu")):
        return torch.cat([same_size(network(name), part).float() for part in batches(x, 60_000)])


@torch.no_grad()
def predictions(name: str, x: Tensor) -> Tensor:
    """Scores (n, classes) of a classifier, or classes (n, h, w) of a segmenter."""
    found = [network(name)(part) for part in batches(x, 200_000)]
    return torch.cat([scores if scores.ndim == 2 else scores.argmax(1).to(torch.uint8) for scores in found])


def tables(
    folder: Path | str,
    *,
    sets: Iterable[str] | None = None,
    tier: str | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> list[Path]:
    """Measure all cases on the sources named in ``sets`` (all by default); parameters as for `runs.bicubic`.

    CBM3D is left out, with a line on stderr, where its package is not installed; so are ImageNet's pictures without the
    pretrained network.

    Raises
    ------
    DataError
        A set of pictures is not on this computer.
    CheckpointError
        A checkpoint is missing or damaged.
    """
    known = list(dict.fromkeys(look.source for look in LOOKS))
    sources = list(sets or known)
    if not set(sources) <= set(known):
        raise DataError(f"This table is about {', '.join(known)}: give some of these to --sets.")
    looks = {source: list(_possible(source)) for source in sources}
    total = sum(1 for found in looks.values() for look in found for _ in jobs(look))
    written = []
    for source, found in looks.items():
        written += _source(source, found, Path(folder), tier or tiers.current(), progress, total)
    return written


def jobs(look: Look) -> Iterator[tuple[str, int, int]]:
    """Case, sigma and draw of the noise of everything that a network looks at."""
    for case in look.cases:
        for sigma in (0,) if case == "clean" else look.sigmas:
            for seed in SEEDS[:1] if case == "clean" else SEEDS:
                yield case, sigma, seed


def _possible(source: str) -> Iterator[Look]:
    """The source's looks, without what cannot run here."""
    for look in LOOKS:
        if look.source != source:
            continue
        if "cbm3d" in look.cases and not find_spec("bm3d"):
            print("restore: left out CBM3D, whose package is not installed: `pip install bm3d`", file=sys.stderr)
            look = replace(look, cases=tuple(case for case in look.cases if case != "cbm3d"))
        if look.network == "efficientnet-lite0":
            try:
                network(look.network)
            except DataError as error:
                print(f"restore: left out ImageNet. {error}", file=sys.stderr)
                continue
        yield look


def _source(
    source: str, looks: list[Look], folder: Path, tier: str, progress: Callable | None, total: int
) -> list[Path]:
    """Records of all networks that look at one source; each input is made once for all of them."""
    found: dict[tuple[Look, str, int], list[Measurement]] = {}
    users: dict[tuple, list[tuple[Look, str]]] = {}
    for look in looks:
        for case, sigma, seed in jobs(look):
            same = denoiser_of(case, source, look.goal, sigma) or case
            users.setdefault((sigma, seed, same), []).append((look, case))
    begun = time.monotonic()
    for (sigma, seed, _), lookers in sorted(users.items()):
        first, case = lookers[0]
        x = given(case, source, first.goal, sigma, seed)
        condition = f"sigma {sigma}" if sigma else "clean"
        truth = looked_at(source, first.goal)
        numbers = chosen(case, source, truth)
        quality = [] if seed or case == "clean" else measure_quality(x, to_float(truth.pictures[numbers]), condition)
        for look, case in lookers:
            truth = looked_at(source, look.goal)
            said = predictions(look.network, x)
            seen = measure_seen(said, truth.targets[numbers], look.goal, len(truth.classes), condition)
            found.setdefault((look, case, seed), []).extend([*seen, *quality])
            if progress is not None:
                progress(f"{case} {condition}", total)
    return [save(_record(*key, measured, tier, begun), folder) for key, measured in found.items()]


def _record(look: Look, case: str, seed: int, measured: list[Measurement], tier: str, begun: float) -> RunRecord:
    truth = looked_at(look.source, look.goal)
    names = {sigma: denoiser_of(case, look.source, look.goal, sigma) for sigma in look.sigmas}
    used = [name for name in [*names.values(), look.network] if name and name != "efficientnet-lite0"]
    return RunRecord(
        recipe=recipe_of(case, look.network),
        tier=tier,
        seed=None if case == "clean" else seed,
        steps=0,
        dataset=truth.name,
        dataset_hash=truth.digest,
        images=tuple(truth.names[number] for number in chosen(case, look.source, truth)),
        protocol=PROTOCOL,
        rules=RULES,
        versions=runs.versions(),
        device=runs.device_name("cpu"),
        seconds=round(time.monotonic() - begun, 1),
        finished=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        commit=runs.commit(),
        measurements=tuple(measured),
        settings={"checkpoints": {name: card(name).sha256[:16] for name in used}},
    )


def recipe_of(case: str, network_name: str) -> str:
    """What records call a case before a network: ``joint+classifier-tiny``."""
    return f"{case}+{network_name.removesuffix('-cpu')}"
