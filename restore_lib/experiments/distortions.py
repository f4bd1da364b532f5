"""Seven ways to be equally wrong: distortions of one photo that share the same mean squared error."""

import torch
from jaxtyping import Float
from torch import Tensor

from restore_lib import metrics, noise, resampling
from restore_lib.experiments.evaluation import EvaluationProtocol

NAMES = ("shift", "brighter", "less contrast", "noise", "blur", "JPEG", "hole")
PLAIN = metrics.Protocol(channels="rgb", border=0, quantize=False)
SIDE = 256


def equal_error(image: Float[Tensor, "3 h w"], seed: int = 0) -> dict[str, Float[Tensor, "3 h w"]]:
    """Distort an image in seven ways, each with exactly the squared error of a shift by one pixel.

    A distortion is an error image added to the photo. The error of "shift" is what it is; every other one is scaled
    until its mean square agrees, so PSNR on all pixels cannot tell the results apart.

    Parameters
    ----------
    image
        Values that leave room, for instance within [0.15, 0.85]: results are not clipped.
    seed
        Of the noise.

    Returns
    -------
    dict
        Distorted images by name, ``"shift"`` first.
    """
    wide = torch.ones(5, 5, dtype=image.dtype) / 25
    hole = torch.zeros_like(image)
    top, left = image.shape[-2] // 4, image.shape[-1] // 4
    hole[:, top : top + image.shape[-2] // 6, left : left + image.shape[-1] // 6] = 1
    generator = torch.Generator().manual_seed(seed)
    errors = {
        "shift": image.roll(1, dims=-1) - image,
        "brighter": torch.ones_like(image),
        "less contrast": image.mean() - image,
        "noise": noise.gaussian(torch.zeros_like(image), 25, generator),
        "blur": resampling.downscale(image, wide, 1) - image,
        "JPEG": noise.jpeg(image, 8) - image,
        "hole": hole * (image.mean() - image),
    }
    target = errors["shift"].square().mean()
    return {name: image + error * (target / error.square().mean()).sqrt() for name, error in errors.items()}


def portrait(image: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 side side"]:
    """The middle of a photo's upper 256 rows, 256 pixels wide, with its values drawn in to [0.15, 0.85].

    Raises
    ------
    ValueError
        The photo is smaller than that.
    """
    height, width = image.shape[-2:]
    if min(height, width) < SIDE:
        raise ValueError(f"the photo has {height} x {width} pixels: take one of at least {SIDE} x {SIDE}")
    left = (width - SIDE) // 2
    return 0.15 + 0.7 * image[:, :SIDE, left : left + SIDE]


def distorted_pair(item, value: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Distortion number ``value`` of an item's portrait, and the portrait."""
    clean = portrait(item.image)
    return equal_error(clean)[NAMES[int(value)]], clean


def three_metrics(restored: Tensor, clean: Tensor, value: float) -> dict[str, float]:
    """PSNR and SSIM on all RGB values, neither clipped nor rounded; LPIPS with two networks."""
    return {
        "psnr": metrics.psnr(restored, clean, PLAIN),
        "ssim": metrics.ssim(restored, clean, PLAIN),
        "lpips_alex": metrics.lpips(restored, clean, net="alex"),
        "lpips_vgg": metrics.lpips(restored, clean, net="vgg"),
    }


PROTOCOL = EvaluationProtocol(
    name="equal-error",
    title="Seven distortions with the squared error of a shift by one pixel",
    rules={
        "original": "the middle of the upper 256 rows, 256 pixels wide, values drawn in by 3/20 from black and white",
        "distortions": "error images scaled to the mean square of the error of the shift; noise from seed 0",
        "measured on": "all RGB pixels, neither clipped nor rounded",
    },
    conditions={name: float(number) for number, name in enumerate(NAMES)},
    prepare=distorted_pair,
    measure=three_metrics,
)
