"""What is measured for paper A [liu2018], second half: what networks recognise in denoised pictures.

Tables 2 and 3 in the small, case by case and sigma by sigma (chapters 6 and 7), and what joint training does to
photographs. Nothing is trained here: denoisers and networks come from their checkpoints.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache, lru_cache, partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from restore_lib import data, images, metrics, noise
from restore_lib.data.labelled import Labelled
from restore_lib.data.patches import to_float
from restore_lib.denoising import baselines
from restore_lib.denoising.denoiser import same_size
from restore_lib.denoising.vision_recipes import SIGMAS, TASK_WEIGHTS, pictures
from restore_lib.experiments.ledger import WORDS, Line, Protocol, Section, section
from restore_lib.experiments.paper_a import KODAK, QUALITY, as_model, has_cbm3d, kodak_metrics, kodak_protocol
from restore_lib.experiments.protocols import RGB
from restore_lib.experiments.records import Measurement, measurement, of_set
from restore_lib.experiments.runs import Experiment, Tell, Trial, available, evenly, of_checkpoint
from restore_lib.fast.folding import folded
from restore_lib.nets import efficientnet
from restore_lib.pretrained import card, load
from restore_lib.resampling import resize_antialiased
from restore_lib.training.precision import best_device, has_bfloat16

VISION_SEEDS = (0, 1, 2)  # draws of the noise
CBM3D_PICTURES = {"scenes": 60, "tiny": 100, "camvid": 12}  # evenly over the set: it takes seconds for each
VISION = Protocol(**WORDS["liu2018-vision"], conditions={f"sigma {sigma}": sigma for sigma in SIGMAS})
CASE_TITLES = {
    "clean": "clean picture",
    "noisy": "noisy picture",
    "cbm3d": "CBM3D",
    "photos": "denoiser of photos",
    "separate": "trained separately",
    "joint": "trained jointly",
    "cross": "trained jointly, other task",
    "elsewhere": "trained separately, pictures of the other task",
}
CASE_TITLES |= {f"lambda-{weight}": f"task weight {Fraction(str(weight))}" for weight in TASK_WEIGHTS}
CASE_TITLES |= {"official": "official code's weights"}
NETWORK_TITLES = {"noisy": "network trained on noise", "resnet": "unseen network"}
SOURCES = {  # name of the pictures, title, title of their data set
    "scenes": ("scenes", "drawn scenes"),
    "tiny": ("tiny_imagenet10", "Tiny ImageNet, 10 classes"),
    "camvid": ("camvid", "CamVid"),
    "camvid-train": ("camvid-train", "CamVid's training pictures"),
    "imagenet": ("imagenet_sample200", "200 ImageNet photos"),
}
ACCURACIES = {
    "classify": ("top1", "top1_low", "top1_high", "top5"),
    "segment": ("miou", "miou_low", "miou_high", "pixel_accuracy"),
}
ALL = ("clean", "noisy", "cbm3d", "photos", "separate", "joint", "cross")
WEIGHTED = (*(f"lambda-{weight}" for weight in TASK_WEIGHTS), "official")


@dataclass(frozen=True)
class VisionTask:
    """A network that recognises what denoised pictures show."""

    source: str  #: Of the pictures.
    goal: str  #: What the network does with them: ``classify`` or ``segment``.
    network: str  #: A checkpoint, or ``efficientnet-lite0``.
    cases: tuple[str, ...]  #: Those of :func:`denoiser_of`.
    sigmas: tuple[int, ...] = SIGMAS

    def recipe(self, case: str) -> str:
        """What records call a case before this network: ``joint+classifier-tiny``."""
        return f"{case}+{self.network.removesuffix('-cpu')}"

    def levels(self, case: str) -> tuple[int, ...]:
        """Noise levels of a case; 0 for the clean picture."""
        return (0,) if case == "clean" else self.sigmas


VISION_TASKS = (
    VisionTask("scenes", "classify", "classifier-scenes-cpu", ALL),
    VisionTask("scenes", "classify", "classifier-scenes-noisy-cpu", ("clean", "noisy")),
    VisionTask("scenes", "classify", "classifier-scenes-resnet-cpu", ("clean", "noisy", "separate", "joint", "cross")),
    VisionTask("scenes", "classify", "classifier-scenes-cpu", WEIGHTED, (30,)),
    VisionTask("scenes", "segment", "segmenter-scenes-cpu", ALL),
    VisionTask("scenes", "segment", "segmenter-scenes-cpu", ("official",), (30,)),
    VisionTask("scenes", "segment", "segmenter-scenes-noisy-cpu", ("clean", "noisy")),
    VisionTask("tiny", "classify", "classifier-tiny-cpu", (*ALL, "elsewhere")),
    VisionTask("tiny", "classify", "classifier-tiny-noisy-cpu", ("clean", "noisy")),
    VisionTask("tiny", "classify", "classifier-tiny-resnet-cpu", ("clean", "noisy", "separate", "joint", "cross")),
    VisionTask("camvid", "segment", "segmenter-camvid-cpu", (*ALL, "elsewhere")),
    VisionTask("camvid", "segment", "segmenter-camvid-noisy-cpu", ("clean", "noisy")),
    VisionTask("camvid-train", "segment", "segmenter-camvid-cpu", ("clean", "separate", "joint")),
    VisionTask("imagenet", "classify", "efficientnet-lite0", ("clean", "noisy", "photos", "joint", "cross")),
)
#: For each task the pictures and the task that the cross-task denoiser was trained with.
CROSS = {
    ("scenes", "classify"): ("scenes", "segment"),
    ("scenes", "segment"): ("scenes", "classify"),
    ("tiny", "classify"): ("camvid", "segment"),
    ("camvid", "segment"): ("tiny", "classify"),
    ("camvid-train", "segment"): ("tiny", "classify"),
    ("imagenet", "classify"): ("camvid", "segment"),
}


def denoiser_of(case: str, source: str, goal: str, sigma: int) -> str | None:
    """Checkpoint of the denoiser of a case; None for ``clean``, ``noisy`` and ``cbm3d``, which have none of ours.

    ``photos``: trained on photographs by the mean squared error, where all others start; ``separate``: further on the
    source's pictures; ``joint``: by both losses, ``cross``: for the other task; ``elsewhere``: separately, on the other
    task's pictures; ``lambda-0.01``, ``official``: with other weights of the losses. ImageNet's pictures get the
    denoisers of Tiny ImageNet, CamVid's training pictures CamVid's.
    """
    own = {"imagenet": "tiny", "camvid-train": "camvid"}.get(source, source)
    other, task = CROSS[source, goal]
    names = {
        "photos": f"half-denoiser-{sigma}-cpu",
        "separate": f"{own}-separate-{sigma}-cpu",
        "joint": f"{own}-{goal}-{sigma}-cpu",
        "cross": f"{other}-{task}-{sigma}-cpu",
        "elsewhere": f"{other}-separate-{sigma}-cpu",
    }
    return names.get(case, f"{own}-{goal}-{sigma}-{case}-cpu" if case in WEIGHTED else None)


@cache
def test_pictures(source: str, goal: str) -> Labelled:
    """The test pictures of a source; of ``imagenet`` 200 photographs, middles of 224 x 224.

    ``camvid-train``: those that denoisers and segmenter were trained on, to see what they learnt by heart.
    """
    if source == "imagenet":
        photos = data.open("imagenet_sample200")
        crops = torch.stack([torch.from_numpy(images.to_uint8(imagenet_crop(item.image))) for item in photos])
        names, labels = [item.name for item in photos], torch.tensor([item.label for item in photos])
        classes = [photos.classes.get(number, "") for number in range(1000)]
        return Labelled(photos.name, "", names, crops.permute(0, 3, 1, 2), labels, classes, photos.digest())
    own, _, part = source.partition("-")
    labelled = pictures(own, goal, part or "test")
    assert isinstance(labelled, Labelled)  # only training on ILSVRC2012 and VOC 2012 reads from files
    return replace(labelled, name=source) if part else labelled


def imagenet_crop(photo: Tensor) -> Tensor:
    """The middle 224 x 224 pixels of a photo whose short side was brought to 256."""
    height, width = photo.shape[-2:]
    size = [round(n * 256 / min(height, width)) for n in (height, width)]
    return images.centre_crop(resize_antialiased(photo, size).clamp(0, 1), 224)


@cache
def network(name: str) -> nn.Module:
    """A network of a checkpoint, its batch norms folded into the convolutions; or the pretrained EfficientNet-Lite0."""
    return folded(efficientnet.pretrained() if name == "efficientnet-lite0" else load(name)).to(best_device())


def noisy(clean: Labelled, sigma: int, seed: int) -> Tensor:
    """All pictures under noise that depends on seed, name and sigma alone."""
    parts = []
    for name, picture in zip(clean.names, clean.pictures, strict=True):
        generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {name} sigma {sigma}".encode()))
        parts.append(noise.gaussian(to_float(picture), sigma, generator))
    return torch.stack(parts)


def batches(x: Tensor, pixels: int) -> Iterator[Tensor]:
    """Batches of at most so many pixels: what a layer writes must still be in the processor's cache for the next."""
    at_once = max(1, pixels // (x.shape[-2] * x.shape[-1]))
    return (part.to(best_device()).contiguous(memory_format=torch.channels_last) for part in x.split(at_once))


@torch.no_grad()
def denoised(name: str, x: Tensor) -> Tensor:
    """Pictures (n, 3, h, w) by the denoiser of that name, in bfloat16 where that is native."""
    device = best_device()
    with torch.autocast(device, torch.bfloat16, enabled=has_bfloat16(device)):
        return torch.cat([same_size(network(name), part).float().cpu() for part in batches(x, 60_000)])


@torch.no_grad()
def predictions(name: str, x: Tensor) -> Tensor:
    """Scores (n, classes) of a classifier, or classes (n, h, w) of a segmenter."""
    answers = [network(name)(part).cpu() for part in batches(x, 200_000)]
    return torch.cat([scores if scores.ndim == 2 else scores.argmax(1).to(torch.uint8) for scores in answers])


def numbers_of(case: str, source: str, count: int) -> list[int]:
    """Which of ``count`` test pictures a case sees: all, but for CBM3D, which is slow."""
    return evenly(range(count), CBM3D_PICTURES[source] if case == "cbm3d" else None)


@lru_cache(maxsize=len(SIGMAS))  # several networks see the same pictures one after another
def restored(how: str, source: str, goal: str, sigma: int, seed: int) -> Tensor:
    """The test pictures as networks see them, (n, 3, h, w): clean, noisy, by CBM3D, or by the denoiser of that name."""
    clean = test_pictures(source, goal)
    if how == "clean":
        return to_float(clean.pictures)
    x = noisy(clean, sigma, seed)
    if how == "cbm3d":
        return torch.stack([baselines.cbm3d(x[number], sigma) for number in numbers_of(how, source, len(clean))])
    return x if how == "noisy" else denoised(how, x)


@lru_cache(maxsize=len(SIGMAS))
def quality(how: str, source: str, goal: str, sigma: int) -> tuple[Measurement, ...]:
    """PSNR, SSIM and LPIPS of the clipped, rounded pictures, at the first draw of the noise."""
    clean = test_pictures(source, goal)
    x = (restored(how, source, goal, sigma, 0).clamp(0, 1) * 255).round() / 255
    truth = to_float(clean.pictures[numbers_of(how, source, len(clean))])
    at_once = max(1, 250_000 // (x.shape[-2] * x.shape[-1]))
    values: dict[str, list[float]] = {metric: [] for metric in QUALITY}
    for a, b in zip(x.split(at_once), truth.split(at_once), strict=True):
        each = metrics.psnr(a, b, RGB), metrics.ssim(a, b, RGB), metrics.lpips(a, b, net="alex")
        for metric, numbers in zip(QUALITY, each, strict=True):
            values[metric] += torch.as_tensor(numbers).tolist()
    return tuple(replace(measurement(f"sigma {sigma}", metric, each), per_image=()) for metric, each in values.items())


def accuracies(predicted: Tensor, truth: Tensor, goal: str, classes: int, condition: str) -> list[Measurement]:
    """Accuracies with their bootstrap intervals, and one value for each picture."""
    if goal == "classify":
        first, fifth = (metrics.top_k(predicted, truth, k).float() * 100 for k in (1, 5))
        low, high = metrics.bootstrap(first, lambda part: part.mean())
        values = (float(first.mean()), low, high, float(fifth.mean()))
        each = measurement(condition, "top1_each", first.tolist())
    else:
        counts = metrics.confusion(predicted, truth, classes)
        low, high = metrics.bootstrap(counts, lambda part: 100 * metrics.mean_iou(part))
        values = (100 * metrics.mean_iou(counts), low, high, 100 * metrics.pixel_accuracy(counts))
        each = measurement(condition, "pixel_accuracy_each", [100 * metrics.pixel_accuracy(c) for c in counts])
    return [*(of_set(condition, name, value) for name, value in zip(ACCURACIES[goal], values, strict=True)), each]


def recognise(task: VisionTask, case: str, seed: int, tell: Tell) -> list[Measurement]:
    """What a network makes of the pictures of a case, at every noise level."""
    truth, measured = test_pictures(task.source, task.goal), []
    targets = truth.targets[numbers_of(case, task.source, len(truth))]
    pictures_of = next(goal for source, goal in CROSS if source == task.source)  # the same ones for both goals
    for sigma in task.levels(case):
        condition = f"sigma {sigma}" if sigma else "clean"
        how = denoiser_of(case, task.source, task.goal, sigma) or case
        predicted = predictions(task.network, restored(how, task.source, pictures_of, sigma, seed))
        measured += accuracies(predicted, targets, task.goal, len(truth.classes), condition)
        if case != "clean" and seed == 0:
            measured += quality(how, task.source, pictures_of, sigma)
        tell(f"{case} {condition}")
    return measured


def vision_trials(sets: Sequence[str], tier: str) -> Iterator[Trial]:
    """All cases before all networks; those that see the same pictures come one after another."""
    for source in sets:
        jobs = []
        for task in VISION_TASKS:
            if task.source == source and network_is_here(task.network):
                cases = [case for case in task.cases if case != "cbm3d" or has_cbm3d()]
                for case in cases:
                    how = denoiser_of(case, source, task.goal, task.sigmas[0]) or case
                    jobs += [(seed, how, task, case) for seed in ((0,) if case == "clean" else VISION_SEEDS)]
        yield from (vision_trial(task, case, seed) for seed, _, task, case in sorted(jobs, key=lambda job: job[:2]))


def vision_trial(task: VisionTask, case: str, seed: int) -> Trial:
    """One case of a task, with the denoisers of one seed."""
    truth = test_pictures(task.source, task.goal)
    names = [denoiser_of(case, task.source, task.goal, sigma) for sigma in task.sigmas]
    used = [name for name in [*names, task.network] if name and name != "efficientnet-lite0"]
    return Trial(
        task.recipe(case),
        truth.name,
        [truth.names[number] for number in numbers_of(case, task.source, len(truth))],
        VISION,
        partial(recognise, task, case, seed),
        seed=None if case == "clean" else seed,
        settings={"checkpoints": {name: card(name).sha256[:16] for name in used}},
        digest=truth.digest,
        ticks=len(task.levels(case)),
    )


def network_is_here(name: str) -> bool:
    """Whether a network can be loaded; says on stderr that ImageNet is left out where EfficientNet cannot."""
    return name != "efficientnet-lite0" or available("ImageNet", partial(network, name)) is not None


def vision_lines(task: VisionTask, metric: str) -> list[Line]:
    """Every case of a task by one metric; the clean picture has no PSNR."""
    kind = task.network.removesuffix("-cpu").rpartition("-")[2]
    after = f", {NETWORK_TITLES[kind]}" if kind in NETWORK_TITLES else ""
    place = SOURCES[task.source][0], VISION.name
    return [
        Line(CASE_TITLES[case] + after, f"sigma {sigma}" if sigma else "clean", metric, task.recipe(case), *place)
        for case in task.cases
        if case != "clean" or metric not in QUALITY
        for sigma in task.levels(case)
    ]


def vision_sections() -> Iterator[Section]:
    """A section for each set of pictures and task, and one for the weight of the task's loss."""
    shown = set()
    for source, goal in CROSS:
        tasks = [t for t in VISION_TASKS if (t.source, t.goal) == (source, goal) and t.cases != WEIGHTED]
        every = [line for metric in ACCURACIES[goal] for task in tasks for line in vision_lines(task, metric)]
        if source not in shown:  # the same pictures for both goals
            every += [line for metric in QUALITY for line in vision_lines(tasks[0], metric)]
        shown.add(source)
        title = f"{SOURCES[source][1]}, {'classified' if goal == 'classify' else 'segmented'}"
        yield Section(f"{source}-{goal}", title, VISION.rules, every, published=False)
    cases = ("separate", *WEIGHTED[:2], "joint", *WEIGHTED[2:])
    task = VisionTask("scenes", "classify", "classifier-scenes-cpu", cases, (30,))
    every = [line for metric in (*ACCURACIES["classify"][:3], *QUALITY) for line in vision_lines(task, metric)]
    every = [replace(line, group="task weight 1/4") if line.group == CASE_TITLES["joint"] else line for line in every]
    yield Section("scenes-lambda", "drawn scenes, by the weight of the task", VISION.rules, every, published=False)


VISION_TABLE = Experiment(
    "liu2018-vision",
    "What networks see in denoised pictures (as paper A's Tables 2 and 3, on smaller sets)",
    tuple(vision_sections()),
    trials=vision_trials,
    sets=tuple(SOURCES),
)

# What joint training does to photographs: Kodak by denoisers that learnt with a network that recognises, or alone

SHARPNESS_SIGMA = 30
SHARPNESS_METRICS = ("psnr", "ssim", "lpips_alex", "detail", "fine_power")
#: Recipes whose checkpoints are compared, and what they were trained on.
SHARPNESS_CASES = {
    "half-denoiser-30": "denoiser of photos",
    "scenes-separate-30": "drawn scenes, trained separately",
    "scenes-classify-30": "drawn scenes, jointly, to classify",
    "scenes-segment-30": "drawn scenes, jointly, to segment",
    "tiny-separate-30": "Tiny ImageNet, trained separately",
    "tiny-classify-30": "Tiny ImageNet, jointly, to classify",
    "camvid-separate-30": "CamVid, trained separately",
    "camvid-segment-30": "CamVid, jointly, to segment",
}


def fine_structure(x: Float[Tensor, "*c h w"]) -> Float[Tensor, "*c h w"]:
    """What is left of a picture without its averages over 5 x 5 pixels; at the border over those there are."""
    return x - functional.avg_pool2d(x, 5, 1, 2, count_include_pad=False)


def detail_metrics(restored: Tensor, clean: Tensor, sigma: float) -> dict[str, float]:
    """The metrics of :func:`restore_lib.experiments.paper_a.kodak_metrics`, and two about detail, in percent.

    ``detail``: how much of the clean photo's fine structure is in the result, by regression: 100 for the photo itself,
    0 for a blur. ``fine_power``: the power of the result's own, right or wrong, relative to the photo's.
    """
    ours, true = (fine_structure(x[..., 3:-3, 3:-3].double()) for x in (restored.clamp(0, 1), clean))
    power = true.square().sum()
    shares = {"detail": (ours * true).sum() / power, "fine_power": ours.square().sum() / power}
    return kodak_metrics(restored, clean, sigma) | {name: 100 * float(share) for name, share in shares.items()}


SHARPNESS = replace(kodak_protocol(SHARPNESS_SIGMA), **WORDS["kodak-sharpness"], measure=detail_metrics)


def sharpness_trials(sets: Sequence[str], tier: str) -> Iterator[Trial]:
    """Every denoiser on the Kodak photos; at tier ``smoke`` only one."""
    for recipe in list(SHARPNESS_CASES)[: 1 if tier == "smoke" else None]:
        weights = card(f"{recipe}-cpu")
        yield of_checkpoint(weights, as_model, KODAK, SHARPNESS, seed=0)


SHARPNESS_MEANS = section(SHARPNESS, SHARPNESS_METRICS, SHARPNESS_CASES, {KODAK: ""}, name="means")
FIFTH = [replace(line, group=f"{line.group}, photo 5", image="kodim05") for line in SHARPNESS_MEANS.lines]
SHARPNESS_TABLE = Experiment(
    "kodak-sharpness",
    "Photographs by denoisers that were trained to be seen through (Kodak)",
    (SHARPNESS_MEANS, replace(SHARPNESS_MEANS, name="photo-5", title="photo 5 alone", lines=FIFTH)),
    trials=sharpness_trials,
    sets=(KODAK,),
)

EXPERIMENTS = (VISION_TABLE, SHARPNESS_TABLE)
