"""ZSSR: super-resolution learned from the one photo itself, with a known or estimated kernel [shocher2018zssr].

The photo ("father") is reduced once more to a "son"; a small network learns to get from son back to father, and is then
asked to go one step up from the photo. With KernelGAN's kernel for the reduction it is K-ZSSR.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from numbers import Integral, Real

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from restore_lib import images
from restore_lib.errors import ImageError
from restore_lib.realsr.kernels import analytic_x4
from restore_lib.realsr.zssr_crops import Father, edge_weights, random_crop
from restore_lib.realsr.zssr_settings import BICUBIC, GIVEN_KERNEL, K_ZSSR, RateControl, ZSSRSettings
from restore_lib.resampling import downscale, imresize
from restore_lib.training.precision import PLAIN, Speed, fastest


class ZSSRNet(nn.Module):
    """Eight 3 x 3 convolutions of 64 channels without bias: 224,640 weights; adds details to an enlarged image."""

    def __init__(self, width: int = 64, depth: int = 8):
        super().__init__()
        channels = [3, *[width] * (depth - 1), 3]
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1, bias=False) for i, o in pairwise(channels))
        for conv in self.convs:
            nn.init.normal_(conv.weight, 0, (0.1 / conv.weight[0].numel()) ** 0.5)  # small: it learns a residual

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Sharpen an image that bicubic interpolation has enlarged."""
        y = x
        for conv in self.convs[:-1]:
            y = torch.relu(conv(y))  # (b, width, h, w)
        return x + self.convs[-1](y)


@dataclass(frozen=True)
class Jump:
    """What happened on the way to one scale.

    Attributes
    ----------
    scale : int
    losses : Tensor
        (steps,) L1 on crops.
    tests : Tensor
        (t, 2) step and mean squared error of the photo reconstructed from its son.
    changes : tuple of int
        Steps at which the learning rate fell.
    """

    scale: int
    losses: Float[Tensor, "steps"] = field(repr=False)
    tests: Float[Tensor, "t 2"] = field(repr=False)
    changes: tuple[int, ...] = ()


@dataclass(frozen=True)
class ZSSRResult:
    """The enlarged photo in [0, 1], and how each jump went."""

    sr: Float[Tensor, "3 h w"]
    jumps: tuple[Jump, ...]


Progress = Callable[[int, int], None]


def zssr(
    image: Float[Tensor, "3 h w"],
    scales: Sequence[Integral] = (2,),
    kernels: Sequence[Float[Tensor, "_ _"] | None] | None = None,
    settings: ZSSRSettings | None = None,
    *,
    seed: Integral = 0,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> ZSSRResult:
    """Enlarge a photo by a network that is trained on it alone.

    Parameters
    ----------
    image : Tensor
        RGB in [0, 1], at least 32 x 32 pixels.
    scales : sequence of int
        One jump for each; the last is the result's scale. Weights are kept from jump to jump, and each result joins
        the images that crops are taken of.
    kernels : sequence of Tensor or None
        For each jump the correlation kernel that reduces by its scale, aligned; None: bicubic.
    settings : ZSSRSettings, optional
        ZSSR's own for kernels or for bicubic reductions by default.
    seed : int
    device : str or torch.device
    progress : callable, optional
        Called with the steps done and the steps to do at most.

    Returns
    -------
    ZSSRResult

    Raises
    ------
    ImageError
        The photo is too small, or holds NaN.
    """
    kernels = list(kernels) if kernels is not None else [None] * len(scales)
    if not scales or min(scales) < 2 or len(kernels) != len(scales):
        raise ValueError(f"give one kernel for each scale, and scales of at least 2; got {len(kernels)}, {scales}")
    least = max(32, *(max(kernel.shape) for kernel in kernels if kernel is not None), 0)
    if min(image.shape[1:]) < least or not bool(torch.isfinite(image).all()):
        raise ImageError(
            f"ZSSR needs a photo of at least {least} x {least} pixels without NaN: give a larger or a mended one."
        )
    if settings is None:
        settings = BICUBIC if all(kernel is None for kernel in kernels) else GIVEN_KERNEL
    image = image.to(device)
    dice = np.random.default_rng(int(seed))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
        net = ZSSRNet().to(device)
    fathers, jumps = [father(image, settings)], []
    for i, (scale, kernel) in enumerate(zip(scales, kernels, strict=True)):
        tell = (
            (lambda step, base=i: progress(base * settings.steps + step, len(scales) * settings.steps))
            if progress
            else None
        )
        jumps.append(train(net, fathers, int(scale), kernel, settings, dice, tell))
        sr = enlarge(net, image, int(scale), kernel, settings)
        fathers.append(father(sr, settings, float(scale)))
    return ZSSRResult(sr.cpu(), tuple(jumps))


def k_zssr(
    image: Float[Tensor, "3 h w"],
    kernel: Float[Tensor, "_ _"],
    scale: Integral = 2,
    settings: ZSSRSettings = K_ZSSR,
    **options,
) -> ZSSRResult:
    """ZSSR with a kernel estimated for x2, as KernelGAN gives it; x4 goes by way of x2.

    Parameters
    ----------
    image, settings, options
        As for :func:`zssr`.
    kernel : Tensor
        For a reduction by 2, aligned.
    scale : {2, 4}
        4 takes two jumps, the second with the analytic kernel. Crops being taken as they are, KernelGAN's own settings
        never take them of the first jump's result, as its code never does.
    """
    if scale not in (2, 4):
        raise ValueError(f"scale must be 2 or 4, got {scale}")
    if scale == 2:
        return zssr(image, (2,), [kernel], settings, **options)
    return zssr(image, (2, 4), [kernel, analytic_x4(kernel)], settings, **options)


def father(image: Float[Tensor, "3 h w"], settings: ZSSRSettings, scale: Real = 1.0) -> Father:
    """An image to take crops of, with its weights."""
    return Father(image, edge_weights(image) if settings.weighted else torch.ones_like(image[:1]), scale)


def make_son(hr: Float[Tensor, "3 h w"], scale: Integral, kernel: Tensor | None) -> Float[Tensor, "3 oh ow"]:
    """Reduce: bicubically, or with an aligned kernel."""
    return imresize(hr, scale=1 / scale) if kernel is None else downscale(hr, kernel.to(hr), scale, align=False)


def train(
    net: ZSSRNet,
    fathers: Sequence[Father],
    scale: Integral,
    kernel: Float[Tensor, "_ _"] | None,
    settings: ZSSRSettings,
    dice: np.random.Generator,
    progress: Callable[[int], None] | None = None,
) -> Jump:
    """One jump: from crops' sons to the crops, until the rate control ends it."""
    speed = speed_of(settings, fathers[0].image.device)
    net = speed.prepare(net)
    control, losses = RateControl(settings), []
    optimizer = torch.optim.Adam(net.parameters(), control.rate, fused=speed.fused)
    photo = images.modcrop(middle(fathers[0].image, settings.window), scale)
    blurred = imresize(make_son(photo, scale, kernel).clamp(0, 1), size=photo.shape[1:])
    for step in range(settings.steps):
        crop, weights = random_crop(fathers, settings.augmentation, scale, dice)
        son = make_son(crop, scale, kernel)
        if settings.noise:
            son = son + torch.from_numpy(settings.noise * dice.standard_normal(son.shape)).to(son)
        start = imresize(son.clamp(0, 1), size=crop.shape[1:])
        loss = (weights * (sharpen(net, start[None], speed)[0] - crop).abs()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        if step % settings.test_every == 0:
            control.tested(step, float((run(net, blurred, speed) - photo).square().mean()))
            if progress:
                progress(step)
        ended = control.after(step)
        optimizer.param_groups[0]["lr"] = control.rate
        if ended:
            break
    if progress:
        progress(settings.steps)
    tests = torch.tensor(list(zip(control.steps, control.errors, strict=True)))
    return Jump(int(scale), torch.stack(losses).cpu(), tests, tuple(control.changes))


def speed_of(settings: ZSSRSettings, device: torch.device) -> Speed:
    """Number format and memory layout: plain, or the fastest that the device has."""
    return fastest(device) if settings.mixed else PLAIN


def middle(image: Float[Tensor, "3 h w"], side: Integral) -> Float[Tensor, "3 oh ow"]:
    """The middle of an image, of ``side`` pixels each way; all of it for 0."""
    height, width = (min(side or n, n) for n in image.shape[1:])
    top, left = (image.shape[1] - height) // 2, (image.shape[2] - width) // 2
    return image[:, top : top + height, left : left + width]


def sharpen(net: ZSSRNet, enlarged: Float[Tensor, "b 3 h w"], speed: Speed) -> Float[Tensor, "b 3 h w"]:
    """The network at some speed; its result in float32."""
    with torch.autocast(enlarged.device.type, torch.bfloat16, enabled=speed.precision == "bf16-mixed"):
        return net(speed.layout(enlarged)).float()


@torch.no_grad()
def run(net: ZSSRNet, enlarged: Float[Tensor, "3 h w"], speed: Speed = PLAIN) -> Float[Tensor, "3 h w"]:
    """The network on a whole image, in windows, clamped to [0, 1]."""
    # eight layers look 8 pixels far: half an overlap of 16
    return images.tiled(lambda x: sharpen(net, x, speed), enlarged, tile=256, overlap=16).clamp(0, 1)


def enlarge(
    net: ZSSRNet, image: Float[Tensor, "3 h w"], scale: Integral, kernel: Tensor | None, settings: ZSSRSettings
) -> Float[Tensor, "3 oh ow"]:
    """Enlarge the photo: the network in one or eight positions, each made to fit the photo, their median once more."""
    found, speed = [], speed_of(settings, image.device)
    for position in range(8 if settings.ensemble else 1):
        turned = torch.rot90(image.flip(-1) if position >= 4 else image, position, (1, 2))
        size = [int(scale) * side for side in turned.shape[1:]]
        sr = torch.rot90(run(net, imresize(turned, size=size), speed), -position, (1, 2))
        found.append(
            back_project(sr.flip(-1) if position >= 4 else sr, image, scale, kernel, settings.back_projections)
        )
    if not settings.ensemble:
        return found[0]
    return back_project(median(found), image, scale, kernel, settings.back_projections)


def median(found: Sequence[Float[Tensor, "3 h w"]], rows: Integral = 64) -> Float[Tensor, "3 h w"]:
    """Median over pictures, between the two in the middle; some rows at a time, as sorting takes memory."""
    strips = []
    for parts in zip(*(x.split(int(rows), 1) for x in found), strict=True):
        ordered = torch.stack(parts).sort(0).values  # (n, 3, rows, w)
        strips.append((ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2)
    return torch.cat(strips, 1)


def back_project(
    sr: Float[Tensor, "3 oh ow"], lr: Float[Tensor, "3 h w"], scale: Integral, kernel: Tensor | None, times: Integral
) -> Float[Tensor, "3 oh ow"]:
    """Add what the reduced result lacks of the photo, enlarged bicubically; so many times."""
    for _ in range(times):
        sr = (sr + imresize(lr - make_son(sr, scale, kernel), size=sr.shape[1:])).clamp(0, 1)
    return sr
