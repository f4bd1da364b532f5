"""The loss of all three decoders, and the functions that make one training step."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from restore_lib.data.patches import to_float
from restore_lib.training.task import Run


def l1(sr: Float[Tensor, "*colours"], hr: Float[Tensor, "*colours"]) -> Float[Tensor, ""]:
    """Mean absolute difference of colours in [0, 1], counted from -1 to 1 as in the papers: twice as much."""
    return 2 * (sr - hr).abs().mean()


def step_on_pixels(run: Run, batch: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
    """One training step on some pixels of each crop, as LIIF makes it: ``AnyScaleCrops`` with ``queries``."""
    lr, sizes, pixels, colours = batch  # (n, 3, h, w), (n, 2), (n, q), (n, 3, q)
    sr = run.networks["network"](run.speed.layout(to_float(lr)), sizes.tolist(), pixels)  # (n, 3, q)
    loss = l1(sr.float(), to_float(colours))
    run.update("network", loss)
    return {"loss": loss.detach()}


def step_on_crops(run: Run, batch: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
    """One training step on whole crops, as DIINN makes it: every scale counts alike, however large its crops are."""
    lr, *groups = batch  # (n, 3, h, w), and for each scale (m, 3, scale h, scale w)
    losses = []
    for small, hr in zip(lr.split([len(group) for group in groups]), groups, strict=True):
        sr = run.networks["network"](run.speed.layout(to_float(small)), hr.shape[2:])  # as large as hr
        losses.append(l1(sr.float(), to_float(hr)) * len(hr) / len(lr))
    loss = torch.stack(losses).sum()
    run.update("network", loss)
    return {"loss": loss.detach()}


def step_on_features(run: Run, batch: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
    """One training step of the decoder alone, on single pixels of any photos and scales, of ``FeatureCache``."""
    around, offset, ratio, colours = batch  # (k q, c, 3, 3), (k, q, 2), (q, 2), (q, 3)
    network = run.networks["network"]
    network.mark_forward_method("colours_around")  # Fabric's number format and processes apply to it, too
    sr = network.colours_around(around, offset, ratio)  # (q, 3)
    loss = l1(sr.float(), to_float(colours))
    run.update("network", loss)
    return {"loss": loss.detach()}
