"""Fast decoders against the decoders' own ``forward``, on fresh inputs and awkward sizes."""

import pytest
import torch
from torch import nn

from restore_lib.fast import decoders
from restore_lib.fast.decoders import accelerated, decode, decode_at, decode_grid
from restore_lib.implicit import DIINNDecoder, LIIFDecoder, MetaSRDecoder

MAKERS = {
    **{f"diinn-{v}": lambda v=v: DIINNDecoder(5, v, width=24, layers=3) for v in "abcdef"},
    "diinn-side": lambda: DIINNDecoder(5, third="side", width=24),
    "liif": lambda: LIIFDecoder(5, (24, 20, 16)),
    "liif-no-ensemble": lambda: LIIFDecoder(5, (24, 20), ensemble=False),
    "liif-no-unfold": lambda: LIIFDecoder(5, (24, 20), unfold=False, cell=False),
    "liif-plain": lambda: LIIFDecoder(5, (24, 20), unfold=False, ensemble=False, cell=False),
    "metasr": lambda: MetaSRDecoder(5, 20),
}
SIZES = [
    ((5, 6), (13, 17)),
    ((4, 7), (12, 21)),
    ((6, 5), (6, 5)),
    ((7, 9), (4, 30)),
    ((1, 3), (2, 19)),
    ((3, 2), (45, 31)),
]
every_decoder = pytest.mark.parametrize("name", MAKERS)


def features(rng, *shape):
    return torch.randn(2, 5, *shape, generator=rng, dtype=torch.float64)


def close(fast, expected, relative):
    """Within ``relative`` of the largest value that is expected."""
    torch.testing.assert_close(fast, expected, rtol=0, atol=relative * float(expected.detach().abs().max()))


@every_decoder
@pytest.mark.parametrize(("small", "large"), SIZES)
def test_it_equals_the_plain_form(name, small, large, rng):
    decoder, x = MAKERS[name]().double(), features(rng, *small)
    with torch.no_grad():
        expected = decoder(x, large)
        close(decode(decoder, x, large), expected, 1e-11)
        close(decode(decoder.float(), x.float(), large).double(), expected, 2e-5)


@every_decoder
def test_gradients_equal_those_of_the_plain_form(name, rng):
    decoder, size = MAKERS[name]().double(), (11, 8)
    weights, gradients = torch.randn(2, 3, *size, generator=rng, dtype=torch.float64), []
    x = features(rng, 4, 5).requires_grad_()
    for colours in (decode(decoder, x, size), decoder(x, size)):
        gradients.append(torch.autograd.grad((colours * weights).sum(), [x, *decoder.parameters()]))
    for fast, plain in zip(*gradients, strict=True):
        close(fast, plain, 1e-11)


@every_decoder
@pytest.mark.parametrize("block", [64, 16])
def test_blocks_and_bands_do_not_show(name, block, rng, monkeypatch):
    decoder = MAKERS[name]().double()
    x, size, heights = features(rng, 9, 4), (23, 17), []
    expected = decoder(x, size)
    kind = type(accelerated(decoder))
    tables = kind.tables
    monkeypatch.setattr(kind, "tables", lambda self, padded: heights.append(padded.shape[2]) or tables(self, padded))
    monkeypatch.setattr(kind, "block", block)
    monkeypatch.setattr(decoders, "TABLE_BYTES", 8 * accelerated(decoder).table_width * 4 * 2)  # a few rows
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            torch.testing.assert_close(decode(decoder, x, size), expected)
    assert len(heights) >= 2 * 2 and max(heights) < 9 + 2  # never all rows at once


@pytest.mark.parametrize("name", MAKERS)
def test_single_pixels_are_those_of_the_picture(name, rng):
    decoder, x = MAKERS[name]().double(), features(rng, 6, 5)
    sizes = [(13, 17), (9, 22)]
    pixels = torch.randint(0, 9 * 22, (2, 37), generator=rng)
    colours = decode_at(decoder, x, sizes, pixels)
    for i, size in enumerate(sizes):
        torch.testing.assert_close(colours[i], decoder(x[i : i + 1], size, pixels[i])[0])
        torch.testing.assert_close(colours[i], decoder(x[i : i + 1], size)[0].flatten(1)[:, pixels[i]])
    torch.testing.assert_close(decode_at(decoder, x, [sizes[0]] * 2, pixels)[0], colours[0])


@pytest.mark.parametrize("name", MAKERS)
def test_part_of_a_picture_is_that_part(name, rng):
    decoder, x = MAKERS[name]().double(), features(rng, 6, 5)
    rows, cols = decoder.place(6, 20).part(slice(4, 11)), decoder.place(5, 9).part(slice(2, 9))
    part = decode_grid(decoder, x, rows, cols, x.new_tensor([[6 / 20, 5 / 9]]))
    torch.testing.assert_close(part, decoder(x, (20, 9))[:, :, 4:11, 2:9])


def test_mode_4_has_whole_pictures_only(rng):
    decoder, x = DIINNDecoder(5, "mode4", width=8).double(), features(rng, 3, 3)
    with pytest.raises(ValueError, match="mode4 mirrors"):
        decode(decoder, x, (1, 5))
    with pytest.raises(ValueError, match="neighbours"):
        decode_at(decoder, x, [(5, 5)] * 2, torch.zeros(2, 4, dtype=torch.long))


class Twice(LIIFDecoder):
    """A decoder whose ``forward`` is its own."""

    def forward(self, feature, size, pixels=None):
        return 2 * super().forward(feature, size, pixels)


class Constant(nn.Module):
    def forward(self, feature, size, pixels=None):
        return feature.new_ones(len(feature), 3, *(size if pixels is None else (len(pixels),)))


def test_decoders_of_another_kind_are_called_as_they_are(rng):
    x, pixels = features(rng, 4, 3), torch.tensor([[3, 8], [1, 1]])
    for decoder in (Twice(5, (8, 8)).double(), Constant()):
        assert torch.equal(decode(decoder, x, (9, 7)), decoder(x, (9, 7)))
        each = [decoder(x[i : i + 1], (9, 7), pixels[i]) for i in (0, 1)]
        assert torch.equal(decode_at(decoder, x, [(9, 7)] * 2, pixels), torch.cat(each))
