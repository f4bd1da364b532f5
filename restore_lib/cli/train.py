"""The ``restore train`` command."""

import ast
import re
import time
from pathlib import Path
from typing import Annotated

import typer

from restore_lib import tiers
from restore_lib.cli.console import console, interruptible
from restore_lib.errors import TrainingError


def train(
    name: Annotated[
        str,
        typer.Argument(metavar="RECIPE", help="A name that `restore recipes` shows."),
    ],
    tier: Annotated[str | None, typer.Option(help="smoke, cpu, gpu or paper, instead of RESTORE_TIER.")] = None,
    seed: Annotated[int, typer.Option(help="Of initial weights, data and noise.")] = 0,
    max_minutes: Annotated[float | None, typer.Option(help="Save and stop after this time.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--fresh", help="Go on from the last state, or insist on an empty folder.")
    ] = True,
    folder: Annotated[Path | None, typer.Option(help="Of the run; runs/RECIPE__TIER__seedN by default.")] = None,
    devices: Annotated[str, typer.Option(help="How many CPUs or GPUs, or `auto` for all GPUs.")] = "1",
    nodes: Annotated[int, typer.Option(help="How many computers, when a launcher such as torchrun started this.")] = 1,
    plain: Annotated[bool, typer.Option(help="float32 and no other options of speed.")] = False,
    compiled: Annotated[bool, typer.Option("--compile", help="Compile networks first: for long runs.")] = False,
    changes: Annotated[list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Another value.")] = None,
    keep: Annotated[
        bool, typer.Option(help="When it is finished, keep the weights as checkpoint RECIPE-TIER[-seedN].")
    ] = False,
    kept: Annotated[
        Path | None, typer.Option("--checkpoints", help="Where --keep puts it, if not the usual place.")
    ] = None,
    same_bits: Annotated[
        bool, typer.Option("--deterministic", help="The same bits each time on a GPU, slower.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Train a recipe; a run that was stopped, or killed, goes on where it was.

    Checkpoints that it begins with and that are not here are trained first, and kept.
    Numbers go to metrics.jsonl in the run's folder and to TensorBoard (`tensorboard --logdir runs`).
    """
    from restore_lib import training
    from restore_lib.recipes import find, missing
    from restore_lib.recipes import keep as keep_run
    from restore_lib.training.loop import make_fabric
    from restore_lib.training.precision import PLAIN, best_device, deterministic, fastest
    from restore_lib.training.state import states

    tier = tier or tiers.current()
    recipe = training.at_tier(find(name), tier, **_parsed(changes or []))
    folder = folder or Path("runs") / f"{name}__{tier}__seed{seed}"
    if not resume and states(folder):
        raise TrainingError(f"{folder} holds a run already: delete it, name another folder, or leave out --fresh.")
    if not re.fullmatch(r"auto|[1-9]\d{0,3}", devices) or nodes < 1 or seed < 0:
        raise TrainingError("--devices wants a number from 1 on or auto, --nodes one from 1 on, --seed one from 0 on.")
    if keep and recipe != training.at_tier(find(name), tier):
        raise TrainingError("--keep wants the recipe's own values: leave out --set, or --keep.")
    if same_bits:
        deterministic()
    speed = PLAIN if plain else fastest(best_device(), compiled=compiled)
    runs = [
        (at, training.at_tier(find(first), at), Path("runs") / f"{first}__{at}__seed0") for first, at in missing(recipe)
    ]
    if runs:
        order = ", ".join(f"{one.name} at tier {at} ({one.steps:,} steps)" for at, one, _ in runs)
        print(f"{name} begins with checkpoints that are not here; trained and kept first, in this order: {order}")
    deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes
    for at, one, home in [*runs, (tier, recipe, folder)]:
        last, fabric = one is recipe, make_fabric(speed, devices if devices == "auto" else int(devices), nodes)
        left = None if deadline is None else max(deadline - time.monotonic(), 0) / 60
        with interruptible(f"stopped and saved in {home}; the same command goes on."):
            options = {"speed": speed, "fabric": fabric, "max_minutes": left, "quiet": quiet, "tensorboard": True}
            run = training.fit(one, home, seed=seed if last else 0, **options)
        if fabric.is_global_zero:
            if run.ended and (keep or not last):
                print(f"checkpoint {keep_run(home, at, folder=kept if last else None).name}")
            ended = "finished" if run.ended else "the time is up; the same command goes on"
            print(f"{home}: step {run.step:,} of {one.steps:,}, {ended}")
        fabric.barrier()  # until the checkpoint is there
        if not run.ended:
            break


def evaluate(
    name: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="A name that `restore checkpoints list` shows.")],
    sets: Annotated[str, typer.Option(help="Image sets, with commas between.")] = "cbsd68",
    sigma: Annotated[str, typer.Option(help="Noise levels on the scale 0 to 255, with commas between.")] = "25",
    folder: Annotated[Path | None, typer.Option(help="Folder of checkpoints.")] = None,
    results: Annotated[Path | None, typer.Option(help="Folder of run records.")] = None,
) -> None:
    """Measure a denoiser on image sets; writes run records and notes the means on its card."""
    from restore_lib.experiments import paper_a, protocols, results_folder
    from restore_lib.training.precision import best_device

    try:
        levels = [float(level) for level in sigma.split(",")]
    except ValueError:
        raise TrainingError(f"--sigma wants numbers with commas between, got {sigma!r}.") from None
    chosen = [word.strip() for word in sets.split(",") if word.strip()]
    protocol = protocols.gaussian_noise(*levels)
    device = best_device()
    for record in paper_a.evaluate_denoiser(
        name, chosen, protocol, folder=folder, results=results or results_folder(), device=device
    ):
        means = ", ".join(f"{m.condition}: {m.metric} {m.value:.4g}" for m in record.measurements)
        print(f"{record.dataset}: {means}")


def recipes() -> None:
    """List the recipes that `restore train` can train, and what each tier costs."""
    from rich.table import Table

    from restore_lib.recipes import RECIPES
    from restore_lib.training import at_tier

    table = Table("recipe", "trains", *tiers.TIERS, box=None, pad_edge=False)
    for recipe in RECIPES.values():
        known = [tier for tier in tiers.TIERS if tier in recipe.tiers]
        costs = [
            f"{at_tier(recipe, tier).steps:,} steps, {recipe.cost.get(tier, 'not measured')}" if tier in known else ""
            for tier in tiers.TIERS
        ]
        table.add_row(recipe.name, recipe.title, *costs)
    console().print(table)


def _parsed(changes: list[str]) -> dict:
    """``steps=10`` as a field and its value."""
    values = {}
    for change in changes:
        field, sign, text = change.partition("=")
        if not sign:
            raise TrainingError(f"--set wants FIELD=VALUE, got {change!r}.")
        try:
            values[field] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            values[field] = text
    return values
