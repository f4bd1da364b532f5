"""Recipes of super-resolution at any scale: what they train on, that they learn, and that they differ in one thing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from PIL import Image

from restore_lib import data
from restore_lib.data.opening import Item
from restore_lib.data.patches import PatchStore, augment, to_float
from restore_lib.errors import TrainingError
from restore_lib.implicit import DIINN, LIIF, MetaSR, recipes
from restore_lib.implicit.crops import AnyScaleCrops, chosen
from restore_lib.implicit.recipes import (
    ABLATION,
    DECODERS,
    DIINN_RECIPE,
    RECIPES,
    AnyScaleRecipe,
    centre_levels,
    validation,
)
from restore_lib.pretrained import build
from restore_lib.recipes import find
from restore_lib.resampling import resize_antialiased
from restore_lib.training import at_tier, fit, read_metrics
from restore_lib.training.precision import PLAIN
from restore_lib.training.recipes import provenance, values
from restore_lib.training.task import Run


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """Photos whose every pixel tells its row (red), column (green) and photo (blue)."""
    folder, items = tmp_path_factory.mktemp("numbered"), []
    for number, (height, width) in enumerate([(50, 61), (48, 40), (70, 33)]):
        rows, columns = np.mgrid[:height, :width]
        levels = np.stack([rows, columns, np.full_like(rows, number)], -1).astype(np.uint8)
        Image.fromarray(levels).save(folder / f"{number}.png")
        items.append(Item(str(number), {"image": folder / f"{number}.png"}))
    return PatchStore.build(items, folder / "store")


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """The photos that come with the library, decoded once for this file."""
    return PatchStore.build(data.open("embedded")[:-2], tmp_path_factory.mktemp("embedded"))


def fresh(rng) -> int:
    return int(torch.randint(2**31, (), generator=rng))


def turns(x):
    """All eight positions of a square picture."""
    return [augment(x[None], torch.tensor([code]))[0] for code in range(8)]


def pillow(levels, size):
    """Pillow's bicubic reduction."""
    picture = Image.fromarray(levels.permute(1, 2, 0).numpy()).resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def test_every_photo_gives_a_crop_of_its_own_place_for_each_scale(numbered, rng):
    crops = AnyScaleCrops(numbered, (2, 3, 4), False, 8, 0)
    places = set()
    for step in range(20):
        lr, *groups = crops.batch(step, photos=3, seed=fresh(rng))
        assert lr.shape == (9, 3, 8, 8) and [group.shape[2] for group in groups] == [16, 24, 32]
        photos = [{int(n) for n in group[i, 2].unique()} for group in groups for i in range(3)]
        assert all(len(found) == 1 for found in photos)
        assert photos[:3] == photos[3:6] == photos[6:]  # the same photos at each scale
        for i in range(3):
            places.add(tuple((int(g[i, 0].min()), int(g[i, 1].min())) for g in groups))
        for crop in torch.cat([group[:, :2, :8, :8] for group in groups]).long():
            steps = {tuple(x.diff(dim=axis).unique().tolist()) for x in crop for axis in (0, 1)}
            assert steps == {(0,), (1,)} or steps == {(0,), (-1,)} or steps == {(0,), (1,), (-1,)}  # turned at most
    assert len({place[0] for place in places} | {place[2] for place in places}) > 30
    assert any(len(set(place)) == 3 for place in places)


def test_lr_crops_are_the_reductions_of_their_crops(embedded, rng):
    for continuous in (False, True):
        lr, *groups = AnyScaleCrops(embedded, (2, 3, 4), continuous, 7, 0).batch(1, photos=4, seed=fresh(rng))
        hrs = [crop for group in groups for crop in group]
        assert len(lr) == len(hrs) == (4 if continuous else 12)
        for small, large in zip(lr, hrs, strict=True):
            # Turned after the reduction, as in the official code: one of the eight ways back must agree to the bit.
            both = zip(turns(small), turns(large), strict=True)
            assert any(torch.equal(a, pillow(b.contiguous(), 7)) for a, b in both)


def test_queries_are_pixels_of_the_crops(embedded, rng):
    seed = fresh(rng)
    for continuous in (False, True):
        whole = AnyScaleCrops(embedded, (1, 3, 4), continuous, 6, 0)
        lr, *groups = whole.batch(5, photos=4, seed=seed)
        small, sizes, pixels, colours = replace(whole, queries=36).batch(5, photos=4, seed=seed)
        hrs = [crop for group in groups for crop in group]
        assert torch.equal(lr, small) and sizes.tolist() == [list(crop.shape[1:]) for crop in hrs]
        for crop, asked, found in zip(hrs, pixels, colours, strict=True):
            assert torch.equal(crop[:, asked // crop.shape[2], asked % crop.shape[2]], found)
            assert (asked.diff() > 0).all() and asked[0] >= 0 and asked[-1] < crop[0].numel()


def test_a_batch_is_a_pure_function_of_step_and_seed_and_processes_share_it(embedded, rng):
    seed, other = fresh(rng), 2**31
    for crops, photos in (
        (AnyScaleCrops(embedded, (2, 3), False, 6, 20), 4),
        (AnyScaleCrops(embedded, (1, 4), True, 6, 20), 6),
        (AnyScaleCrops(embedded, (2, 3), False, 6, 0), 2),
    ):
        one, again = (crops.batch(7, photos=photos, seed=seed) for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
        assert not torch.equal(one[0], crops.batch(8, photos=photos, seed=seed)[0])
        assert not torch.equal(one[0], crops.batch(7, photos=photos, seed=other)[0])
        halves = [crops.batch(7, rank, 2, photos=photos, seed=seed) for rank in (0, 1)]
        groups = 1 if crops.continuous else 2
        for whole, *parts in zip(one, *halves, strict=True):
            if crops.queries or whole is one[0]:  # scale by scale, and in each the processes one after the other
                chunks = [part.chunk(groups) for part in parts]
                joined = torch.cat([chunk for scale in zip(*chunks, strict=True) for chunk in scale])
            else:
                joined = torch.cat(parts)
            assert torch.equal(whole, joined)
    with pytest.raises(ValueError, match="3 for 2 processes"):
        crops.batch(1, 0, 2, photos=3, seed=0)


def test_scales_are_drawn_evenly(embedded):
    crops = AnyScaleCrops(embedded, (1, 4), True, 10, 1)
    sides = torch.cat([crops.batch(step, photos=50, seed=1)[1] for step in range(8)])
    assert (sides[:, 0] == sides[:, 1]).all() and sides.min() < 12 and sides.max() > 38
    assert abs(float(sides[:, 0].double().mean()) / 10 - 2.5) < 0.2  # 4.6 standard errors


def test_every_pixel_is_as_likely_to_be_chosen_and_none_twice(rng):
    counts = torch.zeros(12)
    for seed in range(600):
        found = chosen(12, 5, seed)
        assert (found.diff() > 0).all()
        counts[found] += 1
    assert (counts - 250).abs().max() < 60  # 5 standard deviations
    assert torch.equal(chosen(9, 9, fresh(rng)), torch.arange(9))
    with pytest.raises(ValueError, match="10 of 9 pixels"):
        chosen(9, 10, 0)


@pytest.mark.parametrize("make", [lambda: DIINN("f", "small", width=8), lambda: LIIF("small", hidden=(8, 8)),
                                  lambda: MetaSR("small", width=8)])  # fmt: skip
def test_a_model_answers_for_single_pixels_as_for_pictures(make, rng):
    model = make().double()
    lr = torch.rand(3, 3, 6, 5, generator=rng, dtype=torch.float64)
    sizes = [[12, 11], [17, 20], [12, 11]]
    pixels = torch.randint(12 * 11, (3, 21), generator=rng)
    weights = torch.rand(3, 3, 21, generator=rng, dtype=torch.float64)
    found = model(lr, sizes, pixels)
    whole = [model(one[None], size)[0].flatten(1)[:, asked] for one, size, asked in zip(lr, sizes, pixels, strict=True)]
    torch.testing.assert_close(found, torch.stack(whole))
    for a, b in zip(*(torch.autograd.grad((x * weights).sum(), list(model.parameters())) for x in
                      (found, torch.stack(whole))), strict=True):  # fmt: skip
        torch.testing.assert_close(a, b)
    model = model.float()
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(lr.float(), sizes, pixels)
    assert (rough.double() - found).abs().max() < 0.05 * (1 + float(found.detach().abs().max()))


def smoke(recipe, **changes):
    return at_tier(recipe, "smoke", **changes)


def started(recipe) -> Run:
    run = Run(recipe.task(0), Fabric(accelerator="cpu", devices=1), PLAIN, 0)
    run.step = 1
    return run


ON_CROPS = [recipe for recipe in RECIPES.values() if isinstance(recipe, AnyScaleRecipe)]  # others: test_trunk.py


@pytest.mark.parametrize("kind", ON_CROPS, ids=lambda kind: kind.name)
def test_every_recipe_learns_from_a_batch(kind, embedded, monkeypatch):
    monkeypatch.setattr(PatchStore, "build", lambda *_, **__: embedded)
    run = started(smoke(kind, warmup=1))
    batch = run.task.batches(1, 0, 1)
    losses = [float(run.task.step(run, batch)["loss"]) for _ in range(6)]
    assert losses[-1] < losses[0]
    assert all(p.grad is not None for p in run.task.networks["network"].parameters())


def test_whole_crops_count_alike_at_every_scale(embedded, monkeypatch):
    monkeypatch.setattr(PatchStore, "build", lambda *_, **__: embedded)
    run = started(smoke(DIINN_RECIPE, queries=0, batch_size=2))
    lr, *groups = batch = run.task.batches(3, 0, 1)
    with torch.no_grad():
        means = [
            (run.task.networks["network"](to_float(small), hr.shape[2:]) - to_float(hr)).abs().mean()
            for small, hr in zip(lr.split(2), groups, strict=True)
        ]
    loss = float(run.task.step(run, batch)["loss"])
    assert loss == pytest.approx(2 * float(sum(means)) / 3, rel=1e-5)  # colours from -1 to 1


def test_a_run_at_tier_smoke_goes_on_exactly_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "MIDDLE", 48)  # a quick look
    cpu = Fabric(accelerator="cpu", devices=1)
    recipe = smoke(DIINN_RECIPE, validate_every=4, steps=8)
    whole = fit(recipe, tmp_path / "whole", quiet=True, fabric=cpu)
    part = fit(recipe, tmp_path / "parts", quiet=True, fabric=cpu, max_minutes=0)
    assert part.step == 4
    again = fit(recipe, tmp_path / "parts", quiet=True, fabric=cpu)
    assert again.step == whole.step == 8
    for a, b in ((whole.averaged, again.averaged), (whole.task.networks, again.task.networks)):
        states = [network["network"].state_dict() for network in (a, b)]
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    lines = [line for line in read_metrics(tmp_path / "whole" / "metrics.jsonl") if "psnr_x2" in line]
    assert len(lines) == 2 and all(np.isfinite(line[f"psnr_x{s}"]) for line in lines for s in (2, 3, 4))


class Bicubic(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.anything = torch.nn.Parameter(torch.zeros(1))

    def forward(self, lr, size):
        return torch.nn.functional.interpolate(lr, tuple(size), mode="bicubic")


def test_validation_is_the_mean_over_photos_at_each_scale(rng):
    photos = [centre_levels(torch.rand(3, 40, 31, generator=rng)), centre_levels(torch.rand(3, 24, 300, generator=rng))]
    assert [tuple(photo.shape) for photo in photos] == [(3, 36, 24), (3, 24, 192)]
    found = validation(photos)({"network": Bicubic()})
    assert list(found) == ["psnr_x2", "psnr_x3", "psnr_x4"]
    for scale in (2, 3, 4):
        values = []
        for photo in photos:
            lr = to_float(resize_antialiased(photo, [n // scale for n in photo.shape[1:]]))[None]
            sr = Bicubic()(lr, photo.shape[1:])[0].detach().clamp(0, 1)
            away = (sr - to_float(photo))[:, scale:-scale, scale:-scale].double()
            values.append(-10 * float(away.square().mean().log10()))
        assert found[f"psnr_x{scale}"] == pytest.approx(sum(values) / 2, abs=1e-4)


def test_the_middle_of_a_photo_is_its_middle(rng):
    photo = torch.randint(256, (3, 27, 200), generator=rng).float() / 255
    assert torch.equal(to_float(centre_levels(photo)), photo[:, 1:25, 4:196])


def test_every_recipe_has_its_name_a_source_for_each_field_and_a_network_at_each_tier():
    assert len(ON_CROPS) == 12
    for recipe in ON_CROPS:
        assert find(recipe.name) is recipe
        for tier in ("smoke", "cpu", "gpu", "paper"):
            one = at_tier(recipe, tier)
            assert all(row["source"] and row["meaning"] for row in provenance(one))
            assert one.queries <= (min(one.scales) * one.crop) ** 2
            with torch.device("meta"):
                build(one.architecture())
    with pytest.raises(TrainingError, match="diinn, liif and metasr"):
        smoke(DIINN_RECIPE, network="edsr").architecture()


@pytest.mark.parametrize("tier", ["smoke", "cpu", "gpu", "paper"])
def test_comparisons_change_one_thing(tier):
    def differing(a, b):
        return {key for key, value in values(a).items() if values(b)[key] != value}

    main = at_tier(DIINN_RECIPE, tier)
    assert [differing(main, at_tier(kind, tier)) for kind in DECODERS] == [set(), {"network"}, {"network"}]
    assert [differing(main, at_tier(kind, tier)) for kind in ABLATION] == [{"variant"}] * 5
    assert differing(main, at_tier(find("diinn-side"), tier)) == {"third"}
    assert differing(main, at_tier(find("diinn-light"), tier)) == {"width", "layers"}
    liif = at_tier(find("liif"), tier)
    assert differing(liif, at_tier(find("liif-no-ensemble"), tier)) == {"ensemble"}
    continuous = at_tier(find("liif-continuous"), tier)
    changed = differing(liif, continuous)
    if tier == "paper":
        assert {"scales", "continuous", "queries", "steps"} <= changed
    else:
        assert changed == {"scales", "continuous", "batch_size"}
        assert continuous.batch_size == 3 * liif.batch_size  # as many crops in a step


def test_the_published_sizes_and_schedules():
    diinn, liif, metasr = (at_tier(find(name), "paper") for name in ("diinn", "liif-continuous", "metasr"))
    with torch.device("meta"):
        counts = [sum(p.numel() for p in build(one.architecture()).parameters()) for one in (diinn, liif, metasr)]
    assert counts == [22_960_579, 22_320_835, 22_419_072]
    assert (diinn.batch_size, diinn.crop, diinn.queries, diinn.learning_rate) == (16, 48, 0, 1e-4)
    assert [diinn.rate(step) for step in (0, 9999, 10_000, 49_999)] == [1, 1, 0.5, 0.0625]
    assert (liif.steps, liif.queries, liif.scales) == (1_000_000, 2304, (1, 4))
    assert [liif.rate(step) for step in (199_999, 200_000, 999_999)] == [1, 0.5, 0.0625]
    cpu = at_tier(DIINN_RECIPE, "cpu")
    assert cpu.rate(0) == 1 / cpu.warmup and cpu.rate(cpu.steps // 2) == pytest.approx(0.5)
    assert cpu.rate(cpu.steps - 1) < 1e-6
    assert recipes.MIDDLE % 12 == 0
