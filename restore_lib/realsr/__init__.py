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

from restore_lib.nets.rrdbnet import RRDBNet, interpolate_networks
from restore_lib.realsr.degradation import (
    TRACK1,
    TRACK2,
    Degradation,
    PairedData,
    Track,
    algorithm_1,
    clean_up,
    read_pairs,
    write_pairs,
)
from restore_lib.realsr.kernelgan import (
    KernelDiscriminator,
    KernelGenerator,
    KernelSettings,
    estimate_kernel,
    estimate_kernels,
)
from restore_lib.realsr.kernels import KernelEstimate, KernelWarning
from restore_lib.realsr.losses import (
    LossWeights,
    PatchDiscriminator,
    VGGDiscriminator,
    discriminator_loss,
    generator_loss,
    l1_loss,
    perceptual_loss,
    stage_1_step,
    stage_2_step,
)
from restore_lib.realsr.noise_pool import NoisePool, NoiseRule, collect
from restore_lib.realsr.zssr import ZSSRNet, ZSSRResult, ZSSRSettings, k_zssr

__all__ = [
    "TRACK1",
    "TRACK2",
    "Degradation",
    "KernelDiscriminator",
    "KernelEstimate",
    "KernelGenerator",
    "KernelSettings",
    "KernelWarning",
    "LossWeights",
    "NoisePool",
    "NoiseRule",
    "PairedData",
    "PatchDiscriminator",
    "RRDBNet",
    "Track",
    "VGGDiscriminator",
    "ZSSRNet",
    "ZSSRResult",
    "ZSSRSettings",
    "algorithm_1",
    "clean_up",
    "collect",
    "discriminator_loss",
    "estimate_kernel",
    "estimate_kernels",
    "generator_loss",
    "interpolate_networks",
    "k_zssr",
    "l1_loss",
    "perceptual_loss",
    "read_pairs",
    "stage_1_step",
    "stage_2_step",
    "write_pairs",
]
