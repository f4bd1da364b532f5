"""KernelGAN's parts with their gradients written out, for several estimations at once.

Autograd finds the same gradients by way of hundreds of small operations, most of which cost more to start than to
compute. Where something is called ``of_x``, it is the gradient of x, or finds it. The first dimension is n, the
estimations. A *pass* is an image that a discriminator judges: it has its own statistics and its own power iteration.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from restore_lib.realsr.kernelgan import CROP, EPS, KERNEL_SIZE, PATCH, SMALL, TINY_MAP

PLACES = TINY_MAP**2  # 400, which a discriminator judges in an image


# generator


def compose_gradients(
    weights: list[Float[Tensor, "n _ _ _ _"]], partial: list[Float[Tensor, "n _ _ _"]], gradient: Float[Tensor, "n s s"]
) -> list[Tensor]:
    """Gradients of every layer's weights from the gradient of the kernel that they are together.

    Parameters
    ----------
    weights, partial : list of Tensor
        The layers, first one first, and what :func:`restore_lib.realsr.kernelgan.partial_kernels` gave for them.
    gradient : Tensor
        Of the whole kernel.
    """
    found, behind = [], gradient[:, None]  # (n, i, side, side)
    for weight, kernel in zip(weights[:-1], reversed(partial[:-1]), strict=True):
        n, o, i, k, _ = weight.shape
        # a cell of the layer and a cell of the kernel meet in one cell of their composition
        meeting = behind.unfold(2, k, 1).unfold(3, k, 1).permute(0, 2, 3, 1, 4, 5)  # (n, size, size, i, k, k)
        meeting = meeting.reshape(n, -1, i * k * k)
        found.append(torch.bmm(kernel.view(n, o, -1), meeting).view_as(weight))
        behind = torch.bmm(weight.view(n, o, -1), meeting.mT).view_as(kernel)
    return [*found, behind.reshape(weights[-1].shape)]


class Reduction:
    """Blurs crops with each estimation's kernel and halves them, in one matrix product.

    A row of the result sees 13 rows of the crop, end to end. What turns them into that row is a band matrix: each of
    its columns holds the kernel's cells, two pixels further down than the column before.

    Parameters
    ----------
    crops : Tensor
        (n, 3, 64, 64)
    """

    def __init__(self, crops: Float[Tensor, "n 3 64 64"]):
        rows = crops.unfold(2, KERNEL_SIZE, 2).transpose(3, 4)  # (n, 3, 26, 13, 64)
        self._rows = rows.reshape(len(crops), 3 * SMALL, KERNEL_SIZE * CROP)
        self._bands = crops.new_zeros(len(crops), KERNEL_SIZE, CROP, SMALL)

    def __call__(self, kernel: Float[Tensor, "n 13 13"]) -> Float[Tensor, "n 3 26 26"]:
        """The crops, reduced."""
        diagonals(self._bands).copy_(kernel[:, :, None])
        return torch.bmm(self._rows, self._bands.flatten(1, 2)).view(-1, 3, SMALL, SMALL)

    def of_kernel(self, of_result: Float[Tensor, "n 3 26 26"]) -> Float[Tensor, "n 13 13"]:
        """Gradient of the kernel from the gradient of the result."""
        bands = torch.bmm(self._rows.mT, of_result.view(len(of_result), -1, SMALL))  # (n, 13 64, 26)
        return diagonals(bands.view_as(self._bands)).sum(2)


def diagonals(bands: Float[Tensor, "n 13 64 26"]) -> Float[Tensor, "n 13 26 13"]:
    """View of the cells in the band, for each row of the kernel: cell j of column i lies at pixel 2 i + j."""
    per_kernel, per_row, per_pixel, per_column = bands.stride()
    return bands.as_strided(
        (len(bands), KERNEL_SIZE, SMALL, KERNEL_SIZE), (per_kernel, per_row, per_column + 2 * per_pixel, per_pixel)
    )


# discriminator


@dataclass
class Spectrum:
    """Largest singular value and its vectors as power iteration sees them, for each of some passes.

    Attributes
    ----------
    u, v : Tensor
        (n, ..., passes, rows) and (n, ..., passes, columns).
    value : Tensor
        (n, ..., passes).
    """

    u: Tensor
    v: Tensor
    value: Tensor

    def of(self, start: int, stop: int) -> "Spectrum":
        """Of some passes."""
        return Spectrum(self.u[..., start:stop, :], self.v[..., start:stop, :], self.value[..., start:stop])


def power_iterations(matrix: Float[Tensor, "n *m r c"], u: Float[Tensor, "n *m r"], passes: int) -> Spectrum:
    """One iteration for each pass, from u on."""
    us, vs = [u], []
    for _ in range(passes):
        # products and sums: for so small matrices, quicker than the libraries' batches of matrix times vector
        vs.append((matrix * us[-1][..., None]).sum(-2))
        us.append((matrix * vs[-1][..., None, :]).sum(-1))
    u, v = torch.stack(us[1:], -2), torch.stack(vs, -2)
    # an iteration's length carries over to the next, which does not turn its vectors
    u_length, v_length = (torch.linalg.vector_norm(x, dim=-1, keepdim=True) for x in (u, v))
    return Spectrum(u / u_length, v / v_length, (u_length / v_length)[..., 0])


class DiscriminatorWeights(NamedTuple):
    """Of n discriminators. The biases before a batch norm are left out: it takes them off again."""

    first: Float[Tensor, "n 64 147"]
    middle: Float[Tensor, "n 5 64 64"]
    last: Float[Tensor, "n 1 64"]
    bias: Float[Tensor, "n 1 1"]
    gamma: Float[Tensor, "n 5 64"]
    beta: Float[Tensor, "n 5 64"]


class Judgement:
    """The discriminators' maps of ``p`` images each, and the gradients of what follows from them.

    Three facts make it short. No activation lies between the first two layers: they are one matrix. Dividing a matrix
    by its singular value before a batch norm is the same as multiplying the norm's epsilon by the value's square. And a
    matrix that is not divided is the same for all passes: their places stand side by side in one product.

    Parameters
    ----------
    images : Tensor
        (n, p, 3, 26, 26)
    weights : DiscriminatorWeights
    first, middle : Spectrum
        Of p passes.

    Attributes
    ----------
    map : Tensor
        (n, p, 400), in 0 to 1.
    """

    def __init__(
        self, images: Float[Tensor, "n p 3 26 26"], weights: DiscriminatorWeights, first: Spectrum, middle: Spectrum
    ):
        n, passes = images.shape[:2]
        patches = images.unfold(3, PATCH, 1).unfold(4, PATCH, 1)  # (n, p, 3, 20, 20, 7, 7)
        patches = patches.permute(0, 2, 5, 6, 1, 3, 4).reshape(n, -1, passes * PLACES)  # (n, 147, p 400)
        self.weights, self.spectra = weights, (first, middle)
        self.matrices = [torch.bmm(weights.middle[:, 0], weights.first), *weights.middle.unbind(1)[1:]]
        self.epsilon = EPS * middle.value.square()  # (n, 5, p)
        self.epsilon[:, 0] *= first.value.square()
        of_blocks = (weights.gamma[..., None, None], weights.beta[..., None, None], self.epsilon[:, :, None, :, None])
        self.inputs, self.centred, self.rates = [patches], [], []
        for matrix, gamma, beta, epsilon in zip(self.matrices, *(t.unbind(1) for t in of_blocks), strict=True):
            y = torch.bmm(matrix, self.inputs[-1]).view(n, -1, passes, PLACES)  # (n, 64, p, 400)
            y -= y.mean(-1, keepdim=True)
            length = torch.linalg.vector_norm(y, dim=-1, keepdim=True)
            rate = torch.addcmul(epsilon, length, length, value=1 / PLACES).rsqrt_()  # (n, 64, p, 1)
            self.centred.append(y)
            self.rates.append(rate)
            self.inputs.append((y * (rate * gamma)).add_(beta).relu_().view(n, -1, passes * PLACES))
        self.unit = F.normalize(weights.last, dim=-1)  # one row: its singular value is its length
        self.map = torch.sigmoid(torch.bmm(self.unit, self.inputs[-1]) + weights.bias).view(n, passes, PLACES)

    def of_images(self, of_map: Float[Tensor, "n 1 400"]) -> Float[Tensor, "n 3 26 26"]:
        """Gradient of the images, one for each estimation, from the gradient of the map."""
        behind = torch.bmm(self.unit.mT, self._of_logits(of_map))
        for i in reversed(range(len(self.matrices))):
            behind = torch.bmm(self.matrices[i].mT, self._of_norm(i, behind)[0])
        return F.fold(behind, (SMALL, SMALL), PATCH)

    def of_weights(self, of_map: Float[Tensor, "_ p _"]) -> DiscriminatorWeights:
        """Gradient of every weight from the gradient of the map."""
        weights, logits, found = self.weights, self._of_logits(of_map), []
        behind = torch.bmm(self.unit.mT, logits)
        for i in reversed(range(len(self.matrices))):
            y, *of_norm = self._of_norm(i, behind)
            found.append((torch.bmm(y, self.inputs[i].mT), *of_norm, self.rates[i].view(-1)))
            behind = torch.bmm(self.matrices[i].mT, y) if i else None
        matrices, *of_norm = zip(*reversed(found), strict=True)
        shape = (len(matrices), *self.rates[0].shape[:-1])
        gamma, beta, rates = (torch.stack(part).view(shape).transpose(0, 1) for part in of_norm)  # (n, 5, 64, p)
        of_unit = torch.bmm(logits, self.inputs[-1].mT)  # (n, 1, 64)
        of_last = of_unit - (of_unit * self.unit).sum(-1, keepdim=True) * self.unit
        of_first = torch.bmm(weights.middle[:, 0].mT, matrices[0])  # (n, 64, 147)
        of_middle = torch.stack([torch.bmm(matrices[0], weights.first.mT), *matrices[1:]], 1)  # (n, 5, 64, 64)
        # the singular values s = u' W v, whose gradient is u v', act through epsilon
        pull = -self.epsilon * (weights.gamma[..., None] * gamma * rates.square()).sum(2)  # (n, 5, p)
        return DiscriminatorWeights(
            of_first + along(self.spectra[0], pull[:, 0]),
            of_middle + along(self.spectra[1], pull),
            of_last / torch.linalg.vector_norm(weights.last, dim=-1, keepdim=True),
            logits.sum(-1, keepdim=True),
            gamma.sum(-1),
            beta.sum(-1),
        )

    def _of_logits(self, of_map: Tensor) -> Tensor:
        return (of_map * self.map * (1 - self.map)).view(len(self.map), 1, -1)  # (n, 1, p 400)

    def _of_norm(self, i: int, behind: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Back through ReLU and batch norm: gradient of the product before, and flat ones of gamma and beta."""
        rate = self.rates[i]
        channels = rate.numel()  # each channel of each image is normalised by itself
        gamma = self.weights.gamma[:, i, :, None].expand(rate.shape[:-1]).reshape(-1)
        behind = torch.ops.aten.threshold_backward(behind, self.inputs[i + 1], 0)
        y, of_gamma, of_beta = torch.ops.aten.native_group_norm_backward(
            behind, self.centred[i], torch.zeros_like(gamma), rate.view(-1), gamma,
            1, channels, PLACES, channels, [True, True, True],
        )  # fmt: skip
        return y.view_as(behind), of_gamma, of_beta


def along(spectrum: Spectrum, pull: Tensor) -> Tensor:
    """Gradients of matrices from those of their singular values, which are ``pull / value``: (n, ..., r, c)."""
    return (spectrum.u * (pull / spectrum.value)[..., None]).mT @ spectrum.v
