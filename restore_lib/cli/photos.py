"""Commands for one's own photos: denoise, upscale, estimate-kernel."""

import os
import re
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from restore_lib.cli.console import (
    check_picture_name,
    check_targets,
    counted,
    interruptible,
    progress_bar,
    tell,
    warnings_told,
)
from restore_lib.decoders import check_file
from restore_lib.errors import ImageError

if TYPE_CHECKING:
    from restore_lib.photos import Photo
    from restore_lib.realsr import KernelEstimate

Paths = Annotated[
    list[str], typer.Argument(metavar="PATHS...", help="Photos, folders of photos, or patterns such as '*.jpg'.")
]
Fast = Annotated[bool, typer.Option("--fast", help="Compute in bfloat16: sooner, with tiny differences.")]
Ensemble = Annotated[
    bool, typer.Option("--self-ensemble", help="Mean over eight turned and mirrored forms: better, eight times slower.")
]
Tile = Annotated[int | None, typer.Option(help="Side of the windows that a photo is computed in: less memory.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...; a GPU, if there is one, by default.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the results, or the result of one photo.")]
Suffix = Annotated[str | None, typer.Option(help="Of the results' names, instead of -denoised, -x4 and so on.")]
Format = Annotated[str, typer.Option("--format", help="Of the results: png, jpg, webp or tif.")]
Quality = Annotated[int, typer.Option(min=1, max=100, help="Of JPEG and WebP, 1 to 100; WebP has no loss at 100.")]
Bits = Annotated[int | None, typer.Option(help="A sample, 8 or 16; by default as the photo has, if the format can.")]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Folders of folders, too.")]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Only list what would be done.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that are there already.")]


def denoise(
    paths: Paths,
    sigma: Annotated[
        str, typer.Option(help="Strength of the noise, 0 to 255: less keeps more detail; `auto` estimates it.")
    ] = "auto",
    checkpoint: Annotated[
        str | None, typer.Option(help="A denoiser that `restore checkpoints list` shows; by default for all strengths.")
    ] = None,
    fast: Fast = False,
    ensemble: Ensemble = False,
    tile: Tile = None,
    device: Device = None,
    out: Out = None,
    suffix: Suffix = None,
    form: Format = "png",
    quality: Quality = 95,
    bits: Bits = None,
    recursive: Recursive = False,
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
) -> None:
    """Take Gaussian noise of any strength out of photos; a result is PHOTO-denoised.png unless you say otherwise.

    Stopped, or with more photos in a folder, the same command does what is left.
    """
    api = _api()
    given = None if sigma == "auto" else _number(sigma)
    options = {"precision": "bf16" if fast else "exact", "self_ensemble": ensemble, "tile": tile, "device": device}
    api.check_options(tile, device)
    name = api.denoiser_for(checkpoint)
    work = partial(api.denoised, sigma=given, model=name, **options)
    where = {"out": out, "suffix": "-denoised" if suffix is None else suffix, "form": form, "recursive": recursive}
    _restore(paths, lambda progress: work, quality=quality, bits=bits, dry_run=dry_run, overwrite=overwrite, **where)


def _api():
    """The functions; threads that wait for each other sleep meanwhile, as spinning takes a busy processor's time."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is loaded
    from restore_lib import api

    return api


def _number(sigma: str) -> float:
    try:
        level = float(sigma)
    except ValueError:
        level = -1.0
    if not 0 <= level <= 255:
        raise ImageError(f"--sigma is {sigma}: give a number from 0 to 255, or auto.")
    return level


def upscale(
    paths: Paths,
    scale: Annotated[
        float | None, typer.Option(help="How many times higher and wider, such as 2.7; 4 by default.")
    ] = None,
    size: Annotated[str | None, typer.Option(metavar="WIDTHxHEIGHT", help="Of the result, instead of --scale.")] = None,
    model: Annotated[
        str,
        typer.Option(
            help="diinn, liif, metasr; diinn-trunk, better and four times slower; realsr, for noisy photos at x4; "
            "any checkpoint that enlarges."
        ),
    ] = "diinn",
    keep_colours: Annotated[
        bool, typer.Option("--keep-colours", help="Give the photo's own colours back where the network shifts them.")
    ] = False,
    fast: Fast = False,
    ensemble: Ensemble = False,
    tile: Tile = None,
    device: Device = None,
    out: Out = None,
    suffix: Suffix = None,
    form: Format = "png",
    quality: Quality = 95,
    bits: Bits = None,
    recursive: Recursive = False,
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
) -> None:
    """Enlarge photos by any factor, or to any size; a result is PHOTO-x4.png unless you say otherwise.

    Stopped, or with more photos in a folder, the same command does what is left.
    """
    api = _api()
    from restore_lib import images, photos

    goal = _size(size) if size is not None else None
    api.check_enlargement(scale, goal)
    options = {"precision": "bf16" if fast else "exact", "self_ensemble": ensemble, "tile": tile, "device": device}
    api.check_options(tile, device)
    name = api.upscaler_for(model)

    def read(photo: Path) -> "Photo":
        check_file(photo)
        api.check_enlargement(None if goal else scale or 4, goal, *images.size(photo), str(photo))
        return photos.read(photo)

    work = partial(api.upscaled, scale=scale, size=goal, model=name, keep_colours=keep_colours, **options)
    suffix = f"-{size if goal else f'x{4 if scale is None else scale:g}'}" if suffix is None else suffix
    where = {"out": out, "suffix": suffix, "form": form, "recursive": recursive, "read": read}
    options = {"quality": quality, "bits": bits, "dry_run": dry_run, "overwrite": overwrite}
    _restore(paths, lambda progress: partial(work, progress=progress), **where, **options)


def _restore(
    paths: list[str],
    work: Callable[[Any], Callable],
    *,
    out: Path | None,
    suffix: str,
    form: str,
    recursive: bool,
    dry_run: bool,
    overwrite: bool,
    bits: int | None,
    **options: Any,
) -> None:
    """Plan, refuse in time what would fail after the work, restore, and tell."""
    from restore_lib import batch, images

    alone = len(paths) == 1 and Path(paths[0]).is_file()
    if alone and out and (out.suffix.lower() in images.FORMATS or (out.suffix and not out.is_dir())):
        pairs = batch.checked([(Path(paths[0]), out)])
    else:
        pairs = batch.plan(paths, suffix, out=out, ending=f".{form}", recursive=recursive)
    check_picture_name(pairs[0][1], bits)
    check_targets([target for _, target in pairs], overwrite or not alone, "file" if alone else "folder")
    left = sum(overwrite or not target.exists() for _, target in pairs)
    if dry_run:
        print("\n".join(f"{photo} -> {target}" for photo, target in pairs if overwrite or not target.exists()))
        return
    bad, done = [], 0
    stopped = interruptible(lambda: f"stopped; {f'{done} photos are done' if done else 'nothing was written'}.")
    with stopped, counted(left) as advance, progress_bar("Restoring", left == 1) as progress:
        for result in batch.restore(pairs, work(progress), overwrite=overwrite, bits=bits, **options):
            done += 1
            bad += [result] if result.error else []
            tell(result, alone=left == 1)
            advance(result.seconds)
    if bad and left == 1:
        raise bad[0].error
    if bad:
        names = ", ".join(str(result.photo) for result in bad)
        raise ImageError(f"{len(bad):,} of {left:,} photos could not be restored, all others are: {names}.")
    if not left:
        print(f"Nothing is left to do: results of {len(pairs):,} photos are there; --overwrite makes them anew.")


def _size(text: str) -> tuple[int, int]:
    """Height and width of ``WIDTHxHEIGHT``."""
    match = re.fullmatch(r"([1-9]\d{0,8})[xX×]([1-9]\d{0,8})", text)
    if match is None:
        raise ImageError(f"--size is {text}: give width and height in pixels, such as 1920x1080.")
    return int(match[2]), int(match[1])


def estimate_kernel(
    photo: Annotated[Path, typer.Argument(help="A photo: PNG, JPEG, WebP or TIFF.")],
    scale: Annotated[int, typer.Option(help="Factor of the reduction: 2 or 4.")] = 2,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal kernels on the same computer.")] = 0,
    restarts: Annotated[int, typer.Option(help="How often to begin anew; of several, the average.")] = 1,
    steps: Annotated[int, typer.Option(help="Of each estimation; fewer are faster and less to be trusted.")] = 3000,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the results; the photo's own by default.")
    ] = None,
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
