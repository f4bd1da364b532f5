"""What DIINN, LIIF and Meta-SR share: an encoder, a decoder that answers for single pixels, and doing that fast.

A decoder is a function of a large pixel's place and of the features around it. Whatever multiplies the features alone
is the same for all large pixels that ask the same small one, so it is computed once for each small pixel, into tables.
The rest is done for blocks of large pixels that fit into the processor's cache. Tables are made for some rows at a
time: memory does not grow with the picture, except for the picture itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral, Real

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from restore_lib.implicit.coordinates import Axis
from restore_lib.nets import RDN, edsr_baseline, edsr_full, small_trunk
from restore_lib.nets.edsr import MEAN

Tables = tuple[Float[Tensor, "p _"], ...]
Size = Sequence[Integral]
LANES = 16  # images a batch needs for PyTorch to hand a 1x1 convolution to its faster library
TABLE_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Queries:
    """Large pixels: the rows of the tables that answer for them, and where they lie from there.

    Attributes
    ----------
    index : (k, q)
        Small pixels, k for each large one.
    offset : (k, q, 2)
        Down and to the right, see :mod:`restore_lib.implicit.coordinates`.
    ratio : (1, 2) or (q, 2)
        Small height and width divided by large ones: 1 / scale, the same for all or one for each.
    """

    index: Int[Tensor, "k q"]
    offset: Float[Tensor, "k q 2"]
    ratio: Float[Tensor, "_ 2"]


class Decoder(nn.Module):
    """Colours of any pixels from features. Subclasses say how a pixel is placed, tabulated and answered for.

    Attributes
    ----------
    block : int
        Large pixels that are answered for at once by each thread of a processor; on a GPU it is 256 times as many.
    table_width : int
        Numbers that the tables hold for a small pixel.
    """

    block = 1024
    table_width = 1

    def place(self, small: Integral, large: Integral) -> Axis:
        """The rule of :mod:`restore_lib.implicit.coordinates` that this decoder follows."""
        raise TypeError("a decoder needs a rule for places")

    def split(self) -> object:
        """The weights, cut into what multiplies features and what does not; made once a call."""
        return None

    def tables(self, padded: Float[Tensor, "b c h2 w2"], weights: object) -> Tables:
        """What depends on features only, a row for each small pixel; features have a border of one pixel more."""
        raise TypeError("a decoder needs tables")

    def answer(self, tables: Tables, queries: Queries, weights: object) -> Float[Tensor, "q _"]:
        """The colours of queries."""
        raise TypeError("a decoder needs answers")

    def forward(self, feature: Float[Tensor, "b c h w"], size: Size) -> Float[Tensor, "b 3 H W"]:
        """A picture of ``size`` = (height, width) in normalised colours, for any size."""
        height, width = checked(size)
        h, w = feature.shape[2:]
        return self.pictures(
            feature, self.place(h, height), self.place(w, width), inverse_scale(feature, (height, width))
        )

    def at(
        self, feature: Float[Tensor, "b c h w"], size: Size | Sequence[Size], pixels: Int[Tensor, "b q"]
    ) -> Float[Tensor, "b 3 q"]:
        """Only some pixels of that picture: a training step need not see all.

        Parameters
        ----------
        feature
            As above.
        size
            (height, width), or one such pair for each picture of the batch.
        pixels
            ``y * width + x``, for each picture.
        """
        h, w = feature.shape[2:]
        sizes = [checked(one) for one in ([size] * len(feature) if isinstance(size[0], Integral) else size)]
        axes = {one: (self.place(h, one[0]).to(feature), self.place(w, one[1]).to(feature)) for one in set(sizes)}
        index, offset = [], []
        for i, (one, wanted) in enumerate(zip(sizes, pixels, strict=True)):
            rows, cols = axes[one]
            found = _combined(rows.part(wanted // one[1]), cols.part(wanted % one[1]), w, grid=False)
            index.append(found[0] + i * h * w)
            offset.append(found[1])
        ratio = feature.new_tensor([(h / height, w / width) for height, width in sizes])  # (b, 2)
        queries = Queries(torch.cat(index, 1), torch.cat(offset, 1), ratio.repeat_interleave(pixels.shape[1], 0))
        weights = self.split()
        tables = self.tables(_padded(feature), weights)
        parts = [self._padded_answer(tables, part, weights) for part in _parts(queries, self._block(feature))]
        return torch.cat(parts).unflatten(0, pixels.shape).movedim(2, 1)  # (b, 3, q)

    def _block(self, feature: Tensor) -> int:
        return self.block * (torch.get_num_threads() if feature.is_cpu else 256)

    def pictures(
        self, feature: Float[Tensor, "b c h w"], rows: Axis, cols: Axis, ratio: Float[Tensor, "1 2"]
    ) -> Float[Tensor, "b _ n m"]:
        """All pixels of ``rows`` x ``cols``, whose indices count in ``feature``; ``ratio`` as in :class:`Queries`."""
        if torch.is_grad_enabled():
            bands = [self._bands(one, rows, cols, ratio, whole=True) for one in _padded(feature).split(1)]
            return torch.stack([torch.cat([values for *_, values in parts], dim=1) for parts in bands])
        out = None
        for i, one in enumerate(_padded(feature).split(1)):
            for y, x, values in self._bands(one, rows, cols, ratio, whole=False):
                if out is None:
                    out = values.new_empty(len(feature), len(values), rows.index.shape[1], cols.index.shape[1])
                out[i, :, y : y + values.shape[1], x : x + values.shape[2]] = values
        return out

    def _bands(
        self, padded: Tensor, rows: Axis, cols: Axis, ratio: Tensor, whole: bool
    ) -> Iterator[tuple[int, int, Float[Tensor, "_ n m"]]]:
        """Blocks of the picture with the place of their upper left corner; with ``whole``, of whole rows."""
        weights, block = self.split(), self._block(padded)
        w, height, width = padded.shape[3] - 2, rows.index.shape[1], cols.index.shape[1]
        wide = width if whole else min(width, block)
        tall = max(1, block // wide)
        most = max(1, TABLE_BYTES // (w * 4 * self.table_width) * (1 if padded.is_cpu else 64))
        high = rows.index.amax(0).cummax(0).values  # mirrored rows at a border may go back a little
        low = rows.index.amin(0).flip(0).cummin(0).values.flip(0)
        start = 0
        while start < height:
            top = int(low[start])
            stop = max(start + 1, int(torch.searchsorted(high, torch.tensor(top + most))))
            bottom = int(high[stop - 1]) + 1
            tables = self.tables(padded[:, :, top : bottom + 2], weights)
            for y in range(start, stop, tall):
                some = rows.part(slice(y, min(y + tall, stop)))
                for x in range(0, width, wide):
                    index, offset = _combined(some, cols.part(slice(x, x + wide)), w, grid=True)
                    queries = _on(padded, index - top * w, offset, ratio)
                    values = self._padded_answer(tables, queries, weights)
                    yield y, x, values.T.unflatten(1, (some.index.shape[1], -1))  # (channels, n, m)
            start = stop

    def _padded_answer(self, tables: Tables, queries: Queries, weights: object) -> Float[Tensor, "q _"]:
        """Answers for a multiple of ``LANES`` queries, the last one repeated, cut to those that were asked for."""
        asked = queries.index.shape[1]
        more = -asked % LANES
        if more:
            index = torch.cat([queries.index, queries.index[:, -1:].expand(-1, more)], dim=1)
            offset = torch.cat([queries.offset, queries.offset[:, -1:].expand(-1, more, -1)], dim=1)
            ratio = queries.ratio
            if len(ratio) > 1:
                ratio = torch.cat([ratio, ratio[-1:].expand(more, -1)])
            queries = Queries(index, offset, ratio)
        return self.answer(tables, queries, weights)[:asked]


class AnyScale(nn.Module):
    """A picture of any size from a small one: features by the encoder, colours by the decoder.

    Attributes
    ----------
    encoder, decoder : Module
        Both work with normalised colours; together they are what the official code calls the network.
    """

    def __init__(self, encoder: nn.Module, decoder: Decoder, rgb_range: Real | None = None):
        super().__init__()
        self.encoder, self.decoder, self.rgb_range = encoder, decoder, rgb_range
        mean, unit = ([0.5], 0.5) if rgb_range is None else (MEAN, 1 / rgb_range)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.unit = unit

    def normalise(self, image: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b 3 h w"]:
        """Colours in [0, 1] as the network sees them: in [-1, 1] unless ``rgb_range`` is given."""
        return (image - self.mean) / self.unit

    def forward(
        self, lr: Float[Tensor, "b 3 h w"], size: Size | Sequence[Size], pixels: Int[Tensor, "b q"] | None = None
    ) -> Float[Tensor, "b 3 *pixels"]:
        """Enlarge.

        Parameters
        ----------
        lr
            Colours in [0, 1].
        size
            Height and width of the result: any, also ones that stretch the picture or make it smaller.
        pixels
            Answer for these alone, see :meth:`Decoder.at`; each picture may have a size of its own then.

        Returns
        -------
        Tensor
            Colours around [0, 1], not clipped.
        """
        feature = self.encoder(self.normalise(lr)).to(lr.dtype)  # places are told in full, whatever autocast makes
        picture = self.decoder(feature, size) if pixels is None else self.decoder.at(feature, size, pixels)
        if pixels is not None:
            return picture * self.unit + self.mean[..., 0]
        if torch.is_grad_enabled():
            return picture * self.unit + self.mean
        return picture.mul_(self.unit).add_(self.mean)  # large pictures are not copied


def make_encoder(encoder: str | nn.Module) -> tuple[nn.Module, int]:
    """An encoder by name (``rdn``, ``edsr-baseline``, ``edsr``, ``small``) or a module as it is, and its channels.

    A module says how many channels it gives in an attribute ``channels``; without one, 64 are expected.
    """
    known = {"rdn": RDN, "edsr-baseline": edsr_baseline, "edsr": edsr_full, "small": small_trunk}
    if isinstance(encoder, str):
        if encoder not in known:
            raise ValueError(f"encoder must be one of {', '.join(known)} or a module, got {encoder!r}")
        encoder = known[encoder]()
    return encoder, int(getattr(encoder, "channels", 64))


def linear(x: Float[Tensor, "n i"], weight: Float[Tensor, "o i"], bias: Float[Tensor, " o"] | None) -> Tensor:
    """``functional.linear``, on x86 processors up to twice as fast.

    PyTorch multiplies matrices of float32 by MKL there, and 1x1 convolutions of at least 16 images by oneDNN.
    """
    if not x.is_cpu or x.dtype != torch.float32 or len(x) % LANES or not torch.backends.mkldnn.is_available():
        return functional.linear(x, weight, bias)
    images = x.view(LANES, -1, 1, x.shape[1]).permute(0, 3, 1, 2)  # (16, i, n / 16, 1), channels last in memory
    return functional.conv2d(images, weight[:, :, None, None], bias).permute(0, 2, 3, 1).reshape(len(x), -1)


def table(padded: Float[Tensor, "b c h2 w2"], weight: Float[Tensor, "o c9"], bias: Tensor | None) -> Tensor:
    """Products of a layer with the 3x3 features around each pixel, (b h w, o).

    The unfolded features are never made: a layer on them is a 3x3 convolution. A layer whose ``weight`` fits the plain
    features gets these.
    """
    channels = padded.shape[1]
    if weight.shape[1] == channels:
        padded, kernel = padded[:, :, 1:-1, 1:-1], weight[:, :, None, None]
    else:
        kernel = weight.unflatten(1, (channels, 3, 3))
    found = functional.conv2d(padded.contiguous(memory_format=torch.channels_last), kernel, bias)  # (b, o, h, w)
    return found.permute(0, 2, 3, 1).flatten(0, 2)


def rows(table: Float[Tensor, "p c"], index: Int[Tensor, " q"]) -> Float[Tensor, "q c"]:
    """The rows of a table that answer for queries."""
    return table.index_select(0, index)


def plus(x: Tensor, y: Tensor) -> Tensor:
    """``x + y``; without gradients in the memory of ``x``, as the three that follow."""
    return x + y if torch.is_grad_enabled() else x.add_(y)


def times(x: Tensor, y: Tensor) -> Tensor:
    """``x * y``."""
    return x * y if torch.is_grad_enabled() else x.mul_(y)


def relu(x: Tensor) -> Tensor:
    """``max(x, 0)``."""
    return torch.relu(x) if torch.is_grad_enabled() else x.relu_()


def sin(x: Tensor) -> Tensor:
    """The sine."""
    return torch.sin(x) if torch.is_grad_enabled() else x.sin_()


def checked(size: Size) -> tuple[int, int]:
    """Height and width, or a ValueError."""
    if len(size) != 2 or not all(isinstance(n, Integral) and n > 0 for n in size):
        raise ValueError(f"size must be a height and a width of at least one pixel, got {size}")
    return int(size[0]), int(size[1])


def inverse_scale(feature: Float[Tensor, "b c h w"], size: Size) -> Float[Tensor, "1 2"]:
    """Height and width of features divided by those of a large picture."""
    return feature.new_tensor([[feature.shape[2] / size[0], feature.shape[3] / size[1]]])


def _padded(feature: Tensor) -> Tensor:
    return functional.pad(feature, (1, 1, 1, 1))


def _combined(rows: Axis, cols: Axis, width: int, grid: bool) -> tuple[Tensor, Tensor]:
    """Places in the plane from places on two axes: of all pairs in a ``grid``, or pair by pair.

    Returns indices (k^2, q) into small pixels and offsets (k^2, q, 2).
    """
    r, c = (rows.index[:, None], rows.offset[:, None]), (cols.index[None], cols.offset[None])  # (k, 1, n), (1, k, m)
    if grid:
        r, c = tuple(x[..., None] for x in r), tuple(x[:, :, None] for x in c)  # (k, 1, n, 1), (1, k, 1, m)
    index = r[0] * width + c[0]
    offset = torch.stack(torch.broadcast_tensors(r[1], c[1]), dim=-1)
    return index.flatten(2).flatten(0, 1) if grid else index.flatten(0, 1), offset.reshape(len(index) ** 2, -1, 2)


def _on(feature: Tensor, index: Tensor, offset: Tensor, ratio: Tensor) -> Queries:
    return Queries(index.to(feature.device), offset.to(feature.device, feature.dtype), ratio)


def _parts(queries: Queries, block: int) -> Iterator[Queries]:
    parts = (queries.index.split(block, 1), queries.offset.split(block, 1), queries.ratio.split(block))
    return (Queries(*part) for part in zip(*parts, strict=True))
