"""Recipes of super-resolution at any scale: three decoders behind one encoder, and what each of their parts is worth.

``diinn``, ``liif`` and ``metasr`` differ in nothing but the decoder. The other names change one thing each.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from restore_lib import images, metrics
from restore_lib.data import Item
from restore_lib.data.patches import PatchStore, to_float
from restore_lib.errors import TrainingError
from restore_lib.implicit.anyscale import AnyScale
from restore_lib.implicit.crops import AnyScaleCrops
from restore_lib.implicit.diinn import DIINN
from restore_lib.implicit.liif import LIIF
from restore_lib.implicit.losses import step_on_crops, step_on_features, step_on_pixels
from restore_lib.implicit.metasr import MetaSR
from restore_lib.implicit.trunk import FeatureCache
from restore_lib.pretrained import build, describe, load_published
from restore_lib.resampling import resize_antialiased
from restore_lib.training.precision import best_device
from restore_lib.training.recipes import Recipe, photos_of, sourced, variant, warm_cosine
from restore_lib.training.task import Task, one_network

VALIDATED = (2, 3, 4)
MIDDLE = 192  # pixels of a held photo that are looked at, a multiple of every scale


@dataclass(frozen=True)
class DecoderRecipe(Recipe):
    """An encoder and a decoder; the recipes below say what is trained, and how."""

    network: str = sourced("diinn", "paper", "diinn, liif or metasr: the decoder.")
    variant: str = sourced("f", "paper's ablation: its final model", "DIINN's row of the ablation, a to f.")
    third: str = sourced("area", "official code; the paper has side", "DIINN's third coordinate, 1/s^2 or 1/s (side).")
    ensemble: bool = sourced(True, "LIIF's paper", "LIIF's mixing of four answers.")
    encoder: str = sourced("small", "ours; the papers have rdn", "What makes features.")
    width: int = sourced(64, "ours; the papers have 256", "Channels of the decoder's layers.")
    layers: int = sourced(4, "paper; also LIIF's", "Hidden layers of DIINN's two branches, and of LIIF.")
    scales: tuple = sourced((2, 3, 4), "paper", "By which every photo is reduced.")
    learning_rate: float = sourced(1e-3, "ours: fewer steps; the papers have 1e-4", "Adam's step at its largest.")
    warmup: int = sourced(100, "ours", "Steps in which the learning rate rises from zero.")
    decay: float = sourced(0.99, "ours; the papers have none", "Of the averaged weights; 0: keep the last ones.")
    dataset: str = sourced("bsds500", "ours: the papers' DIV2K has to be fetched", "Photos.")
    split: str = sourced("train400", "ours: B100 and CBSD68 lie in the part that is left out", "Part of the set.")
    also: str = sourced("div2k_test_lr_x4", "ours: 25 sharp photos more", "A further set of photos.")
    held: int = sourced(8, "ours", "Last photos of the part, kept for validation and not trained on.")
    validate_every: int = sourced(1000, "ours", "Steps between two validations.")

    def architecture(self) -> Mapping[str, object]:
        """The network as plain data, for the checkpoint's card."""
        if self.network == "diinn":
            options = {"width": self.width, "layers": self.layers, "third": self.third}
            return describe(DIINN, variant=self.variant, encoder=self.encoder, **options)
        if self.network == "liif":
            hidden = [self.width] * self.layers
            return describe(LIIF, encoder=self.encoder, hidden=hidden, ensemble=self.ensemble)
        if self.network == "metasr":
            return describe(MetaSR, encoder=self.encoder, width=self.width)
        raise TrainingError(f"Recipe {self.name} knows the networks diinn, liif and metasr, got {self.network!r}.")

    def rate(self, step: int) -> float:
        """Factor of the learning rate before a step, counted from 0."""
        return warm_cosine(self.steps, self.warmup)(step)

    def trained(self, network: nn.Module, weights: Iterator[nn.Parameter], held: list[Item]) -> dict[str, Any]:
        """What a task has that trains some of the network's weights, and validates by the held photos."""
        adam = torch.optim.Adam(weights, self.learning_rate)
        parts = one_network("network", network, adam, lambda step: self.rate(step), self.decay)
        return parts | {"validate": validation([centre_levels(item.image) for item in held])}


@dataclass(frozen=True)
class AnyScaleRecipe(DecoderRecipe):
    """An encoder and a decoder, trained by absolute differences on several scales at once."""

    steps: int = sourced(3000, "ours: 5 minutes; the official code has 50,000", "Updates of the weights.")
    batch_size: int = sourced(3, "ours; the official code has 16 on 4 GPUs", "Photos in a step, with a crop a scale.")
    continuous: bool = sourced(False, "paper; LIIF has True", "One scale a photo instead, between the first and last.")
    crop: int = sourced(24, "ours; the papers have 48", "Side of the small picture of a crop in pixels.")
    queries: int = sourced(576, "ours: crop^2, as LIIF; DIINN has 0", "Pixels asked for in a crop; 0: all.")
    halve_every: int = sourced(0, "ours; the official code has 10,000", "Steps; 0: half a cosine down to 0 instead.")

    def task(self, seed: int) -> Task:
        """Network, optimiser, batches and step for the loop."""
        photos, held = photos_of(self)
        store = PatchStore.build(photos, min_size=round(max(self.scales) * self.crop))
        crops = AnyScaleCrops(store, self.scales, self.continuous, self.crop, self.queries)
        network = build(self.architecture())
        return Task(
            **self.trained(network, network.parameters(), held),
            step=step_on_pixels if self.queries else step_on_crops,
            on_cpu=(1,) if self.queries else (),  # sizes
            batches=lambda step, rank, world: crops.batch(step, rank, world, photos=self.batch_size, seed=seed),
        )

    def rate(self, step: int) -> float:
        """Factor of the learning rate before a step, counted from 0."""
        return 0.5 ** (step // self.halve_every) if self.halve_every else super().rate(step)


@dataclass(frozen=True)
class FrozenEncoderRecipe(DecoderRecipe):
    """A decoder on a published encoder that stays as it is, trained on single pixels of all photos and scales.

    The encoder is that of the authors' LIIF, which grew up with LIIF's decoder in 1,000 epochs; a fixed 1x1 layer after
    it decorrelates its features.
    """

    encoder: str = sourced("edsr-baseline-white", "LIIF's paper; DIINN's has rdn; decorrelated: ours", "Features.")
    trunk: str = sourced("liif-authors", "ours", "Published model whose encoder it is; empty: random weights.")
    width: int = sourced(256, "paper; also LIIF's", "Channels of the decoder's layers.")
    steps: int = sourced(10_000, "ours; LIIF has 1,000,000", "Updates of the weights.")
    batch_size: int = sourced(4096, "ours; LIIF has 36,864", "Pixels in a step, each of any photo, scale and place.")
    decay: float = sourced(0.999, "ours; the papers have none", "Of the averaged weights; 0: keep the last ones.")
    split: str = sourced("train", "ours: B100 and CBSD68 lie in another part", "Part of the set.")
    also: str = sourced("div2k_test_x4", "ours: 100 sharp photos more", "A further set of photos.")

    def untrained(self, photos: Sequence[Item]) -> tuple[AnyScale, FeatureCache]:
        """The network, encoder frozen and decoder untrained, and features of all photos (minutes, at first)."""
        network: Any = build(self.architecture())
        white, network.encoder = network.encoder, network.encoder.encoder
        if self.trunk:
            network.encoder.load_state_dict(cast(AnyScale, load_published(self.trunk)).encoder.state_dict())
        store = PatchStore.build(photos)
        features = FeatureCache.build(store, network.to(best_device()), self.scales, progress=_report)
        network.cpu()
        white.fit(features.sample())
        features.mix, network.encoder = white.mix.weight.detach()[:, :, 0, 0], white.requires_grad_(False)
        return network, features

    def task(self, seed: int) -> Task:
        """Network, optimiser of the decoder, batches and step for the loop."""
        photos, held = photos_of(self)
        network, features = self.untrained(photos)
        return Task(
            **self.trained(network, network.decoder.parameters(), held),
            step=step_on_features,
            batches=lambda step, rank, world: features.batch(
                network.decoder.place, step, rank, world, queries=self.batch_size, seed=seed
            ),
        )


def _report(done: int, count: int) -> None:
    if done % 100 == 0 or done == count:
        print(f"restore: features of {done:,} of {count:,} pictures", file=sys.stderr, flush=True)


def validation(photos: Sequence[UInt8[Tensor, "3 _ _"]]) -> Callable[[Mapping[str, nn.Module]], Mapping[str, float]]:
    """Mean PSNR of ``network`` over photos at x2, x3 and x4: RGB, without a border of ``scale`` pixels."""
    pairs = [
        (scale, to_float(resize_antialiased(photo, [n // scale for n in photo.shape[1:]])), to_float(photo))
        for scale in VALIDATED
        for photo in photos
    ]

    def validate(networks: Mapping[str, nn.Module]) -> Mapping[str, float]:
        network, psnr = networks["network"], {f"psnr_x{scale}": 0.0 for scale in VALIDATED}
        device = next(network.parameters()).device
        for scale, lr, hr in pairs:
            sr = network(lr[None].to(device), hr.shape[1:])[0].float().cpu().clamp(0, 1)
            rule = metrics.Protocol("rgb", scale, downscaling="antialiased bicubic")
            psnr[f"psnr_x{scale}"] += float(metrics.psnr(sr, hr, rule)) / len(photos)
        return psnr

    return validate


def centre_levels(photo: Tensor) -> UInt8[Tensor, "3 h w"]:
    """The middle of a photo as levels, at most ``MIDDLE`` pixels high and wide, both multiples of 12."""
    height, width = (min(n, MIDDLE) // 12 * 12 for n in photo.shape[1:])
    levels = torch.from_numpy(images.to_uint8(photo)).permute(2, 0, 1)  # (3, H, W)
    return images.centre_crop(levels, (height, width))


TRY = {"steps": 12, "width": 16, "layers": 3, "warmup": 4, "held": 2, "validate_every": 6}
TRY |= {"dataset": "embedded", "split": "", "also": ""}
FULL = {"width": 256, "layers": 4, "batch_size": 16, "crop": 48}
GPU = {"encoder": "edsr-baseline", "steps": 10_000, "queries": 2304, "learning_rate": 4e-4, "decay": 0.999}
PAPER = {"encoder": "rdn", "steps": 50_000, "queries": 0, "learning_rate": 1e-4, "warmup": 1, "halve_every": 10_000}
PAPER |= {"decay": 0.0, "dataset": "div2k", "split": "train", "also": ""}
DIINN_RECIPE = AnyScaleRecipe(
    name="diinn",
    title="DIINN, all scales",
    stored="float16",
    tiers={
        "smoke": TRY | {"batch_size": 2, "crop": 8, "queries": 64},
        "cpu": {},
        "gpu": FULL | GPU,
        "paper": FULL | PAPER,
    },
    cost={"smoke": "5 s", "cpu": "5 minutes on one core"},
)
THEIRS = {name: (name, "paper: what it compares with") for name in ("liif", "metasr")}
ROW = "paper's ablation"
DECODERS = (
    DIINN_RECIPE,
    variant(DIINN_RECIPE, "liif", "LIIF, all scales", network=THEIRS["liif"]),
    variant(DIINN_RECIPE, "metasr", "Meta-SR, all scales", network=THEIRS["metasr"]),
)
"""Three decoders, everything else equal."""

ABLATION = tuple(
    variant(DIINN_RECIPE, f"diinn-{row}", f"DIINN, row ({row}) of its ablation", variant=(row, ROW)) for row in "abcde"
)
"""The rows of DIINN's ablation beside (f), which is ``diinn``."""


def _tiers(**more: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """Those of ``diinn`` with more values, or others, at some."""
    return {tier: {**values, **more.get(tier, {})} for tier, values in DIINN_RECIPE.tiers.items()}


OURS = "ours: what is tried out"
OWN: dict[str, Any] = {"network": ("liif", "LIIF's paper")}
LIGHT = {"width": 128, "layers": 3}
LONG = {"queries": 2304, "steps": 1_000_000, "halve_every": 200_000, "validate_every": 10_000}
OTHERS = (
    variant(
        DIINN_RECIPE,
        "liif-no-ensemble",
        "LIIF without its local ensemble",
        **OWN,
        ensemble=(False, "LIIF's paper, its ablation"),
    ),
    variant(
        DIINN_RECIPE,
        "diinn-light",
        "DIINN, a lighter decoder",
        _tiers(smoke={"width": 8, "layers": 2}, gpu=LIGHT, paper=LIGHT),
        width=(32, OURS),
        layers=(3, OURS),
    ),
    variant(DIINN_RECIPE, "diinn-side", "DIINN, third coordinate as in the paper", third=("side", "paper Sec. 3")),
    variant(
        DIINN_RECIPE,
        "liif-continuous",
        "LIIF, its own protocol: one scale a photo, from x1 to x4",
        _tiers(smoke={"batch_size": 6}, gpu={"batch_size": 48}, paper=LONG),
        **OWN,
        scales=((1, 4), "LIIF's paper"),
        continuous=(True, "LIIF's paper"),
        batch_size=(9, "ours: as many crops as with three scales; LIIF has 16"),
    ),
)
"""One thing changed each."""

TRUNK_RECIPE = FrozenEncoderRecipe(
    name="diinn-trunk",
    title="DIINN at full size on LIIF's encoder",
    stored="float16",
    tiers={
        "smoke": TRY | {"batch_size": 128, "encoder": "small-white", "trunk": ""},
        "cpu": {},
        "gpu": {"steps": 50_000, "batch_size": 65_536},
    },
    cost={"smoke": "5 s", "cpu": "half an hour to an hour on one core"},
    licence="BSD-3-Clause (encoder, LIIF's authors), MIT (decoder)",
    remark="The encoder is that of the authors' LIIF (EDSR-baseline), trained together with LIIF's decoder, and is "
    "frozen here, with a fixed 1x1 layer after it that decorrelates its features; the decoder alone was trained.",
)
TRUNK_DECODERS = (
    TRUNK_RECIPE,
    variant(TRUNK_RECIPE, "liif-trunk", "LIIF again on its own encoder", network=THEIRS["liif"]),
    variant(TRUNK_RECIPE, "metasr-trunk", "Meta-SR on LIIF's encoder", network=THEIRS["metasr"]),
)
"""Three decoders at full size, everything else equal."""

TRUNK_TITLE = "DIINN on LIIF's encoder, row ({}) of its ablation"
TRUNK_ABLATION = tuple(
    variant(TRUNK_RECIPE, f"diinn-trunk-{row}", TRUNK_TITLE.format(row), variant=(row, ROW)) for row in "abcde"
)
"""The rows of DIINN's ablation at full size beside (f), which is ``diinn-trunk``."""

RECIPES: dict[str, AnyScaleRecipe | FrozenEncoderRecipe] = {
    recipe.name: recipe for recipe in (*DECODERS, *ABLATION, *OTHERS, *TRUNK_DECODERS, *TRUNK_ABLATION)
}
