"""The hidden degradation: a pure function of seeds, real noise of two halves, and a blur that is one kernel."""

import pytest
import torch

from restore_lib import data, images
from restore_lib.realsr import experiment
from restore_lib.realsr.experiment import SCALE, dice, draw_kernel, hidden, x4_kernel
from restore_lib.realsr.noise_pool import find_patches
from restore_lib.resampling import align_kernel, downscale, imresize


@pytest.fixture(autouse=True)
def fresh():
    hidden.cache_clear()
    yield
    hidden.cache_clear()


def test_one_kernel_does_what_reduction_and_blur_do(rng):
    photo = torch.rand(3, 120, 144, generator=rng, dtype=torch.float64)
    blur = draw_kernel(rng)
    assert blur.shape == (9, 9) and float(blur.sum()) == pytest.approx(1)
    kernel = x4_kernel(blur)
    assert float(kernel.sum()) == pytest.approx(1)
    assert align_kernel(kernel, SCALE) is kernel  # it lies where a reduction by 4 wants it
    one = downscale(photo, kernel, SCALE, align=False)
    two = downscale(imresize(photo, scale=1 / SCALE), blur, 1, align=False)
    torch.testing.assert_close(one[:, 8:-8, 8:-8], two[:, 8:-8, 8:-8], rtol=1e-9, atol=1e-9)


def test_a_degraded_photo_depends_on_its_name_and_the_seed_alone(rng):
    camera = hidden("embedded", "test")
    photo = torch.rand(3, 65, 50, generator=rng)
    one, same = camera.pair("a", photo), camera.pair("a", photo)
    assert torch.equal(one.lr, same.lr) and one.hr.shape == (3, 64, 48) and one.lr.shape == (3, 16, 12)
    assert not torch.equal(one.lr, camera.pair("b", photo).lr)
    assert not torch.equal(one.lr, camera.pair("a", photo, seed=1).lr)
    torch.testing.assert_close(one.lr * 255, (one.lr * 255).round(), rtol=0, atol=1e-4)


def test_degrading_grey_leaves_the_noise_of_one_camera():
    camera = hidden("embedded", "source")
    grey = torch.full((3, 96, 128), 0.5)
    noise = camera.degrade(grey, dice(0, "grey")) - 0.5
    sigma = 255 * noise.std((1, 2))
    assert (sigma > 3).all() and (sigma < 16).all()
    near = (noise[:, :, 1:] * noise[:, :, :-1]).mean() / noise.square().mean()
    assert near > 0.3  # coarser than white noise, as cameras' noise is


def test_the_parts_of_the_embedded_world_share_no_photo():
    sources = {item.name for item in experiment.source_items("embedded")}
    targets = {item.name for item in experiment.target_items("embedded")}
    tests = {item.name for item in experiment.unseen_items("embedded")}
    held = {pair.name for pair in experiment.held_pairs("embedded")}
    everything = [*sources, *targets, *tests, *held]
    assert len(everything) == len(set(everything)) == 7
    assert len(experiment.digest("embedded")) == 64 and "made-up noise" in experiment.described("embedded")
    with pytest.raises(ValueError, match="photos, 2k, embedded"):
        experiment.world("moon")
    with pytest.raises(ValueError, match="source, test"):
        hidden("embedded", "third")


def test_sources_are_chosen_evenly_and_degraded_always_alike():
    few = experiment.sources("embedded", 2)
    assert [name for name, _ in few] == ["coffee", "rocket"]
    again = dict(experiment.sources("embedded"))
    assert all(torch.equal(again[name], photo) for name, photo in few)
    clean = data.open("embedded")["coffee"].image
    assert few[0][1].shape == clean.shape and 0.01 < float((few[0][1] - clean).abs().mean()) < 0.1


def test_the_real_world_splits_its_noise_and_its_photos(photos):
    source, test = hidden("photos", "source"), hidden("photos", "test")
    names = [{pool.sources[0].split()[0] for pool in half.cameras} for half in (source, test)]
    assert names[0] and names[1] and not names[0] & names[1]
    for half in (source, test):
        for pool in half.cameras:
            assert all(patch.shape == (3, 64, 64) for patch in pool.patches)
    held = {pair.name for pair in experiment.held_pairs("photos")}
    used = {item.name for item in experiment.source_items("photos")}
    assert len(used) == 394 and not held & used
    forbidden = {item.name for name in ("b100", "cbsd68") for item in data.open(name)}
    assert not forbidden & (used | held)
    item = experiment.unseen_items("photos")[0]
    pair = experiment.unseen_pair(item)
    assert torch.equal(pair.hr, images.modcrop(item.image, 4))


def test_the_wrong_noise_is_another_noise():
    (right,), (wrong,) = (pool.patches for pool in (hidden("embedded").cameras[0], experiment.wrong_noise("embedded")))
    assert float(right.std()) > 2 * float(wrong.std())
    assert not find_patches(right[:, :4, :4])  # too small for a patch: no noise, no error
