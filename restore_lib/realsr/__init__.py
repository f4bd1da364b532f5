"""Paper B, real-world super-resolution by estimated kernels and collected noise [ji2020realsr].

And what it builds on: KernelGAN [bellkligler2019kernelgan] and ZSSR [shocher2018zssr].
"""

from restore_lib.realsr.degradation import TRACK1, TRACK2, Degradation, Track, algorithm_1, clean_up
from restore_lib.realsr.discriminators import PatchDiscriminator, VGGDiscriminator
from restore_lib.realsr.kernelgan import (
    KernelDiscriminator,
    KernelGenerator,
    KernelSettings,
    estimate_kernel,
    estimate_kernels,
)
from restore_lib.realsr.kernels import KernelEstimate, KernelWarning
from restore_lib.realsr.noise_pool import NoisePool, NoiseRule, collect
from restore_lib.realsr.pairs import PairedData, read_pairs, write_pairs
from restore_lib.realsr.rrdbnet import RRDBNet, interpolate_networks
from restore_lib.realsr.zssr import ZSSRNet, ZSSRResult, k_zssr
from restore_lib.realsr.zssr_settings import ZSSRSettings

__all__ = [
    "TRACK1",
    "TRACK2",
    "Degradation",
    "KernelDiscriminator",
    "KernelEstimate",
    "KernelGenerator",
    "KernelSettings",
    "KernelWarning",
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
    "estimate_kernel",
    "estimate_kernels",
    "interpolate_networks",
    "k_zssr",
    "read_pairs",
    "write_pairs",
]
