"""What paper A minimises, and one training step of each kind (Sec. 3.2) [liu2018denoising].

The denoiser F_D alone is trained by L_D. In the cascade the vision network F_H was trained on clean images and is
frozen; the gradient of its loss L_H passes through it to F_D, which so learns to keep what F_H needs (Eq. 2):

    L = mse_weight * L_D(F_D(y), x) + task_weight * L_H(F_H(F_D(y)), c)

for a noisy image y, the clean one x and its class c, or that of each pixel. The paper has weights 1 and lambda, and
does not say its units; here L_D is of values in [0, 1], and L_H in nats. Sigmas are on the scale 0 to 255.
"""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Int64, Integer
from torch import Tensor
from torch.nn import functional

from restore_lib import noise
from restore_lib.data.labelled import IGNORED
from restore_lib.data.patches import augment, to_float
from restore_lib.denoising.denoiser import same_size
from restore_lib.training.task import Run

Step = Callable[[Run, tuple[Tensor, ...]], Mapping[str, Tensor]]


def denoising_loss(denoised: Float[Tensor, "b 3 oh ow"], clean: Float[Tensor, "b 3 h w"]) -> Float[Tensor, ""]:
    """L_D: the mean squared error over all pixels and channels that the network returns (Sec. 3.1)."""
    return (denoised - inner(clean, denoised)).square().mean()


def classification_loss(scores: Float[Tensor, "b classes"], labels: Int64[Tensor, "b"]) -> Float[Tensor, ""]:
    """L_H of a classifier: cross entropy, mean over the images, in nats."""
    return functional.cross_entropy(scores.float(), labels)


def segmentation_loss(scores: Float[Tensor, "b classes h w"], mask: Integer[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """L_H of a segmenter: cross entropy at every eighth pixel, where DeepLab has its scores, mean over those with a
    class, in nats.
    """
    scores, mask = scores.float()[..., ::8, ::8], mask[:, ::8, ::8]  # (b, classes, h/8, w/8), (b, h/8, w/8)
    total = functional.cross_entropy(scores, mask, ignore_index=IGNORED, reduction="sum")
    return total / (mask != IGNORED).sum().clamp(min=1)  # crops without a single class count nothing


VISION_LOSSES = {"classify": classification_loss, "segment": segmentation_loss}


def denoising_step(sigma: float, scale: float = 1.0) -> Step:
    """A step of the network ``denoiser`` alone: fresh noise on crops, then L_D.

    ``scale`` multiplies the loss that is minimised, not the one that is reported.
    """

    def step(run: Run, batch: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
        crops, codes = batch
        clean = run.speed.layout(to_float(augment(crops, codes)))  # (b, 3, h, w)
        noisy = clean + sigma / 255 * run.randn(clean)
        loss = denoising_loss(run.networks["denoiser"](noisy), clean)
        run.update("denoiser", scale * loss)
        return {"loss": loss.detach()}

    return step


def all_strengths_step(strongest: float, size: int) -> Step:
    """A step of a network ``denoiser`` that is told sigma, on crops that are larger than ``size``.

    Each crop has a sigma of its own up to ``strongest``, its root uniform, as users' photos have little noise. Half of
    the noisy crops stay as they are, a quarter are clipped and rounded to 8 bits, and a quarter pass through a JPEG
    file of quality 70 to 95; a place of ``size`` pixels in each is shown, so that JPEG's blocks begin anywhere. A
    tenth of the crops are grey, and so is their noise.

    Minimised is each crop's mean squared error over the root of that of the noisy crop, in levels of 255. A trained
    network's squared error grows about like sigma, so that a gain of a decibel counts alike at all strengths.
    """

    def step(run: Run, batch: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
        crops, codes = batch
        whole = to_float(augment(crops, codes))  # (b, 3, s, s)
        draws = torch.rand(len(whole), 6, generator=run.generator(1), device=whole.device)  # (b, 6)
        sigma = strongest * draws[:, 0].square()[:, None, None, None]  # (b, 1, 1, 1)
        grey, noises = (draws[:, 5] < 0.1)[:, None, None, None], run.randn(whole)
        whole, noises = torch.where(grey, whole[:, 1:2], whole), torch.where(grey, noises[:, :1], noises)
        filed = _filed(whole + sigma / 255 * noises, draws[:, 1], 70 + 25 * draws[:, 2])
        ends = (draws[:, 3:5] * (whole.shape[-1] - size + 1)).long().tolist()
        shown = [(..., slice(top, top + size), slice(left, left + size)) for top, left in ends]
        clean, noisy = (
            run.speed.layout(torch.stack([x[place] for x, place in zip(photos, shown, strict=True)]))
            for photos in (whole, filed)
        )  # (b, 3, size, size) each
        given = (255 * (noisy - clean)).square().mean((1, 2, 3)).sqrt()  # (b,)
        denoised = run.networks["denoiser"](noisy, sigma)
        errors = (255 * (denoised - inner(clean, denoised))).square().mean((1, 2, 3))  # (b,)
        loss = (errors / (given + 0.5)).mean()
        run.update("denoiser", loss)
        return {"loss": loss.detach()}

    return step


def _filed(photos: Float[Tensor, "b 3 h w"], kind: Tensor, quality: Tensor) -> Float[Tensor, "b 3 h w"]:
    """What reading a file gives: below 0.25 in ``kind`` through JPEG, below 0.5 rounded to 8 bits, else as it was."""
    rounded = (255 * photos).round().clamp(0, 255) / 255
    jpegs = [noise.jpeg(x, int(q)) if k < 0.25 else x for x, k, q in zip(rounded, kind, quality, strict=True)]
    return torch.where(kind[:, None, None, None] < 0.5, torch.stack(jpegs), photos)


def joint_step(sigma: float, task: str, mse_weight: float = 1.0, task_weight: float = 0.0) -> Step:
    """A step of the cascade: the network ``denoiser`` before the frozen network ``vision``, on labelled clean images.

    ``task`` is ``classify`` or ``segment``. With a task weight of 0 the vision network is not even asked: the denoiser
    is trained separately.
    """
    vision_loss = VISION_LOSSES[task]

    def step(run: Run, batch: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
        pictures, targets = batch
        clean = run.speed.layout(to_float(pictures))  # (b, 3, h, w)
        noisy = clean + sigma / 255 * run.randn(clean)
        denoised = same_size(run.networks["denoiser"], noisy)  # (b, 3, h, w)
        mse = denoising_loss(denoised.float(), clean)
        parts = {"mse": mse.detach()}
        loss = mse_weight * mse
        if task_weight:
            with run.fabric.autocast():
                task_loss = vision_loss(run.frozen["vision"](denoised), targets)  # gradients pass, weights stay
            loss = loss + task_weight * task_loss
            parts["task"] = task_loss.detach()
        run.update("denoiser", loss)
        return {"loss": loss.detach(), **parts}

    return step


def vision_step(task: str, noisy: float = 0.0) -> Step:
    """A step of the network ``vision`` itself, before it is frozen: on clean images, or on noisy ones.

    ``noisy`` is the largest sigma: every image of a batch gets one of its own, uniform from 0 to this.
    """
    vision_loss = VISION_LOSSES[task]

    def step(run: Run, batch: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
        pictures, targets = batch
        x = to_float(pictures)  # (b, 3, h, w)
        if noisy:
            sigma = noisy * torch.rand(len(x), 1, 1, 1, generator=run.generator(1), device=x.device)
            x = x + sigma / 255 * run.randn(x)
        with run.fabric.autocast():
            loss = vision_loss(run.networks["vision"](run.speed.layout(x)), targets)
        run.update("vision", loss)
        return {"loss": loss.detach()}

    return step


def inner(x: Tensor, like: Tensor) -> Tensor:
    """The middle of images, as high and wide as ``like``: networks without padding return a little less."""
    top, left = (x.shape[-2] - like.shape[-2]) // 2, (x.shape[-1] - like.shape[-1]) // 2
    return x[..., top : top + like.shape[-2], left : left + like.shape[-1]]
