"""`restore denoise` and `restore estimate-kernel` on good and bad photos."""

import numpy as np
import pytest
import torch
from PIL import Image

from restore_lib import cli, images, metrics, realsr
from restore_lib.api import denoiser_for
from restore_lib.denoising import recipes
from restore_lib.denoising.denoiser import Denoiser
from restore_lib.errors import CheckpointError
from restore_lib.pretrained import Card, checkpoints, describe

RULE = metrics.Protocol(channels="rgb", border=0, quantize=True)


def save(name, recipe, folder, network=None, steps=10):
    network = network or Denoiser(width=4, noise_map=True)
    about = {"name": name, "recipe": recipe, "tier": "smoke", "steps": steps, "seed": 0, "dataset": "embedded"}
    about |= {
        "dataset_hash": "0" * 64,
        "architecture": describe(Denoiser, width=4, noise_map=True),
        "versions": {"torch": "2"},
    }
    about |= {"device": "cpu", "date": "2026-01-02T03:04:05Z", "commit": "0" * 40, "licence": "MIT"}
    checkpoints.save_checkpoint(network, Card(**about), folder)


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder of checkpoints of its own."""
    monkeypatch.setattr(checkpoints, "search_folders", lambda: [tmp_path / "shelf"])
    return tmp_path / "shelf"


def flat_photo(path, sigma, rng, size=(50, 61)):
    noisy = 0.5 + sigma / 255 * torch.randn(3, *size, generator=rng)
    images.write(path, noisy)
    return path


def restore(*words):
    with pytest.raises(SystemExit) as end:
        cli.main([str(word) for word in words])
    return end.value.code


def identity():
    """A denoiser that leaves the photo as it is."""
    network = Denoiser(width=4, noise_map=True)
    torch.nn.init.zeros_(network.last.weight)
    torch.nn.init.zeros_(network.last.bias)
    return network


@pytest.mark.parametrize(("name", "size"), [("a.png", (50, 61)), ("b.jpg", (12, 12)), ("c d.tif", (33, 90))])
def test_a_photo_of_any_size_and_kind_comes_back(name, size, shelf, tmp_path, rng, capsys):
    save("denoiser-all-cpu", "denoiser-all", shelf, identity())
    photo = flat_photo(tmp_path / name, 20, rng, size)
    assert restore("denoise", photo, "--sigma", "25") == 0
    result = tmp_path / f"{photo.stem}-denoised.png"
    assert metrics.psnr(images.read(result), images.read(photo), RULE) > 100  # the identity
    assert "sigma 25, by denoiser-all-cpu" in capsys.readouterr().out


def test_the_strength_is_estimated(shelf, tmp_path, rng, capsys):
    save("denoiser-all-cpu", "denoiser-all", shelf, identity())
    photo = flat_photo(tmp_path / "n.png", 22, rng, (200, 200))
    assert restore("denoise", photo, "--fast", "--out", tmp_path / "out.png") == 0
    said = capsys.readouterr().out
    assert "(estimated), by denoiser-all-cpu" in said and (tmp_path / "out.png").exists()
    assert 20 < float(said.split("sigma ")[1].split(" ")[0]) < 24


def test_the_one_for_all_strengths_that_was_trained_longest_is_taken(shelf):
    for name, steps in (("denoiser-all-cpu", 10), ("denoiser-all-gpu", 20), ("denoiser-50-cpu", 99)):
        save(name, name.rpartition("-")[0], shelf, steps=steps)
    assert (denoiser_for(), denoiser_for("denoiser-50-cpu")) == ("denoiser-all-gpu", "denoiser-50-cpu")


def test_what_is_wrong_is_said_in_one_sentence(shelf, tmp_path, rng, capsys):
    photo = flat_photo(tmp_path / "n.png", 20, rng)
    tiny = flat_photo(tmp_path / "tiny.png", 20, rng, (11, 40))
    text = tmp_path / "text.png"
    text.write_text("no photo")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(CheckpointError, match="restore train denoiser-all"):
        denoiser_for()
    save("denoiser-all-cpu", "denoiser-all", shelf)
    cases = {
        ("denoise", photo, "--sigma", "much"): "number from 0 to 255, or auto",
        ("denoise", photo, "--sigma", "-3"): "number from 0 to 255",
        ("denoise", photo, "--sigma", "nan"): "number from 0 to 255",
        ("denoise", tmp_path / "gone.png"): "does not exist",
        ("denoise", tiny): "smaller than 12 x 12",
        ("denoise", text): "text.png",
        ("denoise", ""): "is a folder: name one image file",
        ("denoise", "/"): "is a folder: name one image file",
        ("upscale", "."): "is a folder: name one image file",
        ("estimate-kernel", ""): "is a folder: name one image file",
        ("denoise", photo, "--out", tmp_path / f"{'x' * 252}.png"): "name of more than 255 bytes",
        ("denoise", photo, "--out", shelf.parent / "folder.png", "--overwrite"): "folder.png is a folder",
        ("denoise", photo, "--checkpoint", "denoiser-al-cpu"): "did you mean denoiser-all-cpu",
        ("denoise", photo, "--out", tmp_path / "out.doc"): "out.doc cannot be written",
        ("denoise", photo, "--out", text / "out.png"): "name another file with --out",
        ("denoise", photo, "--out", tiny): "exists already: add --overwrite, or name another file",
    }
    for words, sentence in cases.items():
        assert restore(*words) == 2, words
        error = capsys.readouterr().err
        assert sentence in error and error.count("\n") == 1, error
    assert not list(tmp_path.glob("*-denoised.png")) and images.read(tiny).shape[1:] == (11, 40)
    assert restore("denoise", photo, "--out", tiny, "--overwrite") == 0 and images.read(tiny).shape[1:] == (50, 61)


def test_every_level_of_the_book_has_a_recipe():
    assert sorted({recipe.sigma for recipe in recipes.DENOISERS}) == [15, 25, 30, 35, 45, 50, 60]


# kernels


def textured_photo(path, rng, size=(80, 90)):
    coarse = torch.rand(3, size[0] // 4, size[1] // 4, generator=rng)
    images.write(path, coarse.repeat_interleave(4, 1).repeat_interleave(4, 2))
    return path


def left_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_kernel_and_its_pictures_are_written_and_a_doubtful_one_is_called_so(tmp_path, rng, capsys):
    photo = textured_photo(tmp_path / "my photo.png", rng)
    assert restore("estimate-kernel", photo, "--steps", 4, "--out", tmp_path / "new" / "folder") == 0
    said = capsys.readouterr()
    assert said.err.startswith("restore: Do not trust this kernel: ") and said.err.count("\n") == 1
    names = [f"my photo-kernel{end}" for end in ("-figure.png", ".npy", ".png")]
    assert left_in(tmp_path / "new") == names and names[1] in said.out
    kernel = np.load(tmp_path / "new" / "folder" / names[1])
    assert kernel.sum() == pytest.approx(1) and kernel.ndim == 2
    # the picture is the kernel: squares of equal grey, the largest cell white, none below 0
    with Image.open(tmp_path / "new" / "folder" / names[2]) as picture:
        assert picture.mode == "L"
        grey = np.asarray(picture)
    cell = len(grey) // len(kernel)
    assert grey.shape == (cell * kernel.shape[0], cell * kernel.shape[1]) and cell >= 8
    expected = np.rint(255 * np.clip(kernel / kernel.max(), 0, 1))
    assert np.abs(grey - np.kron(expected, np.ones((cell, cell)))).max() <= 1
    assert min(images.read(tmp_path / "new" / "folder" / names[0]).shape[1:]) > 250


def test_options_reach_the_estimation(tmp_path, rng):
    photo = textured_photo(tmp_path / "a.png", rng, (80, 200))
    kernels = {}
    for words in ((), ("--seed", 1), ("--scale", 4), ("--restarts", 2)):
        assert restore("estimate-kernel", photo, "--steps", 3, "--overwrite", *words) == 0
        kernels[words] = np.load(tmp_path / "a-kernel.npy")
    first = kernels[()]
    assert not any(np.array_equal(first, found) for words, found in kernels.items() if words)
    twice = realsr.kernels.analytic_x4(torch.from_numpy(first))
    assert np.allclose(kernels["--scale", 4], twice.numpy())
    assert kernels["--restarts", 2].sum() == pytest.approx(1)


@pytest.mark.parametrize("kind", ["grey", "alpha", "cmyk", "16 bit"])
def test_photos_of_every_kind_are_taken(kind, tmp_path, rng):
    values = images.to_uint8(torch.rand(3, 20, 20, generator=rng).repeat_interleave(4, 1).repeat_interleave(4, 2))
    photo = tmp_path / ("a.tif" if kind in ("cmyk", "16 bit") else "a.png")
    if kind == "16 bit":
        images.write(photo, torch.from_numpy(values).permute(2, 0, 1) / 255, bits=16)
    else:
        mode = {"grey": "L", "alpha": "RGBA", "cmyk": "CMYK"}[kind]
        Image.fromarray(values).convert(mode).save(photo)
    assert restore("estimate-kernel", photo, "--steps", 2) == 0
    assert np.load(tmp_path / "a-kernel.npy").sum() == pytest.approx(1)


def bad_photos(folder, rng):
    """Photos and words that cannot lead to a kernel, and what is said of them."""
    photo = textured_photo(folder / "photo.png", rng)
    images.write(folder / "tiny.png", torch.rand(3, 65, 300, generator=rng))
    images.write(folder / "flat.png", torch.full((3, 90, 90), 0.4))
    across, down = (torch.rand(3, 1, 1, generator=rng) * torch.linspace(0, 1, 90) for _ in range(2))
    images.write(folder / "ramp.png", (across + down.mT) / 2)
    (folder / "text.png").write_text("no photo")
    (folder / "file").write_text("no folder")
    values = torch.rand(90, 90, generator=rng).numpy()
    values[3, 4] = np.nan
    Image.fromarray(values).save(folder / "nan.tif")
    return {
        ("gone.png",): "does not exist",
        ("text.png",): "text.png",
        ("tiny.png",): "at least 66 pixels",
        ("flat.png",): "flat",
        ("ramp.png",): "smooth gradients alone",
        ("nan.tif",): "nan.tif",
        (photo, "--out", folder / "file"): "name another folder with --out",
        (photo, "--out", folder / "file" / "deep"): "name another folder with --out",
        (photo, "--scale", "3"): "scale is 3: give 2 or 4",
        (photo, "--steps", "0"): "from 1 on",
        (photo, "--restarts", "-1"): "from 1 on",
        (photo, "--seed", "-1"): "from 0 on",
    }


def test_what_cannot_be_done_is_said_in_one_sentence_and_leaves_nothing(tmp_path, rng, capsys):
    cases = bad_photos(tmp_path, rng)
    before = left_in(tmp_path)
    for (name, *words), sentence in cases.items():
        assert restore("estimate-kernel", tmp_path / name, "--steps", 2, *words) == 2, name
        error = capsys.readouterr().err
        assert error.startswith("restore: ") and sentence in error and error.count("\n") == 1, error
    assert left_in(tmp_path) == before


def test_results_are_replaced_on_demand_only(tmp_path, rng, capsys):
    photo = textured_photo(tmp_path / "a.png", rng)
    (tmp_path / "a-kernel.png").write_text("precious")
    assert restore("estimate-kernel", photo, "--steps", 2) == 2
    assert "a-kernel.png exists already: add --overwrite" in capsys.readouterr().err
    assert (tmp_path / "a-kernel.png").read_text() == "precious" and len(left_in(tmp_path)) == 2
    assert restore("estimate-kernel", photo, "--steps", 2, "--overwrite") == 0
    assert images.read(tmp_path / "a-kernel.png").shape[1] > 100


@pytest.mark.parametrize("where", ["restore_lib.realsr.kernelgan.train", "restore_lib.plots.kernel_map"])
def test_stopping_leaves_nothing_behind(where, tmp_path, rng, monkeypatch, capsys):
    def stop(*words, **options):
        raise KeyboardInterrupt

    photo = textured_photo(tmp_path / "a.png", rng)
    monkeypatch.setattr(where, stop)
    assert restore("estimate-kernel", photo, "--steps", 2, "--out", tmp_path / "results") == 130
    assert "stopped; nothing was written" in capsys.readouterr().err
    assert left_in(tmp_path) == ["a.png"]


def test_of_a_large_photo_the_part_with_most_edges_is_taken(rng):
    size = [int(torch.randint(129, 300, (), generator=rng)) for _ in range(2)]
    photo = torch.full((3, *size), 0.5)
    assert images.sharpest_window(photo, side=300) is photo
    top, left = (int(torch.randint(0, n - 64, (), generator=rng)) for n in size)
    photo[:, top : top + 64, left : left + 64] = torch.rand(3, 64, 64, generator=rng)
    part = images.sharpest_window(photo, side=128)
    assert part.shape == (3, 128, 128)
    inside = (part != 0.5).float().mean() * 128**2 / 64**2
    assert inside > 0.99  # wherever it lies, at the border too


def test_strengths_without_a_denoiser_are_told_and_a_long_name_is_no_trouble(shelf, tmp_path, rng, capsys):
    save("denoiser-all-cpu", "denoiser-all", shelf, identity())
    photo = flat_photo(tmp_path / f"{'n' * 242}.png", 20, rng)
    for sigma, words in (("0", "stays as it is"), ("100", "some of it may stay"), ("20", "")):
        assert restore("denoise", photo, "--sigma", sigma, "--overwrite") == 0
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == bool(words)
    assert len((tmp_path / f"{'n' * 242}-denoised.png").name) == 255
