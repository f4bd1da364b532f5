"""Recipes of denoisers: what to train, on what, how long, and where each value comes from."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, StepLR

from restore_lib import data, images, metrics, noise
from restore_lib.data.patches import PatchStore
from restore_lib.denoising.denoiser import Denoiser
from restore_lib.denoising.dncnn import DnCNN
from restore_lib.denoising.losses import all_strengths_step, denoising_step, inner
from restore_lib.errors import TrainingError
from restore_lib.pretrained import build, describe, load_into, load_weights
from restore_lib.training.recipes import Recipe, sourced, variant
from restore_lib.training.task import Task

RGB = metrics.Protocol(channels="rgb", border=0, quantize=True)
EMBEDDED = {"dataset": "embedded", "split": "", "held": 2, "validate_every": 10}


@dataclass(frozen=True)
class SmallDenoiser(Recipe):
    """A DnCNN that a laptop trains in minutes, for one noise level."""

    steps: int = sourced(8000, "ours: half an hour on 2 cores", "Updates of the weights.")
    batch_size: int = sourced(32, "ours: as paper A", "Patches in a step.")
    patch_size: int = sourced(48, "ours: as paper A", "Side of a patch in pixels.")
    sigma: float = sourced(25.0, "paper A, Table 1", "Standard deviation of the noise on the scale 0 to 255.")
    depth: int = sourced(8, "ours: DnCNN has 17 for a known noise level", "Convolutions.")
    width: int = sourced(48, "ours: DnCNN has 64", "Channels between them.")
    learning_rate: float = sourced(
        4e-4, "ours: at 1e-3 the loss jumps after some hundred steps", "Adam's step at its largest."
    )
    warmup: int = sourced(200, "ours", "Steps in which the learning rate rises from zero.")
    decay: float = sourced(0.999, "ours", "Of the averaged weights, which are the ones that are kept.")
    dataset: str = sourced("bsds500", "ours: DnCNN's 400 images are BSDS500's training and test parts", "Photos.")
    split: str = sourced("train400", "ours: CBSD68 lies in the part that is left out", "Part of the set.")
    held: int = sourced(8, "ours", "Last photos of the part, kept for validation and not trained on.")

    def architecture(self) -> Mapping[str, object]:
        """The network as plain data, for the checkpoint's card."""
        return describe(DnCNN, depth=self.depth, width=self.width, channels=3, norm=False)

    def task(self, seed: int) -> Task:
        """Networks, optimiser, batches and step for the loop."""
        photos = data.open(self.dataset, self.split or None)
        store = PatchStore.build(photos[: -self.held], min_size=self.patch_size)
        network = build(self.architecture())
        optimizer = torch.optim.Adam(network.parameters(), self.learning_rate)
        return Task(
            networks={"denoiser": network},
            optimizers={"denoiser": optimizer},
            schedulers={"denoiser": LambdaLR(optimizer, warm_cosine(self.steps, self.warmup))},
            step=denoising_step(self.sigma),
            batches=partial(store.crops, batch=self.batch_size, size=self.patch_size, seed=seed),
            validate=denoising_psnr([item.image for item in photos[-self.held :]], self.sigma),
            average={"denoiser": self.decay},
        )


SMALL_DENOISER = SmallDenoiser(
    name="small-denoiser",
    title="Small DnCNN for Gaussian noise, RGB",
    tiers={
        "smoke": EMBEDDED | {"steps": 40, "batch_size": 8, "depth": 4, "width": 16, "warmup": 10},
        "cpu": {},
        "gpu": {"steps": 60_000, "batch_size": 128, "depth": 12, "width": 64},
    },
    cost={"smoke": "5 s", "cpu": "half an hour on 2 cores"},
)


@dataclass(frozen=True)
class DenoiserRecipe(Recipe):
    """The multi-scale denoiser for one noise level; at tier ``paper`` with the paper's schedule."""

    steps: int = sourced(16_000, "ours: an hour on 2 cores; the paper has 1,500,000", "Updates of the weights.")
    batch_size: int = sourced(32, "paper; the official code has 64", "Patches in a step.")
    patch_size: int = sourced(48, "paper; the official code has 40", "Side of a patch in pixels.")
    sigma: float = sourced(25.0, "paper A, Table 1", "Standard deviation of the noise on the scale 0 to 255.")
    variant: str = sourced("released", "official code", "The released network, or the paper's figure.")
    fusion: str = sourced("concat", "paper Sec. 3.1", "How decoders take up the encoder of their scale.")
    downsampling: str = sourced("stride", "paper Sec. 3.1", "How the size is halved.")
    scales: int = sourced(3, "paper Sec. 3.1", "Scales.")
    residual: bool = sourced(True, "paper Sec. 3.1", "Whether the network predicts the difference to its input.")
    width: int = sourced(128, "paper Fig. 2", "Channels of the encoders.")
    start: str = sourced("", "ours: an hour's training serves all noise levels", "Checkpoint that weights start from.")
    optimizer: str = sourced(
        "adam", "ours: fewer steps; the paper has sgd, with momentum 0.9 and weight decay 5e-4", "adam or sgd."
    )
    learning_rate: float = sourced(2e-3, "ours, for Adam", "The optimiser's step at its largest.")
    warmup: int = sourced(300, "ours", "Steps in which Adam's learning rate rises from zero.")
    clip: float = sourced(0.0, "ours: the official code has 100 with sgd", "Largest norm of the gradient; 0: any.")
    decay: float = sourced(0.999, "ours", "Of the averaged weights, which are kept; 0: keep the last ones.")
    dataset: str = sourced("bsds500", "ours: the paper refers to an earlier paper's photos", "Photos.")
    split: str = sourced("train400", "ours: CBSD68 lies in the part that is left out", "Part of the set.")
    also: str = sourced("div2k_test_lr_x4", "ours: 25 sharp photos more", "A further set of photos.")
    held: int = sourced(8, "ours", "Last photos of the part, kept for validation and not trained on.")

    def architecture(self) -> Mapping[str, object]:
        """The network as plain data, for the checkpoint's card."""
        options = {"fusion": self.fusion, "downsampling": self.downsampling, "scales": self.scales}
        return describe(Denoiser, variant=self.variant, **options, residual=self.residual, width=self.width)

    def task(self, seed: int) -> Task:
        """Networks, optimiser, batches and step for the loop."""
        photos = data.open(self.dataset, self.split or None)
        more = data.open(self.also) if self.also else []
        store = PatchStore.build([*photos[: -self.held], *more], min_size=self.patch_size)
        network = build(self.architecture())
        if self.start:
            load_into(network, self.start)
        optimizer, schedule = self._optimizer(network)
        return Task(
            networks={"denoiser": network},
            optimizers={"denoiser": optimizer},
            schedulers={"denoiser": schedule},
            step=denoising_step(self.sigma, scale=255**2 / 2),
            batches=partial(store.crops, batch=self.batch_size, size=self.patch_size, seed=seed),
            validate=denoising_psnr([item.image for item in photos[-self.held :]], self.sigma),
            average={"denoiser": self.decay} if self.decay else {},
            clip={"denoiser": self.clip} if self.clip else {},
        )

    def _optimizer(self, network: nn.Module) -> tuple[Optimizer, LRScheduler]:
        if self.optimizer == "adam":
            adam = torch.optim.Adam(network.parameters(), self.learning_rate)
            return adam, LambdaLR(adam, warm_cosine(self.steps, self.warmup))
        if self.optimizer != "sgd":
            raise TrainingError(f"Recipe {self.name} knows the optimizers adam and sgd, got {self.optimizer!r}.")
        sgd = torch.optim.SGD(official_groups(network, self.learning_rate), momentum=0.9)
        return sgd, StepLR(sgd, 500_000, 0.1)


def official_groups(network: nn.Module, learning_rate: float) -> list[dict]:
    """Groups of parameters for SGD with the official code's multipliers.

    Biases learn twice as fast and do not decay; the last layer learns ten times slower than the others. The authors'
    scales and shifts of batch norm count as weights and biases.
    """
    groups: dict[tuple[float, float], list] = {}
    for name, parameter in network.named_parameters():
        bias = name.endswith("bias")
        rate = (2.0 if bias else 1.0) * (0.1 if name.startswith("last.") else 1.0)
        groups.setdefault((rate, 0.0 if bias else 5e-4), []).append(parameter)
    return [
        {"params": params, "lr": rate * learning_rate, "weight_decay": decay}
        for (rate, decay), params in groups.items()
    ]


PAPER = {"steps": 1_500_000, "optimizer": "sgd", "learning_rate": 1e-4, "clip": 100.0, "decay": 0.0}
BASE = DenoiserRecipe(
    tiers={
        "smoke": EMBEDDED | {"steps": 20, "batch_size": 4, "width": 16, "also": "", "warmup": 5, "start": ""},
        "cpu": {},
        "gpu": {"steps": 60_000, "batch_size": 64, "learning_rate": 2e-3, "start": ""},
        "paper": PAPER | {"start": "", "validate_every": 5000},
    },
    cost={"smoke": "5 s", "cpu": "an hour at 4 steps a second on one core"},
)
RELEASED = {"sigma": (25.0, "paper A"), "variant": ("released", "official code")}
RELEASED_25 = variant(BASE, "denoiser-25", "Multi-scale denoiser, as released, sigma 25", **RELEASED)
FIGURE = {"sigma": (25.0, "paper A"), "variant": ("paper", "official code")}
FIGURE_25 = variant(BASE, "denoiser-paper-25", "Multi-scale denoiser, Figure 2 literally, sigma 25", **FIGURE)
HALF_30 = variant(  # for the vision tasks
    BASE,
    "half-denoiser-30",
    "Multi-scale denoiser of half width, sigma 30",
    sigma=(30.0, "paper A"),
    width=(64, "ours: a quarter of the weights, so that a laptop trains the cascades of two chapters"),
    steps=(8000, "ours: a quarter of an hour on one core"),
)


def from_source(origin: str, /, **values: Any) -> dict[str, Any]:
    """Values for :func:`restore_lib.training.recipes.variant` that all come from one source."""
    return {name: (value, origin) for name, value in values.items()}


def at_sigma(base: DenoiserRecipe, sigma: int, steps: int) -> DenoiserRecipe:
    """The recipe for another noise level than that of ``base``, whose weights it begins with."""
    first = f"{base.sigma:.0f}"
    name, title = (words.replace(first, str(sigma)) for words in (base.name, base.title))
    return variant(
        base,
        name,
        title,
        sigma=(float(sigma), "paper A"),
        steps=(steps, f"ours: the weights start from those for sigma {first}"),
        start=(f"{base.name}-cpu", "ours: saves training"),
        learning_rate=(1e-3, "ours, for Adam"),
    )


DENOISERS = tuple(
    base if sigma == 25 else at_sigma(base, sigma, 4000)
    for base in (RELEASED_25, FIGURE_25)
    for sigma in (15, 25, 30, 35, 45, 50, 60)  # Table 1 has 25, 35 and 50; the vision tasks have the others
)
HALVES = (HALF_30, *(at_sigma(HALF_30, sigma, 2500) for sigma in (15, 45, 60)))


@dataclass(frozen=True)
class AllStrengths(Recipe):
    """The multi-scale denoiser, told sigma, for noise of any strength and for photos out of files (ours)."""

    steps: int = sourced(12_000, "ours: the weights start from those for sigma 25", "Updates of the weights.")
    batch_size: int = sourced(16, "ours: a half of the paper's, for twice the steps", "Patches in a step.")
    validate_every: int = sourced(1000, "ours", "Steps between two validations.")
    patch_size: int = sourced(48, "paper; the official code has 40", "Side of a patch in pixels.")
    margin: int = sourced(16, "ours: a JPEG file's largest block", "By how much patches are larger when saved.")
    strongest: float = sourced(75.0, "ours: as FFDNet", "Largest standard deviation on the scale 0 to 255.")
    width: int = sourced(128, "paper Fig. 2", "Channels of the encoders.")
    start: str = sourced("denoiser-25-cpu", "ours: saves training", "Checkpoint that weights start from.")
    learning_rate: float = sourced(1e-3, "ours, for Adam", "The optimiser's step at its largest.")
    warmup: int = sourced(300, "ours", "Steps in which Adam's learning rate rises from zero.")
    decay: float = sourced(0.999, "ours", "Of the averaged weights, which are kept.")
    dataset: str = sourced("bsds500", "ours: as the other denoisers", "Photos.")
    split: str = sourced("train400", "ours: CBSD68 lies in the part that is left out", "Part of the set.")
    also: str = sourced("div2k_test_x4", "ours: 100 sharp photos more", "A further set of photos.")
    held: int = sourced(8, "ours", "Last photos of the part, kept for validation and not trained on.")

    def architecture(self) -> Mapping[str, object]:
        """The network as plain data, for the checkpoint's card."""
        return describe(Denoiser, variant="released", width=self.width, noise_map=True)

    def started(self) -> nn.Module:
        """The network with which training begins."""
        network = build(self.architecture())
        if self.start:
            weights = load_weights(self.start)
            weights["first.weight"] = functional.pad(weights["first.weight"], (0, 0, 0, 0, 0, 1))  # sigma: zero
            network.load_state_dict(weights)
        return network

    def task(self, seed: int) -> Task:
        """Networks, optimiser, batches and step for the loop."""
        photos = data.open(self.dataset, self.split or None)
        more = data.open(self.also) if self.also else []
        size = self.patch_size + self.margin
        store = PatchStore.build([*photos[: -self.held], *more], min_size=size)
        network = self.started()
        optimizer = torch.optim.Adam(network.parameters(), self.learning_rate)
        held = [item.image for item in photos[-self.held :]]
        metrics_at = {f"psnr_{sigma}": denoising_psnr(held, sigma, told=True) for sigma in (2, 5, 15, 25, 50)}
        return Task(
            networks={"denoiser": network},
            optimizers={"denoiser": optimizer},
            schedulers={"denoiser": LambdaLR(optimizer, warm_cosine(self.steps, self.warmup))},
            step=all_strengths_step(self.strongest, self.patch_size),
            batches=partial(store.crops, batch=self.batch_size, size=size, seed=seed),
            validate=lambda networks: {name: measure(networks)["psnr"] for name, measure in metrics_at.items()},
            average={"denoiser": self.decay},
        )


ALL_STRENGTHS = AllStrengths(
    name="denoiser-all",
    title="Multi-scale denoiser for all strengths of noise",
    tiers={
        "smoke": EMBEDDED | {"steps": 20, "batch_size": 4, "width": 16, "also": "", "warmup": 5, "start": ""},
        "cpu": {},
        "gpu": {"steps": 100_000, "batch_size": 64, "learning_rate": 2e-3, "start": ""},
    },
    cost={"smoke": "5 s", "cpu": "an hour at 4 steps a second on one core"},
)

TRIED = "ours: what is tried out"
CHOICES = {  # what Section 3.1 compares, one change at a time
    "as-it-is": {},
    "sum": {"fusion": ("sum", TRIED)},
    "pool": {"downsampling": ("pool", TRIED)},
    "two-scales": {"scales": (2, TRIED)},
    "one-scale": {"scales": (1, TRIED)},
    "no-residual": {"residual": (False, TRIED)},
}
SMALLER = variant(
    BASE,
    "ablation",
    "Choices of the denoiser",
    variant=("paper", "paper Fig. 2"),
    width=(32, "ours: a quarter, so that 18 runs take an hour"),
    steps=(2500, "ours: enough to order the choices"),
    batch_size=(16, "ours: half of the paper's"),
)
ABLATIONS = tuple(
    variant(SMALLER, f"ablation-{name}", f"{SMALLER.title}: {name.replace('-', ' ')}", **changed)
    for name, changed in CHOICES.items()
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for recipe in (SMALL_DENOISER, ALL_STRENGTHS, *DENOISERS, *HALVES, *ABLATIONS)
}


def denoising_psnr(
    photos: list[Tensor], sigma: float, told: bool = False
) -> Callable[[Mapping[str, nn.Module]], Mapping[str, float]]:
    """Mean PSNR over photos under one fixed noise each, measured on middles of 256 x 256 pixels.

    ``told``: the network is told sigma.
    """
    middles = [images.centre_crop(photo, 256) for photo in photos]
    noisy = [noise.gaussian(x, sigma, torch.Generator().manual_seed(i)) for i, x in enumerate(middles)]

    def validate(networks: Mapping[str, nn.Module]) -> Mapping[str, float]:
        network = networks["denoiser"]
        device = next(network.parameters()).device
        more = (sigma,) if told else ()
        restored = [network(x[None].to(device), *more)[0].float().cpu().clamp(0, 1) for x in noisy]
        values = [metrics.psnr(a, inner(b, a), RGB) for a, b in zip(restored, middles, strict=True)]
        return {"psnr": math.fsum(values) / len(values)}

    return validate


def warm_cosine(steps: int, warmup: int) -> Callable[[int], float]:
    """Factor of the learning rate: up to 1 in a line over ``warmup`` steps, then down to 0 along half a cosine."""
    return lambda step: min((step + 1) / warmup, 0.5 * (1 + math.cos(math.pi * min(step / steps, 1))))
