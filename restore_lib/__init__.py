"""Image restoration, taught by rebuilding three papers: denoising for vision, RealSR, and DIINN.

::

    import restore_lib as rl

    clean = rl.denoise("photo.png")                  # the noise is estimated
    large = rl.upscale("photo.png", 2.7)             # DIINN, at any scale
    blur = rl.estimate_kernel("photo.png").kernel    # KernelGAN
    rl.adapt("photos/", "my-camera")                 # RealSR, for one's own camera: model="my-camera"
    network = rl.load("diinn-cpu")                   # any checkpoint, by name
    pairs = rl.batch.plan(["photos"], "-x4")         # a folder of photos; rl.batch.restore restores them

A picture is a path, a PIL image, a NumPy array or a tensor, and the result is of the same kind. Everything else lies
in modules, which are imported when they are first used: ``rl.data``, ``rl.images``, ``rl.metrics``, ``rl.noise``,
``rl.resampling``, and a room for each paper, ``rl.denoising``, ``rl.realsr`` and ``rl.implicit``.
"""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    import restore_lib.batch as batch
    from restore_lib import data, denoising, images, implicit, metrics, noise, plots, pretrained, realsr, resampling
    from restore_lib.api import denoise, estimate_kernel, load, upscale
    from restore_lib.realsr.adapt import adapt

__all__ = ["__version__", "adapt", "batch", "data", "denoise", "denoising", "estimate_kernel", "images", "implicit"]
__all__ += ["load", "metrics", "noise", "plots", "pretrained", "realsr", "resampling", "upscale"]

FUNCTIONS = {"adapt": "realsr.adapt"} | dict.fromkeys(("denoise", "estimate_kernel", "load", "upscale"), "api")


def __getattr__(name: str):
    """Import what is asked for: torch takes seconds, and not every use of the package needs it."""
    if name in FUNCTIONS:
        return getattr(importlib.import_module(f"restore_lib.{FUNCTIONS[name]}"), name)
    if name in __all__:
        return importlib.import_module(f"restore_lib.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
