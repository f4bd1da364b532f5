"""Recipes of super-resolution by 4: stage 1 by absolute differences, stage 2 against a discriminator.

A name says the network, the stage, and how LR images are made. ``rrdb-gan-bicubic`` is ESRGAN in the small,
``rrdb-gan-both`` RealSR, ``edsr-l1-bicubic`` EDSR; the others leave something out, or change one thing.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from restore_lib import metrics
from restore_lib.nets.edsr import EDSR
from restore_lib.nets.rrdbnet import RRDBNet, begin_as_interpolation
from restore_lib.pretrained import build, describe, load_into
from restore_lib.realsr import hidden_camera
from restore_lib.realsr.dsgan import DSGAN
from restore_lib.realsr.hidden_camera import SCALE, PairSettings, training_pairs
from restore_lib.realsr.losses import (
    LossWeights,
    PatchDiscriminator,
    VGGDiscriminator,
    perceptual_network,
    stage_1_step,
    stage_2_step,
)
from restore_lib.training.recipes import Kind, Recipe, sourced, variant
from restore_lib.training.task import Task, one_network

RULE = metrics.Protocol("rgb", SCALE, True, "the hidden degradation", "track 1")
LPIPS_NET = "alex"


@dataclass(frozen=True)
class SRRecipe(PairSettings, Recipe):
    """Stage 1: a network that enlarges by 4, trained by absolute differences alone."""

    steps: int = sourced(2000, "ours; ESRGAN has 1,000,000", "Updates of the weights.")
    batch_size: int = sourced(8, "ours; the official code has 16", "Crops in a step.")
    size: int = sourced(96, "ours; the official code has 128", "Side of an HR crop in pixels.")
    network: str = sourced("rrdb", "paper Sec. 3.4", "rrdb or edsr.")
    blocks: int = sourced(4, "ours; ESRGAN has 23", "Blocks of the network.")
    width: int = sourced(32, "ours; ESRGAN has 64", "Channels between blocks.")
    growth: int = sourced(16, "ours; ESRGAN has 32", "Channels that each convolution of a dense block adds.")
    start: str = sourced("", "ours", "Checkpoint that weights start from.")
    begin: str = sourced(
        "interpolation",
        "ours: saves the minutes in which RRDB learns to copy; ESRGAN has random",
        "Fresh weights: random, or for rrdb such that the untrained network interpolates.",
    )
    learning_rate: float = sourced(1e-3, "ours: fewer steps; ESRGAN has 2e-4", "Adam's step at its largest.")
    beta2: float = sourced(0.999, "PyTorch; ESRGAN has 0.99 in this stage", "Adam's memory of squared gradients.")
    warmup: int = sourced(50, "ours", "Steps in which the learning rate rises from zero.")
    restarts: int = sourced(1, "ours; BasicSR's ESRGAN has 4", "Times that the rate falls along half a cosine.")
    halved: tuple = sourced((), "ours", "Steps at which the rate is halved, instead of the cosine.")
    decay: float = sourced(0.99, "ours; ESRGAN has 0.999 in stage 2", "Of the averaged weights; 0: keep the last ones.")
    validate_every: int = sourced(200, "ours", "Steps between two validations.")

    def architecture(self) -> Mapping[str, object]:
        """The network as plain data, for the checkpoint's card."""
        if self.network == "edsr":
            residual_scale = 0.1 if self.width >= 256 else 1.0  # Sec. 3.3 of EDSR
            return describe(EDSR, blocks=self.blocks, width=self.width, residual_scale=residual_scale, scale=SCALE)
        return describe(RRDBNet, blocks=self.blocks, width=self.width, growth=self.growth, scale=SCALE)

    def training_data(self) -> tuple[str, str]:
        """Name and hash of the photos that it is trained on."""
        return hidden_camera.description(self.world), hidden_camera.digest(self.world, self.sources)

    def task(self, seed: int) -> Task:
        """Networks, optimiser, batches and step for the loop."""
        network = build(self.architecture())
        if self.start:
            load_into(network, self.start)
        elif self.begin == "interpolation" and isinstance(network, RRDBNet):
            begin_as_interpolation(network)
        pairs = training_pairs(self, seed)
        adam = Adam(network.parameters(), self.learning_rate, betas=(0.9, self.beta2))
        return Task(
            **one_network("generator", network, adam, lambda step: self.rate(step), self.decay),
            step=stage_1_step,
            batches=partial(pairs.crops, batch=self.batch_size, size=self.size, seed=seed),
            validate=validation(held_pairs(self.world)),
        )

    def rate(self, step: int) -> float:
        """Factor of the learning rate before a step, counted from 0."""
        if self.halved:
            return 0.5 ** sum(step >= at for at in self.halved)
        period = math.ceil(self.steps / self.restarts)
        return min((step + 1) / self.warmup, 0.5 * (1 + math.cos(math.pi * (step % period) / period)))


@dataclass(frozen=True)
class GANRecipe(SRRecipe):
    """Stage 2: by absolute differences, features and a discriminator, from the weights of stage 1."""

    steps: int = sourced(1000, "ours; the official code has 60,001", "Updates of the weights.")
    size: int = sourced(64, "ours; the official code has 128", "Side of an HR crop in pixels.")
    learning_rate: float = sourced(5e-4, "ours: fewer steps; the official code has 1e-4", "Adam's largest step.")
    judge: str = sourced("patch", "paper Sec. 3.4; the code of track 1 has vgg", "Discriminator: patch or vgg.")
    judge_layers: int = sourced(2, "ours: patches of 34 pixels; the official code has 3, 70 pixels", "Its halvings.")
    judge_width: int = sourced(32, "ours; the official code has 64", "Channels of its first convolution.")
    judge_learning_rate: float = sourced(2e-4, "ours: fewer steps; the official code has 1e-4", "Of its Adam.")
    kind: str = sourced("relativistic", "official code", "Adversarial loss: relativistic, plain or least squares.")
    together: bool = sourced(False, "official code", "The discriminator gets photos and results in one batch.")
    pixel_weight: float = sourced(
        1.0, "ours: colours drift in minutes of training with the official code's 0.01", "Of the absolute differences."
    )
    feature_weight: float = sourced(0.1, "ours; the official code has 1", "Of the loss on features.")
    adversarial_weight: float = sourced(0.1, "ours: texture within minutes; the official code has 0.005", "Of L_adv.")
    features: str = sourced(
        "vgg16",
        "ours: conv5_3 of VGG-16 before ReLU, which comes with LPIPS; the official code has conv5_4 of VGG-19",
        "Network of the loss on features: vgg19, vgg16 or untrained.",
    )

    def discriminator(self) -> nn.Module:
        """The network that tells photos from results."""
        if self.judge == "vgg":
            return VGGDiscriminator(self.judge_width, self.size)
        return PatchDiscriminator(self.judge_layers, self.judge_width)

    def task(self, seed: int) -> Task:
        """Networks, two optimisers, batches and step for the loop."""
        task, judge = super().task(seed), self.discriminator()
        task.networks["discriminator"] = judge
        task.optimizers["discriminator"] = adam = Adam(judge.parameters(), self.judge_learning_rate)
        task.schedulers["discriminator"] = LambdaLR(adam, lambda step: self.rate(step))
        if self.feature_weight:
            task.frozen["features"] = perceptual_network(self.features)
        weights = LossWeights(self.pixel_weight, self.feature_weight, self.adversarial_weight)
        task.step = partial(stage_2_step, weights=weights, kind=self.kind, together=self.together)
        lpips_net = "" if self.features == "untrained" else LPIPS_NET
        task.validate = validation(held_pairs(self.world), lpips_net)
        return task


def held_pairs(world: str) -> list[tuple[Tensor, Tensor]]:
    """The hidden camera's validation pairs, (hr, lr)."""
    return [(pair.hr, pair.lr) for pair in hidden_camera.validation_pairs(world)]


def validation(
    pairs: Sequence[tuple[Tensor, Tensor]], lpips_net: str = ""
) -> Callable[[Mapping[str, nn.Module]], Mapping[str, float]]:
    """Mean PSNR, and LPIPS where a trunk is named, of the network ``generator`` over pairs (hr, lr)."""

    def validate(networks: Mapping[str, nn.Module]) -> Mapping[str, float]:
        network, scores = networks["generator"], {"psnr": []} | ({"lpips": []} if lpips_net else {})
        device = next(network.parameters()).device
        for hr, lr in pairs:
            sr = network(lr[None].to(device))[0].float().cpu().clamp(0, 1)
            scores["psnr"].append(metrics.psnr(sr, hr, RULE))
            if lpips_net:
                scores["lpips"].append(metrics.lpips(sr, hr, lpips_net))
        return {name: math.fsum(values) / len(values) for name, values in scores.items()}

    return validate


SMOKE = {"blocks": 1, "width": 8, "growth": 4, "batch_size": 2, "size": 32, "steps": 12, "warmup": 4, "start": ""}
SMOKE |= {"world": "embedded", "sources": 2, "kernels": "true", "kernel_photos": 2, "validate_every": 6}
GPU = {"blocks": 8, "width": 64, "growth": 32, "batch_size": 16, "size": 128, "sources": 0, "kernel_photos": 40}
PAPER = {"blocks": 23, "width": 64, "growth": 32, "batch_size": 16, "size": 128, "world": "2k", "sources": 0}
PAPER |= {"kernel_photos": 2650, "warmup": 1, "validate_every": 5000}
PAPER_L1 = {"steps": 1_000_000, "beta2": 0.99, "restarts": 4, "decay": 0.0, "begin": "random"}
PAPER_GAN = {"steps": 60_001, "halved": (5000, 10_000, 20_000, 30_000), "features": "vgg19", "decay": 0.0}
PUBLISHED = {"pixel_weight": 0.01, "feature_weight": 1.0, "adversarial_weight": 0.005}
OFFICIAL = {"learning_rate": 1e-4, "judge_learning_rate": 1e-4, "judge_width": 64, "judge_layers": 3}
OFFICIAL |= PUBLISHED
PIXELS = SRRecipe(
    tiers={"smoke": SMOKE, "cpu": {}, "gpu": GPU | {"steps": 30_000, "learning_rate": 2e-4}, "paper": PAPER | PAPER_L1},
    cost={"smoke": "5 s", "cpu": "at most 6 minutes on one core"},
    stored="float16",
)
"""Stage 1, the values that all its recipes share."""

GAN = GANRecipe(
    tiers={
        "smoke": SMOKE | {"features": "untrained", "judge_layers": 2, "judge_width": 8},
        "cpu": {},
        "gpu": GPU | OFFICIAL | {"steps": 15_000, "decay": 0.999},
        "paper": PAPER | OFFICIAL | PAPER_GAN,
    },
    cost={"smoke": "5 s", "cpu": "at most 6 minutes on one core"},
    stored="float16",
)
"""Stage 2, the values that all its recipes share."""

TRIED = "ours: what is tried out"
ABLATION = "paper Table 1 and its ablation"
TITLES = {
    "bicubic": "bicubic pairs",
    "kernel": "estimated kernels, no noise",
    "noise": "collected noise, bicubic reduction",
    "both": "estimated kernels and collected noise",
    "wrong-noise": "estimated kernels and other cameras' noise",
    "uncleaned": "as both, sources not cleaned up",
    "learned": "pairs made by DSGAN",
    "scales": "as both, noise collected at two sizes",
}
PAIRS: dict[str, dict[str, tuple[Any, str]]] = {
    **{way: {"way": (way, ABLATION)} for way in ("bicubic", "kernel", "noise", "both")},
    "wrong-noise": {"camera": ("wrong", TRIED)},
    "uncleaned": {"clean_up": (1, TRIED)},
    "learned": {"way": ("learned", "ours: the other way that the paper names"), "learned": ("dsgan-cpu", "ours")},
    "scales": {"noise_scales": ((1.0, 0.5), TRIED)},
}


def trained_on(base: Kind, name: str, title: str, pairs: str, start: str, larger: Mapping[str, Any], **changes) -> Kind:
    """A recipe for one kind of ``pairs``, from ``base`` with ``changes`` as for ``variant``.

    ``start`` is the recipe whose weights it starts from, at the same tier (empty: fresh weights, as at tier smoke in
    any case); ``larger`` has further values at the tiers gpu and paper.
    """
    changes = PAIRS[pairs] | changes
    if start:
        changes["start"] = (f"{start}-cpu", "official code: ESRGAN's weights for PSNR, here our own stage before")
    tiers = dict(base.tiers)
    for tier in ("gpu", "paper"):
        names = {"start": f"{start}-{tier}"} if start else {}
        names |= {"learned": f"dsgan-{tier}"} if pairs == "learned" else {}
        tiers[tier] = {**base.tiers[tier], **names, **larger.get(tier, {})}
    return variant(base, name, title, tiers, **changes)


def stage_1(pairs: str) -> SRRecipe:
    """Stage 1 on one kind of pairs; all but the bicubic ones go on from the bicubic one."""
    name, title = f"rrdb-l1-{pairs}", f"RRDB, absolute differences, {TITLES[pairs]}"
    if pairs == "bicubic":
        return trained_on(PIXELS, name, title, pairs, "", {})
    shorter = {"steps": (500, "ours: goes on from bicubic pairs"), "learning_rate": (5e-4, "ours: goes on")}
    return trained_on(PIXELS, name, title, pairs, "rrdb-l1-bicubic", {"gpu": {"steps": 10_000}}, **shorter)


def stage_2(pairs: str, change: str = "", words: str = "", **changes: tuple[Any, str]) -> GANRecipe:
    """Stage 2 on one kind of pairs, from stage 1 on the same kind; as released, from that on bicubic pairs."""
    name = "-".join(filter(None, ["rrdb-gan", pairs, change]))
    title = ", ".join(filter(None, [f"RRDB, GAN, {TITLES[pairs]}", words]))
    changed = {field: value for field, (value, _) in changes.items()}
    paper: dict[str, Any] = {"start": "rrdb-l1-bicubic-paper"} | (ESRGAN if pairs == "bicubic" else {})
    larger = {"gpu": changed, "paper": paper | changed}
    return trained_on(GAN, name, title, pairs, f"rrdb-l1-{pairs}", larger, **changes)


ESRGAN = {"judge": "vgg", "steps": 400_000, "halved": (50_000, 100_000, 200_000, 300_000), "decay": 0.999}
STAGE_1, STAGE_2 = tuple(map(stage_1, TITLES)), tuple(map(stage_2, TITLES))
"""One recipe of each stage for each kind of pairs: what the table compares."""

PAPER_EDSR = {"blocks": 32, "width": 256, "size": 192, "steps": 300_000, "learning_rate": 1e-4}
PAPER_EDSR |= {"restarts": 1, "halved": (200_000,), "beta2": 0.99}
EDSR_BICUBIC = trained_on(
    PIXELS,
    "edsr-l1-bicubic",
    "EDSR, absolute differences, bicubic pairs",
    "bicubic",
    start="",
    larger={"gpu": {"blocks": 16, "width": 64}, "paper": PAPER_EDSR},
    network=("edsr", "paper Table 1"),
    way=("bicubic", "paper Table 1"),
    blocks=(8, "ours; EDSR has 32, its baseline 16"),
    steps=(4000, "ours: half of an RRDB's time; EDSR has 300,000"),
)
VGG_JUDGE = ("vgg", "official code of track 1; the paper has patch")
THEIRS = {field: (value, "official code") for field, value in PUBLISHED.items()}
CHANGED = (
    stage_2("both", "vgg-judge", "one judgement a crop", judge=VGG_JUDGE),
    stage_2("both", "joint-batch", "photos and results judged in one batch", together=(True, TRIED)),
    stage_2("both", "published-weights", "the official code's weights of the losses", **THEIRS),
    stage_2("both", "adversarial-0.02", "weight 0.02 on the judgement", adversarial_weight=(0.02, TRIED)),
)
"""RealSR with one thing changed: its discriminator, or the weights of the losses."""

SR = (*STAGE_1, *STAGE_2, EDSR_BICUBIC, *CHANGED)
RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (*SR, DSGAN)}
