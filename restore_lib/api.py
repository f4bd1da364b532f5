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
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from restore_lib import images, noise, photos, resampling, tiers
from restore_lib.errors import CheckpointError, DataError, ImageError, ResultWarning
from restore_lib.pretrained import Card, checkpoints, longest, published
from restore_lib.training.precision import best_device

if TYPE_CHECKING:
    from restore_lib.realsr import KernelEstimate

Path = str | os.PathLike
Picture = TypeVar("Picture", Image.Image, np.ndarray, Tensor, photos.Photo)
Progress = Callable[[int, int], None]

DENOISERS = ("Denoiser", "DnCNN")
ALL_STRENGTHS, STRONGEST = "denoiser-all", 75.0  # the recipe, and the strongest noise that it is for
LEAST_SCALE = 1.08  # networks for any scale lose more than they add below
UNSEEN = 1.5  # levels of 255: weaker noise is not seen, and estimates of photos without any reach as far
ANY_SCALE = ("DIINN", "LIIF", "MetaSR")
ONE_SCALE = ("RRDBNet", "EDSR")


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
def denoise(image: Path, *arguments: Any, **options: Any) -> Image.Image: ...
@overload
def denoise(image: Picture, *arguments: Any, **options: Any) -> Picture: ...
def denoise(
    image: Path | Image.Image | np.ndarray | Tensor | photos.Photo,
    sigma: float | None = None,
    *,
    model: str | None = None,
    precision: str = "exact",
    device: str | torch.device | None = None,
) -> Image.Image | np.ndarray | Tensor | photos.Photo:
    """Take Gaussian noise out of a picture, of any strength.

    Parameters
    ----------
    image
        See the module's first lines; at least 12 x 12 pixels.
    sigma : float, optional
        Standard deviation of the noise in levels of 255: less of it keeps more detail, and below 1 the picture stays as
        it is. By default it is estimated from each picture (:func:`restore_lib.noise.estimate`), and noise below 1.5
        counts as none.
    model : str, optional
        A checkpoint of a denoiser; by default the one for all strengths. Those for one strength do not heed ``sigma``.
    precision : {"exact", "bf16"}
        ``"bf16"`` multiplies in bfloat16 where the device does that natively.
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
    return denoised(image, sigma, model=model, precision=precision, device=device)[0]


def denoised(
    image: Any,
    sigma: float | None = None,
    *,
    model: str | None = None,
    precision: str = "exact",
    device: str | torch.device | None = None,
) -> tuple[Any, float]:
    """As :func:`denoise`; also the sigma that was taken, of several pictures the mean."""
    from restore_lib.denoising import denoise as through
    from restore_lib.fast.folding import folded

    source = _read(image)
    if sigma is not None and not (math.isfinite(sigma) and 0 <= sigma <= 255):
        raise ImageError(f"sigma is {sigma}: give a number from 0 to 255, or none to estimate it.")
    if min(source.rgb.shape[-2:]) < 12:
        raise ImageError(f"{source.name} is smaller than 12 x 12 pixels: choose a larger picture.")
    name = denoiser_for(model)
    if sigma is None:
        found = [noise.estimate(one) for one in source.rgb]
        levels = [level if level >= UNSEEN else 0.0 for level in found]
    else:
        levels = [float(sigma) if sigma >= 1 else 0.0] * len(source.rgb)
    level = sum(levels) / len(levels)
    if told := _strength_told(level, name, sigma is not None):
        warnings.warn(told, ResultWarning, stacklevel=3)
    if not any(levels):
        return source.restored(list(source.rgb)), 0.0
    network = folded(checkpoints.load(name)).to(device or best_device())
    pairs = zip(source.rgb, levels, strict=True)
    results = [through(network, one, min(told, STRONGEST), precision=precision) for one, told in pairs]
    return source.restored(results), level


def _strength_told(level: float, name: str, given: bool) -> str:
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
    if not given and level < 2 * UNSEEN:
        return f"The noise seems to be faint (strength {level:.3g}): if detail goes with it, give a smaller sigma."
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
def upscale(image: Path, *arguments: Any, **options: Any) -> Image.Image: ...
@overload
def upscale(image: Picture, *arguments: Any, **options: Any) -> Picture: ...
def upscale(
    image: Path | Image.Image | np.ndarray | Tensor | photos.Photo,
    scale: float | None = None,
    *,
    size: tuple[int, int] | None = None,
    model: str = "diinn",
    precision: str = "exact",
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
        ``"diinn"``, ``"liif"``, ``"metasr"``, ``"realsr"``, or any checkpoint or published model that enlarges.
    precision : {"exact", "bf16"}
        ``"bf16"`` multiplies in bfloat16 where the device does that natively.
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
    check_enlargement(scale, size)
    network = load(upscaler_for(model))
    fixed = getattr(network, "scale", None)  # networks for any scale have none
    if scale is not None and fixed not in (None, scale):
        raise ImageError(f"The scale is {scale:g}: {model} enlarges by {fixed} only.")
    factor = None if size else scale or fixed or 4.0
    if isinstance(image, Path):  # by its header, before any memory is asked for
        height, width = images.size(image)
        check_enlargement(factor, size, height, width, str(image))
    source = _read(image)
    height, width = source.rgb.shape[-2:]
    check_enlargement(factor, size, height, width, source.name)
    goal = size or (round(height * cast(float, factor)), round(width * cast(float, factor)))
    if fixed and goal != (fixed * height, fixed * width):
        raise ImageError(f"The size is {goal[1]}x{goal[0]}: {model} enlarges by {fixed} only, use scale {fixed}.")
    if goal == (height, width) and not fixed:  # the network would only blur it
        warnings.warn(f"The size stays {width} x {height}: the picture is left as it is.", ResultWarning, stacklevel=2)
        return source.restored(list(source.rgb))
    if not fixed and max(goal[0] / height, goal[1] / width) < LEAST_SCALE:
        words = f"By less than {LEAST_SCALE:g}, bicubic interpolation keeps more detail than {model}, and is taken."
        warnings.warn(words, ResultWarning, stacklevel=2)
        return source.restored([resampling.imresize(one, size=goal).clamp(0, 1) for one in source.rgb])
    network.to(device or best_device())
    results = [_enlarge(network, one, goal, precision, progress).to(one) for one in source.rgb]
    if keep_colours:
        results = [
            sr + resampling.imresize(lr - resampling.imresize(sr, size=(height, width)), size=goal)
            for lr, sr in zip(source.rgb, results, strict=True)
        ]
    return source.restored(results)


def _enlarge(
    network: nn.Module, lr: Tensor, size: tuple[int, int], precision: str, progress: Progress | None
) -> Tensor:
    from restore_lib.fast import tiling as one_scale
    from restore_lib.implicit import DIINN, LIIF, MetaSR, inference

    if isinstance(network, (DIINN, LIIF, MetaSR)):
        return inference.upscale(network, lr, size, precision=precision, progress=progress)
    return one_scale.upscale(network, lr, precision=precision, progress=progress)


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
    image: Path | Image.Image | np.ndarray | Tensor | photos.Photo,
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
    rgb = _read(image).rgb
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


@dataclass(frozen=True)
class _Source:
    """A picture as the networks want it, and how to give a result back in its kind.

    Attributes
    ----------
    rgb : Tensor
        (B, 3, H, W) in [0, 1].
    name : str
        For messages.
    """

    rgb: Tensor
    name: str
    back: Callable[[Tensor], Any]

    def restored(self, results: list[Tensor]) -> Any:
        """The results, clipped to [0, 1], as the kind of picture that came in; what was grey is grey."""
        grey = [bool((one == one[:1]).all()) for one in self.rgb]  # networks of colours would tint it
        results = [r.mean(0, keepdim=True).expand_as(r) if g else r for r, g in zip(results, grey, strict=True)]
        return self.back(torch.stack(results).clamp(0, 1))


def _read(image: object) -> _Source:
    """Any kind of picture as a float tensor (B, 3, H, W) in [0, 1].

    Raises
    ------
    ImageError
        It is of no kind that is known, or its numbers lie outside [0, 1].
    """
    if isinstance(image, Path):
        return _read_photo(photos.read(image), str(image), photos.to_picture)
    if isinstance(image, Image.Image):
        return _read_photo(photos.of_picture(image), "The picture", photos.to_picture)
    if isinstance(image, photos.Photo):
        return _read_photo(image, "The picture", lambda photo: photo)
    if isinstance(image, np.ndarray):
        return _read_array(image)
    if isinstance(image, Tensor):
        return _read_tensor(image)
    raise ImageError(f"A {type(image).__name__} is no picture: give a path, a PIL image, a NumPy array or a tensor.")


def _read_photo(photo: photos.Photo, name: str, kind: Callable[[photos.Photo], Any]) -> _Source:
    def back(sr: Tensor) -> Any:
        size, alpha = sr.shape[-2:], photo.alpha
        if alpha is not None and alpha.shape[1:] != size:
            alpha = resampling.imresize(alpha, size=size).clamp(0, 1)
        return kind(replace(photo, image=sr[0, : len(photo.image)].cpu(), alpha=alpha))

    return _Source(photo.rgb[None], name, back)


def _read_array(array: np.ndarray) -> _Source:
    if array.ndim not in (2, 3) or array.shape[2:] not in ((), (1,), (3,)) or array.size == 0:
        raise ImageError(f"An array of shape {array.shape} is no picture: give (H, W, 3) in RGB, or (H, W) in grey.")
    if array.dtype.kind not in "uf" or array.dtype.itemsize > (2 if array.dtype.kind == "u" else 8):
        raise ImageError(f"An array of {array.dtype} is no picture: give uint8, uint16, or floats in [0, 1].")
    peak = float(np.iinfo(array.dtype).max) if array.dtype.kind == "u" else 1.0
    planes = torch.from_numpy(np.moveaxis(array.reshape(*array.shape[:2], -1), -1, 0).astype(np.float32) / peak)
    source = _read_tensor(planes)

    def back(sr: Tensor) -> np.ndarray:
        values = cast(Tensor, source.back(sr)).permute(1, 2, 0).cpu().numpy()  # (H, W, C)
        values = values.reshape(*values.shape[:2], *array.shape[2:])
        return (values * peak).round().astype(array.dtype) if peak > 1 else values.astype(array.dtype)

    return _Source(source.rgb, "The picture", back)


def _read_tensor(image: Tensor) -> _Source:
    batch = image if image.ndim == 4 else image[None]
    if image.ndim not in (3, 4) or batch.shape[1] not in (1, 3) or image.numel() == 0:
        shape = tuple(image.shape)
        raise ImageError(f"A tensor of shape {shape} is no picture: give (3, H, W), (1, H, W) or (B, 3, H, W).")
    if image.dtype != torch.uint8 and not image.is_floating_point():
        raise ImageError(f"A tensor of {image.dtype} is no picture: give floats in [0, 1], or uint8.")
    values = batch.float() / 255 if image.dtype == torch.uint8 else batch.float()
    if not (torch.isfinite(values).all() and values.min() >= -1 and values.max() <= 2):  # noise may leave [0, 1]
        raise ImageError("The picture holds numbers far from [0, 1], or NaN: divide levels of 0 to 255 by 255 first.")

    def back(sr: Tensor) -> Tensor:
        sr = sr.mean(1, keepdim=True) if batch.shape[1] == 1 else sr
        sr = (sr * 255).round() if image.dtype == torch.uint8 else sr
        sr = sr.to(image.device, image.dtype)
        return sr if image.ndim == 4 else sr[0]

    return _Source(values.expand(-1, 3, -1, -1), "The picture", back)
