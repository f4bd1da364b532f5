"""Wavelets, CBM3D and DnCNN: better than nothing, told the right strength, and careful with their files."""

import numpy as np
import pytest
import torch
from skimage import data as pictures

from restore_lib import files, metrics
from restore_lib.denoising import baselines
from restore_lib.denoising.dncnn import AUTHORS, DnCNN, author_network
from restore_lib.errors import CheckpointError, DataError
from restore_lib.pretrained import load_author_weights

RULE = metrics.Protocol(channels="rgb", border=0, quantize=True)


@pytest.fixture
def photo():
    return torch.from_numpy(pictures.astronaut()[40:104, 180:244]).permute(2, 0, 1).float() / 255


def gain(method, photo, sigma, rng):
    noisy = photo + sigma / 255 * torch.randn(photo.shape, generator=rng)
    return metrics.psnr(method(noisy, sigma), photo, RULE) - metrics.psnr(noisy, photo, RULE)


@pytest.mark.parametrize("sigma", [15, 50])
def test_wavelets_take_noise_out(sigma, photo, rng):
    assert gain(baselines.wavelets, photo, sigma, rng) > (2 if sigma == 15 else 6)


def test_wavelets_move_with_the_photo(photo, rng):
    noisy = photo + 0.1 * torch.randn(photo.shape, generator=rng)
    moved = baselines.wavelets(noisy.roll((4, 8), (1, 2)), 25).roll((-4, -8), (1, 2))
    inner = slice(16, -16)
    # Averaging over 16 shifts leaves the grid of the coarser levels alone, so this holds nearly, not exactly.
    assert (moved - baselines.wavelets(noisy, 25))[:, inner, inner].abs().mean() < 0.01


def test_cbm3d_takes_noise_out_and_remembers(photo, rng, tmp_path, monkeypatch):
    bm3d = pytest.importorskip("bm3d", reason="CBM3D is an optional package, for non-commercial use")
    monkeypatch.setenv("RESTORE_CACHE", str(tmp_path))
    noisy = photo + 25 / 255 * torch.randn(photo.shape, generator=rng)
    clean = baselines.cbm3d(noisy, 25)
    assert metrics.psnr(clean, photo, RULE) - metrics.psnr(noisy, photo, RULE) > 5
    direct = bm3d.bm3d_rgb(noisy.permute(1, 2, 0).double().numpy(), 25 / 255).clip(0, 1)
    np.testing.assert_allclose(clean.permute(1, 2, 0).numpy(), direct, atol=1e-5)
    (kept,) = (tmp_path / "cbm3d").iterdir()
    monkeypatch.setattr(bm3d, "bm3d_rgb", lambda *given: 1 / 0)  # asked again, it must not be called
    assert torch.equal(baselines.cbm3d(noisy, 25), clean)
    for other in (lambda: baselines.cbm3d(noisy, 26), lambda: baselines.cbm3d(noisy + 1e-4, 25)):
        with pytest.raises(ZeroDivisionError):
            other()
    kept.write_bytes(b"half a file")
    with pytest.raises(ZeroDivisionError):  # a damaged file is no answer
        baselines.cbm3d(noisy, 25)


def test_cbm3d_says_what_to_install(photo, tmp_path, monkeypatch):
    monkeypatch.setenv("RESTORE_CACHE", str(tmp_path))
    monkeypatch.setitem(__import__("sys").modules, "bm3d", None)
    with pytest.raises(DataError, match="pip install bm3d"):
        baselines.cbm3d(photo, 25)


def official(depth, width, rng):
    """Made-up weights in the authors' naming, and what their network answers, written without ours."""
    sizes = [3, *[width] * (depth - 1), 3]
    state = {}
    for place in range(depth):
        shape = (sizes[place + 1], sizes[place], 3, 3)
        state[f"model.{2 * place}.weight"] = torch.randn(shape, generator=rng) / (9 * sizes[place]) ** 0.5
        state[f"model.{2 * place}.bias"] = 0.1 * torch.randn(sizes[place + 1], generator=rng)

    def answer(x):
        y = x
        for place in range(depth):
            y = torch.conv2d(y, state[f"model.{2 * place}.weight"], state[f"model.{2 * place}.bias"], padding=1)
            y = y.relu() if place < depth - 1 else y
        return x - y

    return state, answer


def test_the_authors_weights_give_the_authors_answer(rng):
    state, answer = official(5, 8, rng)
    net = DnCNN(5, 8, norm=False)
    load_author_weights(net, state)
    x = torch.rand(1, 3, 17, 20, generator=rng)
    torch.testing.assert_close(net(x), answer(x))


@pytest.mark.parametrize("change", ["depth", "width", "missing", "foreign", "norm"])
def test_weights_of_another_network_are_refused(change, rng):
    state, _ = official(5, 8, rng)
    net = DnCNN(6 if change == "depth" else 5, 4 if change == "width" else 8, norm=change == "norm")
    if change == "missing":
        del state["model.4.bias"]
    if change == "foreign":
        state["model.1.weight"] = torch.zeros(8)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises((CheckpointError, ValueError), match="authors"):
        load_author_weights(net, state)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


@pytest.mark.parametrize("use", AUTHORS)
def test_published_weights_denoise(use, photo, rng, photos):
    net = author_network(use)
    assert len(net.convs) == 20
    with torch.no_grad():
        assert gain(lambda noisy, sigma: net(noisy[None])[0], photo, 25, rng) > 7


def test_missing_and_damaged_weights_are_said(tmp_path, monkeypatch):
    monkeypatch.setenv("RESTORE_CACHE", str(tmp_path))
    monkeypatch.setenv("RESTORE_DATA", str(tmp_path))
    with pytest.raises(DataError, match="RESTORE_DATA"):
        author_network("25")
    place = tmp_path / AUTHORS["25"].path
    place.parent.mkdir()
    place.write_bytes(b"not weights")
    assert files.locate(AUTHORS["25"].path) == place
    with pytest.raises(DataError, match="damaged"):
        author_network("25")
