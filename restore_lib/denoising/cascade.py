"""A denoiser followed by a network that looks at its result, trained by what both of them say [liu2018denoising].

The second network, F_H, was trained on clean pictures and stays as it is; its gradient passes through it to the
denoiser F_D, which so learns to keep what F_H needs (Sec. 3.2):

    L = mse_weight * MSE(F_D(y), x) + task_weight * cross entropy(F_H(F_D(y)), c)

for a noisy picture y, the clean one x and its class c, or that of each pixel. Units: the MSE is the mean over all
pixels and channels of squared differences of values in [0, 1]; the cross entropy, in nats, the mean over pictures, or
over the labelled places of a score map.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real

import torch
from jaxtyping import Float, Int64, Integer
from torch import Tensor, nn
from torch.nn import functional

from restore_lib.data.labelled import IGNORED
from restore_lib.data.patches import to_float
from restore_lib.training.task import Run


class Cascade(nn.Module):
    """F_H(F_D(y)).

    Parameters
    ----------
    denoiser, vision : Module
        F_D and F_H; F_H is frozen, see :func:`freeze`.
    """

    def __init__(self, denoiser: nn.Module, vision: nn.Module):
        super().__init__()
        self.denoiser, self.vision = denoiser, freeze(vision)

    def train(self, mode: bool = True) -> "Cascade":
        """Switch the denoiser; the vision network stays in evaluation mode."""
        super().train(mode)
        self.vision.eval()
        return self

    def forward(self, noisy: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b 3 h w"], Tensor]:
        """The denoised pictures, and what the vision network says of them."""
        denoised = same_size(self.denoiser, noisy)
        return denoised, self.vision(denoised)


def freeze(network: nn.Module) -> nn.Module:
    """Fix a network: no gradient for its weights, and in evaluation mode, so that no batch norm changes its statistics
    and no dropout drops anything. Gradients still pass through it to its input.
    """
    return network.requires_grad_(False).eval()


def same_size(denoiser: nn.Module, noisy: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """Denoise pictures, mirrored at their borders first by as much as the network takes off."""
    border = getattr(denoiser, "border", 0)
    return denoiser(functional.pad(noisy, (border,) * 4, mode="reflect"))


@dataclass(frozen=True)
class Weights:
    """Weights of the two losses."""

    mse: float = 1.0
    task: float = 0.0


def classification_loss(vision: nn.Module, x: Float[Tensor, "b 3 h w"], labels: Int64[Tensor, "b"]) -> Tensor:
    """Cross entropy of a classifier's scores, mean over the pictures, in nats."""
    return functional.cross_entropy(vision(x).float(), labels)


def segmentation_loss(vision: nn.Module, x: Float[Tensor, "b 3 h w"], mask: Int64[Tensor, "b h w"]) -> Tensor:
    """Cross entropy at every eighth pixel, where DeepLab has its scores, mean over those with a class, in nats."""
    scores = vision(x).float()[..., ::8, ::8]  # (b, classes, h/8, w/8)
    coarse = mask[:, ::8, ::8]
    total = functional.cross_entropy(scores, coarse, ignore_index=IGNORED, reduction="sum")
    return total / (coarse != IGNORED).sum().clamp(min=1)  # crops without a single class count nothing


LOSSES = {"classify": classification_loss, "segment": segmentation_loss}


def joint_step(sigma: Real, weights: Weights, task: str) -> Callable[[Run, tuple[Tensor, ...]], Mapping[str, Tensor]]:
    """A step for the network ``denoiser`` before the frozen network ``vision``, on labelled clean pictures.

    Parameters
    ----------
    sigma : float
        Of the noise that is added afresh, on the scale 0 to 255.
    weights : Weights
        With a task weight of 0 the vision network is not even asked: the denoiser trained separately.
    task : {"classify", "segment"}
    """
    measure = LOSSES[task]

    def step(run: Run, batch: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
        pictures, targets = batch
        clean = run.speed.layout(to_float(pictures))  # (b, 3, h, w)
        noisy = clean + sigma / 255 * run.randn(clean)
        border = run.task.networks["denoiser"].border
        noisy = functional.pad(noisy, (border,) * 4, mode="reflect")
        denoised = run.networks["denoiser"](run.speed.layout(noisy))  # (b, 3, h, w)
        mse = (denoised.float() - clean).square().mean()
        seen = {"mse": mse.detach()}
        loss = weights.mse * mse
        if weights.task:
            with run.fabric.autocast():
                own = measure(run.frozen["vision"], denoised, targets)
            loss = loss + weights.task * own
            seen["task"] = own.detach()
        run.update("denoiser", loss)
        return {"loss": loss.detach(), **seen}

    return step


def vision_step(task: str, noisy: Real = 0.0) -> Callable[[Run, tuple[Tensor, ...]], Mapping[str, Tensor]]:
    """A step for the network ``vision`` itself, on clean pictures or on noisy ones.

    Parameters
    ----------
    task : {"classify", "segment"}
    noisy : float
        Largest sigma: every picture of a batch gets one of its own, uniform from 0 to this.
    """
    measure = LOSSES[task]

    def step(run: Run, batch: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
        pictures, targets = batch
        x = to_float(pictures)  # (b, 3, h, w)
        if noisy:
            sigma = noisy * torch.rand(len(x), 1, 1, 1, generator=run.generator(1), device=x.device)
            x = x + sigma / 255 * run.randn(x)
        with run.fabric.autocast():
            loss = measure(run.networks["vision"], run.speed.layout(x), targets)
        run.update("vision", loss)
        return {"loss": loss.detach()}

    return step


def task_gradient(
    vision: nn.Module, x: Float[Tensor, "b 3 h w"], targets: Integer[Tensor, "b *place"], task: str
) -> Float[Tensor, "b 3 h w"]:
    """What a frozen network asks a denoiser to change: minus the gradient of its loss with respect to the picture."""
    x = x.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(LOSSES[task](vision, x, targets.long()), x)
    return -gradient
