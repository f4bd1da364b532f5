"""The losses of ESRGAN and RealSR, and one training step of each of their two stages [ji2020realsr, wang2018esrgan].

Stage 1 minimises absolute differences alone, whose best answer is the median of all plausible pictures: a blurred one.
Stage 2 goes on from its weights with ``L_total = 0.01 L_1 + 1 L_per + 0.005 L_adv`` (RealSR Sec. 3.4): the second term
compares what a classification network sees, and the third asks a discriminator whether the result could be a photo:
one of patches in the paper [isola2017pix2pix], ESRGAN's of whole crops in the released code's first track.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from restore_lib import files, metrics
from restore_lib.files import KnownFile
from restore_lib.nets.vgg import PLAN, Normalize, convolutions, read_weights
from restore_lib.training.task import Run

PLANS = {  # channels of the convolutions between two poolings
    "vgg19": ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4),
    "vgg16": PLAN,
    "untrained": ((4,), (8,), (16,), (32,), (32,)),
}
VGG19 = KnownFile("torchvision/vgg19-dcbb9e9d.pth", "dcbb9e9d", files.TORCHVISION + "vgg19-dcbb9e9d.pth")
SLOPE = 0.2  # of the discriminators' leaky ReLUs
STEP = 32  # how many times smaller the map of the VGG discriminator is
KINDS = ("relativistic", "plain", "least squares")


@dataclass(frozen=True)
class LossWeights:
    """Weights of the three losses; the defaults are RealSR's and ESRGAN's."""

    pixel: float = 0.01
    features: float = 1.0
    adversarial: float = 0.005


def l1_loss(sr: Float[Tensor, "b 3 h w"], hr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, ""]:
    """``L_1``: the mean absolute difference of a result and the photo."""
    return (sr - hr).abs().mean()


def perceptual_loss(
    network: nn.Module, sr: Float[Tensor, "b 3 h w"], hr: Float[Tensor, "b 3 h w"]
) -> Float[Tensor, ""]:
    """``L_per``: the mean absolute difference of what a network sees in them; the gradient goes to ``sr`` alone."""
    with torch.no_grad():
        wanted = network(hr).float()  # (b, 512, h/16, w/16)
    return (network(sr).float() - wanted).abs().mean()


def discriminator_loss(
    real: Float[Tensor, "b *map"], fake: Float[Tensor, "b *map"], kind: str = "relativistic"
) -> Float[Tensor, ""]:
    """What the discriminator minimises, from logits for photos and for results: the mean of a half for each side.

    ``relativistic`` (Eq. 1 of ESRGAN): whether photos look more real than results do on average, and results less;
    ``plain``: whether each looks real by itself; ``least squares``: the same with squared distances to 1 and 0.
    """
    distance, real, fake = _criterion(kind), real.float(), fake.float()
    if kind == "relativistic":
        real, fake = real - fake.mean(), fake - real.mean()
    return (distance(real, 1.0) + distance(fake, 0.0)) / 2


def generator_loss(
    real: Float[Tensor, "b *map"], fake: Float[Tensor, "b *map"], kind: str = "relativistic"
) -> Float[Tensor, ""]:
    """What the generator minimises (relativistic: Eq. 2 of ESRGAN); parameters as for :func:`discriminator_loss`.

    The relativistic form has two halves as well: photos should look less real than results. Give ``real`` detached, as
    the released code does. The other forms do not depend on it.
    """
    distance, real, fake = _criterion(kind), real.float(), fake.float()
    if kind == "relativistic":
        real, fake = real - fake.mean(), fake - real.mean()
        return (distance(real, 0.0) + distance(fake, 1.0)) / 2
    return distance(fake, 1.0)


def _criterion(kind: str) -> Callable[[Tensor, float], Tensor]:
    """The distance of logits from a target: cross entropy (which includes the sigmoid), or squares."""
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    mean = functional.mse_loss if kind == "least squares" else functional.binary_cross_entropy_with_logits
    return lambda logits, target: mean(logits, torch.full_like(logits, target))


def stage_1_step(run: Run, batch: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
    """Stage 1: ``generator`` towards the photos, by absolute differences; ``batch`` holds HR and LR crops."""
    hr, lr = (run.speed.layout(part) for part in batch)
    loss = l1_loss(run.networks["generator"](lr).float(), hr)
    run.update("generator", loss)
    return {"loss": loss.detach()}


def stage_2_step(
    run: Run,
    batch: tuple[Tensor, ...],
    *,
    weights: LossWeights = LossWeights(),
    kind: str = "relativistic",
    together: bool = False,
) -> Mapping[str, Tensor]:
    """One step of stage 2: the generator moves, by all three losses, and then the discriminator.

    Needs both networks and their optimisers, and the frozen network ``features``; ``batch`` as for
    :func:`stage_1_step`, ``together`` as for :func:`logits`. Gives the losses, unweighted, and how much higher logits
    of photos are; the one on pixels, whose size tells whether a run is healthy, comes first.
    """
    hr, lr = (run.speed.layout(part) for part in batch)
    sr = run.networks["generator"](lr).float()  # (b, 3, s h, s w)
    terms = generator_step(run, hr, sr, weights, kind, together)
    terms |= discriminator_step(run, hr, sr.detach(), kind, together)
    return {name: value.detach() for name, value in terms.items()}


def generator_step(
    run: Run, hr: Tensor, sr: Tensor, weights: LossWeights, kind: str, together: bool
) -> dict[str, Tensor]:
    """Move the generator, whose results are ``sr``, down the gradient of ``L_total``; returns its three terms."""
    discriminator = run.task.networks["discriminator"].requires_grad_(False)  # gradients go through it, not into it
    terms = {"pixel": l1_loss(sr, hr)}
    with run.fabric.autocast():
        if weights.features:
            terms["features"] = perceptual_loss(run.frozen["features"], sr, hr)
        real, fake = logits(discriminator, hr, sr, together)
        terms["adversarial"] = generator_loss(real.detach(), fake, kind)
    total = torch.stack([getattr(weights, name) * loss for name, loss in terms.items()]).sum()
    run.update("generator", total)
    discriminator.requires_grad_(True)
    return terms


def discriminator_step(run: Run, hr: Tensor, sr: Tensor, kind: str, together: bool) -> dict[str, Tensor]:
    """Move the discriminator; ``sr`` is detached, so that the generator does not learn to be caught."""
    real, fake = logits(run.networks["discriminator"], hr, sr, together)
    loss = discriminator_loss(real, fake, kind)
    run.update("discriminator", loss)
    return {"discriminator": loss, "gap": (real - fake).float().mean()}


def logits(
    discriminator: nn.Module, real: Float[Tensor, "b 3 h w"], fake: Float[Tensor, "b 3 h w"], together: bool
) -> tuple[Float[Tensor, "b *map"], Float[Tensor, "b *map"]]:
    """Logits for photos and for results: in two batches, as released, or ``together``, where batch norm sees both."""
    if not together:
        return discriminator(real), discriminator(fake)
    first, second = discriminator(torch.cat([real, fake])).chunk(2)
    return first, second


class VGGFeatures(nn.Module):
    """The last convolution of a VGG network, before its ReLU: conv5_4 of VGG-19, conv5_3 of VGG-16.

    Before the ReLU, because after it nearly all of these features are zero (Sec. 3.3 of ESRGAN). Layers are numbered
    as torchvision's ``features``: ``features[:35]`` of VGG-19, ``features[:29]`` of VGG-16.
    """

    def __init__(self, plan: tuple[tuple[int, ...], ...] = PLANS["vgg19"]):
        super().__init__()
        self.normalize = Normalize()
        self.layers = nn.Sequential(*convolutions(plan)[:-2])

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c oh ow"]:
        """Features of RGB pictures in [0, 1], at least 16 x 16: (b, 512, h/16, w/16)."""
        return self.layers(self.normalize(x))


def perceptual_network(name: str) -> VGGFeatures:
    """A frozen network for :func:`perceptual_loss`; DataError when its weights are missing or damaged.

    ``vgg19`` is what ESRGAN and RealSR use: torchvision's file ``vgg19-dcbb9e9d.pth`` in the folder ``torchvision``.
    ``vgg16`` is the one under LPIPS, which is always at hand: one layer less in each of the last three blocks, so not
    the published loss. ``untrained`` is narrow, with the same random weights each time.
    """
    if name not in PLANS:
        raise ValueError(f"features must be one of {', '.join(PLANS)}, got {name!r}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = VGGFeatures(PLANS[name])
    if name != "untrained":
        # By torchvision's number of the layer: features.28.weight, or slice5.28.weight in the network under LPIPS.
        lpips = cast(nn.Module, metrics.lpips_network("vgg").net) if name == "vgg16" else None
        weights = lpips.state_dict() if lpips else _vgg19_weights()
        weights = {key.partition(".")[2]: value for key, value in weights.items()}
        network.layers.load_state_dict({key: weights[key] for key in network.layers.state_dict()})
    return network.requires_grad_(False).eval()


def _vgg19_weights() -> dict[str, Tensor]:
    save = f"save {VGG19.url} as {VGG19.path} in the folder that RESTORE_DATA names"
    missing = f'VGG-19\'s weights are not on this computer: {save}, or train with features="vgg16".'
    return read_weights(VGG19, missing, f"delete it and save it again from {VGG19.url}.")


class PatchDiscriminator(nn.Module):
    """Judge overlapping patches of 70 x 70 pixels: convolutions alone, so photos of any size; 2,765,633 parameters.

    ``layers`` convolutions of 4 x 4 that halve the map (1, 2, 3 and 4 see patches of 16, 34, 70 and 142 pixels), two
    more that do not, batch norm on all but the first and the last. The first has ``width`` channels; they double up to
    eight times as many. 128 x 128 pixels give a map of 14 x 14 logits.
    """

    def __init__(self, layers: int = 3, width: int = 64):
        super().__init__()
        channels = [width * min(2**i, 8) for i in range(layers + 1)]
        self.first = nn.Conv2d(3, channels[0], 4, stride=2, padding=1)
        self.convs = nn.ModuleList(
            nn.Conv2d(channels[i], channels[i + 1], 4, stride=2 if i + 1 < layers else 1, padding=1, bias=False)
            for i in range(layers)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(c) for c in channels[1:])
        self.last = nn.Conv2d(channels[-1], 1, 4, padding=1)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 oh ow"]:
        """One logit a patch; high means photo, low means network."""
        y = functional.leaky_relu(self.first(x), SLOPE)  # (b, width, h / 2, w / 2)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            y = functional.leaky_relu(norm(conv(y)), SLOPE)
        return self.last(y)


class VGGDiscriminator(nn.Module):
    """Judge a whole crop of ``size`` pixels, a multiple of 32, as ESRGAN does; 14,499,401 parameters for 128 x 128.

    Five pairs of convolutions, 3 x 3 and then 4 x 4 that halves the map, batch norm on all but the first, and two
    linear layers. The first has ``width`` channels; they double up to eight times as many.
    """

    def __init__(self, width: int = 64, size: int = 128):
        super().__init__()
        if size < STEP or size % STEP:
            raise ValueError(f"size must be a multiple of {STEP}, got {size}")
        self.size = size
        channels = [3] + [width * min(2 ** (i // 2), 8) for i in range(10)]
        self.convs = nn.ModuleList(
            nn.Conv2d(channels[i], channels[i + 1], 3 + i % 2, stride=1 + i % 2, padding=1, bias=i == 0)
            for i in range(10)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(c) for c in channels[2:])
        self.hidden = nn.Linear(channels[-1] * (size // STEP) ** 2, 100)
        self.last = nn.Linear(100, 1)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1"]:
        """One logit a crop; high means photo, low means network."""
        if x.shape[-2:] != (self.size, self.size):
            raise ValueError(f"crops must be {self.size} x {self.size} pixels, got {tuple(x.shape[-2:])}")
        y = functional.leaky_relu(self.convs[0](x), SLOPE)  # (b, width, h, w)
        for conv, norm in zip(self.convs[1:], self.norms, strict=True):
            y = functional.leaky_relu(norm(conv(y)), SLOPE)
        y = functional.leaky_relu(self.hidden(y.flatten(1)), SLOPE)  # (b, 100), from (b, 8 width, h / 32, w / 32)
        return self.last(y)
