"""Commands for one's own photos: denoise, upscale, estimate-kernel."""

import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from restore_lib.cli.console import (
    check_picture_name,
    check_targets,
    interruptible,
    progress_bar,
    tell_lost,
    warnings_told,
)
from restore_lib.decoders import check_file
from restore_lib.errors import ImageError

if TYPE_CHECKING:
    from restore_lib.realsr import KernelEstimate

Photo = Annotated[Path, typer.Argument(help="A photo: PNG, JPEG, WebP or TIFF.")]
Fast = Annotated[bool, typer.Option("--fast", help="Compute in bfloat16: sooner, with tiny differences.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a result that is there already.")]


def denoise(
    photo: Photo,
    sigma: Annotated[
        str, typer.Option(help="Strength of the noise, 0 to 255: less keeps more detail; `auto` estimates it.")
    ] = "auto",
    checkpoint: Annotated[
        str | None, typer.Option(help="A denoiser that `restore checkpoints list` shows; by default for all strengths.")
    ] = None,
    fast: Fast = False,
    out: Annotated[Path | None, typer.Option(help="The result; PHOTO-denoised.png by default.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Take Gaussian noise of any strength out of a photo."""
    from restore_lib import api, photos

    check_file(photo)
    target = check_picture_name(out or photo.with_name(f"{photo.stem}-denoised.png"))
    with interruptible(), warnings_told():
        check_targets([target], overwrite, "file")
        given = None if sigma == "auto" else _number(sigma)
        name = api.denoiser_for(checkpoint)
        clean, level = api.denoised(photos.read(photo), given, model=name, precision="bf16" if fast else "exact")
        tell_lost(target, photos.write(target, clean))
    print(f"{target}: sigma {level:.3g}{' (estimated)' if sigma == 'auto' else ''}, by {name}")


def _number(sigma: str) -> float:
    try:
        level = float(sigma)
    except ValueError:
        level = -1.0
    if not 0 <= level <= 255:
        raise ImageError(f"--sigma is {sigma}: give a number from 0 to 255, or auto.")
    return level


def upscale(
    photo: Photo,
    scale: Annotated[
        float | None, typer.Option(help="How many times higher and wider, such as 2.7; 4 by default.")
    ] = None,
    size: Annotated[str | None, typer.Option(metavar="WIDTHxHEIGHT", help="Of the result, instead of --scale.")] = None,
    model: Annotated[
        str, typer.Option(help="diinn, liif, metasr; realsr, for noisy photos at x4; any checkpoint that enlarges.")
    ] = "diinn",
    fast: Fast = False,
    keep_colours: Annotated[
        bool, typer.Option("--keep-colours", help="Give the photo's own colours back where the network shifts them.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="The result; PHOTO-x4.png beside the photo by default.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Enlarge a photo by any factor, or to any size."""
    from restore_lib import api, images, photos

    goal = _size(size) if size is not None else None
    api.check_enlargement(scale, goal)
    check_file(photo)
    target = out or photo.with_name(f"{photo.stem}-{size if goal else f'x{4 if scale is None else scale:g}'}.png")
    check_picture_name(target)
    with interruptible(), warnings_told():
        check_targets([target], overwrite, "file")
        name = api.upscaler_for(model)
        api.check_enlargement(None if goal else scale or 4, goal, *images.size(photo), str(photo))
        lr = photos.read(photo)
        with progress_bar("Enlarging") as progress:
            options = {"precision": "bf16" if fast else "exact", "keep_colours": keep_colours, "progress": progress}
            sr = api.upscale(lr, scale, size=goal, model=model, **options)
        tell_lost(target, photos.write(target, sr))
    print(f"{target}: {sr.image.shape[2]} x {sr.image.shape[1]} pixels, by {name}")


def _size(text: str) -> tuple[int, int]:
    """Height and width of ``WIDTHxHEIGHT``."""
    match = re.fullmatch(r"([1-9]\d{0,8})[xX×]([1-9]\d{0,8})", text)
    if match is None:
        raise ImageError(f"--size is {text}: give width and height in pixels, such as 1920x1080.")
    return int(match[2]), int(match[1])


def estimate_kernel(
    photo: Photo,
    scale: Annotated[int, typer.Option(help="Factor of the reduction: 2 or 4.")] = 2,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal kernels on the same computer.")] = 0,
    restarts: Annotated[int, typer.Option(help="How often to begin anew; of several, the average.")] = 1,
    steps: Annotated[int, typer.Option(help="Of each estimation; fewer are faster and less to be trusted.")] = 3000,
    out: Annotated[Path | None, typer.Option(help="Folder of the results; the photo's own by default.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Estimate the blur that a photo was, or could have been, reduced with: PHOTO-kernel.npy and two pictures."""
    from restore_lib import api

    check_file(photo)
    targets = [(out or photo.parent) / f"{photo.stem}-kernel{end}" for end in (".npy", ".png", "-figure.png")]
    api.check_estimation(scale, seed, restarts, steps)
    with interruptible(), warnings_told():
        check_targets(targets, overwrite)
        with progress_bar("Estimating the kernel") as progress:
            estimate = api.estimate_kernel(photo, scale, seed=seed, restarts=restarts, steps=steps, progress=progress)
        _write_kernel(targets, estimate)
    rows, columns = estimate.kernel.shape
    print(f"{targets[0]}: {rows} x {columns} cells, for a reduction by {scale}; its pictures lie beside it")


def _write_kernel(targets: list[Path], estimate: "KernelEstimate") -> None:
    """All files, or none: each has its name only after all are complete."""
    import numpy as np

    from restore_lib import images
    from restore_lib.files import atomic_write

    grey = (estimate.kernel / estimate.kernel.max()).clamp(0, 1).float()
    pixels = max(512 // len(grey), 1)  # each cell becomes a square
    with ExitStack() as written:
        numbers, picture, figure = (written.enter_context(atomic_write(target)) for target in targets)
        np.save(numbers, estimate.kernel.numpy())
        images.write(picture, grey.repeat_interleave(pixels, 0).repeat_interleave(pixels, 1))
        _kernel_figure(estimate).savefig(figure, facecolor="white")


def _kernel_figure(estimate: "KernelEstimate"):
    """Bicubic beside the estimate, how the estimate grew, and what its diagnostics say."""
    import textwrap

    import torch

    from restore_lib import plots
    from restore_lib.realsr.kernels import pad_kernel
    from restore_lib.resampling import imresize

    s, went, checked = estimate.scale, estimate.trajectory, estimate.diagnostics
    start = 3 * s // 2  # where the third row's cells begin
    row = imresize(torch.eye(8 * s, dtype=torch.float64)[None], size=(8, 8 * s))[0, 3, start : start + 4 * s]
    n = len(estimate.kernel)
    bicubic = pad_kernel(torch.outer(row, row), [(n - 1) // 2] * 2, [n // 2] * 2)  # both on one scale
    shown, titles = [bicubic, estimate.kernel], [f"bicubic x{s}", f"estimated x{s}"]
    for i in torch.linspace(0, len(went.steps) - 1, 6).round().int().unique().tolist():
        shown.append(went.kernels[i])
        titles.append(f"step {went.steps[i]}")
    figure = plots.kernel_map(shown, titles)
    words = f"raw kernel: sum {checked.sum:.3f}, centre {checked.centre[0]:.2f}, {checked.centre[1]:.2f} (wanted 6.5); "
    words += f"second phase from step {checked.switch_step}" if checked.switch_step else "no second phase"
    if len(estimate.candidates) > 1:
        mean = estimate.chosen == len(estimate.candidates) - 1 and len(estimate.candidates) > 2
        words += "; chosen: " + ("the mean of the restarts" if mean else f"restart {estimate.chosen + 1}")
    words += f". Problems: {'; '.join(checked.problems) or 'none'}."
    figure.supxlabel(textwrap.fill(words, 84), size=11)
    return figure
