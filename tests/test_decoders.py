"""Whatever layout a file has, its picture comes out as an independent decoder, or arithmetic, says; or one sentence."""

import io
import logging
import os
import struct
import sys
import threading
import warnings
import zlib

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageOps
from skimage import data as photos_of_skimage

from restore_lib import images
from restore_lib.errors import ImageError


@pytest.fixture
def random(rng) -> np.random.Generator:
    return np.random.default_rng(torch.randint(2**31, (), generator=rng).item())


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(samples: np.ndarray, colour_type: int, *extra: bytes) -> bytes:
    """A PNG made by hand from uint8 or uint16 samples (H, W, C): no decoder's own encoder is involved."""
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 8 * samples.itemsize, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(f">u{samples.itemsize}").tobytes() for row in samples)
    chunks = chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def noise(random, *shape: int, dtype=np.uint8) -> np.ndarray:
    return random.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def saved(tmp_path, content: bytes, name: str = "a.png"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def planes(values: np.ndarray, peak: float) -> torch.Tensor:
    """(H, W) or (H, W, C) to (C, H, W) float32 in [0, 1], by float64 arithmetic."""
    values = values[..., None] if values.ndim == 2 else values
    return torch.from_numpy((np.moveaxis(values, -1, 0) / np.float64(peak)).astype(np.float32))


def laid_over(colour: torch.Tensor, opacity: torch.Tensor, background: float = 1.0) -> torch.Tensor:
    return (colour.double() * opacity.double() + background * (1 - opacity.double())).float()


def read_native(path, **options) -> torch.Tensor:
    image = images.read(path, channels="native", **options)
    assert image.dtype == torch.float32 and image.is_contiguous()
    return image


# ---- Pillow's modes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [(mode, suffix) for mode in ("1", "L", "LA", "P", "RGB", "RGBA") for suffix in (".png", ".tif")]
    + [(mode, ".bmp") for mode in ("1", "L", "P", "RGB")],
)
def test_every_8_bit_layout(tmp_path, random, mode, suffix):
    picture = Image.fromarray(noise(random, 21, 34, 4)).convert("RGB" if mode == "P" else mode).convert(mode)
    picture.save(tmp_path / f"a{suffix}")
    rgba = planes(np.asarray(picture.convert("RGBA")), 255)
    expected = laid_over(rgba[:3], rgba[3:])
    image = images.read(tmp_path / f"a{suffix}")
    torch.testing.assert_close(image, expected, rtol=0, atol=1e-6)
    native = read_native(tmp_path / f"a{suffix}")
    assert len(native) == (1 if mode in ("1", "L", "LA") else 3)
    torch.testing.assert_close(native.expand_as(image), image, rtol=0, atol=0)


def test_background_shows_through_and_opaque_pixels_are_exact(tmp_path, random):
    values = noise(random, 9, 8, 4)
    values[:3, :, 3], values[3:6, :, 3] = 255, 0
    path = saved(tmp_path, png(values, 6))
    image = images.read(path, background=0.25)
    torch.testing.assert_close(image[:, :3], planes(values[:3, :, :3], 255), rtol=0, atol=0)
    assert (image[:, 3:6] == 0.25).all()
    half = laid_over(planes(values[6:, :, :3], 255), planes(values[6:, :, 3:], 255), 0.25)
    torch.testing.assert_close(image[:, 6:], half, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="grey level"):
        images.read(path, background=2.0)


def test_palette_with_transparent_entries(tmp_path, random):
    colours, indices = noise(random, 16, 3), noise(random, 12, 10) % 16
    opacity = noise(random, 16)
    for transparency in (opacity.tobytes(), 5):
        picture = Image.fromarray(indices, "P")
        picture.putpalette(colours.tobytes())
        picture.save(tmp_path / "a.png", transparency=transparency)
        alpha = opacity if isinstance(transparency, bytes) else np.where(np.arange(16) == 5, 0, 255)
        expected = laid_over(planes(colours[indices], 255), planes(alpha[indices], 255))
        torch.testing.assert_close(images.read(tmp_path / "a.png"), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("colour_type", "count"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_png_of_either_depth(tmp_path, random, dtype, colour_type, count):
    values, peak = noise(random, 13, 7, count, dtype=dtype), np.iinfo(dtype).max
    image = read_native(saved(tmp_path, png(values, colour_type)))
    colour = planes(values[..., : 3 if count > 2 else 1], peak)
    expected = laid_over(colour, planes(values[..., -1:], peak)) if count in (2, 4) else colour
    torch.testing.assert_close(image, expected, rtol=0, atol=0 if count in (1, 3) else 1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("colour_type", "count"), [(0, 1), (2, 3)])
def test_png_with_one_transparent_colour(tmp_path, random, dtype, colour_type, count):
    values, peak = noise(random, 13, 7, count, dtype=dtype), np.iinfo(dtype).max
    key = values[4, 5].copy()
    key[0] = 0
    values[4, 5], values[6, 3] = key, key
    path = saved(tmp_path, png(values, colour_type, chunk(b"tRNS", key.astype(">u2").tobytes())))
    opacity = planes((values != key).any(-1).astype(np.uint8), 1)
    assert (opacity == 0).sum() >= 2
    image = read_native(path, background=0.5)
    torch.testing.assert_close(image, laid_over(planes(values, peak), opacity, 0.5), rtol=0, atol=1e-6)


def test_gamma_chunk_is_not_applied(tmp_path, random):
    values = noise(random, 5, 6, 3, dtype=np.uint16)
    path = saved(tmp_path, png(values, 2, chunk(b"gAMA", struct.pack(">I", 100000))))
    torch.testing.assert_close(images.read(path), planes(values, 65535), rtol=0, atol=0)


def test_jpeg_in_grey_colour_and_cmyk(tmp_path):
    photo = photos_of_skimage.chelsea()[:60, :91]
    cmyk = Image.fromarray(photo).convert("CMYK")
    for name, picture in {"g": Image.fromarray(photo[..., 1]), "c": Image.fromarray(photo), "k": cmyk}.items():
        path = tmp_path / f"{name}.jpg"
        picture.save(path, quality=98, subsampling=0)
        decoded = cv2.imread(str(path), cv2.IMREAD_UNCHANGED if name == "g" else cv2.IMREAD_COLOR)
        expected = planes(decoded if name == "g" else decoded[..., ::-1], 255)
        # Decoders differ by a rounding in colour conversion; an inversion or swap would differ by far more.
        torch.testing.assert_close(read_native(path), expected, rtol=0, atol=3 / 255)
    # Pillow, like Photoshop, writes ink upside down. The photo itself says whether it came back the right way.
    assert b"Adobe" in (tmp_path / "k.jpg").read_bytes()
    torch.testing.assert_close(images.read(tmp_path / "k.jpg"), planes(photo, 255), rtol=0, atol=0.1)


def test_jpeg_with_two_pictures_gives_the_first(tmp_path, random):
    first, second = (Image.fromarray(noise(random, 16, 24, 3)) for _ in range(2))
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second], quality=100)
    first.save(tmp_path / "b.jpg", quality=100)
    with Image.open(tmp_path / "a.jpg") as stored:
        assert stored.format == "MPO"  # telephones write these
    assert torch.equal(images.read(tmp_path / "a.jpg"), images.read(tmp_path / "b.jpg"))


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
def test_animations_and_pages_give_the_first(tmp_path, random, name):
    frames = [noise(random, 16, 24, 3) for _ in range(3)]
    first, *rest = map(Image.fromarray, frames)
    first.save(tmp_path / name, save_all=True, append_images=rest, **({"lossless": True} if "webp" in name else {}))
    with Image.open(tmp_path / name) as stored:
        assert stored.n_frames == 3
    torch.testing.assert_close(images.read(tmp_path / name), planes(frames[0], 255), rtol=0, atol=0)


def test_webp_with_alpha(tmp_path, random):
    values = noise(random, 17, 12, 4)
    Image.fromarray(values).save(tmp_path / "a.webp", lossless=True, exact=True)
    expected = laid_over(planes(values[..., :3], 255), planes(values[..., 3:], 255))
    torch.testing.assert_close(images.read(tmp_path / "a.webp"), expected, rtol=0, atol=1e-6)


# ---- TIFF -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dtype", [np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("layout", ["grey", "white", "rgb", "planar", "tiled", "strips", "big-endian", "bigtiff"])
def test_deep_tiff_keeps_full_precision(tmp_path, random, layout, dtype, compression):
    values = noise(random, 40, 33, 3, dtype=np.uint16)
    values = values if dtype == np.uint16 else (values / 65535).astype(dtype)
    peak = 65535 if dtype == np.uint16 else 1
    grey = layout in ("grey", "white")
    values = values[..., 0] if grey else values
    options = {"photometric": {"grey": "minisblack", "white": "miniswhite"}.get(layout, "rgb")}
    special = {"tiled": {"tile": (16, 16)}, "strips": {"rowsperstrip": 7}, "bigtiff": {"bigtiff": True}}
    special |= {"planar": {"planarconfig": "separate"}, "big-endian": {"byteorder": ">"}}
    options |= special.get(layout, {})
    stored = np.moveaxis(values, -1, 0) if layout == "planar" else values
    tifffile.imwrite(tmp_path / "a.tif", stored, compression=compression, **options)
    expected = planes(peak - values.astype(np.float64) if layout == "white" else values, peak)
    image = read_native(tmp_path / "a.tif")
    assert image.shape == (1 if grey else 3, 40, 33)
    torch.testing.assert_close(image, expected, rtol=0, atol=6e-8 if layout == "white" else 0)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("alpha", ["unassalpha", "assocalpha", "unspecified"])
@pytest.mark.parametrize("base", [1, 3])
def test_deep_tiff_with_a_further_channel(tmp_path, random, base, alpha, dtype, compression):
    opacity = noise(random, 20, 11, 1, dtype=np.uint16)
    colour = noise(random, 20, 11, base, dtype=np.uint16)
    if alpha == "assocalpha":
        colour = (colour.astype(np.uint64) * opacity // 65535).astype(np.uint16)
    values = np.concatenate([colour, opacity], -1)
    stored = values if dtype == np.uint16 else (values / 65535).astype(np.float32)
    photometric = "rgb" if base == 3 else "minisblack"
    options = {"extrasamples": [alpha], "planarconfig": "contig", "compression": compression}
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric=photometric, **options)
    colour, opacity = planes(colour, 65535), planes(opacity, 65535)
    expected = {
        "unassalpha": laid_over(colour, opacity, 0.5),
        "assocalpha": (colour + 0.5 * (1 - opacity)).clamp(max=1),
        "unspecified": colour,
    }[alpha]
    torch.testing.assert_close(read_native(tmp_path / "a.tif", background=0.5), expected, rtol=0, atol=2e-7)


def test_tiff_with_premultiplied_alpha_in_8_bit(tmp_path, random):
    opacity = noise(random, 20, 11, 1)
    colour = (noise(random, 20, 11, 3).astype(int) * opacity // 255).astype(np.uint8)
    options = {"photometric": "rgb", "extrasamples": ["assocalpha"]}
    tifffile.imwrite(tmp_path / "a.tif", np.concatenate([colour, opacity], -1), **options)
    expected = planes(colour, 255) + 1 - planes(opacity, 255)
    torch.testing.assert_close(images.read(tmp_path / "a.tif"), expected, rtol=0, atol=1 / 255)


def test_cmyk_tiff_of_either_depth(tmp_path, random):
    ink = noise(random, 20, 11, 4, dtype=np.uint16)
    for values, peak, tolerance in ((ink, 65535, 1e-6), ((ink >> 8).astype(np.uint8), 255, 1.01 / 255)):
        tifffile.imwrite(tmp_path / "a.tif", values, photometric="separated")
        light = 1 - planes(values, peak)
        torch.testing.assert_close(images.read(tmp_path / "a.tif"), light[:3] * light[3:], rtol=0, atol=tolerance)


@pytest.mark.parametrize("compression", [1, 5, 8, 32773])  # none, LZW, Deflate, PackBits
def test_tiff_compressions_and_the_predictor(tmp_path, random, compression):
    for values in (noise(random, 31, 22, 3, dtype=np.uint16), noise(random, 31, 22, 3), noise(random, 31, 22)):
        bgr = values[..., ::-1] if values.ndim == 3 else values
        cv2.imwrite(str(tmp_path / "a.tif"), bgr, [cv2.IMWRITE_TIFF_COMPRESSION, compression])
        expected = planes(values, np.iinfo(values.dtype).max)
        torch.testing.assert_close(read_native(tmp_path / "a.tif"), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[0, np.nan]], np.float32), "holds NaN or infinite"),
        (np.array([[0, np.inf]], np.float32), "holds NaN or infinite"),
        (np.array([[-np.inf, 0]], np.float64), "holds NaN or infinite"),
        (np.array([[-0.5, 300]], np.float32), r"from -0.5 to 300: scale them to \[0, 1\]"),
        (np.array([[1, 2]], np.uint32), "32-bit samples .* save it as grey or RGB with 8 or 16 bits"),
        (np.array([[1, 2]], np.int16), "16-bit samples .* save it as grey or RGB with 8 or 16 bits"),
    ],
)
def test_tiff_values_without_an_agreed_white_are_refused(tmp_path, values, message):
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack")
    with pytest.raises(ImageError, match=message):
        images.read(tmp_path / "a.tif")


# ---- EXIF orientation -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_exif_orientation(tmp_path, name, orientation):
    photo = Image.fromarray(photos_of_skimage.chelsea()[:40, :51])
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo.save(tmp_path / name, exif=exif, **({"lossless": True} if "webp" in name else {}))
    with Image.open(tmp_path / name) as stored:
        expected = planes(np.asarray(ImageOps.exif_transpose(stored)), 255)
    assert expected.shape == ((3, 40, 51) if orientation < 5 else (3, 51, 40))
    torch.testing.assert_close(images.read(tmp_path / name), expected, rtol=0, atol=0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "raw.tif", "lzw.tif"])
def test_exif_orientation_of_deep_files(tmp_path, random, name, orientation):
    values = noise(random, 10, 7, 3, dtype=np.uint16)
    exif = Image.Exif()
    exif[0x0112] = orientation
    if name == "a.png":
        (tmp_path / name).write_bytes(png(values, 2, chunk(b"eXIf", exif.tobytes()[6:])))
    else:
        options = {"compression": "zlib"} if name == "lzw.tif" else {}
        tifffile.imwrite(
            tmp_path / name, values, photometric="rgb", extratags=[(0x0112, 3, 1, orientation, True)], **options
        )
    # Pillow turns each colour plane, which it can hold at 16 bits.
    upright = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # Image.Transpose: 0 and 1 mirror, 2 to 4 rotate, 5, 6
    turned = [Image.fromarray(values[..., i]) for i in range(3)]
    turned = [plane.transpose(upright[orientation]) if orientation > 1 else plane for plane in turned]
    expected = planes(np.stack([np.asarray(plane) for plane in turned], -1), 65535)
    torch.testing.assert_close(images.read(tmp_path / name), expected, rtol=0, atol=0)


def test_damaged_exif_does_not_cost_the_picture(tmp_path):
    photo = Image.fromarray(photos_of_skimage.chelsea()[:16, :16])
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(tmp_path / "a.webp", exif=exif, lossless=True)
    broken = saved(tmp_path, (tmp_path / "a.webp").read_bytes().replace(b"MM\0*", b"MX\0*"), "b.webp")
    torch.testing.assert_close(images.read(broken), planes(np.asarray(photo), 255), rtol=0, atol=0)


# ---- what is refused, and how ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty .* download or export it again"),
        (b"<!DOCTYPE html><title>404</title>", "not a PNG.* but a web page .* check where it came from"),
        (b"\n <html></html>", "but a web page"),
        (b"GIF89a" + bytes(40), "but a GIF"),
        (b"version https://git-lfs.github.com/spec/v1\n", "but a Git LFS pointer"),
        (b"RIFF\0\0\0\0WAVEfmt ", "but a sound or video"),
        (b"hello", "is not a PNG, JPEG, WebP, TIFF or BMP image: check"),
        (b"\x89PNG\r\n\x1a\n", "cannot be decoded"),
        (b"BM and nothing else", "cannot be decoded"),
        (b"II*\0\x08\0\0\0", "cannot be decoded"),
        (png(np.zeros((3, 0, 3), np.uint8), 2), "cannot be decoded|no pixels"),
    ],
)
def test_what_is_not_an_image(tmp_path, content, message):
    with pytest.raises(ImageError, match=message) as caught:
        images.read(saved(tmp_path, content))
    assert "\n" not in str(caught.value) and "BytesIO" not in str(caught.value)


def test_missing_files_folders_and_pipes(tmp_path):
    saved(tmp_path, b"x", "file")
    os.mkfifo(tmp_path / "pipe")
    for name, message in {
        "a.png": "does not exist: check",
        "file/a.png": "does not exist: check",
        ".": "is a folder: name one image",
        "pipe": "is a device or pipe",
        "x" * 300: "cannot be opened",
        "a\0b": "cannot be opened",
    }.items():
        with pytest.raises(ImageError, match=message):
            images.read(tmp_path / name)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_a_file_that_may_not_be_read(tmp_path):
    path = saved(tmp_path, png(np.zeros((3, 3, 3), np.uint8), 2))
    path.chmod(0)
    root = os.geteuid() == 0  # who may read anything: become nobody for the test
    if root:
        os.seteuid(65534)
    try:
        with pytest.raises(ImageError, match="may not be read: change its permissions"):
            images.read(path)
    finally:
        if root:
            os.seteuid(0)


def test_a_permission_that_is_only_noticed_on_opening(tmp_path, monkeypatch):
    path = saved(tmp_path, png(np.zeros((3, 3, 3), np.uint8), 2))

    def refuse(*args, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(ImageError, match="may not be read"):
        images.read(path)


def test_memory_that_runs_out_is_said(tmp_path, monkeypatch):
    def no_memory(*args, **options):
        raise MemoryError

    path = saved(tmp_path, png(np.zeros((3, 3, 3), np.uint8), 2))
    monkeypatch.setattr(np, "divide", no_memory)
    with pytest.raises(ImageError, match="does not fit into memory: close other programs"):
        images.read(path)


def encoded(kind: str, random) -> bytes:
    photo = photos_of_skimage.chelsea()[:64, :80]
    deep = noise(random, 64, 80, 3, dtype=np.uint16)
    stream = io.BytesIO()
    if kind == "png16":
        return png(deep, 2)
    if kind.startswith("tiff16"):
        tifffile.imwrite(stream, deep, photometric="rgb", compression="zlib" if kind.endswith("z") else None)
    elif kind == "tiff8z":
        tifffile.imwrite(stream, photo, photometric="rgb", compression="zlib")
    else:
        Image.fromarray(photo).save(stream, kind)
    return stream.getvalue()


KINDS = ["png", "jpeg", "webp", "bmp", "tiff", "tiff8z", "png16", "tiff16", "tiff16z"]


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_files_give_one_sentence_and_print_nothing(tmp_path, random, kind, capfd):
    content = encoded(kind, random)
    images.read(saved(tmp_path, content))
    for length in [9, 16, 30, 60, len(content) // 4, len(content) // 2, len(content) * 9 // 10]:
        with pytest.raises(ImageError, match=r"^\S+ (cannot be decoded|is not a PNG)[^\n]+\.$"):
            images.read(saved(tmp_path, content[:length]))
    if kind == "png16":  # all pixels are there, but nothing says that they are
        with pytest.raises(ImageError, match="ends too early"):
            images.read(saved(tmp_path, content[:-3]))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_give_a_picture_or_an_image_error(tmp_path, random, kind):
    content, refused = encoded(kind, random), 0
    for _ in range(60):
        damaged = bytearray(content)
        header = random.random() < 0.7
        for _ in range(random.integers(1, 4)):
            damaged[random.integers(4, min(400, len(content)) if header else len(content))] = random.integers(256)
        try:
            image = images.read(saved(tmp_path, bytes(damaged)), max_pixels=10**6)
            assert image.shape[0] == 3 and image.min() >= 0 and image.max() <= 1
        except ImageError:
            refused += 1
    assert refused > 0 or kind in ("bmp", "tiff", "tiff16")  # uncompressed pixels have no wrong values


def test_too_many_pixels_are_refused_by_the_header(tmp_path):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    message = "has 100000 x 100000 pixels, more than the limit of 268435456: use a smaller"
    with pytest.raises(ImageError, match=message):
        images.read(saved(tmp_path, bomb))
    tiff = encoded("tiff16", np.random.default_rng(0))
    tiff = tiff.replace(struct.pack("<HHII", 256, 3, 1, 80), struct.pack("<HHII", 256, 4, 1, 10**8))
    tiff = tiff.replace(struct.pack("<HHII", 256, 4, 1, 80), struct.pack("<HHII", 256, 4, 1, 10**8))
    with pytest.raises(ImageError, match="has 100000000 x 64 pixels"):
        images.read(saved(tmp_path, tiff, "a.tif"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_limit_is_inclusive_and_ours_alone(tmp_path, random, kind, monkeypatch):
    path = saved(tmp_path, encoded(kind, random))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # Pillow itself would refuse everything
    assert images.read(path, max_pixels=64 * 80).shape == (3, 64, 80)
    with pytest.raises(ImageError, match="has 80 x 64 pixels, more than the limit of 5119"):
        images.read(path, max_pixels=64 * 80 - 1)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_threads_leave_the_process_as_it_was(tmp_path, random):
    paths = [saved(tmp_path, encoded(kind, random), kind) for kind in KINDS]
    paths.append(saved(tmp_path, encoded("tiff16z", random)[:-500], "broken"))
    opencv_log = getattr(cv2.utils, "logging", cv2)  # OpenCV 5, and 4
    before = Image.MAX_IMAGE_PIXELS, list(warnings.filters), opencv_log.getLogLevel()
    failures = []

    def work():
        for path in paths * 3:
            try:
                images.read(path)
            except ImageError:
                if path.name != "broken":
                    failures.append(path)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert before == (Image.MAX_IMAGE_PIXELS, list(warnings.filters), opencv_log.getLogLevel())
    assert not logging.getLogger("tifffile").disabled
