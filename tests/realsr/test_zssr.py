"""ZSSR: its network, crops, rate control, and that it learns from a photo alone."""

from dataclasses import fields, replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch

from restore_lib import metrics
from restore_lib.errors import ImageError
from restore_lib.realsr import zssr as module
from restore_lib.realsr.kernels import gaussian_kernel
from restore_lib.realsr.zssr import (
    BICUBIC,
    GIVEN_KERNEL,
    K_ZSSR,
    K_ZSSR_REAL,
    REAL,
    Augmentation,
    Father,
    RateControl,
    ZSSRNet,
    ZSSRSettings,
    back_project,
    cosine,
    edge_weights,
    enlarge,
    k_zssr,
    line,
    make_son,
    median,
    quick,
    random_crop,
    warp_matrix,
    zssr,
)
from restore_lib.resampling import align_kernel, downscale, imresize

SHORT = replace(K_ZSSR, steps=51, learning_rate=2e-3, augmentation=Augmentation(crop=40, as_is=1.0, turned=0.0))


def stripes(rng: torch.Generator, size: int = 128) -> torch.Tensor:
    """Sharp edges that come again and again: slanted bars of random colours and widths."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    image = torch.zeros(3, size, size)
    for period in (7, 11, 18, 29):
        tilt = float(torch.rand((), generator=rng)) - 0.5
        image += torch.rand(3, 1, 1, generator=rng) * (((y + tilt * x) % period) < period / 2)
    return image / image.amax()


def test_the_network_has_224_640_weights_and_starts_near_the_interpolation(rng):
    net = ZSSRNet()
    assert sum(p.numel() for p in net.parameters()) == 224_640
    assert net.convs[1].weight.std().item() == pytest.approx((0.1 / 576) ** 0.5, rel=0.02)
    x = torch.rand(1, 3, 20, 24, generator=rng)
    assert (net(x) - x).abs().max() < 0.05


@pytest.mark.parametrize("scale", [2, 4])
def test_a_known_kernel_sharpens_more_than_interpolation(scale):
    rng = torch.Generator().manual_seed(1003)  # so few steps do not get far with every picture
    kernel = align_kernel(gaussian_kernel(9, (1.3, 0.9), 0.4), 2)
    hr = stripes(rng, 64 * scale)
    lr = hr
    for _ in range(scale // 2):
        lr = downscale(lr, kernel, 2, align=False).clamp(0, 1)
    seen = []
    found = k_zssr(lr, kernel, scale, SHORT, progress=lambda done, total: seen.append((done, total)))
    assert found.sr.shape == hr.shape and [jump.scale for jump in found.jumps] == [2, 4][: scale // 2]
    assert seen[-1] == (51 * (scale // 2), 51 * (scale // 2)) and found.sr.min() >= 0 and found.sr.max() <= 1
    protocol = metrics.Protocol(channels="y", border=scale, quantize=True)
    gain = metrics.psnr(found.sr, hr, protocol) - metrics.psnr(imresize(lr, scale=scale).clamp(0, 1), hr, protocol)
    assert gain > 0.7 or scale == 4  # so few steps do not get far at x4
    assert len(found.jumps[0].losses) == 51 and found.jumps[0].tests[:, 0].tolist() == [0, 50]
    assert found.jumps[0].tests[1, 1] < 0.8 * found.jumps[0].tests[0, 1]


def test_equal_seeds_give_equal_results(rng):
    lr = stripes(rng, 48)
    settings = replace(BICUBIC, steps=5, augmentation=Augmentation(crop=32), ensemble=False)
    one, two, other = (zssr(lr, settings=settings, seed=seed).sr for seed in (1, 1, 2))
    assert torch.equal(one, two) and not torch.equal(one, other)


@pytest.mark.parametrize("settings", [BICUBIC, GIVEN_KERNEL, REAL, K_ZSSR, K_ZSSR_REAL])
def test_every_published_setting_runs(settings, rng):
    kernel = None if settings is BICUBIC else align_kernel(gaussian_kernel(7, (1.0, 1.0)), 2)
    found = zssr(stripes(rng, 41), (2,), [kernel], replace(settings, steps=3))
    assert found.sr.shape == (3, 82, 82) and found.sr.isfinite().all()


def test_later_jumps_take_crops_of_earlier_results(rng, monkeypatch):
    seen = []
    monkeypatch.setattr(
        module, "random_crop", lambda fathers, *rest: seen.append(len(fathers)) or random_crop(fathers, *rest)
    )
    zssr(stripes(rng, 40), (2, 4), settings=replace(BICUBIC, steps=2, ensemble=False))
    assert seen == [1, 1, 2, 2]


def test_bad_input_is_refused():
    with pytest.raises(ImageError, match="32 x 32"):
        zssr(torch.rand(3, 31, 50))
    with pytest.raises(ImageError, match="45 x 45"):
        zssr(torch.rand(3, 40, 50), (2,), [gaussian_kernel(45, (2, 2))])
    with pytest.raises(ImageError, match="NaN"):
        zssr(torch.full((3, 40, 50), torch.nan))
    with pytest.raises(ValueError, match="one kernel for each scale"):
        zssr(torch.rand(3, 40, 50), (2, 4), [None])
    with pytest.raises(ValueError, match="2 or 4"):
        k_zssr(torch.rand(3, 40, 50), torch.rand(5, 5), 3)


# rate control


def test_slopes_and_their_errors_are_numpys(rng):
    x, y = np.arange(5.0) * 50, torch.rand(5, generator=rng).double().numpy()
    (slope, _), covariance = np.polyfit(x, y, 1, cov=True)
    assert line(x, y) == pytest.approx((slope, covariance[0, 0] ** 0.5))


def run_control(errors) -> RateControl:
    control = RateControl(ZSSRSettings())
    for step in range(3000):
        if step % 50 == 0:
            control.steps.append(step)
            control.errors.append(errors(step))
        if control.after(step):
            break
    return control


def test_the_rate_stays_while_the_error_falls_and_ends_training_when_it_does_not(rng):
    assert run_control(lambda step: 1 - step / 10_000).changes == []
    control = run_control(lambda step: 1 + 0.1 * float(torch.rand((), generator=rng)) + step / 1000)
    # looks at steps 59, 119, ...; the first that is more than 256 after the start or the last change
    assert control.changes == [299, 599, 899] and control.rate == pytest.approx(1e-6)


def test_the_cosine_warms_up_and_ends_at_nothing():
    control = RateControl(quick(K_ZSSR))
    rates, count = [], control.settings.steps
    for step in range(count):
        rates.append(control.rate)
        assert not control.after(step)
    assert control.rate == pytest.approx(0, abs=1e-12) and not control.changes
    assert rates[0] < rates[50] < rates[99] and max(rates) == pytest.approx(1e-3, rel=0.02)
    assert all(a > b for a, b in pairwise(rates[100:]))
    assert cosine(count // 2, count) == pytest.approx(0.5)


# quick settings


@pytest.mark.parametrize("settings", [BICUBIC, GIVEN_KERNEL, REAL, K_ZSSR, K_ZSSR_REAL])
def test_quick_settings_keep_what_a_use_is_about(settings):
    short = quick(settings)
    for name in ("learning_rate", "noise", "weighted", "back_projections", "ensemble"):
        assert getattr(short, name) == getattr(settings, name)
    assert replace(short.augmentation, crop=128) == settings.augmentation and short.steps < settings.steps
    sources = {f.name: f.metadata["source"] for f in fields(short)}
    changed = {f.name for f in fields(settings) if getattr(short, f.name) != getattr(settings, f.name)}
    assert all(sources[name].startswith("ours") for name in changed - {"augmentation"})
    assert sources["noise"] == "official code"


def test_low_precision_hardly_changes_what_a_network_gives(rng):
    torch.manual_seed(int(torch.randint(10_000, (), generator=rng)))
    net, lr = ZSSRNet(), torch.rand(3, 40, 50, generator=rng)
    with torch.no_grad():
        for conv in net.convs:
            conv.weight *= 3  # so that it adds something that one can see
    settings = replace(K_ZSSR, back_projections=0)
    exact, mixed = (enlarge(net, lr, 2, None, replace(settings, mixed=value)) for value in (False, True))
    added = (exact - imresize(lr, scale=2).clamp(0, 1)).abs().max()
    assert added > 1e-3 and (exact - mixed).abs().max() < 0.05 * added


def test_the_median_lies_between_the_two_in_the_middle(rng):
    found = [torch.rand(3, 70, 11, generator=rng) for _ in range(8)]
    ordered = torch.stack(found).sort(0).values
    assert torch.allclose(median(found), (ordered[3] + ordered[4]) / 2)


def test_unknown_schedules_are_refused():
    with pytest.raises(ValueError, match="cosine"):
        replace(BICUBIC, schedule="steps")
    with pytest.raises(ValueError, match="window"):
        replace(BICUBIC, window=8)


# crops


def test_crops_as_they_are_lie_in_the_photo(rng):
    image = torch.rand(3, 50, 61, generator=rng)
    how, dice = (
        Augmentation(crop=32, as_is=1.0, turned=0.0),
        np.random.default_rng(int(torch.randint(99, (), generator=rng))),
    )
    fathers = [Father(image, image[:1]), Father(torch.zeros(3, 100, 122), torch.zeros(1, 100, 122), 2.0)]
    crop, weights = random_crop(fathers, how, 4, dice)
    assert crop.shape == (3, 32, 32) and torch.equal(weights, crop[:1])
    assert any(torch.equal(image[:, i : i + 32, j : j + 32], crop) for i in range(19) for j in range(30))
    assert random_crop(fathers, replace(how, crop=128), 4, dice)[0].shape == (3, 48, 60)


def test_turned_crops_come_in_eight_positions(rng):
    image = torch.rand(3, 32, 32, generator=rng)
    how, dice = Augmentation(crop=32, as_is=0.0, turned=1.0), np.random.default_rng(0)
    found = {random_crop([Father(image, image[:1])], how, 2, dice)[0].numpy().tobytes() for _ in range(150)}
    assert len(found) == 8
    plain = {random_crop([Father(image, image[:1])], replace(how, rotate=False), 2, dice)[0].numpy().tobytes()}
    assert plain == {image.numpy().tobytes()}


def test_small_photos_that_are_not_square_are_turned_too(rng):
    image = torch.rand(3, 40, 56, generator=rng)
    augmentation, dice = Augmentation(crop=48, as_is=0.0, turned=1.0), np.random.default_rng(0)
    sizes = {random_crop([Father(image, image[:1])], augmentation, 4, dice)[0].shape for _ in range(40)}
    assert sizes == {(3, 40, 48), (3, 40, 40)}


def test_a_warp_reads_the_photo_where_its_matrix_says(rng):
    y, x = torch.meshgrid(torch.arange(80.0), torch.arange(100.0), indexing="ij")
    image = torch.stack([x, y, x + y]) / 200  # cubic interpolation keeps ramps
    how = Augmentation(crop=24, as_is=0.0, turned=0.0, stretch=0.02, shear=0.02)
    seed = int(torch.randint(10_000, (), generator=rng))
    matrix = warp_matrix((80, 100), (24, 24), 0.9, how, np.random.default_rng(seed))
    warped = cv2.warpAffine(image.permute(1, 2, 0).numpy(), matrix, (24, 24), flags=cv2.INTER_CUBIC)
    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    for row, column in ((12, 12), (9, 15)):
        px, py, _ = back @ [column, row, 1]
        if 3 < px < 96 and 3 < py < 76:
            np.testing.assert_allclose(warped[row, column] * 200, [px, py, px + py], atol=0.2)
    middle = back @ [11.5, 11.5, 1]
    assert 12 < middle[0] < 87 and 12 < middle[1] < 67


def test_warped_crops_come_from_the_smallest_father_that_is_large_enough():
    small, large = torch.zeros(3, 40, 40), torch.ones(3, 80, 80)
    fathers = [Father(small, small[:1]), Father(large, large[:1], 2.0)]
    how, dice = Augmentation(crop=32, as_is=0.0, turned=0.0), np.random.default_rng(0)
    found = [random_crop(fathers, how, 2, dice)[0].mean().item() for _ in range(90)]
    assert set(found) == {0.0, 1.0} and np.mean(found) == pytest.approx(2 / 3, abs=0.2)  # scales of 0.5 to 2


def test_weights_follow_edges_and_have_mean_one():
    image = torch.zeros(3, 40, 50)
    image[:, :, 25:] = 1
    weights = edge_weights(image)
    assert weights.mean().item() == pytest.approx(1, abs=1e-5)
    assert not weights[:, :, :20].any() and weights[0, 20, 25] > 5 and not weights[:, :3].any()
    assert torch.equal(edge_weights(torch.ones(3, 20, 20)), torch.ones(1, 20, 20))


# after training


def test_back_projection_makes_the_result_fit_the_photo(rng):
    lr = stripes(rng, 40)
    kernel = align_kernel(gaussian_kernel(7, (0.9, 1.2)), 2)
    start = imresize(lr, scale=2).clamp(0, 1)
    for k in (None, kernel):
        misses = [(make_son(back_project(start, lr, 2, k, n), 2, k) - lr).abs().mean().item() for n in (0, 2, 10)]
        assert misses[0] > 1.2 * misses[1] > 1.2 * 1.2 * misses[2]  # at least 1.42 in 600 draws
    assert torch.equal(back_project(start, lr, 2, None, 0), start)


def test_the_ensemble_turns_every_position_back(rng):
    class Untouched(ZSSRNet):
        def forward(self, x):
            return x

    lr = torch.rand(3, 21, 30, generator=rng)
    settings = replace(BICUBIC, back_projections=0)
    sr = enlarge(Untouched(), lr, 2, None, settings)
    torch.testing.assert_close(sr, imresize(lr, scale=2).clamp(0, 1), rtol=0, atol=1e-5)
