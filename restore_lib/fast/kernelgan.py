"""KernelGAN's training step for several estimations at once, in a few large operations.

The answers are those of :func:`restore_lib.realsr.kernelgan.step`; nothing here is an approximation:

- Convolutions without an activation in between are one: the generator's six layers are composed into one 13 x 13
  kernel, the discriminator's first two into one matrix.
- The kernel after a step is the one before the next, and the three images that the discriminator sees in a step meet
  the same weights.
- A batch norm removes what the convolution before it adds, so those biases are left out.
- What is left are matrix products: n photos or restarts advance together, each with its own batch statistics.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Discriminators(NamedTuple):
    """The weights of n discriminators."""

    first: Float[Tensor, "n 64 147"]
    middle: Float[Tensor, "n 5 64 64"]
    last: Float[Tensor, "n 1 64"]
    bias: Float[Tensor, "n 1"]
    gamma: Float[Tensor, "n 5 64"]
    beta: Float[Tensor, "n 5 64"]


class ComposedStep:
    """Trains n pairs of KernelGAN's networks side by side, on copies of their weights, by ``terms`` of the loss."""

    def __init__(
        self,
        pairs: Sequence[tuple[nn.Module, nn.Module]],
        terms: Callable[[Tensor, Tensor, Tensor, Tensor], Mapping[str, Tensor]],
        **options,
    ):
        generators, discriminators = zip(*pairs, strict=True)

        def stack(networks: Sequence[nn.Module], name: str) -> Tensor:
            return torch.stack([network.get_parameter(name).detach() for network in networks])

        def middle(name: str) -> Tensor:
            return torch.stack([stack(discriminators, name.format(i)) for i in range(len(norms))], 1)

        norms = discriminators[0].norms
        self.terms, self.eps, self.stride = terms, norms[0].eps, generators[0].layers[-1].stride
        self.generators = [stack(generators, f"layers.{i}.weight") for i in range(len(generators[0].layers))]
        self.discriminators = Discriminators(
            first=stack(discriminators, "first.weight_orig").flatten(2),
            middle=middle("middle.{}.weight_orig").flatten(3),
            last=stack(discriminators, "last.weight_orig").flatten(2),
            bias=stack(discriminators, "last.bias"),
            gamma=middle("norms.{}.weight"),
            beta=middle("norms.{}.bias"),
        )
        self.u = [  # the singular vectors that the power iterations go on from
            torch.stack([network.first.weight_u for network in discriminators]),  # (n, 64)
            torch.stack([torch.stack([conv.weight_u for conv in network.middle]) for network in discriminators]),
        ]
        trained = [[weight.requires_grad_() for weight in group] for group in (self.generators, self.discriminators)]
        self.optimizers = [torch.optim.Adam(weights, **options, fused=True) for weights in trained]
        self.kernel = compose(self.generators)

    def kernels(self) -> Float[Tensor, "n 13 13"]:
        """The generators' kernels."""
        return self.kernel.detach()

    def step(
        self,
        crops: Float[Tensor, "n 3 64 64"],
        real: Float[Tensor, "n 3 26 26"],
        noise: Float[Tensor, "n 3 26 26"],
        weights: Mapping[str, Float[Tensor, "n"]],
    ) -> Mapping[str, Float[Tensor, "n"]]:
        """Update generators, then discriminators; gives every term of every estimation's loss."""
        generator_adam, discriminator_adam = self.optimizers
        size = self.kernel.shape[-1]
        patches = F.unfold(crops, size, stride=self.stride).unflatten(1, (3, -1))  # (n, 3, 169, 676)

        def reduce(kernel: Tensor) -> Tensor:
            return (kernel.flatten(1)[:, None, None] @ patches).view(real.shape)

        largest = self._singular_values(3)  # of three passes: the generator's, the photo's, the generator's next
        fake = reduce(self.kernel)  # (n, 3, 26, 26)
        frozen = Discriminators(*(weight.detach() for weight in self.discriminators))
        maps = self._discriminate(fake[:, None], frozen, [value[..., :1].detach() for value in largest])
        terms = self.terms(self.kernel, fake, crops, maps[:, 0])
        generator_adam.zero_grad()
        torch.stack([weights[name] * term for name, term in terms.items()]).sum().backward()
        generator_adam.step()
        self.kernel = compose(self.generators)

        images = torch.stack([real, reduce(self.kernel.detach()) + noise], 1)  # (n, 2, 3, 26, 26)
        maps = self._discriminate(images, self.discriminators, [value[..., 1:] for value in largest])
        loss = 0.5 * (1 - maps[:, 0].mean(1) + maps[:, 1].mean(1))  # L1: maps are in 0 to 1
        discriminator_adam.zero_grad()
        loss.sum().backward()
        discriminator_adam.step()
        return {name: term.detach() for name, term in {**terms, "discriminator": loss}.items()}

    def _singular_values(self, passes: int) -> list[Tensor]:
        """Largest singular values of the first (n, passes) and the middle layers (n, 5, passes) in the next passes."""
        values = []
        for i, matrix in enumerate((self.discriminators.first, self.discriminators.middle)):
            us, vs = [self.u[i]], []
            for _ in range(passes):
                vs.append(F.normalize((matrix.detach().mT @ us[-1][..., None])[..., 0], dim=-1))
                us.append(F.normalize((matrix.detach() @ vs[-1][..., None])[..., 0], dim=-1))
            self.u[i] = us[-1]
            values.append((torch.stack(us[1:], -1) * (matrix @ torch.stack(vs, -1))).sum(-2))
        return values

    def _discriminate(
        self, images: Float[Tensor, "n p 3 26 26"], weights: Discriminators, largest: Sequence[Tensor]
    ) -> Float[Tensor, "n p 400"]:
        """The discriminators' maps of p images each, every image with its own singular values and statistics."""
        n, p = images.shape[:2]
        first = weights.first[:, None] / largest[0][..., None, None]  # (n, p, 64, 147)
        middle = weights.middle[:, :, None] / largest[1][..., None, None]  # (n, 5, p, 64, 64)
        matrices = [middle[:, 0] @ first, *middle.unbind(1)[1:]]  # no activation between the first two
        y = F.unfold(images.flatten(0, 1), 7)  # (n p, 147, 400)
        for matrix, gamma, beta in zip(matrices, weights.gamma.unbind(1), weights.beta.unbind(1), strict=True):
            y = matrix.flatten(0, 1) @ y  # (n p, 64, 400)
            gamma, beta = (x[:, None].expand(n, p, -1).flatten() for x in (gamma, beta))
            channels = y.reshape(1, n * p * y.shape[1], -1)  # each of its own, as if of one image
            y = torch.relu(F.batch_norm(channels, None, None, gamma, beta, True, eps=self.eps)).view_as(y)
        last = F.normalize(weights.last, dim=-1)  # one row: its singular value is its length
        logits = (last[:, None] @ y.unflatten(0, (n, p)))[:, :, 0] + weights.bias[..., None]
        return torch.sigmoid(logits)


def compose(layers: Sequence[Float[Tensor, "n _ _ _ _"]]) -> Float[Tensor, "n s s"]:
    """The kernels that n stacks of layers are, as :func:`restore_lib.realsr.kernelgan.compose` for one stack."""
    n, kernel = len(layers[0]), layers[-1][:, 0]
    for layer in reversed(layers[:-1]):
        kernel = F.conv_transpose2d(kernel.flatten(0, 1)[None], layer.flatten(0, 1), groups=n)[0].unflatten(0, (n, -1))
    return kernel[:, 0]


@contextmanager
def few_threads(most: int = 2) -> Iterator[None]:
    """Compute on two threads at most: these operations are too small to be shared among more."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(min(most, before))
        yield
    finally:
        torch.set_num_threads(before)
