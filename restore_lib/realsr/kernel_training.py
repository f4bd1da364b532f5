"""One step of KernelGAN, twice: as it is written down, and composed into few operations for several estimations.

Both are the same step. :class:`LayerByLayer` runs the two networks as anybody would. :class:`Composed` uses three
facts, none of which is an approximation:

- Convolutions without activations in between are one convolution. The generator's six layers are composed into its
  13 x 13 kernel (a million multiplications) and that is applied to the crop, instead of moving 64 channels of the crop
  through every layer (three thousand million). Gradients reach the layers' weights through the composition.
- The generator's step needs no gradient of the discriminator's weights, and the discriminator's none of the generator.
- A 1 x 1 convolution is a matrix product, and matrix products come in batches: several photos or restarts advance
  together. Statistics of the batch norm stay those of one image, as each image of each estimation is its own channel.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from restore_lib.realsr.kernel_losses import KernelSettings, generator_terms, realness
from restore_lib.realsr.kernelgan import KERNEL_SIZE, PATCH, SMALL, KernelDiscriminator, KernelGenerator, compose
from restore_lib.realsr.kernels import bicubic_kernel

BETAS = (0.5, 0.999)
EPS = 1e-5  # of the batch norm


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
        self.settings, self.n = settings, len(pairs)
        generators, discriminators = zip(*pairs, strict=True)

        def stack(get, trained: bool = True) -> Tensor:
            return torch.stack([get(d).detach() for d in discriminators]).clone().requires_grad_(trained)

        self.generator = [
            torch.stack([g.layers[i].weight.detach() for g in generators]).requires_grad_()
            for i in range(len(generators[0].layers))
        ]  # (n, out, in, k, k) each
        self.matrices = [
            stack(lambda d: d.first.weight.flatten(1)),  # (n, 64, 147)
            stack(lambda d: torch.stack([conv.weight.flatten(1) for conv in d.middle])),  # (n, 5, 64, 64)
            stack(lambda d: d.last.weight.flatten(1)),  # (n, 1, 64)
        ]
        self.biases = [stack(lambda d: d.first.bias[:, None]), stack(lambda d: d.last.bias[:, None])]  # (n, 64 or 1, 1)
        # the middle layers' biases change nothing: the batch norm takes them off again
        self.gamma = stack(lambda d: torch.stack([norm.weight for norm in d.norms]))  # (n, 5, 64)
        self.beta = stack(lambda d: torch.stack([norm.bias for norm in d.norms]))
        self.u = [
            stack(lambda d: d.first.u[:, None], False),  # (n, 64, 1)
            stack(lambda d: torch.stack([conv.u[:, None] for conv in d.middle]), False),  # (n, 5, 64, 1)
            stack(lambda d: d.last.u[:, None], False),  # (n, 1, 1)
        ]
        self.discriminator = [*self.matrices, *self.biases, self.gamma, self.beta]
        self.optimizers = [
            torch.optim.Adam(group, settings.learning_rate, BETAS, fused=True)
            for group in (self.generator, self.discriminator)
        ]
        bicubic = bicubic_kernel().to(self.generator[0])
        before, after = (KERNEL_SIZE - len(bicubic) + 1) // 2, (KERNEL_SIZE - len(bicubic)) // 2
        self._bicubic = F.pad(bicubic, (before, after, before, after))[None]  # (1, 13, 13), centre at 6.5, 6.5
        self._weights: tuple = ()

    def kernels(self) -> Float[Tensor, "n 13 13"]:
        """The generators' kernels."""
        with torch.no_grad():
            return compose(self.generator)

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
        n, (of_generator, of_discriminator) = self.n, self.optimizers
        windows = F.unfold(crops.flatten(0, 1)[:, None], KERNEL_SIZE, stride=2)  # (3 n, 169, 676)
        windows = windows.reshape(n, 3, *windows.shape[1:])  # (n, 3, 169, 676)
        kernel = compose(self.generator)
        made = apply(kernel, windows)  # (n, 3, 26, 26)
        judged = self._judge(made, [m.detach() for m in self.discriminator], self._largest(1))
        terms = generator_terms(
            self.settings.form, kernel, made.flatten(1), self._reference(windows).flatten(1), judged[:, 0]
        )
        loss = sum((term * made.new_tensor([w[name] for w in weights])).sum() for name, term in terms.items())
        _update(of_generator, self.generator, loss)

        shown = torch.stack([real, apply(self.kernels(), windows) + noise], 1).flatten(0, 1)  # (2 n, 3, 26, 26)
        judged = self._judge(shown, self.discriminator, self._largest(2))  # (n, 2, 400)
        loss = 0.5 * (realness(judged[:, 0], True) + realness(judged[:, 1], False))
        _update(of_discriminator, self.discriminator, loss.sum())
        return {name: value.detach() for name, value in (terms | {"discriminator": loss}).items()}

    def _reference(self, windows: Tensor) -> Tensor:
        small = apply(self._bicubic, windows)
        return small.sum(1, keepdim=True).expand_as(small) if self.settings.official_defects else small

    def _largest(self, passes: int) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Singular vectors u, v and value of every matrix at each of the next passes, one power iteration apart.

        Stacked along a new dimension after the first: (n, passes, ...).
        """
        found = []
        with torch.no_grad():
            for i, matrix in enumerate(self.matrices):
                rows = []
                for _ in range(passes):
                    v = matrix.mT @ self.u[i]
                    v = v / torch.linalg.vector_norm(v, dim=-2, keepdim=True)
                    u = matrix @ v
                    largest = torch.linalg.vector_norm(u, dim=-2, keepdim=True)
                    self.u[i] = u / largest
                    rows.append((self.u[i], v, largest))
                found.append(tuple(torch.stack(kind, 1) for kind in zip(*rows, strict=True)))
        return found

    def _judge(self, x: Tensor, weights: list[Tensor], vectors: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
        """The discriminators' maps (n, passes, 400) of images (n passes, 3, 26, 26): ``passes`` for each of them."""
        *matrices, first_bias, last_bias, gamma, beta = weights
        passes = len(x) // self.n
        first, middle, last = (_Divided.apply(m, *found) for m, found in zip(matrices, vectors, strict=True))
        columns = F.unfold(x, PATCH).reshape(self.n, passes, -1, (SMALL - PATCH + 1) ** 2)  # (n, passes, 147, 400)
        y = first @ columns + first_bias[:, None]  # (n, passes, 64, 400)
        for i in range(middle.shape[2]):
            y = middle[:, :, i] @ y
            scale, shift = (p[:, None, i].expand(-1, passes, -1).flatten() for p in (gamma, beta))
            flat = y.view(1, -1, y.shape[-1])  # (1, n passes 64, 400): statistics of each image by itself
            flat = F.relu(F.batch_norm(flat, None, None, scale, shift, training=True, eps=EPS), inplace=True)
            y = flat.view_as(y)
        return torch.sigmoid(last @ y + last_bias[:, None])[:, :, 0]


def apply(kernel: Float[Tensor, "_ _ _"], windows: Float[Tensor, "n 3 _ p"]) -> Tensor:
    """Correlate windows of 13 x 13 pixels, two pixels apart, with kernels: (n, 3, 26, 26)."""
    made = kernel.reshape(len(kernel), 1, 1, -1) @ windows  # (n, 3, 1, 676)
    return made.reshape(*windows.shape[:2], SMALL, SMALL)


class _Divided(torch.autograd.Function):
    """Matrices divided by their largest singular value, which is u' W v with u and v taken as given.

    Of W (n, ..., r, c), and u, v and the value with a dimension of passes after the first: (n, passes, ..., r, c).
    Written out because autograd would go through a dozen small operations for each matrix.
    """

    @staticmethod
    def forward(ctx, matrix: Tensor, u: Tensor, v: Tensor, largest: Tensor) -> Tensor:
        divided = matrix[:, None] / largest
        ctx.save_for_backward(divided, u, v, largest)
        return divided

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple:
        divided, u, v, largest = ctx.saved_tensors
        along = (gradient * divided).sum(
            (-2, -1), keepdim=True
        )  # W / s changes with s = u' W v, whose gradient is u v'
        return ((gradient - (along * u) * v.mT) / largest).sum(1), None, None, None


def _update(optimizer: torch.optim.Optimizer, weights: list[Tensor], loss: Tensor) -> None:
    """One step along the gradient of these weights alone."""
    for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
        weight.grad = gradient.contiguous()  # fused Adam goes through memory in order: transposed gradients mislead it
    optimizer.step()
