"""How good a restored image is: PSNR, SSIM, LPIPS and LR-PSNR against the truth, and three indices without one.

The same two images can differ by 2 dB under two honest conventions, so pixel metrics ask for a :class:`Protocol`.
Images are in [0, 1]; (C, H, W) gives a Python float, (B, C, H, W) a tensor (B,). No index without a reference
(:func:`noise_level`, :func:`blur`, :func:`brisque`) knows what the photo should show: use them to ask further, not to
decide. Last come measures of how well a network recognises what it sees.
"""

import contextlib
import io
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Integer
from torch import Tensor, nn

from restore_lib import compat, files, images
from restore_lib.errors import DataError
from restore_lib.files import KnownFile

Image = Float[Tensor, "*batch c h w"]
WINDOW = 11  # side of SSIM's window, 3.5 standard deviations to each side
WINDOW_SIGMA = 1.5
LEEWAY = 1e-3  # what rounding may add to a truth's range
SMALLEST = 32  # side of the smallest image for LPIPS, whose last layers would have no pixels, and for BRISQUE
BRISQUE_WINDOW = {"kernel_size": 7, "sigma": 7 / 6}
TORCHVISION = "https://download.pytorch.org/models/"

#: Files that hold the network under LPIPS (its trunk), any one of which will do. PyTorch publishes the first eight
#: digits of a file's hash, in its name; the files without an address hold the same weights in less space.
TRUNKS = {
    "alex": (
        KnownFile("lpips_alex/lpips_alex_v0.1.pth", "58aef7cfcb2f06aef7a4c0b5c32608d114ab7676d7aba57069ea52b378c74431"),
        KnownFile("torchvision/alexnet-owt-7be5be79.pth", "7be5be79", TORCHVISION + "alexnet-owt-7be5be79.pth"),
    ),
    "vgg": (
        KnownFile(
            "lpips_vgg/lpips_vgg_v0.1_fp16w.pth", "3a2f50d6910fc7c6e1a01ef7be4e303fdbe487af264b6388b8ac18e324d3e4c9"
        ),
        KnownFile("torchvision/vgg16-397923af.pth", "397923af", TORCHVISION + "vgg16-397923af.pth"),
    ),
    "squeeze": (
        KnownFile("torchvision/squeezenet1_1-b8a52dc0.pth", "b8a52dc0", TORCHVISION + "squeezenet1_1-b8a52dc0.pth"),
    ),
}


@dataclass(frozen=True)
class Protocol:
    """The rules under which two images are compared."""

    #: ``"rgb"``: all channels together; ``"y"``: luma alone (BT.601 as MATLAB), or an image's one channel as it is.
    channels: str = "rgb"
    border: int = 0  #: Pixels cut from each side.
    quantize: bool = False  #: Clip to [0, 1] and round to 8 bit first, as writing a file would.
    downscaling: str = ""  #: Which filter made the low-resolution input; for tables.
    name: str = ""  #: For tables.

    def __post_init__(self):
        if self.channels not in ("rgb", "y"):
            raise ValueError(f'channels must be "rgb" or "y", got {self.channels!r}')
        if isinstance(self.border, bool) or not isinstance(self.border, int) or self.border < 0:
            raise ValueError(f"border must be a whole number of pixels, at least 0; got {self.border!r}")

    def __str__(self) -> str:
        parts = ["Y" if self.channels == "y" else "RGB", f"border {self.border}" if self.border else "no border"]
        parts.append("rounded to 8 bit" if self.quantize else "not rounded")
        parts += [f"LR by {self.downscaling}"] if self.downscaling else []
        return (f"{self.name}: " if self.name else "") + ", ".join(parts)


def CLASSIC(scale: int) -> Protocol:
    """Luma, border ``scale``, rounded: how super-resolution benchmarks have been reported since [kim2016vdsr]."""
    return Protocol("y", scale, True, "MATLAB bicubic", "classic")


def LIIF_BENCHMARK(scale: int) -> Protocol:
    """Luma, border ``scale``, not rounded: Set5, Set14, B100 and Urban100 in LIIF's code [chen2021liif]."""
    return Protocol("y", scale, False, "MATLAB bicubic", "LIIF benchmark")


#: RGB, whole image, not rounded: the test code of DIINN, for every set [nguyen2023diinn].
DIINN_TEST = Protocol("rgb", 0, False, "antialiased bicubic (torchvision)", "DIINN test")

#: RGB, rounded, border of 3 pixels: the test code of the multi-scale denoiser [liu2018denoising].
DENOISING = Protocol("rgb", 3, True, "", "denoising")


def prepare(x: Image, protocol: Protocol) -> Float[Tensor, "*batch oc oh ow"]:
    """What a protocol compares: clipped and rounded first, as a file would be, then luma, then without the border.

    ``x`` is (C, H, W) or (B, C, H, W) with 1 or 3 channels; the result float32 (float64 for float64). ValueError for a
    shape, for integers, for values far outside [0, 1] and for a border that make no sense.
    """
    _refuse_foreign(x)
    if x.ndim not in (3, 4) or x.shape[-3] not in (1, 3):
        raise ValueError(f"expected (3, H, W), (1, H, W) or a batch of them, got {tuple(x.shape)}")
    if min(x.shape[-2:]) <= 2 * protocol.border:
        raise ValueError(f"a border of {protocol.border} pixels leaves nothing of an image of {tuple(x.shape[-2:])}")
    x = x if x.dtype == torch.float64 else x.float()
    if protocol.quantize:
        x = (x.clamp(0, 1) * 255).round() / 255
    if protocol.channels == "y" and x.shape[-3] == 3:
        x = images.rgb_to_y(x)  # (..., 1, h, w)
    b = protocol.border
    return x[..., b : x.shape[-2] - b, b : x.shape[-1] - b]


def _refuse_foreign(x: Tensor) -> None:
    """Refuse numbers that cannot be an image in [0, 1]; noise, and a network, may leave the range a little."""
    if not x.is_floating_point():
        raise ValueError(f"the image holds {x.dtype}: images are floats in [0, 1]; divide levels by 255 first")
    if not torch.isfinite(x).all():
        raise ValueError("the image holds NaN or infinite values")
    if x.numel() and x.detach().abs().max() > 2:
        raise ValueError(f"values reach {x.detach().abs().max():.0f}: images are in [0, 1], divide by 255 first")


def psnr(a: Image, b: Image, protocol: Protocol) -> float | Float[Tensor, "b"]:
    """Peak signal-to-noise ratio in dB, ``10 log10(1 / MSE)``, one value an image; infinite for images that agree.

    ``a`` and ``b`` are images or batches of one shape. A batch's values are differentiable unless the protocol rounds.
    ValueError for shapes that differ, and for whatever :func:`prepare` refuses.
    """
    x, y = _pair(a, b, protocol)
    return _result(-10 * (x - y).square().mean((-3, -2, -1)).log10())


def ssim(a: Image, b: Image, protocol: Protocol) -> float | Float[Tensor, "b"]:
    """Structural similarity [wang2004ssim]: the mean of :func:`ssim_map` over pixels and channels.

    Parameters, result and errors are those of :func:`psnr`; images must be at least 11 pixels wide and high.
    """
    return _result(ssim_map(a, b, protocol).mean((-3, -2, -1)))


def ssim_map(a: Image, b: Image, protocol: Protocol) -> Float[Tensor, "*batch oc oh ow"]:
    """SSIM at each place where the whole window fits, each channel by itself.

    Gaussian window of standard deviation 1.5 cut to 11 x 11, C1 = 0.01^2 and C2 = 0.03^2 for images in [0, 1],
    variances of the population: the settings of the authors' code.
    """
    x, y = _pair(a, b, protocol)
    if min(x.shape[-2:]) < WINDOW:
        raise ValueError(f"SSIM needs at least {WINDOW} x {WINDOW} pixels, got {tuple(x.shape[-2:])}")
    window = [math.exp(-0.5 * ((t - WINDOW // 2) / WINDOW_SIGMA) ** 2) for t in range(WINDOW)]
    window = [weight / sum(window) for weight in window]

    def local(z: Tensor) -> Tensor:
        # Shifted slices added up: a convolution of one channel takes 30 times as long on a large image.
        for axis in (-2, -1):
            kept = z.shape[axis] - WINDOW + 1
            total = z.narrow(axis, 0, kept) * window[0]
            for shift in range(1, WINDOW):
                total = total.add_(z.narrow(axis, shift, kept), alpha=window[shift])
            z = total
        return z  # (..., c, h - 10, w - 10)

    mu_x, mu_y = local(x), local(y)
    # In float32 the difference of two large squares would lose digits: centre the images first.
    centre = (x.mean((-2, -1), keepdim=True) + y.mean((-2, -1), keepdim=True)) / 2
    u, v = x - centre, y - centre
    mu_u, mu_v = local(u), local(v)
    var_x, var_y, covariance = local(u * u) - mu_u**2, local(v * v) - mu_v**2, local(u * v) - mu_u * mu_v
    c1, c2 = 0.01**2, 0.03**2
    brightness = (2 * mu_x * mu_y + c1) / (mu_x**2 + mu_y**2 + c1)
    return brightness * (2 * covariance + c2) / (var_x + var_y + c2)


def lpips(a: Image, b: Image, net: str = "alex") -> float | Float[Tensor, "b"]:
    """Learned perceptual distance, version 0.1 [zhang2018lpips], by the ``lpips`` package; 0 for equal images.

    Computed on whole RGB images, not clipped, not rounded. A batch's values are differentiable.

    Parameters
    ----------
    a, b : Tensor
        RGB images or batches of one shape, in [0, 1], at least 32 pixels wide and high, on any device.
    net : {"alex", "vgg", "squeeze"}
        The trunk. Papers report ``alex`` unless they say otherwise; ``vgg`` is the usual training loss.

    Raises
    ------
    DataError
        The trunk's weights are missing or damaged; the message names the command that fetches them.
    ValueError
        Shapes, values or a trunk that make no sense.
    """
    x, y = _pair(a, b, Protocol("rgb", 0, False))
    if x.shape[-3] != 3 or min(x.shape[-2:]) < SMALLEST:
        raise ValueError(f"LPIPS needs RGB of at least {SMALLEST} x {SMALLEST}, got {tuple(a.shape)}")
    model = lpips_network(net, x.device)
    shape = (-1, *x.shape[-3:])
    distance = model(x.float().reshape(shape), y.float().reshape(shape), normalize=True).flatten()  # (b,)
    return _result(distance if a.ndim == 4 else distance[0])


def lpips_network(net: str, device: torch.device | str = "cpu") -> nn.Module:
    """LPIPS version 0.1 with the trunk ``net``, frozen, in evaluation mode; errors as for :func:`lpips`."""
    if net not in TRUNKS:
        raise ValueError(f"net is {net!r}: choose one of {', '.join(TRUNKS)}")
    for file in TRUNKS[net]:
        path = files.locate(file.path)
        if path is not None:
            status = path.stat()
            return _load_lpips(net, path, file.sha256, (status.st_mtime_ns, status.st_size), str(device))
    raise DataError(
        f"LPIPS needs the weights of its {net} network, which are not on this computer: run "
        f"`restore data fetch lpips-{net}`, or name a folder that holds them in RESTORE_DATA."
    )


@lru_cache(maxsize=4)
def _load_lpips(net: str, path: Path, sha256: str, stamp: tuple[int, int], device: str) -> nn.Module:
    """The network of a verified file; ``stamp`` makes a file that was replaced be read again."""
    if not files.matches(path, sha256):
        raise DataError(f"{path} is damaged or not what it says: delete it and run `restore data fetch lpips-{net}`.")
    compat.import_torchvision()
    import lpips

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # of torchvision, about how the package asks for an untrained trunk
        model = lpips.LPIPS(net=net, version="0.1", pnet_rand=True, verbose=False)
    weights = torch.load(path, map_location="cpu", weights_only=True)
    trunk = model.net.state_dict()  # sliceS.I.weight is features.I.weight in torchvision's naming
    model.net.load_state_dict({key: weights["features." + key.split(".", 1)[1]].float() for key in trunk})
    return model.requires_grad_(False).eval().to(device)


def lr_psnr(sr: Image, hr: Image, scale: float, protocol: Protocol = DIINN_TEST) -> float | Float[Tensor, "b"]:
    """PSNR after shrinking both by ``scale`` again: does the result agree with the small image that was given?

    Both are reduced to round(H / scale) x round(W / scale) with the antialiased bicubic of torchvision, in floating
    point, as DIINN's test code does [nguyen2023diinn], and compared under ``protocol``.
    """
    from restore_lib.resampling import resize_antialiased

    if not (math.isfinite(scale) and scale >= 1):
        raise ValueError(f"scale must be at least 1, got {scale}")
    size = (max(1, round(hr.shape[-2] / scale)), max(1, round(hr.shape[-1] / scale)))
    _pair(sr, hr, Protocol())
    x, y = (prepare(resize_antialiased(image, size), protocol) for image in (sr, hr))  # may leave [0, 1] at edges
    return _result(-10 * (x - y).square().mean((-3, -2, -1)).log10())


def noise_level(image: Float[Tensor, "3 h w"]) -> float:
    """Standard deviation of white noise that would leave as much fine detail, in levels of 255.

    The median of the finest wavelet coefficients [donoho1994ideal], by scikit-image, as a mean over colours; a colour
    that is the same everywhere has 0. Noise that was interpolated is no longer fine and counts as none; texture
    counts as noise, which :func:`restore_lib.noise.estimate` tells apart.
    """
    from skimage.restoration import estimate_sigma

    _refuse_foreign(image)
    colours = (colour.double().cpu().numpy() for colour in image)  # one at a time: photos may be large
    return 255 / 3 * sum(float(np.asarray(estimate_sigma(colour))) for colour in colours if np.ptp(colour) > 0)


def blur(image: Float[Tensor, "3 h w"]) -> float:
    """How little changes when the photo is blurred once more: 0 sharp, 1 blurred [crete2007blur], by scikit-image.

    Noise and invented texture count as sharp. ValueError where all pixels are equal.
    """
    from skimage.measure import blur_effect

    _refuse_foreign(image)
    array = image.permute(1, 2, 0).double().cpu().numpy()  # (h, w, 3)
    if (array == array[0, 0]).all():
        raise ValueError("the photo has one colour everywhere: it is neither sharp nor blurred")
    return float(np.asarray(blur_effect(array, channel_axis=-1)))


def brisque(image: Float[Tensor, "3 h w"]) -> float:
    """BRISQUE [mittal2012brisque], lower is better: how usual the statistics of neighbouring pixels are.

    A regression that was trained on people's opinions of photos with noise, blur, JPEG and transmission errors; clean
    photos have 0 to 30, spoilt ones up to 100. It has seen no network's results: texture that a discriminator asked for
    can be usual without being right. The photo is rounded to 8 bit first. DataError where the optional package
    ``brisque`` is not installed (others differ by several points); ValueError for photos below 32 x 32, or of one
    colour.
    """
    model = _brisque()
    if min(image.shape[-2:]) < SMALLEST:
        raise ValueError(f"BRISQUE needs at least {SMALLEST} x {SMALLEST} pixels, got {tuple(image.shape[-2:])}")
    import cv2
    from skimage.color import rgb2gray

    grey = rgb2gray(images.to_uint8(image))  # (h, w) in [0, 1]
    if np.ptp(grey) == 0:
        raise ValueError("the photo has one colour everywhere: it has no statistics")
    half = cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_CUBIC)
    features = [value for scale in (grey, half) for value in model.calculate_brisque_features(scale, **BRISQUE_WINDOW)]
    # The package's own score() hands on arrays of one value, which NumPy 2.4 no longer takes for numbers.
    return float(model.calculate_image_quality_score(np.array([np.ravel(value)[0] for value in features], dtype=float)))


@cache
def _brisque():
    try:
        from brisque import BRISQUE  # pyright: ignore[reportMissingImports]  optional
    except ImportError as error:
        raise DataError("BRISQUE needs a package that brings its regression: `pip install brisque`.") from error
    return BRISQUE(url=False)


# How well a network recognises what it sees


def top_k(scores: Float[Tensor, "n classes"], labels: Int64[Tensor, "n"], k: int = 1) -> Bool[Tensor, "n"]:
    """Whether the true class is among the ``k`` highest scores, picture by picture.

    Of equal scores the class with the lower number counts as the higher one. ValueError for a ``k`` that is no number
    of classes.
    """
    if not 1 <= k <= scores.shape[1]:
        raise ValueError(f"k must be between 1 and the number of classes, {scores.shape[1]}; got {k}")
    best = scores.argsort(dim=1, descending=True, stable=True)[:, :k]  # (n, k)
    return (best == labels[:, None]).any(1)


def confusion(
    predicted: Integer[Tensor, "n h w"], truth: Integer[Tensor, "n h w"], classes: int, ignored: int = 255
) -> Int64[Tensor, "n classes classes"]:
    """Pixels of each picture by true class (rows) and predicted class (columns); pixels of class ``ignored`` left out.

    ValueError for a predicted class, or a true one that is not ``ignored``, outside 0 to ``classes - 1``.
    """
    n, counted = len(truth), truth != ignored
    rows, columns = truth.long(), predicted.long()
    pairs = torch.stack([rows[counted], columns[counted]])
    if pairs.numel() and (int(pairs.min()) < 0 or int(pairs.max()) >= classes):
        raise ValueError(f"classes must lie between 0 and {classes - 1}, or be {ignored}; got {int(pairs.max())}")
    picture = torch.arange(n, device=truth.device).view(-1, 1, 1).expand_as(rows)
    index = (picture * classes + rows)[counted] * classes + columns[counted]
    return torch.bincount(index, minlength=n * classes * classes).view(n, classes, classes)


def mean_iou(counts: Int64[Tensor, "*batch classes classes"]) -> float:
    """Mean over classes of intersection over union, of all pictures' pixels together.

    A class that neither occurs nor is predicted has no IoU and is left out of the mean; NaN when that is so of all.
    """
    total = counts.reshape(-1, *counts.shape[-2:]).sum(0).double()
    hit = total.diagonal()
    union = total.sum(0) + total.sum(1) - hit
    return float((hit / union)[union > 0].mean())


def pixel_accuracy(counts: Int64[Tensor, "*batch classes classes"]) -> float:
    """Share of all pixels that got their class."""
    total = counts.reshape(-1, *counts.shape[-2:]).sum(0).double()
    return float(total.diagonal().sum() / total.sum())


def bootstrap(values: Tensor, statistic: Callable[[Tensor], float | Tensor], draws: int = 1000) -> tuple[float, float]:
    """Percentile bootstrap [efron1979]: 95 % interval of a statistic over other pictures of the same kind.

    Draws as many entries of ``values`` (n, ...) as there are, with replacement, ``draws`` times.
    """
    generator = np.random.default_rng(0)
    resampled = (torch.from_numpy(generator.integers(len(values), size=len(values))) for _ in range(draws))
    outside = (1 - 0.95) / 2  # at each end
    low, high = np.nanquantile([float(statistic(values[index])) for index in resampled], [outside, 1 - outside])
    return float(low), float(high)


def _pair(a: Tensor, b: Tensor, protocol: Protocol) -> tuple[Tensor, Tensor]:
    if a.shape != b.shape:
        raise ValueError(f"the images have different shapes, {tuple(a.shape)} and {tuple(b.shape)}")
    ranges = [(float(x.min()), float(x.max())) for x in (a.detach(), b.detach()) if x.numel()]
    if ranges and all(low < -LEEWAY or high > 1 + LEEWAY for low, high in ranges):  # a truth never does
        both = " and ".join(f"{low:.3g} to {high:.3g}" for low, high in ranges)
        raise ValueError(f"both images leave [0, 1]: they reach from {both}; bring them into that range first")
    return prepare(a, protocol), prepare(b.to(a.device), protocol)


def _result(values: Tensor) -> float | Tensor:
    return values if values.ndim else float(values)
