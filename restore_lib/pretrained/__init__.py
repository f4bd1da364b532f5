"""Every trained network: our own trainings with their cards, and the weights that authors published.

- ``checkpoints``, ``model_card``, ``networks``: our trainings by name, their cards, and the networks they hold
- ``published``, ``authors``, ``author_names``, ``ncnn``: published weights, their files, what these call each weight
- ``trained``: from a run of the loop to a checkpoint
- ``export``, ``provenance``: networks for other programs; versions, devices and commits for cards and records
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from restore_lib.pretrained.authors import load_author_checkpoint, load_author_weights
    from restore_lib.pretrained.checkpoints import (
        card,
        cards,
        checkpoints_folder,
        load,
        load_into,
        load_weights,
        names,
        save_checkpoint,
        search_folders,
        update_card,
        verify,
    )
    from restore_lib.pretrained.model_card import Card, Score, longest
    from restore_lib.pretrained.networks import build, describe
    from restore_lib.pretrained.published import load_published
    from restore_lib.pretrained.trained import save_run

__all__ = ["Card", "Score", "build", "card", "cards", "checkpoints_folder", "describe", "load"]
__all__ += ["load_author_checkpoint", "load_author_weights", "load_into", "load_published", "load_weights", "longest"]
__all__ += ["names", "save_checkpoint", "save_run", "search_folders", "update_card", "verify"]

HOMES = {"authors": ["load_author_checkpoint", "load_author_weights"], "model_card": ["Card", "Score", "longest"]}
HOMES |= {"networks": ["build", "describe"], "published": ["load_published"], "trained": ["save_run"]}


def __getattr__(name: str):
    """Import what is asked for: cards can be listed without torch, which takes seconds."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = next((module for module, names in HOMES.items() if name in names), "checkpoints")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
