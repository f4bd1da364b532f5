"""Recipes of super-resolution: what their pairs are, that both stages learn, and that every one can be built."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from restore_lib import images
from restore_lib.errors import DataError, TrainingError
from restore_lib.experiments.recipes import find
from restore_lib.nets.rrdbnet import RRDBNet
from restore_lib.pretrained.architectures import build
from restore_lib.pretrained.checkpoints import Card, save_checkpoint
from restore_lib.realsr import experiment, sr_pairs
from restore_lib.realsr.sr_pairs import PairSettings, make
from restore_lib.realsr.sr_recipes import GAN, PIXELS, GANRecipe, interpolating, validation
from restore_lib.realsr.sr_variants import EDSR_BICUBIC, SR, STAGE_1, STAGE_2
from restore_lib.resampling import imresize
from restore_lib.training import at_tier, fit
from restore_lib.training.recipes import provenance, values
from restore_lib.training.watch import read_metrics

SMALL = PairSettings(world="embedded", kernels="true", kernel_photos=2, sources=2)


def as_image(levels):
    return levels.float() / 255


def test_bicubic_pairs_are_bicubic_and_cleaned_up_sources_are_half_as_large():
    made = make(replace(SMALL, way="bicubic"))
    degraded = dict(experiment.sources("embedded", 2))
    assert [pair.name for pair in made.pairs] == ["coffee", "rocket", "astronaut", "china"] and not len(made.noises)
    for pair in made.pairs:
        assert pair.hr.dtype == torch.uint8 and pair.kernel is None
        expected = imresize(as_image(pair.hr), scale=1 / 4).clamp(0, 1)
        assert (as_image(pair.lr) - expected).abs().max() < 0.51 / 255  # rounded
    assert made.pairs[0].hr.shape[-2] == degraded["coffee"].shape[-2] // 2 // 4 * 4
    whole = make(replace(SMALL, way="bicubic", clean_up=1)).pairs[0]
    assert torch.equal(as_image(whole.hr), images.modcrop(degraded["coffee"], 4))


def test_ways_differ_in_kernels_and_noise_alone():
    kernel, noise, both = (make(replace(SMALL, way=way)) for way in ("kernel", "noise", "both"))
    assert not len(kernel.noises) and len(noise.noises) and len(both.noises) == len(noise.noises)
    assert [p.kernel is None for p in noise.pairs] == [True] * 4 and {p.kernel for p in both.pairs} <= {0, 1}
    assert all(torch.equal(a.lr, b.lr) for a, b in zip(kernel.pairs, both.pairs, strict=True))
    assert all(torch.equal(a.hr, b.hr) for a, b in zip(kernel.pairs, noise.pairs, strict=True))
    wrong = make(replace(SMALL, way="noise", camera="wrong"))
    assert wrong.noises.sources == ["made up"]


def test_what_cannot_be_is_refused_in_one_sentence():
    sizes = (
        {"noise_scales": ()},
        {"noise_scales": (2.0,)},
        {"noise_scales": (1.0, 0.4)},
        {"noise_scales": (0.5,), "camera": "wrong"},
    )
    for changes in ({"way": "all"}, {"camera": "left"}, {"kernels": "guessed"}, {"way": "learned"}, {"learned": "x"}):
        with pytest.raises(TrainingError):
            replace(SMALL, **changes)
    for changes in sizes:
        with pytest.raises(TrainingError, match="noise_scales"):
            replace(SMALL, **changes)


def test_noise_of_two_sizes_is_added_to_the_same_pairs():
    one, two = make(SMALL), make(smoke(find("rrdb-l1-scales")).pair_settings())
    assert all(torch.equal(a.lr, b.lr) and torch.equal(a.hr, b.hr) for a, b in zip(one.pairs, two.pairs, strict=True))
    assert [s for s in two.noises.sources if " x0.5 " not in s] == one.noises.sources
    assert len(two.noises) > len(one.noises)


def test_estimated_kernels_are_kept_and_bad_ones_left_out(monkeypatch, rng):
    calls = []

    class Estimate:
        def __init__(self, value, problems):
            self.kernel = torch.full((5, 5), value, dtype=torch.float64)
            self.diagnostics = type("D", (), {"problems": problems})()

    def fake(photos, scale, seed, settings, strict):
        calls.append(len(photos))
        made = [Estimate(float(i), ("bad",) if i == 1 else ()) for i in range(len(photos))]
        return made[:3] + [None] * (len(photos) - 3)  # estimation failed on the fourth photo and on those after it

    monkeypatch.setattr(sr_pairs, "estimate_kernels", fake)
    pictures = [torch.rand(3, 8, 8, generator=rng) for _ in range(3)]
    first, second = sr_pairs.estimated(pictures), sr_pairs.estimated(pictures)
    assert calls == [3] and [k[0, 0].item() for k in first] == [0, 2] == [k[0, 0].item() for k in second]
    sr_pairs.estimated(pictures[:2])
    assert [k[0, 0].item() for k in sr_pairs.estimated([*pictures, pictures[0]])] == [0, 2]
    assert calls == [3, 2, 4]

    monkeypatch.setattr(sr_pairs, "estimate_kernels", lambda photos, *_, **__: [None] * len(photos))
    with pytest.raises(DataError, match="no kernel in 1 photos"):
        sr_pairs.estimated(pictures[2:])


def test_learned_pairs_are_what_the_network_makes(monkeypatch):
    class Darker(torch.nn.Module):
        def forward(self, x):
            return x - 0.1

    monkeypatch.setattr(sr_pairs, "load_network", lambda name: Darker())
    plain, made = make(replace(SMALL, way="bicubic")), make(replace(SMALL, way="learned", learned="any"))
    for a, b in zip(plain.pairs, made.pairs, strict=True):
        assert torch.equal(a.hr, b.hr)
        assert ((as_image(a.lr) - 0.1).clamp(min=0) - as_image(b.lr)).abs().max() < 1.01 / 255


def smoke(recipe, **changes):
    return at_tier(recipe, "smoke", **changes)


@pytest.mark.parametrize("kind", [PIXELS, GAN])
def test_a_stage_trains_at_tier_smoke(kind, tmp_path):
    recipe = smoke(kind)
    run = fit(recipe, tmp_path, quiet=True, fabric=Fabric(accelerator="cpu", devices=1))
    assert run.step == recipe.steps
    for name, network in run.task.networks.items():
        assert all(p.requires_grad and torch.isfinite(p).all() for p in network.parameters()), name
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert any("psnr" in line for line in lines)
    if kind is GAN:
        last = [line for line in lines if "discriminator" in line][-1]
        assert {"pixel", "features", "adversarial", "discriminator", "gap"} <= last.keys()


def test_absolute_differences_alone_bring_the_picture_nearer(tmp_path):
    recipe = smoke(PIXELS, steps=50, learning_rate=5e-3, validate_every=25, way="bicubic", begin="random")
    fit(recipe, tmp_path, quiet=True, fabric=Fabric(accelerator="cpu", devices=1))
    values = [line["psnr"] for line in read_metrics(tmp_path / "metrics.jsonl") if "psnr" in line]
    assert values[-1] > 12  # a grey picture has about 10


def test_stage_2_starts_from_stage_1(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = smoke(GAN)
    network = build(recipe.architecture())
    card = Card("stage-1", "r", "smoke", 1, 0, "d", "0" * 64, recipe.architecture(), {"torch": "2"}, "cpu",
                "2026-01-01T00:00:00Z", "unknown", "MIT")  # fmt: skip
    save_checkpoint(network, card, tmp_path)
    started = replace(recipe, start=str(tmp_path / "stage-1.safetensors")).task(1).networks["generator"]
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), started.parameters(), strict=True))


def test_every_recipe_has_its_name_a_source_for_each_field_and_a_network_at_each_tier():
    assert len({recipe.name for recipe in SR}) == len(SR) >= 17
    networks = {}
    for recipe in SR:
        assert find(recipe.name) is recipe
        for tier in ("smoke", "cpu", "gpu", "paper"):
            one = at_tier(recipe, tier)
            assert all(row["source"] and row["meaning"] for row in provenance(one))
            assert one.pair_settings() and one.size % 4 == 0
            assert (one.start == "") or one.start.endswith(f"-{tier}")
            assert one.start == "" or find(one.start.removesuffix(f"-{tier}"))
            networks[str(one.architecture())] = one.architecture
            if isinstance(one, GANRecipe):
                networks[one.judge, one.judge_layers, one.judge_width, one.size] = one.discriminator
    with torch.device("meta"):
        for made in networks.values():
            found = made()
            assert isinstance(found, torch.nn.Module) or build(found)


def test_the_published_sizes_and_weights():
    esrgan = at_tier(find("rrdb-gan-bicubic"), "paper")
    with torch.device("meta"):
        assert sum(p.numel() for p in build(esrgan.architecture()).parameters()) == 16_697_987
        assert sum(p.numel() for p in esrgan.discriminator().parameters()) == 14_499_401
        realsr = at_tier(find("rrdb-gan-both"), "paper")
        assert sum(p.numel() for p in realsr.discriminator().parameters()) == 2_765_633
    assert (esrgan.pixel_weight, esrgan.feature_weight, esrgan.adversarial_weight) == (0.01, 1.0, 0.005)
    assert esrgan.steps == 400_000 and at_tier(find("rrdb-gan-both"), "paper").steps == 60_001
    edsr = at_tier(EDSR_BICUBIC, "paper")
    with torch.device("meta"):
        assert sum(p.numel() for p in build(edsr.architecture()).parameters()) == pytest.approx(43.1e6, rel=2e-3)
    for recipes in (STAGE_1, STAGE_2):  # a comparison is one of pairs: everything else is equal
        kept = [
            {k: v for k, v in values(at_tier(r, "cpu")).items()
             if k not in ("way", "camera", "clean_up", "learned", "start", "noise_scales")}
            for r in recipes if r.name != "rrdb-l1-bicubic"
        ]  # fmt: skip
        assert all(each == kept[0] for each in kept)


def test_learning_rates_follow_the_schedules():
    recipe = at_tier(find("rrdb-gan-both"), "paper")
    assert [recipe.rate(step) for step in (0, 4999, 5000, 9999, 10_000, 25_000, 40_000)] == [
        1, 1, 0.5, 0.5, 0.25, 0.125, 0.0625,
    ]  # fmt: skip
    four = at_tier(find("rrdb-l1-bicubic"), "paper")
    rates = np.array([four.rate(step) for step in range(0, 1_000_000, 1000)])
    assert (np.flatnonzero(np.diff(rates) > 0) + 1).tolist() == [250, 500, 750] and rates[-1] < 1e-4
    cpu = at_tier(PIXELS, "cpu")
    assert cpu.rate(0) == 1 / cpu.warmup and cpu.rate(cpu.steps // 2) == pytest.approx(0.5)


def test_validation_is_the_mean_over_pairs():
    pairs = experiment.held_pairs("embedded")
    exact = {"generator": torch.nn.Upsample(scale_factor=4, mode="nearest")}
    exact["generator"].register_parameter("p", torch.nn.Parameter(torch.zeros(1)))
    found = validation(pairs)(exact)
    up = pairs[0].lr.repeat_interleave(4, 1).repeat_interleave(4, 2)
    mse = ((up * 255).round() / 255 - pairs[0].hr)[:, 4:-4, 4:-4].double().square().mean()
    assert found["psnr"] == pytest.approx(float(-10 * mse.log10()), abs=1e-3)


def test_an_untrained_network_can_begin_as_linear_interpolation(rng):
    network = interpolating(RRDBNet(2, 6, 4))
    lr = torch.rand(2, 3, 11, 13, generator=rng)
    expected = lr
    for _ in range(2):
        expected = torch.nn.functional.interpolate(expected, scale_factor=2, mode="bilinear")
    found = network(lr)
    torch.testing.assert_close(found[..., 4:-4, 4:-4], expected[..., 4:-4, 4:-4], rtol=1e-4, atol=1e-5)
    found.square().sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in (network.last.weight, network.first.weight))
