"""Recipes of denoisers: what to train, on what, how long, and where each value comes from."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from restore_lib import data, metrics, noise
from restore_lib.data.patches import PatchStore, augment, to_float
from restore_lib.denoising.dncnn import DnCNN
from restore_lib.training.architectures import build, describe
from restore_lib.training.recipes import Recipe, sourced
from restore_lib.training.task import Run, Task

RGB = metrics.Protocol(channels="rgb", border=0, quantize=True)


@dataclass(frozen=True)
class SmallDenoiser(Recipe):
    """A DnCNN that a laptop trains in minutes, for one noise level."""

    name: ClassVar = "small-denoiser"
    title: ClassVar = "Small DnCNN for Gaussian noise, RGB"
    tiers: ClassVar = {
        "smoke": {
            "steps": 40,
            "batch_size": 8,
            "depth": 4,
            "width": 16,
            "dataset": "embedded",
            "split": "",
            "held": 2,
            "warmup": 10,
            "validate_every": 10,
        },
        "cpu": {},
        "gpu": {"steps": 60_000, "batch_size": 128, "depth": 12, "width": 64},
    }
    cost: ClassVar = {"smoke": "5 s", "cpu": "half an hour on 2 cores"}

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
    validate_every: int = sourced(500, "ours", "Steps between two validations.")

    def architecture(self) -> Mapping[str, object]:
        """The network as plain data, for the checkpoint's card."""
        return describe(DnCNN, depth=self.depth, width=self.width, channels=3, norm=False)

    def task(self, seed: int) -> Task:
        """Networks, optimiser, batches and step for the loop."""
        photos = data.open(self.dataset, self.split or None)
        store = PatchStore.build(photos[: -self.held], min_size=self.patch_size)
        network = build(self.architecture())
        optimizer = torch.optim.Adam(network.parameters(), self.learning_rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warm_cosine(self.steps, self.warmup))
        return Task(
            networks={"denoiser": network},
            optimizers={"denoiser": optimizer},
            schedulers={"denoiser": schedule},
            step=denoising_step(self.sigma),
            batches=lambda step, rank, world: store.crops(
                step, batch=self.batch_size, size=self.patch_size, seed=seed, rank=rank, world=world
            ),
            validate=denoising_psnr([item.image for item in photos[-self.held :]], self.sigma),
            average={"denoiser": self.decay},
        )


def denoising_step(sigma: float) -> Callable[[Run, tuple[Tensor, ...]], Mapping[str, Tensor]]:
    """A step that adds fresh noise to crops and moves the network ``denoiser`` towards the clean ones (mean square)."""

    def step(run: Run, batch: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
        crops, codes = batch
        clean = run.speed.layout(to_float(augment(crops, codes)))  # (b, 3, h, w)
        noisy = clean + sigma / 255 * run.randn(clean)
        loss = (run.networks["denoiser"](noisy) - clean).square().mean()
        run.update("denoiser", loss)
        return {"loss": loss.detach()}

    return step


def denoising_psnr(photos: list[Tensor], sigma: float) -> Callable[[Mapping[str, nn.Module]], Mapping[str, float]]:
    """Mean PSNR over photos under one fixed noise each, measured on middles of 256 x 256 pixels."""
    middles = [middle(photo, 256) for photo in photos]
    noisy = [noise.gaussian(x, sigma, torch.Generator().manual_seed(i)) for i, x in enumerate(middles)]

    def validate(networks: Mapping[str, nn.Module]) -> Mapping[str, float]:
        network = networks["denoiser"]
        device = next(network.parameters()).device
        restored = [network(x[None].to(device))[0].float().cpu() for x in noisy]
        values = [metrics.psnr(a, b, RGB) for a, b in zip(restored, middles, strict=True)]
        return {"psnr": math.fsum(values) / len(values)}

    return validate


def middle(photo: Tensor, size: int) -> Tensor:
    """The middle of a photo, at most ``size`` pixels wide and high."""
    height, width = photo.shape[-2:]
    top, left = max(height - size, 0) // 2, max(width - size, 0) // 2
    return photo[..., top : top + size, left : left + size]


def warm_cosine(steps: int, warmup: int) -> Callable[[int], float]:
    """Factor of the learning rate: up to 1 in a line over ``warmup`` steps, then down to 0 along half a cosine."""
    return lambda step: min((step + 1) / warmup, 0.5 * (1 + math.cos(math.pi * min(step / steps, 1))))
