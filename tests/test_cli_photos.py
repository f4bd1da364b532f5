"""`restore denoise` on good and bad photos."""

import pytest
import torch

from restore_lib import cli, images, metrics
from restore_lib.cli_photos import _nearest
from restore_lib.denoising import recipes
from restore_lib.denoising.denoiser import Denoiser
from restore_lib.errors import CheckpointError
from restore_lib.training import checkpoints
from restore_lib.training.architectures import describe
from restore_lib.training.cards import Card

RULE = metrics.Protocol(channels="rgb", border=0, quantize=True)


def save(name, recipe, folder, network=None, steps=10):
    network = network or Denoiser(width=4)
    about = {"name": name, "recipe": recipe, "tier": "smoke", "steps": steps, "seed": 0, "dataset": "embedded"}
    about |= {"dataset_hash": "0" * 64, "architecture": describe(Denoiser, width=4), "versions": {"torch": "2"}}
    about |= {"device": "cpu", "date": "2026-01-02T03:04:05Z", "commit": "0" * 40, "licence": "MIT"}
    checkpoints.save_checkpoint(network, Card(**about), folder)


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder of checkpoints of its own."""
    monkeypatch.setattr(checkpoints, "checkpoints_folder", lambda: tmp_path / "shelf")
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
    network = Denoiser(width=4)
    torch.nn.init.zeros_(network.last.weight)
    torch.nn.init.zeros_(network.last.bias)
    return network


@pytest.mark.parametrize(("name", "size"), [("a.png", (50, 61)), ("b.jpg", (12, 12)), ("c d.tif", (33, 90))])
def test_a_photo_of_any_size_and_kind_comes_back(name, size, shelf, tmp_path, rng, capsys):
    save("denoiser-25-cpu", "denoiser-25", shelf, identity())
    photo = flat_photo(tmp_path / name, 20, rng, size)
    assert restore("denoise", photo, "--sigma", "25") == 0
    result = tmp_path / f"{photo.stem}-denoised.png"
    assert metrics.psnr(images.read(result), images.read(photo), RULE) > 100  # the identity
    assert "sigma 25, by denoiser-25-cpu" in capsys.readouterr().out


def test_the_strength_is_estimated(shelf, tmp_path, rng, capsys):
    for sigma in (15, 25, 50):
        save(f"denoiser-{sigma}-cpu", f"denoiser-{sigma}", shelf, identity())
    photo = flat_photo(tmp_path / "n.png", 22, rng, (200, 200))
    assert restore("denoise", photo, "--output", tmp_path / "out.png") == 0
    said = capsys.readouterr().out
    assert "(estimated), by denoiser-25-cpu" in said and (tmp_path / "out.png").exists()
    assert 20 < float(said.split("sigma ")[1].split(" ")[0]) < 24


def test_the_nearest_and_longest_trained_is_taken(shelf):
    for name, steps in (("denoiser-25-cpu", 10), ("denoiser-25-gpu", 20), ("denoiser-50-cpu", 99)):
        save(name, name.rpartition("-")[0], shelf, steps=steps)
    assert [_nearest(s) for s in (26.0, 200.0, 0.0)] == ["denoiser-25-gpu", "denoiser-50-cpu", "denoiser-25-gpu"]


def test_what_is_wrong_is_said_in_one_sentence(shelf, tmp_path, rng, capsys):
    photo = flat_photo(tmp_path / "n.png", 20, rng)
    tiny = flat_photo(tmp_path / "tiny.png", 20, rng, (11, 40))
    text = tmp_path / "text.png"
    text.write_text("no photo")
    with pytest.raises(CheckpointError, match="restore train denoiser-25"):
        _nearest(25.0)
    save("denoiser-25-cpu", "denoiser-25", shelf)
    cases = {
        ("denoise", photo, "--sigma", "much"): "number from 0 to 255, or auto",
        ("denoise", photo, "--sigma", "-3"): "number from 0 to 255",
        ("denoise", photo, "--sigma", "nan"): "number from 0 to 255",
        ("denoise", tmp_path / "gone.png"): "does not exist",
        ("denoise", tiny): "smaller than 12 x 12",
        ("denoise", text): "text.png",
        ("denoise", photo, "--checkpoint", "denoiser-26-cpu"): "did you mean denoiser-25-cpu",
        ("denoise", photo, "--output", tmp_path / "out.doc"): "out.doc cannot be written",
    }
    for words, sentence in cases.items():
        assert restore(*words) == 2, words
        error = capsys.readouterr().err
        assert sentence in error and error.count("\n") == 1, error
    assert not list(tmp_path.glob("*-denoised.png"))


def test_every_level_of_the_book_has_a_recipe():
    assert sorted({recipe().sigma for recipe in recipes.DENOISERS}) == [15, 25, 30, 35, 45, 50, 60]
