"""DSGAN: frequencies that are split as the code splits them, and who sees which."""

import torch
from lightning_fabric import Fabric

from restore_lib.pretrained import build
from restore_lib.realsr.dsgan import DSGAN, DegradingNet, HighPassDiscriminator, high, low
from restore_lib.recipes import find
from restore_lib.training import at_tier, fit, provenance, read_metrics


def test_the_split_is_a_mean_of_neighbours_inside_the_image(rng):
    x = torch.rand(1, 3, 9, 8, generator=rng, dtype=torch.float64)
    mean = torch.empty_like(x)
    for i in range(9):
        for j in range(8):
            mean[..., i, j] = x[..., max(i - 2, 0) : i + 3, max(j - 2, 0) : j + 3].mean((-2, -1))
    torch.testing.assert_close(high(x), x - mean)
    torch.testing.assert_close(low(x), mean[..., 2:-2, 2:-2])
    torch.testing.assert_close((high(x)[..., 2:-2, 2:-2] + low(x)), x[..., 2:-2, 2:-2])


def test_the_discriminator_does_not_see_colours(rng):
    judge = HighPassDiscriminator(4).eval()
    x = torch.rand(1, 3, 20, 24, generator=rng)
    shift = torch.rand(1, 3, 1, 1, generator=rng)
    assert judge(x).shape == (1, 1, 20, 24)
    torch.testing.assert_close(judge(x + shift), judge(x), rtol=1e-3, atol=1e-4)


def test_sizes_of_the_official_networks():
    res = 8 * (2 * (64 * 64 * 9 + 64) + 1)
    assert sum(p.numel() for p in DegradingNet().parameters()) == 3 * 64 * 9 + 64 + 1 + res + 64 * 3 * 9 + 3
    convs = (3 * 64 + 64 * 128 + 128 * 256) * 25 + 64 + 128 + 256
    assert sum(p.numel() for p in HighPassDiscriminator().parameters()) == convs + 2 * (128 + 256) + 256 + 1


def test_it_begins_near_its_input_and_trains(tmp_path, rng):
    net = DegradingNet(1, 8)
    x = torch.rand(1, 3, 16, 20, generator=rng)
    assert (net(x) - x).abs().max() < 0.6
    recipe = at_tier(DSGAN, "smoke")
    assert find("dsgan") is DSGAN and len(build(recipe.architecture()).blocks) == 1
    run = fit(recipe, tmp_path, quiet=True, fabric=Fabric(accelerator="cpu", devices=1))
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert run.step == recipe.steps and any("high_ratio" in line for line in lines)
    assert list(run.task.networks) == ["generator", "discriminator"]  # the first is what a checkpoint keeps
    for tier in ("smoke", "cpu", "gpu", "paper"):
        assert all(row["source"] and row["meaning"] for row in provenance(at_tier(DSGAN, tier)))
    assert [recipe.rate(step) for step in (0, 5, 10)] == [1, 1, 0]


def test_batches_are_clean_and_real_crops_of_one_size():
    task = at_tier(DSGAN, "smoke").task(0)
    clean, real = task.batches(3, 0, 1)
    assert clean.shape == real.shape == (2, 3, 32, 32)
    same = task.batches(3, 0, 1)
    assert torch.equal(clean, same[0]) and torch.equal(real, same[1])
    assert float((clean - real).abs().mean()) > 0.01
