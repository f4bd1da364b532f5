"""Commands for one's own photos."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from restore_lib.errors import CheckpointError, ImageError


def denoise(
    photo: Annotated[Path, typer.Argument(help="A noisy photo: PNG, JPEG, WebP or TIFF.")],
    sigma: Annotated[str, typer.Option(help="Strength of the noise, 0 to 255, or `auto` to estimate it.")] = "auto",
    checkpoint: Annotated[str | None, typer.Option(help="A name that `restore checkpoints list` shows.")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Compute in bfloat16: sooner, with tiny differences.")] = False,
    out: Annotated[Path | None, typer.Option(help="The result; PHOTO-denoised.png by default.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a result that is there already.")] = False,
) -> None:
    """Take Gaussian noise out of a photo, with the denoiser that was trained for the nearest strength."""
    from restore_lib import images
    from restore_lib.denoising import denoise as restored
    from restore_lib.fast.folding import folded
    from restore_lib.pretrained import load
    from restore_lib.training.speed import best_device

    target = picture_named(out or photo.with_name(f"{photo.stem}-denoised.png"))
    with stoppable():
        check_room([target], overwrite, "file")
        noisy = images.read(photo)
        if min(noisy.shape[-2:]) < 12:
            raise ImageError(f"{photo} is smaller than 12 x 12 pixels: choose a larger photo.")
        level = _level(sigma, noisy)
        name = checkpoint or _nearest(level)
        clean = restored(folded(load(name)).to(best_device()), noisy, precision="bf16" if fast else "exact")
        images.write(target, clean)
    print(f"{target}: sigma {level:.3g}{' (estimated)' if sigma == 'auto' else ''}, by {name}")


def _level(sigma: str, noisy) -> float:
    """The strength that the user names, or the one that the photo's finest wavelet coefficients show."""
    from restore_lib.metrics import noise_level

    if sigma == "auto":
        return noise_level(noisy)
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
    from restore_lib.pretrained import cards

    trained_for = {recipe.name: recipe.sigma for recipe in (*DENOISERS, *HALVES)}
    found = [known for known in cards() if known.recipe in trained_for]
    if not found:
        raise CheckpointError("There is no denoiser here yet: run `restore train denoiser-25 --keep`.")
    return min(found, key=lambda known: (abs(trained_for[known.recipe] - level), -known.steps)).name


def estimate_kernel(
    photo: Annotated[Path, typer.Argument(help="A photo: PNG, JPEG, WebP or TIFF.")],
    scale: Annotated[int, typer.Option(help="Factor of the reduction: 2 or 4.")] = 2,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal kernels on the same computer.")] = 0,
    restarts: Annotated[int, typer.Option(help="How often to begin anew; of several, the average.")] = 1,
    steps: Annotated[int, typer.Option(help="Of each estimation; fewer are faster and less to be trusted.")] = 3000,
    out: Annotated[Path | None, typer.Option(help="Folder of the results; the photo's own by default.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that are there already.")] = False,
) -> None:
    """Estimate the blur that a photo was, or could have been, reduced with: PHOTO-kernel.npy and two pictures."""
    import warnings

    from restore_lib import images
    from restore_lib.realsr import KernelSettings, KernelWarning
    from restore_lib.realsr import estimate_kernel as estimated
    from restore_lib.realsr.progress import bar

    for name, value, least in (("steps", steps, 1), ("restarts", restarts, 1), ("seed", seed, 0)):
        if value < least:
            raise ImageError(f"--{name} is {value}: give a whole number from {least} on.")
    if scale not in (2, 4):
        raise ImageError(f"--scale is {scale}: give 2 or 4.")
    targets = [(out or photo.parent) / f"{photo.stem}-kernel{end}" for end in (".npy", ".png", "-figure.png")]
    with stoppable():
        part = _most_edges(images.read(photo))
        check_room(targets, overwrite)
        # the phases keep their shares of a shorter estimation; a whole photo has no border to cut off
        settings = KernelSettings(steps=steps, check_every=max(steps // 15, 1), rate_every=max(steps // 4, 1), shave=0)
        with warnings.catch_warnings(record=True) as said, bar("Estimating the kernel") as tell:
            warnings.simplefilter("always", KernelWarning)
            found = estimated(part, scale, seed, restarts, settings=settings, progress=tell)
        _write_kernel(targets, found)
    for warning in said:
        print(f"restore: {warning.message}", file=sys.stderr)
    rows, columns = found.kernel.shape
    print(f"{targets[0]}: {rows} x {columns} cells, for a reduction by {scale}; its pictures lie beside it")


@contextmanager
def stoppable() -> Iterator[None]:
    """Ctrl-C ends the command in one sentence: a file has its name only when it is complete."""
    try:
        yield
    except KeyboardInterrupt:
        print("restore: stopped; nothing was written.", file=sys.stderr)
        raise typer.Exit(130) from None


def picture_named(target: Path) -> Path:
    """The same path, if its ending is that of a kind of picture that can be written."""
    from restore_lib.images import FORMATS

    if target.suffix.lower() not in FORMATS:
        raise ImageError(f"{target} cannot be written: choose a name that ends in {', '.join(FORMATS)}.")
    return target


def check_room(targets: list[Path], overwrite: bool, other: str = "folder") -> None:
    """Refuse, before the work, what would fail after it; ``other`` is what --out names."""
    for target in targets:
        if target.exists() and not overwrite:
            raise ImageError(f"{target} exists already: add --overwrite, or name another {other} with --out.")
    folder = targets[0].parent
    above = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise ImageError(f"{folder} cannot be written to: name another {other} with --out.")


def _most_edges(photo, side: int = 1024, cell: int = 32):
    """The window of a large photo, at most ``side`` pixels each way, in which neighbours differ most.

    An estimation needs crops alone; and a lens blurs the corners of a photo otherwise than its middle.
    """
    import torch

    if max(photo.shape[1:]) <= side:
        return photo
    height, width = photo.shape[1:]
    strength = []
    for top in range(0, height, cell):  # band by band: several copies of a large photo would be too many
        grey = photo[:, top : top + cell].mean(0)  # (cell, width), the last band may be lower
        edges = grey.diff(dim=1, append=grey[:, -1:]).abs().sum(0) + grey.diff(dim=0).abs().sum(0)
        strength.append(torch.nn.functional.pad(edges, (0, -width % cell)).reshape(-1, cell).sum(1))
    window = [min(side, n) // cell for n in (height, width)]
    means = torch.nn.functional.avg_pool2d(torch.stack(strength)[None], window, stride=1)[0]
    best = divmod(int(means.argmax()), means.shape[1])
    top, left = (min(cell * i, max(n - side, 0)) for i, n in zip(best, (height, width), strict=True))
    return photo[:, top : top + side, left : left + side].clone()


def _write_kernel(targets: list[Path], found) -> None:
    """All files, or none: each has its name only after all are complete."""
    import numpy as np

    from restore_lib import images
    from restore_lib.files import atomic_write

    grey = (found.kernel / found.kernel.max()).clamp(0, 1).float()
    pixels = max(512 // len(grey), 1)  # each cell becomes a square
    with ExitStack() as written:
        numbers, picture, figure = (written.enter_context(atomic_write(target)) for target in targets)
        np.save(numbers, found.kernel.numpy())
        images.write(picture, grey.repeat_interleave(pixels, 0).repeat_interleave(pixels, 1))
        _kernel_figure(found).savefig(figure, facecolor="white")


def _kernel_figure(found):
    """Bicubic beside the estimate, how the estimate grew, and what its diagnostics say."""
    import textwrap

    import torch

    from restore_lib import plots
    from restore_lib.realsr.kernels import lay
    from restore_lib.resampling import imresize

    s, went, checked = found.scale, found.trajectory, found.diagnostics
    start = 3 * s // 2  # where the third row's cells begin
    row = imresize(torch.eye(8 * s, dtype=torch.float64)[None], size=(8, 8 * s))[0, 3, start : start + 4 * s]
    n = len(found.kernel)
    bicubic = lay(torch.outer(row, row), [(n - 1) // 2] * 2, [n // 2] * 2)  # both on one scale
    shown, titles = [bicubic, found.kernel], [f"bicubic x{s}", f"estimated x{s}"]
    for i in torch.linspace(0, len(went.steps) - 1, 6).round().int().unique().tolist():
        shown.append(went.kernels[i])
        titles.append(f"step {went.steps[i]}")
    figure = plots.kernel_map(shown, titles)
    words = f"raw kernel: sum {checked.sum:.3f}, centre {checked.centre[0]:.2f}, {checked.centre[1]:.2f} (wanted 6.5); "
    words += f"second phase from step {checked.switch_step}" if checked.switch_step else "no second phase"
    if len(found.candidates) > 1:
        mean = found.chosen == len(found.candidates) - 1 and len(found.candidates) > 2
        words += "; chosen: " + ("the mean of the restarts" if mean else f"restart {found.chosen + 1}")
    words += f". Problems: {'; '.join(checked.problems) or 'none'}."
    figure.supxlabel(textwrap.fill(words, 84), size=11)
    return figure
