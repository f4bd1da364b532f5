"""Images: files to tensors and back, colour spaces, and pictures too large to process at once.

An image is a float32 tensor (3, H, W) in [0, 1], RGB; a batch is (B, 3, H, W).
"""

import io
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from PIL import Image
from torch import Tensor

from restore_lib import decoders
from restore_lib.errors import ImageError
from restore_lib.files import atomic_write

MAX_PIXELS = 2**28  # 3.2 GB as float32 RGB; the largest photo of a telephone has 2e8
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
DEEP = ("PNG", "TIFF")  # hold 16 bits a sample
LONGEST_SIDE = {"JPEG": 65500, "WEBP": 16383}  # what the format, or its encoder, can hold

# ITU-R BT.601 with studio swing, as MATLAB's rgb2ycbcr: RGB in [0, 1] to Y in 16..235, Cb and Cr in 16..240.
TO_YCBCR = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
YCBCR_OF_BLACK = np.array([16.0, 128.0, 128.0])


def read(
    path: str | os.PathLike, *, channels: str = "rgb", max_pixels: int = MAX_PIXELS, background: float = 1.0
) -> Float[Tensor, "c h w"]:
    """Read a PNG, JPEG, WebP, TIFF or BMP file as float32 RGB in [0, 1], (3, H, W).

    The content decides how it is decoded, not the suffix. 16-bit files keep all their bits. The picture is turned
    upright where EXIF says so. Palette and CMYK are converted to RGB; colour profiles (ICC) and gamma chunks are
    not applied. Of animations and files of several pages the first picture is read. ``channels="rgb"`` repeats a
    file that is stored in grey in three channels, ``"native"`` gives it as (1, H, W). Through transparent pixels shows
    ``background``, a grey level in [0, 1].

    ImageError where the file is missing, empty, damaged, no image, of an unsupported kind, or has more than
    ``max_pixels``: then by its header, before memory is asked for.
    """
    if channels not in ("rgb", "native"):
        raise ValueError(f"channels is {channels!r}: choose 'rgb' or 'native'")
    if not 0 <= background <= 1:
        raise ValueError(f"background is {background}: choose a grey level in [0, 1]")
    image = torch.from_numpy(decoders.decode(Path(path), max_pixels=max_pixels, background=background))
    return image.repeat(3, 1, 1) if channels == "rgb" and len(image) == 1 else image


def write(path: str | os.PathLike, image: Shaped[Tensor, "*channel h w"], *, bits: int = 8, quality: int = 95) -> None:
    """Write an image, clipped to [0, 1] and rounded, as the suffix says: one of ``FORMATS``.

    ``image`` is (3, H, W) RGB, or (1, H, W) or (H, W) grey: float in [0, 1] on any device, or uint8. PNG and TIFF may
    have 16 ``bits`` a sample. ``quality``, 1 to 100, is for JPEG (without chroma subsampling) and WebP (lossless at
    100). Missing folders are made.

    ImageError for another suffix, for NaN and infinite values, and for a size that the format cannot hold; RestoreError
    where the disk is full or the folder cannot be written to. An older file is kept on failure.
    """
    check_format(path, bits)
    data = encode(path, quantize(image, bits), quality=quality)
    with atomic_write(Path(path)) as temporary:  # encoded in memory first: an error from here on is the disk's
        temporary.write_bytes(data)


def check_format(path: str | os.PathLike, bits: int = 8) -> str:
    """The format that a name asks for; ImageError where there is none, ValueError where it has no so many ``bits``."""
    form = FORMATS.get(Path(path).suffix.lower())
    if form is None:
        raise ImageError(f"{path} cannot be written: choose a name that ends in {', '.join(FORMATS)}.")
    if bits not in (8, 16) or (bits == 16 and form not in DEEP):
        raise ValueError(f"bits is {bits} for {form}: choose 8, or 16 with .png or .tif")
    return form


def encode(
    path: str | os.PathLike,
    samples: np.ndarray,
    *,
    quality: int = 95,
    exif: Image.Exif | None = None,
    profile: bytes = b"",
    dpi: tuple[float, float] | None = None,
) -> bytes:
    """The file of that name, in memory: samples as :func:`quantize` gives them, with what belongs to them.

    Parameters and errors as for :func:`write`. EXIF's own lists do not fit into a TIFF of 16-bit colour.
    """
    form = check_format(path)
    if not 1 <= quality <= 100:
        raise ValueError(f"quality is {quality}: choose 1 to 100")
    if max(samples.shape[:2]) > LONGEST_SIDE.get(form, 2**31):
        raise ImageError(f"{path}: {form} holds at most {LONGEST_SIDE[form]} pixels a side; write .png or .tif.")
    exif = exif or Image.Exif()
    if samples.dtype == np.uint16 and samples.ndim == 3:  # Pillow writes no 16-bit colour
        deep = _deep_tiff if form == "TIFF" else _deep_png
        return deep(samples, exif, profile, dpi)
    options: dict[str, Any] = {"JPEG": {"quality": quality, "subsampling": 0}}.get(form, {})
    if form == "WEBP":
        options = {"lossless": True, "exact": True} if quality == 100 else {"quality": quality}
    if form == "TIFF" and not any(isinstance(value, dict) for value in dict(exif).values()):
        options = {"compression": "tiff_adobe_deflate"}  # libtiff, which compresses, writes none of EXIF's own lists
    given = {"icc_profile": profile, "dpi": dpi, "exif": exif.tobytes() if dict(exif) else b""}
    stream = io.BytesIO()
    Image.fromarray(samples).save(stream, form, **options, **{key: value for key, value in given.items() if value})
    return stream.getvalue()


def _deep_tiff(samples: np.ndarray, exif: Image.Exif, profile: bytes, dpi: tuple[float, float] | None) -> bytes:
    import tifffile

    options: dict[str, Any] = {"resolution": dpi, "resolutionunit": "INCH"} if dpi else {}
    options |= {"iccprofile": profile} if profile else {}
    options |= {"extrasamples": ["unassalpha"]} if samples.shape[2] in (2, 4) else {}
    options |= {"photometric": "rgb" if samples.shape[2] > 2 else "minisblack", "planarconfig": "contig"}
    texts = [(tag, "s", 0, value, True) for tag, value in exif.items() if isinstance(value, str)]
    stream = io.BytesIO()
    tifffile.imwrite(stream, samples, compression="zlib", metadata=None, software=False, extratags=texts, **options)
    return stream.getvalue()


def _deep_png(samples: np.ndarray, exif: Image.Exif, profile: bytes, dpi: tuple[float, float] | None) -> bytes:
    import cv2

    grey = np.repeat(samples[..., :1], 3, axis=-1)  # OpenCV has no grey with alpha
    rgba = np.concatenate([grey, samples[..., 1:]], axis=-1) if samples.shape[2] == 2 else samples
    data = cv2.imencode(".png", np.ascontiguousarray(rgba[..., [2, 1, 0, 3][: rgba.shape[2]]]))[1].tobytes()
    chunks = [(b"iCCP", b"icc\0\0" + zlib.compress(profile))] if profile else []
    chunks += [(b"pHYs", struct.pack(">IIB", *(round(number / 0.0254) for number in dpi), 1))] if dpi else []
    chunks += [(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))] if dict(exif) else []
    parts = [struct.pack(">I", len(c)) + name + c + struct.pack(">I", zlib.crc32(name + c)) for name, c in chunks]
    return data[:33] + b"".join(parts) + data[33:]  # after the header, which always comes first


def quantize(image: Shaped[Tensor, "*channel h w"], bits: int, *, alpha: bool = False) -> np.ndarray:
    """Clip to [0, 1] and round to uint8 or uint16: (H, W) of one channel, else (H, W, C).

    ``image`` is one that :func:`write` takes or, with ``alpha``, has 2 or 4 channels; ImageError for NaN and infinite
    values.
    """
    planes = image[None] if image.ndim == 2 else image
    if planes.ndim != 3 or planes.shape[0] not in ((1, 2, 3, 4) if alpha else (1, 3)) or planes.numel() == 0:
        raise ValueError(f"image has shape {tuple(image.shape)}: give (3, H, W), (1, H, W) or (H, W) with pixels")
    if planes.dtype == torch.uint8:
        planes = planes.cpu().float() / 255
    elif not planes.is_floating_point():
        raise ValueError(f"image has dtype {image.dtype}: give floats in [0, 1] or uint8")
    planes = planes.detach().cpu()
    planes = planes if planes.dtype == torch.float64 else planes.float()
    if not torch.isfinite(planes).all():
        raise ImageError("The image holds NaN or infinite values: find the step that made them.")
    values = (planes.clamp(0, 1) * (2**bits - 1)).round().permute(1, 2, 0).numpy()  # (H, W, C)
    return np.ascontiguousarray(values[..., 0] if values.shape[-1] == 1 else values, dtype=f"uint{bits}")


def from_uint8(array: np.ndarray) -> Float[Tensor, "c h w"]:
    """Turn a uint8 array (H, W, 3) or (H, W) into a float32 image (3, H, W) or (1, H, W) in [0, 1], a copy."""
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (1,), (3,)):
        raise ValueError(f"array is {array.dtype} {array.shape}: give uint8 (H, W, 3) or (H, W)")
    planes = np.moveaxis(array.reshape(*array.shape[:2], -1), -1, 0)  # (C, H, W)
    return torch.from_numpy(np.divide(planes, 255, dtype=np.float32, order="C"))


def to_uint8(image: Shaped[Tensor, "*channel h w"]) -> np.ndarray:
    """Turn an image into a uint8 array, clipped to [0, 1] and rounded (a half goes to the even neighbour).

    (3, H, W) gives (H, W, 3); (1, H, W) and (H, W) give (H, W). :func:`from_uint8` reverses it exactly. ImageError for
    NaN and infinite values.
    """
    return quantize(image, 8)


def rgb_to_ycbcr(x: Float[Tensor, "*batch 3 h w"]) -> Float[Tensor, "*batch 3 h w"]:
    """RGB in [0, 1] to Y, Cb, Cr by ITU-R BT.601 with studio swing, MATLAB's ``rgb2ycbcr``, in units of 1/255.

    Black has Y = 16/255 and white 235/255; grey has Cb = Cr = 128/255. Nothing is rounded, so it is differentiable
    and :func:`ycbcr_to_rgb` reverses it. JPEG uses another, full-swing convention.
    """
    return _mix(x, TO_YCBCR / 255, YCBCR_OF_BLACK / 255)


def ycbcr_to_rgb(x: Float[Tensor, "*batch 3 h w"]) -> Float[Tensor, "*batch 3 h w"]:
    """Reverse :func:`rgb_to_ycbcr`. Not clipped: not every Y, Cb, Cr is a colour that RGB in [0, 1] has."""
    back = np.linalg.inv(TO_YCBCR)
    return _mix(x, 255 * back, -back @ YCBCR_OF_BLACK)


def rgb_to_y(x: Float[Tensor, "*batch 3 h w"]) -> Float[Tensor, "*batch 1 h w"]:
    """The luma of :func:`rgb_to_ycbcr` alone, in 16/255..235/255: the "Y channel" of super-resolution papers."""
    return _mix(x, TO_YCBCR[:1] / 255, YCBCR_OF_BLACK[:1] / 255)


def _mix(x: Tensor, matrix: np.ndarray, offset: np.ndarray) -> Tensor:
    a, b, c = x.unbind(-3)
    # Not a matrix product: on GPUs that may be computed in TF32, with 3 digits.
    rows = [float(p) * a + float(q) * b + float(r) * c + float(o) for (p, q, r), o in zip(matrix, offset, strict=True)]
    return torch.stack(rows, -3)


def modcrop(image: Shaped[Tensor, "*batch h w"], scale: int) -> Shaped[Tensor, "*batch oh ow"]:
    """Cut rows at the bottom and columns at the right until both sides are multiples of ``scale``."""
    height, width = (side - side % scale for side in image.shape[-2:]) if scale >= 1 else (0, 0)
    if not (height and width):
        raise ValueError(f"an image of {tuple(image.shape[-2:])} pixels cannot be cropped to multiples of {scale}")
    return image[..., :height, :width]


def centre_crop(image: Shaped[Tensor, "*batch h w"], size: int | tuple[int, int]) -> Shaped[Tensor, "*batch oh ow"]:
    """The middle of an image, at most ``size`` (a side, or height and width) pixels: a view, up and left by half a
    pixel where an odd number of rows or columns is cut off.
    """
    sides = size if isinstance(size, Sequence) else (size, size)
    height, width = (min(side, n) for side, n in zip(sides, image.shape[-2:], strict=True))
    top, left = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
    return image[..., top : top + height, left : left + width]


def tiled(
    fn: Callable[[Tensor], Tensor], image: Float[Tensor, "*batch c h w"], *, tile: int, overlap: int, scale: int = 1
) -> Float[Tensor, "*batch oc oh ow"]:
    """Run ``fn`` on overlapping square windows and blend the results: for pictures larger than memory allows.

    ``fn`` maps (B, C, h, w) to (B, C', scale * h, scale * w), floats; ``tile`` is the largest side of a window. Each
    sees ``overlap`` pixels, less than ``tile / 2``, of its neighbours' ground. Of these, the outer half is context
    alone and its results are thrown away; over the inner half, results pass linearly from one window to the next. Only
    one window's result and the output are in memory, the output on the image's device: ``fn`` may move each window to
    a GPU.

    The result equals ``fn(image)``, up to rounding, if it depends on no input further away than ``overlap // 2``
    pixels and ``fn`` commutes with shifts. For a network that halves the size n times, make both sides of the image,
    ``tile`` and ``overlap`` multiples of 2**n. For others there are no seams, but the result is not the same.
    """
    if overlap < 0 or 2 * overlap >= tile or scale < 1:
        raise ValueError(f"tile={tile}, overlap={overlap}, scale={scale}: need 0 <= 2 * overlap < tile and scale >= 1")
    if image.ndim not in (3, 4) or image.numel() == 0:
        raise ValueError(f"image has shape {tuple(image.shape)}: give (C, H, W) or (B, C, H, W) with pixels")
    batch = image[None] if image.ndim == 3 else image
    count, (height, width) = len(batch), batch.shape[-2:]
    out = torch.empty(0)
    for rows, rows_out, row_weights in _windows(height, tile, overlap, scale):
        for columns, columns_out, column_weights in _windows(width, tile, overlap, scale):
            result = fn(batch[..., rows, columns])
            size = (len(row_weights), len(column_weights))
            if not result.is_floating_point() or (len(result), *result.shape[2:]) != (count, *size):
                raise ValueError(f"fn gave {result.dtype} {tuple(result.shape)}: expected floats ({count}, C, *{size})")
            weights = (row_weights[:, None] * column_weights).to(result)
            if out.numel() == 0:
                shape = (*result.shape[:2], scale * height, scale * width)
                out = torch.zeros(shape, dtype=result.dtype, device=batch.device)
            out[..., rows_out, columns_out] += (result * weights).to(out.device)
    return out[0] if image.ndim == 3 else out


def _windows(size: int, tile: int, overlap: int, scale: int) -> list[tuple[slice, slice, Tensor]]:
    """Windows along one side: input slice, output slice and float64 weights, which sum to one at every output."""
    starts = [*range(0, max(size - tile, 0), tile - 2 * overlap), max(size - tile, 0)]
    windows, total = [], torch.zeros(size * scale, dtype=torch.float64)
    context = overlap // 2
    ramp = 2 * (overlap - context) * scale  # neighbours share 2 * overlap pixels and both drop their context
    for start in starts:
        stop = min(start + tile, size)
        weights = torch.ones((stop - start) * scale, dtype=torch.float64)
        if ramp:
            rising = ((torch.arange(len(weights)).double() + 0.5 - context * scale) / ramp).clamp(0, 1)
            weights = torch.minimum(weights, rising) if start > 0 else weights
            weights = torch.minimum(weights, rising.flip(0)) if stop < size else weights
        window = slice(start * scale, stop * scale)
        total[window] += weights
        windows.append((slice(start, stop), window, weights))
    return [(inside, outside, weights / total[outside]) for inside, outside, weights in windows]


def size(path: str | os.PathLike) -> tuple[int, int]:
    """Height and width of a picture file, upright, from its header alone; ImageError as :func:`read`."""
    decoders.check_file(Path(path))
    try:
        with decoders.quiet(), decoders.open_header(path) as header:
            width, height = header.size
            sideways = header.getexif().get(decoders.ORIENTATION, 1) >= 5
            return (width, height) if sideways else (height, width)
    except Exception:  # damaged, or of a kind that Pillow does not know: reading finds out, and says so
        height, width = read(path, channels="native").shape[1:]
        return height, width


def sharpest_window(image: Float[Tensor, "3 h w"], side: int = 1024, cell: int = 32) -> Float[Tensor, "3 oh ow"]:
    """The window of at most ``side`` pixels each way in which neighbours differ most; all of a smaller image.

    An estimation of blur needs no more, and a lens blurs the corners of a photo differently from its middle.
    """
    if max(image.shape[1:]) <= side:
        return image
    height, width = image.shape[1:]
    strength = []
    for top in range(0, height, cell):  # band by band: several copies of a large photo would be too many
        grey = image[:, top : top + cell].mean(0)  # (cell, width); the last band may be lower
        edges = grey.diff(dim=1, append=grey[:, -1:]).abs().sum(0) + grey.diff(dim=0).abs().sum(0)
        strength.append(torch.nn.functional.pad(edges, (0, -width % cell)).reshape(-1, cell).sum(1))
    window = [min(side, n) // cell for n in (height, width)]
    means = torch.nn.functional.avg_pool2d(torch.stack(strength)[None], window, stride=1)[0]
    best = divmod(int(means.argmax()), means.shape[1])
    top, left = (min(cell * i, max(n - side, 0)) for i, n in zip(best, (height, width), strict=True))
    return image[:, top : top + side, left : left + side].clone()


def eight_ways(
    fn: Callable[[Float[Tensor, "c h w"], bool], Float[Tensor, "c oh ow"]], image: Float[Tensor, "c h w"]
) -> Float[Tensor, "c oh ow"]:
    """The mean of ``fn`` over the eight ways of turning and mirroring an image, each turned back: EDSR's self-ensemble.

    ``fn`` is told whether height and width are exchanged. Source: Lim et al., 2017, section 3.4 (Timofte et al., 2016).
    """
    total = torch.zeros(())
    for turns in range(4):
        for axes in ((), (2,)):
            result = fn(image.rot90(turns, (1, 2)).flip(axes).contiguous(), turns % 2 == 1)
            total = total.to(result) + result.flip(axes).rot90(-turns, (1, 2)) / 8
    return total
