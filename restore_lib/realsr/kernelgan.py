"""KernelGAN [bellkligler2019kernelgan]: the blur that made a photo, learned from the photo alone.

A photo's small details look like its large ones. So a generator shrinks crops of the photo, and a discriminator that
sees 7 x 7 pixels tells whether a patch is from the photo or from the generator. When it cannot tell, the generator
shrinks as the camera did. Sizes and numbers are those of the released code, with the stride in the last layer. RealSR
estimates its kernels with this, or by its own Eq. 4 [ji2020realsr]: ``KernelSettings(form="realsr")``.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from restore_lib.errors import ImageError
from restore_lib.fast.kernelgan import ComposedStep, few_threads
from restore_lib.realsr.kernel_crops import CropSampler, hold_out, shaved
from restore_lib.realsr.kernels import Diagnostics, KernelEstimate, Trajectory, centre_of_mass, conclude, diagnose
from restore_lib.resampling import imresize
from restore_lib.training.recipes import sourced

SIZES = (7, 5, 3, 1, 1, 1)  # of the generator's kernels; together they reach 13 pixels
BETAS = (0.5, 0.999)  # of Adam
EVERY = 50  # steps between two kernels of the trajectory


@dataclass(frozen=True)
class KernelSettings:
    """How an estimation runs; the defaults are the released code's, its two defects mended."""

    form: Literal["released", "realsr"] = sourced(
        "released", "official code of KernelGAN", "'released': five constraints, two phases. 'realsr': Eq. 4 of RealSR."
    )
    official_defects: bool = sourced(False, "ours: mended", "Bicubic reference of summed colours; noise stays.")
    steps: int = sourced(3000, "official code", "Updates of both networks.")
    learning_rate: float = sourced(2e-4, "official code", "Adam's, for both networks.")
    rate_every: int = sourced(750, "official code", "Steps after which the learning rates are divided by 10.")
    sum: float = sourced(0.5, "official code", "Weight of the distance of the kernel's sum to 1.")
    boundaries: float = sourced(0.5, "official code", "Weight of what lies in the two outer rings.")
    bicubic: float = sourced(5.0, "official code", "Weight, at first, of the distance to a bicubic reduction.")
    centre: float = sourced(1.0, "official code", "Weight, in the second phase, of the centre's distance.")
    sparse: float = sourced(5.0, "official code", "Weight, in the second phase, of the mean of |k| ** 0.2.")
    threshold: float | None = sourced(None, "ours: see Schedule", "Bicubic loss that ends phase one; None: the usual.")
    check_every: int = sourced(200, "official code", "Steps between two divisions of the bicubic weight by 100.")
    shave: int = sourced(10, "official code", "Pixels cut from each side of the image first; 0 for its real photos.")

    def __post_init__(self) -> None:
        if self.form not in ("released", "realsr"):
            raise ValueError(f"form must be 'released' or 'realsr', got {self.form!r}")


class KernelGenerator(nn.Module):
    """Deep linear generator: kernels of 7, 5, 3, 1, 1, 1, 64 channels, 150,656 weights; one blur in six layers."""

    def __init__(self, width: int = 64):
        super().__init__()
        channels, strides = [1, *[width] * 5, 1], [1, 1, 1, 1, 1, 2]
        self.layers = nn.ModuleList(
            nn.Conv2d(channels[i], channels[i + 1], size, strides[i], bias=False) for i, size in enumerate(SIZES)
        )
        for weight in self.parameters():
            nn.init.xavier_normal_(weight, 0.1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c oh ow"]:
        """Blur and halve each colour by itself, without padding: ``(x * k)`` at every second pixel; 64 become 26."""
        y = x.flatten(0, 1)[:, None]  # (b c, 1, h, w)
        for layer in self.layers:
            y = layer(y)  # (b c, width, h', w')
        return y.unflatten(0, x.shape[:2])[:, :, 0]

    def kernel(self) -> Float[Tensor, "13 13"]:
        """The one correlation kernel that all layers are together. Differentiable."""
        return compose(list(self.parameters()))


def compose(layers: Sequence[Float[Tensor, "_ _ _ _"]]) -> Float[Tensor, "s s"]:
    """The kernel that convolutions without activations are together, one channel in and one out, first layer first.

    Two correlations in a row are one, whose kernel is the full convolution of both, summed over the channels between.
    From the last layer to the first there is one row of channels to carry instead of a matrix of them.
    """
    kernel = layers[-1]  # (1, channels, size, size)
    for layer in reversed(layers[:-1]):
        kernel = F.conv_transpose2d(kernel, layer)  # each cell adds a copy of the layer, placed as the cell lies
    return kernel[0, 0]


def spectral_conv(channels: int, width: int, size: int) -> nn.Module:
    """Convolution whose weight is divided by its largest singular value, which one power iteration a pass follows."""
    conv = nn.Conv2d(channels, width, size)
    nn.init.zeros_(conv.get_parameter("bias"))
    return nn.utils.spectral_norm(conv)


class KernelDiscriminator(nn.Module):
    """Patch discriminator: 7 x 7, five times [1 x 1, batch norm, ReLU], 1 x 1, sigmoid; 30,977 parameters.

    The released code means to start from Xavier's values, but sets the normalised copies of the weights, which the next
    pass overwrites: its discriminator starts from PyTorch's own values, and so does this one.
    """

    def __init__(self, width: int = 64, depth: int = 7):
        super().__init__()
        self.first = spectral_conv(3, width, 7)
        self.middle = nn.ModuleList(spectral_conv(width, width, 1) for _ in range(depth - 2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(depth - 2))
        self.last = spectral_conv(width, 1, 1)
        for norm in self.norms:
            nn.init.normal_(norm.get_parameter("weight"), 1.0, 0.02)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 oh ow"]:
        """How real each patch of an image in [-1, 1] looks, in 0 to 1; 6 pixels fewer each way."""
        y = self.first(x)  # (b, width, h - 6, w - 6)
        for conv, norm in zip(self.middle, self.norms, strict=True):
            y = torch.relu(norm(conv(y)))
        return torch.sigmoid(self.last(y))


def networks(seed: int) -> tuple[KernelGenerator, KernelDiscriminator]:
    """Fresh networks; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return KernelGenerator(), KernelDiscriminator()


def distance(maps: Float[Tensor, "n ..."], target: float) -> Float[Tensor, "n"]:
    """L1 distance of the discriminator's maps to 1 (real) or 0. The paper says squares, the code has L1."""
    return (maps - target).abs().flatten(1).mean(1)


def generator_terms(
    kernel: Float[Tensor, "n 13 13"],
    fake: Float[Tensor, "n 3 26 26"],
    crop: Float[Tensor, "n 3 64 64"],
    maps: Float[Tensor, "n ..."],
    settings: KernelSettings,
) -> Mapping[str, Float[Tensor, "n"]]:
    """Each term of the generator's loss, without its weight, for n estimations.

    The paper's four constraints (sum, boundaries, centre, sparse) and the code's bicubic anchor; or RealSR's Eq. 4,
    with absolute values throughout. ``maps`` is what the discriminator says to ``fake``, which is made of ``crop``.
    """
    apart = (fake - bicubic_reference(crop, settings.official_defects)).flatten(1)
    outer = kernel * boundary_mask(kernel.shape[-1], kernel.device, kernel.dtype)
    terms = {"gan": distance(maps, 1), "sum": (1 - kernel.sum((1, 2))).abs()}
    if settings.form == "realsr":
        return terms | {"bicubic": apart.abs().mean(1), "boundaries": outer.sum((1, 2)).abs()}
    return terms | {
        "bicubic": apart.square().mean(1),
        "boundaries": outer.abs().mean((1, 2)),
        "centre": (centre_of_mass(kernel) - kernel.shape[-1] / 2).square().mean(1),  # 6.5 of 13: the aligned centre
        "sparse": kernel.abs().pow(0.2).mean((1, 2)),
    }


def bicubic_reference(crop: Float[Tensor, "n 3 64 64"], colours_summed: bool = False) -> Float[Tensor, "n 3 26 26"]:
    """The bicubic reduction by 2 of what the generator sees; the released code sums the colours by mistake."""
    small = imresize(crop, scale=1 / 2)[..., 3:-3, 3:-3]
    return small.sum(1, keepdim=True).expand_as(small) if colours_summed else small


@lru_cache(maxsize=4)
def boundary_mask(
    size: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float64
) -> Float[Tensor, "s s"]:
    """Weights of the cells in the outer two rings, more the farther from the middle, and 0 inside (for 13 cells)."""
    along = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    bell = torch.exp(-0.5 * (along / size) ** 2)
    mask = 30 * (1 - torch.outer(bell, bell))
    margin = (size - math.ceil(size / 2)) // 2 - 1
    mask[margin : size - margin, margin : size - margin] = 0
    return mask.to(device, dtype)


class Schedule:
    """Weights of the terms as training goes on (``learner.py`` of the released code).

    First the generator learns the bicubic reduction, which anchors scale and place. Once its error was below a
    threshold in three steps running, the anchor's weight is divided by 100 at every 200th step; at the second division
    the terms for centre and sparsity come in: that is ``switch_step``. The released code waits for an error of 0.4, but
    compares each colour with the *sum* of the three bicubic ones; the mended comparison waits for 0.4 / 9.
    """

    def __init__(self, settings: KernelSettings):
        self.settings = settings
        default = 0.4 if settings.official_defects else 0.4 / 9
        self.threshold = default if settings.threshold is None else settings.threshold
        self.switch_step: int | None = None
        self._below, self._anchored = 0, False
        if settings.form == "realsr":  # Eq. 4: all terms from the start, each with weight 1
            self.weights = {"gan": 1.0, "bicubic": 1.0, "sum": 1.0, "boundaries": 1.0}
        else:
            fixed = {"sum": settings.sum, "boundaries": settings.boundaries}
            self.weights = {"gan": 1.0, "bicubic": settings.bicubic, **fixed, "centre": 0.0, "sparse": 0.0}

    def rate(self, step: int) -> float:
        """Learning rate at a step, counted from 0."""
        # the released code divides after step 750 has been made
        return self.settings.learning_rate / 10 ** (max(step - 1, 0) // self.settings.rate_every)

    def after(self, step: int, bicubic_loss: float) -> None:
        """Take note of a step's bicubic loss."""
        if step == 0 or self.settings.form == "realsr":
            return
        if not self._anchored:
            self._below = self._below + 1 if bicubic_loss < self.threshold else 0
            self._anchored = self._below >= 3
            return
        least = min(5e-6, self.settings.bicubic)
        if step % self.settings.check_every or (self.switch_step and self.weights["bicubic"] <= least):
            return
        self.weights["bicubic"] = max(self.weights["bicubic"] / 100, least)
        if self.switch_step is None and self.weights["bicubic"] < 5e-3:
            self.weights |= {"centre": self.settings.centre, "sparse": self.settings.sparse}
            self.switch_step = step


def step(
    networks: tuple[KernelGenerator, KernelDiscriminator],
    optimizers: tuple[torch.optim.Optimizer, torch.optim.Optimizer],
    crops: tuple[Float[Tensor, "1 3 64 64"], Float[Tensor, "1 3 26 26"], Float[Tensor, "1 3 26 26"]],
    weights: Mapping[str, float],
    settings: KernelSettings,
) -> Mapping[str, Float[Tensor, "1"]]:
    """One training step, on the crops of one sampler: the generator, then the discriminator; gives unweighted terms."""
    generator, discriminator = networks
    crop, real, noise = crops
    fake = generator(crop)  # (1, 3, 26, 26)
    terms = generator_terms(generator.kernel()[None], fake, crop, discriminator(fake), settings)
    optimizers[0].zero_grad()
    torch.stack([weights[name] * term for name, term in terms.items()]).sum().backward()
    optimizers[0].step()

    fake = generator(crop).detach() + noise
    loss = (distance(discriminator(real), 1) + distance(discriminator(fake), 0)) / 2
    optimizers[1].zero_grad()
    loss.sum().backward()
    optimizers[1].step()
    return {name: term.detach() for name, term in {**terms, "discriminator": loss}.items()}


class LayerByLayer:
    """:func:`step` for several estimations, one after the other; ``ComposedStep`` takes them all at once."""

    def __init__(self, pairs: Sequence[tuple[KernelGenerator, KernelDiscriminator]], settings: KernelSettings):
        self.pairs, self.settings = pairs, settings
        trained = [network.parameters() for pair in pairs for network in pair]
        self.optimizers = [torch.optim.Adam(weights, settings.learning_rate, BETAS) for weights in trained]

    def kernels(self) -> Float[Tensor, "n 13 13"]:
        """The generators' kernels."""
        return torch.stack([generator.kernel().detach() for generator, _ in self.pairs])

    def step(self, crop: Tensor, real: Tensor, noise: Tensor, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Update every pair of networks; gives every term of every estimation's loss, (n,) each."""
        terms = []
        for i, pair in enumerate(self.pairs):
            optimizers = self.optimizers[2 * i], self.optimizers[2 * i + 1]
            own = {name: float(weight[i]) for name, weight in weights.items()}
            terms.append(step(pair, optimizers, (crop[[i]], real[[i]], noise[[i]]), own, self.settings))
        return {name: torch.cat([one[name] for one in terms]) for name in terms[0]}


def train(
    samplers: Sequence[CropSampler],
    pairs: Sequence[tuple[KernelGenerator, KernelDiscriminator]],
    settings: KernelSettings,
    fast: bool = True,
    progress: Callable[[int], None] | None = None,
) -> list[tuple[Trajectory, Diagnostics]]:
    """The loop: crops, a step, and the schedule's weights for the next one; for several estimations side by side."""
    terms = partial(generator_terms, settings=settings)
    options = {"lr": settings.learning_rate, "betas": BETAS}
    trainer = ComposedStep(pairs, terms, **options) if fast else LayerByLayer(pairs, settings)
    schedules = [Schedule(settings) for _ in pairs]
    steps, kernels, losses, weights, known = [0], [trainer.kernels().cpu()], [], {}, 0
    with few_threads() if fast else nullcontext():
        for number in range(settings.steps):
            for optimizer in trainer.optimizers:
                optimizer.param_groups[0]["lr"] = schedules[0].rate(number)
            crops = zip(*(sampler.crops(number) for sampler in samplers), strict=True)
            crop, real, noise = (torch.stack(part) for part in crops)
            if not weights:
                weights = {k: crop.new_tensor([s.weights[k] for s in schedules]) for k in schedules[0].weights}
            losses.append(trainer.step(crop, real, noise, weights))
            if number % settings.check_every == 0 or number + 1 == settings.steps:
                # Weights change at these steps alone: only here a GPU is waited for.
                bicubic = torch.stack([terms["bicubic"] for terms in losses[known:]], 1).tolist()  # (n, steps since)
                for schedule, since in zip(schedules, bicubic, strict=True):
                    for step, loss in enumerate(since, known):
                        schedule.after(step, loss)
                weights, known = {}, number + 1
            if (number + 1) % EVERY == 0 or number + 1 == settings.steps:
                steps.append(number + 1)
                kernels.append(trainer.kernels().cpu())
                if progress:
                    progress((number + 1) * len(pairs))
    raw = torch.stack(kernels, 1)  # (n, t, 13, 13)
    each = {name: torch.stack([terms[name] for terms in losses], 1).cpu() for name in losses[0]}  # (n, steps)
    return [
        (
            Trajectory(torch.tensor(steps), raw[i], {name: loss[i] for name, loss in each.items()}),
            diagnose(raw[i, -1], schedule.switch_step, two_phases=settings.form == "released"),
        )
        for i, schedule in enumerate(schedules)
    ]


def estimate_kernel(
    image: Float[Tensor, "3 h w"], scale: int = 2, seed: int = 0, restarts: int = 1, **options: Any
) -> KernelEstimate:
    """Estimate the kernel that a photo was, or could have been, reduced with [bellkligler2019kernelgan].

    ``options`` are those of :func:`estimate_kernels`. A KernelWarning says that the kernel should not be trusted.
    ImageError when the photo is too small, flat, or holds NaN.
    """
    (estimate,) = estimate_kernels([image], scale, seed, restarts, **options)
    assert estimate is not None, "a failure is raised"
    return estimate


def estimate_kernels(
    images: Sequence[Float[Tensor, "3 _ _"]],
    scale: int = 2,
    seed: int = 0,
    restarts: int = 1,
    *,
    rule: Literal["average", "choice"] = "average",
    settings: KernelSettings | None = None,
    fast: bool = True,
    device: str | torch.device = "cpu",
    together: int = 4,
    strict: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> list[KernelEstimate | None]:
    """Estimate the kernels of several photos, ``together`` of them or their restarts at a time.

    Photos are RGB in [0, 1], at least 86 x 86 pixels with the default settings. A ``scale`` of 4 gives the analytic
    kernel of two reductions by 2. Equal seeds give equal kernels on the same machine, up to rounding by those beside
    them. Several ``restarts`` from new random weights end in the ``average`` of the kernels that the diagnostics do not
    complain of, if there are any; or in a ``choice``: a quarter of the photo is held back, and the kernel that reduces
    it most alike is taken. ``fast=False`` runs the networks layer by layer: the same steps up to rounding, several
    times slower. With ``strict=False`` a photo whose estimation fails gives None instead of an error that loses the
    others. ``progress`` is called with the steps done and the steps to do.
    """
    settings = settings or KernelSettings()
    if scale not in (2, 4):
        raise ValueError(f"scale must be 2 or 4, got {scale}")
    if rule not in ("average", "choice"):
        raise ValueError(f"rule must be 'average' or 'choice', got {rule!r}")
    inner = [shaved(image, settings.shave).to(device) for image in images]
    held = [hold_out(image) if restarts > 1 and rule == "choice" else None for image in inner]
    jobs = [(i, restart) for i in range(len(images)) for restart in range(restarts)]
    runs, total = [], len(jobs) * settings.steps
    for start in range(0, len(jobs), together):
        samplers, pairs = [], []
        for i, restart in jobs[start : start + together]:
            words = np.random.SeedSequence((seed, restart)).generate_state(3).tolist()
            samplers.append(CropSampler(inner[i], words[:2], settings.steps, settings.official_defects, held[i]))
            pairs.append(tuple(network.to(device) for network in networks(words[2])))
        report = (lambda done, base=start * settings.steps: progress(base + done, total)) if progress else None
        runs += train(samplers, pairs, settings, fast, report)
    estimates = []
    for i, image in enumerate(inner):
        try:
            estimates.append(conclude(image.cpu(), runs[i * restarts : (i + 1) * restarts], scale, held[i]))
        except ImageError:
            if strict:
                raise
            estimates.append(None)
    return estimates
