"""Paper A's Table 1 and the ablation: their rules, their jobs, and what they leave out."""

import math

import pytest
import torch

from restore_lib import data, metrics
from restore_lib.denoising.recipes import ABLATIONS, CHOICES, DENOISERS
from restore_lib.errors import DataError
from restore_lib.experiments import ablation, kodak, load_all, runs, sharpness
from restore_lib.experiments.keeping import keep
from restore_lib.pretrained import checkpoints
from restore_lib.training import at_tier, fit, values


def test_the_rule_is_the_authors(monkeypatch, rng):
    monkeypatch.setattr(metrics, "lpips", lambda a, b, net: 0.25)
    clean = torch.randint(0, 256, (3, 20, 24), generator=rng).float() / 255
    restored = clean + 0.1 * torch.randn(clean.shape, generator=rng)
    found = kodak.kodak_metrics(restored, clean, 25.0)
    levels = [(255 * x.double().clamp(0, 1)).round()[:, 3:-3, 3:-3] for x in (restored, clean)]
    error = (levels[0] - levels[1]).square().mean().item()
    assert found["psnr"] == pytest.approx(10 * math.log10(255**2 / error), abs=1e-4)
    assert found["lpips_alex"] == 0.25 and 0 < found["ssim"] < 1


def test_methods_that_know_the_strength_get_it(rng):
    told = kodak.told(lambda noisy, sigma: noisy * 0 + sigma)
    given = torch.rand(3, 4, 4, generator=rng)
    assert [told[f"sigma {s}"](given, (4, 4))[0, 0, 0].item() for s in (25, 35, 50)] == [25, 35, 50]


def test_the_table_runs_at_the_smallest_tier(tmp_path, monkeypatch):
    few = data.open("embedded")[:1]
    monkeypatch.setattr(data, "open", lambda name, split=None: few)
    monkeypatch.setattr(metrics, "lpips", lambda a, b, net: 0.5)
    seen = []
    written = kodak.table1(tmp_path, tier="smoke", progress=lambda image, total: seen.append(total))
    records = {record.recipe: record for record in load_all(tmp_path)}
    assert set(records) == {"noisy", "wavelets"} and len(written) == len(seen) == seen[0] == 2
    assert records["noisy"].find("sigma 25", "psnr").value == pytest.approx(20.4, abs=0.5)
    assert records["wavelets"].find("sigma 50", "psnr").value > records["noisy"].find("sigma 50", "psnr").value + 5
    with pytest.raises(DataError, match="leave out --sets"):
        kodak.table1(tmp_path, sets=["set5"])


def test_what_cannot_run_is_left_out_with_a_word(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(kodak, "find_spec", lambda name: None)
    monkeypatch.setenv("RESTORE_DATA", str(tmp_path))
    monkeypatch.setenv("RESTORE_CACHE", str(tmp_path))
    assert kodak._cbm3d() == {} and kodak._dncnn() == {}
    said = capsys.readouterr().err
    assert "pip install bm3d" in said and "dncnn-blind" in said and "dncnn-25" in said


def test_a_run_of_two_sets_is_kept_with_both_on_its_card(tmp_path, monkeypatch):
    recipe = next(r for r in DENOISERS if r.name == "denoiser-35")
    run = fit(at_tier(recipe, "smoke"), tmp_path / "run", quiet=True)
    known = keep(tmp_path / "run", "smoke", folder=tmp_path / "kept")
    assert known.name == "denoiser-35-smoke" and known.steps == run.step == 20 and known.dataset == "embedded"
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
    assert set(ablation.TITLES) == set(CHOICES)


def test_the_ablation_trains_and_measures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ablation, "CHOICES", {"sum": CHOICES["sum"]})
    monkeypatch.setattr(ablation, "ABLATIONS", (next(r for r in ABLATIONS if r.name == "ablation-sum"),))
    monkeypatch.setattr(ablation, "SEEDS", (0, 1))
    run, few = runs.run, data.open("embedded")[:3]
    monkeypatch.setattr(data, "open", lambda name, split=None: few)
    written = ablation.denoiser_ablation(tmp_path / "results", sets=["embedded"], tier="smoke")
    assert [path.name.rpartition("__")[2] for path in written] == ["seed0.json", "seed1.json"]
    first, second = load_all(tmp_path / "results")
    assert first.steps == 20 and first.settings["choice"] == "fusion by sum" and run is runs.run
    assert first.measurements[0].value != second.measurements[0].value


def test_detail_is_counted_right_or_wrong(monkeypatch, rng):
    monkeypatch.setattr(metrics, "lpips", lambda a, b, net: 0.25)
    clean = 0.25 + 0.5 * torch.rand(3, 24, 30, generator=rng)
    found = sharpness.detail_metrics(clean, clean, 30.0)
    assert (found["detail"], found["fine_power"]) == pytest.approx((100, 100), abs=1e-6)
    flat = sharpness.detail_metrics(torch.full_like(clean, 0.4), clean, 30.0)
    assert (flat["detail"], flat["fine_power"]) == pytest.approx((0, 0), abs=1e-6) and flat["lpips_alex"] == 0.25
    # brute force: windows of 5 x 5, cut at the border
    x, expected = clean[0, :9, :7].double(), torch.empty(9, 7, dtype=torch.float64)
    for i in range(9):
        for j in range(7):
            expected[i, j] = x[i, j] - x[max(i - 2, 0) : i + 3, max(j - 2, 0) : j + 3].mean()
    torch.testing.assert_close(sharpness.fine(x[None])[0], expected)
    doubled = sharpness.detail_metrics((2 * clean - 0.5).clamp(0, 1), clean, 30.0)  # twice the contrast, nothing cut
    assert (doubled["detail"], doubled["fine_power"]) == pytest.approx((200, 400), rel=1e-4)


def test_sharpness_runs_at_the_smallest_tier(tmp_path, monkeypatch):
    few = data.open("embedded")[:1]
    monkeypatch.setattr(data, "open", lambda name, split=None: few)
    monkeypatch.setattr(metrics, "lpips", lambda a, b, net: 0.5)
    (path,) = sharpness.table(tmp_path, tier="smoke")
    (record,) = load_all(tmp_path)
    assert path.name == record.file and record.recipe == "half-denoiser-30" and record.seed == 0
    assert 20 < record.find("sigma 30", "detail").value < 110 and record.find("sigma 30", "psnr").value > 24
    with pytest.raises(DataError, match="leave out --sets"):
        sharpness.table(tmp_path, sets=["set5"])
