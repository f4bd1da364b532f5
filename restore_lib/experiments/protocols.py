"""Named protocols: under which conventions published numbers arise, and what conventions alone do to a number.

``CLASSIC``, ``LIIF`` and ``DIINN`` are those of published super-resolution numbers: bicubic interpolation of one photo
scores up to 2 dB apart (chapter 1). Then three metrics of seven distortions of equal squared error (chapter 2).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from restore_lib import images, metrics, noise, resampling
from restore_lib.experiments import published
from restore_lib.experiments.ledger import WORDS, Line, section
from restore_lib.experiments.runs import EvaluationProtocol, Experiment, Model, Trial, trial
from restore_lib.resampling import imresize, resize_antialiased

RGB = metrics.Protocol(quantize=True)
Pair = tuple[Float[Tensor, "c h w"], Float[Tensor, "c H W"]]


def to_8bit(image: Float[Tensor, "c h w"]) -> UInt8[Tensor, "c h w"]:
    """Values in [0, 1] as levels, clipped and rounded."""
    return (image.clamp(0, 1) * 255).round().to(torch.uint8)


def from_8bit(image: UInt8[Tensor, "c h w"]) -> Float[Tensor, "c h w"]:
    """Levels as values in [0, 1]."""
    return image.float() / 255


def quality(
    names: Iterable[str], result: Tensor, target: Tensor, rule: metrics.Protocol, scale: float = 1
) -> dict[str, float]:
    """Metrics of one image by name: PSNR and SSIM under a protocol, LR-PSNR at a scale, LPIPS by two networks."""
    functions = {
        "psnr": lambda: metrics.psnr(result, target, rule),
        "ssim": lambda: metrics.ssim(result, target, rule),
        "lr_psnr": lambda: metrics.lr_psnr(result, target, scale, rule),
        "lpips_alex": lambda: metrics.lpips(result, target, net="alex"),
        "lpips_vgg": lambda: metrics.lpips(result, target, net="vgg"),
    }
    return {name: float(functions[name]()) for name in names}


def luma_pair(item, scale: float, generator: torch.Generator) -> Pair:
    """8-bit luma cropped to a multiple of the scale, and its reduction by MATLAB's bicubic, not rounded."""
    whole = replace(item, even=False) if getattr(item, "even", False) else item  # B100 as copied has lost odd sides
    photo = whole.read("image", channels="native")
    luma = images.rgb_to_y(photo) if len(photo) == 3 else photo  # a grey picture is its own luma
    hr = from_8bit(to_8bit(images.modcrop(luma, int(scale))))  # (1, H, W)
    return imresize(hr, scale=1 / scale), hr


def liif_pair(item, scale: float, generator: torch.Generator) -> Pair:
    """RGB cropped to a multiple of the scale; reduced in 8 bit, by MATLAB's bicubic up to x4 and Pillow's beyond."""
    hr = to_8bit(images.modcrop(item.image, int(scale)))  # (3, H, W)
    size = (hr.shape[-2] // int(scale), hr.shape[-1] // int(scale))
    lr = imresize(hr, scale=1 / scale) if scale <= 4 else resize_antialiased(hr, size)
    return from_8bit(lr), from_8bit(hr)


def antialiased_pair(photo: Float[Tensor, "3 H W"], scale: float) -> Pair:
    """A photo in 8 bit, and its reduction to the nearest whole size by the antialiased bicubic of Pillow."""
    hr = to_8bit(photo)  # (3, H, W)
    size = (round(hr.shape[-2] / scale), round(hr.shape[-1] / scale))
    return from_8bit(resize_antialiased(hr, size)), from_8bit(hr)


def scales(*values: int | float) -> dict[str, float]:
    """Scale factors by the names that records and tables use: 2.5 is ``x2.5``."""
    return {f"x{value:g}": float(value) for value in values}


CLASSIC = EvaluationProtocol(
    **WORDS["classic"],
    conditions=scales(2, 3, 4),
    prepare=luma_pair,
    measure=lambda sr, hr, scale: quality(
        ("psnr", "ssim"), sr.clamp(16 / 255, 235 / 255), hr, metrics.CLASSIC(int(scale))
    ),
)

LIIF = EvaluationProtocol(
    **WORDS["liif"],
    conditions=scales(2, 3, 4, 6, 8),
    prepare=liif_pair,
    measure=lambda sr, hr, scale: quality(("psnr",), sr.clamp(0, 1), hr, metrics.LIIF_BENCHMARK(int(scale))),
)

DIINN = EvaluationProtocol(
    **WORDS["diinn"],
    conditions=scales(2, 2.5, 3, 3.5, 4, 6, 8),
    prepare=lambda item, scale, generator: antialiased_pair(item.image, scale),
    measure=lambda sr, hr, scale: quality(("psnr", "ssim", "lr_psnr"), sr.clamp(0, 1), hr, metrics.DIINN_TEST, scale),
)

PROTOCOLS = {protocol.name: protocol for protocol in (CLASSIC, LIIF, DIINN)}


def gaussian_noise(*sigmas: int | float) -> EvaluationProtocol:
    """Denoising of photos under Gaussian noise of given strengths, on the scale 0 to 255."""
    return EvaluationProtocol(
        **WORDS["awgn"],
        conditions={f"sigma {sigma:g}": float(sigma) for sigma in sigmas},
        prepare=lambda item, sigma, generator: (noise.gaussian(item.image, sigma, generator), item.image),
        measure=lambda restored, clean, sigma: quality(("psnr", "ssim"), restored, clean, RGB),
    )


SETS = {"set5": "Set5", "set14": "Set14", "b100": "B100", "urban100_every8th": "Urban100 (13 of 100)"}
SUBSET = "subset of 13 of 100 images: not comparable"
NO_ROW = "LIIF's Table 2 has no bicubic row"
NOT_SEEN = "printed in DIINN's Tables 1 to 3, which were not seen"

#: Bicubic enlargement as each protocol's own code does it: MATLAB's, or that of torchvision and Pillow.
BICUBIC: Mapping[str, Model] = {
    "classic": lambda lr, size: imresize(lr, size=size),
    "liif": lambda lr, size: imresize(lr, size=size),
    "diinn": lambda lr, size: resize_antialiased(lr, size),
}


def bicubic_trials(sets: Sequence[str], tier: str) -> Iterator[Trial]:
    for name in sets:
        for protocol, model in BICUBIC.items():
            yield trial("bicubic", lambda model=model: model, name, PROTOCOLS[protocol])


def bicubic_reference(line: Line) -> dict:
    """What others printed about bicubic interpolation, and why a line has nothing or cannot be compared."""
    subset = line.dataset == "urban100_every8th"
    why, paper = {"classic": "", "liif": NO_ROW, "diinn": NOT_SEEN}[line.protocol], None
    if line.protocol == "classic":
        source = "bicubic-x2x4" if line.condition != "x3" else "bicubic-x3-urban" if subset else "bicubic-x3"
        paper = published.number(source, line.condition, f"{line.group.split()[0]} {line.metric.upper()}")
    return {"paper": paper, "comparable": not subset, "why": SUBSET if subset else why}


BICUBIC_TABLE = Experiment(
    "bicubic",
    "Bicubic interpolation on Set5, Set14, B100 and Urban100",
    (
        section(CLASSIC, ("psnr", "ssim"), {"bicubic": ""}, SETS, reference=bicubic_reference),
        section(LIIF, ("psnr",), {"bicubic": ""}, SETS, reference=bicubic_reference),
        section(DIINN, ("psnr", "ssim", "lr_psnr"), {"bicubic": ""}, SETS, reference=bicubic_reference),
    ),
    trials=bicubic_trials,
    sets=tuple(SETS),
    quick_sets=("set5",),
    other_sets=True,
)


DISTORTIONS = ("shift", "brighter", "less contrast", "noise", "blur", "JPEG", "hole")
EQUAL_ERROR_METRICS = ("psnr", "ssim", "lpips_alex", "lpips_vgg")
SIDE = 256


def equal_error(image: Float[Tensor, "3 h w"], seed: int = 0) -> dict[str, Float[Tensor, "3 h w"]]:
    """Distort an image in seven ways, each with exactly the squared error of a shift by one pixel.

    The error image of each distortion is scaled until its mean square agrees with that of ``"shift"``, which comes
    first, so PSNR on all pixels cannot tell the results apart. Nothing is clipped: values should leave room, as
    :func:`portrait` does. ``seed`` is that of the noise.
    """
    wide = torch.ones(5, 5, dtype=image.dtype) / 25
    hole = torch.zeros_like(image)
    top, left = image.shape[-2] // 4, image.shape[-1] // 4
    hole[:, top : top + image.shape[-2] // 6, left : left + image.shape[-1] // 6] = 1
    generator = torch.Generator().manual_seed(seed)
    errors = {
        "shift": image.roll(1, dims=-1) - image,
        "brighter": torch.ones_like(image),
        "less contrast": image.mean() - image,
        "noise": noise.gaussian(torch.zeros_like(image), 25, generator),
        "blur": resampling.downscale(image, wide, 1) - image,
        "JPEG": noise.jpeg(image, 8) - image,
        "hole": hole * (image.mean() - image),
    }
    target = errors["shift"].square().mean()
    return {name: image + error * (target / error.square().mean()).sqrt() for name, error in errors.items()}


def portrait(image: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 side side"]:
    """The middle of a photo's upper 256 rows, 256 pixels wide, with its values drawn in to [0.15, 0.85].

    ValueError for smaller photos.
    """
    height, width = image.shape[-2:]
    if min(height, width) < SIDE:
        raise ValueError(f"the photo has {height} x {width} pixels: take one of at least {SIDE} x {SIDE}")
    left = (width - SIDE) // 2
    return 0.15 + 0.7 * image[:, :SIDE, left : left + SIDE]


EQUAL_ERROR = EvaluationProtocol(
    **WORDS["equal-error"],
    conditions={name: float(number) for number, name in enumerate(DISTORTIONS)},
    prepare=lambda item, number, generator: (
        equal_error(clean := portrait(item.image))[DISTORTIONS[int(number)]],
        clean,
    ),
    measure=lambda restored, clean, number: quality(EQUAL_ERROR_METRICS, restored, clean, metrics.Protocol()),
)


def unchanged(given: Tensor, size: tuple[int, int]) -> Tensor:
    """The method that does nothing."""
    return given


EQUAL_ERROR_TABLE = Experiment(
    "equal-error",
    EQUAL_ERROR.title,
    (section(EQUAL_ERROR, EQUAL_ERROR_METRICS, {"none": ""}, {"embedded": "embedded photos"}),),
    trials=lambda sets, tier: (trial("none", lambda: unchanged, name, EQUAL_ERROR) for name in sets),
    sets=("embedded",),
    other_sets=True,
)
