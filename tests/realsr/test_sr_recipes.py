"""Recipes of super-resolution: what their pairs are, that both stages learn, and that every one can be built."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from restore_lib.nets.rrdbnet import RRDBNet, begin_as_interpolation
from restore_lib.pretrained import Card, build, save_checkpoint
from restore_lib.realsr import hidden_camera
from restore_lib.realsr.recipes import EDSR_BICUBIC, GAN, PIXELS, SR, STAGE_1, STAGE_2, GANRecipe, validation
from restore_lib.recipes import find
from restore_lib.training import at_tier, fit, read_metrics
from restore_lib.training.recipes import provenance, values


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
            assert one.size % 4 == 0
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
    pairs = hidden_camera.validation_pairs("embedded")
    exact = {"generator": torch.nn.Upsample(scale_factor=4, mode="nearest")}
    exact["generator"].register_parameter("p", torch.nn.Parameter(torch.zeros(1)))
    found = validation([(pair.hr, pair.lr) for pair in pairs])(exact)
    up = pairs[0].lr.repeat_interleave(4, 1).repeat_interleave(4, 2)
    mse = ((up * 255).round() / 255 - pairs[0].hr)[:, 4:-4, 4:-4].double().square().mean()
    assert found["psnr"] == pytest.approx(float(-10 * mse.log10()), abs=1e-3)


def test_an_untrained_network_can_begin_as_linear_interpolation(rng):
    network = begin_as_interpolation(RRDBNet(2, 6, 4))
    lr = torch.rand(2, 3, 11, 13, generator=rng)
    expected = lr
    for _ in range(2):
        expected = torch.nn.functional.interpolate(expected, scale_factor=2, mode="bilinear")
    found = network(lr)
    torch.testing.assert_close(found[..., 4:-4, 4:-4], expected[..., 4:-4, 4:-4], rtol=1e-4, atol=1e-5)
    found.square().sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in (network.last.weight, network.first.weight))
