"""Track 2 of our own: what methods get, what is measured without a reference, and a table with a method a line."""

import pytest
import torch

from restore_lib import data, images, metrics
from restore_lib.data.opening import ImageSet, Item
from restore_lib.errors import DataError
from restore_lib.experiments import find, load_all, paper_b, run
from restore_lib.nets.rrdbnet import RRDBNet, begin_as_interpolation
from restore_lib.realsr.recipes import SR
from restore_lib.resampling import imresize


@pytest.fixture
def without_brisque(monkeypatch):
    def missing(image):
        raise DataError("BRISQUE needs a package.")

    monkeypatch.setattr(paper_b, "INDICES", dict(paper_b.INDICES) | {"brisque": missing})
    paper_b.usable.cache_clear()
    yield
    paper_b.usable.cache_clear()


@pytest.fixture
def few(monkeypatch, tmp_path, rng):
    """Two made-up pairs and one made-up phone photo."""
    parts = {"hr0": (128, 160), "lr0": (32, 40), "hr1": (128, 128), "lr1": (32, 32), "phone": (50, 41)}
    files = {name: tmp_path / f"{name}.png" for name in parts}
    for name, size in parts.items():
        images.write(files[name], torch.rand(3, *size, generator=rng))
    pairs = [Item(f"p{i}", {"image": files[f"hr{i}"], "lr": files[f"lr{i}"]}) for i in (0, 1)]
    image_sets = {
        paper_b.PAIRS: ImageSet(paper_b.PAIRS, "", pairs, {}),
        paper_b.PHONES: ImageSet(paper_b.PHONES, "", [Item("phone", {"image": files["phone"]})], {}),
    }
    monkeypatch.setattr(data, "open", lambda name, split=None: image_sets[name])
    monkeypatch.setattr(metrics, "lpips", lambda a, b, net: 0.25 + float((a - b).abs().mean()))
    return image_sets


def test_results_are_judged_as_their_files_would_be(without_brisque, rng, capsys):
    sr = 1.2 * torch.rand(3, 64, 64, generator=rng) - 0.1
    levels = (255 * sr.clamp(0, 1)).round() / 255
    actual = paper_b.measure_alone(sr, sr)
    assert actual == {"noise_level": metrics.noise_level(levels), "blur": metrics.blur(levels)}
    assert capsys.readouterr().err.count("left out BRISQUE. BRISQUE needs a package.") == 1
    paper_b.measure_alone(sr, sr)
    assert not capsys.readouterr().err  # said once


def test_the_quick_tier_interpolates_both_sets(few, without_brisque, tmp_path):
    seen = []
    run(paper_b.TRACK2_TABLE, tmp_path / "r", tier="smoke", progress=lambda image, total: seen.append(total))
    records = {(r.recipe, r.protocol): r for r in load_all(tmp_path / "r")}
    assert set(records) == {("bicubic", "track2-pairs"), ("reference", "track2-pairs"), ("bicubic", "track2-phones")}
    assert seen == [5] * 5
    pairs = records["bicubic", "track2-pairs"]
    up = imresize(few[paper_b.PAIRS][0].read("lr"), scale=4)
    expected = paper_b.track1_metrics(up, few[paper_b.PAIRS][0].image)
    assert pairs.find("x4", "psnr").per_image[0] == pytest.approx(expected["psnr"], abs=1e-4)
    assert {m.metric for m in records["reference", "track2-pairs"].measurements} == {"noise_level", "blur"}
    large = metrics.noise_level(few[paper_b.PAIRS][1].image)
    assert records["reference", "track2-pairs"].find("x4", "noise_level").per_image[1] == pytest.approx(large, abs=1e-5)
    with pytest.raises(DataError, match="realsr_x4_crops, phone_photos"):
        run(paper_b.TRACK2_TABLE, tmp_path, sets=["set5"], tier="smoke")


def test_networks_are_measured_window_by_window(few, without_brisque, tmp_path, monkeypatch):
    network, asked = begin_as_interpolation(RRDBNet(blocks=1, width=8, growth=4, scale=4)), []

    def models(titles):
        asked.extend(titles)
        return {"realsr-df2k": network}

    monkeypatch.setattr(paper_b, "imported", models)
    monkeypatch.setattr(paper_b, "trained", lambda: [])
    run(paper_b.TRACK2_TABLE, tmp_path / "r", sets=[paper_b.PHONES], tier="cpu")
    records = {r.recipe: r for r in load_all(tmp_path / "r")}
    assert set(records) == {"bicubic", "realsr-df2k"} and "realsr-df2k-jpeg" in asked
    lr = few[paper_b.PHONES][0].image
    with torch.no_grad():
        level = metrics.noise_level(images.from_uint8(images.to_uint8(network(lr[None])[0].clamp(0, 1))))
    assert records["realsr-df2k"].find("x4", "noise_level").value == pytest.approx(level, abs=1e-2)


def test_every_line_of_the_table_has_a_method():
    table = find("realsr-track2")
    methods = {recipe.name for recipe in SR} | {"bicubic"} | set(paper_b.TRACK2_AUTHORS)
    seen = {section.name: {line.recipe for line in section.lines} for section in table.sections}
    assert seen == {"pairs": methods | {"reference"}, "phones": methods}
    assert len(set(paper_b.METHODS.values())) == len(paper_b.METHODS)
    assert not any(line.metric == "psnr" for line in table.lines if line.recipe == "reference")


def test_real_pairs_lie_on_each_other(photos):
    """The registration that the rules promise: a shift by a pixel either way is worse."""
    for item in data.open(paper_b.PAIRS).items[::8]:
        hr = item.image
        up = imresize(item.read("lr"), size=tuple(hr.shape[-2:]))
        shifts = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)]
        errors = [(torch.roll(up, by, (1, 2)) - hr)[:, 2:-2, 2:-2].square().mean().item() for by in shifts]
        assert min(errors) == errors[0], item.name
