"""``restore adapt``: a published network for one's own camera."""

from pathlib import Path
from typing import Annotated

import typer

from restore_lib.cli.console import interruptible


def adapt(
    photos: Annotated[Path, typer.Argument(metavar="FOLDER", help="Photos of one camera: two at least, better 20.")],
    model: Annotated[str, typer.Option(help="What to begin with: an RRDBNet of `restore weights list`.")] = "realsr",
    name: Annotated[str, typer.Option(help="Of the result; MODEL-FOLDER by default.")] = "",
    clean: Annotated[Path | None, typer.Option(help="Folder of sharp photos, to learn from, too.")] = None,
    tier: Annotated[str | None, typer.Option(help="cpu: the last blocks; gpu: all, instead of RESTORE_TIER.")] = None,
    seed: Annotated[int, typer.Option(help="Of crops, noise and discriminator.")] = 0,
    max_minutes: Annotated[float | None, typer.Option(help="Train at most so long, and keep the best.")] = None,
    folder: Annotated[Path | None, typer.Option("--checkpoints", help="Where the result is kept.")] = None,
    run: Annotated[Path | None, typer.Option(help="Folder of the training; runs/adapt-NAME by default.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Adapt a published network to the camera of your photos; stopped, the same command goes on."""
    from restore_lib.realsr.adapt import adapt

    options = {"model": model, "clean": clean, "tier": tier, "seed": seed, "max_minutes": max_minutes}
    options |= {"folder": folder, "run": run, "quiet": quiet, "tell": print if not quiet else lambda sentence: None}
    with interruptible("stopped; the same command goes on."):
        card = adapt(photos, name, **options)
    if card is None:
        print(f"Nothing was kept: on photos that training did not see, {model} was the best as it is.")
        return
    scores = ", ".join(f"{score.condition} {score.metric} {score.value:.4g}" for score in card.metrics)
    print(f"{card.name}: {card.steps:,} steps; on photos that training did not see: {scores}")
    print(f"restore upscale PHOTO --model {card.name}")
