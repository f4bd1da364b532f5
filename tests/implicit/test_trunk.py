"""Decoders on a frozen encoder: cached pixels are the network's own, batches depend on (seed, step) alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from restore_lib import data
from restore_lib import recipes as all_recipes
from restore_lib.data.patches import PatchStore, to_float
from restore_lib.errors import DataError
from restore_lib.implicit import DIINN, LIIF, MetaSR, recipes, small_trunk
from restore_lib.implicit.encoders import Decorrelated, make_encoder
from restore_lib.implicit.recipes import TRUNK_ABLATION, TRUNK_DECODERS, TRUNK_RECIPE
from restore_lib.implicit.trunk import FeatureCache, small_sizes
from restore_lib.pretrained import load
from restore_lib.resampling import resize_antialiased
from restore_lib.training import at_tier, fit
from restore_lib.training.precision import PLAIN
from restore_lib.training.recipes import provenance
from restore_lib.training.task import Run

TRUNK = (*TRUNK_DECODERS, *TRUNK_ABLATION)
SCALES = (1, 2, 3.3)
DECODED = [
    *(lambda variant=variant: DIINN(variant, "small", width=8, layers=3) for variant in "abcdef"),
    lambda: LIIF("small", hidden=(8, 8)),
    lambda: LIIF("small", hidden=(8, 8), ensemble=False, cell=False),
    lambda: LIIF("small", hidden=(8, 8), unfold=False),
    lambda: MetaSR("small", width=8),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The photos that come with the library."""
    return PatchStore.build(data.open("embedded")[:-2], tmp_path_factory.mktemp("embedded"))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Odd photos of noise, which no rounding of sizes forgives."""
    from PIL import Image

    from restore_lib.data.opening import Item

    folder, items, dice = tmp_path_factory.mktemp("noise"), [], np.random.default_rng()
    for number, (height, width) in enumerate([(23, 31), (30, 17), (19, 19)]):
        path = folder / f"{number}.png"
        Image.fromarray(dice.integers(256, size=(height, width, 3), dtype=np.uint8)).save(path)
        items.append(Item(str(number), {"image": path}))
    return PatchStore.build(items, folder / "store")


def fresh(rng) -> int:
    return int(torch.randint(2**31, (), generator=rng))


def test_decorrelated_features_are_as_large_as_each_other_but_for_noise(rng):
    features = torch.randn(4000, 6, generator=rng) * torch.tensor([2, 1, 0.5, 0.3, 0.2, 1e-4])
    features = features @ torch.linalg.qr(torch.randn(6, 6, generator=rng)).Q
    torch.manual_seed(fresh(rng))
    plain = small_trunk(1, 1, 4, 6)
    white, image = Decorrelated(plain), torch.rand(1, 3, 5, 4, generator=rng)
    assert torch.equal(white(image), plain(image))
    white.fit(features, damping=1e-4)
    mixed = features @ white.mix.weight[:, :, 0, 0].T
    variances = torch.linalg.eigvalsh(mixed.T @ mixed / len(mixed))
    assert variances[0] < 1e-3 and (variances[1:] - 1).abs().max() < 0.1  # 0.04 / (0.04 + 4e-4) is the least
    torch.testing.assert_close(white(image), white.mix(plain(image)))
    assert torch.equal(white.mix.weight.half().float(), white.mix.weight)
    assert make_encoder("small-white")[1] == 64
    with pytest.raises(ValueError, match="encoder must be one of"):
        make_encoder("white")


class Rounded(torch.nn.Module):
    """An encoder whose features are what a file of float16 can keep."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.channels = encoder, 64

    def forward(self, image):
        return self.encoder(image).half().float()


@pytest.mark.parametrize("make", DECODED)
def test_cached_pixels_are_those_of_the_network(make, small, tmp_path, rng, monkeypatch):
    network, asked = make().eval(), []
    network.encoder = Rounded(network.encoder)
    cache = FeatureCache.build(small, network, SCALES, tmp_path)
    network.encoder = Decorrelated(network.encoder)
    network.encoder.fit(cache.sample())
    cache.mix = network.encoder.mix.weight.detach()[:, :, 0, 0]
    original = FeatureCache.around
    monkeypatch.setattr(FeatureCache, "around", lambda self, *q: asked.append(q) or original(self, *q))
    around, offset, ratio, colours = cache.batch(network.decoder.place, 3, queries=200, seed=fresh(rng))
    ((_, *queries),) = asked
    with torch.no_grad():
        found = network.colours_around(around, offset, ratio)
        whole = {}
        for n, (photo, scale, y, x) in enumerate(zip(*(each.tolist() for each in queries), strict=True)):
            hr = small.picture(photo)
            if (photo, scale) not in whole:
                size = [round(side / SCALES[scale]) for side in hr.shape[1:]]
                whole[photo, scale] = network(to_float(resize_antialiased(hr, size))[None], hr.shape[1:])[0]
            torch.testing.assert_close(found[n], whole[photo, scale][:, y, x], atol=1e-4, rtol=1e-4)
            assert torch.equal(colours[n], hr[:, y, x])
    assert len(whole) == 9  # every photo at every scale


def test_cached_features_are_those_of_the_encoder_with_a_border(small, tmp_path):
    network = MetaSR("small", width=4).eval()
    cache = FeatureCache.build(small, network, (2,), tmp_path)
    for photo, (height, width) in enumerate(small_sizes(small, (2,))[0].tolist()):
        lr = to_float(resize_antialiased(small.picture(photo), (height, width)))
        with torch.no_grad():
            feature = network.encoder(network.normalise(lr[None]))[0].half()
        kept = cache.features[cache.starts[photo] : cache.starts[photo + 1]].view(height + 2, width + 2, -1)
        torch.testing.assert_close(kept[1:-1, 1:-1].permute(2, 0, 1), feature)
        assert kept[0].abs().max() == kept[:, 0].abs().max() == kept[-1].abs().max() == kept[:, -1].abs().max() == 0


def test_a_batch_is_a_pure_function_of_step_and_seed_and_processes_share_it(small, tmp_path, rng):
    network, seed = LIIF("small", hidden=(4,)), fresh(rng)
    place = network.decoder.place
    cache = FeatureCache.build(small, network, SCALES, tmp_path)
    one = cache.batch(place, 7, queries=12, seed=seed)
    cache.batch(place, 8, queries=12, seed=seed)
    again = FeatureCache.build(small, network, SCALES, tmp_path).batch(place, 7, queries=12, seed=seed)
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    for other in (cache.batch(place, 8, queries=12, seed=seed), cache.batch(place, 7, queries=12, seed=seed + 1)):
        assert not torch.equal(one[3], other[3])
    halves = [cache.batch(place, 7, rank, 2, queries=12, seed=seed) for rank in (0, 1)]
    assert torch.equal(torch.cat([half[3] for half in halves]), one[3])
    assert torch.equal(torch.cat([half[1] for half in halves], 1), one[1])
    corners = [half[0].unflatten(0, (4, 6)) for half in halves]
    assert torch.equal(torch.cat(corners, 1).flatten(0, 1), one[0])
    with pytest.raises(ValueError, match="3 for 2 processes"):
        cache.batch(place, 1, 0, 2, queries=3, seed=0)


def test_photos_and_scales_are_drawn_evenly(small, tmp_path, rng, monkeypatch):
    network, asked = MetaSR("small", width=4), []
    cache = FeatureCache.build(small, network, SCALES, tmp_path)
    original = FeatureCache.around
    monkeypatch.setattr(FeatureCache, "around", lambda self, *q: asked.append(q) or original(self, *q))
    cache.batch(network.decoder.place, 1, queries=9000, seed=fresh(rng))
    ((_, photo, scale, y, x),) = asked
    assert np.abs(np.bincount(3 * scale + photo) - 1000).max() < 150  # 5 standard deviations
    for number, (height, width) in enumerate(small.sizes):
        mine = photo == number
        assert np.unique(y[mine] * width + x[mine]).size > 0.95 * height * width


def test_features_are_computed_once_for_photos_weights_and_scales(small, tmp_path, monkeypatch):
    network = MetaSR("small", width=4)
    first = FeatureCache.build(small, network, (2, 3), tmp_path)
    assert FeatureCache.build(small, network, (2, 4), tmp_path).path != first.path
    assert FeatureCache.build(small, MetaSR("small", width=4), (2, 3), tmp_path).path != first.path
    told = []
    again = FeatureCache.build(small, network, (2, 3), tmp_path, progress=lambda *now: told.append(now))
    assert again.path == first.path and not told
    first.path.write_bytes(b"damaged")
    with pytest.raises(DataError, match="delete it"):
        FeatureCache.build(small, network, (2, 3), tmp_path)


def test_the_encoder_is_that_of_the_published_model(store, tmp_path, monkeypatch):
    monkeypatch.setattr(PatchStore, "build", lambda *_, **__: store)
    monkeypatch.setenv("RESTORE_CACHE", str(tmp_path))
    published = LIIF("small", hidden=(4,))
    monkeypatch.setattr(recipes, "load_published", {"theirs": published}.get)
    network, features = at_tier(TRUNK_RECIPE, "smoke", trunk="theirs").untrained([])
    for key, value in published.encoder.state_dict().items():
        assert torch.equal(network.encoder.encoder.state_dict()[key], value)
    assert torch.equal(features.mix, network.encoder.mix.weight[:, :, 0, 0])
    monkeypatch.undo()
    monkeypatch.delenv("RESTORE_DATA", raising=False)
    monkeypatch.setenv("RESTORE_CACHE", str(tmp_path))
    with pytest.raises(DataError, match="restore weights import liif-authors"):
        at_tier(TRUNK_RECIPE, "cpu").untrained([])


@pytest.fixture
def built(store, monkeypatch):
    """Recipes take these photos, and all tests keep features in one place."""
    monkeypatch.setattr(PatchStore, "build", lambda *_, **__: store)
    monkeypatch.setenv("RESTORE_CACHE", str(store.folder))


@pytest.mark.parametrize("kind", TRUNK, ids=lambda kind: kind.name)
def test_every_recipe_trains_its_decoder_and_not_the_encoder(kind, built):
    torch.manual_seed(1)  # the same random encoder, so that its features are computed once
    run = Run(at_tier(kind, "smoke", warmup=1).task(0), Fabric(accelerator="cpu", devices=1), PLAIN, 0)
    run.step, network = 1, run.task.networks["network"]
    before = {key: value.clone() for key, value in network.state_dict().items()}
    batch = run.task.batches(1, 0, 1)
    losses = [float(run.task.step(run, batch)["loss"]) for _ in range(6)]
    assert losses[-1] < losses[0]
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]) == key.startswith("encoder.")


def test_a_run_goes_on_exactly_where_it_stopped_and_becomes_a_checkpoint(built, tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "MIDDLE", 48)  # a quick look
    cpu = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    recipe = at_tier(TRUNK_RECIPE, "smoke")
    whole = fit(recipe, tmp_path / "whole", quiet=True, fabric=cpu)
    stopped = [fit(recipe, tmp_path / "parts", quiet=True, fabric=cpu, max_minutes=0).step for _ in range(2)]
    assert stopped == [6, 12]
    again = fit(recipe, tmp_path / "parts", quiet=True, fabric=cpu)
    for a, b in ((whole.averaged, again.averaged), (whole.task.networks, again.task.networks)):
        states = [network["network"].state_dict() for network in (a, b)]
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    card = all_recipes.keep(tmp_path / "parts", "smoke", folder=tmp_path)
    assert card.steps == 12 and "trained together with LIIF" in card.note and "BSD-3-Clause" in card.licence
    kept = load(card.name, folder=tmp_path)
    assert kept(torch.rand(1, 3, 5, 4), (11, 9)).shape == (1, 3, 11, 9)
    for key, value in kept.state_dict().items():
        assert torch.equal(value, again.averaged["network"].state_dict()[key].half().float())


def test_recipes_differ_in_one_thing_and_say_where_each_value_comes_from():
    assert len({recipe.name for recipe in TRUNK}) == len(TRUNK) == 8
    for tier in ("smoke", "cpu", "gpu", "paper"):
        main = at_tier(TRUNK_RECIPE, tier)
        for kind in TRUNK:
            one = at_tier(kind, tier)
            assert all_recipes.find(kind.name) is kind and all(
                row["source"] and row["meaning"] for row in provenance(one)
            )
            changed = {key for key in vars(main) if vars(main)[key] != vars(one)[key]} - {"name", "title", "source_of"}
            assert changed == (
                set() if kind is TRUNK_RECIPE else {"network"} if kind in TRUNK_DECODERS else {"variant"}
            )
    assert [kind.variant for kind in TRUNK_ABLATION] == list("abcde")
    cpu = at_tier(TRUNK_RECIPE, "cpu")
    assert cpu.rate(0) == 1 / cpu.warmup and cpu.rate(cpu.steps // 2) == pytest.approx(0.5)
    assert cpu.rate(cpu.steps - 1) < 1e-6 and replace(cpu, warmup=1).rate(0) == 1
