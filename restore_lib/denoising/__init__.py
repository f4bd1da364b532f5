"""Paper A: image denoising that meets high-level vision [liu2018denoising], and what it is compared with.

- Sec. 2.1, Fig. 2, the denoiser at three scales, and whole photos through it: ``denoiser.py``
- Sec. 2.2, the denoiser before a frozen vision network: ``cascade.py``
- Sec. 2.2, Eq. 2, the losses L_D and L_H, their sum, and one training step of each kind: ``losses.py``
- Sec. 4, Table 1: ``recipes.py``; Tables 2 and 3: ``vision_recipes.py``
- compared with: ``baselines.py``, wavelets and CBM3D; ``dncnn.py``, DnCNN [zhang2017dncnn]
"""

from restore_lib.denoising.cascade import Cascade, freeze, task_gradient
from restore_lib.denoising.denoiser import Denoiser, denoise, same_size
from restore_lib.denoising.dncnn import DnCNN
from restore_lib.denoising.losses import (
    classification_loss,
    denoising_loss,
    denoising_step,
    joint_step,
    segmentation_loss,
    vision_step,
)

__all__ = [
    "Cascade",
    "Denoiser",
    "DnCNN",
    "classification_loss",
    "denoise",
    "denoising_loss",
    "denoising_step",
    "freeze",
    "joint_step",
    "same_size",
    "segmentation_loss",
    "task_gradient",
    "vision_step",
]
