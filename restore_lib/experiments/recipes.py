"""Every recipe by name: what ``restore train`` can train."""

from restore_lib.denoising import recipes as denoisers
from restore_lib.denoising import vision_recipes
from restore_lib.errors import TrainingError
from restore_lib.implicit import recipes as anyscale
from restore_lib.realsr import recipes as sr
from restore_lib.training.recipes import Recipe

RECIPES: dict[str, Recipe] = {
    **denoisers.RECIPES,
    **vision_recipes.RECIPES,
    **sr.RECIPES,
    **anyscale.RECIPES,
}


def find(name: str) -> Recipe:
    """The recipe of that name.

    Raises
    ------
    TrainingError
        There is none.
    """
    if name not in RECIPES:
        raise TrainingError(f"There is no recipe called {name}: `restore recipes` shows what there is.")
    return RECIPES[name]
