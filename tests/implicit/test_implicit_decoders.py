"""DIINN, LIIF and Meta-SR pixel by pixel, by hand; what they see, how large they are, and what they refuse."""

import math
import subprocess
import sys

import pytest
import torch
from torch import nn

from restore_lib.implicit import DIINN, LIIF, DIINNDecoder, LIIFDecoder, MetaSR, MetaSRDecoder
from restore_lib.pretrained import build, describe

VARIANTS = ["a", "b", "c", "d", "e", "f", "mode4"]


def around(feature, i, j):
    """The 3x3 features around pixel (i, j) of (c, h, w), zeros outside: (9 c,)."""
    padded = nn.functional.pad(feature, (1, 1, 1, 1))
    return padded[:, i : i + 3, j : j + 3].flatten()


def nearest(feature, size, y, x):
    """The small pixel that (y, x) lies in, and the way from its centre in halves of it."""
    places = [(2 * k + 1) * n / (2 * large) for k, n, large in zip((y, x), feature.shape[1:], size, strict=True)]
    i, j = (math.floor(place) for place in places)
    return i, j, [2 * (places[0] - i) - 1, 2 * (places[1] - j) - 1]


def diinn_pixel(decoder, feature, size, y, x):
    """What the last layer reads at one pixel."""
    i, j, local = nearest(feature, size, y, x)
    z, area = around(feature, i, j), feature.shape[1] * feature.shape[2] / (size[0] * size[1])
    p = z.new_tensor([*local, area if decoder.third == "area" else math.sqrt(area)])
    if decoder.position is not None:
        p = (decoder.position.weight @ p + decoder.position.bias).sin()
        z = p * z
    m = s = None
    for k, (modulation, synthesis) in enumerate(zip(decoder.modulation, decoder.synthesis, strict=True)):
        before = z
        if k:
            first = s if decoder.variant in ("e", "f", "mode4") else m
            before = first if decoder.variant in ("a", "b") else torch.cat([first, z])
        m = (modulation.weight @ before + modulation.bias).clamp(min=0)
        s = m * (synthesis.weight @ (p if s is None else s) + synthesis.bias).sin()
    return s


def liif_pixel(decoder, feature, size, y, x):
    """Four answers, or one, by bilinear shares."""
    h, w = feature.shape[1:]
    v, u = ((2 * k + 1) * n / (2 * large) - 0.5 for k, n, large in zip((y, x), (h, w), size, strict=True))
    corners = [(math.floor(v) + a, math.floor(u) + b) for a in (0, 1) for b in (0, 1)]
    if not decoder.ensemble:
        i, j, _ = nearest(feature, size, y, x)
        corners = [(i, j)]
    colours = 0
    for i, j in corners:
        share = (1 - abs(v - i)) * (1 - abs(u - j)) if decoder.ensemble else 1
        parts = [around(feature, i, j) if decoder.unfold else feature[:, i, j], feature.new_tensor([v - i, u - j]) * 2]
        if decoder.cell:
            parts.append(feature.new_tensor([2 * h / size[0], 2 * w / size[1]]))
        values = torch.cat(parts)
        for k, layer in enumerate(decoder.layers):
            values = layer.weight @ (values.clamp(min=0) if k else values) + layer.bias
        colours = colours + share * values
    return colours


def metasr_pixel(decoder, feature, size, y, x):
    """One filter, made and applied."""
    (h, w), (first, second) = feature.shape[1:], decoder.layers
    place = feature.new_tensor([y * h / size[0] % 1, x * w / size[1] % 1, h / size[0]])
    filters = second.weight @ (first.weight @ place + first.bias).clamp(min=0) + second.bias
    return around(feature, y * h // size[0], x * w // size[1]) @ filters.view(-1, 3)


MAKERS = {
    **{f"diinn-{v}": (lambda v=v: DIINNDecoder(5, v, width=24, layers=3), diinn_pixel) for v in VARIANTS},
    "diinn-side": (lambda: DIINNDecoder(5, third="side", width=24), diinn_pixel),
    "liif": (lambda: LIIFDecoder(5, (24, 20, 16)), liif_pixel),
    "liif-no-cell": (lambda: LIIFDecoder(5, (24, 20), unfold=False, cell=False), liif_pixel),
    "liif-plain": (lambda: LIIFDecoder(5, (24, 20), unfold=False, ensemble=False, cell=False), liif_pixel),
    "metasr": (lambda: MetaSRDecoder(5, 20), metasr_pixel),
}
every_decoder = pytest.mark.parametrize("name", MAKERS)


def features(rng, *shape):
    return torch.randn(2, 5, *shape, generator=rng, dtype=torch.float64)


def close(colours, expected, relative):
    """Within ``relative`` of the largest value that is expected."""
    torch.testing.assert_close(colours, expected, rtol=0, atol=relative * float(expected.detach().abs().max()))


@every_decoder
@pytest.mark.parametrize(("small", "large"), [((6, 5), (14, 17)), ((7, 6), (5, 32))])  # no pixel lies between two
def test_a_picture_is_its_pixels_by_hand(name, small, large, rng):
    make, pixel = MAKERS[name]
    decoder, feature = make().double(), features(rng, *small)
    with torch.no_grad():
        picture = decoder(feature, large)
        # Where LIIF's four are not all in the picture its shares are those of the official code, see the fixtures.
        rows, cols = (
            [k for k in range(n) if 1 <= (2 * k + 1) * m / (2 * n) < m - 1] for m, n in zip(small, large, strict=True)
        )
        for b, y, x in ((b, y, x) for b in (0, 1) for y in rows[::2] for x in cols[::3]):
            if name == "diinn-mode4":
                near = [(min(max(y + dy, -(y + dy)), 2 * large[0] - 2 - y - dy), x + dx)
                        for dy in (-1, 0, 1) for dx in (-1, 0, 1)]  # fmt: skip
                s = torch.stack([pixel(decoder, feature[b], large, *at) for at in near], -1)  # (width, 9)
                expected = (decoder.last.weight.flatten(2) * s).sum((1, 2)) + decoder.last.bias
            elif pixel is diinn_pixel:
                expected = decoder.last(pixel(decoder, feature[b], large, y, x))
            else:
                expected = pixel(decoder, feature[b], large, y, x)
            close(picture[b, :, y, x], expected, 2e-5 if pixel is liif_pixel else 1e-11)  # its places are float32's


@every_decoder
def test_some_pixels_are_those_of_the_picture(name, rng):
    decoder, feature, size = MAKERS[name][0]().double(), features(rng, 6, 5), (13, 17)
    pixels = torch.randint(0, 13 * 17, (37,), generator=rng)
    if name == "diinn-mode4":
        with pytest.raises(ValueError, match="neighbours"):
            decoder(feature, size, pixels)
    else:
        torch.testing.assert_close(decoder(feature, size, pixels), decoder(feature, size).flatten(2)[:, :, pixels])


@every_decoder
def test_moving_the_features_by_a_pixel_moves_the_picture_by_the_scale(name, rng):
    decoder, x = MAKERS[name][0]().double(), features(rng, 9, 9)
    here, there = decoder(x, (27, 36)), decoder(x.roll((1, 1), (2, 3)), (27, 36))
    close(there[..., 9:21, 12:28], here[..., 6:18, 8:24], 1e-5)


@every_decoder
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
    model = MetaSR("small", rgb_range=255.0)
    lr, mean = torch.rand(1, 3, 5, 6, generator=rng), torch.tensor([0.4488, 0.4371, 0.4040])[:, None, None]
    inside = model.decoder(model.encoder(255 * lr - 255 * mean), (8, 9))
    torch.testing.assert_close(model(lr, (8, 9)), inside / 255 + mean)


def test_pixels_have_one_size_or_one_for_each_picture(rng):
    network = DIINN(encoder="small", width=8, layers=2)
    lr, pixels = torch.rand(2, 3, 5, 4, generator=rng), torch.tensor([[0, 7], [30, 62]])
    size = (9, 7)
    with torch.no_grad():
        for asked in ([9, 7], torch.Size(size), [size, size]):
            assert torch.equal(network(lr, asked, pixels), network(lr, size, pixels))


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
    with pytest.raises(ValueError, match="mode4 mirrors"):
        DIINNDecoder(4, "mode4", width=8)(torch.rand(1, 4, 3, 3), (1, 5))


def test_importing_the_library_stays_light():
    code = (
        "import sys, restore_lib; assert 'torch' not in sys.modules; import restore_lib.implicit as i; i.DIINN, i.LIIF"
    )
    code += "; assert 'lightning_fabric' not in sys.modules and 'lightning' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
