"""Denoisers that paper A is compared with, or that came before: wavelets and CBM3D.

Each takes a noisy photo (3, H, W) with values around [0, 1] and sigma on the scale 0 to 255, and returns (3, H, W).
"""

import hashlib

import numpy as np
import torch
from jaxtyping import Float
from skimage import restoration
from torch import Tensor

from restore_lib import files, images
from restore_lib.errors import DataError, ImageError

Photo = Float[Tensor, "3 h w"]


def wavelets(noisy: Photo, sigma: float) -> Photo:
    """Wavelets shrunk by scikit-image's BayesShrink in YCbCr [chang2000], mean of 16 shifts; it estimates the noise."""
    array = _array(noisy)
    total = np.zeros_like(array)
    for down, right in np.ndindex(4, 4):
        shifted = np.roll(array, (down, right), axis=(0, 1))
        shrunk = restoration.denoise_wavelet(shifted, convert2ycbcr=True, channel_axis=-1, rescale_sigma=True)
        total = total + np.roll(shrunk, (-down, -right), axis=(0, 1))
    return _tensor(total / 16).to(noisy)


def cbm3d(noisy: Photo, sigma: float) -> Photo:
    """CBM3D [dabov2007color]: similar blocks are stacked, shrunk together in a transform, and put back.

    Its authors' package ``bm3d`` is not installed with this library (DataError). It takes half a minute a photo, so
    results, clipped to [0, 1] and rounded to 16 bits, are kept under a hash of the photo.
    """
    array = _array(noisy)
    content = hashlib.sha256(f"cbm3d {float(sigma)} {array.shape}".encode() + array.tobytes())
    path = files.cache_folder() / "cbm3d" / f"{content.hexdigest()[:32]}.png"
    if path.exists():
        try:
            return images.read(path).to(noisy)
        except ImageError:
            path.unlink()
    try:
        import bm3d  # pyright: ignore[reportMissingImports]  optional
    except ImportError as error:
        raise DataError("CBM3D's package is free for non-commercial use: `pip install bm3d`.") from error
    clean = _tensor(bm3d.bm3d_rgb(array.astype(np.float64), sigma / 255)).clamp(0, 1)
    clean = (clean * 65535).round() / 65535
    images.write(path, clean, bits=16)
    return clean.to(noisy)


def _array(image: Photo) -> np.ndarray:
    return np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy(), dtype=np.float32)


def _tensor(array: np.ndarray) -> Photo:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).permute(2, 0, 1)
