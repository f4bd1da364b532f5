"""Paper A's Table 1 and the ablation: their rules, their jobs, and what they leave out."""

import math

import pytest
import torch

from restore_lib import data, metrics
from restore_lib.denoising.recipes import ABLATIONS, CHOICES, DENOISERS
from restore_lib.errors import DataError
from restore_lib.experiments import load_all, paper_a, run
from restore_lib.pretrained import checkpoints
from restore_lib.recipes import keep
from restore_lib.training import at_tier, fit, values


def test_the_rule_is_the_authors(monkeypatch, rng):
    monkeypatch.setattr(metrics, "lpips", lambda a, b, net: 0.25)
    clean = torch.randint(0, 256, (3, 20, 24), generator=rng).float() / 255
    restored = clean + 0.1 * torch.randn(clean.shape, generator=rng)
    actual = paper_a.kodak_metrics(restored, clean, 25.0)
    levels = [(255 * x.double().clamp(0, 1)).round()[:, 3:-3, 3:-3] for x in (restored, clean)]
    error = (levels[0] - levels[1]).square().mean().item()
    assert actual["psnr"] == pytest.approx(10 * math.log10(255**2 / error), abs=1e-4)
    assert actual["lpips_alex"] == 0.25 and 0 < actual["ssim"] < 1


def test_methods_that_know_the_strength_get_it(rng):
    models = paper_a.given_sigma(lambda noisy, sigma: noisy * 0 + sigma)
    given = torch.rand(3, 4, 4, generator=rng)
    assert [models[f"sigma {s}"](given, (4, 4))[0, 0, 0].item() for s in (25, 35, 50)] == [25, 35, 50]


def test_the_table_runs_at_the_smallest_tier(tmp_path, monkeypatch):
    few = data.open("embedded")[:1]
    monkeypatch.setattr(data, "open", lambda name, split=None: few)
    monkeypatch.setattr(metrics, "lpips", lambda a, b, net: 0.5)
    seen = []
    written = run(paper_a.KODAK_TABLE, tmp_path, tier="smoke", progress=lambda image, total: seen.append(total))
    records = {record.recipe: record for record in load_all(tmp_path)}
    assert set(records) == {"noisy", "wavelets"} and len(written) == len(seen) == seen[0] == 2
    assert records["noisy"].find("sigma 25", "psnr").value == pytest.approx(20.4, abs=0.5)
    assert records["wavelets"].find("sigma 50", "psnr").value > records["noisy"].find("sigma 50", "psnr").value + 5
    with pytest.raises(DataError, match="leave out --sets"):
        run(paper_a.KODAK_TABLE, tmp_path, sets=["set5"])


def test_what_cannot_run_is_left_out_with_a_word(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(paper_a, "find_spec", lambda name: None)
    monkeypatch.setenv("RESTORE_DATA", str(tmp_path))
    monkeypatch.setenv("RESTORE_CACHE", str(tmp_path))
    monkeypatch.setattr(data, "open", lambda name, split=None: data.opening.open("embedded"))
    monkeypatch.setattr(paper_a, "cards", list)
    trials = paper_a.kodak_trials(["kodak24"], "cpu")
    assert [trial.recipe for trial in trials] == ["noisy", "wavelets"]
    said = capsys.readouterr().err
    assert "pip install bm3d" in said and "dncnn-blind" in said and "dncnn-25" in said


def test_a_run_of_two_sets_is_kept_with_both_on_its_card(tmp_path, monkeypatch):
    recipe = next(r for r in DENOISERS if r.name == "denoiser-35")
    run = fit(at_tier(recipe, "smoke"), tmp_path / "run", quiet=True)
    weights = keep(tmp_path / "run", "smoke", folder=tmp_path / "kept")
    assert weights.name == "denoiser-35-smoke" and weights.steps == run.step == 20 and weights.dataset == "embedded"
    kept = checkpoints.load_weights("denoiser-35-smoke", folder=tmp_path / "kept")
    own = run.averaged["denoiser"].state_dict()
    assert all(torch.equal(kept[name], own[name]) for name in kept)


def test_recipes_for_other_strengths_start_from_the_first(tmp_path):
    for recipe in DENOISERS:
        variant = recipe.name.rpartition("-")[0]
        assert at_tier(recipe, "cpu").start == ("" if recipe.sigma == 25 else f"{variant}-25-cpu")
        assert at_tier(recipe, "gpu").start == at_tier(recipe, "paper").start == ""
    paper = at_tier(DENOISERS[0], "paper")
    assert (paper.steps, paper.optimizer, paper.learning_rate, paper.decay) == (1_500_000, "sgd", 1e-4, 0)


def test_each_choice_is_undone_alone():
    base = at_tier(ABLATIONS[0], "cpu")
    for (name, changed), recipe in zip(CHOICES.items(), ABLATIONS, strict=True):
        own = at_tier(recipe, "cpu")
        differs = {key for key in values(base) if getattr(own, key) != getattr(base, key)}
        assert recipe.name == f"ablation-{name}" and differs == set(changed)
    assert set(paper_a.ABLATION_TITLES) == set(CHOICES)


def test_the_ablation_trains_and_measures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paper_a, "CHOICES", {"sum": CHOICES["sum"]})
    monkeypatch.setattr(paper_a, "ABLATIONS", (next(r for r in ABLATIONS if r.name == "ablation-sum"),))
    monkeypatch.setattr(paper_a, "ABLATION_SEEDS", (0, 1))
    few = data.open("embedded")[:3]
    monkeypatch.setattr(data, "open", lambda name, split=None: few)
    written = run(paper_a.ABLATION_TABLE, tmp_path / "results", sets=["embedded"], tier="smoke")
    assert [path.name.rpartition("__")[2] for path in written] == ["seed0.json", "seed1.json"]
    first, second = load_all(tmp_path / "results")
    assert first.steps == 20 and first.settings["choice"] == "fusion by sum"
    assert first.measurements[0].value != second.measurements[0].value
