"""What DIINN, LIIF and Meta-SR share: features by an encoder, and colours of any pixel by a decoder.

A decoder by itself is its paper's equation, computed anew at every large pixel. A network gives the same answers
sooner, by :mod:`restore_lib.fast.decoders`.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from restore_lib.fast import decoders
from restore_lib.implicit.coordinates import checked
from restore_lib.nets.edsr import MEAN


class AnyScale(nn.Module):
    """A picture of any size from a small one: features of normalised colours by the encoder, colours by the decoder."""

    mean: Tensor
    decoder: Any  # one of the three, or a module of the same forward

    def __init__(self, encoder: nn.Module, decoder: nn.Module, rgb_range: float | None = None):
        super().__init__()
        self.encoder, self.decoder, self.rgb_range = encoder, decoder, rgb_range
        mean, self.unit = ([0.5], 0.5) if rgb_range is None else (MEAN, 1 / rgb_range)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)

    def normalise(self, image: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b 3 h w"]:
        """Colours in [0, 1] as the network sees them: in [-1, 1] unless ``rgb_range`` is given."""
        return (image - self.mean) / self.unit

    def forward(
        self, lr: Float[Tensor, "b 3 h w"], size: Sequence[Any], pixels: Int[Tensor, "b q"] | None = None
    ) -> Float[Tensor, "b 3 *pixels"]:
        """Enlarge colours in [0, 1] to any height and width; the result is around [0, 1], not clipped.

        With ``pixels``, ``y * width + x``, it answers for these; ``size`` may then be one for each picture.
        """
        feature = self.encoder(self.normalise(lr)).to(lr.dtype)  # places need full precision, whatever autocast does
        if pixels is None:
            return decoders.decode(self.decoder, feature, checked(size)) * self.unit + self.mean  # (b, 3, H, W)
        sizes = [checked(one) for one in (size if isinstance(size[0], Sequence) else [size] * len(lr))]
        return decoders.decode_at(self.decoder, feature, sizes, pixels) * self.unit + self.mean[..., 0]  # (b, 3, q)

    def colours_around(
        self, around: Float[Tensor, "p c 3 3"], offset: Float[Tensor, "k q 2"], ratio: Float[Tensor, "q 2"]
    ) -> Float[Tensor, "q 3"]:
        """Colours of single pixels of any pictures, each from the features around the k small ones it asks; p = k q."""
        fast = cast(decoders.FastDecoder, decoders.accelerated(self.decoder))
        return fast.around(around, offset, ratio) * self.unit + self.mean.flatten()
