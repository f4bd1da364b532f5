"""Denoising networks: sizes, receptive fields and layers as the papers and the released code have them."""

import numpy as np
import pytest
import torch
from shaking import shaken
from torch import nn
from torch.nn import functional as F

from restore_lib.denoising.denoiser import BORDER, Denoiser
from restore_lib.denoising.dncnn import DnCNN
from restore_lib.denoising.recipes import ALL_STRENGTHS, SMALL_DENOISER, warm_cosine
from restore_lib.pretrained import build, load
from restore_lib.training import at_tier, fit


@pytest.mark.parametrize(("variant", "count"), [("released", 1_033_443), ("paper", 2_468_483)])
def test_both_readings_have_their_number_of_parameters(variant, count):
    assert sum(p.numel() for p in Denoiser(variant).parameters()) == count


def released(x, w):
    """The layers of the official prototxt, one after another, from a state dict: no module of ours."""

    def norm(x, name):
        scale = w[f"{name}.weight"] / (w[f"{name}.running_var"] + 1e-5).sqrt()
        return (x - w[f"{name}.running_mean"][:, None, None]) * scale[:, None, None] + w[f"{name}.bias"][:, None, None]

    def module(x, name, stride):
        x = F.conv2d(x, w[f"{name}.conv.weight"], w[f"{name}.conv.bias"], stride=stride, padding=1)
        x = y = norm(x, f"{name}.norm").relu()
        for number, pad in enumerate((0, 1, 0)):
            y = F.conv2d(y, w[f"{name}.residual.convs.{number}.weight"], padding=pad)
            y = norm(y, f"{name}.residual.norms.{number}")
            y = y.relu() if number < 2 else y
        return (x + y).relu()

    def up(x, name):
        return F.conv_transpose2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride=2, padding=1)

    data = 255 * x - torch.tensor([123.0, 117.0, 104.0], dtype=x.dtype)[:, None, None]
    conv0 = F.conv2d(data, w["first.weight"], w["first.bias"])
    res1 = module(conv0, "encode_2", 2)
    res2 = module(res1, "encode_3", 2)
    res3 = module(torch.cat([res1, up(res2, "up_3")], 1), "decode_2", 1)
    last = F.conv2d(torch.cat([conv0, up(res3, "up_2")], 1), w["last.weight"], w["last.bias"])
    return (data[..., 3:-3, 3:-3] + last + torch.tensor([123.0, 117.0, 104.0])[:, None, None]) / 255


def test_the_released_network_is_the_official_files_layer_by_layer(rng):
    net = shaken(Denoiser("released"), rng).double()
    x = torch.rand(2, 3, 44, 52, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(net(x), released(x, net.state_dict()), rtol=1e-10, atol=1e-10)


def test_a_network_that_is_told_sigma_is_the_released_one_between_two_factors(rng):
    net = shaken(Denoiser(noise_map=True), rng).double()
    x = torch.rand(3, 3, 40, 44, generator=rng, dtype=torch.float64)
    sigmas = torch.tensor([0.0, 7.5, 60.0], dtype=torch.float64)
    found = net(x, sigmas[:, None, None, None])
    assert torch.equal(found[0], x[0, :, 3:-3, 3:-3])  # without noise nothing is changed
    weights = {name: value.clone() for name, value in net.state_dict().items()}
    plane = weights["first.weight"][:, 3:].sum((1, 2, 3))  # what the channel of sigma adds, everywhere the same
    weights["first.weight"] = weights["first.weight"][:, :3]
    bias, mean = weights["first.bias"].clone(), net.mean / 255
    for one, sigma, clean in zip(x, sigmas, found, strict=True):
        weights["first.bias"] = bias + sigma * plane
        before, behind = (25 / (sigma + 1)).sqrt(), (sigma / 25).sqrt()
        scaled = (one - mean) * before + mean
        change = released(scaled[None], weights)[0] - scaled[:, 3:-3, 3:-3]
        torch.testing.assert_close(clean, one[:, 3:-3, 3:-3] + behind * change, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(net(x[2:], 60.0), found[2:])
    with pytest.raises(ValueError, match="give sigma"):
        net(x)
    with pytest.raises(ValueError, match="needs residual"):
        Denoiser(noise_map=True, residual=False)


OPTIONS = [
    {"variant": v, "fusion": f, "downsampling": d, "scales": s}
    for v in ("released", "paper")
    for f in ("concat", "sum")
    for d in ("stride", "pool")
    for s in (1, 2, 3)
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(map(str, o.values())))
def test_any_size_goes_in_and_comes_out(options, rng):
    net = Denoiser(width=8, **options).eval()
    height, width = (int(n) for n in torch.randint(12, 60, (2,), generator=rng))
    x = torch.rand(1, 3, height, width, generator=rng)
    border = 3 if options["variant"] == "released" else 0
    assert net.border == border and net(x).shape == (1, 3, height - 2 * border, width - 2 * border)


@pytest.mark.parametrize("variant", ["released", "paper"])
def test_every_weight_learns(variant, rng):
    net = Denoiser(variant, width=8)
    net(torch.rand(2, 3, 20, 20, generator=rng)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_filling_up_does_not_reach_far_into_the_picture(rng):
    net = shaken(Denoiser("paper", width=8), rng)
    x = torch.rand(1, 3, 96, 96, generator=rng)
    torch.testing.assert_close(net(x)[..., :60, :60], net(x[..., :93, :94])[..., :60, :60])


@pytest.mark.parametrize(
    ("option", "value"),
    [("variant", "figure"), ("fusion", "add"), ("scales", 4), ("downsampling", "mean"), ("width", 30)],
)
def test_unknown_options_are_refused(option, value):
    with pytest.raises(ValueError, match=option):
        Denoiser(**{option: value})


def test_pictures_of_a_few_pixels_are_refused():
    with pytest.raises(ValueError, match="at least 12"):
        Denoiser(width=8)(torch.rand(1, 3, 8, 40))


def test_without_residual_the_network_paints_the_picture_itself(rng):
    net = Denoiser("paper", residual=False, width=8)
    nn.init.zeros_(net.last.weight)
    nn.init.constant_(net.last.bias, 20.0)
    grey = net(torch.rand(1, 3, 16, 16, generator=rng))
    expected = (torch.tensor([123.0, 117.0, 104.0]) + 20) / 255
    torch.testing.assert_close(grey[0, :, 5, 5], expected)


def test_it_starts_from_the_noisy_image_when_the_last_layer_is_zero(rng):
    net = Denoiser()
    nn.init.zeros_(net.last.weight)
    nn.init.zeros_(net.last.bias)
    x = torch.rand(1, 3, 24, 20, generator=rng)
    torch.testing.assert_close(net(x), x[..., BORDER:-BORDER, BORDER:-BORDER])


def test_initial_weights_are_caffes():
    net = Denoiser()
    bound = np.sqrt(3 / (128 * 9))
    weight = net.encode_3.conv.weight
    assert weight.abs().max() <= bound and weight.std().item() == pytest.approx(bound / np.sqrt(3), rel=0.02)
    # A deconvolution's blob is (in, out, k, k): Caffe divides by out * k * k.
    assert net.up_3.weight.abs().max().item() == pytest.approx(np.sqrt(3 / (32 * 16)), rel=0.01)
    assert (net.first.bias == 0.2).all() and (net.up_3.bias == 0).all()


@pytest.mark.parametrize("norm", [False, True])
def test_dncnn_starts_close_to_leaving_the_image_as_it_is(norm, rng):
    x = torch.rand(1, 3, 16, 18, generator=rng)
    assert (DnCNN(5, 8, norm=norm)(x) - x).abs().max() < 0.2


@pytest.mark.parametrize("depth", [2, 5, 9])
def test_dncnns_receptive_field_is_what_the_docstring_says(depth):
    net = DnCNN(depth, 4, norm=False).double()
    size = 4 * depth + 9
    x = torch.rand(1, 3, size, size, dtype=torch.float64, requires_grad=True)
    net(x)[0, 0, size // 2, size // 2].backward()
    reached = x.grad[0].abs().sum((0, 1)).nonzero()
    assert reached.max() - reached.min() + 1 <= 2 * depth + 1


def test_dncnn_has_the_papers_layers():
    net = DnCNN(17, 64)
    assert len(net.convs) == 17 and sum(isinstance(n, nn.BatchNorm2d) for n in net.norms) == 15
    with pytest.raises(ValueError, match="at least 2"):
        DnCNN(1)


def test_the_recipe_builds_what_its_card_will_say():
    for tier in ("smoke", "cpu", "gpu"):
        recipe = at_tier(SMALL_DENOISER, tier)
        net = build(recipe.architecture())
        assert len(net.convs) == recipe.depth and net.convs[0].out_channels == recipe.width


def test_training_for_all_strengths_helps_at_once(tmp_path):
    recipe = at_tier(ALL_STRENGTHS, "smoke", steps=100, batch_size=8, validate_every=1000)
    assert (build(recipe.architecture()).first.weight.shape[1], recipe.start) == (4, "")
    curve = []
    fit(recipe, tmp_path, quiet=True, on_report=lambda step, values: curve.append(values.get("loss")))
    losses = [value for value in curve if value is not None]
    assert losses[-1] < 0.7 * losses[0]


def test_a_start_from_one_strength_answers_as_that_one_did(rng):
    started = ALL_STRENGTHS.started()
    x = torch.rand(1, 3, 32, 36, generator=rng)
    mean, scale = started.mean / 255, (26 / 25) ** 0.5  # at sigma 25 the factor before the network is almost 1
    old = load("denoiser-25-cpu")
    scaled = mean + scale * (x - mean)
    expected = old(x)
    torch.testing.assert_close(started.eval()(scaled, 25.0) - scaled[..., 3:-3, 3:-3], expected - x[..., 3:-3, 3:-3])


def test_the_learning_rate_rises_in_a_line_and_falls_in_half_a_cosine():
    factor = warm_cosine(1000, 100)
    assert factor(0) == pytest.approx(0.01) and factor(49) == pytest.approx(0.5)
    assert factor(500) == pytest.approx(0.5) and factor(1000) == pytest.approx(0, abs=1e-12)
    values = [factor(t) for t in range(1001)]
    assert max(values) < 1 and np.argmax(values) in range(80, 105)
