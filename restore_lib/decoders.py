"""Decode image files: every layout of PNG, JPEG, WebP, TIFF and BMP becomes one kind of array.

Each file goes to the decoder that keeps what it holds: Pillow for 8 bit and below; OpenCV for 16-bit PNG (after Pillow
has looked at it, as OpenCV never says what is wrong) and compressed TIFF; tifffile for the header of every TIFF, and
the pixels that OpenCV gets wrong: planar, CMYK, grey with alpha.
"""

import logging
import math
import os
import stat
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from restore_lib.errors import ImageError

SIGNATURES = {
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "JPEG": (b"\xff\xd8\xff",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),  # classic and BigTIFF, either byte order
    "BMP": (b"BM",),
    "WEBP": (b"RIFF",),
}
FOREIGN = {  # what else lies in image folders, to tell the user what came instead
    b"<": "a web page or XML text",
    b"GIF8": "a GIF",
    b"%PDF": "a PDF document",
    b"version https://git-lfs": "a Git LFS pointer",
    b"RIFF": "a sound or video file",
}
ORIENTATION = 0x0112  # the tag's number in EXIF and in TIFF
# By orientation, 1 to 8: 1 to exchange rows and columns; then the steps through rows and through columns.
UPRIGHT = ((0, 1, 1), (0, 1, -1), (0, -1, -1), (0, -1, 1), (1, 1, 1), (1, 1, -1), (1, -1, -1), (1, -1, 1))
FORBIDDEN = "may not be read: change its permissions, or copy it to a folder of yours."
SPARSE = 2**16  # pixels a byte: empty pages of fax, the sparsest of honest files, have half as many
DEEP_TYPES = ("uint16", "float16", "float32", "float64")
BASE_SAMPLES = {0: 1, 1: 1, 2: 3, 5: 4}  # TIFF photometric: white is 0, black is 0, RGB, CMYK
_GLOBAL_STATE = threading.RLock()


class Samples(NamedTuple):
    """Pixels as a file stores them."""

    values: np.ndarray  # (H, W, C): grey or RGB, then alpha where there is one
    peak: float  # the value of white
    alpha: str | None = None  # "straight", "premultiplied" or None
    orientation: int = 1  # EXIF: where the stored picture's top lies


def decode(path: Path, *, max_pixels: int, background: float) -> np.ndarray:
    """Decode the first picture of a file, upright and laid over a grey ``background`` where it is transparent.

    Gives float32 (1, H, W) for grey files and (3, H, W) RGB for all others, in [0, 1]. ImageError: there is no such
    file, or it is not an image, damaged, too large or of an unsupported kind.
    """
    with told(path):
        colour, opacity = planes(samples := decode_samples(path, max_pixels=max_pixels))
        if opacity is None:
            return colour
        if samples.alpha == "straight":
            colour *= opacity
        colour += np.float32(background) * (1 - opacity)  # nothing is added, to the bit, where it is opaque
        return np.minimum(colour, 1, out=colour)


def decode_samples(path: Path, *, max_pixels: int) -> Samples:
    """Decode the first picture of a file, as it is stored; errors as for :func:`decode`."""
    check_file(path)
    with told(path), open(path, "rb") as stream:
        return load(stream, path, max_pixels)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Whatever a decoder raises becomes one sentence about the file."""
    try:
        yield
    except ImageError:
        raise
    except PermissionError as error:
        raise ImageError(f"{path} {FORBIDDEN}") from error
    except MemoryError as error:
        raise ImageError(f"{path} does not fit into memory: close other programs or use a smaller image.") from error
    except Exception as error:  # on foreign bytes the decoders raise nearly anything: struct.error, IndexError, ...
        reason = "its header makes no sense" if isinstance(error, UnidentifiedImageError) else str(error)
        raise ImageError(
            f"{path} cannot be decoded ({reason}): the file is damaged, truncated or of a rare kind; "
            "download or export it again."
        ) from error


def check_file(path: Path) -> None:
    """Refuse what cannot be an image file before anything is opened (opening a pipe would wait forever)."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageError(f"{path} does not exist: check its name and folder.") from error
    except PermissionError as error:
        raise ImageError(f"{path} {FORBIDDEN}") from error
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} cannot be opened ({error}): check its name.") from error
    if stat.S_ISDIR(status.st_mode):
        raise ImageError(f"{path} is a folder: name one image file in it.")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"{path} is a device or pipe: save the image to an ordinary file first.")
    if status.st_size == 0:
        raise ImageError(f"{path} is empty (0 bytes): download or export it again.")


def check_size(path: Path, width: int, height: int, max_pixels: int) -> None:
    """Refuse sizes that a header announces and a file cannot be meant to have, before memory is asked for them."""
    if width < 1 or height < 1:
        raise ImageError(f"{path} has no pixels ({width} x {height}): export it again.")
    if width * height > max_pixels:
        raise ImageError(
            f"{path} has {width} x {height} pixels, more than the limit of {max_pixels}: "
            "use a smaller image or, if you trust the file, pass a larger max_pixels."
        )
    length = os.path.getsize(path)
    if width * height > max(SPARSE * length, 2**24):
        raise ImageError(
            f"{path} announces {width} x {height} pixels in {length:,} bytes, so it is damaged or made to fill the "
            "memory: download or export it again."
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the decoders' warnings off the user's screen, and Pillow's own pixel limit out of the way.

    These switches belong to the whole process: one thread at a time turns them, and they are always turned back.
    """
    logger = logging.getLogger("tifffile")
    with _GLOBAL_STATE, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, disabled = Image.MAX_IMAGE_PIXELS, logger.disabled
        Image.MAX_IMAGE_PIXELS, logger.disabled = None, True
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, logger.disabled = limit, disabled


def load(stream: BinaryIO, path: Path, max_pixels: int) -> Samples:
    """Choose the decoder by the file's first bytes (its name may lie) and run it."""
    head = stream.read(32)
    stream.seek(0)
    kind = next((kind for kind, starts in SIGNATURES.items() if head.startswith(starts)), None)
    if kind is None or (kind == "WEBP" and head[8:12] != b"WEBP"):
        kind = next((f", but {name}" for start, name in FOREIGN.items() if head.lstrip().startswith(start)), "")
        kind = ", but HEIC, AVIF or a video" if head[4:8] == b"ftyp" else kind
        raise ImageError(
            f"{path} is not a PNG, JPEG, WebP, TIFF or BMP image{kind}: "
            "check where it came from, or convert it to one of these."
        )
    if kind == "TIFF":
        with quiet():
            return load_tiff(stream, path, max_pixels)
    if kind == "WEBP":  # opening it asks for the memory already
        check_size(path, *webp_size(head), max_pixels)
    with quiet():
        picture = Image.open(stream, formats=[kind])
        check_size(path, *picture.size, max_pixels)
    picture.load()  # outside the lock: threads decode side by side
    with quiet():
        orientation = exif_orientation(picture)
    if kind == "PNG" and head[24] == 16:
        stream.seek(0)
        return png_16(stream.read(), picture.info.get("transparency"))._replace(orientation=orientation)
    return pillow_samples(picture)._replace(orientation=orientation)


def open_header(path: str | os.PathLike, max_pixels: int = 2**28) -> Image.Image:
    """Open a file with Pillow for what it says of itself; a WebP only if its size can be believed."""
    with open(path, "rb") as stream:
        head = stream.read(32)
    if head[8:12] == b"WEBP":
        check_size(Path(path), *webp_size(head), max_pixels)
    return Image.open(path)


def webp_size(head: bytes) -> tuple[int, int]:
    """Width and height in the first 32 bytes of a WebP file, whichever of its three kinds it is."""
    if len(head) < 30:
        raise ValueError("the file ends too early")
    if head[12:16] == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF


def exif_orientation(picture: Image.Image) -> int:
    """The orientation tag, 1 (upright) where it is missing or its block is damaged: the pixels are still good."""
    try:
        return picture.getexif().get(ORIENTATION, 1)
    except Exception:
        return 1


def pillow_samples(picture: Image.Image) -> Samples:
    """Bring any of Pillow's 8-bit modes to grey or RGB, with alpha where anything may be transparent."""
    grey = picture.mode in ("1", "L", "LA", "La")
    alpha = picture.has_transparency_data
    mode = ("LA" if alpha else "L") if grey else ("RGBA" if alpha else "RGB")
    values = np.asarray(picture if picture.mode == mode else picture.convert(mode))
    return Samples(values.reshape(*values.shape[:2], -1), 255, "straight" if alpha else None)


def png_16(data: bytes, transparent: int | tuple[int, ...] | None) -> Samples:
    """Decode a 16-bit PNG; ``transparent`` is the one colour that its tRNS chunk declares transparent."""
    if not 0 <= data.rfind(b"IEND") <= len(data) - 8:
        raise ValueError("the file ends too early")  # Pillow would not mind, but libpng would print it on stderr
    values = opencv_decode(data)
    if data[25] == 4:  # colour type grey + alpha: OpenCV spreads grey over three channels
        values = values[..., [0, 3]]
    if transparent is not None:  # OpenCV heeds it for RGB only
        values = values[..., :3]
        opacity = (values != np.array(transparent)).any(axis=-1, keepdims=True) * 65535
        values = np.concatenate([values, opacity.astype(np.uint16)], axis=-1)
    return Samples(values, 65535, "straight" if values.shape[-1] in (2, 4) else None)


def opencv_decode(data: bytes | bytearray) -> np.ndarray:
    """Decode at the file's own depth with OpenCV: (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA."""
    import cv2  # only the files that need it pay for loading it

    log: Any = getattr(cv2.utils, "logging", cv2)  # OpenCV 5, and 4
    with quiet():
        level = log.getLogLevel()
        log.setLogLevel(0)
        try:
            values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        finally:
            log.setLogLevel(level)
    if values is None:
        raise ValueError("its pixels are incomplete")
    return values[..., None] if values.ndim == 2 else values[..., [2, 1, 0, 3][: values.shape[-1]]]


def load_tiff(stream: BinaryIO, path: Path, max_pixels: int) -> Samples:
    """Read a TIFF's header with tifffile, then its pixels with the decoder that keeps their depth."""
    import tifffile  # slow to load

    with tifffile.TiffFile(stream) as tiff:
        page = tiff.pages[0]
        check_size(path, page.imagewidth, page.imagelength, max_pixels)
        check_parts(page, os.fstat(stream.fileno()).st_size)
        if page.bitspersample > 8 or page.sampleformat == 3:
            return deep_tiff(page, stream, path)
    stream.seek(0)
    picture = Image.open(stream, formats=["TIFF"])
    check_size(path, *picture.size, max_pixels)
    picture.load()  # turns the picture upright and forgets the tag
    return pillow_samples(picture)._replace(orientation=exif_orientation(picture))


def check_parts(page, length: int) -> None:
    """Refuse a TIFF page whose strips or tiles are fewer, shorter or further away than its header announces."""
    parts = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if any(offset + count > length for offset, count in parts):
        raise ValueError("the file ends too early")  # said here because libtiff would print it on stderr
    if len(parts) < math.prod(page.chunked) or not all(offset and count for offset, count in parts):
        raise ValueError("it holds fewer rows than it announces")
    announced = page.imagelength * math.ceil(page.imagewidth * page.bitspersample * page.samplesperpixel / 8)
    if page.compression == 1 and page.photometric != 6 and sum(count for _, count in parts) < announced:
        raise ValueError("it holds fewer rows than it announces")


def deep_tiff(page, stream: BinaryIO, path: Path) -> Samples:
    """Decode a TIFF of 16-bit or float samples, given as tifffile's page."""
    base = BASE_SAMPLES.get(page.photometric, 0)
    extra = page.samplesperpixel - base
    known_values = str(page.dtype) in DEEP_TYPES and page.bitspersample == 8 * page.dtype.itemsize
    if not known_values or page.axes not in ("YX", "YXS", "SYX") or not base or extra not in (0, 1):
        raise ImageError(
            f"{path} holds {page.samplesperpixel} x {page.bitspersample}-bit samples of a kind that has no agreed "
            "range or colours: save it as grey or RGB with 8 or 16 bits."
        )
    tag = page.tags.get(ORIENTATION)
    # Libtiff inside OpenCV knows every compression and never unpacks more than the header announces.
    plain = base != 4 and page.samplesperpixel != 2 and page.planarconfig == 1 and page.dtype != np.float16
    if page.compression != 1 and plain:
        stream.seek(0)
        data = bytearray(stream.read())
        if tag is not None:  # OpenCV would turn the picture itself, some versions only partly
            struct.pack_into(f"{page.parent.byteorder}H", data, tag.valueoffset, 1)
        values = opencv_decode(data)
    else:
        values = page.asarray()
        values = np.moveaxis(values, 0, -1) if page.axes == "SYX" else values.reshape(*values.shape[:2], -1)
    if values.shape != (page.imagelength, page.imagewidth, base + extra) or values.dtype.name != str(page.dtype):
        raise ValueError("its pixels do not agree with its header")
    peak = 65535 if values.dtype.kind == "u" else 1.0
    if values.dtype.kind == "f":  # files of floats carry no white level: only [0, 1] is taken, no guess is made
        low, high = values.min(), values.max()
        if not (np.isfinite(low) and np.isfinite(high)):  # a NaN anywhere becomes both
            raise ImageError(f"{path} holds NaN or infinite values: replace them before using it as an image.")
        if low < 0 or high > 1:
            raise ImageError(f"{path} holds float values from {low:.4g} to {high:.4g}: scale them to [0, 1].")
        values = values.astype(np.float32)
    kind = {1: "premultiplied", 2: "straight"}.get(page.extrasamples[0]) if extra else None
    colour, rest = values[..., :base], values[..., base:] if kind else values[..., :0]
    if page.photometric == 0:
        colour = peak - colour
    if base == 4:  # the same plain conversion as Pillow's for 8 bits: light that no ink stops
        light = 1 - colour / np.float32(peak)
        colour, rest, peak = light[..., :3] * light[..., 3:], rest / np.float32(peak), 1.0
    return Samples(np.concatenate([colour, rest], -1), peak, kind, tag.value if tag is not None else 1)


def planes(samples: Samples) -> tuple[np.ndarray, np.ndarray | None]:
    """Colour (1 or 3, H, W) and opacity (1, H, W), upright, float32 in [0, 1]; colour as stored, opacity if any."""
    exchange, rows, columns = UPRIGHT[samples.orientation - 1 if samples.orientation in range(1, 9) else 0]
    values = (samples.values.swapaxes(0, 1) if exchange else samples.values)[::rows, ::columns]
    channels = np.divide(np.moveaxis(values, -1, 0), samples.peak, dtype=np.float32, order="C")  # (C, H, W)
    return (channels, None) if samples.alpha is None else (channels[:-1], channels[-1:])
