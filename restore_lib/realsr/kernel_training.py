"""One step of KernelGAN, twice: as it is written down, and composed into few operations for several estimations.

Both are the same step. :class:`LayerByLayer` runs the two networks as anybody would. :class:`Composed` uses facts about
them, none of which is an approximation:

- Convolutions without activations in between are one convolution. The generator's six layers are composed into its
  13 x 13 kernel (a million multiplications) and that is applied to the crop, instead of moving 64 channels of the crop
  through every layer (three thousand million). The same goes for the discriminator's first two layers.
- The generator's step needs no gradient of the discriminator's weights, and the discriminator's none of the generator.
- What does not change is not computed again: the kernel after a step is the one before the next, and the weights that
  the discriminator judges with are the same for all three images that it sees in a step.
- The batch norm undoes what stands before it: biases, and the division by a singular value except for its epsilon.
- What is left are matrix products, and gradients that can be written down
  (:mod:`restore_lib.realsr.kernel_gradients`). Products come in batches: several photos or restarts advance together,
  and statistics of the batch norm stay those of one image.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from restore_lib.realsr.kernel_gradients import (
    DiscriminatorWeights,
    Judgement,
    Reduction,
    compose_gradients,
    power_iterations,
)
from restore_lib.realsr.kernel_losses import TERMS, KernelSettings, generator_terms, realness, terms_and_gradients
from restore_lib.realsr.kernelgan import CROP, SMALL, KernelDiscriminator, KernelGenerator, partial_kernels
from restore_lib.realsr.kernels import bicubic_kernel
from restore_lib.resampling import imresize

BETAS = (0.5, 0.999)


def networks(seed: int) -> tuple[KernelGenerator, KernelDiscriminator]:
    """Fresh networks; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return KernelGenerator(), KernelDiscriminator()


class LayerByLayer:
    """The step as the released code makes it: for the reader, and for the clock to compare with.

    Parameters
    ----------
    pairs : list of (KernelGenerator, KernelDiscriminator)
        One pair for each estimation; they are trained in turn.
    settings : KernelSettings
    """

    def __init__(self, pairs: list[tuple[KernelGenerator, KernelDiscriminator]], settings: KernelSettings):
        self.pairs, self.settings = pairs, settings
        self.optimizers = [
            [torch.optim.Adam(network.parameters(), settings.learning_rate, BETAS) for network in pair]
            for pair in pairs
        ]

    def kernels(self) -> Float[Tensor, "n 13 13"]:
        """The generators' kernels."""
        with torch.no_grad():
            return torch.stack([generator.kernel() for generator, _ in self.pairs])

    def set_rate(self, rate: float) -> None:
        """Learning rate of all."""
        for optimizer in (one for pair in self.optimizers for one in pair):
            optimizer.param_groups[0]["lr"] = rate

    def step(
        self,
        crops: Float[Tensor, "n 3 64 64"],
        real: Float[Tensor, "n 3 26 26"],
        noise: Float[Tensor, "n 3 26 26"],
        weights: list[Mapping[str, float]],
    ) -> Mapping[str, Float[Tensor, "n"]]:
        """Update generators, then discriminators; gives every term of every estimation's loss."""
        found = [self._one(i, crops[i : i + 1], real[i : i + 1], noise[i : i + 1], w) for i, w in enumerate(weights)]
        return {name: torch.stack([terms[name] for terms in found]) for name in found[0]}

    def _one(self, i: int, crop: Tensor, real: Tensor, noise: Tensor, weights: Mapping[str, float]) -> dict:
        (generator, discriminator), (of_generator, of_discriminator) = self.pairs[i], self.optimizers[i]
        made = generator(crop)  # (1, 3, 26, 26)
        bicubic = reference(crop, self.settings.official_defects)
        judged = discriminator(made).flatten(1)
        terms = generator_terms(
            self.settings.form, generator.kernel()[None], made.flatten(1), bicubic.flatten(1), judged
        )
        of_generator.zero_grad()
        sum(weights[name] * term for name, term in terms.items()).backward()
        of_generator.step()

        loss_real = realness(discriminator(real).flatten(1), True)
        loss_made = realness(discriminator(generator(crop).detach() + noise).flatten(1), False)
        loss = 0.5 * (loss_real + loss_made)
        of_discriminator.zero_grad()
        loss.backward()
        of_discriminator.step()
        return {name: value.detach()[0] for name, value in (terms | {"discriminator": loss}).items()}


def reference(crop: Float[Tensor, "n 3 h w"], colours_summed: bool) -> Float[Tensor, "n 3 oh ow"]:
    """The bicubic reduction by 2 of what the generator sees; the released code sums the colours by mistake."""
    kernel = bicubic_kernel().to(crop)
    # its output p reads pixels 2 p - 3 to 2 p + 4: the first window that lies inside begins at pixel 1
    small = F.conv2d(crop[..., 1:, 1:].flatten(0, 1)[:, None], kernel[None, None], stride=2)  # (3 n, 1, 28, 28)
    cut = (small.shape[-1] - SMALL) // 2
    small = small[..., cut : cut + SMALL, cut : cut + SMALL].reshape(len(crop), 3, SMALL, SMALL)
    return small.sum(1, keepdim=True).expand_as(small) if colours_summed else small


class Composed:
    """The same step for n estimations together, in few operations. Parameters as of :class:`LayerByLayer`.

    The networks' weights are copied at the start; the pairs themselves are not trained.
    """

    def __init__(self, pairs: list[tuple[KernelGenerator, KernelDiscriminator]], settings: KernelSettings):
        self.settings = settings
        generators, discriminators = zip(*pairs, strict=True)

        def stack(get) -> Tensor:
            return torch.stack([get(d).detach() for d in discriminators]).clone()

        self.generator = [
            torch.stack([g.layers[i].weight.detach() for g in generators]) for i in range(len(generators[0].layers))
        ]  # (n, out, in, k, k) each
        self.discriminator = DiscriminatorWeights(
            first=stack(lambda d: d.first.weight.flatten(1)),
            middle=stack(lambda d: torch.stack([conv.weight.flatten(1) for conv in d.middle])),
            last=stack(lambda d: d.last.weight.flatten(1)),
            bias=stack(lambda d: d.last.bias[:, None]),
            gamma=stack(lambda d: torch.stack([norm.weight for norm in d.norms])),
            beta=stack(lambda d: torch.stack([norm.bias for norm in d.norms])),
        )
        self.u = [stack(lambda d: d.first.u), stack(lambda d: torch.stack([conv.u for conv in d.middle]))]
        self.optimizers = [
            torch.optim.Adam(group, settings.learning_rate, BETAS, fused=True)
            for group in (self.generator, list(self.discriminator))
        ]
        self._partial = partial_kernels(self.generator)
        self._bicubic = bicubic_rows(CROP, SMALL).to(self.generator[0])
        self._weights: tuple = ((), {})

    def kernels(self) -> Float[Tensor, "n 13 13"]:
        """The generators' kernels."""
        return self._partial[-1][:, 0]

    def set_rate(self, rate: float) -> None:
        """Learning rate of all."""
        for optimizer in self.optimizers:
            optimizer.param_groups[0]["lr"] = rate

    def step(
        self,
        crops: Float[Tensor, "n 3 64 64"],
        real: Float[Tensor, "n 3 26 26"],
        noise: Float[Tensor, "n 3 26 26"],
        weights: list[Mapping[str, float]],
    ) -> Mapping[str, Float[Tensor, "n"]]:
        """Update generators, then discriminators; gives every term of every estimation's loss."""
        of_generator, of_discriminator = self.optimizers
        # three passes with the same weights: of what the generator made, of the photo, and of what it makes next
        first, middle = (
            power_iterations(matrix, u, 3)
            for matrix, u in zip((self.discriminator.first, self.discriminator.middle), self.u, strict=True)
        )
        self.u = [first.u[..., -1, :], middle.u[..., -1, :]]

        reduce = Reduction(crops)
        made = reduce(self.kernels())  # (n, 3, 26, 26)
        judged = Judgement(made[:, None], self.discriminator, first.of(0, 1), middle.of(0, 1))
        terms, (of_kernel, of_made, of_map) = terms_and_gradients(
            self.settings.form,
            self.kernels(),
            made.flatten(1),
            self._reference(crops).flatten(1),
            judged.map[:, 0],
            self._together(weights),
        )
        of_made = of_made.view_as(made) + judged.of_images(of_map[:, None])
        of_kernel = of_kernel + reduce.of_kernel(of_made)
        _update(of_generator, self.generator, compose_gradients(self.generator, self._partial, of_kernel))
        self._partial = partial_kernels(self.generator)

        shown = torch.stack([real, reduce(self.kernels()) + noise], 1)  # (n, 2, 3, 26, 26)
        judged = Judgement(shown, self.discriminator, first.of(1, 3), middle.of(1, 3))
        loss = 0.5 * (realness(judged.map[:, 0], True) + realness(judged.map[:, 1], False))
        of_map = judged.map.new_tensor([-0.5, 0.5])[:, None] / judged.map.shape[-1]  # (2, 1)
        _update(of_discriminator, list(self.discriminator), list(judged.of_weights(of_map[None])))
        return terms | {"discriminator": loss}

    def _reference(self, crops: Tensor) -> Tensor:
        small = self._bicubic @ crops @ self._bicubic.mT  # (n, 3, 26, 26): along columns, then along rows
        return small.sum(1, keepdim=True).expand_as(small) if self.settings.official_defects else small

    def _together(self, weights: list[Mapping[str, float]]) -> Mapping[str, Float[Tensor, "n 1"]]:
        """The terms' weights as tensors, made anew only when they change."""
        values = tuple(w[name] for name in TERMS for w in weights)
        if values != self._weights[0]:
            rows = self.generator[0].new_tensor(values).view(len(TERMS), -1, 1)
            self._weights = values, dict(zip(TERMS, rows.unbind(), strict=True))
        return self._weights[1]


def bicubic_rows(wide: int, small: int) -> Float[Tensor, "small wide"]:
    """The bicubic reduction by 2 along one axis, as a matrix, in the middle of what it can reach."""
    whole = imresize(torch.eye(wide, dtype=torch.float64)[None], size=(wide // 2, wide))[0]
    cut = (wide // 2 - small) // 2
    return whole[cut : cut + small]


def _update(optimizer: torch.optim.Optimizer, weights: list[Tensor], gradients: list[Tensor]) -> None:
    """One step along gradients."""
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient.contiguous()  # fused Adam goes through memory in order: transposed gradients mislead it
    optimizer.step()
