"""Everything that takes a picture answers on a device as on the CPU, for pictures on either."""

import dataclasses

import numpy as np
import pytest
import torch
from make_believe import make_believe

import restore_lib as rl
from restore_lib import data, images, metrics, noise
from restore_lib.denoising import baselines, denoiser
from restore_lib.errors import DataError
from restore_lib.experiments import paper_a_vision, protocols, runs
from restore_lib.fast import tiling
from restore_lib.implicit import inference
from restore_lib.realsr import hidden_camera, kernelgan, zssr


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    return images.centre_crop(data.open("embedded")[0].image, 96).contiguous()


@pytest.fixture(scope="module")
def noisy(photo):
    return noise.gaussian(photo, 25, torch.Generator().manual_seed(0))


def close(on_device, on_cpu, atol: float = 2e-5) -> None:
    assert torch.allclose(torch.as_tensor(on_device).cpu(), torch.as_tensor(on_cpu), atol=atol)


def both(work, *pictures):
    """What ``work`` gives for pictures on the CPU with networks there; and on the device, for pictures on either."""
    expected = work(*pictures)
    with make_believe() as counts:
        for place in ("cpu", "cuda"):
            found = work(*(picture.to(place) for picture in pictures))
            if isinstance(found, torch.Tensor):
                assert found.device.type == place
            close(found, expected)
        assert counts.launches > 20 and not counts.cpu_autocasts
    return expected


@pytest.mark.parametrize("sigma", [25, None])
def test_denoise(noisy, sigma):
    both(lambda x: rl.denoise(x, sigma), noisy)


@pytest.mark.parametrize(
    ("model", "scale"), [("diinn-cpu", 2.5), ("liif-cpu", 2), ("metasr-cpu", 3), ("rrdb-gan-both-cpu", None)]
)
def test_upscale(photo, model, scale):
    both(lambda x: rl.upscale(x, scale, model=model, keep_colours=True), photo[:, :24, :20])


def test_kinds_of_pictures(noisy, gpu):
    array = noisy.clamp(0, 1).permute(1, 2, 0).numpy()
    for picture in (array, (255 * array).astype(np.uint8)):
        assert rl.denoise(picture, 25).dtype == picture.dtype and rl.upscale(picture[:16, :16], 2).shape == (32, 32, 3)


def test_window_by_window(photo, noisy):
    one_scale, any_scale = rl.load("rrdb-gan-both-cpu"), rl.load("diinn-cpu")
    clean = rl.load("denoiser-25-cpu")

    def all_three(x, y):  # windows, where a picture has several
        place = "cuda" if torch.cuda.is_available() else "cpu"
        parts = [
            tiling.upscale(one_scale.to(place), x[:, :40, :24], tile=32, overlap=8),
            inference.upscale(any_scale.to(place), x[:, :24, :20], (50, 31), tile=16),
            denoiser.denoise(clean.to(place), y, tile=116),
        ]
        return torch.cat([part.flatten() for part in parts])

    expected = all_three(photo, noisy)
    with make_believe():
        for place in ("cpu", "cuda"):
            close(all_three(photo.to(place), noisy.to(place)), expected)


def test_bfloat16_is_asked_of_the_device(photo, gpu):
    exact = rl.upscale(photo[:, :20, :20], 2)
    half = rl.upscale(photo[:, :20, :20], 2, precision="bf16")
    assert 0 < (exact - half).abs().max() < 0.05 and not gpu.cpu_autocasts


@pytest.mark.filterwarnings("ignore::restore_lib.realsr.kernels.KernelWarning")  # after so few steps
@pytest.mark.parametrize(("fast", "rule"), [(True, "average"), (True, "choice"), (False, "average")])
def test_kernel_estimation(photo, fast, rule):
    settings = kernelgan.KernelSettings(steps=3, shave=0, check_every=1, rate_every=2)
    large = photo.repeat(1, 1, 2)

    def estimate(place):
        found = kernelgan.estimate_kernel(
            large.to(place), 2, 0, 2, rule=rule, settings=settings, fast=fast, device=place
        )
        return found.kernel

    expected = estimate("cpu")
    with make_believe():
        found = estimate("cuda")
        assert found.device.type == "cpu"
        close(found, expected, 1e-3)


@pytest.mark.filterwarnings("ignore::restore_lib.realsr.kernels.KernelWarning")
def test_kernels_by_the_face(photo):
    expected = rl.estimate_kernel(photo, steps=3).kernel
    with make_believe() as counts:
        for place in ("cpu", "cuda"):
            close(rl.estimate_kernel(photo.to(place), steps=3).kernel, expected, 1e-3)
        assert counts.launches > 300


def test_zssr(photo):
    quick = dataclasses.replace(zssr.quick(zssr.BICUBIC, 32), steps=2, mixed=False)
    kernel = torch.ones(4, 4) / 16
    with_kernel = dataclasses.replace(zssr.quick(zssr.K_ZSSR, 32), steps=2, mixed=False)
    slow = dataclasses.replace(zssr.GIVEN_KERNEL, steps=2, augmentation=zssr.Augmentation(crop=32, rotate=False))

    def work(place):
        small = photo[:, :40, :44]
        return (
            zssr.zssr(small, (2,), settings=quick, device=place).sr,
            zssr.k_zssr(small, kernel, 4, with_kernel, device=place).sr,
            zssr.zssr(small, (2,), [kernel], slow, device=place).sr,
        )

    expected = work("cpu")
    with make_believe():
        for found, right in zip(work("cuda"), expected, strict=True):
            close(found, right, 1e-3)


def test_metrics(photo, noisy):
    x = noisy.clamp(0, 1)
    for work in (
        lambda a, b: metrics.psnr(a, b, metrics.Protocol()),
        lambda a, b: metrics.ssim(a, b, metrics.Protocol()),
        lambda a, b: metrics.psnr(a[None], b[None], metrics.Protocol("rgb", 2)),
        lambda a, b: metrics.lr_psnr(a, b, 2),
        lambda a, b: metrics.noise_level(a) + metrics.noise_level(b),
        lambda a, b: metrics.blur(a) + metrics.blur(b),
    ):
        expected = work(x, photo)
        with make_believe():
            close(work(x.to("cuda"), photo.to("cuda")), expected, 1e-4)


def test_recognition_metrics(gpu):
    scores, labels = torch.rand(9, 4), torch.randint(4, (9,))
    maps, truth = torch.randint(4, (2, 5, 5)), torch.randint(4, (2, 5, 5))
    assert torch.equal(metrics.top_k(scores.cuda(), labels.cuda(), 2).cpu(), metrics.top_k(scores, labels, 2))
    counts, expected = metrics.confusion(maps.cuda(), truth.cuda(), 4), metrics.confusion(maps, truth, 4)
    assert torch.equal(counts.cpu(), expected)
    assert metrics.mean_iou(counts) == metrics.mean_iou(expected)
    assert metrics.pixel_accuracy(counts) == metrics.pixel_accuracy(expected)
    accuracies = counts.sum((1, 2)).double()
    assert metrics.bootstrap(accuracies, torch.mean) == metrics.bootstrap(accuracies.cpu(), torch.mean)


def test_lpips(photo, noisy, photos, monkeypatch):
    try:
        expected = metrics.lpips(photo, noisy.clamp(0, 1))
    except DataError:
        pytest.skip("needs the weights under LPIPS")
    with make_believe():
        close(metrics.lpips(photo.to("cuda"), noisy.clamp(0, 1).to("cuda")), expected)
    metrics._load_lpips.cache_clear()


def test_baselines(noisy, gpu, tmp_path):
    small = noisy[:, :32, :32]
    close(baselines.wavelets(small.cuda(), 25), baselines.wavelets(small, 25))
    assert baselines.wavelets(small.cuda(), 25).is_cuda


def test_evaluation(small_photos):
    protocol, network = protocols.gaussian_noise(25), rl.load("denoiser-25-cpu")
    sets = data.open("embedded")[:1]
    model = lambda given, size: denoiser.same_size(network, given[None])[0]  # noqa: E731
    expected = runs.evaluate(model, sets, protocol)
    with make_believe():
        network.to("cuda")
        found = runs.evaluate(model, sets, protocol, device="cuda")
    assert [m.value for m in found] == pytest.approx([m.value for m in expected], rel=1e-4)


def test_vision_networks_in_experiments(photo):
    x = images.centre_crop(photo, 64)[None].repeat(2, 1, 1, 1)

    def work():
        paper_a_vision.network.cache_clear()
        clean = paper_a_vision.denoised("half-denoiser-30-cpu", x)
        return clean, paper_a_vision.predictions("classifier-tiny-cpu", x)

    expected = work()
    with make_believe((7, 5)) as counts:
        for found, right in zip(work(), expected, strict=True):
            assert found.device.type == "cpu"
            close(found, right, 0.01)  # the processor may have bfloat16
        assert counts.launches > 50 and not counts.cpu_autocasts
    paper_a_vision.network.cache_clear()


@pytest.mark.filterwarnings("ignore::restore_lib.realsr.kernels.KernelWarning")
def test_pairs_are_made_on_the_device(small_photos):
    settings = hidden_camera.PairSettings(world="embedded", sources=2, kernel_photos=2, kernels="true")
    expected = hidden_camera.training_pairs(settings)
    photos = [hidden_camera.sources("embedded", 1)[0][1]]
    with make_believe() as counts:
        found = hidden_camera.training_pairs(settings)
        assert counts.launches > 10
        gpu_kernels = hidden_camera.estimated_kernels(photos, settings=kernelgan.KernelSettings(steps=2, shave=0))
        assert counts.launches > 200 and gpu_kernels[0].device.type == "cpu"
    for a, b in zip(found.pairs, expected.pairs, strict=True):
        assert a.lr.device.type == "cpu" and (a.lr.int() - b.lr.int()).abs().max() <= 1
