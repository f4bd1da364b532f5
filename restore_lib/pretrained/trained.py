"""From a run of :func:`restore_lib.training.fit` to a named checkpoint."""

from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from restore_lib.data import registry
from restore_lib.errors import TrainingError
from restore_lib.pretrained import provenance
from restore_lib.pretrained.checkpoints import save_checkpoint
from restore_lib.pretrained.model_card import Card
from restore_lib.pretrained.networks import build
from restore_lib.training.state import load_state, read_run, states


def save_run(
    run: Path | str,
    recipe: Any,
    tier: str,
    name: str,
    training_data: tuple[str, str],
    folder: Path | str | None = None,
    **about: object,
) -> Card:
    """Make a named checkpoint of a run's last state: the best weights or the averaged ones, where there are such.

    ``recipe`` is what was trained, at its ``tier``; ``training_data`` are name and SHA-256 of what it was trained on;
    ``about`` are further fields of the card. TrainingError where the folder ``run`` holds no state.
    """
    saved = states(run)
    if not saved:
        raise TrainingError(f"{run} holds no state yet: train it further.")
    tree, steps = load_state(saved[-1])
    main = next(iter(tree["networks"]))
    weights = tree["averaged"].get(main, tree["networks"][main])
    if "best" in tree:
        weights, steps = tree["best"]["weights"], tree["best"]["step"]
    network = build(recipe.architecture())
    network.load_state_dict(weights)
    dataset, digest = training_data
    card = Card(
        name=name,
        recipe=recipe.name,
        tier=tier,
        steps=steps,
        seed=read_run(Path(run))["seed"],
        dataset=dataset,
        dataset_hash=digest,
        architecture=recipe.architecture(),
        versions=provenance.versions(),
        device=provenance.device_name("cuda" if torch.cuda.is_available() else "cpu"),
        date=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        commit=provenance.commit(),
        licence=following(recipe.licence, dataset),
        note=f"Trained for {steps:,} of {recipe.steps:,} steps; pictures: {dataset}. {recipe.remark}".strip(),
    )
    return save_checkpoint(network, replace(card, **about), folder, dtype=getattr(torch, recipe.stored))


def following(licence: str, dataset: str) -> str:
    """The licence of weights that were trained on some pictures: the pictures' own where it is a Creative Commons one.

    Otherwise ``licence``, with what the pictures were given out for, so that users see what they may rely on.
    """
    sets = [registry.find(name) for name in registry.names() if name in dataset.split()]
    if commons := [one for one in sets if one.licence.startswith("CC ")]:
        return f"{commons[0].licence}, as its pictures ({commons[0].name})"
    terms = "; ".join(f"{one.name}: {one.licence}" for one in sets)
    return f"{licence} (pictures: {terms})" if terms else licence
