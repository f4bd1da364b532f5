"""Metrics against closed forms, scikit-image in float64, and the lpips computation written out once more; indices
without a reference against what white noise and blur must do to them.
"""

import math
import shutil
import subprocess
import sys

import numpy as np
import pytest
import skimage.color
import skimage.metrics
import torch

from restore_lib import data, metrics, resampling
from restore_lib.errors import DataError
from restore_lib.metrics import Protocol
from restore_lib.resampling import imresize

RGB = Protocol("rgb", 0, False)


def pair(rng, shape=(3, 40, 52), strength=0.1, dtype=torch.float64):
    a = torch.rand(shape, generator=rng, dtype=dtype)
    return a, (a + strength * torch.randn(shape, generator=rng, dtype=dtype)).clamp(0, 1)


@pytest.mark.parametrize("offset", [1 / 255, 0.1, 0.5])
def test_psnr_of_a_constant_error(rng, offset):
    a = torch.rand(3, 12, 14, generator=rng, dtype=torch.float64) / 2
    assert metrics.psnr(a, a + offset, RGB) == pytest.approx(-20 * math.log10(offset), abs=1e-9)


def test_psnr_of_equal_images_is_infinite(rng):
    a, _ = pair(rng)
    assert metrics.psnr(a, a, RGB) == math.inf


@pytest.mark.parametrize("border", [0, 3])
def test_psnr_against_scikit_image(rng, border):
    a, b = pair(rng)
    inner = (slice(None), slice(border, 40 - border), slice(border, 52 - border))
    expected = skimage.metrics.peak_signal_noise_ratio(a[inner].numpy(), b[inner].numpy(), data_range=1)
    assert metrics.psnr(a, b, Protocol("rgb", border, False)) == pytest.approx(expected, abs=1e-9)


def test_psnr_on_luma_against_scikit_images_conversion(rng):
    a, b = pair(rng)
    ya, yb = (skimage.color.rgb2ycbcr(x.permute(1, 2, 0).numpy())[..., 0] for x in (a, b))
    expected = skimage.metrics.peak_signal_noise_ratio(ya[2:-2, 2:-2], yb[2:-2, 2:-2], data_range=255)
    assert metrics.psnr(a, b, Protocol("y", 2, False)) == pytest.approx(expected, abs=1e-6)


def test_luma_of_grey_images_is_worth_219_of_255_levels(rng):
    a, b = (x[:1].expand(3, -1, -1) for x in pair(rng))
    gain = metrics.psnr(a, b, Protocol("y", 0, False)) - metrics.psnr(a, b, RGB)
    assert gain == pytest.approx(20 * math.log10(255 / 219), abs=1e-6)


def test_one_channel_is_taken_as_luma_already(rng):
    a, b = (x[:1] for x in pair(rng))
    assert metrics.psnr(a, b, Protocol("y", 0, False)) == metrics.psnr(a, b, RGB)


def test_rounding_happens_before_luma_and_clips(rng):
    a, b = pair(rng, strength=0.4)
    b = b * 1.4 - 0.2  # leaves [0, 1]
    eight = [torch.from_numpy(np.rint(np.clip(x.numpy(), 0, 1) * 255) / 255) for x in (a, b)]
    rounded = Protocol("y", 1, True)
    assert metrics.psnr(a, b, rounded) == pytest.approx(metrics.psnr(*eight, Protocol("y", 1, False)), abs=1e-9)


@pytest.mark.parametrize("shape", [(3, 40, 52), (1, 11, 11), (3, 11, 30)])
def test_ssim_against_scikit_image(rng, shape):
    a, b = pair(rng, shape)
    expected = skimage.metrics.structural_similarity(
        a.numpy(),
        b.numpy(),
        channel_axis=0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1,
    )
    assert metrics.ssim(a, b, RGB) == pytest.approx(expected, abs=1e-9)
    assert metrics.ssim(a.float(), b.float(), RGB) == pytest.approx(expected, abs=2e-6)


def test_ssim_of_constant_images_is_the_brightness_term_alone(rng):
    mu_a, mu_b = torch.rand(2, generator=rng, dtype=torch.float64).tolist()
    a, b = torch.full((3, 20, 20), mu_a).double(), torch.full((3, 20, 20), mu_b).double()
    expected = (2 * mu_a * mu_b + 1e-4) / (mu_a**2 + mu_b**2 + 1e-4)
    assert metrics.ssim(a, b, RGB) == pytest.approx(expected, abs=1e-6)


def test_ssim_in_float32_keeps_its_digits_on_bright_smooth_images(rng):
    a = 0.97 + 0.002 * torch.rand(3, 64, 64, generator=rng, dtype=torch.float64)
    b = a + 0.002 * torch.rand(3, 64, 64, generator=rng, dtype=torch.float64)
    assert metrics.ssim(a.float(), b.float(), RGB) == pytest.approx(metrics.ssim(a, b, RGB), abs=1e-5)


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.ssim])
def test_a_batch_gives_one_value_an_image(rng, metric):
    a, b = pair(rng, (4, 3, 30, 31))
    together = metric(a, b, metrics.CLASSIC(3))
    assert together.shape == (4,)
    for value, x, y in zip(together, a, b, strict=True):
        assert metric(x, y, metrics.CLASSIC(3)) == pytest.approx(float(value), abs=1e-9)


def test_metrics_can_be_losses(rng):
    a, b = pair(rng, (2, 3, 16, 17))
    a = a.requires_grad_()
    for metric in (metrics.psnr, metrics.ssim):
        assert torch.autograd.gradcheck(lambda x, m=metric: m(x, b, Protocol("y", 1, False)), a, fast_mode=True)


def test_lr_psnr_forgives_what_shrinking_removes(rng):
    hr = 0.1 + 0.8 * resampling.imresize(torch.rand(3, 12, 15, generator=rng), size=(48, 60)).clamp(0, 1)
    checker = 0.05 * (-1.0) ** (torch.arange(48)[:, None] + torch.arange(60))
    assert metrics.lr_psnr(hr + checker, hr, 4) > metrics.psnr(hr + checker, hr, RGB) + 20
    size = (round(48 / 2.5), round(60 / 2.5))
    expected = metrics.psnr(*(resampling.resize_antialiased(x, size) for x in (hr + checker, hr)), RGB)
    assert metrics.lr_psnr(hr + checker, hr, 2.5) == pytest.approx(expected)
    with pytest.raises(ValueError, match="at least 1"):
        metrics.lr_psnr(hr, hr, 0.5)


def test_named_protocols_say_what_the_papers_do():
    assert metrics.CLASSIC(4) == Protocol("y", 4, True, "MATLAB bicubic", "classic")
    assert metrics.LIIF_BENCHMARK(3).border == 3
    assert "Y, border 4, rounded" in str(metrics.CLASSIC(4))
    assert "RGB, no border, not rounded" in str(metrics.DIINN_TEST)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a[..., :-1], "different shapes"),
        (lambda a: a * 255, "divide by 255"),
        (lambda a: torch.full_like(a, torch.nan), "NaN"),
    ],
)
def test_bad_images_are_refused(rng, change, message):
    a, _ = pair(rng)
    with pytest.raises((ValueError, TypeError), match=message + "|Type-check"):  # the type checker may speak first
        metrics.psnr(a, change(a), RGB)


@pytest.mark.parametrize("shape", [(2, 20, 20), (20, 20)])
def test_bad_shapes_are_refused(shape):
    with pytest.raises((ValueError, TypeError)):  # the type checker of the test-suite may speak first
        metrics.psnr(torch.zeros(shape), torch.zeros(shape), RGB)


def test_borders_and_windows_need_room():
    with pytest.raises(ValueError, match="leaves nothing"):
        metrics.psnr(torch.zeros(3, 8, 9), torch.zeros(3, 8, 9), Protocol("rgb", 4, False))
    with pytest.raises(ValueError, match="11 x 11"):
        metrics.ssim(torch.zeros(3, 10, 20), torch.zeros(3, 10, 20), RGB)


@pytest.mark.parametrize("bad", [{"channels": "grey"}, {"border": -1}, {"border": 1.5}, {"border": True}])
def test_bad_protocols_are_refused(bad):
    with pytest.raises((ValueError, TypeError)):
        Protocol(**bad)


# LPIPS


def written_out(weights, heads, a, b):
    """LPIPS with AlexNet from its formula, in float64, without the package."""
    shift = torch.tensor([-0.030, -0.088, -0.188]).double().view(3, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450]).double().view(3, 1, 1)
    layers = [(0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1)]

    def features(x):
        x, maps = ((2 * x - 1 - shift) / scale)[None], []
        for number, (index, stride, padding) in enumerate(layers):
            if number in (1, 2):
                x = torch.nn.functional.max_pool2d(x, 3, 2)
            w, bias = (weights[f"features.{index}.{kind}"].double() for kind in ("weight", "bias"))
            x = torch.relu(torch.nn.functional.conv2d(x, w, bias, stride, padding))
            maps.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return maps

    total = 0.0
    for number, (x, y) in enumerate(zip(features(a), features(b), strict=True)):
        head = heads[f"lin{number}.model.1.weight"].double()
        total += float((head * (x - y) ** 2).sum(1).mean())
    return total


@pytest.fixture
def trunks(photos):
    if not (photos.parent / "weights" / "lpips_alex").is_dir():
        pytest.skip("needs the LPIPS weights beside the image sets")
    return photos.parent / "weights"


def test_lpips_against_the_formula_written_out(rng, trunks):
    from restore_lib.compat import import_torchvision

    import_torchvision()
    import lpips

    weights = torch.load(trunks / "lpips_alex/lpips_alex_v0.1.pth", weights_only=True)
    heads_file = lpips.__path__[0] + "/weights/v0.1/alex.pth"
    heads = torch.load(heads_file, map_location="cpu", weights_only=True)
    a, b = pair(rng, (3, 64, 80))
    assert metrics.lpips(a, b) == pytest.approx(written_out(weights, heads, a, b), rel=1e-4)
    for number in range(5):  # the file of weights also carries the heads: they are the package's
        torch.testing.assert_close(weights[f"lin{number}.weight"].float(), heads[f"lin{number}.model.1.weight"])


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_lpips_is_a_distance_in_shape(rng, trunks, net):
    a, b = pair(rng, (2, 3, 48, 40), dtype=torch.float32)
    values = metrics.lpips(a, b, net)
    assert values.shape == (2,) and (values > 0).all()
    assert metrics.lpips(a[0], b[0], net) == pytest.approx(float(values[0]), rel=1e-4)
    assert metrics.lpips(b[0], a[0], net) == pytest.approx(float(values[0]), rel=1e-4)
    assert metrics.lpips(a[0], a[0], net) == 0


def test_lpips_can_be_a_loss(rng, trunks):
    a, b = pair(rng, (1, 3, 48, 40), dtype=torch.float32)
    a = a.requires_grad_()
    metrics.lpips(a, b).sum().backward()
    assert a.grad.abs().sum() > 0


def test_lpips_prefers_a_little_blur_to_heavy_blur(trunks):
    from skimage.data import astronaut

    photo = torch.from_numpy(astronaut()[:128, 128:256].copy()).permute(2, 0, 1).float() / 255
    blurred = [
        resampling.imresize(resampling.imresize(photo, scale=1 / s), size=(128, 128)).clamp(0, 1) for s in (2, 4)
    ]
    assert metrics.lpips(blurred[0], photo) < metrics.lpips(blurred[1], photo)


def test_missing_weights_name_the_command(rng):
    a, b = pair(rng, dtype=torch.float32)
    with pytest.raises(DataError, match="restore data fetch lpips-squeeze"):
        metrics.lpips(a, b, "squeeze")


def test_damaged_weights_are_refused(rng, tmp_path, monkeypatch):
    monkeypatch.setenv("RESTORE_DATA", str(tmp_path))
    file = metrics.TRUNKS["alex"][0]
    (tmp_path / file.path).parent.mkdir()
    (tmp_path / file.path).write_bytes(b"not weights")
    a, b = pair(rng, dtype=torch.float32)
    with pytest.raises(DataError, match="damaged"):
        metrics.lpips(a, b, "alex")


def test_weights_are_verified_again_when_the_file_changes(rng, trunks, tmp_path, monkeypatch):
    file = metrics.TRUNKS["alex"][0]
    copy = tmp_path / file.path
    copy.parent.mkdir()
    shutil.copy(trunks / file.path, copy)
    monkeypatch.setenv("RESTORE_DATA", str(tmp_path))
    a, b = pair(rng, dtype=torch.float32)
    assert metrics.lpips(a, b) > 0
    copy.write_bytes(copy.read_bytes()[:-1] + b"?")
    with pytest.raises(DataError, match="damaged"):
        metrics.lpips(a, b)


def test_lpips_refuses_what_its_network_cannot_see(rng):
    small, grey = torch.zeros(3, 16, 64), torch.zeros(1, 64, 64)
    for image in (small, grey):
        with pytest.raises(ValueError, match="LPIPS needs RGB"):
            metrics.lpips(image, image)
    with pytest.raises(ValueError, match="choose one of"):
        metrics.lpips(torch.zeros(3, 64, 64), torch.zeros(3, 64, 64), "resnet")


@pytest.fixture
def forgotten():
    """The package is looked for anew."""
    metrics._brisque.cache_clear()
    yield
    metrics._brisque.cache_clear()


@pytest.mark.parametrize("sigma", [3.0, 20.0])
def test_white_noise_has_its_own_level_and_interpolated_noise_none(sigma, rng):
    ramp = torch.linspace(0.2, 0.8, 128).expand(3, 128, 128)
    noisy = ramp + sigma / 255 * torch.randn(3, 128, 128, generator=rng)
    assert metrics.noise_level(noisy) == pytest.approx(sigma, rel=0.08)
    assert metrics.noise_level(imresize(noisy, scale=4)) < 0.1 * sigma
    assert metrics.noise_level(ramp) < 0.01
    noisy[1:] = 0.5  # two colours without anything
    assert metrics.noise_level(noisy) == pytest.approx(sigma / 3, rel=0.12)


def test_a_blurred_photo_is_blurred_and_noise_counts_as_sharp(rng):
    photo = data.open("embedded")["chelsea"].image[:, :160, :200]
    smaller = imresize(imresize(photo, scale=1 / 4), scale=4)
    noisy = smaller + 0.1 * torch.randn(smaller.shape, generator=rng)
    values = [metrics.blur(x.clamp(0, 1)) for x in (noisy, photo, smaller)]
    assert 0 <= values[0] < values[2] <= 1 and values[1] < values[2]
    with pytest.raises(ValueError, match="one colour"):
        metrics.blur(torch.full((3, 40, 40), 0.5))


def test_brisque_says_what_to_install(monkeypatch, forgotten):
    monkeypatch.setitem(sys.modules, "brisque", None)
    with pytest.raises(DataError, match="pip install brisque"):
        metrics.brisque(torch.zeros(3, 64, 64))


def test_brisque_judges_the_photo_and_its_half(monkeypatch, forgotten, rng):
    """Features go from the package to its regression as plain numbers, those of the photo first."""
    seen = []

    class Package:
        def __init__(self, url):
            assert url is False

        def calculate_brisque_features(self, grey, kernel_size, sigma):
            seen.append(grey.shape)
            return np.array([grey.mean(), np.array([float(kernel_size)])], dtype=object)

        def calculate_image_quality_score(self, features):
            assert features.dtype == np.float64 and features.shape == (4,)
            return features[0] * 100

    monkeypatch.setitem(sys.modules, "brisque", type(sys)("brisque"))
    sys.modules["brisque"].BRISQUE = Package
    photo = torch.rand(3, 64, 80, generator=rng)
    weights = torch.tensor([0.2125, 0.7154, 0.0721])[:, None, None]
    expected = 100 * float(((photo * 255).round() / 255 * weights).sum(0).mean())
    assert metrics.brisque(photo) == pytest.approx(expected, abs=1e-3) and seen == [(64, 80), (32, 40)]
    for wrong in (torch.rand(3, 31, 80, generator=rng), torch.full((3, 64, 64), 0.5)):
        with pytest.raises(ValueError):
            metrics.brisque(wrong)


def test_brisque_finds_noise_and_blur_worse_than_the_photo(forgotten, rng):
    pytest.importorskip("brisque", reason="an optional package")
    photo = data.open("embedded")["chelsea"].image
    noisy = (photo + 25 / 255 * torch.randn(photo.shape, generator=rng)).clamp(0, 1)
    soft = imresize(imresize(photo, scale=1 / 4), size=tuple(photo.shape[-2:])).clamp(0, 1)
    clean, *spoilt = (metrics.brisque(x) for x in (photo, noisy, soft))
    assert clean + 20 < min(spoilt) and max(spoilt) < 120


@pytest.mark.parametrize("change", [lambda x: 2 * x - 1, lambda x: 1.5 * x, lambda x: x - 0.2])
def test_of_two_images_one_lies_in_the_range(change, rng):
    truth = torch.rand(3, 40, 40, generator=rng)
    truth[0, 0, 0], truth[0, 0, 1] = 0, 1
    noisy = truth + 0.1 * torch.randn(truth.shape, generator=rng)  # may leave [0, 1]
    for metric in (lambda a, b: metrics.psnr(a, b, RGB), lambda a, b: metrics.ssim(a, b, RGB), metrics.lpips):
        with pytest.raises(ValueError, match=r"both images leave \[0, 1\]: they reach from"):
            metric(change(noisy), change(truth))
    with pytest.raises(ValueError, match="both images"):
        metrics.lr_psnr(change(noisy), change(truth), 2)
    assert metrics.psnr(noisy, truth, RGB) > 15


INTEGERS = """
import torch
from restore_lib import metrics
for dtype in (torch.uint8, torch.int16, torch.int64, torch.bool):
    image, rule = torch.ones(3, 40, 40, dtype=dtype), metrics.Protocol()
    for metric in (lambda x: metrics.psnr(x, x, rule), lambda x: metrics.ssim(x, x, rule), metrics.noise_level):
        try:
            print(metric(image))
        except ValueError as error:
            print("refused" if "images are floats" in str(error) else error)
"""


def test_integers_are_no_images():
    """In a process of its own: here the annotations are checked first."""
    result = subprocess.run([sys.executable, "-c", INTEGERS], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["refused"] * 12
