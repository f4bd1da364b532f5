"""The one loop: steps, validation, saving; stops when asked to and goes on as if nothing had happened.

What makes going on exact: every random choice of step ``t`` is drawn from generators that are seeded with (seed, t), so
there is no hidden state but the weights, the optimisers and the number of the step. With several processes, choices are
drawn for the whole batch and each process takes its part, so that two processes train as one with the whole batch.
"""

import logging
import math
import random
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from numbers import Real
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric

from restore_lib.data.patches import prefetch
from restore_lib.errors import TrainingError
from restore_lib.training.guard import Health, asked_to_stop, claim, obey
from restore_lib.training.recipes import Recipe
from restore_lib.training.speed import PLAIN, Speed
from restore_lib.training.state import load_state, save_state, states
from restore_lib.training.task import Run, mix
from restore_lib.training.watch import Watch

LOOK = 20  # steps between two looks at the loss: each look makes a GPU wait


def fit(
    recipe: Recipe,
    folder: Path | str,
    *,
    seed: int = 0,
    speed: Speed = PLAIN,
    fabric: Fabric | None = None,
    max_minutes: Real | None = None,
    save_minutes: Real = 5.0,
    quiet: bool = False,
    tensorboard: bool = False,
    on_report: Callable[[int, Mapping[str, float]], None] | None = None,
) -> Run:
    """Train a recipe in a folder, from where its last state left off.

    Parameters
    ----------
    recipe : Recipe
        With a method ``task(seed)``.
    folder : path
        Of this run alone: states, ``metrics.jsonl`` and ``run.json``. A folder with states is continued.
    seed : int
        Of initial weights, data and noise.
    speed : Speed
        Number format, layout, compilation.
    fabric : Fabric, optional
        Devices and processes; one CPU or GPU process by default.
    max_minutes : float, optional
        Stop, and save, after this time.
    save_minutes : float
        Between two states.
    quiet, tensorboard, on_report
        As for :class:`Watch`.

    Returns
    -------
    Run
        ``step == recipe.steps`` when it has ended; less when the time was up.

    Raises
    ------
    TrainingError
        The folder belongs to another run, its state is damaged, or the loss is NaN or exploded: the state before that
        is kept.
    KeyboardInterrupt, SystemExit
        Ctrl-C and SIGTERM, after the state has been saved.
    """
    folder, begun = Path(folder), time.monotonic()
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it tells what was asked for, in every run
    fabric = fabric or Fabric(accelerator="auto", devices=1, precision=speed.precision)
    fabric.launch()
    if fabric.is_global_zero:
        claim(folder, recipe, seed)
    fabric.barrier()
    _seed_everything(mix(seed, 0))
    run = Run(recipe.task(seed), fabric, speed, seed)
    saved = states(folder)
    if saved:
        tree, run.step = load_state(saved[-1])
        run.restore(tree)
    quiet = quiet or not fabric.is_global_zero
    watch = Watch(folder, recipe.steps, run.step, quiet=quiet, tensorboard=tensorboard, on_report=on_report)
    with watch if fabric.is_global_zero else _nobody(), asked_to_stop() as asked, closing(_batches(run)) as batches:
        _loop(run, recipe, batches, folder, watch, asked, begun, max_minutes, save_minutes)
    return run


def _batches(run: Run) -> Generator:
    """This process's parts of the batches from the next step on, made ahead in a thread."""
    world, rank = run.fabric.world_size, run.fabric.global_rank
    return prefetch(lambda step: run.task.batches(step, rank, world), run.step + 1, pin=run.device.type == "cuda")


def _loop(run, recipe, batches, folder, watch, asked, begun, max_minutes, save_minutes) -> None:
    """Steps until the end, the time limit or a signal; a state at each of them and every ``save_minutes``."""
    fabric, health = run.fabric, Health(run.device)
    world, rank = fabric.world_size, fabric.global_rank
    last_look, seen, saved_at, saved_step = time.monotonic(), run.step, time.monotonic(), run.step
    for network in run.networks.values():
        network.train()
    while run.step < recipe.steps:
        run.step += 1
        _seed_everything(mix(run.seed, run.step, 0, rank))
        batch = tuple(part.to(run.device, non_blocking=True) for part in next(batches))
        numbers = run.task.step(run, batch)
        run.average()
        health.note(run.step, next(iter(numbers.values())))
        look = run.step % LOOK == 0 or run.step == recipe.steps
        validate = run.step % recipe.validate_every == 0 or run.step == recipe.steps
        if not (look or validate or (asked and world == 1)):  # processes must look together
            continue
        health.check(folder)
        now = time.monotonic()
        stop = fabric.broadcast(bool(asked) or (max_minutes is not None and now - begun > 60 * max_minutes))
        if fabric.is_global_zero:
            rate = (run.step - seen) * recipe.batch_size / max(now - last_look, 1e-9)
            watch.report(run.step, {name: float(value) for name, value in numbers.items()}, rate)
        if validate and run.task.validate is not None:
            metrics = _validate(run)
            if fabric.is_global_zero:
                watch.report(run.step, metrics)
        last_look, seen = time.monotonic(), run.step
        due = stop or run.step == recipe.steps or fabric.broadcast(last_look - saved_at > 60 * save_minutes)
        if due and run.step > saved_step:
            if fabric.is_global_zero:
                save_state(run.tree(), run.step, folder)
            saved_at, saved_step = time.monotonic(), run.step
        if stop:
            break
    if asked:
        obey(asked[0])


def _validate(run: Run) -> dict[str, float]:
    networks = run.to_validate()
    before = {name: network.training for name, network in networks.items()}
    for network in networks.values():
        network.eval()
    with torch.no_grad():
        metrics = {name: float(value) for name, value in run.task.validate(networks).items()}
    for name, network in networks.items():
        network.train(before[name])
    broken = [name for name, value in metrics.items() if not math.isfinite(value)]
    if broken:
        raise TrainingError(f"Validation after step {run.step} gave {broken[0]} = {metrics[broken[0]]}.")
    return metrics


def _seed_everything(seed: int) -> None:
    """Set the global generators of PyTorch, NumPy and Python."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  the global one, which libraries may draw from
    random.seed(seed)


@contextmanager
def _nobody() -> Iterator[None]:
    """The watch of a process that reports nothing."""
    yield
