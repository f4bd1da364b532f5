"""The three protocols under which published super-resolution numbers arise.

None is better than the others, but a number means nothing without its protocol: bicubic interpolation of the same
photo scores up to 2 dB apart under these.
"""

from dataclasses import replace
from numbers import Real

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from restore_lib import images, metrics, noise
from restore_lib.experiments.evaluation import EvaluationProtocol
from restore_lib.resampling import imresize, resize_antialiased

Pair = tuple[Float[Tensor, "c h w"], Float[Tensor, "c H W"]]


def to_8bit(image: Float[Tensor, "c h w"]) -> UInt8[Tensor, "c h w"]:
    """Clip to [0, 1] and round to 256 levels."""
    return (image.clamp(0, 1) * 255).round().to(torch.uint8)


def from_8bit(image: UInt8[Tensor, "c h w"]) -> Float[Tensor, "c h w"]:
    """Levels 0 to 255 as values in [0, 1]."""
    return image.float() / 255


def whole(item):
    """An item whose picture is read with odd sides, too: B100 as copied between benchmarks has lost them."""
    return replace(item, even=False) if getattr(item, "even", False) else item


def luma_pair(item, scale: float, generator: torch.Generator) -> Pair:
    """8-bit luma cropped to a multiple of the scale, and its reduction by MATLAB's bicubic, not rounded."""
    photo = whole(item).read("image", channels="native")
    luma = images.rgb_to_y(photo) if len(photo) == 3 else photo  # a grey picture is its own luma
    hr = from_8bit(to_8bit(images.modcrop(luma, int(scale))))  # (1, H, W)
    return imresize(hr, scale=1 / scale), hr


def luma_metrics(sr: Tensor, hr: Tensor, scale: float) -> dict[str, float]:
    """PSNR and SSIM of the result clipped to what luma can be and rounded, without a border of ``scale`` pixels."""
    rule = metrics.CLASSIC(int(scale))
    sr = sr.clamp(16 / 255, 235 / 255)
    return {"psnr": metrics.psnr(sr, hr, rule), "ssim": metrics.ssim(sr, hr, rule)}


def liif_pair(item, scale: float, generator: torch.Generator) -> Pair:
    """RGB cropped to a multiple of the scale; reduced in 8 bit, by MATLAB's bicubic up to x4 and Pillow's beyond."""
    hr = to_8bit(images.modcrop(item.image, int(scale)))  # (3, H, W)
    size = (hr.shape[-2] // int(scale), hr.shape[-1] // int(scale))
    lr = imresize(hr, scale=1 / scale) if scale <= 4 else resize_antialiased(hr, size)
    return from_8bit(lr), from_8bit(hr)


def liif_metrics(sr: Tensor, hr: Tensor, scale: float) -> dict[str, float]:
    """PSNR on luma of the clipped, unrounded result, without a border of ``scale`` pixels."""
    return {"psnr": metrics.psnr(sr.clamp(0, 1), hr, metrics.LIIF_BENCHMARK(int(scale)))}


def diinn_pair(item, scale: float, generator: torch.Generator) -> Pair:
    """The whole RGB photo, reduced in 8 bit by the antialiased bicubic of Pillow to the nearest whole size."""
    hr = to_8bit(item.image)  # (3, H, W)
    size = (round(hr.shape[-2] / scale), round(hr.shape[-1] / scale))
    return from_8bit(resize_antialiased(hr, size)), from_8bit(hr)


def diinn_metrics(sr: Tensor, hr: Tensor, scale: float) -> dict[str, float]:
    """PSNR, SSIM and LR-PSNR of the clipped, unrounded result on all RGB pixels."""
    rule, sr = metrics.DIINN_TEST, sr.clamp(0, 1)
    return {
        "psnr": metrics.psnr(sr, hr, rule),
        "ssim": metrics.ssim(sr, hr, rule),
        "lr_psnr": metrics.lr_psnr(sr, hr, scale, rule),
    }


def scales(*values: int | float) -> dict[str, float]:
    """Scale factors by the names that records and tables use: 2.5 is ``x2.5``."""
    return {f"x{value:g}": float(value) for value in values}


CLASSIC = EvaluationProtocol(
    name="classic",
    title="classic luma protocol",
    rules={
        "high resolution": "luma (BT.601, 16 to 235) in 8 bit, cropped to a multiple of the scale s",
        "low resolution": "MATLAB's bicubic of the luma, not rounded",
        "result": "clipped to 16 to 235 and rounded to 8 bit",
        "measured on": "luma, without a border of s pixels",
        "grey pictures": "are their own luma",
    },
    conditions=scales(2, 3, 4),
    prepare=luma_pair,
    measure=luma_metrics,
)

LIIF = EvaluationProtocol(
    name="liif",
    title="LIIF's benchmark protocol",
    rules={
        "high resolution": "RGB, cropped to a multiple of the scale s",
        "low resolution": "8-bit RGB; MATLAB's bicubic for ×2 to ×4, Pillow's beyond",
        "result": "clipped to [0, 1], not rounded",
        "measured on": "luma (BT.601, 16 to 235), without a border of s pixels",
        "grey pictures": "become RGB, so that their luma spans 16 to 235",
    },
    conditions=scales(2, 3, 4, 6, 8),
    prepare=liif_pair,
    measure=liif_metrics,
)

DIINN = EvaluationProtocol(
    name="diinn",
    title="DIINN's test protocol",
    rules={
        "high resolution": "RGB, whole, not cropped",
        "low resolution": "8-bit RGB of round(H/s) × round(W/s) pixels; antialiased bicubic of torchvision and Pillow",
        "result": "clipped to [0, 1], not rounded",
        "measured on": "all RGB pixels, no border; SSIM with an 11 × 11 Gaussian window",
        "LR-PSNR": "PSNR after reducing result and truth again, in floating point",
    },
    conditions=scales(2, 2.5, 3, 3.5, 4, 6, 8),
    prepare=diinn_pair,
    measure=diinn_metrics,
)

PROTOCOLS = {protocol.name: protocol for protocol in (CLASSIC, LIIF, DIINN)}


def noisy_pair(item, sigma: float, generator: torch.Generator) -> Pair:
    """A whole RGB photo under Gaussian noise that is neither clipped nor rounded, and the photo."""
    return noise.gaussian(item.image, sigma, generator), item.image


def denoising_metrics(restored: Tensor, clean: Tensor, sigma: float) -> dict[str, float]:
    """PSNR and SSIM on all RGB pixels of the clipped result, rounded to 8 bit."""
    rule = metrics.Protocol(channels="rgb", border=0, quantize=True)
    return {"psnr": metrics.psnr(restored, clean, rule), "ssim": metrics.ssim(restored, clean, rule)}


def gaussian_noise(*sigmas: Real) -> EvaluationProtocol:
    """Denoising of photos under Gaussian noise of given strengths, on the scale 0 to 255."""
    return EvaluationProtocol(
        name="awgn",
        title="Gaussian noise on whole RGB photos",
        rules={
            "input": "photo plus Gaussian noise, neither clipped nor rounded; the same noise for every method",
            "result": "clipped and rounded to 8 bit",
            "measured on": "all RGB pixels, no border",
        },
        conditions={f"sigma {sigma:g}": float(sigma) for sigma in sigmas},
        prepare=noisy_pair,
        measure=denoising_metrics,
    )
