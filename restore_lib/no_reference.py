"""How good a photo looks when there is nothing to compare it with: what can be measured, and what that is worth.

No index here knows what the photo should show. Each answers one narrow question, and a picture can be made that it
likes and nobody else does: use them to ask further, not to decide.
"""

from functools import cache

import numpy as np
from jaxtyping import Float
from torch import Tensor

from restore_lib import images
from restore_lib.errors import DataError

__all__ = ["blur", "brisque", "noise_level"]

Photo = Float[Tensor, "3 h w"]
BRISQUE_WINDOW = {"kernel_size": 7, "sigma": 7 / 6}
SMALLEST = 32  # below this there is little to take statistics of


def noise_level(image: Photo) -> float:
    """Standard deviation of white noise that would leave as much fine detail, in levels of 255.

    The median of the finest wavelet coefficients [donoho1994ideal], by scikit-image, as a mean over colours; a colour
    that is the same everywhere has 0. What is fine counts as noise whether a camera left it, a network invented it, or
    the scene has it; noise that was interpolated is no longer fine and counts as none.

    Parameters
    ----------
    image : Tensor
        RGB in [0, 1].
    """
    from skimage.restoration import estimate_sigma

    colours = (colour.double().numpy() for colour in image)  # one at a time: photos may be large
    return 255 / 3 * sum(float(estimate_sigma(colour)) for colour in colours if np.ptp(colour) > 0)


def blur(image: Photo) -> float:
    """How little changes when the photo is blurred once more: 0 sharp, 1 blurred [crete2007blur], by scikit-image.

    Noise and invented texture count as sharp.

    Parameters
    ----------
    image : Tensor
        RGB in [0, 1].

    Raises
    ------
    ValueError
        All pixels are equal: nothing can be blurred.
    """
    from skimage.measure import blur_effect

    array = image.permute(1, 2, 0).double().numpy()  # (h, w, 3)
    if (array == array[0, 0]).all():
        raise ValueError("the photo has one colour everywhere: it is neither sharp nor blurred")
    return float(blur_effect(array, channel_axis=-1))


def brisque(image: Photo) -> float:
    """BRISQUE [mittal2012brisque], lower is better: how usual the statistics of neighbouring pixels are.

    A regression that was trained on people's opinions of photos with noise, blur, JPEG and transmission errors; clean
    photos have 0 to 30, spoilt ones up to 100. It has seen no network's results: texture that a discriminator asked for
    can be usual without being right. Different implementations differ by several points. This one is of the package
    ``brisque``, which brings the regression with it and is not installed with this library.

    Parameters
    ----------
    image : Tensor
        RGB in [0, 1]; rounded to 8 bit first.

    Raises
    ------
    DataError
        The package ``brisque`` is not installed.
    ValueError
        The photo is smaller than 32 x 32, or has one colour everywhere.
    """
    model = _brisque()
    if min(image.shape[-2:]) < SMALLEST:
        raise ValueError(f"BRISQUE needs at least {SMALLEST} x {SMALLEST} pixels, got {tuple(image.shape[-2:])}")
    import cv2
    from skimage.color import rgb2gray

    grey = rgb2gray(images.to_uint8(image))  # (h, w) in [0, 1]
    if np.ptp(grey) == 0:
        raise ValueError("the photo has one colour everywhere: it has no statistics")
    half = cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_CUBIC)
    found = [value for scale in (grey, half) for value in model.calculate_brisque_features(scale, **BRISQUE_WINDOW)]
    # The package's own score() hands on arrays of one value, which NumPy 2.4 no longer takes for numbers.
    return float(model.calculate_image_quality_score(np.array([np.ravel(value)[0] for value in found], dtype=float)))


@cache
def _brisque():
    try:
        from brisque import BRISQUE
    except ImportError as error:
        raise DataError("BRISQUE needs a package that brings its regression: `pip install brisque`.") from error
    return BRISQUE(url=False)
