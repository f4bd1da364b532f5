"""Paper B, real-world super-resolution by estimated kernels and collected noise [ji2020realsr].

And what it builds on: KernelGAN [bellkligler2019kernelgan], ZSSR [shocher2018zssr] and ESRGAN [wang2018esrgan].

- Sec. 3.2, estimated kernels: ``kernelgan``, ``kernel_crops``, ``kernels``
- Sec. 3.3, collected noise: ``noise_pool``
- Algorithm 1, training pairs: ``degradation``
- Sec. 3.4, the training: ``losses`` (with discriminators and training steps); the network: ``nets.rrdbnet``
- Table 1: ``recipes``, on photos of the ``hidden_camera``; its other methods: ``zssr``, and ``dsgan``, which learns
  the degradation
- One's own photos: ``adapt``, all of it from published weights
"""

from restore_lib.nets.rrdbnet import RRDBNet
from restore_lib.realsr.degradation import TRACK1, TRACK2, algorithm_1, read_pairs, write_pairs
from restore_lib.realsr.kernelgan import (
    KernelDiscriminator,
    KernelGenerator,
    KernelSettings,
    estimate_kernel,
    estimate_kernels,
)
from restore_lib.realsr.kernels import KernelEstimate, KernelWarning
from restore_lib.realsr.losses import PatchDiscriminator, VGGDiscriminator
from restore_lib.realsr.zssr import k_zssr

__all__ = [
    "TRACK1",
    "TRACK2",
    "KernelDiscriminator",
    "KernelEstimate",
    "KernelGenerator",
    "KernelSettings",
    "KernelWarning",
    "PatchDiscriminator",
    "RRDBNet",
    "VGGDiscriminator",
    "algorithm_1",
    "estimate_kernel",
    "estimate_kernels",
    "k_zssr",
    "read_pairs",
    "write_pairs",
]
