"""Decoders of super-resolution at any scale, sooner: content multiplied once for each small pixel, and in blocks.

DIINN, LIIF and Meta-SR compute the colours of a large pixel from its place and the features around it. Whatever
multiplies the features alone is the same for all large pixels that ask the same small one, so it is computed once, into
tables, of some rows at a time. The rest is done for blocks of large pixels that fit into the processor's cache. Answers
and gradients are those of the decoder's own ``forward``, up to rounding; other decoders are called as they are.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

Tables = tuple[Float[Tensor, "p _"], ...]
LANES = 16  # images a batch needs for PyTorch to hand a 1x1 convolution to its faster library
TABLE_BYTES = 16 * 2**20


def decode(decoder: nn.Module, feature: Float[Tensor, "b c h w"], size: Sequence[int]) -> Float[Tensor, "b 3 H W"]:
    """``decoder(feature, size)``: a picture of ``size`` = (height, width) in normalised colours."""
    fast = accelerated(decoder)
    return decoder(feature, size) if fast is None else fast.picture(feature, (int(size[0]), int(size[1])))


def decode_at(
    decoder: nn.Module, feature: Float[Tensor, "b c h w"], sizes: Sequence[Sequence[int]], pixels: Int[Tensor, "b q"]
) -> Float[Tensor, "b 3 q"]:
    """``decoder(feature, size, pixels)`` for each picture of a batch, with a (height, width) and pixels of its own."""
    fast = accelerated(decoder)
    if fast is None:
        parts = zip(feature.split(1), sizes, pixels, strict=True)
        return torch.cat([decoder(one, size, some) for one, size, some in parts])
    return fast.at(feature, [(int(height), int(width)) for height, width in sizes], pixels)


def decode_grid(
    decoder: nn.Module, feature: Float[Tensor, "b c h w"], rows: Any, cols: Any, ratio: Float[Tensor, "1 2"]
) -> Float[Tensor, "b 3 n m"]:
    """All pixels of ``rows`` x ``cols``, whose indices count in ``feature``, also that of a window."""
    return KINDS[type(decoder).__name__](decoder).grid(feature, rows, cols, ratio)


def accelerated(decoder: nn.Module) -> "FastDecoder | None":
    """The fast form of a decoder with its weights of the moment, or None where there is none, as for DIINN's mode 4."""
    kind = KINDS.get(type(decoder).__name__)
    return kind(decoder) if kind and getattr(decoder, "variant", "") != "mode4" else None


class FastDecoder:
    """A decoder with its weights cut into what multiplies features and what does not. Subclasses say how.

    ``tables(padded)`` is what depends on features only, a row for each small pixel; features have a border of one pixel
    more. ``answer(tables, index, offset, ratio)`` gives the colours of q large pixels, from tables and the k small
    pixels (rows of the tables) that each one asks: ``index`` (k, q), the ways down and to the right ``offset``
    (k, q, 2), and ``ratio`` (1, 2) for all, or (q, 2).
    """

    block = 1024  # large pixels that each thread of a processor answers for at once; on a GPU 256 times as many
    table_width: int  # numbers that the tables hold for a small pixel
    tables: Callable[..., Tables]
    answer: Callable[..., Tensor]

    def __init__(self, decoder: Any):
        self.decoder = decoder

    def picture(self, feature: Float[Tensor, "b c h w"], size: tuple[int, int]) -> Float[Tensor, "b 3 H W"]:
        """All pixels."""
        (h, w), (height, width), place = feature.shape[2:], size, self.decoder.place
        return self.grid(feature, place(h, height), place(w, width), feature.new_tensor([[h / height, w / width]]))

    def at(
        self, feature: Float[Tensor, "b c h w"], sizes: Sequence[tuple[int, int]], pixels: Int[Tensor, "b q"]
    ) -> Float[Tensor, "b 3 q"]:
        """Only some pixels of each picture: a training step need not see all."""
        (h, w), place, q = feature.shape[2:], self.decoder.place, pixels.shape[1]
        axis, starts = along(place, [side for y, x in sizes for side in ((h, y), (w, x))])
        axis = type(axis)(_onto(feature, axis.index), _onto(feature, axis.offset.to(feature.dtype)))  # (k, m)
        about = [(x, starts[h, y], starts[w, x], i * h * w) for i, (y, x) in enumerate(sizes)]
        width, top, left, first = _onto(feature, torch.tensor(about))[..., None].unbind(1)  # (b, 1) each
        rows, cols = (axis.part(n.flatten()) for n in (pixels // width + top, pixels % width + left))
        index, offset = rows.paired(cols, w)  # (k, b q), (k, b q, 2)
        index = index + first.expand_as(pixels).flatten()
        ratio = _onto(feature, torch.tensor([(h / y, w / x) for y, x in sizes], dtype=feature.dtype))  # (b, 2)
        ratio, block = ratio.repeat_interleave(q, 0), self._block(feature)
        tables = self.tables(functional.pad(feature, (1, 1, 1, 1)))
        parts = zip(index.split(block, 1), offset.split(block, 1), ratio.split(block), strict=True)
        colours = torch.cat([self._in_lanes(tables, *part) for part in parts])
        return colours.unflatten(0, pixels.shape).movedim(2, 1)  # (b, 3, q)

    def grid(
        self, feature: Float[Tensor, "b c h w"], rows: Any, cols: Any, ratio: Float[Tensor, "1 2"]
    ) -> Float[Tensor, "b _ n m"]:
        """All pixels of ``rows`` x ``cols``, see :func:`decode_grid`."""
        shape = rows.index.shape[1], cols.index.shape[1]
        padded = functional.pad(feature, (1, 1, 1, 1)).split(1)
        pictures = [torch.cat(list(self._blocks(one, rows, cols, ratio))).T for one in padded]
        return torch.stack(pictures).unflatten(2, shape)

    def around(
        self, nine: Float[Tensor, "p c 3 3"], offset: Float[Tensor, "k q 2"], ratio: Float[Tensor, "q 2"]
    ) -> Float[Tensor, "q 3"]:
        """Single pixels of any pictures, each from the 3x3 features around the k small pixels it asks; p = k q."""
        index = torch.arange(len(nine), device=nine.device).view(offset.shape[:2])
        return self._in_lanes(self.tables(nine), index, offset, ratio)

    def _block(self, feature: Tensor) -> int:
        return self.block * (torch.get_num_threads() if feature.is_cpu else 256)

    def _blocks(self, padded: Tensor, rows: Any, cols: Any, ratio: Tensor) -> Iterator[Float[Tensor, "q _"]]:
        """The picture's pixels, row by row, in blocks; with tables of a few rows of small pixels at a time."""
        w, height, width = padded.shape[3] - 2, rows.index.shape[1], cols.index.shape[1]
        most = max(1, TABLE_BYTES // (w * 4 * self.table_width) * (1 if padded.is_cpu else 64))
        low, high, start = rows.index.amin(0), rows.index.amax(0), 0
        while start < height:
            top = int(low[start])
            stop = max(start + 1, int(torch.searchsorted(high, torch.tensor(top + most))))
            tables = self.tables(padded[:, :, top : int(high[stop - 1]) + 3])
            for pixels in torch.arange(start * width, stop * width).split(self._block(padded)):
                index, offset = rows.part(pixels // width).paired(cols.part(pixels % width), w)
                index, offset = (index - top * w).to(padded.device), offset.to(padded.device, padded.dtype)
                yield self._in_lanes(tables, index, offset, ratio)
            start = stop

    def _in_lanes(self, tables: Tables, index: Tensor, offset: Tensor, ratio: Tensor) -> Float[Tensor, "q _"]:
        """Answers for a multiple of ``LANES`` pixels, the last one repeated, cut to those that were asked for."""
        asked = index.shape[1]
        if asked % LANES:
            pick = torch.arange(asked + -asked % LANES, device=index.device).clamp(max=asked - 1)
            index, offset, ratio = index[:, pick], offset[:, pick], ratio if len(ratio) == 1 else ratio[pick]
        return self.answer(tables, index, offset, ratio)[:asked]


class FastDIINN(FastDecoder):
    """Eqs. 4 and 7 multiply a layer's output and the content by one matrix; here by one each: W [s; z] = U s + V z."""

    def __init__(self, decoder: Any):
        super().__init__(decoder)
        first, *others = (layer.weight for layer in decoder.modulation)
        width = decoder.width
        self.before = [None, *(weight[:, :width].contiguous() for weight in others)]  # the first layer has none
        self.content = [first, *(weight[:, width:].contiguous() for weight in others)]  # no columns under Eq. 6
        self.table_width = first.shape[1] if decoder.position is not None else len(self.content) * width

    def tables(self, padded: Float[Tensor, "b c h2 w2"]) -> Tables:
        """The content's part in each modulation layer; where it has no other part, the layer's output."""
        if self.decoder.position is not None:  # content is multiplied pixel by pixel (Eq. 9) before it meets a weight
            return (functional.unfold(padded, 3).mT.flatten(0, 1).contiguous(),)  # (b h w, 9 c)
        tables = []
        for i, (layer, weight) in enumerate(zip(self.decoder.modulation, self.content, strict=True)):
            m = products(padded, weight, layer.bias) if weight.shape[1] else layer.bias  # (b h w, width)
            if self.decoder.reads != "synthesis+content":  # Eqs. 6 and 7 never leave the small picture
                m = torch.relu(m + linear(tables[-1], self.before[i], None) if i else m)
            elif i == 0:
                m = torch.relu(m)  # Eq. 2
            tables.append(m)
        return tuple(tables)

    def answer(self, tables: Tables, index: Tensor, offset: Tensor, ratio: Tensor) -> Float[Tensor, "q _"]:
        """Eqs. 2 to 5, and the last layer; Eqs. 8 and 9 before them in variants that have them."""
        decoder, index, area = self.decoder, index[0], ratio.prod(1, keepdim=True)
        third = area if decoder.third == "area" else area.sqrt()
        p = torch.cat([offset[0], third.expand(len(index), 1)], dim=1)  # (q, 3)
        z = s = m = cast(Any, None)
        if decoder.position is not None:
            p = sin(decoder.position(p))  # (q, 9 c), Eq. 8
            z = p * tables[0].index_select(0, index)  # (q, 9 c), Eq. 9
        for i, (modulation, synthesis) in enumerate(zip(decoder.modulation, decoder.synthesis, strict=True)):
            before = s if decoder.reads == "synthesis+content" else m
            if z is not None:
                parts = [(before, self.before[i])] if i else []
                parts += [(z, self.content[i])] if self.content[i].shape[1] else []
                m = linear(*parts[0], modulation.bias)
                m = relu(plus(m, linear(*parts[1], None)) if parts[1:] else m)
            else:
                m = tables[i].index_select(0, index)  # (q, width), has been through its ReLU where it is complete
                if i and decoder.reads == "synthesis+content":
                    m = relu(plus(m, linear(before, self.before[i], None)))  # Eq. 4
            s = times(sin(linear(p if s is None else s, synthesis.weight, synthesis.bias)), m)  # Eqs. 3 and 5
        return linear(s, decoder.last.weight, decoder.last.bias)  # (q, 3)


class FastLIIF(FastDecoder):
    """The first layer multiplies content and place by one matrix; here by one each."""

    block = 512

    def __init__(self, decoder: Any):
        super().__init__(decoder)
        weight = decoder.layers[0].weight
        self.content = weight[:, : decoder.content].contiguous()
        self.place = weight[:, decoder.content :].T.contiguous()
        self.table_width = len(weight)

    def tables(self, padded: Float[Tensor, "b c h2 w2"]) -> Tables:
        """The content's part in the first layer."""
        return (products(padded, self.content, self.decoder.layers[0].bias),)

    def answer(self, tables: Tables, index: Tensor, offset: Tensor, ratio: Tensor) -> Float[Tensor, "q 3"]:
        """Eq. 1 for each feature that is asked, and Eq. 4."""
        corners, count = index.shape
        place = offset.flatten(0, 1)  # (k q, 2)
        if self.decoder.cell:
            size = (2 * ratio).expand(count, 2)  # a large pixel in halves of a small one
            place = torch.cat([place, size.repeat(corners, 1)], dim=1)  # (k q, 4)
        x = relu(torch.addmm(tables[0].index_select(0, index.flatten()), place, self.place))  # (k q, hidden)
        *hidden, last = self.decoder.layers[1:]
        for layer in hidden:
            x = relu(linear(x, layer.weight, layer.bias))  # (k q, hidden)
        if self.decoder.ensemble:  # mixing before the last layer is mixing after it: it is linear, shares add up to 1
            area = offset.prod(-1).abs() + 1e-9  # (4, q)
            share = area.flip(0) / area.sum(0)  # the area opposite to a feature
            x = (x.unflatten(0, (corners, count)) * share[..., None]).sum(0)  # (q, hidden)
        return linear(x, last.weight, last.bias)


class FastMetaSR(FastDecoder):
    """The second layer from the features' side: no filter is made.

    Colours are linear in the filters, and these in the hidden channels; so features meet the second layer once for each
    small pixel, and a large pixel takes the sum over hidden channels.
    """

    block = 512

    def __init__(self, decoder: Any):
        super().__init__(decoder)
        last = decoder.layers[-1]
        self.hidden = last.weight.unflatten(0, (-1, 3)).permute(1, 2, 0).flatten(0, 1).contiguous()  # (3 width, 9 c)
        self.bias = last.bias.unflatten(0, (-1, 3)).T.contiguous()  # (3, 9 c)
        self.table_width = len(self.hidden)

    def tables(self, padded: Float[Tensor, "b c h2 w2"]) -> Tables:
        """Features times second layer: a number for each colour and hidden channel, and one for each colour."""
        return products(padded, self.hidden, None), products(padded, self.bias, None)  # (b h w, 3 width), (b h w, 3)

    def answer(self, tables: Tables, index: Tensor, offset: Tensor, ratio: Tensor) -> Float[Tensor, "q 3"]:
        """Eqs. 4 to 6."""
        place = torch.cat([offset[0], ratio[:, :1].expand(offset.shape[1], 1)], dim=1)  # (q, 3)
        first = self.decoder.layers[0]
        hidden = relu(linear(place, first.weight, first.bias))  # (q, width)
        rows = tables[0].index_select(0, index[0]).unflatten(1, (3, -1))  # (q, 3, width)
        return times(rows, hidden[:, None]).sum(-1) + tables[1].index_select(0, index[0])


def along(place: Callable[[int, int], Any], sides: Sequence[tuple[int, int]]) -> tuple[Any, dict[tuple[int, int], int]]:
    """Places along several sides (small, large), one after the other, and where those of each begin."""
    starts, axes, end = {}, [], 0
    for side in dict.fromkeys(sides):
        axes.append(place(*side))
        starts[side], end = end, end + side[1]
    index, offset = torch.cat([axis.index for axis in axes], 1), torch.cat([axis.offset for axis in axes], 1)
    return type(axes[0])(index, offset), starts


def _onto(feature: Tensor, x: Tensor) -> Tensor:
    """A tensor of the CPU on the device of features, without a wait on GPUs."""
    return x if feature.is_cpu else x.pin_memory().to(feature.device, non_blocking=True)


def linear(x: Float[Tensor, "n i"], weight: Float[Tensor, "o i"], bias: Float[Tensor, " o"] | None) -> Tensor:
    """``functional.linear``; on x86, oneDNN's 1x1 convolution of 16 images is up to twice as fast as MKL's product."""
    if not x.is_cpu or x.dtype != torch.float32 or len(x) % LANES or not torch.backends.mkldnn.is_available():
        return functional.linear(x, weight, bias)
    images = x.view(LANES, -1, 1, x.shape[1]).permute(0, 3, 1, 2)  # (16, i, n / 16, 1), channels last in memory
    return functional.conv2d(images, weight[:, :, None, None], bias).permute(0, 2, 3, 1).reshape(len(x), -1)


def products(padded: Float[Tensor, "b c h2 w2"], weight: Float[Tensor, "o c9"], bias: Tensor | None) -> Tensor:
    """A layer on the 3x3 features around each pixel, (b h w, o), as a convolution; or on the plain ones alone."""
    channels = padded.shape[1]
    if weight.shape[1] == channels:
        padded, kernel = padded[:, :, 1:-1, 1:-1], weight[:, :, None, None]
    else:
        kernel = weight.unflatten(1, (channels, 3, 3))
    out = functional.conv2d(padded.contiguous(memory_format=torch.channels_last), kernel, bias)  # (b, o, h, w)
    return out.permute(0, 2, 3, 1).flatten(0, 2)


def in_place(name: str) -> Callable[..., Tensor]:
    """A tensor's method; without gradients in the tensor's memory."""
    return lambda x, *y: getattr(x, name if torch.is_grad_enabled() else f"{name}_")(*y)


plus, times, relu, sin = in_place("add"), in_place("mul"), in_place("relu"), in_place("sin")


KINDS = {"DIINNDecoder": FastDIINN, "LIIFDecoder": FastLIIF, "MetaSRDecoder": FastMetaSR}  # of the room above this one
