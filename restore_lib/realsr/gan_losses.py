"""The three losses of ESRGAN and RealSR: absolute differences, features, and a discriminator's opinion.

``L = 0.01 L_pixel + 1 L_features + 0.005 L_adversarial`` (RealSR Sec. 3.4 [ji2020realsr], with ESRGAN's weights
[wang2018esrgan]). A network trained by the first term alone answers with the median of all plausible pictures, which is
blurred; the second compares what another network sees in them, and the third asks whether the result could be a photo.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from restore_lib import files, metrics
from restore_lib.errors import DataError
from restore_lib.files import KnownFile
from restore_lib.nets.vgg import Normalize
from restore_lib.training.task import Run

KINDS = ("relativistic", "plain", "least squares")
BLOCKS = {"vgg19": (2, 2, 4, 4, 4), "vgg16": (2, 2, 3, 3, 3), "untrained": (1, 1, 1, 1, 1)}
CHANNELS = (64, 128, 256, 512, 512)
VGG19 = KnownFile("torchvision/vgg19-dcbb9e9d.pth", "dcbb9e9d", metrics.TORCHVISION + "vgg19-dcbb9e9d.pth")


@dataclass(frozen=True)
class LossWeights:
    """Weights of the three losses; the defaults are RealSR's and ESRGAN's."""

    pixel: float = 0.01
    features: float = 1.0
    adversarial: float = 0.005


def discriminator_loss(
    real: Float[Tensor, "b *map"], fake: Float[Tensor, "b *map"], kind: str = "relativistic"
) -> Float[Tensor, ""]:
    """What the discriminator minimises, from its logits for photos and for results.

    Parameters
    ----------
    real, fake : Tensor
        Logits; one a picture or a map of them.
    kind : {"relativistic", "plain", "least squares"}
        Whether photos look more real than results do on average and the other way round (Eqs. 1 and 2 of ESRGAN);
        whether each looks real by itself; and the same with squared distances to 1 and 0. Always the mean of the two
        halves.
    """
    a, b = _compared(real, fake, kind)
    return (_distance(a, 1.0, kind) + _distance(b, 0.0, kind)) / 2


def generator_loss(
    real: Float[Tensor, "b *map"], fake: Float[Tensor, "b *map"], kind: str = "relativistic"
) -> Float[Tensor, ""]:
    """What the generator minimises; parameters as for :func:`discriminator_loss`.

    The relativistic form has two halves here as well, with the roles exchanged: photos should look less real than
    results. Give ``real`` detached, as the released code does. The other forms do not look at ``real``.
    """
    a, b = _compared(real, fake, kind)
    if kind != "relativistic":
        return _distance(b, 1.0, kind)
    return (_distance(a, 0.0, kind) + _distance(b, 1.0, kind)) / 2


def _compared(real: Tensor, fake: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    real, fake = real.float(), fake.float()
    return (real - fake.mean(), fake - real.mean()) if kind == "relativistic" else (real, fake)


def _distance(logits: Tensor, wanted: float, kind: str) -> Tensor:
    target = torch.full_like(logits, wanted)
    if kind == "least squares":
        return functional.mse_loss(logits, target)
    return functional.binary_cross_entropy_with_logits(logits, target)


class VGGFeatures(nn.Module):
    """The last convolution of a VGG network, before its ReLU: conv5_4 of VGG-19, conv5_3 of VGG-16.

    Before the ReLU, because after it nearly all of these features are zero (Sec. 3.3 of ESRGAN). Layers are numbered
    as torchvision's ``features``: ``features[:35]`` of VGG-19, ``features[:29]`` of VGG-16.

    Parameters
    ----------
    blocks : sequence of int
        Convolutions between two poolings.
    divided : int
        Channels are VGG's divided by this.
    """

    def __init__(self, blocks: tuple[int, ...] = BLOCKS["vgg19"], divided: int = 1):
        super().__init__()
        self.normalize = Normalize()
        layers, channels = [], 3
        for count, width in zip(blocks, CHANNELS, strict=True):
            for _ in range(count):
                layers += [nn.Conv2d(channels, width // divided, 3, padding=1), nn.ReLU()]
                channels = width // divided
            layers.append(nn.MaxPool2d(2))
        self.layers = nn.Sequential(*layers[:-2])

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c oh ow"]:
        """Features of RGB pictures in [0, 1], at least 16 x 16: (b, 512, h/16, w/16)."""
        return self.layers(self.normalize(x))


def features(name: str) -> VGGFeatures:
    """A frozen network for the loss on features.

    Parameters
    ----------
    name : {"vgg19", "vgg16", "untrained"}
        ``vgg19`` is what ESRGAN and RealSR use: torchvision's file ``vgg19-dcbb9e9d.pth`` in the folder
        ``torchvision``. ``vgg16`` stands in for it where only the network under LPIPS is at hand: another network and
        one layer less in each of the last three blocks, so not the published loss. ``untrained`` is a narrow VGG with
        random weights, always the same, to try the code.

    Raises
    ------
    DataError
        The weights are missing or damaged.
    """
    if name not in BLOCKS:
        raise ValueError(f"features must be one of {', '.join(BLOCKS)}, got {name!r}")
    if name == "untrained":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return VGGFeatures(BLOCKS[name], divided=16).requires_grad_(False).eval()
    network = VGGFeatures(BLOCKS[name])
    known = _vgg19() if name == "vgg19" else _vgg16()
    network.layers.load_state_dict({key: known[key] for key in network.layers.state_dict()})
    return network.requires_grad_(False).eval()


def _vgg16() -> dict[str, Tensor]:
    """Weights by torchvision's number of the layer, out of the network under LPIPS: ``slice5.28.weight``."""
    trunk = metrics.lpips_network("vgg").net
    return {key.partition(".")[2]: value.clone() for key, value in trunk.state_dict().items()}


def _vgg19() -> dict[str, Tensor]:
    path = files.locate(VGG19.path)
    if path is None:
        raise DataError(
            f"VGG-19's weights are not on this computer: save {VGG19.url} as {VGG19.path} in the folder that "
            'RESTORE_DATA names, or train with features="vgg16".'
        )
    if not files.matches(path, VGG19.sha256):
        raise DataError(f"{path} is damaged or not what it says: delete it and save it again from {VGG19.url}.")
    found = torch.load(path, map_location="cpu", weights_only=True)
    return {key.removeprefix("features."): value for key, value in found.items()}


def feature_loss(network: nn.Module, sr: Float[Tensor, "b 3 h w"], hr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, ""]:
    """Mean absolute difference of what a network sees in a result and in the photo; the gradient goes to ``sr``."""
    with torch.no_grad():
        wanted = network(hr).float()
    return (network(sr).float() - wanted).abs().mean()


Step = Callable[[Run, tuple[Tensor, ...]], Mapping[str, Tensor]]


def pixel_step() -> Step:
    """A step of stage 1: the network ``generator`` towards the photo, by absolute differences."""

    def step(run: Run, batch: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
        hr, lr = (run.speed.layout(part) for part in batch)  # (b, 3, h, w), (b, 3, h/s, w/s)
        loss = (run.networks["generator"](lr).float() - hr).abs().mean()
        run.update("generator", loss)
        return {"loss": loss.detach()}

    return step


def judged(
    judge: nn.Module, real: Float[Tensor, "b 3 h w"], fake: Float[Tensor, "b 3 h w"], together: bool
) -> tuple[Float[Tensor, "b *map"], Float[Tensor, "b *map"]]:
    """Logits for photos and for results, asked for one after the other or in one batch.

    Batch norm takes out what a batch has in common. Batches of photos alone and of results alone lose so a difference
    in mean and spread between the two; in one batch it stays.
    """
    if not together:
        return judge(real), judge(fake)
    first, second = judge(torch.cat([real, fake])).chunk(2)
    return first, second


def gan_step(weights: LossWeights | None = None, kind: str = "relativistic", together: bool = False) -> Step:
    """A step of stage 2: first the network ``generator``, by all three losses, then ``discriminator``.

    The frozen network ``features`` is asked where its loss has a weight. What is reported first is the loss on pixels,
    whose size tells a healthy run; the two players' losses move against each other. With ``together`` the discriminator
    gets photos and results in one batch (:func:`judged`).
    """
    weights = weights or LossWeights()

    def step(run: Run, batch: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
        hr, lr = (run.speed.layout(part) for part in batch)  # (b, 3, h, w), (b, 3, h/s, w/s)
        judge, bare = run.networks["discriminator"], run.task.networks["discriminator"]
        sr = run.networks["generator"](lr).float()
        seen = {"pixel": (sr - hr).abs().mean()}
        loss = weights.pixel * seen["pixel"]
        if weights.features:
            with run.fabric.autocast():
                seen["features"] = feature_loss(run.frozen["features"], sr, hr)
            loss = loss + weights.features * seen["features"]
        bare.requires_grad_(False)  # gradients go through it, not into it: a third of the work less
        with run.fabric.autocast():
            if together:
                real, fake = judged(bare, hr, sr, True)
            else:
                with torch.no_grad():  # photos need no gradient when they are a batch of their own
                    real = bare(hr)
                fake = bare(sr)
            seen["adversarial"] = generator_loss(real.detach(), fake, kind)
        run.update("generator", loss + weights.adversarial * seen["adversarial"])
        bare.requires_grad_(True)
        real, fake = judged(judge, hr, sr.detach(), together)
        seen["discriminator"] = discriminator_loss(real, fake, kind)
        run.update("discriminator", seen["discriminator"])
        return {name: value.detach() for name, value in seen.items()} | {"gap": (real - fake).detach().float().mean()}

    return step
