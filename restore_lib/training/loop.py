"""The one loop: batch, step, log, validate, save; it goes on after any stop as if nothing had happened.

Every random choice of step ``t`` is drawn from generators that are seeded with (seed, t), so that there is no hidden
state but the weights, the optimisers and the number of the step. With several processes, choices are drawn for the
whole batch and each process takes its part: two processes train as one with the whole batch.
"""

import logging
import math
import os
import random
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from restore_lib.data.prefetching import prefetch
from restore_lib.errors import TrainingError
from restore_lib.training.health import Health, stop_as_asked, stop_signals
from restore_lib.training.logging import Logger
from restore_lib.training.precision import PLAIN, Speed, best_device
from restore_lib.training.recipes import Recipe
from restore_lib.training.state import claim, load_state, save_state, states
from restore_lib.training.task import Run, mix

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # slow to load

MOST_THREADS = 8  # that make batches for a GPU
LOG_EVERY = 20  # steps: each look at the loss makes a GPU wait


def fit(
    recipe: Recipe,
    folder: Path | str,
    *,
    seed: int = 0,
    speed: Speed = PLAIN,
    fabric: "Fabric | None" = None,
    max_minutes: float | None = None,
    save_minutes: float = 5.0,
    quiet: bool = False,
    tensorboard: bool = False,
    on_report: Callable[[int, Mapping[str, float]], None] | None = None,
) -> Run:
    """Train a recipe in a folder, from where its last state left off.

    Parameters
    ----------
    folder : path
        Of this run alone: states, ``metrics.jsonl`` and ``run.json``.
    seed : int
        Of initial weights, data and noise.
    fabric : Fabric, optional
        Devices and processes; one process on a GPU, if there is one, by default.
    max_minutes, save_minutes : float
        Stop, and save, after this time (the run's ``ended`` is False then); time between two states.
    quiet, tensorboard, on_report
        As for :class:`restore_lib.training.logging.Logger`.

    Raises
    ------
    TrainingError
        The folder belongs to another run, its state is damaged, or the loss is NaN or exploded: the state before that
        is kept.
    KeyboardInterrupt, SystemExit
        Ctrl-C and SIGTERM, after the state has been saved.
    """
    folder, deadline = Path(folder), math.inf if max_minutes is None else time.monotonic() + 60 * max_minutes
    fabric = fabric or make_fabric(speed)
    fabric.launch()
    run = _start(recipe, folder, seed, speed, fabric)
    rank, world = fabric.global_rank, fabric.world_size
    log_folder = folder if fabric.is_global_zero else None
    logger = Logger(log_folder, recipe.steps, run.step, quiet=quiet, tensorboard=tensorboard, on_report=on_report)
    gpu = run.device.type == "cuda"  # which eats batches faster than one thread makes them
    threads = min(MOST_THREADS, max((os.cpu_count() or 1) // 2, 1)) if gpu else 1
    batches = prefetch(lambda t: run.task.batches(t, rank, world), run.step + 1, pin=gpu, threads=threads)
    health = Health(run.device)
    logged_step = saved_step = run.step
    logged_at = saved_at = time.monotonic()

    with closing(logger), closing(batches), stop_signals() as signals:
        if run.task.best and run.best is None:  # what the weights are worth that it begins with
            logger.log(run.step, _validate(run))
        run.ended = _ended(recipe, run)
        while not run.ended:
            # batch
            run.step += 1
            _seed_everything(mix(seed, run.step, 0, rank))
            batch = run.received(next(batches))

            # step
            losses = run.task.step(run, batch)
            run.update_averages()
            health.note(run.step, next(iter(losses.values())))

            validating = run.step == recipe.steps or run.step % recipe.validate_every == 0
            if not (validating or run.step % LOG_EVERY == 0 or (signals and world == 1)):
                continue  # several processes must agree on when they log, validate and save

            # log
            health.check(folder)
            stopping = fabric.broadcast(bool(signals) or time.monotonic() > deadline)
            images = (run.step - logged_step) * recipe.batch_size
            logger.log(run.step, losses, images_per_second=images / max(time.monotonic() - logged_at, 1e-9))

            # validate
            if validating and run.task.validate is not None:
                logger.log(run.step, _validate(run))
            run.ended = fabric.broadcast(_ended(recipe, run))
            logged_step, logged_at = run.step, time.monotonic()

            # save
            due = fabric.broadcast(logged_at - saved_at > 60 * save_minutes)
            if (run.ended or stopping or due) and run.step > saved_step:
                if fabric.is_global_zero:
                    save_state(run.state_dict(), run.step, folder)
                saved_step, saved_at = run.step, time.monotonic()
            if stopping:
                break

    if signals:
        stop_as_asked(signals[0])
    return run


def make_fabric(speed: Speed = PLAIN, devices: int | str = 1, nodes: int = 1) -> "Fabric":
    """Lightning Fabric on GPUs, if there are any, else on the CPU; ``devices`` of each node, ``"auto"`` for all."""
    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it repeats what was asked for
    strategy = "auto" if devices == 1 and nodes == 1 else "ddp"
    return Fabric(
        accelerator=best_device(), devices=devices, num_nodes=nodes, strategy=strategy, precision=speed.precision
    )


def _start(recipe: Recipe, folder: Path, seed: int, speed: Speed, fabric: "Fabric") -> Run:
    """The run as its last state left it; a fresh one in a folder without states."""
    if fabric.is_global_zero:
        claim(folder, recipe, seed)
    fabric.barrier()
    _seed_everything(mix(seed, 0))
    run = Run(recipe.task(seed), fabric, speed, seed)
    saved = states(folder)
    if saved:
        tree, run.step = load_state(saved[-1])
        run.load_state_dict(tree)
    for network in run.networks.values():
        network.train()
    return run


def _ended(recipe: Recipe, run: Run) -> bool:
    """Whether all steps are done, or as many validations as the task's patience have brought nothing better."""
    in_vain = run.step // recipe.validate_every - run.best["step"] // recipe.validate_every if run.best else 0
    return run.step >= recipe.steps or 0 < run.task.patience <= in_vain


@torch.no_grad()
def _validate(run: Run) -> dict[str, float]:
    """What a task's validation says of its networks in eval mode, averaged where there are averages."""
    assert run.task.validate is not None
    networks = {name: run.averaged.get(name, network) for name, network in run.task.networks.items()}
    for network in networks.values():
        network.eval()
    metrics = {name: float(value) for name, value in run.task.validate(networks).items()}
    for name, network in networks.items():
        network.train(name not in run.averaged)
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise TrainingError(f"Validation after step {run.step} gave {name} = {value}.")
    run.note_best(metrics)
    return metrics


def _seed_everything(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  the global one, which libraries may draw from
    random.seed(seed)
