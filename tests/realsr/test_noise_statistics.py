"""Statistics of noise against closed forms: white, blurred, mixed and Poisson-Gaussian noise, and sums written out."""

import numpy as np
import pytest
import torch
from scipy import signal as filters
from scipy import stats

from restore_lib import noise
from restore_lib.errors import DataError
from restore_lib.realsr import noise_pool as measured
from restore_lib.realsr.noise_pool import NoisePool, NoiseRule, luma_variance

SMALL = NoiseRule(patch=32, stride=32)


def white(rng, count=200, side=32):
    return torch.randn(count, 3, side, side, generator=rng)


def blurred(rng, kernel, side=48):
    """White noise under a kernel, without borders, and what the kernel is correlated with itself."""
    wide = torch.randn(150, 3, side + 4, side + 4, generator=rng).flatten(0, 1)[:, None]
    x = torch.nn.functional.conv2d(wide, kernel[None, None]).reshape(150, 3, side + 2, side + 2)
    array = kernel.double().numpy()
    return x, filters.correlate2d(array, array)


def test_white_noise_has_a_flat_spectrum_and_no_neighbours(rng):
    x = 0.3 * white(rng)
    power = measured.power_spectrum(x)
    assert float(power.mean()) == pytest.approx(float(x.double().square().mean()))  # Parseval
    frequency, rings = measured.radial(power, 8)
    assert float(frequency.min()) > 0 and float(frequency.max()) <= 0.5
    np.testing.assert_allclose(rings, 0.09, rtol=0.12)
    alone = torch.zeros(7, 7, dtype=torch.float64)
    alone[3, 3] = 1
    torch.testing.assert_close(measured.autocorrelation(x, 3), alone, atol=0.012, rtol=0)


def test_blurred_noise_has_the_kernels_own_autocorrelation_and_spectrum(rng):
    kernel = torch.rand(3, 3, generator=rng)
    x, expected = blurred(rng, kernel)
    found = measured.autocorrelation(x, 2).numpy()
    np.testing.assert_allclose(found, expected / expected[2, 2], atol=0.025)
    power = measured.power_spectrum(x).numpy()
    transfer = np.fft.fftshift(np.abs(np.fft.fft2(kernel.numpy(), s=power.shape)) ** 2)
    # Noise does not go on periodically as the transform takes it to, so only wide bands agree, not single frequencies.
    for band in (slice(20, 30), slice(0, 10), slice(10, 40)):
        assert power[band].mean() == pytest.approx(transfer[band].mean(), rel=0.05, abs=0.02 * float(transfer.max()))


def test_autocorrelation_is_the_sum_over_pairs(rng):
    x = torch.randn(2, 3, 5, 6, generator=rng)
    y = (x.double() - x.double().mean((2, 3), keepdim=True)).numpy()
    found = measured.autocorrelation(x, 3)
    for down in range(-3, 4):
        for across in range(-3, 4):
            pairs = [
                (y[..., i, j] * y[..., i + down, j + across]).mean()
                for i in range(5)
                for j in range(6)
                if 0 <= i + down < 5 and 0 <= j + across < 6
            ]
            assert float(found[3 + down, 3 + across]) == pytest.approx(np.mean(pairs) / np.mean(y**2))
    with pytest.raises(ValueError, match="reach"):
        measured.autocorrelation(x, 5)


def test_colours_that_are_mixed(rng):
    mix = torch.rand(3, 3, generator=rng) + torch.eye(3)
    x = torch.einsum("ij,njhw->nihw", mix, white(rng)) + torch.rand(200, 3, 1, 1, generator=rng)
    expected = (mix @ mix.T).double()
    torch.testing.assert_close(measured.colour_covariance(x), expected, rtol=0.03, atol=0.03)
    flat = measured.without_mean(x).double().numpy().swapaxes(0, 1).reshape(3, -1)
    correlation = np.corrcoef(flat)
    summary = measured.summary(list(x))
    for i, j, name in ((0, 1, "red-green"), (1, 2, "green-blue"), (0, 2, "red-blue")):
        assert summary[name] == pytest.approx(correlation[i, j], abs=1e-6)


def sensor(rng, gain, read):
    """Flat crops of many levels, as a sensor sees them."""
    levels = torch.linspace(0.05, 0.95, 120)[:, None, None, None].expand(-1, 3, 32, 32)
    return noise.poisson_gaussian(levels, gain, read, rng)


@pytest.mark.parametrize(("gain", "read"), [(0.01, 2.0), (0.002, 10.0)])
def test_a_sensor_has_a_line_whose_slope_is_one_photon(gain, read, rng):
    x = sensor(rng, gain, read)
    slope, intercept = measured.robust_line(*measured.signal_dependence(x))
    assert slope == pytest.approx(gain, rel=0.12)
    assert intercept + slope * 0.5 == pytest.approx(gain * 0.5 + (read / 255) ** 2, rel=0.03)
    slope, intercept = measured.robust_line(
        *measured.signal_dependence(noise.gaussian(torch.full((120, 3, 32, 32), 0.5), 9, rng))
    )
    assert intercept + slope * 0.5 == pytest.approx((9 / 255) ** 2, rel=0.03)
    assert 255 * gain == pytest.approx(measured.summary(list(x))["slope"], rel=0.12)


def test_texture_among_the_crops_does_not_move_the_line(rng):
    x = sensor(rng, 0.01, 2.0)
    x[::6] += 0.3 * torch.rand(x[::6].shape, generator=rng)  # every sixth
    signal, variance = measured.signal_dependence(x)
    assert measured.robust_line(signal, variance)[0] == pytest.approx(0.01, rel=0.3)


def test_the_line_is_theil_and_sens(rng):
    x, y = torch.rand(2, 41, generator=rng, dtype=torch.float64)
    slope, *_ = stats.theilslopes(y.numpy(), x.numpy())
    assert measured.robust_line(x, y)[0] == pytest.approx(slope)
    assert measured.robust_line(torch.ones(5), torch.arange(5.0)) == (0.0, 2.0)
    many = torch.linspace(0, 1, 4000)
    assert measured.robust_line(many, 3 * many + 1) == pytest.approx((3.0, 1.0), abs=1e-3)


def test_fine_is_what_a_window_of_frequencies_holds(rng):
    assert measured.fine_share(torch.ones(32, 32)) == pytest.approx(1 - 15**2 / 32**2)
    wave = torch.cos(2 * torch.pi * torch.arange(32) / 16).expand(1, 3, 32, 32)
    assert measured.fine_share(measured.power_spectrum(wave)) == pytest.approx(0, abs=1e-9)
    assert measured.fine_share(measured.power_spectrum(torch.ones(1, 1, 8, 8) * torch.tensor([1.0, -1] * 4))) == 1


def test_a_summary_of_two_kinds_of_noise(rng):
    found = measured.summary(list(noise.gaussian(torch.full((150, 3, 32, 32), 0.5), 6, rng)))
    expected = {"crops": 150, "sigma": 6, "luma share": luma_variance(1), "across 1": 0, "red-blue": 0, "fine": 0.781}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=0.02, rel=0.01), name
    assert found["dark sigma"] == pytest.approx(6, rel=0.03) and found["bright sigma"] == pytest.approx(6, rel=0.03)
    grey = measured.summary([torch.randn(1, 40, 70, generator=rng).expand(3, -1, -1)])
    assert grey["crops"] == 2 and grey["luma share"] == pytest.approx(1) and grey["green-blue"] == pytest.approx(1)


def test_a_summary_takes_a_pool(rng):
    pool = NoisePool()
    pool.add(noise.gaussian(torch.full((3, 64, 64), 0.5), 3, rng), SMALL)
    assert measured.summary(pool) == measured.summary(pool.patches)
    with pytest.raises(DataError, match="another rule"):
        measured.summary(NoisePool())


def scene(rng, gain):
    """Flat squares of many levels and a strip of texture: photo and mean."""
    levels = 0.15 + 0.7 * torch.rand(1, 4, 6, generator=rng)
    clean = levels.repeat_interleave(32, 1).repeat_interleave(32, 2).expand(3, -1, -1).clone()
    clean[:, :, -32:] = torch.rand(3, 128, 32, generator=rng)
    return noise.poisson_gaussian(clean, gain, 0.0, rng), clean


def test_samples_of_a_camera_that_is_known(rng):
    pairs = [scene(rng, 0.0004) for _ in range(6)]
    photos = [(str(number), photo) for number, (photo, _) in enumerate(pairs)]
    found = measured.samples(photos, SMALL, means=[clean for _, clean in pairs], generator=rng)
    lengths = {name: len(x) for name, x in found.items()}
    assert lengths == {"camera": 144, "there": 120, "collected": 120, "injected": 144, "gaussian": 144}
    torch.testing.assert_close(found["there"], found["collected"])  # flat squares: all that varies is noise
    numbers = {name: measured.summary(list(x)) for name, x in found.items()}
    assert numbers["camera"]["slope"] == pytest.approx(255 * 0.0004, rel=0.2)
    for name in ("injected", "gaussian"):
        assert abs(numbers[name]["slope"]) < 0.4 * numbers["camera"]["slope"]
        assert numbers[name]["sigma"] == pytest.approx(numbers["collected"]["sigma"], rel=0.1)
    few = measured.samples(photos, SMALL, generator=rng, most=10)
    assert list(few) == ["collected", "injected", "gaussian"] and all(len(x) == 10 for x in few.values())


def test_compare_needs_something_to_compare(rng):
    with pytest.raises(DataError):
        measured.compare([("texture", torch.rand(3, 64, 64, generator=rng))], SMALL, generator=rng)
