"""The command that enlarges one's own photos."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from restore_lib.cli_photos import check_room
from restore_lib.errors import ImageError

SHORT = {"realsr": "realsr-df2k", "realesrgan": "realesrgan-x4plus"}  # what people call them: the published name


def upscale(
    photo: Annotated[Path, typer.Argument(help="A photo: PNG, JPEG, WebP or TIFF.")],
    scale: Annotated[float, typer.Option(help="How many times higher and wider.")] = 4,
    model: Annotated[str, typer.Option(help="realsr, or a name that `restore weights list` shows.")] = "realsr",
    fast: Annotated[bool, typer.Option("--fast", help="Compute in bfloat16: sooner, with tiny differences.")] = False,
    out: Annotated[Path | None, typer.Option(help="The result; PHOTO-x4.png beside the photo by default.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a result that is there already.")] = False,
) -> None:
    """Enlarge a photo with a network that was trained on photos like it."""
    from restore_lib import images
    from restore_lib.realsr.progress import bar

    target = out or photo.with_name(f"{photo.stem}-x{scale:g}.png")
    if target.suffix.lower() not in images.FORMATS:
        raise ImageError(f"{target} cannot be written: choose a name that ends in {', '.join(images.FORMATS)}.")
    try:
        check_room([target], overwrite, "file")
        enlarged = _upscaler(model, scale, fast)
        lr = images.read(photo, max_pixels=int(images.MAX_PIXELS / scale**2))  # else the result would be too large
        with bar("Enlarging") as tell:
            sr = enlarged(lr, tell)
        images.write(target, sr)
    except KeyboardInterrupt:
        print("restore: stopped; nothing was written.", file=sys.stderr)
        raise typer.Exit(130) from None
    print(f"{target}: {sr.shape[2]} x {sr.shape[1]} pixels, by {SHORT.get(model, model)}")


def _upscaler(model: str, scale: float, fast: bool) -> Callable:
    """The function that enlarges a photo and tells how far it is."""
    from restore_lib.realsr import authors_model
    from restore_lib.realsr.inference import upscale as restored
    from restore_lib.training.speed import best_device

    network = authors_model(SHORT.get(model, model))
    if scale != network.scale:
        raise ImageError(f"--scale is {scale:g}: {model} enlarges by {network.scale} only.")
    network.to(best_device())
    return lambda lr, tell: restored(network, lr, precision="bf16" if fast else "exact", progress=tell)
