"""Restoring pictures in one call: the functions that ``import restore_lib as rl`` offers.

An image is a path, a PIL image, a NumPy array (H, W, 3) or (H, W) in uint8, uint16 or float, or a tensor (3, H, W),
(1, H, W) or (B, 3, H, W). Floats lie in [0, 1]. The result is of the same kind as the input; a path gives a PIL image.
What shows grey alone stays grey. Of a path, a PIL image or a :class:`restore_lib.photos.Photo`, transparency is kept
(enlarged with the picture), and so are colour profile, EXIF and resolution.
"""

import math
import os
import warnings
from collections.abc import Callable
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from restore_lib import images, noise, photos, resampling, tiers
from restore_lib.errors import CheckpointError, DataError, ImageError, RestoreError, ResultWarning
from restore_lib.pretrained import Card, checkpoints, longest, published
from restore_lib.training.precision import best_device

if TYPE_CHECKING:
    from restore_lib.realsr import KernelEstimate

AnyPath = str | os.PathLike
Picture = TypeVar("Picture", Image.Image, np.ndarray, Tensor, photos.Photo)
Progress = Callable[[int, int], None]

DENOISERS = ("Denoiser", "DnCNN")
ALL_STRENGTHS, STRONGEST = "denoiser-all", 75.0  # the recipe, and the strongest noise that it is for
LEAST_SCALE = 1.08  # networks for any scale lose more than they add below
UNSEEN = 1.5  # levels of 255: weaker noise is not seen, and estimates of photos without any reach as far
UNSURE = 15.0  # levels: what texture of grey and of JPEG pictures can pass for
ANY_SCALE = ("DIINN", "LIIF", "MetaSR")
ONE_SCALE = ("RRDBNet", "EDSR")
LEAST_TILE = 128  # pixels; networks see up to 28 around each, and a window wants some that are its own


class Restored(NamedTuple):
    """A restored picture of the kind that was given, and what to say of it."""

    picture: Any
    said: str  #: What was done: ``"sigma 25, by denoiser-all-cpu"``.
    warning: str = ""  #: A sentence where the result may not be what was hoped for.


def load(name: str) -> nn.Module:
    """A trained network, ready to use: in evaluation mode, on the CPU.

    Parameters
    ----------
    name : str
        Of a checkpoint (``restore checkpoints list``) or of a published model that was imported (``restore weights
        list``).

    Raises
    ------
    CheckpointError, DataError
        There is no such network, or its file is damaged; the message says what to do.
    """
    if name in checkpoints.names() or name not in {*published.PUBLISHED, *published.imported()}:
        return checkpoints.load(name)
    return published.load_published(name)


@overload
def denoise(image: AnyPath, *arguments: Any, **options: Any) -> Image.Image: ...
@overload
def denoise(image: Picture, *arguments: Any, **options: Any) -> Picture: ...
def denoise(
    image: AnyPath | Image.Image | np.ndarray | Tensor | photos.Photo,
    sigma: float | None = None,
    *,
    model: str | None = None,
    precision: str = "exact",
    tile: int | None = None,
    self_ensemble: bool = False,
    device: str | torch.device | None = None,
) -> Image.Image | np.ndarray | Tensor | photos.Photo:
    """Take Gaussian noise out of a picture, of any strength.

    Parameters
    ----------
    image
        See the module's first lines; at least 12 x 12 pixels.
    sigma : float, optional
        Standard deviation of the noise in levels of 255: less of it keeps more detail, and below 1.5, which is not
        seen, the picture stays as it is. By default it is estimated from each picture
        (:func:`restore_lib.noise.estimate`).
    model : str, optional
        A checkpoint of a denoiser; by default the one for all strengths. Those for one strength do not heed ``sigma``.
    precision : {"exact", "bf16"}
        ``"bf16"`` multiplies in bfloat16 where the device does that natively.
    tile : int, optional
        Side of the windows in which a large picture is computed, from 128 pixels on; smaller ones need less memory.
    self_ensemble : bool
        The mean over the eight ways of turning and mirroring the picture: a little better, eight times slower.
    device : optional
        A GPU where there is one, by default.

    Raises
    ------
    ImageError
        The picture cannot be read, is too small, holds NaN, or ``sigma`` lies outside [0, 255].
    CheckpointError
        ``model`` does not exist, or is no denoiser.

    Warns
    -----
    ResultWarning
        The picture stays as it is; its noise is faint, or stronger than networks know; or ``model`` is for another
        strength.
    """
    options = {"precision": precision, "tile": tile, "self_ensemble": self_ensemble, "device": device}
    return _warned(denoised(image, sigma, model=model, **options))


def denoised(
    image: Any,
    sigma: float | None = None,
    *,
    model: str | None = None,
    precision: str = "exact",
    tile: int | None = None,
    self_ensemble: bool = False,
    device: str | torch.device | None = None,
) -> Restored:
    """As :func:`denoise`, with the strength that was taken (of several pictures the mean), and without warnings."""
    from restore_lib.denoising import denoise as through

    check_options(tile, device)
    source = photos.source(image)
    if sigma is not None and not (math.isfinite(sigma) and 0 <= sigma <= 255):
        raise ImageError(f"sigma is {sigma}: give a number from 0 to 255, or none to estimate it.")
    if min(source.rgb.shape[-2:]) < 12:
        raise ImageError(f"{source.name} is smaller than 12 x 12 pixels: choose a larger picture.")
    name = denoiser_for(model)
    found = [noise.estimate(one) if sigma is None else float(sigma) for one in source.rgb]
    levels = [level if level >= UNSEEN else 0.0 for level in found]
    level = sum(levels) / len(levels)
    guessed = sigma is None and 0 < level < UNSURE and any(map(_hard_to_tell, source.rgb))
    told = _strength_told(level, name, sigma is not None, guessed)
    said = f"sigma {level:.3g}{' (estimated)' if sigma is None else ''}, by {name}"
    if not any(levels):
        return Restored(source.restored(list(source.rgb)), said, told)
    network, tile = _ready(name, device), tile and tile // 4 * 4

    def one(noisy: Tensor, strength: float) -> Tensor:
        def clean(x: Tensor, turned: bool) -> Tensor:
            return through(network, x, min(strength, STRONGEST), tile=tile, precision=precision)

        return images.eight_ways(clean, noisy) if self_ensemble else clean(noisy, False)

    return Restored(source.restored(list(map(one, source.rgb, levels))), said, told)


def _hard_to_tell(rgb: Tensor) -> bool:
    return noise.from_jpeg(rgb) or bool((rgb == rgb[:1]).all())


def _strength_told(level: float, name: str, given: bool, guessed: bool) -> str:
    """What users should know of a strength that they gave, or that was estimated; empty where all is well."""
    from restore_lib.recipes import RECIPES

    own = getattr(RECIPES.get(checkpoints.card(name).recipe), "sigma", None)  # of networks for one strength
    if level == 0:
        return (
            f"No noise that can be seen is {'asked' if given else 'found'} to be taken out: the picture stays as it is."
        )
    if level > (1.25 * own if own else STRONGEST):
        return f"The noise has strength {level:.3g}, and {name} is for {own or STRONGEST:g}: some of it may stay."
    if own and level < 0.75 * own:
        return f"The noise has strength {level:.3g}, and {name} is for {own:g}: detail goes with it."
    if level < 2 * UNSEEN:
        return f"The noise is faint (strength {level:.3g}), and detail may go with it: below {UNSEEN:g} all stays."
    if guessed:
        return (
            f"Strength {level:.3g} is a guess: texture of grey and JPEG pictures looks like noise. Give less if needed."
        )
    return ""


def denoiser_for(model: str | None = None) -> str:
    """Name of the checkpoint that :func:`denoise` takes: ``model``, or the one for all strengths, trained longest.

    Raises
    ------
    CheckpointError
        ``model`` does not exist or is no denoiser; or no denoiser is installed.
    """
    if model is not None:
        _require(checkpoints.card(model), DENOISERS, "takes noise out of pictures")
        return model
    cards = longest(checkpoints.cards(), [ALL_STRENGTHS])
    if not cards:
        raise CheckpointError(f"There is no denoiser here yet: run `restore train {ALL_STRENGTHS} --keep`.")
    return cards[0].name


@overload
def upscale(image: AnyPath, *arguments: Any, **options: Any) -> Image.Image: ...
@overload
def upscale(image: Picture, *arguments: Any, **options: Any) -> Picture: ...
def upscale(
    image: AnyPath | Image.Image | np.ndarray | Tensor | photos.Photo,
    scale: float | None = None,
    *,
    size: tuple[int, int] | None = None,
    model: str = "diinn",
    precision: str = "exact",
    tile: int | None = None,
    self_ensemble: bool = False,
    keep_colours: bool = False,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> Image.Image | np.ndarray | Tensor | photos.Photo:
    """Enlarge a picture by any factor, or to any size.

    Parameters
    ----------
    image
        See the module's first lines.
    scale : float, optional
        Factor of height and width, at least 1; 4 by default. Networks for one scale, such as ``"realsr"``, take theirs.
    size : (int, int), optional
        Height and width of the result, instead of ``scale``.
    model : str
        ``"diinn"``, ``"liif"``, ``"metasr"``, the larger and slower ``"diinn-trunk"``, ``"realsr"``, or any checkpoint
        or published model that enlarges.
    precision : {"exact", "bf16"}
        ``"bf16"`` multiplies in bfloat16 where the device does that natively.
    tile, self_ensemble
        As for :func:`denoise`.
    keep_colours : bool
        Correct the result such that, reduced again, it has the picture's own colours: networks tint fine patterns.
    device : optional
        A GPU where there is one, by default.
    progress : callable, optional
        Called with (windows done, windows).

    Raises
    ------
    ImageError
        The picture cannot be read, or the result would be smaller than it or larger than
        ``restore_lib.images.MAX_PIXELS`` pixels.
    CheckpointError, DataError
        ``model`` does not exist, is not on this computer, or does not enlarge.
    """
    options = {"precision": precision, "tile": tile, "self_ensemble": self_ensemble, "keep_colours": keep_colours}
    return _warned(upscaled(image, scale, size=size, model=model, device=device, progress=progress, **options))


def upscaled(
    image: Any,
    scale: float | None = None,
    *,
    size: tuple[int, int] | None = None,
    model: str = "diinn",
    precision: str = "exact",
    tile: int | None = None,
    self_ensemble: bool = False,
    keep_colours: bool = False,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> Restored:
    """As :func:`upscale`, with the size of the result in words, and without warnings."""
    check_enlargement(scale, size)
    check_options(tile, device)
    name = upscaler_for(model)
    network = _ready(name, device)
    fixed = cast(int | None, getattr(network, "scale", None))  # networks for any scale have none
    if scale is not None and fixed not in (None, scale):
        raise ImageError(f"The scale is {scale:g}: {model} enlarges by {fixed} only.")
    factor = None if size else scale or fixed or 4.0
    if isinstance(image, AnyPath):  # by its header, before any memory is asked for
        check_enlargement(factor, size, *images.size(image), str(image))
    source = photos.source(image)
    height, width = source.rgb.shape[-2:]
    check_enlargement(factor, size, height, width, source.name)
    goal = size or (round(height * cast(float, factor)), round(width * cast(float, factor)))
    said = f"{goal[1]} x {goal[0]} pixels, by {name}"
    if fixed and goal != (fixed * height, fixed * width):
        raise ImageError(f"The size is {goal[1]}x{goal[0]}: {model} enlarges by {fixed} only, use scale {fixed}.")
    if goal == (height, width) and not fixed:  # the network would only blur it
        told = f"The size stays {width} x {height}: the picture is left as it is."
        return Restored(source.restored(list(source.rgb)), said, told)
    if not fixed and max(goal[0] / height, goal[1] / width) < LEAST_SCALE:
        told = f"By less than {LEAST_SCALE:g}, bicubic interpolation keeps more detail than {model}, and is taken."
        return Restored(source.restored([resampling.imresize(lr, size=goal) for lr in source.rgb]), said, told)

    options: dict[str, Any] = {"precision": precision, "progress": progress} | ({"tile": tile} if tile else {})

    def one(lr: Tensor) -> Tensor:
        def enlarge(x: Tensor, turned: bool) -> Tensor:
            return _enlarge(network, x, (goal[1], goal[0]) if turned else goal, **options)

        sr = (images.eight_ways(enlarge, lr) if self_ensemble else enlarge(lr, False)).to(lr)
        if not keep_colours:
            return sr
        return sr + resampling.imresize(lr - resampling.imresize(sr, size=(height, width)), size=goal)

    return Restored(source.restored(list(map(one, source.rgb))), said)


def _warned(restored: Restored) -> Any:
    if restored.warning:
        warnings.warn(restored.warning, ResultWarning, stacklevel=3)
    return restored.picture


def _ready(name: str, device: str | torch.device | None) -> nn.Module:
    """A network in its fastest form on a device; the last two are kept, as long as their files stay as they are."""
    places = [Path(name), *(folder / f"{name}.safetensors" for folder in checkpoints.search_folders())]
    stats = [path.stat() for path in (*places, published.imported().get(name, Path())) if path.is_file()]
    return _loaded(name, str(device or best_device()), tuple((stat.st_mtime_ns, stat.st_ino) for stat in stats))


@lru_cache(maxsize=2)
def _loaded(name: str, device: str, files: tuple) -> nn.Module:
    from restore_lib.fast.folding import folded

    network = load(name)
    return (folded(network) if type(network).__name__ in DENOISERS else network).to(device)


def _enlarge(network: nn.Module, lr: Tensor, size: tuple[int, int], **options: Any) -> Tensor:
    from restore_lib.fast import tiling as one_scale
    from restore_lib.implicit import DIINN, LIIF, MetaSR, inference

    if isinstance(network, (DIINN, LIIF, MetaSR)):
        return inference.upscale(network, lr, size, **options)
    return one_scale.upscale(network, lr, **options)


def check_options(tile: int | None, device: str | torch.device | None) -> None:
    """Refuse windows that are too small, and devices that this computer lacks.

    Raises
    ------
    ImageError, RestoreError
        The sentence says what to give.
    """
    if tile is not None and tile < LEAST_TILE:
        raise ImageError(f"The tile is {tile}: give {LEAST_TILE} pixels or more, or none.")
    try:
        known = torch.empty(0, device=device or best_device()).device.type != "meta"
    except (RuntimeError, AssertionError, TypeError, ValueError):  # torch has no one kind for what it lacks
        known = False
    if not known:
        raise RestoreError(f"There is no device {device} here: choose {' or '.join({'cpu': 0, best_device(): 0})}.")


def check_enlargement(
    scale: float | None, size: tuple[int, int] | None, height: int = 1, width: int = 1, name: str = "The picture"
) -> None:
    """Refuse an enlargement of ``height`` x ``width`` pixels that is none, or that is too large.

    Raises
    ------
    ImageError
        The sentence says which number to change.
    """
    if scale is not None and size is not None:
        raise ImageError("Give a scale or a size, not both: each says how large the result is.")
    if scale is not None and not (math.isfinite(scale) and scale >= 1):
        raise ImageError(f"The scale is {scale:g}: give a number from 1 on, as these networks only enlarge.")
    if scale is not None and scale > math.sqrt(images.MAX_PIXELS / (height * width)):
        raise ImageError(
            f"{name} has {width} x {height} pixels, and {scale:g} times higher and wider is more than the largest "
            f"picture of {images.MAX_PIXELS:,} pixels: choose a smaller scale, or use a smaller image."
        )
    if size is not None and min(size) < 1:
        raise ImageError(f"The size is {size[1]}x{size[0]}: give a height and a width of at least one pixel.")
    if size is not None and size[0] * size[1] > images.MAX_PIXELS:
        raise ImageError(
            f"The size is {size[1]}x{size[0]}, more than the largest picture of {images.MAX_PIXELS:,} pixels: choose "
            "less."
        )
    if size is not None and (height > size[0] or width > size[1]):
        raise ImageError(
            f"The size is {size[1]}x{size[0]}, but {name} has {width} x {height} pixels: choose a size that is no "
            "smaller, as these networks only enlarge."
        )


def upscaler_for(model: str) -> str:
    """Name of the checkpoint or published model that :func:`upscale` takes for a name.

    A recipe's name, such as ``"diinn"``, gives the checkpoint of its longest training.

    Raises
    ------
    CheckpointError, DataError
        There is none, or it does not enlarge pictures.
    """
    name = published.SHORT_NAMES.get(model, model)
    cards = [card for card in checkpoints.cards() if name in (card.recipe, card.name)]
    enlarging = [card for card in cards if enlarges(card)]
    if enlarging:
        return max(enlarging, key=lambda card: (tiers.TIERS.index(card.tier), card.steps, -(card.seed or 0))).name
    if cards:
        _require(cards[0], (*ANY_SCALE, *ONE_SCALE), "enlarges pictures")
    theirs = {*published.PUBLISHED, *published.imported()}
    if name in theirs:
        return name
    if name in (short.lower() for short in ANY_SCALE):
        raise CheckpointError(f"There is no checkpoint of {name} here yet: run `restore train {name} --keep`.")
    ours = {word for card in checkpoints.cards() if enlarges(card) for word in (card.recipe, card.name)}
    near = get_close_matches(name, sorted({*theirs, *published.SHORT_NAMES, *ours}), n=1)
    hint = f"did you mean {near[0]}?" if near else "choose one of diinn, liif, metasr, realsr, realesrgan."
    raise DataError(f"There is no model {name}: {hint}")


def enlarges(card: Card) -> bool:
    """Whether a checkpoint's network makes pictures larger."""
    scale = cast(dict, card.architecture["arguments"]).get("scale", 4)
    return card.network in ANY_SCALE or (card.network in ONE_SCALE and scale is not None and scale > 1)


def _require(card: Card, networks: tuple[str, ...], purpose: str) -> None:
    """Refuse a checkpoint whose network is of another kind."""
    if card.network not in networks:
        fitting = [c.name for c in checkpoints.cards() if c.network in networks]
        some = ", ".join(fitting[:6]) + (", ..." if len(fitting) > 6 else "")
        raise CheckpointError(f"{card.name} is of the kind {card.network}: choose one that {purpose}, such as {some}.")


def estimate_kernel(
    image: AnyPath | Image.Image | np.ndarray | Tensor | photos.Photo,
    scale: int = 2,
    *,
    seed: int = 0,
    restarts: int = 1,
    steps: int = 3000,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> "KernelEstimate":
    """Estimate the blur that a picture was, or could have been, reduced with, by KernelGAN.

    Of a large picture the window of at most 1,024 x 1,024 pixels with the strongest edges is used.

    Parameters
    ----------
    image
        See the module's first lines; one picture.
    scale : {2, 4}
        Factor of the reduction.
    seed, restarts, steps : int
        Equal seeds give equal kernels on the same computer; of several restarts the average is taken.
    device : optional
        A GPU where there is one, by default.
    progress : callable, optional
        Called with (steps done, steps).

    Returns
    -------
    KernelEstimate
        ``kernel`` is a correlation kernel with sum 1; ``diagnostics`` says whether to trust it.

    Raises
    ------
    ImageError
        The picture cannot be read, is too small or flat, or a number lies outside its range.
    """
    from restore_lib import realsr

    check_estimation(scale, seed, restarts, steps)
    rgb = photos.source(image).rgb
    if len(rgb) != 1:
        raise ImageError(f"A batch of {len(rgb)} pictures: give one picture at a time.")
    # the phases keep their shares of a shorter estimation; a whole photo has no border to cut off
    settings = realsr.KernelSettings(
        steps=steps, check_every=max(steps // 15, 1), rate_every=max(steps // 4, 1), shave=0
    )
    window = images.sharpest_window(rgb[0])
    device = device or best_device()
    return realsr.estimate_kernel(window, scale, seed, restarts, settings=settings, device=device, progress=progress)


def check_estimation(scale: int, seed: int, restarts: int, steps: int) -> None:
    """Refuse numbers that :func:`estimate_kernel` cannot take.

    Raises
    ------
    ImageError
        The sentence says which number to change.
    """
    for name, value, least in (("steps", steps, 1), ("restarts", restarts, 1), ("seed", seed, 0)):
        if value < least:
            raise ImageError(f"{name} is {value}: give a whole number from {least} on.")
    if scale not in (2, 4):
        raise ImageError(f"The scale is {scale}: give 2 or 4.")
