"""`import restore_lib as rl`: one call restores a picture of any kind, and gives back the same kind."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

import restore_lib as rl
from restore_lib import api
from restore_lib.errors import CheckpointError, DataError, ImageError, RestoreError, ResultWarning
from restore_lib.pretrained import checkpoints


@pytest.fixture
def photo(rng):
    """A smooth colour picture of 8-bit levels, (3, 40, 52) in [0, 1]."""
    coarse = torch.rand(1, 3, 5, 6, generator=rng)
    smooth = torch.nn.functional.interpolate(coarse, size=(40, 52), mode="bicubic")[0]
    return (smooth.clamp(0, 1) * 255).round() / 255


def kinds(photo, folder):
    """The same picture in every kind, and how to compare a result with (3, H, W) in [0, 1]."""
    levels = rl.images.to_uint8(photo)  # (H, W, 3)
    rl.images.write(folder / "photo.png", photo)
    deep = (levels.astype(np.uint16) * 257).astype(np.uint16)
    return {
        "tensor": photo,
        "batch": photo[None].repeat(2, 1, 1, 1),
        "uint8 tensor": torch.from_numpy(levels).permute(2, 0, 1).contiguous(),
        "double": photo.double(),
        "uint8": levels,
        "uint16": deep,
        "float32": levels.astype(np.float32) / 255,
        "float64": levels / 255,
        "PIL": Image.fromarray(levels),
        "path": folder / "photo.png",
        "text": str(folder / "photo.png"),
    }


def as_floats(result):
    if isinstance(result, Image.Image):
        result = np.asarray(result)
    if isinstance(result, np.ndarray):
        peak = np.iinfo(result.dtype).max if result.dtype.kind == "u" else 1
        return torch.from_numpy(np.moveaxis(result.astype(float) / peak, -1, 0))
    result = result.double() / 255 if result.dtype == torch.uint8 else result.double()
    return result[0] if result.ndim == 4 else result


@pytest.mark.parametrize("restore", [lambda x: rl.denoise(x, 15), lambda x: rl.upscale(x, 1.7, model="liif-cpu")])
def test_the_result_is_of_the_same_kind_and_the_same_picture(restore, photo, tmp_path):
    expected = restore(photo).double()
    for name, picture in kinds(photo, tmp_path).items():
        result = restore(picture)
        wanted = Image.Image if isinstance(picture, (str, type(tmp_path))) else type(picture)
        assert isinstance(result, wanted), name
        if isinstance(picture, (np.ndarray, torch.Tensor)):
            assert result.dtype == picture.dtype and result.ndim == picture.ndim, name
        torch.testing.assert_close(as_floats(result), expected, atol=0.51 / 255, rtol=0, msg=name)


def test_upscaling_is_what_the_network_answers(photo):
    network = rl.load("diinn-cpu")
    with torch.no_grad():
        expected = network(photo[None], (93, 111))[0].clamp(0, 1)
    torch.testing.assert_close(rl.upscale(photo, size=(93, 111)), expected, atol=2e-5, rtol=0)


def test_grey_pictures_stay_grey(photo):
    grey = rl.images.to_uint8(photo)[..., 0]
    assert rl.denoise(grey, 25).shape == grey.shape
    assert rl.denoise(photo[:1], 25).shape == (1, 40, 52)
    result = rl.upscale(Image.fromarray(grey), 2)
    assert (result.mode, result.size) == ("L", (104, 80))


def test_deep_pil_images_keep_their_levels(photo):
    levels = (photo[0].numpy() * 65535).round().astype(np.uint16)
    result = rl.upscale(Image.fromarray(levels), 2, model="liif-cpu")
    expected = rl.upscale(levels, 2, model="liif-cpu")
    assert result.mode == "I;16" and np.array_equal(np.asarray(result), expected) and expected.max() > 255
    with pytest.raises(ImageError, match="no fixed range"):
        rl.denoise(Image.new("F", (20, 20)))


def test_alpha_is_kept(photo):
    picture = Image.fromarray(rl.images.to_uint8(photo))
    mask = Image.new("L", picture.size, 255)
    mask.paste(0, (0, 0, 26, 40))
    picture.putalpha(mask)
    denoised, larger = rl.denoise(picture, 25), rl.upscale(picture, 2)
    assert np.array_equal(np.asarray(denoised.getchannel("A")), np.asarray(mask))
    assert larger.mode == "RGBA" and larger.size == (104, 80)
    alpha = np.asarray(larger.getchannel("A"))
    assert (alpha[:, :44] == 0).all() and (alpha[:, 60:] == 255).all()


def test_the_strength_of_the_noise_is_estimated(rng):
    clean = torch.full((3, 64, 64), 0.5)
    noisy = clean + 25 / 255 * torch.randn(clean.shape, generator=rng)
    torch.testing.assert_close(rl.denoise(noisy), rl.denoise(noisy, rl.noise.estimate(noisy)))
    assert (rl.denoise(noisy) - clean).square().mean() < (noisy - clean).square().mean() / 20


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        ("nothing-here.png", "does not exist"),
        (np.zeros((4, 5, 4)), "no picture: give"),
        (np.zeros((0, 5, 3)), "no picture: give"),
        (np.zeros((20, 20, 3), dtype=np.int64), "int64"),
        (np.full((20, 20, 3), 128.0), "divide levels"),
        (np.full((20, 20, 3), np.nan), "NaN"),
        (torch.zeros(20, 20), "no picture: give"),
        (torch.zeros(4, 20, 20), "no picture: give"),
        (torch.zeros(3, 20, 20, dtype=torch.int32), "int32"),
    ],
)
def test_what_is_no_picture_is_refused(picture, words):
    for function in (rl.denoise, rl.upscale, rl.estimate_kernel):
        with pytest.raises(RestoreError, match=words):
            function(picture)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: rl.denoise(x, -1), "from 0 to 255"),
        (lambda x: rl.denoise(x, float("nan")), "from 0 to 255"),
        (lambda x: rl.denoise(x[:, :5], 25), "smaller than 12 x 12"),
        (lambda x: rl.upscale(x, 0.5), "from 1 on"),
        (lambda x: rl.upscale(x, float("inf")), "from 1 on"),
        (lambda x: rl.upscale(x, 1e6), "choose a smaller scale"),
        (lambda x: rl.upscale(x, 2, size=(90, 90)), "not both"),
        (lambda x: rl.upscale(x, size=(10, 90)), "no smaller"),
        (lambda x: rl.upscale(x, size=(0, 90)), "at least one pixel"),
        (lambda x: rl.upscale(x, 3, model="rrdb-gan-both"), "enlarges by 4 only"),
        (lambda x: rl.estimate_kernel(x, 3), "give 2 or 4"),
        (lambda x: rl.estimate_kernel(x, steps=0), "from 1 on"),
        (lambda x: rl.estimate_kernel(x[None].repeat(2, 1, 1, 1)), "one picture"),
    ],
)
def test_numbers_out_of_range_are_refused(call, words, photo):
    with pytest.raises(ImageError, match=words):
        call(photo)


def test_a_network_for_another_purpose_is_refused_and_a_fitting_one_named(photo):
    for card in checkpoints.cards():
        if card.network in ("SmallVGG", "DeepLabLargeFOV", "DIINN", "RRDBNet"):
            with pytest.raises(CheckpointError, match="takes noise out of pictures, such as"):
                rl.denoise(photo, 25, model=card.name)
        if not api.enlarges(card):
            with pytest.raises(CheckpointError, match="enlarges pictures, such as"):
                rl.upscale(photo, model=card.name)
    with pytest.raises(DataError, match="did you mean diinn"):
        rl.upscale(photo, model="dinn")


def test_networks_trained_here_enlarge_by_name_of_recipe_or_checkpoint(photo):
    for name in ("rrdb-gan-both", "rrdb-gan-both-cpu"):
        assert rl.upscale(photo, model=name).shape == (3, 160, 208)


def test_importing_the_package_does_not_import_torch():
    code = "import sys, restore_lib as rl; assert 'torch' not in sys.modules; assert 'denoise' in dir(rl); rl.denoise"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="nonsense"):
        rl.nonsense  # noqa: B018


@pytest.mark.parametrize("kind", ["plain", "8 bit", "jpeg", "grey"])
def test_no_result_is_worse_than_the_photo(kind, rng):
    whole = rl.data.open("embedded")[0].image
    for _ in range(3):
        height, width = torch.randint(40, 160, (2,), generator=rng).tolist()
        top, left = (
            int(torch.randint(0, n, (), generator=rng)) for n in (whole.shape[1] - height, whole.shape[2] - width)
        )
        photo = whole[:, top : top + height, left : left + width]
        photo = photo[1:2].expand(3, -1, -1) if kind == "grey" else photo
        sigma = 75 * float(torch.rand((), generator=rng)) ** 2
        normal = torch.randn(photo.shape, generator=rng)
        noisy = photo + sigma / 255 * (normal[:1] if kind == "grey" else normal)
        if kind in ("8 bit", "jpeg"):
            noisy = rl.images.from_uint8(rl.images.to_uint8(noisy))
        noisy = rl.noise.jpeg(noisy, 90) if kind == "jpeg" else noisy
        for given in (sigma, None):
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always", ResultWarning)
                result = rl.denoise(noisy.clamp(0, 1), given)
            errors = [(x.clamp(0, 1) - photo).square().mean() for x in (result, noisy)]
            assert errors[0] <= errors[1] or told, (sigma, given, height, width)


def test_what_strength_cannot_do_is_told_and_a_size_that_stays(photo, rng):
    noisy = (photo + 20 / 255 * torch.randn(photo.shape, generator=rng)).clamp(0, 1)
    for sigma, model, words in (
        (0.5, None, "is asked to be taken out"),
        (200, None, "some of it may stay"),
        (20, "denoiser-50-cpu", "for 50: detail goes with it"),
        (40, "half-denoiser-15-cpu", "for 15: some of it may stay"),
    ):
        with pytest.warns(ResultWarning, match=words):
            result = rl.denoise(noisy, sigma, model=model)
        assert torch.equal(result, noisy) == (sigma < 1)
    with pytest.warns(ResultWarning, match="is found to be taken out"):
        assert torch.equal(rl.denoise(photo), photo)
    faint = (photo + 2.2 / 255 * torch.randn(photo.shape, generator=rng)).clamp(0, 1)
    with pytest.warns(ResultWarning, match="seems to be faint"):
        rl.denoise(faint)
    with pytest.warns(ResultWarning, match="stays 52 x 40"):
        assert torch.equal(rl.upscale(photo, 1), photo)


def test_enlarging_by_almost_nothing_is_interpolation(rng):
    photo = rl.images.centre_crop(rl.data.open("embedded")[0].image, 100)
    for side in torch.randint(60, 99, (3,), generator=rng).tolist():
        lr = rl.resampling.imresize(photo, size=(side, side)).clamp(0, 1)
        interpolated = rl.resampling.imresize(lr, size=(100, 100)).clamp(0, 1)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", ResultWarning)
            sr = rl.upscale(lr, size=(100, 100))
        assert bool(told) == (100 / side < 1.08) == torch.equal(sr, interpolated)
        assert (sr - photo).square().mean() < 1.05 * (interpolated - photo).square().mean()


def test_colours_can_be_kept(photo, rng):
    noisy = (photo + 0.2 * torch.randn(photo.shape, generator=rng)).clamp(0, 1)
    plain, kept = (rl.upscale(noisy, 2, model="liif-cpu", keep_colours=keep) for keep in (False, True))
    reduced = [rl.resampling.imresize(sr, size=(40, 52)) for sr in (plain, kept)]
    assert (reduced[1] - noisy).abs().mean() < 0.7 * (reduced[0] - noisy).abs().mean()
