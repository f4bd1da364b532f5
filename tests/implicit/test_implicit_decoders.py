"""DIINN, LIIF and Meta-SR against plain versions of themselves, on fresh inputs and awkward sizes."""

import subprocess
import sys

import plain_implicit as plain
import pytest
import torch
from torch import nn

from restore_lib.implicit import DIINN, LIIF, DIINNDecoder, LIIFDecoder, MetaSR, MetaSRDecoder, anyscale, diinn
from restore_lib.pretrained.architectures import build, describe

VARIANTS = ["a", "b", "c", "d", "e", "f", "mode4"]
MAKERS = {
    **{f"diinn-{v}": (lambda v=v: DIINNDecoder(5, v, width=24, layers=3), plain.diinn) for v in VARIANTS},
    "diinn-side": (lambda: DIINNDecoder(5, third="side", width=24), plain.diinn),
    "liif": (lambda: LIIFDecoder(5, (24, 20, 16)), plain.liif),
    "liif-plain": (lambda: LIIFDecoder(5, (24, 20), unfold=False, ensemble=False, cell=False), plain.liif),
    "metasr": (lambda: MetaSRDecoder(5, 20), plain.metasr),
}
SIZES = [
    ((5, 6), (13, 17)),
    ((4, 7), (12, 21)),
    ((6, 5), (6, 5)),
    ((7, 9), (4, 30)),
    ((1, 3), (2, 19)),
    ((3, 2), (45, 31)),
]
both = pytest.mark.parametrize("name", MAKERS)


def features(rng, *shape):
    return torch.randn(2, 5, *shape, generator=rng, dtype=torch.float64)


def close(found, expected, relative):
    """Within ``relative`` of the largest value that is expected."""
    torch.testing.assert_close(found, expected, rtol=0, atol=relative * float(expected.detach().abs().max()))


@both
@pytest.mark.parametrize(("small", "large"), SIZES)
def test_it_equals_the_plain_version(name, small, large, rng):
    make, reference = MAKERS[name]
    decoder, x = make().double(), features(rng, *small)
    with torch.no_grad():
        expected = reference(decoder, x, large)
        close(decoder(x, large), expected, 1e-11)
        close(decoder.float()(x.float(), large).double(), expected, 2e-5)


@both
def test_gradients_equal_the_plain_versions(name, rng):
    make, reference = MAKERS[name]
    decoder, size = make().double(), (11, 8)
    weights = torch.randn(2, 3, *size, generator=rng, dtype=torch.float64)
    found = []
    for run in (lambda x: decoder(x, size), lambda x: reference(decoder, x, size)):
        x = features(rng.manual_seed(3), 4, 5).requires_grad_()
        found.append(torch.autograd.grad((run(x) * weights).sum(), [x, *decoder.parameters()]))
    for fast, slow in zip(*found, strict=True):
        close(fast, slow, 1e-11)


@both
@pytest.mark.parametrize("block", [64, 16])
def test_blocks_and_bands_do_not_show(name, block, rng, monkeypatch):
    decoder = MAKERS[name][0]().double()
    x, size = features(rng, 9, 4), (23, 17)
    expected = decoder(x, size)  # with gradients: blocks of whole rows
    calls = []
    tables = decoder.tables
    monkeypatch.setattr(
        decoder, "tables", lambda padded, split: calls.append(len(padded[0, 0])) or tables(padded, split)
    )
    monkeypatch.setattr(decoder, "block", block)
    monkeypatch.setattr(anyscale, "TABLE_BYTES", 8 * decoder.table_width * 4 * 2)  # a few rows
    monkeypatch.setattr(diinn, "STRIP", 100)
    with torch.no_grad():
        torch.testing.assert_close(decoder(x, size), expected)
    assert len(calls) >= 2 * 2 and max(calls) < 9 + 2  # never all rows at once


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "diinn-mode4"])
def test_single_pixels_are_those_of_the_picture(name, rng):
    decoder, x = MAKERS[name][0]().double(), features(rng, 6, 5)
    sizes = [(13, 17), (9, 22)]
    pixels = torch.randint(0, 9 * 22, (2, 37), generator=rng)
    found = decoder.at(x, sizes, pixels)
    for i, size in enumerate(sizes):
        torch.testing.assert_close(found[i], decoder(x[i : i + 1], size)[0].flatten(1)[:, pixels[i]])
    torch.testing.assert_close(decoder.at(x, sizes[0], pixels)[0], found[0])


@both
def test_moving_the_features_by_a_pixel_moves_the_picture_by_the_scale(name, rng):
    decoder, x = MAKERS[name][0]().double(), features(rng, 9, 9)
    here, there = decoder(x, (27, 36)), decoder(x.roll((1, 1), (2, 3)), (27, 36))
    close(there[..., 9:21, 12:28], here[..., 6:18, 8:24], 1e-5)


@both
def test_a_pixel_sees_few_features(name, rng):
    decoder, x = MAKERS[name][0]().double(), features(rng, 9, 9).requires_grad_()
    decoder(x, (27, 27))[0, :, 13, 13].sum().backward()
    seen = x.grad[0].abs().sum(0)
    assert seen[4, 4] > 0 and seen[:2].sum() == seen[7:].sum() == seen[:, :2].sum() == seen[:, 7:].sum() == 0


@pytest.mark.parametrize(
    ("make", "decoder", "whole"),
    [
        (lambda: DIINN("a"), 693_251, 22_667_203),
        (lambda: DIINN("b"), 544_259, 22_518_211),
        (lambda: DIINN("c"), 1_135_619, 23_109_571),
        (lambda: DIINN("d"), 986_627, 22_960_579),
        (lambda: DIINN("e"), 1_135_619, 23_109_571),
        (DIINN, 986_627, 22_960_579),
        (LIIF, 346_883, 22_320_835),
        (MetaSR, 445_120, 22_419_072),
        (lambda: LIIF("edsr-baseline"), 346_883, 1_567_299),
    ],
)
def test_parameters_are_those_of_the_official_networks(make, decoder, whole):
    with torch.device("meta"):
        model = make()
    assert sum(p.numel() for p in model.decoder.parameters()) == decoder
    assert sum(p.numel() for p in model.parameters()) == whole


@pytest.mark.parametrize("make", [DIINN, LIIF, MetaSR])
def test_a_model_normalises_colours_around_encoder_and_decoder(make, rng):
    model = make(encoder="small")
    lr = torch.rand(2, 3, 7, 8, generator=rng)
    inside = model.decoder(model.encoder((lr - 0.5) / 0.5), (15, 9))
    torch.testing.assert_close(model(lr, size=(15, 9)), inside * 0.5 + 0.5)
    with torch.inference_mode():
        torch.testing.assert_close(model(lr, size=[15, 9]), inside * 0.5 + 0.5)


def test_meta_sr_can_see_colours_as_its_own_code_does(rng):
    model = MetaSR("small", rgb_range=255)
    lr, mean = torch.rand(1, 3, 5, 6, generator=rng), torch.tensor([0.4488, 0.4371, 0.4040])[:, None, None]
    inside = model.decoder(model.encoder(255 * lr - 255 * mean), (8, 9))
    torch.testing.assert_close(model(lr, (8, 9)), inside / 255 + mean)


def test_any_module_can_be_the_encoder():
    encoder = nn.Conv2d(3, 6, 3, padding=1)
    encoder.channels = 6
    assert LIIF(encoder)(torch.rand(1, 3, 5, 5), (7, 9)).shape == (1, 3, 7, 9)


def test_cards_can_name_them():
    assert build(describe(DIINN, variant="e", encoder="small", width=16)).decoder.variant == "e"
    assert len(build(describe(LIIF, encoder="small", hidden=[16, 16])).decoder.layers) == 3
    assert build(describe(MetaSR, encoder="small", width=8)).decoder.width == 8


@pytest.mark.parametrize("size", [(0, 5), (5,), (5, 5, 5), (5, 2.5)])
def test_it_refuses_impossible_sizes(size):
    with pytest.raises(Exception, match="size"):
        MetaSRDecoder(4, 8)(torch.rand(1, 4, 3, 3), size)


def test_it_refuses_unknown_options():
    with pytest.raises(ValueError, match="encoder must be one of"):
        LIIF("vgg")
    with pytest.raises(ValueError, match="mode4 mirrors"):
        DIINNDecoder(4, "mode4", width=8)(torch.rand(1, 4, 3, 3), (1, 5))
    with pytest.raises(ValueError, match="neighbours"):
        DIINNDecoder(4, "mode4", width=8).at(torch.rand(1, 4, 3, 3), (5, 5), torch.zeros(1, 2, dtype=torch.long))


def test_importing_the_library_stays_light():
    code = (
        "import sys, restore_lib; assert 'torch' not in sys.modules; import restore_lib.implicit as i; i.DIINN, i.LIIF"
    )
    code += "; assert 'lightning_fabric' not in sys.modules and 'lightning' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
