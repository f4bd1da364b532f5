"""Learn the degradation instead of estimating it: DSGAN, small (Fritsche, Gu and Timofte, ICCV Workshops 2019).

A network turns clean LR images into ones that look like the camera's. Its discriminator sees only high frequencies,
where noise and blur are, so it cannot ask for other colours or objects; the absolute difference counts only low ones,
so noise costs nothing there. What the network adds is a function of the image; collected noise is drawn anew each step.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from restore_lib import metrics
from restore_lib.pretrained import build, describe
from restore_lib.realsr import hidden_camera
from restore_lib.realsr.degradation import Pair, PairedData
from restore_lib.realsr.hidden_camera import PairSettings, levels, training_pairs
from restore_lib.realsr.losses import discriminator_loss, generator_loss
from restore_lib.resampling import imresize
from restore_lib.training.recipes import Recipe, sourced
from restore_lib.training.task import Run, Task

WINDOW = 5  # side of the mean that separates frequencies, as in the official code
SLOPE = 0.2


def low(x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 oh ow"]:
    """Low frequencies: means over 5 x 5 pixels, inside the image alone, so four pixels less each way."""
    return functional.avg_pool2d(x, WINDOW, stride=1)


def high(x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """High frequencies: the image minus the mean of what of its 5 x 5 neighbours lies in the image."""
    return x - functional.avg_pool2d(x, WINDOW, stride=1, padding=WINDOW // 2, count_include_pad=False)


class DegradingNet(nn.Module):
    """From a clean LR image to one like the camera's: residual blocks give what is added, not the image."""

    def __init__(self, blocks: int = 8, width: int = 64):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.PReLU())
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.PReLU(), nn.Conv2d(width, width, 3, padding=1))
            for _ in range(blocks)
        )
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Same size as the input; may leave [0, 1] a little."""
        x = self.first(lr)
        for block in self.blocks:
            x = x + block(x)
        return lr + self.last(x)


class HighPassDiscriminator(nn.Module):
    """Tell the camera's photos from degraded images by high frequencies: 5 x 5 convolutions, one logit a pixel."""

    def __init__(self, width: int = 64):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, 5, padding=2)
            for before, after in ((3, width), (width, 2 * width), (2 * width, 4 * width))
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(c) for c in (2 * width, 4 * width))
        self.last = nn.Conv2d(4 * width, 1, 1)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Logits; each sees 13 x 13 pixels of high frequencies."""
        y = functional.leaky_relu(self.convs[0](0.5 + 0.5 * high(x)), SLOPE)
        for conv, norm in zip(self.convs[1:], self.norms, strict=True):
            y = functional.leaky_relu(norm(conv(y)), SLOPE)
        return self.last(y)


def dsgan_step(
    run: Run, batch: tuple[Tensor, ...], *, colour: float = 1.0, texture: float = 0.005, perceptual: float = 0.01
) -> Mapping[str, Tensor]:
    """One training step: the degrading network moves, by three losses, and then the discriminator.

    ``batch`` holds clean LR crops and crops of the camera's photos, which show other things; (b, 3, h, w) each.
    """
    clean, real = (run.speed.layout(part) for part in batch)
    discriminator = run.task.networks["discriminator"].requires_grad_(False)  # gradients go through it, not into it
    degraded = run.networks["generator"](clean).float()  # (b, 3, h, w)
    terms = {"colour": (low(degraded) - low(clean)).abs().mean()}
    with run.fabric.autocast():
        if perceptual:
            terms["perceptual"] = run.frozen["lpips"](degraded, clean, normalize=True).float().mean()
        logits = discriminator(degraded)  # (b, 1, h, w)
    terms["texture"] = generator_loss(logits, logits, "plain")
    weights = {"colour": colour, "texture": texture, "perceptual": perceptual}
    run.update("generator", torch.stack([weights[name] * loss for name, loss in terms.items()]).sum())
    discriminator.requires_grad_(True)
    judge = run.networks["discriminator"]
    terms["discriminator"] = discriminator_loss(judge(real), judge(degraded.detach()), "plain")
    run.update("discriminator", terms["discriminator"])
    return {name: loss.detach() for name, loss in terms.items()}


@dataclass(frozen=True)
class DSGANRecipe(Recipe):
    """A network that degrades as the camera does, from sources and clean images that are not pairs."""

    steps: int = sourced(600, "ours; the official code has 300 epochs of 3,450 photos", "Updates of the weights.")
    batch_size: int = sourced(8, "official code", "Crops of either kind in a step.")
    size: int = sourced(48, "ours; the official code has 128", "Side of an LR crop in pixels.")
    blocks: int = sourced(4, "ours; the official code has 8", "Residual blocks of the degrading network.")
    width: int = sourced(32, "ours; the official code has 64", "Channels between them.")
    judge_width: int = sourced(16, "ours; the official code has 64", "Channels of the discriminator's first layer.")
    colour_weight: float = sourced(1.0, "official code", "Of absolute differences of low frequencies.")
    texture_weight: float = sourced(0.005, "official code", "Of the adversarial loss on high frequencies.")
    perceptual_weight: float = sourced(0.01, "official code", "Of LPIPS between input and output.")
    learning_rate: float = sourced(5e-4, "ours: fewer steps; the official code has 2e-4", "Of both Adams, at first.")
    beta1: float = sourced(0.5, "official code", "Memory of gradients of both Adams.")
    world: str = sourced("photos", "ours", "Which photos play which part.")
    sources: int = sourced(60, "ours", "Sources, evenly chosen; 0: all.")
    validate_every: int = sourced(200, "ours", "Steps between two validations.")

    def architecture(self) -> Mapping[str, object]:
        """The degrading network as plain data, for the checkpoint's card."""
        return describe(DegradingNet, blocks=self.blocks, width=self.width)

    def training_data(self) -> tuple[str, str]:
        """Name and hash of the photos that it is trained on."""
        return hidden_camera.description(self.world), hidden_camera.digest(self.world, self.sources)

    def rate(self, step: int) -> float:
        """Factor of the learning rate before a step: 1 for the first half, then down to 0 in a line."""
        return min(1.0, 2 * (1 - step / self.steps))

    def task(self, seed: int) -> Task:
        """Networks, optimisers, batches and step for the loop."""
        clean = training_pairs(PairSettings(world=self.world, way="bicubic", sources=self.sources))
        photos = [(name, levels(photo)) for name, photo in hidden_camera.sources(self.world, self.sources)]
        real = PairedData([Pair(name, photo, photo) for name, photo in photos], clean.noises, 1)
        networks = {"generator": build(self.architecture()), "discriminator": HighPassDiscriminator(self.judge_width)}
        betas = self.beta1, 0.999
        adams = {name: Adam(network.parameters(), self.learning_rate, betas) for name, network in networks.items()}
        weights = {"colour": self.colour_weight, "texture": self.texture_weight, "perceptual": self.perceptual_weight}

        def batches(step: int, rank: int, world: int) -> tuple[Tensor, ...]:
            _, lr = clean.crops(step, rank, world, batch=self.batch_size, size=4 * self.size, seed=seed)
            photos, _ = real.crops(step, rank, world, batch=self.batch_size, size=self.size, seed=seed + 1)
            return lr, photos

        return Task(
            networks=networks,
            optimizers={**adams},
            schedulers={name: LambdaLR(adam, lambda step: self.rate(step)) for name, adam in adams.items()},
            frozen={"lpips": metrics.lpips_network("alex")} if self.perceptual_weight else {},
            step=partial(dsgan_step, **weights),
            batches=batches,
            validate=texture_ratio(hidden_camera.validation_pairs(self.world)),
        )


def texture_ratio(pairs: list[Pair]) -> Callable[[Mapping[str, nn.Module]], Mapping[str, float]]:
    """Standard deviation of high frequencies in images that the network degraded, over that in real degraded ones."""

    def validate(networks: Mapping[str, nn.Module]) -> Mapping[str, float]:
        network, ratios = networks["generator"], []
        device = next(network.parameters()).device
        for pair in pairs:
            lr = imresize(pair.hr, scale=1 / hidden_camera.SCALE).clamp(0, 1)
            degraded = network(lr[None].to(device)).float().cpu()
            ratios.append(float(high(degraded).std() / high(pair.lr[None]).std()))
        return {"high_ratio": sum(ratios) / len(ratios)}

    return validate


SMOKE = {"blocks": 1, "width": 8, "judge_width": 8, "world": "embedded", "sources": 2, "perceptual_weight": 0.0}
SMOKE |= {"steps": 10, "batch_size": 2, "size": 32, "validate_every": 5}
FULL = {"blocks": 8, "width": 64, "judge_width": 64, "sources": 0}
PAPER = FULL | {"steps": 129_300, "size": 128, "world": "2k", "learning_rate": 2e-4, "validate_every": 5000}
DSGAN = DSGANRecipe(
    name="dsgan",
    title="DSGAN: learned degradation with separated frequencies",
    tiers={"smoke": SMOKE, "cpu": {}, "gpu": FULL | {"steps": 20_000, "batch_size": 16}, "paper": PAPER},
    cost={"smoke": "5 s", "cpu": "2 minutes on one core"},
    stored="float16",
)
