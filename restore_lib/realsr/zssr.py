"""ZSSR: super-resolution learned from the one photo itself, with a known or estimated kernel [shocher2018zssr].

The photo ("father") is reduced once more to a "son"; a small network learns to get from son back to father, and is then
asked to go one step up from the photo. With KernelGAN's kernel for the reduction it is K-ZSSR.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from typing import Any, cast

import cv2
import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage, stats
from torch import Tensor, nn

from restore_lib import images
from restore_lib.errors import ImageError
from restore_lib.realsr.kernel_crops import inside
from restore_lib.realsr.kernels import LUMA, analytic_x4
from restore_lib.resampling import downscale, imresize
from restore_lib.training.precision import PLAIN, Speed, fastest
from restore_lib.training.recipes import sourced

LEAST_RATE = 9e-6  # training ends when the learning rate falls below


class ZSSRNet(nn.Module):
    """Eight 3 x 3 convolutions of 64 channels without bias: 224,640 weights; adds details to an enlarged image."""

    def __init__(self, width: int = 64, depth: int = 8):
        super().__init__()
        channels = [3, *[width] * (depth - 1), 3]
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1, bias=False) for i, o in pairwise(channels))
        for weight in self.parameters():
            nn.init.normal_(weight, 0, (0.1 / weight[0].numel()) ** 0.5)  # small: it learns a residual

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Sharpen an image that bicubic interpolation has enlarged."""
        y = x
        for conv in self.convs[:-1]:
            y = torch.relu(conv(y))  # (b, width, h, w)
        return x + self.convs[-1](y)


@dataclass(frozen=True)
class Augmentation:
    """How crops are made; the defaults are ZSSR's own."""

    crop: int = sourced(128, "official code", "Side of a crop in pixels; smaller for smaller photos.")
    as_is: float = sourced(0.05, "official code", "Share of crops that are left as they are.")
    turned: float = sourced(0.45, "official code", "Share that is turned by quarters and mirrored; the rest is warped.")
    least_scale: float = sourced(0.5, "official code", "Warped crops are reduced by a factor between this and 1.")
    stretch: float = sourced(0.25, "official code", "Standard deviation of the difference between both axes' scales.")
    shear: float = sourced(0.1, "official code", "Standard deviation of the shear.")
    rotate: bool = sourced(True, "official code", "Rotate and mirror; not with kernels that are not symmetric.")


@dataclass(frozen=True)
class ZSSRSettings:
    """How ZSSR trains and what it does afterwards; the defaults are its own for a bicubic reduction."""

    steps: int = sourced(3000, "official code", "Updates at most, in each jump.")
    learning_rate: float = sourced(1e-3, "official code", "Adam's, at first.")
    schedule: str = sourced("slope", "official code", "How the rate falls: by the slope rule, or along a cosine.")
    test_every: int = sourced(50, "official code", "Steps between two reconstructions of the whole photo.")
    window: int = sourced(0, "official code", "Side of the middle of the photo that is reconstructed; 0: all of it.")
    check_every: int = sourced(60, "official code", "Steps between two looks at the slope.")
    patience: int = sourced(256, "official code", "Steps that a line is fitted to, and least steps between two rates.")
    slope_ratio: float = sourced(1.5, "official code", "The rate falls when -slope times this is below its error.")
    augmentation: Augmentation = sourced(Augmentation(), "official code", "How crops are made.")
    noise: float = sourced(0.0, "official code", "Standard deviation, in [0, 1], of noise on sons.")
    weighted: bool = sourced(False, "official code", "Weigh the loss by the gradients of the photo.")
    back_projections: int = sourced(10, "official code", "Times that the result is made to fit the photo.")
    ensemble: bool = sourced(True, "official code", "Median over the eight positions of the photo.")
    mixed: bool = sourced(False, "official code", "bfloat16 and channels last where the processor has both.")

    def __post_init__(self) -> None:
        if self.schedule not in ("slope", "cosine") or 0 < self.window < 32:
            raise ValueError('schedule is "slope" or "cosine", window 0 or at least 32')


BICUBIC = ZSSRSettings()
GIVEN_KERNEL = replace(BICUBIC, augmentation=Augmentation(rotate=False), back_projections=2, ensemble=False)
REAL = replace(
    BICUBIC,
    augmentation=Augmentation(rotate=False, stretch=0.0, shear=0.0, least_scale=0.75),
    back_projections=0,
    ensemble=False,
    noise=0.0125,
)
K_ZSSR = replace(GIVEN_KERNEL, augmentation=Augmentation(as_is=1.0, turned=0.0, rotate=False), weighted=True)
K_ZSSR_REAL = replace(K_ZSSR, back_projections=0, noise=0.0125)


@dataclass(frozen=True)
class QuickSettings(ZSSRSettings):
    """What :func:`quick` changes: nearly the same result for a fraction of the work."""

    steps: int = sourced(2000, "ours: a cosine needs fewer", "Updates in each jump.")
    schedule: str = sourced("cosine", "ours: it ends when it is to end", "How the rate falls.")
    test_every: int = sourced(50, "ours: for the curves alone", "Steps between two reconstructions of the photo.")
    window: int = sourced(128, "ours: for the curves alone", "Side of the middle of the photo that is reconstructed.")
    mixed: bool = sourced(True, "ours: faster where there is bfloat16", "bfloat16 and channels last, if supported.")


def quick(settings: ZSSRSettings, crop: int = 64) -> QuickSettings:
    """A published use (``BICUBIC``, ``K_ZSSR``, ...) in a minute: crops of ``crop`` pixels, fewer steps."""
    own = QuickSettings.__annotations__
    values: dict[str, Any] = {f.name: getattr(settings, f.name) for f in fields(settings) if f.name not in own}
    return QuickSettings(**{**values, "augmentation": replace(settings.augmentation, crop=crop)})


@dataclass(frozen=True)
class Father:
    """An image that crops are taken of, ``scale`` times as large as the photo, and each pixel's weight in the loss."""

    image: Float[Tensor, "3 h w"]
    weights: Float[Tensor, "1 h w"]
    scale: float = 1.0


def edge_weights(image: Float[Tensor, "3 h w"], window: int = 5) -> Float[Tensor, "1 h w"]:
    """Gradient magnitude in a box around each pixel, zero in a border of 3, mean 1: K-ZSSR's weights of the loss."""
    grey = np.tensordot(LUMA, image.double().cpu().numpy(), 1)  # (h, w)
    down, right = np.gradient(grey)
    magnitude = ndimage.uniform_filter(np.hypot(down, right), window, mode="constant")
    inner = inside(magnitude, (window + 1) // 2)
    return torch.from_numpy(inner / inner.mean() if inner.any() else np.ones_like(inner)).to(image)[None]


def random_crop(
    fathers: Sequence[Father], augmentation: Augmentation, multiple: int, rng: np.random.Generator
) -> tuple[Float[Tensor, "3 s t"], Float[Tensor, "1 s t"]]:
    """A crop of a father and its weights; a warped one comes from the smallest father that is large enough."""
    kind = rng.random()
    if kind >= augmentation.as_is + augmentation.turned:
        return _warped(fathers, augmentation, multiple, rng)
    father = fathers[0]
    height, width = crop_size(father, augmentation, multiple)
    turns = 0
    if kind >= augmentation.as_is and augmentation.rotate:
        turns = int(rng.integers(4))
        height, width = [min(height, width)] * 2 if turns % 2 else (height, width)  # a small photo may not be square
    top, left = (int(rng.integers(n - m + 1)) for n, m in zip(father.image.shape[1:], (height, width), strict=True))
    parts = [x[:, top : top + height, left : left + width] for x in (father.image, father.weights)]
    if kind >= augmentation.as_is and augmentation.rotate:
        mirrored = bool(rng.integers(2))
        parts = [torch.rot90(part.flip(-1) if mirrored else part, turns, (1, 2)) for part in parts]
    return parts[0], parts[1]


def _warped(fathers: Sequence[Father], augmentation: Augmentation, multiple: int, rng: np.random.Generator) -> tuple:
    """A crop that was reduced, stretched, sheared and rotated in one interpolation."""
    scale = augmentation.least_scale + (fathers[-1].scale - augmentation.least_scale) * rng.random()
    father = next(f for f in fathers if f.scale > scale - 1e-6)
    height, width = crop_size(father, augmentation, multiple)
    matrix = warp_matrix(father.image.shape[1:], (height, width), scale / father.scale, augmentation, rng)
    options = {"M": matrix, "dsize": (width, height), "borderMode": cv2.BORDER_REFLECT_101}

    def warp(x: Tensor, flags: int) -> Tensor:
        array = cv2.warpAffine(x.permute(1, 2, 0).cpu().numpy(), flags=flags, **options).reshape(height, width, -1)
        return torch.from_numpy(array).permute(2, 0, 1).contiguous().to(x)

    return warp(father.image, cv2.INTER_CUBIC).clamp(0, 1), warp(father.weights, cv2.INTER_LINEAR)


def warp_matrix(
    size: Sequence[int], crop: Sequence[int], scale: float, augmentation: Augmentation, rng: np.random.Generator
) -> Float[np.ndarray, "2 3"]:
    """From places (x, y) in a father of ``size`` (height, width) to places in a crop from anywhere in it."""
    stretch = augmentation.stretch * rng.standard_normal() / 2
    linear = np.diag([scale * (1 + stretch), scale * (1 - stretch)])
    if augmentation.rotate:
        angle, shear = 2 * math.pi * rng.random(), augmentation.shear * rng.standard_normal(2)
        mirror = np.diag([1.0 if rng.random() < 0.5 else -1.0, 1.0])
        turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        linear = np.array([[1, shear[0]], [shear[1], 1]]) @ turn @ linear @ mirror
    inner = np.maximum(np.array(size[::-1]) - np.array(crop[::-1]) / scale, 0)  # (x, y) room for the middle
    middle = (np.array(size[::-1]) - 1) / 2 + inner * (rng.random(2) - 0.5)
    shift = (np.array(crop[::-1]) - 1) / 2 - linear @ middle
    return np.concatenate([linear, shift[:, None]], 1)


def crop_size(father: Father, augmentation: Augmentation, multiple: int) -> tuple[int, int]:
    """Height and width of a crop: as asked for, or as large as the father is."""
    height, width = (min(augmentation.crop, side) for side in father.image.shape[1:])
    return height - height % multiple, width - width % multiple


# training


class RateControl:
    """Divide the learning rate by 10 when the reconstruction no longer gets better.

    A line is fitted to the last reconstructions' mean squared errors; when 1.5 times its fall is less than the standard
    error of its slope, the rate falls. (In the released code's days NumPy divided by n - 4 in that error, now n - 2.)
    """

    def __init__(self, settings: ZSSRSettings):
        self.settings, self.rate = settings, settings.learning_rate
        if settings.schedule == "cosine":
            self.rate *= cosine(1, settings.steps)
        self.steps: list[int] = []  # when the photo was reconstructed
        self.errors: list[float] = []  # how well
        self.changes: list[int] = []  # when the rate fell

    def after(self, step: int) -> bool:
        """Look at the slope when it is time to; True when training shall end."""
        if self.settings.schedule == "cosine":
            self.rate = self.settings.learning_rate * cosine(step + 1, self.settings.steps)
            return False
        since = step - (self.changes[-1] if self.changes else 0)
        count = max(self.settings.patience // self.settings.test_every, 3)
        if (step + 1) % self.settings.check_every or since <= self.settings.patience or len(self.steps) < count:
            return False
        slope, error = line(self.steps[-count:], self.errors[-count:])
        if -self.settings.slope_ratio * slope < error:
            self.rate /= 10
            self.changes.append(step)
        return self.rate < LEAST_RATE


def cosine(step: int, steps: int, warm: int = 100) -> float:
    """The rate after some steps of all, from 0 up to 1 in ``warm`` steps and back to 0 along a cosine.

    A full first step of Adam's would throw most of the small first weights over, and leave units that never fire.
    """
    return min(1.0, step / warm) * (1 + math.cos(math.pi * step / steps)) / 2


def line(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Slope of the line of least squares, and its standard error."""
    fit = cast(Any, stats.linregress(x, y))
    return float(fit.slope), float(fit.stderr)


def father(image: Float[Tensor, "3 h w"], settings: ZSSRSettings, scale: float = 1.0) -> Father:
    """An image to take crops of, with its weights."""
    return Father(image, edge_weights(image) if settings.weighted else torch.ones_like(image[:1]), scale)


def make_son(hr: Float[Tensor, "3 h w"], scale: int, kernel: Tensor | None) -> Float[Tensor, "3 oh ow"]:
    """Reduce: bicubically, or with an aligned kernel."""
    return imresize(hr, scale=1 / scale) if kernel is None else downscale(hr, kernel.to(hr), scale, align=False)


@dataclass(frozen=True)
class Jump:
    """What happened on the way to one scale."""

    scale: int
    losses: Float[Tensor, "steps"] = field(repr=False)  #: L1 on crops
    tests: Float[Tensor, "t 2"] = field(repr=False)  #: steps, and mean squared errors of the photo made from its son
    changes: tuple[int, ...] = ()  #: steps at which the learning rate fell


def train(
    net: nn.Module,
    fathers: Sequence[Father],
    scale: int,
    kernel: Float[Tensor, "_ _"] | None,
    settings: ZSSRSettings,
    rng: np.random.Generator,
    progress: Callable[[int], None] | None = None,
) -> Jump:
    """One jump: from crops' sons to the crops, until the rate control ends it."""
    speed = fastest(fathers[0].image.device) if settings.mixed else PLAIN
    net = speed.prepare(net)
    control, losses = RateControl(settings), []
    optimizer = torch.optim.Adam(net.parameters(), control.rate, fused=speed.fused)
    father = fathers[0].image
    photo = images.modcrop(images.centre_crop(father, settings.window) if settings.window else father, scale)
    blurred = imresize(make_son(photo, scale, kernel).clamp(0, 1), size=photo.shape[1:])
    for step in range(settings.steps):
        crop, weights = random_crop(fathers, settings.augmentation, scale, rng)
        son = make_son(crop, scale, kernel)
        if settings.noise:
            son = son + torch.from_numpy(settings.noise * rng.standard_normal(son.shape)).to(son)
        start = imresize(son.clamp(0, 1), size=crop.shape[1:])
        loss = (weights * (sharpen(net, start[None], speed)[0] - crop).abs()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        if step % settings.test_every == 0:
            control.steps.append(step)
            control.errors.append(float((run(net, blurred, speed) - photo).square().mean()))
            if progress:
                progress(step)
        ended = control.after(step)
        optimizer.param_groups[0]["lr"] = control.rate
        if ended:
            break
    if progress:
        progress(settings.steps)
    tests = torch.tensor(list(zip(control.steps, control.errors, strict=True)))
    return Jump(scale, torch.stack(losses).cpu(), tests, tuple(control.changes))


def sharpen(net: nn.Module, enlarged: Float[Tensor, "b 3 h w"], speed: Speed) -> Float[Tensor, "b 3 h w"]:
    """The network at some speed; its result in float32."""
    with torch.autocast(enlarged.device.type, torch.bfloat16, enabled=speed.precision == "bf16-mixed"):
        return net(speed.layout(enlarged)).float()


@torch.no_grad()
def run(net: nn.Module, enlarged: Float[Tensor, "3 h w"], speed: Speed = PLAIN) -> Float[Tensor, "3 h w"]:
    """The network, which looks 8 pixels far, on a whole image: in windows, clamped to [0, 1]."""
    return images.tiled(lambda x: sharpen(net, x, speed), enlarged, tile=256, overlap=16).clamp(0, 1)


def enlarge(
    net: nn.Module, image: Float[Tensor, "3 h w"], scale: int, kernel: Tensor | None, settings: ZSSRSettings
) -> Float[Tensor, "3 oh ow"]:
    """Enlarge the photo: the network in one or eight positions, each made to fit the photo, their median once more."""
    results, speed = [], fastest(image.device) if settings.mixed else PLAIN
    for position in range(8 if settings.ensemble else 1):
        turned = torch.rot90(image.flip(-1) if position >= 4 else image, position, (1, 2))
        size = [scale * side for side in turned.shape[1:]]
        sr = torch.rot90(run(net, imresize(turned, size=size), speed), -position, (1, 2))
        sr = sr.flip(-1) if position >= 4 else sr
        results.append(back_project(sr, image, scale, kernel, settings.back_projections))
    if not settings.ensemble:
        return results[0]
    return back_project(median(results), image, scale, kernel, settings.back_projections)


def median(images: Sequence[Float[Tensor, "3 h w"]]) -> Float[Tensor, "3 h w"]:
    """Median over images, between the two in the middle."""
    stack = torch.stack(list(images))
    return torch.from_numpy(np.median(stack.cpu().numpy(), axis=0, overwrite_input=True)).to(stack)


def back_project(
    sr: Float[Tensor, "3 oh ow"], lr: Float[Tensor, "3 h w"], scale: int, kernel: Tensor | None, times: int
) -> Float[Tensor, "3 oh ow"]:
    """Add what the reduced result lacks of the photo, enlarged bicubically; so many times."""
    for _ in range(times):
        sr = (sr + imresize(lr - make_son(sr, scale, kernel), size=sr.shape[1:])).clamp(0, 1)
    return sr


@dataclass(frozen=True)
class ZSSRResult:
    """The enlarged photo in [0, 1], and how each jump went."""

    sr: Float[Tensor, "3 h w"]
    jumps: tuple[Jump, ...]


def zssr(
    image: Float[Tensor, "3 h w"],
    scales: Sequence[int] = (2,),
    kernels: Sequence[Float[Tensor, "_ _"] | None] | None = None,
    settings: ZSSRSettings | None = None,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> ZSSRResult:
    """Enlarge a photo, RGB in [0, 1] and at least 32 x 32 pixels (else ImageError), by a network trained on it alone.

    There is a jump for each of ``scales``; the last is the result's. Weights are kept from jump to jump, and each
    result joins the images that crops are taken of. ``kernels`` are, for each jump, the correlation kernel that reduces
    by its scale, aligned, or None: bicubic. ``settings`` are ZSSR's own by default. ``progress`` is called with the
    steps done and the steps to do at most.
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
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = ZSSRNet().to(device)
    fathers, jumps, total = [father(image, settings)], [], len(scales) * settings.steps
    for i, (scale, kernel) in enumerate(zip(scales, kernels, strict=True)):
        base = i * settings.steps
        report = (lambda step, base=base: progress(base + step, total)) if progress else None
        jumps.append(train(net, fathers, scale, kernel, settings, rng, report))
        fathers.append(father(enlarge(net, image, scale, kernel, settings), settings, float(scale)))
    return ZSSRResult(fathers[-1].image.cpu(), tuple(jumps))


def k_zssr(
    image: Float[Tensor, "3 h w"],
    kernel: Float[Tensor, "_ _"],
    scale: int = 2,
    settings: ZSSRSettings = K_ZSSR,
    **options,
) -> ZSSRResult:
    """ZSSR with a kernel for a reduction by 2, aligned, as KernelGAN gives it; other parameters as for :func:`zssr`.

    A ``scale`` of 4 takes two jumps, the second with the analytic kernel. Crops being taken as they are, KernelGAN's
    own settings never take them of the first jump's result, as its code never does.
    """
    if scale not in (2, 4):
        raise ValueError(f"scale must be 2 or 4, got {scale}")
    if scale == 2:
        return zssr(image, (2,), [kernel], settings, **options)
    return zssr(image, (2, 4), [kernel, analytic_x4(kernel)], settings, **options)
