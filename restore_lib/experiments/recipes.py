"""Every recipe by name: what ``restore train`` can train."""

from restore_lib.denoising.recipes import ABLATIONS, DENOISERS, HALVES, SmallDenoiser
from restore_lib.denoising.vision_recipes import CASCADES, NOISY, OFFICIAL, OTHERS, PAPER, SWEEP, VISION
from restore_lib.errors import TrainingError
from restore_lib.implicit.recipes import ANY_SCALE
from restore_lib.realsr.dsgan import DSGAN
from restore_lib.realsr.sr_variants import SR
from restore_lib.training.recipes import Recipe

RECIPES: tuple[type[Recipe], ...] = (SmallDenoiser, *DENOISERS, *HALVES, *ABLATIONS)
RECIPES += (*VISION, *NOISY, *OTHERS, *CASCADES, *OFFICIAL, *SWEEP, *PAPER)
RECIPES += (*SR, *DSGAN)
RECIPES += ANY_SCALE


def find(name: str) -> type[Recipe]:
    """The recipe of that name.

    Raises
    ------
    TrainingError
        There is none.
    """
    found = next((recipe for recipe in RECIPES if recipe.name == name), None)
    if found is None:
        raise TrainingError(f"There is no recipe called {name}: `restore train list` shows what there is.")
    return found
