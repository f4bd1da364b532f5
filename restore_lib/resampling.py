"""Change the size of images: MATLAB's bicubic, Pillow's bicubic, and any blur kernel followed by subsampling.

All share one phase convention. Pixels are squares, and the output's squares tile the area of the input's::

    input    | 0 | 1 | 2 | 3 | 4 | 5 |        input pixel i has its centre at i
    output   |   0   |   1   |   2   |        output pixel j has its centre at s j + (s - 1) / 2     (s = 2)

so their outputs lie exactly on top of each other. Keeping every s-th pixel of an image blurred with a *centred*
kernel breaks that: the picture moves by (s - 1) / 2 pixels and loses several dB. :func:`downscale` moves the kernel.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor

BAND = 16  # output samples that one matrix product makes: the fastest of 8 to 128 on CPUs, up as well as down
MARGIN = 3  # cells around a shifted kernel, for the tails of the spline: they fall to a quarter from cell to cell


def imresize(
    x: Shaped[Tensor, "*batch h w"],
    *,
    scale: float | Sequence[float] | None = None,
    size: Sequence[int] | None = None,
    antialias: bool = True,
) -> Shaped[Tensor, "*batch oh ow"]:
    """Resize as MATLAB's ``imresize(x, scale_or_size, "bicubic")`` does, at any scale, up or down.

    Keys' cubic with a = -0.5 [keys1981cubic]; when shrinking, its support widens by 1 / scale, which makes it the
    low-pass filter that prevents aliasing. Beyond its border the image is mirrored, the border pixel included.

    ``x`` is (..., H, W) of any range. Floating point: differentiable, not clipped (the cubic overshoots at edges); half
    precision is computed in float32. uint8: rounded, halves up, and clipped after each of two passes, along the axis of
    the smaller scale first and vertically first when both are equal, as MATLAB does. ``scale``, a factor or (vertical,
    horizontal), gives ``ceil(scale * H)`` by ``ceil(scale * W)`` pixels; with ``size``, (height, width), the factor of
    each axis is output / input. Without ``antialias`` the support stays at four input pixels.

    Examples
    --------
    >>> imresize(torch.rand(3, 120, 81), scale=1 / 4).shape
    torch.Size([3, 30, 21])
    """
    height, width = _check_image(x)
    if (scale is None) == (size is None):
        raise ValueError("give either scale or size, and not both")
    if size is None:
        scale = _pair(scale, float, "scale must be a positive number, or two of them (vertical, horizontal)")
        if min(scale[0] * height, scale[1] * width) < 1e-3:
            raise ValueError(f"scale {scale} leaves less than a thousandth of a pixel of {(height, width)}: raise it")
        size = math.ceil(scale[0] * height), math.ceil(scale[1] * width)
    else:
        size = _pair(size, int, "size must be two positive whole numbers (height, width)")
        scale = size[0] / height, size[1] / width
    order = (-2, -1) if scale[0] <= scale[1] else (-1, -2)
    return _separable(x, size, scale, order, antialias, True)


def resize_antialiased(x: Shaped[Tensor, "*batch h w"], size: Sequence[int]) -> Shaped[Tensor, "*batch oh ow"]:
    """Resize to (height, width) as ``PIL.Image.resize(..., BICUBIC)`` and torchvision's antialiased ``Resize`` do.

    The same cubic as :func:`imresize` with another border: taps outside the image are left out and the others scaled up
    to sum to one. ``x`` is (..., H, W) of any range. Floating point: differentiable, not clipped, equal to
    ``torch.nn.functional.interpolate(mode="bicubic", antialias=True)``. uint8: equal to Pillow's output bit for bit
    (weights of 22 bits, rounded and clipped after the horizontal and after the vertical pass), but for Pillow 13's of
    images that are tall and narrow or shrink mostly in height. ValueError for other integer types and impossible sizes.
    """
    height, width = _check_image(x)
    size = _pair(size, int, "size must be two positive whole numbers (height, width)")
    return _separable(x, size, (size[0] / height, size[1] / width), (-1, -2), True, mirror=False)


def downscale(
    x: Shaped[Tensor, "*batch h w"], kernel: Float[Tensor, "*kernels kh kw"], scale: int, *, align: bool = True
) -> Shaped[Tensor, "*batch oh ow"]:
    """Correlate with a kernel, then keep every ``scale``-th pixel, starting with pixel 0.

    ``y[j] = sum_t kernel[t] x[scale j + t - c]`` along each axis, with ``c = (k - 1) // 2``: the central cell of an
    odd kernel, the one before the middle of an even kernel. The kernel is neither flipped nor normalised: give
    one that sums to 1 to keep the brightness. Beyond its border the image is mirrored, the border pixel included.

    Where the kernel has its centre of mass, there lies the output (s = 2)::

        x              | 0 | 1 | 2 | 3 |
        y, align=True  |   0   |   1   |      amid its 2 x 2 block, as from imresize
        y, align=False | 0 |   | 1 |   |      (of a centred kernel) up and left by (s - 1) / 2 pixels

    Parameters
    ----------
    x : Tensor
        (..., H, W), any range. Floating point: differentiable, not clipped. uint8: rounded and clipped.
    kernel : Tensor
        (kh, kw), for all images; or (B, kh, kw), one for each image of x, which is then (B, ..., H, W).
        Differentiable; with ``align`` the gradient takes the shift as given.
    scale : int
        Factor s; the output has ``ceil(H / s)`` by ``ceil(W / s)`` pixels.
    align : bool
        Shift the kernel with :func:`align_kernel` first.

    Raises
    ------
    ValueError
        A scale that is not a positive whole number; a kernel larger than the image, not finite, without a centre
        of mass (with ``align``), or not one for each image.
    """
    height, width = _check_image(x)
    _check_kernel(kernel, scale)
    if kernel.shape[-2] > height or kernel.shape[-1] > width:
        raise ValueError(f"a kernel of {tuple(kernel.shape[-2:])} is larger than the image of {(height, width)}")
    if kernel.ndim == 3 and (x.ndim < 3 or len(x) != len(kernel)):
        raise ValueError(f"{len(kernel)} kernels need as many images, got x of shape {tuple(x.shape)}")
    if align:
        kernel = align_kernel(kernel, scale)
    work = x if x.dtype == torch.float64 else x.float()
    groups = len(kernel) if kernel.ndim == 3 else 1
    work = work.reshape(groups, math.prod(x.shape[:-2]) // groups, height, width).transpose(0, 1)  # (n, groups, h, w)
    for axis in (-2, -1):
        n, taps = x.shape[axis], kernel.shape[axis]
        position = np.arange(taps + scale * (math.ceil(n / scale) - 1)) - (taps - 1) // 2
        work = work.index_select(axis, torch.from_numpy(_mirror(position, n)).to(x.device))
    weight = kernel.to(work).reshape(groups, 1, *kernel.shape[-2:])
    y = F.conv2d(work, weight, stride=int(scale), groups=groups)  # computes only the pixels that are kept
    y = y.transpose(0, 1).reshape(*x.shape[:-2], *y.shape[-2:])
    return _to_uint8(y) if x.dtype == torch.uint8 else y.to(x.dtype)


def align_kernel(kernel: Float[Tensor, "*kernels kh kw"], scale: int) -> Float[Tensor, "*kernels kh2 kw2"]:
    """Shift a kernel so that keeping every ``scale``-th pixel gives an image aligned as :func:`imresize` aligns it.

    The centre of mass goes to the middle of the block, ``(scale - 1) / 2`` cells below and right of the cell that
    :func:`downscale` lays on pixel ``scale j``. The shift is usually a fraction of a cell, so the kernel is
    interpolated, with the cubic spline of ``scipy.ndimage.shift``; one as sharp as a single cell will ring.

    ``kernel`` is (kh, kw) or (B, kh, kw), differentiable but for the amount of shift. The result has a margin of a few
    cells, all around, and the same sum; a kernel in place (to 1e-4 cells) is returned as it is. ValueError for values
    that are not finite and for a centre of mass outside the kernel (when they sum to zero, say).
    """
    from scipy import ndimage  # slow to load

    _check_kernel(kernel, scale)
    values = kernel.detach().double().cpu().numpy().reshape(-1, *kernel.shape[-2:])  # (B, kh, kw)
    moves = []
    for axis, cells in enumerate(values.shape[1:]):
        mass = values.sum(2 - axis)  # (B, cells)
        with np.errstate(divide="ignore", invalid="ignore"):
            centre = mass @ np.arange(cells) / mass.sum(1)
        if not np.all((centre > -0.5) & (centre < cells - 0.5)):
            raise ValueError("the kernel has no centre of mass: check that its values do not sum to zero")
        moves.append((cells - 1) // 2 + (scale - 1) / 2 - centre)
    if np.abs(moves).max() < 1e-4:
        return kernel
    margin = math.ceil(np.abs(moves).max()) + MARGIN
    padded = F.pad(kernel, (margin,) * 4).reshape(len(values), *(n + 2 * margin for n in values.shape[1:]))
    down, right = (
        # Spline interpolation is linear in the values: shifted unit vectors are its matrix, and torch can go back.
        torch.from_numpy(np.stack([ndimage.shift(np.eye(n), (move, 0), order=3) for move in axis_moves])).to(kernel)
        for n, axis_moves in zip(padded.shape[1:], moves, strict=True)
    )  # (B, n, n) each
    shifted = down @ padded @ right.mT
    shifted = shifted * (padded.sum((1, 2)) / shifted.sum((1, 2)))[:, None, None]  # make up for tails cut off
    return shifted.reshape(*kernel.shape[:-2], *shifted.shape[1:])


@lru_cache(maxsize=64)
def _bands(n: int, m: int, scale: float, antialias: bool, mirror: bool, bits: int | None, like: tuple) -> list[tuple]:
    """Bicubic weights from n to m samples: the blocks along the diagonal of the (n, m) weight matrix.

    Neighbours read nearly the same inputs, so ``BAND`` outputs are a small dense product with a plain slice of the
    input: no gather, and no scale is special. Weights of taps that the mirror shows join those of the pixels they show.

    Each is (first, last, start, stop, weight): outputs first to last are inputs start to stop times weight, a matrix.
    """
    squeeze = min(scale, 1.0) if antialias else 1.0
    # Counted from 1 and in MATLAB's order of operations: on exact halves, its rounding follows the last bits of these.
    centre = (np.arange(1, m + 1) / scale + 0.5 * (1 - 1 / scale))[:, None]
    taps = np.floor(centre - 2 / squeeze).astype(np.int64) + np.arange(math.ceil(4 / squeeze) + 2)  # (m, taps)
    weight = squeeze * _keys(squeeze * (centre - taps))
    if not mirror:
        weight[(taps < 1) | (taps > n)] = 0
    weight /= weight.sum(1, keepdims=True)
    if bits is not None:
        weight = np.round(weight * 2**bits) / 2**bits
    taps = _mirror(taps - 1, n)
    bands = []
    for first in range(0, m, BAND):
        output, tap = np.nonzero(weight[first : first + BAND])
        source, values = taps[first + output, tap], weight[first + output, tap]
        start, stop, last = int(source.min()), int(source.max()) + 1, min(first + BAND, m)
        block = np.zeros((stop - start, last - first))
        np.add.at(block, (source - start, output), values)
        bands.append((first, last, start, stop, torch.from_numpy(block).to(*like)))
    return bands


def _keys(t: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel, a = -0.5: 1 at 0, 0 at the other integers and beyond 2."""
    t = np.abs(t)
    near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return np.where(t <= 1, near, np.where(t <= 2, far, 0.0))


def _mirror(position: np.ndarray, n: int) -> np.ndarray:
    """Index into n samples mirrored, edge included, as often as it takes: ... 1 0 | 0 1 ... n-1 | n-1 ..."""
    position = position % (2 * n)
    return np.where(position < n, position, 2 * n - 1 - position)


def _separable(
    x: Tensor, size: tuple[int, int], scale: tuple[float, float], order: tuple[int, int], antialias: bool, mirror: bool
) -> Tensor:
    integer = x.dtype == torch.uint8
    work = x if integer or x.dtype == torch.float64 else x.float()
    work = work.reshape(-1, *x.shape[-2:]).contiguous()  # (n, h, w)
    # float64, so that halves are where they should be (Apple's GPUs have none)
    dtype = work.dtype if not integer else torch.float32 if x.device.type == "mps" else torch.float64
    bits = 22 if integer and not mirror else None
    for axis in order:
        bands = _bands(x.shape[axis], size[axis], scale[axis], antialias, mirror, bits, (x.device, dtype))
        work = (_product if integer else _Product.apply)(work, bands, axis, size[axis], False)
    return work.to(x.dtype).reshape(*x.shape[:-2], *size)


def _product(x: Tensor, bands: list[tuple], axis: int, size: int, transpose: bool) -> Tensor:
    """Multiply one axis of (n, h, w) by the matrix of ``bands``, or by its transpose; uint8 comes back rounded."""
    shape = list(x.shape)
    shape[axis] = size
    y = x.new_zeros(shape) if transpose else x.new_empty(shape)
    with torch.autocast(x.device.type, enabled=False):  # half precision would cost three digits here
        for first, last, start, stop, weight in bands:
            if transpose:
                first, last, start, stop, weight = start, stop, first, last, weight.mT
            part = x.narrow(axis, start, stop - start).to(weight.dtype)
            if axis == -1:
                part = (part.flatten(0, 1) @ weight).unflatten(0, shape[:2])  # (n, h, outputs)
            else:
                part = torch.bmm(weight.mT.expand(len(x), -1, -1), part)  # (n, outputs, w)
            goal = y.narrow(axis, first, last - first)
            goal.add_(part) if transpose else goal.copy_(_to_uint8(part) if y.dtype == torch.uint8 else part)
    return y


class _Product(torch.autograd.Function):
    """:func:`_product` for autograd, which left to itself would give each slice a gradient as large as the image."""

    @staticmethod
    def forward(x, bands, axis, size, transpose):
        return _product(x, bands, axis, size, transpose)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, ctx.bands, ctx.axis, _, ctx.transpose = inputs
        ctx.size = x.shape[ctx.axis]

    @staticmethod
    def backward(ctx, gradient):
        gradient = _Product.apply(gradient.contiguous(), ctx.bands, ctx.axis, ctx.size, not ctx.transpose)
        return gradient, None, None, None, None


def _to_uint8(x: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    return torch.floor(x + 0.5).clamp_(0, 255).to(torch.uint8)


def _check_image(x: Tensor) -> tuple[int, int]:
    if x.ndim < 2 or 0 in x.shape[-2:]:
        raise ValueError(f"an image has shape (..., H, W) with at least one pixel, got {tuple(x.shape)}")
    if not (x.is_floating_point() or x.dtype == torch.uint8):
        raise ValueError(f"an image is floating point or uint8, got {x.dtype}: convert it first")
    return x.shape[-2], x.shape[-1]


def _check_kernel(kernel: Tensor, scale: int) -> None:
    if not isinstance(scale, (int, np.integer)) or scale < 1:
        raise ValueError(f"scale must be a whole number of at least 1, got {scale}: imresize takes fractions")
    if kernel.ndim not in (2, 3) or 0 in kernel.shape:
        raise ValueError(f"a kernel has shape (kh, kw) or (B, kh, kw), got {tuple(kernel.shape)}")
    if not kernel.is_floating_point() or not torch.isfinite(kernel).all():
        raise ValueError("the kernel has values that are not finite floating point numbers")


def _pair(value, kind: type, message: str) -> tuple:
    numbers = (int, float, np.integer, np.floating) if kind is float else (int, np.integer)
    pair = (value, value) if kind is float and isinstance(value, numbers) else value
    good = isinstance(pair, Sequence) and len(pair) == 2
    if not good or not all(isinstance(v, numbers) and 0 < v < math.inf for v in pair):
        raise ValueError(f"{message}, got {value}")
    return tuple(float(v) if kind is float else int(v) for v in pair)
