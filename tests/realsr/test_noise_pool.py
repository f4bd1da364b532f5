"""The noise pool: the rule against plain arithmetic, and what is injected."""

import numpy as np
import pytest
import torch

from restore_lib import noise
from restore_lib.errors import DataError
from restore_lib.realsr.noise_pool import (
    NoisePool,
    NoiseRule,
    collect,
    fill,
    find_patches,
    luma,
    luma_variance,
    noise_variance,
    threshold,
)

SMALL = NoiseRule(patch=32, stride=32)


def photo(rng: torch.Generator, sigma: float, height: int = 128, width: int = 160) -> torch.Tensor:
    """Grey on the left, strong texture on the right, noise everywhere, 8 bit."""
    image = torch.full((3, height, width), 0.5)
    image[:, :, width // 2 :] = torch.rand(3, height, width // 2, generator=rng)
    return (noise.gaussian(image, sigma, rng).clamp(0, 1) * 255).round() / 255


def test_the_rule_is_variance_and_mean_of_luma(rng):
    image = photo(rng, 3.0)
    grey = np.clip(np.tensordot([0.299, 0.587, 0.114], np.rint(image.numpy() * 255), 1), 0, 255)
    assert np.abs(luma(image) - grey).max() <= 1
    for found in find_patches(image, SMALL):
        block = grey[found.top : found.top + 32, found.left : found.left + 32]
        assert found.variance == pytest.approx(block.var(), abs=0.2 + 0.01 * block.var())
        assert found.mean == pytest.approx(block.mean(), abs=0.6)
        assert found.kept == (found.variance < 20 and found.mean > 0) == (found.left < 80 and found.left + 32 <= 80)


@pytest.mark.parametrize(("rule", "corners"), [(NoiseRule(), 4), (NoiseRule(last_block=False), 2)])
def test_the_grid_and_the_released_grid(rule, corners):
    assert len(find_patches(torch.full((3, 512, 600), 0.5), rule)) == corners
    assert find_patches(torch.full((3, 255, 600), 0.5), rule) == []


@pytest.mark.parametrize(("grey", "kept"), [(0.1, 0), (0.3, 1)])
def test_dark_patches_are_left_out_in_track_2(grey, kept):
    assert NoisePool().add(torch.full((3, 256, 256), grey), NoiseRule(mean=50.0)) == kept


@pytest.mark.parametrize("sigma", [2.0, 8.0, 25.0])
def test_noise_is_measured_under_a_picture(sigma, rng):
    x = torch.linspace(0, 6, 256)
    picture = (0.5 + 0.2 * torch.sin(x)[:, None] * torch.cos(x)).expand(3, -1, -1)
    grey = luma(noise.gaussian(picture, sigma, rng).clamp(0, 1))
    # a median of whole numbers is coarse when there is little noise
    assert noise_variance(grey) == pytest.approx(luma_variance(sigma), rel=0.4 if sigma < 5 else 0.15)
    assert luma_variance(1) == pytest.approx(0.447, abs=5e-4)


def test_neighbours_that_share_noise_do_not_hide_it(rng):
    """Noise averaged over 2 x 2 pixels, as colours are interpolated: direct neighbours are alike, the others not."""
    wide = torch.randn(1, 1, 257, 257, generator=rng)
    shared = 16 * torch.nn.functional.avg_pool2d(wide, 2, 1)[0, 0].double().numpy()  # variance 64
    assert noise_variance(shared) == pytest.approx(64, rel=0.15)
    assert noise_variance(shared, step=1) == pytest.approx(64 / 9, rel=0.15)  # a third along each axis
    with pytest.raises(ValueError, match="9 x 9"):
        noise_variance(shared[:8], step=4)


def test_strong_noise_needs_the_adaptive_rule(rng):
    image = photo(rng, 12.0, 128, 256)
    assert collect([("strong", image)], SMALL).patches == []
    adaptive = NoiseRule(patch=32, stride=32, adaptive=1.5)
    pool = collect([("strong", image)], adaptive)
    places = [int(source.split(",")[1]) for source in pool.sources]
    assert len(pool) == 16 and max(places) < 128  # the grey half, and nothing of the texture
    weak = photo(rng, 1.0, 128, 64)
    assert threshold(luma(weak[:, :, :32]), adaptive) == 20


def test_samples_have_no_mean_and_come_from_the_patches(rng):
    pool = collect([("grey", photo(rng, 5.0))], SMALL)
    crops = pool.sample((16, 24), 7, rng)
    assert crops.shape == (7, 3, 16, 24)
    torch.testing.assert_close(crops.mean((2, 3)), torch.zeros(7, 3), atol=1e-6, rtol=0)
    level = crops[0] - crops[0, :, :1, :1]
    assert any(
        torch.allclose(level, p[:, i : i + 16, j : j + 24] - p[:, i : i + 1, j : j + 1], atol=1e-6)
        for p in pool.patches
        for i in range(17)
        for j in range(9)
    )
    assert crops.std().item() * 255 == pytest.approx(5, rel=0.1)


def test_noise_at_half_size_has_finer_grains_and_is_weaker(rng):
    grains = 0.02 * torch.randn(3, 96, 96, generator=rng)
    photo = 0.5 + grains.repeat_interleave(2, 1).repeat_interleave(2, 2)  # (3, 192, 192): four pixels a grain
    rule = NoiseRule(patch=64, stride=64)
    pool = collect([("a", photo)], rule, (1.0, 0.5))
    whole, half = ([p for p, s in zip(pool.patches, pool.sources, strict=True) if ("x0.5" in s) == f] for f in (0, 1))
    assert len(whole) == len(half) == 9 and {p.shape for p in half} == {(3, 32, 32)}
    assert pool.sources[9] == "a x0.5 0,0" and pool.sources[-1] == "a x0.5 64,64"
    alike, strength = [], []
    for patches in (whole, half):
        noise_alone = torch.stack(patches) - 0.5
        strength.append(noise_alone.std().item())
        alike.append((noise_alone[..., 1:] * noise_alone[..., :-1]).mean().item() / strength[-1] ** 2)
    # Bicubic reduction gives a grain 0.867 of its pixel, its neighbours 0.078 each and the next ones -0.012.
    power = 0.867**2 + 2 * 0.078**2 + 2 * 0.012**2
    assert alike == pytest.approx([0.5, 2 * (0.867 * 0.078 - 0.078 * 0.012) / power], abs=0.06)
    assert strength == pytest.approx([0.02, 0.02 * power], rel=0.08)


def test_one_size_is_the_photo_itself_and_sizes_are_checked(rng):
    photo = 0.5 + 0.01 * torch.randn(3, 150, 130, generator=rng)
    rule = NoiseRule(patch=32, stride=32)
    one, same = collect([("a", photo)], rule), collect([("a", photo)], rule, (1,))
    assert one.sources == same.sources and all(map(torch.equal, one.patches, same.patches)) and len(one) == 16
    for wrong in ((), (0.0,), (1.0, 2.0)):
        with pytest.raises(ValueError, match="scales"):
            collect([("a", photo)], rule, wrong)


def test_injection_adds_and_clamps_and_keeps_the_mean(rng):
    pool = collect([("grey", photo(rng, 6.0))], SMALL)
    grey = torch.full((5, 3, 20, 20), 0.5)
    noisy = pool.inject(grey, rng)
    torch.testing.assert_close(noisy.mean((2, 3)), torch.full((5, 3), 0.5), atol=1e-6, rtol=0)
    assert (noisy[0] - noisy[1]).abs().max() > 0
    black = pool.inject(torch.zeros(1, 3, 20, 20), rng)
    assert black.min() == 0 and black.max() > 0


def test_an_empty_pool_says_what_to_do(rng):
    with pytest.raises(DataError, match="adaptive"):
        NoisePool().inject(torch.zeros(1, 3, 8, 8), rng)
    with pytest.raises(DataError, match="empty"):
        fill(NoisePool(), (8, 8), rng)
    with pytest.raises(DataError, match="64 x 64"):
        collect([("grey", photo(rng, 2.0))], SMALL).sample(64, 1, rng)


def test_noise_for_whole_images(rng):
    pool = collect([("grey", photo(rng, 5.0))], SMALL)
    sheet = fill(pool, (100, 70), rng)
    assert sheet.shape == (3, 100, 70) and sheet.std().item() * 255 == pytest.approx(5, rel=0.1)
