"""Seven ways to be equally wrong: distortions of one photo that share the same mean squared error."""

import torch
from jaxtyping import Float
from torch import Tensor

from restore_lib import noise, resampling


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
    height, width = image.shape[-2] // 6, image.shape[-1] // 6
    hole[:, 2 * height : 3 * height, 3 * width : 4 * width] = 1
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
