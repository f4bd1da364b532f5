"""Whole photos: tiles, odd sizes, and how far networks see."""

import pytest
import skimage.data
import torch
from shaking import shaken

from restore_lib.denoising.denoiser import CONTEXT, Denoiser, denoise
from restore_lib.denoising.dncnn import DnCNN
from restore_lib.fast.folding import folded
from restore_lib.nets.receptive import receptive_field
from restore_lib.noise import gaussian
from restore_lib.pretrained import build, card, load_into
from restore_lib.training import precision

NETS = {
    "released": lambda: Denoiser("released", width=16),
    "paper": lambda: Denoiser("paper", width=16),
    "pool": lambda: Denoiser("paper", width=16, downsampling="pool"),
    "dncnn": lambda: DnCNN(6, 8),
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("size", [(133, 150), (200, 121), (12, 180)])
def test_tiles_give_what_the_whole_photo_gives(name, size, rng):
    net = folded(shaken(NETS[name](), rng))
    x = torch.rand(3, *size, generator=rng)
    whole = denoise(net, x)
    assert whole.shape == x.shape
    tiles = denoise(net, x, tile=116)
    torch.testing.assert_close(tiles, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["denoiser-25-cpu", "half-denoiser-60-cpu"])
def test_half_the_precision_moves_a_photo_by_less_than_storing_it(name, rng, monkeypatch):
    net = build(card(name).architecture)
    load_into(net, name)
    net = folded(net)
    photo = (skimage.data.astronaut()[100:260, 150:333] / 255).transpose(2, 0, 1)
    noisy = gaussian(torch.tensor(photo, dtype=torch.float32), 25, rng)
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)  # computed on any processor, if not fast
    error = denoise(net, noisy, precision="bf16") - denoise(net, noisy)
    assert 0 < error.square().mean().sqrt() < 1 / 255 / 12**0.5  # rounding to 8 bit: a uniform error of one level


def test_bfloat16_is_left_out_where_it_would_be_slow(rng, monkeypatch):
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: False)
    net = folded(shaken(NETS["paper"](), rng))
    x = torch.rand(3, 40, 44, generator=rng)
    assert torch.equal(denoise(net, x, precision="bf16"), denoise(net, x))
    with pytest.raises(ValueError, match="exact, bf16"):
        denoise(net, x, precision="fp8")


def test_too_little_context_shows(rng):
    net = folded(shaken(NETS["paper"](), rng))
    x = torch.rand(3, 128, 128, generator=rng)
    assert (denoise(net, x, tile=64, context=4) - denoise(net, x)).abs().max() > 1e-4


@pytest.mark.parametrize(
    "options", [{"variant": v, "downsampling": d} for v in ("released", "paper") for d in ("stride", "pool")]
)
def test_no_denoiser_looks_further_than_the_context(options):
    net = Denoiser(**options, width=4)
    reach = 0
    for phase in range(4):  # halving twice, four neighbouring pixels see differently
        at = 48 + phase
        seen = receptive_field(net, 100, at=(at - net.border,) * 2)
        rows = seen.any(1).nonzero()
        reach = max(reach, at - int(rows[0]), int(rows[-1]) - at)
    assert 20 < reach <= CONTEXT


def test_mirroring_the_borders_leaves_the_networks_own_result(rng):
    x = torch.rand(3, 64, 48, generator=rng)
    flat = shaken(Denoiser("released", scales=1), rng)  # without halvings, a shift of 3 pixels changes nothing
    with torch.no_grad():
        torch.testing.assert_close(denoise(flat, x)[:, 3:-3, 3:-3], flat(x[None])[0])


def test_mistakes_are_said(rng):
    net = Denoiser(width=8)
    photo = torch.rand(3, 40, 40, generator=rng)
    with pytest.raises(ValueError, match=r"eval\(\)"):
        denoise(net, photo)
    with pytest.raises(ValueError, match="at least 12"):
        denoise(net.eval(), photo[:, :11])
    with pytest.raises(ValueError, match="multiples of 4"):
        denoise(net, photo, tile=110, context=28)
    with pytest.raises(ValueError, match="tile > 4"):
        denoise(net, photo, tile=112, context=28)
