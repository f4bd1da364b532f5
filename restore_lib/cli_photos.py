"""Commands for one's own photos."""

from pathlib import Path
from typing import Annotated

import typer

from restore_lib.errors import CheckpointError, ImageError


def denoise(
    photo: Annotated[Path, typer.Argument(help="A noisy photo: PNG, JPEG, WebP or TIFF.")],
    sigma: Annotated[str, typer.Option(help="Strength of the noise, 0 to 255, or `auto` to estimate it.")] = "auto",
    output: Annotated[Path | None, typer.Option(help="The result; PHOTO-denoised.png by default.")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="A name that `restore checkpoints list` shows.")] = None,
) -> None:
    """Take Gaussian noise out of a photo, with the denoiser that was trained for the nearest strength."""
    from restore_lib import images
    from restore_lib.denoising.inference import denoise as restored
    from restore_lib.denoising.inference import folded
    from restore_lib.training.architectures import build
    from restore_lib.training.checkpoints import card, load_into
    from restore_lib.training.speed import best_device

    noisy = images.read(photo)
    if min(noisy.shape[-2:]) < 12:
        raise ImageError(f"{photo} is smaller than 12 x 12 pixels: choose a larger photo.")
    level = _level(sigma, noisy)
    name = checkpoint or _nearest(level)
    known = card(name)
    network = build(known.architecture)
    load_into(network, name)
    clean = restored(folded(network).to(best_device()), noisy)
    target = output or photo.with_name(f"{photo.stem}-denoised.png")
    images.write(target, clean)
    print(f"{target}: sigma {level:.3g}{' (estimated)' if sigma == 'auto' else ''}, by {name}")


def _level(sigma: str, noisy) -> float:
    """The strength that the user names, or the one that the photo's finest wavelet coefficients show."""
    from skimage.restoration import estimate_sigma

    if sigma == "auto":
        # A flat photo has no noise, and no median to estimate it from.
        return 255 * float(estimate_sigma(noisy.permute(1, 2, 0).numpy(), channel_axis=-1, average_sigmas=True))
    try:
        level = float(sigma)
    except ValueError:
        level = -1.0
    if not 0 <= level <= 255:
        raise ImageError(f"--sigma is {sigma}: give a number from 0 to 255, or auto.")
    return level


def _nearest(level: float) -> str:
    """The shipped denoiser for the nearest strength; of several, the one that was trained longest."""
    from restore_lib.denoising.recipes import DENOISERS, HALVES
    from restore_lib.training.checkpoints import cards

    trained_for = {recipe.name: recipe().sigma for recipe in (*DENOISERS, *HALVES)}
    found = [known for known in cards() if known.recipe in trained_for]
    if not found:
        raise CheckpointError("There is no denoiser here yet: run `restore train denoiser-25 --keep`.")
    return min(found, key=lambda known: (abs(trained_for[known.recipe] - level), -known.steps)).name
