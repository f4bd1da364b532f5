"""A photo as its file holds it: the pixels, and what has to travel with them when they are restored.

:func:`read` and :func:`write` keep transparency, depth, grey, the colour profile, resolution and what the camera wrote
(EXIF). What a file cannot hold is named in a list, never dropped in silence. Tensors alone are read by
:func:`restore_lib.images.read`.
"""

import contextlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageCms
from torch import Tensor

from restore_lib import decoders, images, resampling
from restore_lib.errors import ImageError
from restore_lib.files import atomic_write

CAMERA, PLACE = 0x8769, 0x8825  # lists of tags below the first one: of the exposure, and of GPS
WIDTH, HEIGHT = 0xA002, 0xA003  # of the picture, among those of the exposure
RESOLUTION = (0x011A, 0x011B, 0x0128)  # across, down, and the unit: 2 is the inch, 3 the centimetre
#: Tags that say what the photo is, not how its file is laid out: description, maker, model, software, date, artist,
#: host computer, copyright, rating, and Windows' title, comment, author, keywords and subject.
DESCRIPTIVE = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C, 0x4746, 0x4749, 0x8298, *range(0x9C9B, 0x9CA0))
SPACES = {"RGB": 3, "GRAY": 1}  # of colour profiles, and the channels that they are for
Tags = dict[int, Any]


@dataclass(frozen=True)
class Photo:
    """A picture and what travels with it.

    Attributes
    ----------
    image : Tensor
        (3, H, W) RGB or (1, H, W) grey, float32 in [0, 1], upright.
    alpha : Tensor, optional
        (1, H, W) in [0, 1], 1 where it is opaque.
    bits : {8, 16}
        Bits a sample of the file.
    profile : bytes
        ICC profile of the colours; empty where there is none, and sRGB is meant.
    tags : dict
        EXIF, by number: what describes the photo; ``CAMERA`` and ``PLACE`` hold dicts of their own.
    dpi : (float, float), optional
        Pixels an inch, across and down.
    lost : tuple of str
        What the file holds and this does not.
    name : str
        Of the file, for messages.
    """

    image: Float[Tensor, "c h w"]
    alpha: Float[Tensor, "1 h w"] | None = None
    bits: int = 8
    profile: bytes = b""
    tags: Tags = field(default_factory=dict)
    dpi: tuple[float, float] | None = None
    lost: tuple[str, ...] = ()
    name: str = ""

    @property
    def rgb(self) -> Float[Tensor, "3 h w"]:
        """Three channels for a network; what lies under transparent pixels is the nearest visible colour."""
        image = self.image.expand(3, -1, -1)
        if self.alpha is None or not 0 == self.alpha.min() < self.alpha.max():
            return image
        from scipy.ndimage import distance_transform_edt

        hidden = self.alpha[0].numpy() == 0
        rows, columns = np.asarray(distance_transform_edt(hidden, return_distances=False, return_indices=True))
        return image[:, torch.from_numpy(rows), torch.from_numpy(columns)]


def read(path: str | os.PathLike, *, max_pixels: int = images.MAX_PIXELS) -> Photo:
    """Read a PNG, JPEG, WebP, TIFF or BMP file, as :func:`restore_lib.images.read` does, and what it says of itself.

    Raises
    ------
    ImageError
        As for :func:`restore_lib.images.read`.
    """
    path = Path(path)
    samples = decoders.decode_samples(path, max_pixels=max_pixels)
    colour, opacity = decoders.planes(samples)
    if samples.alpha == "premultiplied" and opacity is not None:
        colour = np.where(opacity > 0, colour / np.maximum(opacity, 1e-6), 1).clip(0, 1).astype(np.float32)
    alpha = None if opacity is None else torch.from_numpy(opacity)
    photo = Photo(torch.from_numpy(colour), alpha, 8 if samples.peak == 255 else 16, name=str(path))
    with decoders.quiet():  # Pillow opens no pixels of 16-bit grey with alpha, or floats
        for opened in (decoders.open_header, _words_of_tiff):
            with contextlib.suppress(Exception), opened(path) as picture:
                return described(photo, picture)
    return replace(photo, lost=("colour profile and EXIF, if any",))


def _words_of_tiff(path: Path) -> Image.Image:
    """An empty picture with what a TIFF, whose pixels Pillow does not open, says beside them."""
    import tifffile

    picture = Image.new("L", (1, 1))
    with tifffile.TiffFile(path) as tiff:
        tags = {tag.code: tag.value for tag in tiff.pages[0].tags}
        picture.n_frames = len(tiff.pages)  # pyright: ignore[reportAttributeAccessIssue]  as pictures of files have it
    exif = picture.getexif()
    for tag in (*DESCRIPTIVE, RESOLUTION[2]):
        if tag in tags:
            exif[tag] = tags[tag]
    if RESOLUTION[0] in tags and RESOLUTION[1] in tags:
        exif[RESOLUTION[0]], exif[RESOLUTION[1]] = (tags[tag][0] / tags[tag][1] for tag in RESOLUTION[:2])
    picture.info["icc_profile"] = tags.get(0x8773, b"")
    return picture


def of_picture(picture: Image.Image) -> Photo:
    """A PIL image of any mode that has a fixed range.

    Raises
    ------
    ImageError
        Its mode is ``I`` or ``F``.
    """
    if picture.mode in ("I", "F"):
        raise ImageError(f"A PIL image of mode {picture.mode} has no fixed range: give an array of floats in [0, 1].")
    deep = picture.mode.startswith("I;16")  # converted to RGB, its levels above 255 would all be white
    samples = decoders.Samples(np.asarray(picture, np.uint16)[..., None], 65535) if deep else None
    colour, opacity = decoders.planes(samples or decoders.pillow_samples(picture))
    alpha = None if opacity is None else torch.from_numpy(opacity)
    return described(Photo(torch.from_numpy(colour), alpha, 16 if deep else 8), picture)


def to_picture(photo: Photo) -> Image.Image:
    """A PIL image with profile, EXIF and resolution in its ``info``, of 8 bits, or 16 for deep grey."""
    deep = photo.bits == 16 and len(photo.image) == 1 and photo.alpha is None
    picture = Image.fromarray(_samples(photo, 16 if deep else 8))
    texts = {"icc_profile": photo.profile, "dpi": photo.dpi, "exif": _exif(photo).tobytes() if photo.tags else b""}
    picture.info.update({key: value for key, value in texts.items() if value})
    return picture


def described(photo: Photo, picture: Image.Image) -> Photo:
    """The same pixels with what a PIL image says beside them."""
    lost = list(photo.lost)
    more = _frames(picture) - 1
    lost += [f"{more} further picture{'s' if more > 1 else ''}, as only the first is taken"] if more > 0 else []
    lost += ["XMP"] if "xmp" in picture.info or 700 in getattr(picture, "tag_v2", ()) else []
    tags, dpi = {}, picture.info.get("dpi")
    try:
        exif = picture.getexif()
        tags = {tag: exif[tag] for tag in DESCRIPTIVE if tag in exif}
        parts = {part: dict(exif.get_ifd(part)) for part in (CAMERA, PLACE)}
        tags |= {
            part: {tag: value for tag, value in below.items() if tag != 0xA005}
            for part, below in parts.items()
            if below
        }
        if dpi is None and RESOLUTION[0] in exif:
            dpi = [float(exif[tag]) * (2.54 if exif.get(RESOLUTION[2]) == 3 else 1) for tag in RESOLUTION[:2]]
        _exif(Photo(photo.image, tags=tags)).tobytes()
    except Exception:  # on foreign bytes the reader, and the writer of what it has read, raise nearly anything
        tags, lost = {}, [*lost, "EXIF, which is damaged"]
    dpi = (float(dpi[0]), float(dpi[1])) if dpi and all(0 < number < 65536 for number in dpi) else None
    photo = replace(photo, tags=tags, dpi=dpi)
    return replace(_coloured(photo, picture, lost), lost=tuple(lost))


def _frames(picture: Image.Image) -> int:
    try:
        return getattr(picture, "n_frames", 1)
    except Exception:  # the list of frames is damaged; the first one is not
        return 1


def _coloured(photo: Photo, picture: Image.Image, lost: list[str]) -> Photo:
    """With the profile that the file names, if it is one for such colours; inks become sRGB, as no result has inks."""
    content = picture.info.get("icc_profile")
    if not content:
        return photo
    try:
        profile: Any = ImageCms.ImageCmsProfile(io.BytesIO(content))
        space = profile.profile.xcolor_space.strip()
        if space == "CMYK" and picture.mode == "CMYK":
            light: Any = ImageCms.profileToProfile(picture, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
            samples = decoders.pillow_samples(light)._replace(orientation=decoders.exif_orientation(picture))
            return replace(photo, image=torch.from_numpy(decoders.planes(samples)[0]))
    except Exception:  # little CMS tells no more than that it fails
        lost.append("colour profile, which is damaged")
        return photo
    if SPACES.get(space) == len(photo.image):
        return replace(photo, profile=content)
    lost.append(f"colour profile, which is for {space} and not for these pixels")
    return photo


def write(path: str | os.PathLike, photo: Photo, *, bits: int | None = None, quality: int = 95) -> list[str]:
    """Write a photo in the format that the suffix names, with all that the format holds.

    Parameters
    ----------
    path : str or path
        See :func:`restore_lib.images.write`, whose errors are raised.
    bits : {8, 16}, optional
        As many as the photo had, where the format has them.
    quality : int
        1 to 100, for JPEG and WebP.

    Returns
    -------
    list of str
        What of the photo the file does not hold.
    """
    path, lost = Path(path), list(photo.lost)
    form = images.check_format(path, bits or 8)
    bits = bits or (photo.bits if form in images.DEEP else 8)
    lost += ["16 bits a sample"] if bits < photo.bits else []
    if form == "JPEG" and photo.alpha is not None:
        photo = replace(photo, image=photo.image * photo.alpha + 1 - photo.alpha, alpha=None)
        lost += ["transparency, now white"]
    if form == "WEBP" and len(photo.image) == 1:
        lost += ["grey, stored as colour", *(["the colour profile, which is for grey"] if photo.profile else [])]
        photo = replace(photo, profile=b"")
    exif = _exif(photo, form == "WEBP")
    if form == "TIFF" and bits == 16 and (len(photo.image) == 3 or photo.alpha is not None):
        lost += ["exposure and place of the EXIF"] if photo.tags.keys() & {CAMERA, PLACE} else []
    elif form == "JPEG" and len(exif.tobytes()) > 65533:
        exif, lost = Image.Exif(), [*lost, "EXIF, too long for a JPEG"]
    samples = _samples(photo, bits)
    data = images.encode(path, samples, quality=quality, exif=exif, profile=photo.profile, dpi=photo.dpi)
    with atomic_write(path) as temporary:  # encoded in memory first: an error from here on is the disk's
        temporary.write_bytes(data)
    return lost


def _samples(photo: Photo, bits: int) -> np.ndarray:
    """uint8 or uint16, (H, W) or (H, W, C) with alpha last."""
    channels = [photo.image] if photo.alpha is None else [photo.image, photo.alpha]
    return images.quantize(torch.cat(channels), bits, alpha=True)


def _exif(photo: Photo, resolution: bool = False) -> Image.Exif:
    """The tags of a picture of this size that stands upright; with its resolution, for formats that have no other."""
    exif = Image.Exif()
    for tag, value in photo.tags.items():
        exif[tag] = dict(value) if isinstance(value, dict) else value
    for tag, side in ((WIDTH, 2), (HEIGHT, 1)):
        if tag in photo.tags.get(CAMERA, ()):
            exif[CAMERA][tag] = photo.image.shape[side]
    if photo.tags:
        exif[decoders.ORIENTATION] = 1
    if resolution and photo.dpi:
        for tag, value in zip(RESOLUTION, (*photo.dpi, 2), strict=True):
            exif[tag] = value
    return exif


@dataclass(frozen=True)
class Source:
    """A picture as the networks want it, and how to give a result back in its kind.

    Attributes
    ----------
    rgb : Tensor
        (B, 3, H, W) in [0, 1].
    name : str
        For messages.
    """

    rgb: Tensor
    name: str
    back: Callable[[Tensor], Any]

    def restored(self, results: list[Tensor]) -> Any:
        """The results, clipped to [0, 1], as the kind of picture that came in; what was grey is grey."""
        grey = [bool((one == one[:1]).all()) for one in self.rgb]  # networks of colours would tint it
        results = [r.mean(0, keepdim=True).expand_as(r) if g else r for r, g in zip(results, grey, strict=True)]
        return self.back(torch.stack(results).clamp(0, 1))


def source(image: object) -> Source:
    """Any kind of picture as a float tensor (B, 3, H, W) in [0, 1].

    Raises
    ------
    ImageError
        It is of no kind that is known, or its numbers lie outside [0, 1].
    """
    if isinstance(image, (str, os.PathLike)):
        return _of_photo(read(image), to_picture)
    if isinstance(image, Image.Image):
        return _of_photo(of_picture(image), to_picture)
    if isinstance(image, Photo):
        return _of_photo(image, lambda photo: photo)
    if isinstance(image, np.ndarray):
        return _of_array(image)
    if isinstance(image, Tensor):
        return _of_tensor(image)
    raise ImageError(f"A {type(image).__name__} is no picture: give a path, a PIL image, a NumPy array or a tensor.")


def _of_photo(photo: Photo, kind: Callable[[Photo], Any]) -> Source:
    def back(sr: Tensor) -> Any:
        size, alpha = sr.shape[-2:], photo.alpha
        if alpha is not None and alpha.shape[1:] != size:
            alpha = resampling.imresize(alpha, size=size).clamp(0, 1)
        return kind(replace(photo, image=sr[0, : len(photo.image)].cpu(), alpha=alpha))

    return Source(photo.rgb[None], photo.name or "The picture", back)


def _of_array(array: np.ndarray) -> Source:
    if array.ndim not in (2, 3) or array.shape[2:] not in ((), (1,), (3,)) or array.size == 0:
        raise ImageError(f"An array of shape {array.shape} is no picture: give (H, W, 3) in RGB, or (H, W) in grey.")
    if array.dtype.kind not in "uf" or array.dtype.itemsize > (2 if array.dtype.kind == "u" else 8):
        raise ImageError(f"An array of {array.dtype} is no picture: give uint8, uint16, or floats in [0, 1].")
    peak = float(np.iinfo(array.dtype).max) if array.dtype.kind == "u" else 1.0
    planes = torch.from_numpy(np.moveaxis(array.reshape(*array.shape[:2], -1), -1, 0).astype(np.float32) / peak)
    planar = _of_tensor(planes)

    def back(sr: Tensor) -> np.ndarray:
        values = cast(Tensor, planar.back(sr)).permute(1, 2, 0).cpu().numpy()  # (H, W, C)
        values = values.reshape(*values.shape[:2], *array.shape[2:])
        return (values * peak).round().astype(array.dtype) if peak > 1 else values.astype(array.dtype)

    return Source(planar.rgb, "The picture", back)


def _of_tensor(image: Tensor) -> Source:
    batch = image if image.ndim == 4 else image[None]
    if image.ndim not in (3, 4) or batch.shape[1] not in (1, 3) or image.numel() == 0:
        shape = tuple(image.shape)
        raise ImageError(f"A tensor of shape {shape} is no picture: give (3, H, W), (1, H, W) or (B, 3, H, W).")
    if image.dtype != torch.uint8 and not image.is_floating_point():
        raise ImageError(f"A tensor of {image.dtype} is no picture: give floats in [0, 1], or uint8.")
    values = batch.float() / 255 if image.dtype == torch.uint8 else batch.float()
    if not (torch.isfinite(values).all() and values.min() >= -1 and values.max() <= 2):  # noise may leave [0, 1]
        raise ImageError("The picture holds numbers far from [0, 1], or NaN: divide levels of 0 to 255 by 255 first.")

    def back(sr: Tensor) -> Tensor:
        sr = sr.mean(1, keepdim=True) if batch.shape[1] == 1 else sr
        sr = (sr * 255).round() if image.dtype == torch.uint8 else sr
        sr = sr.to(image.device, image.dtype)
        return sr if image.ndim == 4 else sr[0]

    return Source(values.expand(-1, 3, -1, -1), "The picture", back)
