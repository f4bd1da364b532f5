"""Writing, value ranges, colours and tiles, against other libraries, arithmetic and one pass over the whole image."""

import errno
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.color
import skimage.io
import tifffile
import torch
import torch.nn.functional as F
from PIL import Image
from skimage import data as photos_of_skimage

from restore_lib import images
from restore_lib.errors import ImageError, RestoreError


def uniform(rng, *shape: int, dtype=torch.float32) -> torch.Tensor:
    return torch.rand(*shape, generator=rng, dtype=dtype)


# ---- writing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.tif", "a.tiff", "a.webp"])
@pytest.mark.parametrize("photo", [photos_of_skimage.astronaut, photos_of_skimage.camera], ids=["colour", "grey"])
def test_lossless_formats_return_every_pixel(tmp_path, photo, name):
    array = photo()[:200, :301]
    image = images.from_uint8(array)
    path = tmp_path / "new folder" / name
    images.write(path, image, quality=100)
    assert torch.equal(images.read(path), image.expand(3, -1, -1))
    with Image.open(path) as stored:
        assert np.array_equal(np.asarray(stored.convert("RGB" if array.ndim == 3 else "L")), array)
        assert stored.mode == ("RGB" if array.ndim == 3 or "webp" in name else "L")
    if "webp" not in name:
        assert torch.equal(images.read(path, channels="native"), image)
        assert np.array_equal(skimage.io.imread(path), array)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("count", [1, 3])
def test_16_bits_survive(tmp_path, rng, count, name):
    values = torch.randint(65536, (count, 37, 53), generator=rng)
    image = (values.double() / 65535).float()
    images.write(tmp_path / name, image, bits=16)
    assert torch.equal(images.read(tmp_path / name, channels="native"), image)
    expected = values.permute(1, 2, 0).squeeze(-1).numpy()
    decoded = cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED)
    assert decoded.dtype == np.uint16
    assert np.array_equal(decoded if count == 1 else decoded[..., ::-1], expected)
    if name == "a.tif":
        assert np.array_equal(tifffile.imread(tmp_path / name), expected)


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg", "a.webp"])
def test_lossy_formats_stay_close_and_obey_quality(tmp_path, name):
    array = photos_of_skimage.coffee()[:200, :300]
    image = images.from_uint8(array)
    errors, sizes = [], []
    for quality in (30, 95):
        images.write(tmp_path / name, image, quality=quality)
        with Image.open(tmp_path / name) as stored:
            assert stored.format == ("WEBP" if "webp" in name else "JPEG")
            assert np.array_equal(np.asarray(stored), images.to_uint8(images.read(tmp_path / name)))
        errors.append((images.read(tmp_path / name) - image).square().mean().sqrt().item())
        sizes.append((tmp_path / name).stat().st_size)
    assert errors[1] < 0.02 and errors[1] < errors[0] and sizes[1] > sizes[0]


def test_jpeg_keeps_colour_at_full_resolution(tmp_path):
    image = torch.zeros(3, 32, 32)
    image[0, :, ::2] = image[2, :, 1::2] = 1  # red and blue columns, which chroma subsampling would mix
    images.write(tmp_path / "a.jpg", image, quality=100)
    assert (images.read(tmp_path / "a.jpg") - image).abs().max() < 0.1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_any_float_image_is_clipped_rounded_and_detached(tmp_path, rng, dtype):
    image = (3 * uniform(rng, 3, 9, 7) - 1).to(dtype).requires_grad_()
    images.write(tmp_path / "a.png", image)
    expected = np.rint(image.detach().double().clamp(0, 1).numpy() * 255)
    assert np.abs(images.read(tmp_path / "a.png").numpy() * 255 - expected).max() < 1e-4
    assert image.requires_grad


@pytest.mark.parametrize("bits", [8, 16])
def test_uint8_and_plain_planes_are_images_too(tmp_path, rng, bits):
    values = torch.randint(256, (3, 9, 7), generator=rng, dtype=torch.uint8)
    images.write(tmp_path / "a.png", values, bits=bits)
    assert torch.equal((images.read(tmp_path / "a.png") * 255).round().byte(), values)
    images.write(tmp_path / "b.png", values[0].float() / 255, bits=bits)
    assert torch.equal((images.read(tmp_path / "b.png", channels="native") * 255).round().byte(), values[:1])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_are_never_written(tmp_path, bad):
    image = torch.zeros(3, 4, 4)
    image[1, 2, 3] = bad
    for call in (lambda: images.write(tmp_path / "a.png", image), lambda: images.to_uint8(image)):
        with pytest.raises(ImageError, match="NaN or infinite values: find the step"):
            call()
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_said_before_anything_is(tmp_path):
    image = torch.zeros(3, 4, 4)
    for name in ("a.gif", "a", "a.png.txt"):
        with pytest.raises(ImageError, match=r"choose a name that ends in \.png, \.jpg"):
            images.write(tmp_path / name, image)
    with pytest.raises(ImageError, match=r"WEBP holds at most 16383 pixels a side; write \.png"):
        images.write(tmp_path / "a.webp", torch.zeros(1, 2, 16384))
    with pytest.raises(ImageError, match="JPEG holds at most 65500 pixels a side"):
        images.write(tmp_path / "a.jpg", torch.zeros(65501, 1))
    for options in ({"bits": 16}, {"bits": 12}, {"quality": 0}, {"quality": 101}):
        with pytest.raises(ValueError, match="choose"):
            images.write(tmp_path / "a.jpg", image, **options)
    for shape in ((2, 4, 4), (4, 4, 4), (1, 3, 4, 4), (3, 0, 4)):
        with pytest.raises(ValueError, match="shape"):
            images.write(tmp_path / "a.png", torch.zeros(shape))
    with pytest.raises(ValueError, match="dtype"):
        images.write(tmp_path / "a.png", torch.zeros(3, 4, 4, dtype=torch.int64))
    assert not list(tmp_path.iterdir())


def test_the_largest_sides_are_really_accepted(tmp_path):
    images.write(tmp_path / "a.webp", torch.zeros(1, 2, 16383))
    images.write(tmp_path / "a.jpg", torch.zeros(65500, 1))
    assert images.read(tmp_path / "a.webp").shape == (3, 2, 16383)
    assert images.read(tmp_path / "a.jpg").shape == (3, 65500, 1)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif"])
@pytest.mark.parametrize("stop", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch, name, stop):
    images.write(tmp_path / name, torch.zeros(3, 16, 16))
    old = (tmp_path / name).read_bytes()

    def half(self, data):
        with open(self, "wb") as stream:
            stream.write(data[: len(data) // 2])
        raise stop

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises((KeyboardInterrupt, RestoreError)) as caught:
        images.write(tmp_path / name, torch.ones(3, 16, 16))
    assert isinstance(caught.value, KeyboardInterrupt) or "disk is full" in str(caught.value)
    assert (tmp_path / name).read_bytes() == old
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_write_that_the_system_really_stops(tmp_path, rng):
    resource = pytest.importorskip("resource")
    images.write(tmp_path / "a.png", torch.zeros(3, 16, 16))
    old = (tmp_path / "a.png").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # no file may grow beyond 1000 bytes
    try:
        with pytest.raises(RestoreError, match="disk is full"):
            images.write(tmp_path / "a.png", uniform(rng, 3, 64, 64))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "a.png").read_bytes() == old
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_importing_loads_no_decoder_that_few_files_need():
    code = "import sys, restore_lib.images; print([name for name in ('cv2', 'tifffile') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


# ---- value ranges ---------------------------------------------------------------------------------------------------


def test_uint8_conversion_is_exact_both_ways():
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = images.from_uint8(values)
    assert image.shape == (1, 16, 16) and image.dtype == torch.float32
    assert np.array_equal(image.numpy()[0], (values / 255).astype(np.float32))
    assert np.array_equal(images.to_uint8(image), values)
    assert np.array_equal(images.to_uint8(image[0].double()), values)


def test_uint8_arrays_may_be_views_and_are_copied(rng):
    array = torch.randint(256, (9, 14, 3), generator=rng, dtype=torch.uint8).numpy()
    view = array[::-1, ::2]
    view.setflags(write=False)
    image = images.from_uint8(view)
    assert image.is_contiguous() and image.shape == (3, 9, 7)
    assert np.array_equal(images.to_uint8(image), view)
    image.zero_()
    assert array.any()


def test_halves_round_to_even_and_the_rest_is_clipped():
    image = torch.tensor([[[0.5, 1.5, 2.5, 253.5, -40.0, 300.0]]], dtype=torch.float64) / 255
    assert images.to_uint8(image).tolist() == [[0, 2, 2, 254, 0, 255]]


def test_arrays_that_are_no_images_are_refused():
    for array in (np.zeros((4, 4), np.float32), np.zeros((4, 4, 4), np.uint8), np.zeros(4, np.uint8)):
        with pytest.raises(ValueError, match="give uint8"):
            images.from_uint8(array)


# ---- colours --------------------------------------------------------------------------------------------------------


def test_ycbcr_is_scikit_images_and_matlabs(rng):
    x = uniform(rng, 2, 3, 11, 8, dtype=torch.float64)
    for rgb, ycbcr in zip(x, images.rgb_to_ycbcr(x), strict=True):
        expected = skimage.color.rgb2ycbcr(rgb.numpy(), channel_axis=0) / 255
        np.testing.assert_allclose(ycbcr.numpy(), expected, atol=1e-12)
    torch.testing.assert_close(images.rgb_to_y(x), images.rgb_to_ycbcr(x)[:, :1], rtol=0, atol=0)


def test_ycbcr_of_black_white_and_the_primaries():
    colours = torch.tensor([[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
    ycbcr = 255 * images.rgb_to_ycbcr(colours.T[:, :, None])[..., 0].T
    expected = [  # the standard's colour bars: Y 16..235, Cb and Cr 16..240
        [16, 128, 128],
        [235, 128, 128],
        [81.481, 90.203, 240],
        [144.553, 53.797, 34.214],
        [40.966, 240, 109.786],
    ]
    np.testing.assert_allclose(ycbcr.numpy(), expected, atol=1e-9)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_ycbcr_reverses(rng, batch, dtype, tolerance):
    x = uniform(rng, *batch, 3, 7, 6, dtype=dtype)
    back = images.ycbcr_to_rgb(images.rgb_to_ycbcr(x))
    assert back.dtype == dtype
    torch.testing.assert_close(back, x, rtol=0, atol=tolerance)


def test_colour_conversion_is_differentiable(rng):
    x = uniform(rng, 3, 2, 2, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(images.rgb_to_ycbcr, x)
    assert torch.autograd.gradcheck(images.ycbcr_to_rgb, x)
    images.rgb_to_y(x).sum().backward()
    expected = torch.tensor([65.481, 128.553, 24.966], dtype=torch.float64)[:, None, None] / 255
    torch.testing.assert_close(x.grad, expected.expand(3, 2, 2))


@pytest.mark.parametrize("name", ["baby", "butterfly", "woman"])
def test_y_of_the_real_photos_agrees_with_scikit_image(photos, name):
    found = sorted(photos.rglob(f"{name}*.png"))
    if not found:
        pytest.skip(f"{name}.png is not among the image sets")
    image = images.read(found[0])
    with Image.open(found[0]) as stored:
        array = np.asarray(stored.convert("RGB"))
    assert torch.equal(image, images.from_uint8(array))
    expected = skimage.color.rgb2ycbcr(array)[..., 0] / 255
    np.testing.assert_allclose(images.rgb_to_y(image)[0].numpy(), expected, atol=1e-6)


# ---- cropping and tiles ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 7])
def test_modcrop_cuts_at_the_bottom_and_right(rng, scale):
    x = uniform(rng, 2, 3, 23, 31)
    cropped = images.modcrop(x, scale)
    assert cropped.shape[-2:] == (23 // scale * scale, 31 // scale * scale)
    assert torch.equal(cropped, x[..., : cropped.shape[-2], : cropped.shape[-1]])


@pytest.mark.parametrize("scale", [0, -1, 24])
def test_modcrop_never_returns_nothing(scale):
    with pytest.raises(ValueError, match=f"multiples of {scale}"):
        images.modcrop(torch.zeros(3, 23, 31), scale)


@pytest.fixture(autouse=True)
def one_thread():
    """Images here have a few pixels: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def local(rng, radius: int, scale: int):
    """A non-linear function that commutes with shifts and sees exactly ``radius`` pixels to every side."""
    kernel = torch.randn(2, 3, 2 * radius + 1, 2 * radius + 1, generator=rng, dtype=torch.float64)
    mix = torch.randn(2 * scale**2, 2, 1, 1, generator=rng, dtype=torch.float64)

    def fn(x):
        return F.pixel_shuffle(F.conv2d(torch.tanh(F.conv2d(x, kernel, padding=radius)), mix), scale)

    return fn


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize(("tile", "overlap"), [(7, 0), (8, 1), (8, 3), (9, 4), (17, 5), (23, 11), (64, 16)])
@pytest.mark.parametrize("size", [(1, 1), (3, 40), (31, 26)])
def test_tiles_equal_one_pass_up_to_the_stated_radius(rng, size, tile, overlap, scale):
    fn = local(rng, overlap // 2, scale)
    x = uniform(rng, 2, 3, *size, dtype=torch.float64)
    result = images.tiled(fn, x, tile=tile, overlap=overlap, scale=scale)
    torch.testing.assert_close(result, fn(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(images.tiled(fn, x[0], tile=tile, overlap=overlap, scale=scale), result[0])


def test_tiles_differ_beyond_the_stated_radius_so_the_condition_is_sharp(rng):
    x = uniform(rng, 1, 3, 40, 40, dtype=torch.float64)
    fn = local(rng, 3, 1)
    error = (images.tiled(fn, x, tile=16, overlap=4) - fn(x)).abs()
    assert error.max() > 1e-3 and error[..., :5, :5].max() < 1e-12


def test_tiles_of_nearest_upsampling_and_a_convolution(rng):
    kernel = torch.randn(3, 3, 5, 5, generator=rng, dtype=torch.float64)
    x = uniform(rng, 1, 3, 37, 52, dtype=torch.float64)

    def fn(x):
        return F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), kernel, padding=2)

    torch.testing.assert_close(images.tiled(fn, x, tile=12, overlap=2, scale=2), fn(x), rtol=0, atol=1e-12)


def test_network_that_halves_the_size_twice_needs_multiples_as_documented(rng):
    x = uniform(rng, 1, 3, 36, 52, dtype=torch.float64)

    def fn(x):
        return F.interpolate(F.avg_pool2d(x, 4).tanh(), scale_factor=4, mode="nearest")

    torch.testing.assert_close(images.tiled(fn, x, tile=20, overlap=8), fn(x), rtol=0, atol=1e-12)
    assert (images.tiled(fn, x, tile=20, overlap=7) - fn(x)).abs().max() > 1e-3


def test_tiles_pass_smoothly_where_windows_disagree():
    calls = []

    def fn(x):  # every window has its own brightness: the hardest case for a seam
        calls.append(x.shape)
        return torch.full_like(x, float(len(calls) % 2))

    result = images.tiled(fn, torch.zeros(1, 1, 16, 200), tile=40, overlap=10)
    assert len(calls) > 4 and all(shape == (1, 1, 16, 40) for shape in calls)  # nothing larger is ever in memory
    steps = result.diff(dim=-1).abs()
    assert result.min() >= 0 and result.max() <= 1 and result.std() > 0.3
    assert 0.05 < steps.max() < 0.15  # a ramp of 10 pixels, where a seam would step by 1


def test_tiles_have_gradients_and_keep_the_dtype(rng):
    fn = local(rng, 1, 2)
    x = uniform(rng, 1, 3, 13, 12, dtype=torch.float64).requires_grad_()
    images.tiled(fn, x, tile=8, overlap=3, scale=2).square().sum().backward()
    tiles = x.grad.clone()
    x.grad = None
    fn(x).square().sum().backward()
    torch.testing.assert_close(tiles, x.grad, rtol=0, atol=1e-9)
    assert images.tiled(lambda x: x, x.half(), tile=8, overlap=3).dtype == torch.float16


def test_tiles_that_cannot_be_laid_are_refused():
    x = torch.zeros(1, 3, 20, 20)
    for options in ({"tile": 8, "overlap": 4}, {"tile": 8, "overlap": -1}, {"tile": 0, "overlap": 0}):
        with pytest.raises(ValueError, match=r"need 0 <= 2 \* overlap < tile"):
            images.tiled(lambda x: x, x, **options)
    for fn in (lambda x: x[..., 1:], lambda x: x[0], lambda x: x > 0, lambda x: x.repeat(2, 1, 1, 1)):
        with pytest.raises(ValueError, match="fn gave"):
            images.tiled(fn, x, tile=8, overlap=2)
    with pytest.raises(ValueError, match="with pixels"):
        images.tiled(lambda x: x, x[..., :0], tile=8, overlap=2)


def test_the_centre_of_an_image_lies_in_its_middle(rng):
    photo = torch.rand(3, 23, 40, generator=rng)
    for side in range(1, 24):
        middle = photo[:, (23 - side) // 2 :, (40 - side) // 2 :][:, :side, :side]
        assert torch.equal(images.centre_crop(photo, side), middle) and middle.shape == (3, side, side)
    assert torch.equal(images.centre_crop(photo, 30), photo[:, :, 5:35])
    assert torch.equal(images.centre_crop(photo[None], (9, 100)), photo[None, :, 7:16])
    assert torch.equal(images.centre_crop(photo, 99), photo)
    mask = torch.arange(35).reshape(5, 7)
    assert images.centre_crop(mask, 3).tolist() == [[9, 10, 11], [16, 17, 18], [23, 24, 25]]
