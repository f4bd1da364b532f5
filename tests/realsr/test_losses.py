"""Losses: closed forms, the definition in float64, which weights of VGG are taken, and steps written out."""

import copy
import math

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from restore_lib import files
from restore_lib.errors import DataError
from restore_lib.files import KnownFile
from restore_lib.realsr import losses
from restore_lib.realsr.losses import (
    KINDS,
    PLANS,
    LossWeights,
    VGGFeatures,
    discriminator_loss,
    generator_loss,
    logits,
    perceptual_loss,
    perceptual_network,
)
from restore_lib.training import Run, Speed, Task


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def by_definition(real, fake):
    """Eqs. 1 and 2 of ESRGAN, number by number; both means are halves of two."""
    mean_real, mean_fake = sum(real) / len(real), sum(fake) / len(fake)
    real_more = [sigmoid(x - mean_fake) for x in real]
    fake_more = [sigmoid(x - mean_real) for x in fake]

    def mean(values):
        return sum(values) / len(values)

    judge = mean([-math.log(p) for p in real_more]) + mean([-math.log(1 - p) for p in fake_more])
    maker = mean([-math.log(1 - p) for p in real_more]) + mean([-math.log(p) for p in fake_more])
    return judge / 2, maker / 2


def test_the_relativistic_loss_is_its_definition(rng):
    real, fake = (2 * torch.randn(3, 1, 4, 5, generator=rng) for _ in range(2))
    judge, maker = by_definition(real.flatten().double().tolist(), fake.flatten().double().tolist())
    assert float(discriminator_loss(real, fake)) == pytest.approx(judge, rel=1e-5)
    assert float(generator_loss(real, fake)) == pytest.approx(maker, rel=1e-5)


def test_who_wins_the_relativistic_game_does_not_depend_on_a_common_shift(rng):
    real, fake = (torch.randn(4, 1, generator=rng) for _ in range(2))
    for loss in (discriminator_loss, generator_loss):
        torch.testing.assert_close(loss(real + 3, fake + 3), loss(real, fake))
    torch.testing.assert_close(generator_loss(real, fake), discriminator_loss(fake, real))  # the roles exchanged


def test_plain_and_least_squares_are_their_definitions(rng):
    real, fake = (torch.randn(6, generator=rng, dtype=torch.float64) for _ in range(2))
    soft = torch.nn.functional.softplus
    expected = {
        "plain": ((soft(-real).mean() + soft(fake).mean()) / 2, soft(-fake).mean()),
        "least squares": (((real - 1).square().mean() + fake.square().mean()) / 2, (fake - 1).square().mean()),
    }
    for kind, (judge, maker) in expected.items():
        assert float(discriminator_loss(real, fake, kind)) == pytest.approx(float(judge), rel=1e-5)
        assert float(generator_loss(real, fake, kind)) == pytest.approx(float(maker), rel=1e-5)
    with pytest.raises(ValueError, match="relativistic"):
        generator_loss(real, fake, "hinge")


@pytest.mark.parametrize("kind", KINDS)
def test_the_players_pull_the_results_logits_to_opposite_sides(rng, kind):
    real = torch.randn(5, generator=rng)
    fake = torch.randn(5, generator=rng).requires_grad_(True)
    (up,) = torch.autograd.grad(discriminator_loss(real, fake, kind), fake)
    (down,) = torch.autograd.grad(generator_loss(real, fake, kind), fake)
    if kind == "least squares":  # towards 0, by half of the loss, and towards 1
        torch.testing.assert_close(up, fake.detach() / 5)
        torch.testing.assert_close(down, 2 * (fake.detach() - 1) / 5)
    else:
        assert (up > 0).all() and (down < 0).all()


def test_the_layers_are_torchvisions_up_to_the_last_convolution():
    for name, count, convs in (("vgg19", 35, 16), ("vgg16", 29, 13)):
        with torch.device("meta"):
            layers = VGGFeatures(PLANS[name]).layers
        assert len(layers) == count and sum(isinstance(layer, nn.Conv2d) for layer in layers) == convs
        assert isinstance(layers[-1], nn.Conv2d) and layers[-1].out_channels == 512


def test_features_of_the_stand_in_are_those_under_lpips(photos, rng):
    network = perceptual_network("vgg16")
    trunk = losses.metrics.lpips_network("vgg").net
    x = torch.rand(1, 3, 48, 64, generator=rng)
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    after = trunk((x - mean) / std)[-1]  # what lpips calls relu5_3
    found = network(x)
    assert found.shape == (1, 512, 3, 4) and (found < 0).any()  # before the ReLU
    torch.testing.assert_close(found.relu(), after, rtol=1e-4, atol=1e-4)
    assert not any(p.requires_grad for p in network.parameters())


def test_weights_of_vgg19_are_read_by_their_names_or_missed(tmp_path, monkeypatch):
    monkeypatch.setenv("RESTORE_DATA", str(tmp_path))
    monkeypatch.setenv("RESTORE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError, match=r"vgg19-dcbb9e9d.pth.*RESTORE_DATA"):
        perceptual_network("vgg19")
    path = tmp_path / "torchvision" / "vgg19-dcbb9e9d.pth"
    path.parent.mkdir()
    torch.save({"features.0.weight": torch.zeros(1)}, path)
    with pytest.raises(DataError, match="damaged"):
        perceptual_network("vgg19")
    with pytest.raises(ValueError, match="vgg16"):
        perceptual_network("resnet")
    full = {f"features.{key}": value for key, value in VGGFeatures(PLANS["untrained"]).layers.state_dict().items()}
    torch.save(full | {"classifier.0.weight": torch.zeros(1)}, path)
    monkeypatch.setattr(losses, "VGG19", KnownFile(losses.VGG19.path, files.sha256(path), ""))
    assert torch.equal(losses._vgg19_weights()["features.0.weight"], full["features.0.weight"])


def test_the_loss_on_features_is_zero_for_the_photo_and_pulls_at_the_result_alone(rng):
    network = perceptual_network("untrained")
    assert torch.equal(network.layers[0].weight, perceptual_network("untrained").layers[0].weight)
    hr = torch.rand(2, 3, 32, 32, generator=rng).requires_grad_(True)
    assert float(perceptual_loss(network, hr.detach(), hr)) == 0
    sr = torch.rand(2, 3, 32, 32, generator=rng).requires_grad_(True)
    loss = perceptual_loss(network, sr, hr)
    loss.backward()
    assert hr.grad is None and sr.grad.abs().sum() > 0
    expected = (network(sr) - network(hr)).abs().mean()
    torch.testing.assert_close(loss, expected)


def test_in_one_batch_the_discriminator_sees_what_batch_norm_hides_else(rng):
    """Results that are photos with less contrast: the same after batch norm of their own, told apart in one batch."""
    judge = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, eps=1e-12), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 1))
    real = torch.rand(4, 3, 16, 16, generator=rng)
    fake = 0.5 + 0.1 * (real - 0.5)
    apart, joint = (logits(judge, real, fake, together) for together in (False, True))
    assert all(x.shape == (4, 1, 14, 14) for x in (*apart, *joint))
    torch.testing.assert_close(apart[0], apart[1], rtol=1e-3, atol=1e-3)
    assert joint[1].std() < 0.5 * joint[0].std()
    both = judge(torch.cat([real, fake]))
    torch.testing.assert_close(torch.cat(joint), both)


def begun(task):
    return Run(task, Fabric(accelerator="cpu", devices=1), Speed(), 0)


def test_a_step_of_stage_1_goes_down_the_gradient_of_absolute_differences(rng):
    network = nn.Conv2d(3, 3, 1)
    plain = copy.deepcopy(network)
    hr, lr = (torch.rand(2, 3, 8, 8, generator=rng) for _ in range(2))
    optimizers = {"generator": torch.optim.SGD(network.parameters(), 0.1)}
    run = begun(Task({"generator": network}, optimizers, losses.stage_1_step, lambda *_: (hr, lr)))
    told = losses.stage_1_step(run, (hr, lr))
    expected = (plain(lr) - hr).abs().mean()
    torch.testing.assert_close(told["loss"], expected.detach())
    for moved, weight, slope in zip(
        network.parameters(), plain.parameters(), torch.autograd.grad(expected, list(plain.parameters())), strict=True
    ):
        torch.testing.assert_close(moved.data, weight.data - 0.1 * slope)


@pytest.mark.parametrize("weights", [LossWeights(), LossWeights(1.0, 0.0, 0.1)])
def test_a_step_of_stage_2_moves_first_the_generator_and_then_the_discriminator(weights, rng):
    networks = {"generator": nn.Conv2d(3, 3, 1), "discriminator": nn.Conv2d(3, 1, 3)}
    theirs = copy.deepcopy(networks)
    features = perceptual_network("untrained")
    hr, lr = (torch.rand(2, 3, 32, 32, generator=rng) for _ in range(2))
    optimizers = {name: torch.optim.SGD(network.parameters(), 0.1) for name, network in networks.items()}
    task = Task(networks, optimizers, losses.stage_2_step, lambda *_: (hr, lr), frozen={"features": features})
    told = losses.stage_2_step(begun(task), (hr, lr), weights=weights)

    sr, judge = theirs["generator"](lr), theirs["discriminator"]
    terms = {"pixel": (sr - hr).abs().mean(), "features": (features(sr) - features(hr)).abs().mean()}
    terms["adversarial"] = generator_loss(judge(hr).detach(), judge(sr))
    total = sum(getattr(weights, name) * value for name, value in terms.items())
    real, fake = judge(hr), judge(sr.detach())
    expected = {"generator": total, "discriminator": discriminator_loss(real, fake)}
    for name, loss in expected.items():
        before = list(theirs[name].parameters())
        slopes = torch.autograd.grad(loss, before)
        for moved, weight, slope in zip(networks[name].parameters(), before, slopes, strict=True):
            torch.testing.assert_close(moved.data, weight.data - 0.1 * slope, rtol=1e-4, atol=1e-7)
            assert moved.requires_grad
    terms |= {"discriminator": expected["discriminator"], "gap": (real - fake).mean()}
    assert next(iter(told)) == "pixel"
    assert set(told) == {name for name in terms if name != "features" or weights.features}
    for name, value in told.items():
        torch.testing.assert_close(value, terms[name].detach(), rtol=1e-4, atol=1e-6)
