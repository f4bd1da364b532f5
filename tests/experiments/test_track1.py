"""A Track 1 of our own: its rules, its jobs, and a table whose every line has a method."""

import math
from dataclasses import replace

import pytest
import torch

from restore_lib import data, images, metrics
from restore_lib.data.opening import ImageSet, Item
from restore_lib.errors import DataError
from restore_lib.experiments import load_all, paper_b, run
from restore_lib.nets.rrdbnet import interpolate_networks
from restore_lib.pretrained import Card, build, save_checkpoint
from restore_lib.realsr import hidden_camera
from restore_lib.realsr.recipes import PIXELS, SR
from restore_lib.realsr.zssr import REAL, quick
from restore_lib.training import at_tier


@pytest.fixture
def few(monkeypatch, tmp_path, rng):
    """The experiment on two made-up photos, degraded as the embedded world is, without the weights of LPIPS."""
    items = []
    for name in ("p0", "p1"):
        images.write(tmp_path / f"{name}.png", torch.rand(3, 130, 145, generator=rng))
        items.append(Item(name, {"image": tmp_path / f"{name}.png"}))
    image_set, whole = ImageSet("kodak24", "", items, {}), data.open
    monkeypatch.setattr(data, "open", lambda name, split=None: image_set if name == "kodak24" else whole(name, split))
    monkeypatch.setattr(paper_b, "PHOTO_SETS", "embedded")
    monkeypatch.setattr(paper_b, "WEAK", "embedded")
    monkeypatch.setattr(metrics, "lpips", lambda a, b, net: 0.25 + float((a - b).abs().mean()))
    return image_set


def test_the_rule_is_the_challenges(monkeypatch, rng):
    monkeypatch.setattr(metrics, "lpips", lambda a, b, net: float(a.shape[-1]))
    hr = torch.randint(0, 256, (3, 40, 48), generator=rng).float() / 255
    sr = hr + 0.1 * torch.randn(hr.shape, generator=rng)
    actual = paper_b.track1_metrics(sr, hr)
    levels = [(255 * x.double().clamp(0, 1)).round()[:, 4:-4, 4:-4] for x in (sr, hr)]
    error = (levels[0] - levels[1]).square().mean().item()
    assert actual["psnr"] == pytest.approx(10 * math.log10(255**2 / error), abs=1e-4)
    assert actual["lpips_alex"] == 40 and 0 < actual["ssim"] < 1


def test_every_method_gets_the_same_photo(few):
    item = few[0]
    one, two = (paper_b.hidden_pair(item, 4.0, torch.Generator().manual_seed(i)) for i in (0, 1))
    assert torch.equal(one[0], two[0]) and one[1].shape == (3, 128, 144) and one[0].shape == (3, 32, 36)


def test_the_quick_tier_interpolates_and_says_how_photos_differ(few, tmp_path):
    seen = []
    written = run(paper_b.TRACK1_TABLE, tmp_path, tier="smoke", progress=lambda image, total: seen.append(total))
    records = {record.protocol: record for record in load_all(tmp_path)}
    assert len(written) == 3 and set(records) == {"track1-here", "track1-few", "track1-weak-few"} and seen == [6] * 6
    record = records["track1-here"]
    values = record.find("x4", "psnr").per_image
    spread = abs(values[0] - values[1]) / math.sqrt(2)
    assert record.find("x4", "psnr_spread").value == pytest.approx(spread, abs=1e-5)
    with pytest.raises(DataError, match="leave out --sets"):
        run(paper_b.TRACK1_TABLE, tmp_path, sets=["set5"], tier="smoke")


def card(name, recipe, tier="smoke", steps=3):
    architecture = at_tier(PIXELS, "smoke").architecture()
    return Card(
        name, recipe, tier, steps, 0, "d", "0" * 64, architecture, {"torch": "2"}, "cpu", "2026-01-01T00:00:00Z",
        "unknown", "MIT",
    )  # fmt: skip


def test_trained_networks_and_those_between_are_measured(few, tmp_path, monkeypatch):
    folder = tmp_path / "checkpoints"
    for name in ("rrdb-l1-noise", "rrdb-gan-noise"):
        save_checkpoint(build(at_tier(PIXELS, "smoke").architecture()), card(f"{name}-smoke", name), folder)
    save_checkpoint(build(card("x", "x").architecture), card("old", "rrdb-l1-noise", steps=2), folder)
    monkeypatch.setattr("restore_lib.pretrained.checkpoints.search_folders", lambda: [folder])
    monkeypatch.setattr(paper_b, "ZSSR_SETTINGS", {})
    monkeypatch.setattr(paper_b, "SHARES", (0.0, 1.0))
    between = replace(paper_b.TRACK1_BETWEEN, conditions={"share 0": 0.0, "share 1": 1.0})
    monkeypatch.setattr(paper_b, "TRACK1_BETWEEN", between)
    monkeypatch.setattr(paper_b, "has_bfloat16", lambda device: False)
    assert sorted(one.name for one in paper_b.trained()) == ["rrdb-gan-noise-smoke", "rrdb-l1-noise-smoke"]
    run(paper_b.TRACK1_TABLE, tmp_path / "results", tier="cpu")
    records = {(r.recipe, r.protocol): r for r in load_all(tmp_path / "results")}
    first, second = (records[name, "track1-here"] for name in ("rrdb-l1-noise", "rrdb-gan-noise"))
    curve = records["rrdb-gan-noise-between", "track1-between"]
    for share, end in (("share 0", first), ("share 1", second)):
        assert curve.find(share, "psnr").value == pytest.approx(end.find("x4", "psnr").value, abs=1e-4)
    assert second.steps == 3 and second.settings["checkpoint"] == "rrdb-gan-noise-smoke"


def test_what_bfloat16_costs_is_measured_against_the_photo_and_the_exact_result(few, monkeypatch):
    network, calls = torch.nn.Identity(), []

    def coarse(network, lr, *, precision):
        calls.append(precision)
        sr = lr.repeat_interleave(4, 1).repeat_interleave(4, 2)
        return sr if precision == "exact" else (sr * 32).round() / 32

    monkeypatch.setattr(paper_b, "upscale", coarse)
    record = paper_b.precision_trial("realsr-df2k", network).record("cpu")
    assert record.recipe == "realsr-df2k-precision" and record.protocol == "track1-precision"
    assert calls == ["exact", "bf16"] * 2  # once a photo each
    for i, item in enumerate(few):
        lr, hr = paper_b.hidden_pair(item, 4.0, torch.Generator())
        exact, rounded = (coarse(network, lr, precision=p) for p in ("exact", "bf16"))
        for condition, pair in zip(
            paper_b.TRACK1_PRECISION.conditions, ((exact, hr), (rounded, hr), (rounded, exact)), strict=True
        ):
            expected = paper_b.track1_metrics(*pair)
            assert record.find(condition, "psnr").per_image[i] == pytest.approx(expected["psnr"], abs=1e-4)


def test_where_bfloat16_is_not_native_nothing_is_said_about_it(few, monkeypatch, capsys):
    monkeypatch.setattr(paper_b, "has_bfloat16", lambda device: False)
    assert not list(paper_b.precision_trials([], {"realsr-df2k": torch.nn.Identity()}))
    assert "bfloat16" in capsys.readouterr().err
    monkeypatch.setattr(paper_b, "has_bfloat16", lambda device: True)
    trials = paper_b.precision_trials([], {"realsr-df2k": torch.nn.Identity(), "other": torch.nn.Identity()})
    assert [trial.recipe for trial in trials] == ["realsr-df2k-precision"]


def test_authors_models_that_are_not_here_are_left_out_with_a_word(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("RESTORE_DATA", str(tmp_path))
    assert paper_b.imported() == {}
    said = capsys.readouterr().err
    assert "left out RealSR, authors' model" in said and "restore weights import realsr-df2k" in said


def test_methods_that_train_on_a_photo_are_asked_with_their_settings(few, monkeypatch):
    calls = []

    def fake(lr, *words, seed):
        calls.append((*words, seed))
        return type("R", (), {"sr": torch.zeros(3, 4 * lr.shape[1], 4 * lr.shape[2]) + torch.is_grad_enabled()})()

    monkeypatch.setattr(paper_b, "zssr", fake)
    monkeypatch.setattr(paper_b, "k_zssr", fake)
    estimate = type("F", (), {"kernel": torch.ones(3, 3)})()
    monkeypatch.setattr(paper_b.paper_b_kernels, "estimated", lambda lrs, seed: [estimate])
    settings = replace(quick(REAL), steps=7)
    monkeypatch.setattr(paper_b, "ZSSR_SETTINGS", {"zssr-real": settings, "k-zssr": settings})
    record = paper_b.few_trial("zssr-real").record()
    assert calls[0][:2] == ((2, 4), None) and calls[0][2] == settings and len(calls) == 2
    assert record.steps == 7 and record.images == ("p0", "p1")
    paper_b.few_trial("k-zssr").record()
    assert torch.equal(calls[2][0], torch.ones(3, 3)) and calls[2][1] == 4


def test_between_two_networks_lies_the_mean_of_their_weights(rng):
    first, second = (torch.nn.Conv2d(3, 2, 3) for _ in range(2))
    x = torch.rand(1, 3, 8, 9, generator=rng)
    half = interpolate_networks(first, second, 0.25)
    torch.testing.assert_close(half(x), 0.75 * first(x) + 0.25 * second(x))  # a linear network
    assert torch.equal(interpolate_networks(first, second, 0)(x), first(x))
    with pytest.raises(ValueError, match="one architecture"):
        interpolate_networks(first, torch.nn.Conv2d(3, 2, 5), 0.5)


def test_every_line_has_a_method_that_runs():
    table = paper_b.TRACK1_TABLE
    methods = {recipe.name for recipe in SR} | {"bicubic"} | set(paper_b.AUTHORS)
    names = {"track1-here": methods, "track1-few": {"bicubic", *paper_b.ZSSR_SETTINGS}}
    names["track1-weak-few"] = set(paper_b.WEAK_ROWS)
    names["track1-between"] = {"rrdb-gan-noise-between"}
    names["track1-precision"] = {"rrdb-gan-both-precision", "realsr-df2k-precision"}
    for line in table.lines:
        assert line.recipe in names[line.protocol]
        assert line.paper is None or (line.why and not line.comparable)
    printed = {line.paper.row for line in table.lines if line.paper}
    assert printed == {"EDSR", "ESRGAN", "ZSSR", "K-ZSSR", "RealSR"}
    assert hidden_camera.photo_sets("photos").test[0] == paper_b.KODAK
