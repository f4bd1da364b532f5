"""Every kind of recipe steps, saves and goes on on a device, and ends with the weights that the CPU ends with."""

import pytest
import torch
from lightning_fabric import Fabric
from make_believe import fabric, make_believe

from restore_lib.implicit import recipes as anyscale
from restore_lib.recipes import RECIPES
from restore_lib.training import at_tier, fit, loop, read_metrics
from restore_lib.training.precision import fastest
from restore_lib.training.recipes import values
from restore_lib.training.state import load_state, states

CHOOSING = ("network", "goal", "judge", "together")  # fields that choose code, not numbers


def kind(recipe) -> tuple:
    """What decides which code a recipe runs."""
    own = values(recipe)
    return type(recipe).__name__, *(own.get(name) for name in CHOOSING), bool(own.get("noisy"))


KINDS: dict[tuple, str] = {}
for each in RECIPES.values():
    KINDS.setdefault(kind(each), each.name)


@pytest.fixture(autouse=True)
def quick(monkeypatch, small_photos):
    """Small validation photos, and a look at the loss in every step."""
    monkeypatch.setattr(anyscale, "MIDDLE", 24)
    monkeypatch.setattr(loop, "LOG_EVERY", 1)


def tensors(folder) -> dict[str, torch.Tensor]:
    tree = load_state(states(folder)[-1])[0]
    found = {}

    def walk(value, name):
        if isinstance(value, torch.Tensor):
            found[name] = value
        elif isinstance(value, dict):
            for key, part in value.items():
                walk(part, f"{name}/{key}")

    walk({key: tree[key] for key in ("networks", "averaged", "optimizers")}, "")
    return found


def test_kinds_cover_every_recipe():
    assert {kind(recipe) for recipe in RECIPES.values()} == {kind(RECIPES[name]) for name in KINDS.values()}
    assert {type(recipe) for recipe in RECIPES.values()} == {type(RECIPES[name]) for name in KINDS.values()}
    assert len(KINDS) > 12, "fields that choose code are known by their names"


@pytest.mark.parametrize("name", KINDS.values())
def test_a_run_in_pieces_on_the_device_ends_where_a_whole_one_on_the_cpu_does(name, tmp_path):
    recipe = at_tier(RECIPES[name], "smoke", steps=2, validate_every=2)
    fit(recipe, tmp_path / "cpu", seed=3, fabric=Fabric(accelerator="cpu", devices=1), quiet=True)
    with make_believe() as counts:
        first = fit(recipe, tmp_path / "gpu", seed=3, fabric=fabric(), max_minutes=0, quiet=True)
        assert first.step == 1 and not first.ended
        run = fit(recipe, tmp_path / "gpu", seed=3, fabric=fabric(), quiet=True)
        assert run.ended and all(p.is_cuda for n in run.task.networks.values() for p in n.parameters())
    assert counts.cpu_autocasts == 0
    cpu, gpu = (tensors(tmp_path / where) for where in ("cpu", "gpu"))
    assert cpu.keys() == gpu.keys()
    for key, value in cpu.items():
        # Adam divides by the root of squared gradients: where these are rounding errors, so are its steps
        loose = 5e-2 if "optimizers" in key else 5 * recipe.learning_rate
        assert torch.allclose(value.float(), gpu[key].float(), rtol=1e-3, atol=loose), key
        if "optimizers" not in key:
            assert (value.float() - gpu[key].float()).abs().mean() < 0.1 * recipe.learning_rate, key
    mine, theirs = (read_metrics(tmp_path / where / "metrics.jsonl") for where in ("gpu", "cpu"))
    for a, b in zip(mine, theirs, strict=True):
        a.pop("images_per_second", None), b.pop("images_per_second", None)
        assert a == pytest.approx(b, rel=1e-3)


@pytest.mark.parametrize("name", ["denoiser-25", "rrdb-gan-both", "diinn"])
def test_in_bfloat16(name, gpu, tmp_path):
    recipe = at_tier(RECIPES[name], "smoke", steps=1, validate_every=1)
    run = fit(recipe, tmp_path, fabric=fabric("bf16-mixed"), speed=fastest("cuda"), quiet=True)
    assert run.ended and fastest("cuda").precision == "bf16-mixed"
    assert all(torch.isfinite(value.float()).all() for value in tensors(tmp_path).values())


def test_a_card_without_bfloat16_trains_in_float16(tmp_path):
    """The scale of the loss is part of the state, and a step whose gradients overflow changes no weight."""
    recipe = at_tier(RECIPES["diinn"], "smoke", steps=3, validate_every=3)
    with make_believe((7, 5)):
        speed = fastest("cuda")
        assert speed.precision == "16-mixed"
        for done in (1, 3):
            run = fit(recipe, tmp_path, fabric=fabric(speed.precision), speed=speed, max_minutes=done - 1, quiet=True)
            assert run.step == done
            tree = load_state(states(tmp_path)[-1])[0]
            assert tree["precision"]["scale"] == run.fabric.strategy.precision.scaler.get_scale() > 1
        assert all(torch.isfinite(value.float()).all() for value in tensors(tmp_path).values())
        scaler, network = run.fabric.strategy.precision.scaler, run.task.networks["network"]
        before, scale = [p.detach().clone() for p in network.parameters()], scaler.get_scale()
        colours = network(torch.rand(1, 3, 8, 8, device="cuda"), (8, 8)).mean()
        run.update("network", colours * 1e38)
        assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
        assert scaler.get_scale() == scale / 2
    with make_believe((6, 1)):
        assert fastest("cuda").precision == "32-true"
