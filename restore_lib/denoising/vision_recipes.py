"""Recipes of paper A's second half: vision networks, and denoisers trained for them (Sec. 2.2 and 3).

Labelled pictures come from scenes that the library draws (classes and masks), Tiny ImageNet's ten classes, and CamVid's
street scenes; and from ILSVRC2012 and VOC 2012, the paper's own, for those who have them. A name says the source, what
the denoiser was trained for, and sigma: ``tiny-classify-30``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from restore_lib import metrics
from restore_lib.data import labelled
from restore_lib.data.labelled import Labelled, LabelledFiles
from restore_lib.data.patches import to_float
from restore_lib.denoising.denoiser import Denoiser, same_size
from restore_lib.denoising.losses import joint_step, vision_step
from restore_lib.denoising.recipes import RGB, from_source
from restore_lib.nets import vgg
from restore_lib.nets.largefov import DeepLabLargeFOV, start_from_vgg
from restore_lib.nets.resnet import SmallResNet
from restore_lib.nets.vgg import SmallVGG
from restore_lib.pretrained import build, describe, load, load_into
from restore_lib.training.recipes import Recipe, sourced, variant, warm_cosine
from restore_lib.training.task import Task, one_network

GOALS = {"scenes": ("classify", "segment"), "tiny": ("classify",), "camvid": ("segment",)}
CLASSES = {"scenes": len(labelled.scenes.CLASSES), "tiny": 10, "camvid": len(labelled.CAMVID)}
CLASSES |= {"ilsvrc": 1000, "voc": len(labelled.VOC)}
SCENE = 96  # side of drawn scenes in pixels
SIGMAS = (15, 30, 45, 60)  # of the paper's Tables 2 and 3
VGG16 = "vgg16"  # instead of a checkpoint's name: torchvision's weights
SMOKE = {"steps": 10, "batch_size": 4, "count": 24, "width": 8, "validate_every": 5, "warmup": 5, "crop": 64}
SMOKE |= {"source": "scenes", "start": ""}


@dataclass(frozen=True)
class LabelledRecipe(Recipe):
    """What all recipes here share: labelled pictures."""

    source: str = sourced("scenes", "ours: the paper has ILSVRC2012 and VOC2012", "Labelled pictures.")
    goal: str = sourced("classify", "paper Sec. 2.2", "classify or segment.")
    count: int = sourced(0, "ours", "Pictures to train on; 0: all.")
    decay: float = sourced(0.99, "ours", "Of the averaged weights, which are the ones that are kept.")

    def part(self, name: str) -> Any:
        """Pictures to ``train`` on, or ``held`` ones, see :func:`pictures`."""
        return pictures(self.source, self.goal, name, self.count)

    def training_data(self) -> tuple[str, str]:
        """Name and hash of the pictures that it is trained on."""
        train = self.part("train")
        return f"{train.name} {train.split}", train.digest


@dataclass(frozen=True)
class VisionRecipe(LabelledRecipe):
    """A small vision network: a classifier or a segmenter, trained on clean pictures."""

    steps: int = sourced(1500, "ours", "Updates of the weights.")
    batch_size: int = sourced(32, "ours", "Crops in a step.")
    network: str = sourced("vgg", "paper: VGG-16; ours is small", "vgg, resnet or largefov.")
    width: int = sourced(24, "ours: the paper's networks have 64", "Channels of the first convolutions.")
    crop: int = sourced(80, "ours", "Side of a crop in pixels.")
    noisy: float = sourced(0.0, "paper: clean pictures only", "Largest sigma of noise in training; 0: none.")
    start: str = sourced("", "ours", "Checkpoint that weights start from.")
    learning_rate: float = sourced(2e-3, "ours, for AdamW", "The optimiser's step at its largest.")
    warmup: int = sourced(100, "ours", "Steps in which the learning rate rises from zero.")
    weight_decay: float = sourced(1e-2, "ours: PyTorch's default", "Of AdamW.")
    validate_every: int = sourced(250, "ours", "Steps between two validations.")

    def architecture(self) -> Mapping[str, object]:
        """The network as plain data, for the checkpoint's card."""
        classes = CLASSES[self.source]
        if self.network == "largefov" and self.width == 64:
            return describe(DeepLabLargeFOV, classes=classes)  # the paper's
        if self.network == "largefov":
            reach = 6 if self.source == "camvid" else 4  # the paper's 12 is made for score maps of 41 x 41
            options = {"hidden": 8 * self.width, "dilation": reach, "norm": True}
            return describe(DeepLabLargeFOV, classes=classes, width=self.width, **options)
        return describe({"vgg": SmallVGG, "resnet": SmallResNet}[self.network], classes=classes, width=self.width)

    def task(self, seed: int) -> Task:
        """Networks, optimiser, batches and step for the loop."""
        train, held = self.part("train"), self.part("held")
        network = build(self.architecture())
        if self.start == VGG16:
            start_from_vgg(cast(DeepLabLargeFOV, network), vgg.pretrained())
        elif self.start:
            load_into(network, self.start)
        adam = torch.optim.AdamW(network.parameters(), self.learning_rate, weight_decay=self.weight_decay)
        return Task(
            **one_network("vision", network, adam, warm_cosine(self.steps, self.warmup), self.decay),
            step=vision_step(self.goal, self.noisy),
            batches=partial(train.batch, batch=self.batch_size, size=self.crop, seed=seed),
            validate=lambda networks: vision_scores(networks["vision"], to_float(held.pictures), held, self.goal),
        )


@dataclass(frozen=True)
class CascadeRecipe(LabelledRecipe):
    """A denoiser before a frozen vision network (paper Sec. 2.2); with a task weight of 0 trained separately."""

    steps: int = sourced(400, "ours: a minute or two", "Updates of the weights.")
    batch_size: int = sourced(8, "official code: 10 classifying, 6 segmenting", "Crops in a step.")
    sigma: float = sourced(30.0, "paper A, Tables 2 and 3", "Standard deviation of the noise on the scale 0 to 255.")
    mse_weight: float = sourced(1.0, "paper Eq. 2", "Of the mean squared error of values in [0, 1].")
    task_weight: float = sourced(0.25, "ours; the paper's lambda, whose units it does not say", "Of the cross entropy.")
    vision: str = sourced("classifier-scenes-cpu", "paper Sec. 2.2: trained on clean pictures", "Frozen checkpoint.")
    width: int = sourced(64, "ours: half of the paper's", "Channels of the denoiser's encoders.")
    start: str = sourced("half-denoiser-30-cpu", "paper Sec. 2.2: a trained denoiser", "Checkpoint to start from.")
    crop: int = sourced(96, "ours", "Side of a crop in pixels.")
    learning_rate: float = sourced(5e-4, "ours, for Adam; the official code has SGD", "Adam's step at its largest.")
    warmup: int = sourced(50, "ours", "Steps in which the learning rate rises from zero.")
    validate_every: int = sourced(200, "ours", "Steps between two validations.")

    def architecture(self) -> Mapping[str, object]:
        """The denoiser as plain data, for the checkpoint's card."""
        return describe(Denoiser, variant="released", width=self.width)

    def task(self, seed: int) -> Task:
        """Networks, optimiser, batches and step for the loop."""
        train, held = self.part("train"), self.part("held")
        denoiser = build(self.architecture())
        if self.start:
            load_into(denoiser, self.start)
        if self.vision == VGG16:
            vision = vgg.pretrained()
        elif self.vision:
            vision = load(self.vision)
        else:  # untrained, to try the code
            trained = {"classify": VISION[0], "segment": VISION[2]}[self.goal]
            vision = build(replace(trained, source=self.source, width=8).architecture())
        adam = torch.optim.Adam(denoiser.parameters(), self.learning_rate)
        return Task(
            **one_network("denoiser", denoiser, adam, warm_cosine(self.steps, self.warmup), self.decay),
            frozen={"vision": vision},
            step=joint_step(self.sigma, self.goal, self.mse_weight, self.task_weight),
            batches=partial(train.batch, batch=self.batch_size, size=self.crop, seed=seed),
            validate=cascade_validation(held, vision, self.goal, self.sigma),
        )


NETWORK = VisionRecipe(tiers={"smoke": SMOKE, "cpu": {}}, cost={"smoke": "10 s"}, stored="float16")
UNTRAINED = SMOKE | {"vision": ""}
CASCADE = CascadeRecipe(tiers={"smoke": UNTRAINED, "cpu": {}}, cost={"smoke": "10 s"}, stored="float16")
TINY = from_source("ours", source="tiny", crop=56)
QUARTER = from_source("ours", goal="segment", network="largefov", width=16)
STREETS = from_source("ours", source="camvid", crop=168, batch_size=8)
VISION = (
    variant(NETWORK, "classifier-scenes", "VGG-style classifier of drawn scenes"),
    variant(NETWORK, "classifier-tiny", "VGG-style classifier of Tiny ImageNet's ten classes", **TINY),
    variant(NETWORK, "segmenter-scenes", "DeepLab-LargeFOV of a quarter's width on drawn scenes", **QUARTER),
    variant(NETWORK, "segmenter-camvid", "DeepLab-LargeFOV of a quarter's width on CamVid", **QUARTER, **STREETS),
)
"""Networks trained on clean pictures, which the denoisers' trainings freeze."""

NOISY = tuple(
    variant(
        base,
        f"{base.name}-noisy",
        f"{base.title}, trained further on noisy pictures",
        noisy=(60.0, "ours: the honest competitor"),
        start=(f"{base.name}-cpu", "ours: saves training"),
        steps=(800, "ours"),
        learning_rate=(1e-3, "ours, for AdamW"),
    )
    for base in VISION
)
RESIDUAL = {"network": ("resnet", "ours: unseen by denoisers"), "width": (32, "ours")}
OTHERS = tuple(
    variant(base, f"{base.name}-resnet", f"{base.title}, as a residual network", **RESIDUAL) for base in VISION[:2]
)


def cascade_recipe(source: str, goal: str, sigma: int, *, alone: bool = False) -> CascadeRecipe:
    """A denoiser for labelled pictures and a goal; ``alone``, with a task weight of 0, the paper's separate one."""
    network = {"classify": "classifier", "segment": "segmenter"}[goal]
    crop, batch_size = {"scenes": (96, 8), "tiny": (64, 16), "camvid": (128, 6)}.get(source, (224, 10))
    if alone:
        name, title = f"{source}-separate-{sigma}", f"Denoiser trained on {source} alone, sigma {sigma}"
        task_weight = (0.0, "paper Sec. 4: the separately trained denoiser")
    else:
        name, title = f"{source}-{goal}-{sigma}", f"Denoiser trained to {goal} {source}, sigma {sigma}"
        task_weight = {
            "classify": (0.25, "ours: said of the paper, not seen in a source"),
            "segment": (0.5, "paper Sec. 2.2; it does not say the units"),
        }[goal]
    return variant(
        CASCADE,
        name,
        title,
        source=(source, "ours"),
        goal=(goal, "paper Sec. 2.2"),
        sigma=(float(sigma), "paper A, Tables 2 and 3"),
        vision=(f"{network}-{source}-cpu", "paper Sec. 2.2: trained on clean pictures"),
        start=(f"half-denoiser-{sigma}-cpu", "paper Sec. 2.2: a trained denoiser"),
        crop=(crop, "ours: whole pictures, but of CamVid"),
        batch_size=(batch_size, "ours; the official code has 10 and 6"),
        task_weight=task_weight,
    )


CASCADES = tuple(
    cascade_recipe(source, goal, sigma, alone=alone)
    for sigma in (30, 15, 45, 60)
    for source, goals in GOALS.items()
    for alone, goal in ((True, goals[0]), *((False, goal) for goal in goals))
)
OFFICIAL = tuple(
    variant(
        base := cascade_recipe("scenes", goal, 30),
        f"{base.name}-official",
        f"{base.title}, with the official code's weights",
        mse_weight=(mse_weight, "official code, in these units"),
        task_weight=(1.0, "official code"),
    )
    for goal, mse_weight in (("classify", 0.0), ("segment", 50.6))
)
TASK_WEIGHTS = (0.001, 0.01, 2.5)  # with 0.25 and 0 (trained separately) a curve of five points
SWEEP = tuple(
    variant(
        base := cascade_recipe("scenes", "classify", 30),
        f"{base.name}-lambda-{weight}",
        f"{base.title}, task weight {weight}",
        task_weight=(weight, "ours: what is tried out"),
    )
    for weight in TASK_WEIGHTS
)
VOC = variant(  # the paper's own segmenter; its classifier is torchvision's VGG-16
    NETWORK,
    "segmenter-voc",
    "DeepLab-LargeFOV on VOC 2012",
    **from_source("paper Sec. 4.2", source="voc", goal="segment", network="largefov", width=64),
    start=(VGG16, "paper Sec. 4.2: VGG-16, here its convolutions only"),
    crop=(320, "official code: 321"),
    batch_size=(10, "ours"),
    steps=(20_000, "ours"),
    learning_rate=(1e-4, "ours, for AdamW"),
)
PAPER = tuple(
    variant(
        base := cascade_recipe(source, goal, sigma, alone=alone),
        base.name,
        base.title,
        vision=(network, "paper Sec. 4"),
        width=(128, "paper Fig. 2"),
        start=(f"denoiser-{sigma}-gpu", "paper Sec. 2.2: a trained denoiser"),
        crop=(crop, "official code: 226 and 322"),
        batch_size=(batch_size, "official code"),
        steps=(20_000, "ours"),
        learning_rate=(1e-4, "ours, for Adam"),
    )
    for source, goal, network, crop, batch_size in (
        ("ilsvrc", "classify", VGG16, 224, 10),
        ("voc", "segment", "segmenter-voc-gpu", 320, 6),
    )
    for alone in (True, False)
    for sigma in (30, 15, 45, 60)
)
"""Denoisers of full width for the paper's own pictures and networks."""

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for recipe in (*VISION, *NOISY, *OTHERS, *CASCADES, *OFFICIAL, *SWEEP, VOC, *PAPER)
}


@cache
def pictures(source: str, goal: str, part: str, count: int = 0) -> Labelled | LabelledFiles:
    """Labelled pictures of a source for a goal: a ``part``, ``train``, ``held`` or ``test``.

    ``held`` ones are other scenes of the training textures, every twentieth of Tiny ImageNet's training pictures, the
    last eight of CamVid's. For ILSVRC2012 and VOC 2012 they and the tests are middles of the first of the official
    validation part, as the paper has no other. ``count`` is that of scenes to draw, of other sources the first so many;
    0: the usual number. DataError when the set is not on this computer.
    """
    if source == "scenes":
        usual = {"train": 3600, "held": 240, "test": 240}[part]
        split, seed = ("test", 0) if part == "test" else ("train", int(part == "held"))
        of = {"classify": "label", "segment": "mask"}[goal]
        return labelled.drawn(split, count or usual, SCENE, of=of, seed=seed)
    if source in ("ilsvrc", "voc"):
        return _official(source, part, count)
    if source == "tiny":
        whole = labelled.classified("tiny_imagenet10", "val" if part == "test" else "train")
        held = torch.arange(len(whole)) % 20 == 19  # the set lies class by class
    else:
        whole = labelled.camvid("test" if part == "test" else "train")
        held = torch.arange(len(whole)) >= len(whole) - 8
    if part != "test":
        whole = whole.part((held if part == "held" else ~held).nonzero()[:, 0].tolist())
    return whole.part(range(min(count, len(whole)))) if count else whole


def _official(source: str, part: str, count: int) -> Labelled | LabelledFiles:
    """ILSVRC2012 and VOC 2012: files to train on, middles of 224 and 320 pixels in memory to validate with."""
    if part == "train":
        return labelled.ilsvrc("train") if source == "ilsvrc" else labelled.voc("train_aug")
    files = labelled.ilsvrc("val") if source == "ilsvrc" else labelled.voc("val")
    size, usual = (224, 1000) if source == "ilsvrc" else (320, 100)
    chosen = range(min(count or usual, len(files)))
    middles, targets = zip(*(files.centre(number, size) for number in chosen), strict=True)
    targets = torch.stack(targets)
    targets = targets if source == "ilsvrc" else targets.to(torch.uint8)
    names = [files.names[number] for number in chosen]
    return Labelled(files.name, files.split, names, torch.stack(middles), targets, files.classes, files.digest)


@torch.no_grad()
def vision_scores(network: nn.Module, x: Tensor, truth: Labelled, goal: str, at_once: int = 40) -> dict[str, float]:
    """What a network makes of pictures (n, 3, h, w): top-1 accuracy, or mean IoU and pixel accuracy."""
    device = next(network.parameters()).device
    scores = [network(part.to(device)).float().cpu() for part in x.split(at_once)]
    if goal == "classify":
        return {"top1": float(metrics.top_k(torch.cat(scores), truth.targets).float().mean())}
    labels = torch.cat([part.argmax(1) for part in scores])
    counts = metrics.confusion(labels, truth.targets, len(truth.classes))
    return {"miou": metrics.mean_iou(counts), "pixel_accuracy": metrics.pixel_accuracy(counts)}


def cascade_validation(
    held: Labelled, vision: nn.Module, goal: str, sigma: float
) -> Callable[[Mapping[str, nn.Module]], Mapping[str, float]]:
    """PSNR of denoised pictures and what the frozen network makes of them, under one fixed noise."""
    clean = to_float(held.pictures)
    noisy = clean + sigma / 255 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))

    def validate(networks: Mapping[str, nn.Module]) -> Mapping[str, float]:
        denoiser = networks["denoiser"]
        device = next(denoiser.parameters()).device
        restored = torch.cat([same_size(denoiser, part.to(device)).float().cpu() for part in noisy.split(16)])
        return {
            "psnr": float(torch.as_tensor(metrics.psnr(restored.clamp(0, 1), clean, RGB)).mean()),
            **vision_scores(vision, restored, held, goal),
        }

    return validate
