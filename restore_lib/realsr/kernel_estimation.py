"""Which blur made this photo? Run KernelGAN, keep what happened, and tell whether to trust the result."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Integral
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from restore_lib.errors import ImageError
from restore_lib.realsr.kernel_choice import Candidate, choose, hold_out
from restore_lib.realsr.kernel_crops import CropSampler, shaved
from restore_lib.realsr.kernel_losses import KernelSettings, Schedule
from restore_lib.realsr.kernel_training import Composed, LayerByLayer, networks
from restore_lib.realsr.kernels import analytic_x4, centre_of_mass, drop_small, post_process

EVERY = 50  # steps between two kernels of the trajectory
OFF_SUM, OFF_CENTRE = 0.1, 0.5  # how far a raw kernel may be from sum 1, and its middle from 6.5, to be trusted


class KernelWarning(UserWarning):
    """An estimated kernel should not be trusted, and why."""


@dataclass(frozen=True)
class Trajectory:
    """How an estimation went.

    Attributes
    ----------
    steps : Tensor
        (t,) after which the kernels were taken: 0, 50, 100, ... and the last.
    kernels : Tensor
        (t, 13, 13) raw kernels.
    losses : dict of str to Tensor
        (steps,) each term of the generator's loss without its weight, and the discriminator's loss.
    """

    steps: Int64[Tensor, "t"] = field(repr=False)
    kernels: Float[Tensor, "t 13 13"] = field(repr=False)
    losses: Mapping[str, Float[Tensor, "steps"]] = field(repr=False)


@dataclass(frozen=True)
class Diagnostics:
    """What tells a kernel that one can trust from one that one cannot.

    Attributes
    ----------
    sum : float
        Of the raw kernel; should be 1.
    centre : (float, float)
        Row and column of the centre of mass, small values dropped, before the shift; should be 6.5, 6.5.
    switch_step : int or None
        When the constraints on centre and sparsity came in; None: never (always with ``form="realsr"``).
    problems : tuple of str
        What is wrong, in words; empty when nothing is.
    """

    sum: float
    centre: tuple[float, float]
    switch_step: int | None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class KernelEstimate:
    """An estimated kernel and how it came about.

    Attributes
    ----------
    kernel : Tensor
        Correlation kernel for :func:`restore_lib.resampling.downscale`, float64, sum 1, aligned for ``scale``.
    scale : int
    trajectory : Trajectory
        Of the chosen restart; with an average, of the best one in it.
    diagnostics : Diagnostics
        Likewise.
    candidates : tuple of Candidate
        Every restart and their average, with the score that a choice goes by; empty for one restart.
    chosen : int
        Index into ``candidates``; 0 for one restart.
    """

    kernel: Float[Tensor, "kh kw"]
    scale: int
    trajectory: Trajectory
    diagnostics: Diagnostics
    candidates: tuple[Candidate, ...] = ()
    chosen: int = 0


def estimate_kernel(
    image: Float[Tensor, "3 h w"],
    scale: Integral = 2,
    seed: Integral = 0,
    restarts: Integral = 1,
    *,
    rule: Literal["average", "choice"] = "average",
    settings: KernelSettings | None = None,
    fast: bool = True,
    device: str | torch.device = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> KernelEstimate:
    """Estimate the kernel that a photo was, or could have been, reduced with [bellkligler2019kernelgan].

    Parameters
    ----------
    image : Tensor
        RGB in [0, 1], at least 86 x 86 pixels with the default settings.
    scale : {2, 4}
        4 gives the analytic kernel of two reductions by 2.
    seed : int
        Equal seeds give equal kernels on the same machine.
    restarts : int
        How often to estimate from new random weights.
    rule : {"average", "choice"}
        What becomes of several kernels. Their average; no kernel that the diagnostics complain of is in it, as long as
        there are others. Or a choice: a quarter of the photo is held back, and the one that reduces it most alike is
        taken (:mod:`restore_lib.realsr.kernel_choice`), which is nearer to the truth on some photos and farther on
        others.
    settings : KernelSettings, optional
        Steps, weights, and which form; the released code's with its defects mended by default.
    fast : bool
        False runs the networks layer by layer: the same kernel up to rounding, about ten times slower.
    device : str or torch.device
        Where to compute.
    progress : callable, optional
        Called with the steps done and the steps to do, over all restarts together.

    Returns
    -------
    KernelEstimate

    Warns
    -----
    KernelWarning
        The kernel is off its centre, does not sum to 1, or its second phase never began: see
        ``diagnostics.problems``.

    Raises
    ------
    ImageError
        The photo is too small, flat, or holds NaN.
    """
    return estimate_kernels(
        [image], scale, seed, restarts, rule=rule, settings=settings, fast=fast, device=device, progress=progress
    )[0]


def estimate_kernels(
    images: Sequence[Float[Tensor, "3 _ _"]],
    scale: Integral = 2,
    seed: Integral = 0,
    restarts: Integral = 1,
    *,
    rule: Literal["average", "choice"] = "average",
    settings: KernelSettings | None = None,
    fast: bool = True,
    device: str | torch.device = "cpu",
    together: Integral = 4,
    strict: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> list[KernelEstimate | None]:
    """Estimate the kernels of several photos, ``together`` of them or their restarts at a time.

    An estimation does not depend on those that run beside it, except for rounding. Other parameters and errors as
    :func:`estimate_kernel`.

    Parameters
    ----------
    together : int
        How many estimations to run in one batch.
    strict : bool
        False: a photo whose estimation fails gives None instead of an error that loses the others.
    """
    settings = settings or KernelSettings()
    if scale not in (2, 4):
        raise ValueError(f"scale must be 2 or 4, got {scale}")
    if rule not in ("average", "choice"):
        raise ValueError(f"rule must be 'average' or 'choice', got {rule!r}")
    if min(restarts, together) < 1:
        raise ValueError(f"restarts and together must be at least 1, got {restarts} and {together}")
    inner = [shaved(image, settings.shave) for image in images]
    held = [hold_out(image) if restarts > 1 and rule == "choice" else [] for image in inner]
    jobs = [(i, restart) for i in range(len(images)) for restart in range(restarts)]
    runs, total = [], len(jobs) * settings.steps
    for start in range(0, len(jobs), together):
        part = jobs[start : start + together]
        seeds = [np.random.SeedSequence((int(seed), restart)) for _, restart in part]
        samplers = [
            CropSampler(
                images[i],
                settings.steps,
                [*s.generate_state(2).tolist()],
                shave=settings.shave,
                noise_stays=settings.official_defects,
                held=held[i],
            )
            for (i, _), s in zip(part, seeds, strict=True)
        ]
        pairs = [networks(int(s.generate_state(3)[2])) for s in seeds]
        tell = (lambda done, base=start: progress(base * settings.steps + done, total)) if progress else None
        runs += train(samplers, pairs, settings, fast=fast, device=torch.device(device), progress=tell)
    estimates = []
    for i in range(len(images)):
        try:
            estimates.append(_conclude(inner[i], runs[i * restarts : (i + 1) * restarts], int(scale), held[i]))
        except ImageError:
            if strict:
                raise
            estimates.append(None)
    return estimates


def train(
    samplers: Sequence[CropSampler],
    pairs: Sequence[tuple],
    settings: KernelSettings,
    *,
    fast: bool = True,
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> list[tuple[Trajectory, Diagnostics]]:
    """The loop: crops, a step, the schedule's word on the next one; for several estimations side by side."""
    pairs = [tuple(network.to(device) for network in pair) for pair in pairs]
    engine = (Composed if fast else LayerByLayer)(pairs, settings)
    schedules = [Schedule(settings) for _ in pairs]
    steps, kernels, losses = [0], [engine.kernels().cpu()], []
    with few_threads(fast):
        for step in range(settings.steps):
            engine.set_rate(schedules[0].rate(step))
            crops, real, noise = (
                torch.stack(part).to(device) for part in zip(*(s.pair(step) for s in samplers), strict=True)
            )
            terms = engine.step(crops, real, noise, [schedule.weights for schedule in schedules])
            for schedule, loss in zip(schedules, terms["bicubic"].tolist(), strict=True):
                schedule.after(step, loss)
            losses.append(terms)
            if (step + 1) % EVERY == 0 or step + 1 == settings.steps:
                steps.append(step + 1)
                kernels.append(engine.kernels().cpu())
                if progress:
                    progress((step + 1) * len(pairs))
    kept = {name: torch.stack([terms[name] for terms in losses], 1).cpu() for name in losses[0]}  # (n, steps) each
    shots = torch.stack(kernels, 1)  # (n, t, 13, 13)
    return [
        (
            Trajectory(torch.tensor(steps), shots[i], {name: values[i] for name, values in kept.items()}),
            diagnose(shots[i, -1], schedule),
        )
        for i, schedule in enumerate(schedules)
    ]


def diagnose(raw: Float[Tensor, "13 13"], schedule: Schedule) -> Diagnostics:
    """Sum and centre of a generator's kernel, and what is wrong with them."""
    total, problems = float(raw.sum()), []
    try:
        centre = tuple(centre_of_mass(drop_small(raw.double())).tolist())
    except ValueError:
        centre = (float("nan"), float("nan"))
    wanted = raw.shape[-1] / 2
    if not max(abs(c - wanted) for c in centre) <= OFF_CENTRE:
        problems.append("its centre of mass lies at {:.2f}, {:.2f} instead of {w}, {w}".format(*centre, w=wanted))
    if not abs(total - 1) <= OFF_SUM:
        problems.append(f"it sums to {total:.2f} instead of 1")
    if schedule.settings.form == "released" and schedule.switch_step is None:
        problems.append("the second phase, which centres it, never began")
    return Diagnostics(total, centre, schedule.switch_step, tuple(problems))


def _conclude(
    image: Tensor, runs: Sequence[tuple[Trajectory, Diagnostics]], scale: int, held: Sequence[tuple]
) -> KernelEstimate:
    """From one photo's runs to the kernel."""
    kernels, usable = [], []
    for run in runs:
        try:
            kernels.append(post_process(run[0].kernels[-1]))
            usable.append(run)
        except ValueError:  # nothing positive in it, or no centre
            continue
    if not kernels:
        raise ImageError("No kernel was found: the estimation failed; try another seed or more steps.")
    candidates, chosen = (), 0
    if len(runs) > 1:
        everywhere = [(0, 0, *image.shape[-2:])]
        candidates, chosen = choose(image, kernels, [not d.problems for _, d in usable], held or everywhere)
        if not held and len(candidates) > len(kernels):  # nothing was held back: the average, which comes last
            chosen = len(kernels)
    kernel = candidates[chosen].kernel if candidates else kernels[0]
    sound = [i for i in range(len(usable)) if not candidates or candidates[i].sound]
    best = min(sound, key=lambda i: candidates[i].score) if chosen == len(usable) else chosen
    trajectory, diagnostics = usable[best]
    if diagnostics.problems:
        warnings.warn(
            f"Do not trust this kernel: {'; '.join(diagnostics.problems)}. Try another seed or more restarts.",
            KernelWarning,
            stacklevel=4,
        )
    kernel = analytic_x4(kernel) if scale == 4 else kernel
    return KernelEstimate(kernel, scale, trajectory, diagnostics, tuple(candidates), chosen)


@contextmanager
def few_threads(wanted: bool):
    """Compute on two threads at most: the fast form's operations are too small to be shared among more."""
    before = torch.get_num_threads()
    try:
        if wanted:
            torch.set_num_threads(min(2, before))
        yield
    finally:
        torch.set_num_threads(before)
