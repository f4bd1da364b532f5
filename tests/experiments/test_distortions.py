"""Distortions of equal squared error: equal they are, and each is what its name says."""

import json

import numpy as np
import pytest
import torch

from restore_lib import data
from restore_lib.experiments import find, load, protocols, run


@pytest.fixture
def photo(rng):
    return 0.15 + 0.7 * torch.rand(3, 48, 60, generator=rng).cumsum(-1) / 60


def test_every_distortion_has_the_squared_error_of_the_shift(photo):
    actual = protocols.equal_error(photo.double())
    assert tuple(actual) == protocols.DISTORTIONS
    errors = {name: (image - photo).square().mean().item() for name, image in actual.items()}
    shift = np.mean((np.roll(photo.numpy(), 1, -1) - photo.numpy()) ** 2, dtype=np.float64)
    assert all(error == pytest.approx(shift, rel=1e-5) for error in errors.values()), errors


def test_distortions_are_what_they_are_called(photo):
    actual = protocols.equal_error(photo)
    torch.testing.assert_close(actual["shift"], photo.roll(1, -1))
    brighter = actual["brighter"] - photo
    assert brighter.std() < 1e-5 and brighter.mean() > 0
    flatter = actual["less contrast"]
    assert flatter.mean() == pytest.approx(photo.mean().item(), abs=1e-5) and flatter.std() < photo.std()
    changed = (actual["hole"] - photo).abs().amax(0) > 1e-6
    rows, columns = changed.nonzero(as_tuple=True)
    assert 0.9 / 36 < changed.float().mean() <= 1 / 36
    assert rows.max() - rows.min() < 8 and columns.max() - columns.min() < 10
    noise = (actual["noise"] - photo).flatten()
    assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 0.1, "noise of neighbours is independent"
    assert torch.equal(actual["noise"], protocols.equal_error(photo)["noise"])
    assert not torch.equal(actual["noise"], protocols.equal_error(photo, seed=1)["noise"])


def test_a_portrait_is_the_middle_of_the_top(rng):
    photo = torch.rand(3, 300, 451, generator=rng)
    part = protocols.portrait(photo)
    assert part.shape == (3, 256, 256)
    torch.testing.assert_close((part - 0.15) / 0.7, photo[:, :256, 97:353])
    with pytest.raises(ValueError, match="256 x 256"):
        protocols.portrait(photo[:, :200])


def test_the_run_measures_every_photo_with_every_metric(tmp_path, monkeypatch, rng):
    monkeypatch.setattr(protocols.metrics, "lpips", lambda a, b, net: (a - b).abs().mean().item() + (net == "vgg"))
    monkeypatch.setattr(data, "open", lambda name, split=None: data.opening.open(name)[:2])
    reports = []
    (path,) = run(protocols.EQUAL_ERROR_TABLE, tmp_path, progress=lambda image, total: reports.append((image, total)))
    record = load(path)
    assert record.images == ("astronaut", "chelsea") and [total for _, total in reports] == [2, 2]
    clean = protocols.portrait(data.open("embedded")[1].image)
    wrong = protocols.equal_error(clean)["blur"]
    psnr = -10 * np.log10(np.mean((wrong.double() - clean.double()).numpy() ** 2))
    assert record.find("blur", "psnr").per_image[1] == pytest.approx(psnr, abs=1e-3)
    assert record.find("blur", "lpips_vgg").value > 1 > record.find("blur", "lpips_alex").value
    assert find("equal-error").measured([record]) == len(find("equal-error"))
    assert json.loads(path.read_text())["protocol"] == "equal-error"
