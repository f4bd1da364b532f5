"""From a run to a checkpoint with a card, and from a checkpoint to run records."""

import hashlib
import json
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from pathlib import Path

import torch
from torch import Tensor, nn

from restore_lib import data
from restore_lib.denoising import denoise
from restore_lib.errors import TrainingError
from restore_lib.experiments import protocols, recipes, runs
from restore_lib.experiments.protocols import EvaluationProtocol
from restore_lib.experiments.records import RunRecord, save
from restore_lib.fast.folding import folded
from restore_lib.pretrained import Card, Score, build, card, checkpoints_folder, load, save_checkpoint, update_card
from restore_lib.training import at_tier
from restore_lib.training.recipes import Recipe, values
from restore_lib.training.state import load_state, states

SMALL_DENOISER_SETS = ("cbsd68", "kodak24")


def keep(run: Path | str, tier: str, *, name: str | None = None, folder: Path | str | None = None) -> Card:
    """Make a named checkpoint of a run's last state: the averaged weights where there are any.

    Parameters
    ----------
    run : path
        Folder of a run that ``restore train`` made.
    tier : str
        At which it was trained.
    name : str, optional
        Of the checkpoint; by default ``RECIPE-TIER``, and with another seed than 0 ``RECIPE-TIER-seedN``.
    folder : path, optional
        Where checkpoints are kept.

    Returns
    -------
    Card
        Without metrics; :func:`measure` adds them.

    Raises
    ------
    TrainingError
        The folder holds no run of a known recipe, or no state.
    """
    run = Path(run)
    try:
        about = json.loads((run / "run.json").read_text(encoding="utf-8"))
        recipe = at_tier(recipes.find(about["recipe"]), tier)
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(f"{run} holds no run: name a folder that `restore train` made.") from error
    if {key: str(value) for key, value in values(recipe).items()} != about["values"]:
        raise TrainingError(f"{run} was trained with other values than recipe {recipe.name} has at tier {tier}.")
    saved = states(run)
    if not saved:
        raise TrainingError(f"{run} holds no state yet: train it further.")
    tree, steps = load_state(saved[-1])
    main = next(iter(tree["networks"]))
    network = build(recipe.architecture())
    network.load_state_dict(tree["averaged"].get(main, tree["networks"][main]))
    dataset, digest = training_data(recipe)
    seed = about["seed"]
    made = Card(
        name=name or f"{recipe.name}-{tier}{f'-seed{seed}' if seed else ''}",
        recipe=recipe.name,
        tier=tier,
        steps=steps,
        seed=seed,
        dataset=dataset,
        dataset_hash=digest,
        architecture=recipe.architecture(),
        versions=runs.versions(),
        device=runs.device_name("cuda" if torch.cuda.is_available() else "cpu"),
        date=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        commit=runs.commit(),
        licence="MIT",
        note=f"Trained for {steps:,} of {recipe.steps:,} steps; pictures: {dataset}.",
    )
    return save_checkpoint(network, made, folder, dtype=getattr(torch, recipe.stored))


def training_data(recipe: Recipe) -> tuple[str, str]:
    """Names of the picture sets that a recipe trains on, and one hash of them all."""
    if hasattr(recipe, "training_data"):
        return recipe.training_data()
    photos = data.open(recipe.dataset, recipe.split or None)
    sets, digest = f"{recipe.dataset} {recipe.split}".strip(), photos.digest()
    if also := getattr(recipe, "also", ""):  # a second set, all of it
        return f"{sets} + {also}", hashlib.sha256(f"{digest} {data.open(also).digest()}".encode()).hexdigest()
    return sets, digest


def measure(
    name: str,
    sets: Iterable[str],
    protocol: EvaluationProtocol,
    *,
    folder: Path | str | None = None,
    results: Path | str,
    device: str = "cpu",
    progress: Callable[[str], None] | None = None,
) -> list[RunRecord]:
    """Evaluate a checkpoint, write a run record for each image set, and note the means on its card.

    Raises
    ------
    CheckpointError, DataError
        The checkpoint or a set is missing or damaged.
    """
    folder = Path(folder) if folder is not None else checkpoints_folder()
    known = card(name, folder=folder)
    network = load(name, folder=folder).to(device)
    records, scores = [], []
    for dataset in sets:
        record = runs.run(
            known.recipe,
            as_model(network),
            dataset,
            protocol,
            seed=known.seed,
            steps=known.steps,
            settings={"checkpoint": known.name, "sha256": known.sha256},
            tier=known.tier,
            device=device,
            progress=progress,
        )
        path = save(record, results)
        records.append(record)
        scores += [
            Score(dataset, protocol.name, found.condition, found.metric, found.value, path.name)
            for found in record.measurements
        ]
    others = [
        s for s in known.metrics if (s.dataset, s.protocol) not in {(new.dataset, new.protocol) for new in scores}
    ]
    update_card(name, folder=folder, metrics=(*others, *scores))
    return records


def small_denoiser(
    folder: Path | str,
    *,
    sets: Iterable[str] | None = None,
    tier: str | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> list[Path]:
    """The small denoiser that comes with the book, and doing nothing, on two image sets; parameters as for `bicubic`.

    Raises
    ------
    CheckpointError, DataError
        The checkpoint or a set is missing or damaged.
    """
    sets = list(sets or SMALL_DENOISER_SETS)
    protocol = protocols.gaussian_noise(25)
    total = 2 * sum(len(data.open(name)) for name in sets)

    tell = runs.counted(progress, total)
    idle = [
        runs.run("noisy", lambda given, size: given, name, protocol, seed=0, tier=tier, progress=tell) for name in sets
    ]
    paths = [save(record, folder) for record in idle]
    measured = measure("small-denoiser-cpu", sets, protocol, results=folder, progress=tell)
    return paths + [Path(folder) / record.file for record in measured]


def as_model(network: nn.Module) -> Callable[[Tensor, tuple[int, int]], Tensor]:
    """A denoiser as evaluation calls it: one photo at a time, as large as it came."""
    quick = folded(network)
    return lambda given, size: denoise(quick, given)
