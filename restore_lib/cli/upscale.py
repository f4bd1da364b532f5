"""The command that enlarges one's own photos."""

import math
import re
import warnings
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer

from restore_lib.cli.photos import check_room, picture_named, stoppable
from restore_lib.errors import CheckpointError, DataError, ImageError

SHORT = {"realsr": "realsr-df2k", "realesrgan": "realesrgan-x4plus", "meta-sr": "metasr"}  # what people call them
ANY_SCALE = ("diinn", "liif", "metasr")  # recipes whose checkpoints come with the library
ROOM = "restore_lib.implicit."  # where networks for any scale live

Scale = Annotated[float | None, typer.Option(help="How many times higher and wider, such as 2.7; 4 by default.")]
Size = Annotated[str | None, typer.Option(metavar="WIDTHxHEIGHT", help="Of the result, instead of --scale.")]
Model = Annotated[
    str,
    typer.Option(
        help="diinn, liif or metasr; realsr, for noisy photos and x4 alone; any checkpoint or published model."
    ),
]


def upscale(
    photo: Annotated[Path, typer.Argument(help="A photo: PNG, JPEG, WebP or TIFF.")],
    scale: Scale = None,
    size: Size = None,
    model: Model = "diinn",
    fast: Annotated[bool, typer.Option("--fast", help="Compute in bfloat16: sooner, with tiny differences.")] = False,
    out: Annotated[Path | None, typer.Option(help="The result; PHOTO-x4.png beside the photo by default.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a result that is there already.")] = False,
) -> None:
    """Enlarge a photo by any factor, or to any size."""
    from restore_lib import images
    from restore_lib.realsr.progress import bar

    by, to = _asked(scale, size)
    target = picture_named(out or photo.with_name(f"{photo.stem}-{size if to else f'x{by:g}'}.png"))
    with stoppable():
        check_room([target], overwrite, "file")
        network, name = _network(SHORT.get(model, model))
        fixed = getattr(network, "scale", None)  # networks for any scale have none
        if by and fixed not in (None, by):
            raise ImageError(f"--scale is {by:g}: {model} enlarges by {fixed} only.")
        if known := _header(photo):
            _check(photo, *known, by, to)
        lr = images.read(photo)
        _check(photo, *lr.shape[1:], by, to)
        height, width = to or (round(n * by) for n in lr.shape[1:])
        if fixed and (height, width) != (fixed * lr.shape[1], fixed * lr.shape[2]):
            raise ImageError(f"--size is {size}: {model} enlarges by {fixed} only, use --scale {fixed}.")
        with bar("Enlarging") as tell:
            sr = _enlarger(network, (height, width), fast)(lr, tell)
        images.write(target, sr)
    print(f"{target}: {sr.shape[2]} x {sr.shape[1]} pixels, by {name}")


def _asked(scale: float | None, size: str | None) -> tuple[float | None, tuple[int, int] | None]:
    """A factor, or a height and a width."""
    from restore_lib.images import MAX_PIXELS

    if scale is not None and size is not None:
        raise ImageError("Give --scale or --size, not both: each says how large the result is.")
    if size is None:
        by = 4.0 if scale is None else scale
        if not (math.isfinite(by) and by >= 1):
            raise ImageError(f"--scale is {by:g}: give a number from 1 on, as these networks only enlarge.")
        return by, None
    found = re.fullmatch(r"(\d{1,9})[xX×](\d{1,9})", size)
    width, height = (int(n) for n in found.groups()) if found else (0, 0)
    if not width * height:
        raise ImageError(f"--size is {size}: give width and height in pixels, such as 1920x1080.")
    if width * height > MAX_PIXELS:
        raise ImageError(f"--size is {size}, more than the largest picture of {MAX_PIXELS:,} pixels: choose less.")
    return None, (height, width)


def _header(photo: Path) -> tuple[int, int] | None:
    """Height and width of a photo, before any memory is asked for; None where reading has to tell."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of photos that are large, and fine
            with Image.open(photo) as header:
                width, height = header.size
                return (width, height) if header.getexif().get(274, 1) >= 5 else (height, width)  # lying on its side
    except Exception:  # damaged, or of a kind that Pillow does not know: reading says so, in a sentence
        return None


def _check(photo: Path, height: int, width: int, by: float | None, to: tuple[int, int] | None) -> None:
    """Refuse results that are too large, or smaller than the photo."""
    from restore_lib.images import MAX_PIXELS

    if by and by > math.sqrt(MAX_PIXELS / (height * width)):
        raise ImageError(
            f"{photo} has {width} x {height} pixels, and {by:g} times higher and wider is more than the largest "
            f"picture of {MAX_PIXELS:,} pixels: choose a smaller --scale, or use a smaller image."
        )
    if to and (height > to[0] or width > to[1]):
        raise ImageError(
            f"--size is {to[1]}x{to[0]}, but {photo} has {width} x {height} pixels: choose a size that is no smaller, "
            "as these networks only enlarge."
        )


def _network(name: str):
    """The network of that name, ready to use, and its checkpoint's or published name."""
    from restore_lib.pretrained import cards, load, load_published, published
    from restore_lib.tiers import TIERS

    shipped = [card for card in cards() if str(card.architecture["builder"]).startswith(ROOM)]
    fitting = [card for card in shipped if name in (card.recipe, card.name)]
    if fitting:
        best = max(fitting, key=lambda card: (TIERS.index(card.tier), card.steps, -(card.seed or 0)))
        return load(best.name), best.name
    if name in ANY_SCALE:
        raise CheckpointError(f"There is no checkpoint of {name} here yet: run `restore train {name} --keep`.")
    theirs = {*published.PUBLISHED, *published.imported()}
    if name not in theirs:
        known = {*theirs, *SHORT, *ANY_SCALE, *(card.recipe for card in shipped), *(card.name for card in shipped)}
        near = get_close_matches(name, sorted(known), n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join((*ANY_SCALE, *SHORT))}."
        raise DataError(f"There is no model {name}: {hint}")
    return load_published(name), name


def _enlarger(network, size: tuple[int, int], fast: bool) -> Callable:
    """The function that enlarges a photo and tells how far it is."""
    from restore_lib.fast import tiling as one_scale
    from restore_lib.implicit import inference as any_scale
    from restore_lib.implicit.anyscale import AnyScale
    from restore_lib.training.speed import best_device

    network.to(best_device())
    precision = "bf16" if fast else "exact"
    if isinstance(network, AnyScale):
        return lambda lr, tell: any_scale.upscale(network, lr, size, precision=precision, progress=tell)
    return lambda lr, tell: one_scale.upscale(network, lr, precision=precision, progress=tell)
