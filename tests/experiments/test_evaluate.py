"""Evaluation against plain arithmetic written here, with Pillow, NumPy and scikit-image in place of our own parts."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import structural_similarity

from restore_lib import data
from restore_lib.experiments import EvaluationProtocol, evaluate
from restore_lib.experiments.protocols import BICUBIC, CLASSIC, DIINN, LIIF, PROTOCOLS
from restore_lib.resampling import imresize

LUMA = np.array([65.481, 128.553, 24.966])


@dataclass
class Photo:
    """An item like those of a data set."""

    name: str
    image: torch.Tensor
    grey: bool = False

    def read(self, part="image", channels="rgb"):
        return self.image[:1] if self.grey and channels == "native" else self.image


@pytest.fixture
def photos_8bit() -> list[Photo]:
    """Three small windows of real photos, one of them grey, with sides that no scale divides."""
    cut = [item.image[:, 20:117, 30:141] for item in list(data.open("embedded"))[:3]]
    cut[2] = cut[2].mean(0, keepdim=True).expand(3, -1, -1)
    eight = [(image * 255).round() / 255 for image in cut]
    return [Photo(f"photo {n}", image, n == 2) for n, image in enumerate(eight)]


def as_array(image: torch.Tensor) -> np.ndarray:
    return (image.permute(1, 2, 0).double().numpy() * 255).round()


def decibel(error: np.ndarray) -> float:
    return 10 * math.log10(255**2 / np.mean(error**2))


def similarity(a: np.ndarray, b: np.ndarray, **channels) -> float:
    rule = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, full=True)
    return structural_similarity(a, b, **rule, **channels)[1][5:-5, 5:-5].mean()


def pillow(array: np.ndarray, width: int, height: int) -> np.ndarray:
    """Pillow's bicubic of a float array, a channel at a time."""
    planes = [Image.fromarray(plane.astype(np.float32)) for plane in np.moveaxis(array, -1, 0)]
    return np.stack([np.asarray(p.resize((width, height), Image.Resampling.BICUBIC)) for p in planes], -1)


def pillow_8bit(array: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.asarray(Image.fromarray(array.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC))


def at(protocol: EvaluationProtocol, *conditions: str) -> EvaluationProtocol:
    """The protocol under some of its conditions."""
    return replace(protocol, conditions={name: protocol.conditions[name] for name in conditions})


def diinn_by_hand(hr: np.ndarray, scale: float) -> dict[str, float]:
    height, width = hr.shape[:2]
    small = round(width / scale), round(height / scale)
    sr = pillow(pillow_8bit(hr, *small), width, height).clip(0, 255)
    return {
        "psnr": decibel(sr - hr),
        "ssim": similarity(sr, hr, channel_axis=-1),
        "lr_psnr": decibel(pillow(sr, *small) - pillow(hr, *small)),
    }


def test_diinn_protocol_is_plain_pillow_arithmetic(photos_8bit):
    actual = evaluate(BICUBIC["diinn"], photos_8bit, at(DIINN, "x2", "x3.5"))
    metrics = ("psnr", "ssim", "lr_psnr")
    assert [(m.condition, m.metric) for m in actual] == [(c, m) for c in ("x2", "x3.5") for m in metrics]
    for measured in actual:
        for photo, value in zip(photos_8bit, measured.per_image, strict=True):
            expected = diinn_by_hand(as_array(photo.image), float(measured.condition[1:]))[measured.metric]
            assert value == pytest.approx(expected, abs=2e-3 if measured.metric == "lr_psnr" else 2e-4)


@pytest.mark.parametrize("scale", [2, 3])
def test_liif_protocol_is_luma_of_the_unrounded_result(photos_8bit, scale):
    (actual,) = evaluate(BICUBIC["liif"], photos_8bit, at(LIIF, f"x{scale}"))
    for photo, value in zip(photos_8bit, actual.per_image, strict=True):
        hr = as_array(photo.image)
        hr = hr[: hr.shape[0] // scale * scale, : hr.shape[1] // scale * scale]
        eight = torch.from_numpy(hr).permute(2, 0, 1).to(torch.uint8)
        lr = imresize(eight, scale=1 / scale).double()
        sr = imresize(lr, size=eight.shape[-2:]).permute(1, 2, 0).numpy().clip(0, 255)
        error = ((sr - hr) @ LUMA / 255)[scale:-scale, scale:-scale]
        assert value == pytest.approx(decibel(error), abs=2e-4)


def test_liif_protocol_reduces_with_pillow_beyond_x4(photos_8bit):
    lr, hr = LIIF.prepare(photos_8bit[0], 6.0, torch.Generator())
    expected = pillow_8bit(as_array(hr), hr.shape[-1] // 6, hr.shape[-2] // 6)
    assert np.array_equal(as_array(lr), expected)


def test_classic_protocol_works_on_8_bit_luma_clips_and_rounds(photos_8bit):
    scale = 3
    psnr, ssim = evaluate(BICUBIC["classic"], photos_8bit, at(CLASSIC, "x3"))
    for number, photo in enumerate(photos_8bit):
        hr = as_array(photo.image)
        luma = hr[..., 0] if photo.grey else np.round(16 + hr @ LUMA / 255)
        luma = luma[: hr.shape[0] // scale * scale, : hr.shape[1] // scale * scale]
        lr = imresize(torch.from_numpy(luma), scale=1 / scale)
        sr = imresize(lr, size=luma.shape).numpy().clip(16, 235).round()
        sr, luma = sr[scale:-scale, scale:-scale], luma[scale:-scale, scale:-scale]
        assert psnr.per_image[number] == pytest.approx(decibel(sr - luma), abs=0.02)  # a half may round either way
        assert ssim.per_image[number] == pytest.approx(similarity(sr, luma), abs=2e-4)


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_better_results_score_higher_and_pixels_outside_the_range_are_clipped(protocol, photos_8bit):
    photo = photos_8bit[:1]
    _, hr = protocol.prepare(photo[0], 2.0, torch.Generator())

    def psnr(error):
        return evaluate(lambda lr, size: hr + error, photo, at(protocol, "x2"))[0].value

    assert psnr(0.01) > psnr(0.02) > 30
    black = Photo("black", torch.zeros(3, 64, 64))
    dark = evaluate(lambda lr, size: torch.full((len(lr), *size), -3.0), [black], at(protocol, "x2"))
    assert math.isinf(dark[0].value)


def noisy(item, sigma, generator):
    return item.image + sigma / 255 * torch.randn(item.image.shape, generator=generator), item.image


NOISE = EvaluationProtocol(
    name="noise",
    title="white noise",
    rules={"noise": "white"},
    conditions={"sigma 25": 25.0, "sigma 50": 50.0},
    prepare=noisy,
    measure=lambda restored, target, sigma: {"mean": restored.mean().item()},
)


def test_an_image_gets_the_same_noise_whatever_else_is_tested(photos_8bit):
    def means(images, seed=0):
        return {m.condition: m.per_image for m in evaluate(lambda given, size: given, images, NOISE, seed=seed)}

    everything, last = means(photos_8bit), means(photos_8bit[-1:])
    assert {c: v[-1:] for c, v in everything.items()} == last
    assert means(photos_8bit) == everything
    assert means(photos_8bit, seed=1)["sigma 25"] != everything["sigma 25"]
    assert everything["sigma 25"] != everything["sigma 50"]


def test_conditions_come_in_the_order_asked_and_progress_is_told(photos_8bit):
    seen = []
    actual = evaluate(lambda given, size: given, photos_8bit, at(NOISE, "sigma 50", "sigma 25"), progress=seen.append)
    assert [m.condition for m in actual] == ["sigma 50", "sigma 25"]
    assert seen == [photo.name for photo in photos_8bit]


def test_mistakes_are_said(photos_8bit):
    with pytest.raises(ValueError, match="photo 0 at x2: the method returned"):
        evaluate(lambda lr, size: lr, photos_8bit, at(CLASSIC, "x2"))
