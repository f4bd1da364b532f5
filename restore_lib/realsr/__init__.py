"""Paper B, real-world super-resolution by estimated kernels and collected noise [ji2020realsr].

And what it builds on: KernelGAN [bellkligler2019kernelgan] and ZSSR [shocher2018zssr].
"""

from restore_lib.realsr.authors import load_author_weights
from restore_lib.realsr.kernel_estimation import KernelEstimate, KernelWarning, estimate_kernel, estimate_kernels
from restore_lib.realsr.kernel_losses import KernelSettings
from restore_lib.realsr.kernelgan import KernelDiscriminator, KernelGenerator

__all__ = [
    "KernelDiscriminator",
    "KernelEstimate",
    "KernelGenerator",
    "KernelSettings",
    "KernelWarning",
    "estimate_kernel",
    "estimate_kernels",
    "load_author_weights",
]
