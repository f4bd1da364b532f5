"""The cascade F_H(F_D(y)): a denoiser before a frozen network that uses its result (Sec. 2.2) [liu2018denoising]."""

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from restore_lib.denoising.denoiser import same_size
from restore_lib.denoising.losses import VISION_LOSSES


class Cascade(nn.Module):
    """F_H(F_D(y)), for the ``denoiser`` F_D and the network ``vision`` F_H, which is frozen."""

    def __init__(self, denoiser: nn.Module, vision: nn.Module):
        super().__init__()
        self.denoiser, self.vision = denoiser, freeze(vision)

    def train(self, mode: bool = True) -> "Cascade":
        """Switch the denoiser; the vision network stays in evaluation mode."""
        super().train(mode)
        self.vision.eval()
        return self

    def forward(self, noisy: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b 3 h w"], Tensor]:
        """The denoised images, and what the vision network says of them."""
        denoised = same_size(self.denoiser, noisy)  # (b, 3, h, w)
        return denoised, self.vision(denoised)  # and (b, classes) or (b, classes, h, w)


def freeze(network: nn.Module) -> nn.Module:
    """Fix a network: no gradient for its weights, and in evaluation mode, so that no batch norm changes its statistics
    and no dropout drops anything. Gradients still pass through it to its input.
    """
    return network.requires_grad_(False).eval()


def task_gradient(
    vision: nn.Module, x: Float[Tensor, "b 3 h w"], targets: Integer[Tensor, "b *place"], task: str
) -> Float[Tensor, "b 3 h w"]:
    """What a frozen network asks a denoiser to change: minus the gradient of its loss with respect to the image."""
    x = x.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(VISION_LOSSES[task](vision(x), targets.long()), x)
    return -gradient
