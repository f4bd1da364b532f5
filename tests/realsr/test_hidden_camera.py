"""The hidden degradation: a pure function of seeds, real noise of two halves, and a blur that is one kernel."""

from dataclasses import replace

import pytest
import torch

from restore_lib import data, images
from restore_lib.errors import DataError, TrainingError
from restore_lib.realsr import hidden_camera
from restore_lib.realsr.hidden_camera import (
    SCALE,
    HiddenCamera,
    PairSettings,
    camera,
    draw_blur,
    items,
    seeded,
    training_pairs,
    x4_kernel,
)
from restore_lib.realsr.noise_pool import NoisePool, NoiseRule, find_patches
from restore_lib.resampling import align_kernel, downscale, imresize


@pytest.fixture(autouse=True)
def fresh():
    camera.cache_clear()
    yield
    camera.cache_clear()


def test_one_kernel_does_what_reduction_and_blur_do(rng):
    photo = torch.rand(3, 120, 144, generator=rng, dtype=torch.float64)
    blur = draw_blur(rng)
    assert blur.shape == (9, 9) and float(blur.sum()) == pytest.approx(1)
    kernel = x4_kernel(blur)
    assert float(kernel.sum()) == pytest.approx(1)
    assert align_kernel(kernel, SCALE) is kernel  # it lies where a reduction by 4 wants it
    one = downscale(photo, kernel, SCALE, align=False)
    two = downscale(imresize(photo, scale=1 / SCALE), blur, 1, align=False)
    torch.testing.assert_close(one[:, 8:-8, 8:-8], two[:, 8:-8, 8:-8], rtol=1e-9, atol=1e-9)


def test_a_degraded_photo_depends_on_its_name_and_the_seed_alone(rng):
    hidden = camera("embedded", "test")
    photo = torch.rand(3, 65, 50, generator=rng)
    one, same = hidden.pair("a", photo), hidden.pair("a", photo)
    assert torch.equal(one.lr, same.lr) and one.hr.shape == (3, 64, 48) and one.lr.shape == (3, 16, 12)
    assert not torch.equal(one.lr, hidden.pair("b", photo).lr)
    assert not torch.equal(one.lr, hidden.pair("a", photo, seed=1).lr)
    torch.testing.assert_close(one.lr * 255, (one.lr * 255).round(), rtol=0, atol=1e-4)


def test_degrading_grey_leaves_the_noise_of_one_camera():
    hidden = camera("embedded", "source")
    grey = torch.full((3, 96, 128), 0.5)
    noise = hidden.degrade(grey, seeded(0, "grey")) - 0.5
    sigma = 255 * noise.std((1, 2))
    assert (sigma > 3).all() and (sigma < 16).all()
    near = (noise[:, :, 1:] * noise[:, :, :-1]).mean() / noise.square().mean()
    assert near > 0.3  # coarser than white noise, as cameras' noise is


def test_weak_noise_is_what_the_released_rule_takes_for_noise(photos, rng):
    grey, rule = torch.full((3, 256, 256), 0.4), NoiseRule()
    kept = {
        world: [
            any(place.kept for place in find_patches(camera(world, half).degrade(grey, rng), rule)) for _ in range(8)
        ]
        for world in ("weak noise", "photos")
        for half in ("source", "test")
    }
    assert all(kept["weak noise"]) and not all(kept["photos"])
    for half in ("source", "test"):  # most of the other camera's noise is stronger, as chapter 13 says
        loud, weak = camera("photos", half), camera("weak noise", half)
        stronger = [loud.strength(pool) > weak.strength(pool) for pool in weak.noise_pools]
        assert sum(stronger) > len(stronger) / 2


def test_a_camera_without_blur_adds_noise_of_the_variance_asked_for(rng):
    loud = camera("embedded", "source").noise_pools
    photo = images.from_uint8(images.to_uint8(0.3 + 0.4 * torch.rand(3, 192, 192, generator=rng)))
    quiet = HiddenCamera(loud, blurred=False, noise_variance=10.0)
    noise = 255 * (quiet.degrade(photo, rng) - photo)
    variance = (noise * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0).var()
    assert 7 < variance < 13
    assert quiet.strength(loud[0]) == pytest.approx(
        quiet.strength(NoisePool([0.5 + (p - 0.5) * 2 for p in loud[0].patches], ["loud"])) * 2, rel=0.05
    )


def test_the_parts_of_the_embedded_world_share_no_photo():
    sources = {item.name for item in items("embedded", "sources")}
    targets = {item.name for item in items("embedded", "targets")}
    tests = {item.name for item in items("embedded", "test")}
    held = {pair.name for pair in hidden_camera.validation_pairs("embedded")}
    everything = [*sources, *targets, *tests, *held]
    assert len(everything) == len(set(everything)) == 7
    assert len(hidden_camera.digest("embedded")) == 64 and "made-up noise" in hidden_camera.description("embedded")
    with pytest.raises(ValueError, match="photos, weak noise, 2k, embedded"):
        hidden_camera.photo_sets("moon")
    with pytest.raises(ValueError, match="source, test"):
        camera("embedded", "third")


def test_sources_are_chosen_evenly_and_degraded_always_alike():
    few = hidden_camera.sources("embedded", 2)
    assert [name for name, _ in few] == ["coffee", "rocket"]
    again = dict(hidden_camera.sources("embedded"))
    assert all(torch.equal(again[name], photo) for name, photo in few)
    clean = data.open("embedded")["coffee"].image
    assert few[0][1].shape == clean.shape and 0.01 < float((few[0][1] - clean).abs().mean()) < 0.1


def test_the_real_world_splits_its_noise_and_its_photos(photos):
    source, test = camera("photos", "source"), camera("photos", "test")
    names = [{pool.sources[0].split()[0] for pool in half.noise_pools} for half in (source, test)]
    assert names[0] and names[1] and not names[0] & names[1]
    for half in (source, test):
        for pool in half.noise_pools:
            assert all(patch.shape == (3, 64, 64) for patch in pool.patches)
    held = {pair.name for pair in hidden_camera.validation_pairs("photos")}
    used = {item.name for item in items("photos", "sources")}
    assert len(used) == 394 and not held & used
    forbidden = {item.name for name in ("b100", "cbsd68") for item in data.open(name)}
    assert not forbidden & (used | held)
    item = items("photos", "test")[0]
    pair = hidden_camera.unseen_pair(item)
    assert torch.equal(pair.hr, images.modcrop(item.image, 4))


def test_the_wrong_noise_is_another_noise():
    (right,), (wrong,) = (
        pool.patches for pool in (camera("embedded").noise_pools[0], hidden_camera.other_noise("embedded"))
    )
    assert float(right.std()) > 2 * float(wrong.std())
    assert not find_patches(right[:, :4, :4])  # too small for a patch: no noise, no error


SMALL = PairSettings(world="embedded", kernels="true", kernel_photos=2, sources=2)


def as_image(levels):
    return levels.float() / 255


def test_bicubic_pairs_are_bicubic_and_cleaned_up_sources_are_half_as_large():
    made = training_pairs(replace(SMALL, way="bicubic"))
    degraded = dict(hidden_camera.sources("embedded", 2))
    assert [pair.name for pair in made.pairs] == ["coffee", "rocket", "astronaut", "china"] and not len(made.noises)
    for pair in made.pairs:
        assert pair.hr.dtype == torch.uint8 and pair.kernel is None
        expected = imresize(as_image(pair.hr), scale=1 / 4).clamp(0, 1)
        assert (as_image(pair.lr) - expected).abs().max() < 0.51 / 255  # rounded
    assert made.pairs[0].hr.shape[-2] == degraded["coffee"].shape[-2] // 2 // 4 * 4
    whole = training_pairs(replace(SMALL, way="bicubic", clean_up=1)).pairs[0]
    assert torch.equal(as_image(whole.hr), images.modcrop(degraded["coffee"], 4))


def test_ways_differ_in_kernels_and_noise_alone():
    kernel, noise, both = (training_pairs(replace(SMALL, way=way)) for way in ("kernel", "noise", "both"))
    assert not len(kernel.noises) and len(noise.noises) and len(both.noises) == len(noise.noises)
    assert [p.kernel is None for p in noise.pairs] == [True] * 4 and {p.kernel for p in both.pairs} <= {0, 1}
    assert all(torch.equal(a.lr, b.lr) for a, b in zip(kernel.pairs, both.pairs, strict=True))
    assert all(torch.equal(a.hr, b.hr) for a, b in zip(kernel.pairs, noise.pairs, strict=True))
    wrong = training_pairs(replace(SMALL, way="noise", camera="wrong"))
    assert wrong.noises.sources == ["made up"]


def test_what_cannot_be_is_refused_in_one_sentence():
    sizes = (
        {"noise_scales": ()},
        {"noise_scales": (2.0,)},
        {"noise_scales": (1.0, 0.4)},
        {"noise_scales": (0.5,), "camera": "wrong"},
    )
    for changes in ({"way": "all"}, {"camera": "left"}, {"kernels": "guessed"}, {"way": "learned"}, {"learned": "x"}):
        with pytest.raises(TrainingError):
            replace(SMALL, **changes)
    for changes in sizes:
        with pytest.raises(TrainingError, match="noise_scales"):
            replace(SMALL, **changes)


def test_noise_of_two_sizes_is_added_to_the_same_pairs():
    one, two = training_pairs(SMALL), training_pairs(replace(SMALL, noise_scales=(1.0, 0.5)))
    assert all(torch.equal(a.lr, b.lr) and torch.equal(a.hr, b.hr) for a, b in zip(one.pairs, two.pairs, strict=True))
    assert [s for s in two.noises.sources if " x0.5 " not in s] == one.noises.sources
    assert len(two.noises) > len(one.noises)


def test_estimated_kernels_are_kept_and_bad_ones_left_out(monkeypatch, rng):
    calls = []

    class Estimate:
        def __init__(self, value, problems):
            self.kernel = torch.full((5, 5), value, dtype=torch.float64)
            self.diagnostics = type("D", (), {"problems": problems})()

    def fake(photos, scale, seed, settings, strict, device, together):
        calls.append(len(photos))
        made = [Estimate(float(i), ("bad",) if i == 1 else ()) for i in range(len(photos))]
        return made[:3] + [None] * (len(photos) - 3)  # estimation failed on the fourth photo and on those after it

    monkeypatch.setattr(hidden_camera, "estimate_kernels", fake)
    pictures = [torch.rand(3, 8, 8, generator=rng) for _ in range(3)]
    first, second = hidden_camera.estimated_kernels(pictures), hidden_camera.estimated_kernels(pictures)
    assert calls == [3] and [k[0, 0].item() for k in first] == [0, 2] == [k[0, 0].item() for k in second]
    hidden_camera.estimated_kernels(pictures[:2])
    assert [k[0, 0].item() for k in hidden_camera.estimated_kernels([*pictures, pictures[0]])] == [0, 2]
    assert calls == [3, 2, 4]

    monkeypatch.setattr(hidden_camera, "estimate_kernels", lambda photos, *_, **__: [None] * len(photos))
    with pytest.raises(DataError, match="no kernel in 1 photos"):
        hidden_camera.estimated_kernels(pictures[2:])


def test_learned_pairs_are_what_the_network_makes(monkeypatch):
    class Darker(torch.nn.Module):
        def forward(self, x):
            return x - 0.1

    monkeypatch.setattr(hidden_camera, "load", lambda name: Darker())
    plain, made = (
        training_pairs(replace(SMALL, way="bicubic")),
        training_pairs(replace(SMALL, way="learned", learned="any")),
    )
    for a, b in zip(plain.pairs, made.pairs, strict=True):
        assert torch.equal(a.hr, b.hr)
        assert ((as_image(a.lr) - 0.1).clamp(min=0) - as_image(b.lr)).abs().max() < 1.01 / 255
