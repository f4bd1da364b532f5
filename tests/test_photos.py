"""Every format beside every property that a photo can have: it travels, or it is named among what was lost."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms

import restore_lib as rl
from restore_lib import cli, images, photos
from restore_lib.errors import ImageError

FORMATS = (".png", ".jpg", ".webp", ".tif")
COPYRIGHT, DATE = 0x8298, 0x0132
CAMERA, TAKEN, WIDTH = 0x8769, 0x9003, 0xA002
PLACE, LATITUDE = 0x8825, 2


def profile(space="RGB", gamma=2.2) -> bytes:
    """A small ICC profile, version 2, made by hand: primaries wider than sRGB's, or grey."""

    def fixed(*numbers):
        return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)

    white = (0.9642, 1.0, 0.8249)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    name = b"made by hand\0"
    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + b"\0" * 78}
    tags |= {b"cprt": b"text\0\0\0\0" + name, b"wtpt": b"XYZ \0\0\0\0" + fixed(*white)}
    if space == "GRAY":
        tags[b"kTRC"] = curve
    else:
        xyz = {"r": (0.6097, 0.3111, 0.0195), "g": (0.2053, 0.6257, 0.0609), "b": (0.1492, 0.0632, 0.7446)}
        tags |= {f"{c}XYZ".encode(): b"XYZ \0\0\0\0" + fixed(*value) for c, value in xyz.items()}
        tags |= {f"{c}TRC".encode(): curve for c in "rgb"}
    table, body = struct.pack(">I", len(tags)), b""
    for tag, content in tags.items():
        content += b"\0" * (-len(content) % 4)
        table += tag + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(content))
        body += content
    head = struct.pack(
        ">I4sI4s4s4s", 132 + 12 * len(tags) + len(body), b"\0" * 4, 0x02400000, b"mntr", f"{space:4}".encode(), b"XYZ "
    )
    head += struct.pack(">6H4s", 2020, 1, 1, 0, 0, 0, b"acsp") + b"\0" * 28 + fixed(*white)
    return head.ljust(128, b"\0") + table + body


def levels(rng, *shape, peak=255, dtype=np.uint8):
    smooth = torch.nn.functional.interpolate(
        torch.rand(1, shape[-1], 4, 5, generator=rng), size=shape[:2], mode="bicubic"
    )
    return (smooth[0].permute(1, 2, 0).clamp(0, 1).numpy() * peak).round().astype(dtype)


def exif():
    tags = Image.Exif()
    tags[COPYRIGHT], tags[DATE] = "(c) Somebody", "2020:01:02 03:04:05"
    tags[CAMERA], tags[PLACE] = {TAKEN: "2019:12:31 23:59:59", WIDTH: 30}, {1: "N", LATITUDE: (47.0, 22.0, 30.0)}
    return tags.tobytes()


def deep_png(path, samples):
    """16-bit colour by hand, as Pillow writes none."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], 16, 2, 0, 0, 0))]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    parts = [struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def make(prop, path, rng):
    """A file with one property."""
    grey, colour = (Image.fromarray(levels(rng, 24, 30, n).squeeze()) for n in (1, 3))
    deep = levels(rng, 24, 30, 3, peak=65535, dtype=np.uint16)
    if prop == "16 bit":
        deep_png(path, deep) if path.suffix == ".png" else tifffile.imwrite(path, deep, photometric="rgb")
    elif "alpha" in prop:
        Image.fromarray(levels(rng, 24, 30, 2 if "grey" in prop else 4)).save(path)
    else:
        others = [Image.fromarray(levels(rng, 24, 30, 3)) for _ in range(2)]
        with_it = {
            "profile": {"icc_profile": profile()},
            "grey profile": {"icc_profile": profile("GRAY")},
            "EXIF": {"exif": exif()},
            "resolution": {"dpi": (300, 300)},
            "frames": {"save_all": True, "append_images": others},
        }
        (grey if "grey" in prop else colour).save(path, **with_it.get(prop, {}))


LOST = {
    "16 bit": "16 bits",
    "alpha": "transparency",
    "grey alpha": "transparency",
    "grey": "grey",
    "frames": "2 further pictures",
}


def held(prop, result: Image.Image, path) -> bool:
    """Whether a property is in the result, as other readers than ours see it."""
    tags = result.getexif()
    dpi = result.info.get("dpi") or (tags.get(0x011A, 0), tags.get(0x011B, 0))
    return {
        "plain": lambda: result.mode == "RGB" and not dict(tags).get(COPYRIGHT) and not result.info.get("icc_profile"),
        "profile": lambda: result.info.get("icc_profile") == profile(),
        "grey profile": lambda: result.mode == "L" and result.info.get("icc_profile") == profile("GRAY"),
        "grey": lambda: result.mode == "L",
        "alpha": lambda: result.mode == "RGBA",
        "grey alpha": lambda: result.mode in ("LA", "RGBA"),
        "16 bit": lambda: images.read(path).mul(255).frac().abs().max() > 0.01,
        "EXIF": lambda: (
            (tags.get(COPYRIGHT), tags.get(DATE), tags.get(0x0112)) == ("(c) Somebody", "2020:01:02 03:04:05", 1)
            and tags.get_ifd(CAMERA) == {TAKEN: "2019:12:31 23:59:59", WIDTH: result.width}
            and tags.get_ifd(PLACE)[LATITUDE] == (47.0, 22.0, 30.0)
        ),
        "resolution": lambda: dpi[0] == pytest.approx(300, abs=0.01) and dpi[1] == pytest.approx(300, abs=0.01),
        "frames": lambda: getattr(result, "n_frames", 1) == 3,
    }[prop]()


#: What a file can have, and in which formats.
PROPERTIES = {
    "plain": FORMATS,
    "profile": FORMATS,
    "grey profile": (".png", ".jpg", ".tif"),
    "grey": (".png", ".jpg", ".tif"),
    "alpha": (".png", ".webp", ".tif"),
    "grey alpha": (".png", ".tif"),
    "16 bit": (".png", ".tif"),
    "EXIF": FORMATS,
    "resolution": (".png", ".jpg", ".tif"),
    "frames": (".png", ".webp", ".tif"),
}


@pytest.mark.parametrize(("prop", "source"), [(prop, source) for prop in PROPERTIES for source in PROPERTIES[prop]])
@pytest.mark.parametrize("target", FORMATS)
def test_it_travels_or_is_told(prop, source, target, tmp_path, rng):
    path, out = tmp_path / f"a{source}", tmp_path / f"b{target}"
    make(prop, path, rng)
    photo = photos.read(path)
    lost = photos.write(out, photo, quality=100)
    with Image.open(out) as result:
        result.load()
        kept = held(prop, result, out)
    told = [words for words in lost if LOST.get(prop, "nothing") in words]
    if prop == "grey profile" and target == ".webp":
        told = [words for words in lost if "profile" in words]
    assert kept != bool(told), (kept, lost)
    assert prop != "plain" or not lost  # no false alarm
    if target != ".jpg" and "alpha" not in prop:  # and the picture is the same
        step = 1 / 255 if prop == "16 bit" and target == ".webp" else 1e-6
        assert (images.read(out) - images.read(path)).abs().max() <= step
    if "alpha" in prop and kept:
        assert torch.equal(photos.read(out).alpha, photo.alpha)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_deep_photos_keep_everything_at_once(count, suffix, tmp_path, rng):
    image = torch.rand(3 if count > 2 else 1, 20, 26, generator=rng)
    alpha = torch.rand(1, 20, 26, generator=rng) if count % 2 == 0 else None
    tags = {COPYRIGHT: "(c) me", DATE: "2021:02:03 04:05:06"}
    icc = profile("RGB" if count > 2 else "GRAY")
    photo = photos.Photo(image, alpha, 16, icc, tags, (240.0, 240.0))
    assert photos.write(tmp_path / f"a{suffix}", photo) == []
    back = photos.read(tmp_path / f"a{suffix}")
    for wanted, found in ((image, back.image[: len(image)]), (alpha, back.alpha)):
        assert (wanted is None and found is None) or (wanted - found).abs().max() <= 0.5 / 65535 + 1e-7
    assert back.bits == 16 and back.dpi == pytest.approx((240, 240), abs=0.02)
    assert {tag: back.tags[tag] for tag in tags} == tags
    assert back.profile == icc or (suffix, count) == (".png", 2)  # OpenCV has no 16-bit grey with alpha


def test_ink_becomes_light_with_the_files_own_profile_or_the_profile_is_named(tmp_path, rng):
    inks = Image.fromarray(levels(rng, 24, 30, 4), mode=None).convert("RGB").convert("CMYK")
    inks.save(tmp_path / "wrong.jpg", icc_profile=profile(), quality=100)  # a profile of RGB on inks
    photo = photos.read(tmp_path / "wrong.jpg")
    assert photo.profile or "profile" in " ".join(photo.lost)
    inks.save(tmp_path / "bad.jpg", icc_profile=b"\0" * 200)
    assert "colour profile, which is damaged" in photos.read(tmp_path / "bad.jpg").lost


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_photo_stands_upright_and_says_so(orientation, tmp_path, rng):
    tags = Image.Exif()
    tags[0x0112], tags[COPYRIGHT] = orientation, "(c)"
    Image.fromarray(levels(rng, 10, 30, 3)).save(tmp_path / "a.png", exif=tags)
    photos.write(tmp_path / "b.png", photos.read(tmp_path / "a.png"))
    assert torch.equal(images.read(tmp_path / "b.png"), images.read(tmp_path / "a.png"))
    with Image.open(tmp_path / "b.png") as result:
        assert result.getexif()[0x0112] == 1


def test_damaged_exif_costs_the_exif_alone(tmp_path, rng):
    picture = Image.fromarray(levels(rng, 20, 20, 3))
    bad = b"Exif\0\0MM\0*\0\0\0\x08\0\x05" + bytes(torch.randint(256, (40,), generator=rng).tolist())
    picture.save(tmp_path / "a.png", exif=bad)
    photo = photos.read(tmp_path / "a.png")
    photos.write(tmp_path / "b.jpg", photo)
    assert images.read(tmp_path / "b.jpg").shape == (3, 20, 20)


def test_the_colours_under_transparent_pixels_are_those_beside_them():
    image, alpha = torch.zeros(3, 9, 9), torch.zeros(1, 9, 9)
    image[:, :, :4], alpha[:, :, :4] = 0.8, 1
    assert (photos.Photo(image, alpha).rgb == 0.8).all()
    assert (photos.Photo(image, torch.zeros(1, 9, 9)).rgb == image).all()


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "I;16"])
def test_a_pil_image_keeps_mode_and_what_it_says(mode, rng):
    values = levels(rng, 20, 26, 4)
    picture = (
        Image.fromarray(values[..., 0].astype(np.uint16) * 257)
        if mode == "I;16"
        else Image.fromarray(values).convert("RGB" if mode == "P" else mode).convert(mode)
    )
    picture.info |= {"icc_profile": profile("GRAY" if mode in ("L", "LA", "I;16") else "RGB"), "dpi": (72.0, 72.0)}
    back = photos.to_picture(photos.of_picture(picture))
    assert back.mode == {"P": "RGB"}.get(mode, mode)
    assert back.info["icc_profile"] == picture.info["icc_profile"] and back.info["dpi"] == (72.0, 72.0)
    if mode != "P":
        assert np.array_equal(np.asarray(back), np.asarray(picture))
    with pytest.raises(ImageError, match="no fixed range"):
        photos.of_picture(Image.new("F", (20, 20)))


def test_commands_and_functions_carry_them(tmp_path, rng, capsys):
    source = tmp_path / "a.png"
    Image.fromarray(levels(rng, 24, 30, 4)).save(source, icc_profile=profile(), exif=exif(), dpi=(300, 300))
    for verb, suffixes in ((("denoise", "--sigma", "25"), FORMATS[:2]), (("upscale", "--scale", "2"), FORMATS[1:])):
        for suffix in suffixes:
            with pytest.raises(SystemExit) as end:
                cli.main([verb[0], str(source), *verb[1:], "--out", str(tmp_path / f"{verb[0]}{suffix}")])
            assert end.value.code == 0
            said = capsys.readouterr().err
            assert said == (
                f"restore: {tmp_path / verb[0]}.jpg does not hold all of the photo: transparency, now white.\n"
                if suffix == ".jpg"
                else ""
            )
            with Image.open(tmp_path / f"{verb[0]}{suffix}") as result:
                assert result.info["icc_profile"] == profile() and result.getexif()[COPYRIGHT] == "(c) Somebody"
                assert result.mode == ("RGB" if suffix == ".jpg" else "RGBA")
                assert result.getexif().get_ifd(CAMERA)[WIDTH] == result.width
    result = rl.denoise(source, 25)
    assert result.mode == "RGBA" and result.info["icc_profile"] == profile()
    assert ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile()))).startswith("made by hand")


def test_a_coloured_file_that_shows_grey_stays_grey(tmp_path, rng):
    grey = levels(rng, 24, 30, 1)
    for values in (
        np.repeat(grey, 3, axis=-1),
        (np.indices((24, 30)).sum(0) % 2 * 255)[..., None].repeat(3, -1).astype(np.uint8),
    ):
        for restored in (rl.denoise(values, 25), rl.upscale(values, 2)):
            assert (np.ptp(restored.astype(int), axis=-1) == 0).all()
