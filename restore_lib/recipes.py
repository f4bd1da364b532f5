"""Every recipe by name, and checkpoints of what ``restore train`` trained with them."""

import hashlib
from pathlib import Path
from typing import Any

from restore_lib import data
from restore_lib.denoising import recipes as denoisers
from restore_lib.denoising import vision_recipes
from restore_lib.errors import TrainingError
from restore_lib.implicit import recipes as anyscale
from restore_lib.pretrained import Card, save_run
from restore_lib.pretrained.checkpoints import names
from restore_lib.realsr import recipes as sr
from restore_lib.tiers import TIERS
from restore_lib.training.recipes import Recipe, at_tier, values
from restore_lib.training.state import read_run

RECIPES: dict[str, Recipe] = {**denoisers.RECIPES, **vision_recipes.RECIPES, **sr.RECIPES, **anyscale.RECIPES}


def find(name: str) -> Recipe:
    """The recipe of that name; TrainingError where there is none."""
    if name not in RECIPES:
        raise TrainingError(f"There is no recipe called {name}: `restore recipes` shows what there is.")
    return RECIPES[name]


def missing(recipe: Recipe) -> list[tuple[str, str]]:
    """Recipes and tiers to train first, in order: of checkpoints that a recipe begins with and that are not here."""
    found: dict[tuple[str, str], None] = {}
    for field in ("start", "learned", "vision"):
        checkpoint = getattr(recipe, field, "")
        name, _, tier = checkpoint.rpartition("-")
        if checkpoint not in names() and name in RECIPES and tier in TIERS:
            found |= dict.fromkeys([*missing(at_tier(RECIPES[name], tier)), (name, tier)])
    return list(found)


def keep(run: Path | str, tier: str, *, folder: Path | str | None = None) -> Card:
    """Make a named checkpoint of a run's last state: the best or the averaged weights, where there are such.

    ``run`` is a folder that ``restore train`` made, at this tier; the name is ``RECIPE-TIER``, and with another seed
    than 0 ``RECIPE-TIER-seedN``. TrainingError where the folder holds no run of a known recipe, or no state.
    """
    run = Path(run)
    about = read_run(run)
    recipe: Any = at_tier(find(about["recipe"]), tier)
    if {key: str(value) for key, value in values(recipe).items()} != about["values"]:
        raise TrainingError(f"{run} was trained with other values than recipe {recipe.name} has at tier {tier}.")
    seed = about["seed"]
    name = f"{recipe.name}-{tier}{f'-seed{seed}' if seed else ''}"
    return save_run(run, recipe, tier, name, training_data(recipe), folder)


def training_data(recipe: Any) -> tuple[str, str]:
    """Names of the picture sets that a recipe trains on, and one hash of them all."""
    if hasattr(recipe, "training_data"):
        return recipe.training_data()
    photos = data.open(recipe.dataset, recipe.split or None)
    sets, digest = f"{recipe.dataset} {recipe.split}".strip(), photos.digest()
    if also := getattr(recipe, "also", ""):  # a second set, all of it
        return f"{sets} + {also}", hashlib.sha256(f"{digest} {data.open(also).digest()}".encode()).hexdigest()
    return sets, digest
