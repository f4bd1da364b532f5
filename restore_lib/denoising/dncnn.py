"""DnCNN: a plain stack of convolutions that predicts the noise [zhang2017dncnn]."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from restore_lib import files
from restore_lib.nets.vgg import read_weights
from restore_lib.pretrained import load_author_weights


class DnCNN(nn.Module):
    """Residual denoiser (Sec. III, Fig. 1) of ``depth`` convolutions, which sees ``2 * depth + 1`` pixels each way.

    ``width`` channels lie between them. ``norm`` puts batch norm after all but the first and the last, as in the paper.
    """

    def __init__(self, depth: int = 17, width: int = 64, channels: int = 3, norm: bool = True):
        super().__init__()
        if depth < 2:
            raise ValueError(f"depth must be at least 2 (a first and a last convolution), got {depth}")
        inputs, outputs = [channels, *[width] * (depth - 1)], [*[width] * (depth - 1), channels]
        inner = [False, *[norm] * (depth - 2), False]
        layers = zip(inputs, outputs, inner, strict=True)
        convs = [nn.Conv2d(i, o, 3, padding=1, bias=not normed) for i, o, normed in layers]
        self.convs = nn.ModuleList(convs)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) if normed else nn.Identity() for normed in inner)
        for conv in convs:
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)
        nn.init.normal_(convs[-1].weight, std=1e-3)  # ours: start close to leaving the image as it is

    def forward(self, noisy: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Denoise colours in [0, 1]; the noise is neither clipped nor rounded."""
        noise = noisy
        for conv, norm in zip(self.convs[:-1], self.norms[:-1], strict=True):
            noise = torch.relu(norm(conv(noise)))  # (b, width, h, w)
        return noisy - self.convs[-1](noise)  # Eq. 1: the network learns the noise


BLIND = "64a7b96fb11116ebefb1fc4e7ad60b67fbb43d693ea8dcce1ce12b1b4865901e"
FOR_25 = "f11c8eb5e1e59a8ba8ca6b0bf50e5e01a4ed101b67023f83c596d25311b3842f"
#: The authors' networks for colour photos, with batch norm folded into the convolutions, by their use.
AUTHORS = {
    "blind": files.KnownFile("dncnn_color/cdncnn_b_color_blind.pth", BLIND),
    "25": files.KnownFile("dncnn_color/cdncnn_s25_color.pth", FOR_25),
}


def author_network(use: str) -> DnCNN:
    """DnCNN with its authors' weights: ``"25"`` for that sigma, ``"blind"`` for any up to 55, or DataError."""
    file, network = AUTHORS[use], DnCNN(depth=20, norm=False)
    put = "put them into the folder that RESTORE_DATA names"
    missing = f"The authors' weights are not on this computer: {put}, as {file.path}."
    load_author_weights(network, read_weights(file, missing, "get it anew."))
    return network.eval()
