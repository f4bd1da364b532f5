"""Paper C's tables: who is measured where, resuming, seeds, and lines whose every number has its place."""

import re

import pytest
import torch
from made_up import record
from unbacked import unbacked_numbers

from restore_lib import data, files, images, implicit
from restore_lib.data.opening import ImageSet, Item
from restore_lib.errors import DataError
from restore_lib.experiments import ledger, load_all, pages, paper_c, run, runs, save
from restore_lib.experiments import published as printed
from restore_lib.implicit.recipes import RECIPES
from restore_lib.pretrained import Card, describe, published, save_checkpoint

ARGUMENTS = {"encoder": "small", "width": 4}


@pytest.fixture
def few(monkeypatch, tmp_path, rng):
    """The four sets, made up: as many small photos as the table looks at, and more."""
    image_sets = {}
    for name, count in {"set5": 1, "set14": 1, "b100": 3, "urban100_every8th": 2}.items():
        items = []
        for i in range(count):
            path = tmp_path / "sets" / f"{name}-{i}.png"
            images.write(path, torch.rand(3, 66, 71, generator=rng))
            items.append(Item(f"{name}-{i}", {"image": path}))
        image_sets[name] = ImageSet(name, "", items, {})
    monkeypatch.setattr(data, "open", lambda name, split=None: image_sets[name])
    monkeypatch.setattr(paper_c, "PHOTOS", {"set5": 5, "set14": 14, "b100": 2, "urban100_every8th": 1})
    return image_sets


@pytest.fixture
def shelf(monkeypatch, tmp_path):
    """A folder of checkpoints of its own."""
    monkeypatch.setattr("restore_lib.pretrained.checkpoints.search_folders", lambda: [tmp_path / "shelf"])
    return tmp_path / "shelf"


def keep(name, recipe, folder, seed=0, steps=3, tier="cpu"):
    torch.manual_seed(len(name) + 10 * seed)
    network = implicit.MetaSR(**ARGUMENTS)
    card = Card(
        name, recipe, tier, steps, seed, "d", "0" * 64, describe(implicit.MetaSR, **ARGUMENTS), {"torch": "2"}, "cpu",
        "2026-01-01T00:00:00Z", "unknown", "MIT",
    )  # fmt: skip
    return save_checkpoint(network, card, folder)


def test_the_quick_tier_interpolates_set5(few, tmp_path):
    seen = []
    written = run(paper_c.SCALES_TABLE, tmp_path / "r", tier="smoke", progress=lambda *report: seen.append(report))
    assert [path.name for path in written] == [
        f"bicubic__set5__{protocol}.json" for protocol in ("diinn-scales", "liif-scales", "cell-borders")
    ]
    assert seen == [("set5-0", 3)] * 3
    records = {r.protocol: r for r in load_all(tmp_path / "r")}
    assert records["diinn-scales"].conditions == ["x2", "x2.5", "x3", "x3.5", "x4", "x6", "x8", "x10", "x15"]
    assert records["liif-scales"].conditions == ["x2", "x3", "x4", "x6", "x8"]
    with pytest.raises(DataError, match="set5, set14, b100, urban100_every8th: give some"):
        run(paper_c.SCALES_TABLE, tmp_path / "r", sets=["kodak24"], tier="smoke")


def test_photos_are_chosen_evenly_and_said(few):
    for name, expected in (("b100", ["b100-0", "b100-1"]), ("set14", ["set14-0"])):
        assert [item.name for item in runs.evenly(few[name], paper_c.PHOTOS[name])] == expected
    rules = paper_c.on_set(paper_c.DIINN, "b100").rules
    assert rules["photos"] == "2 of the set, evenly chosen"
    assert "photos" not in paper_c.on_set(paper_c.DIINN, "set5").rules


def test_every_seed_of_the_longest_training_is_measured_and_its_spread_shown(few, shelf, tmp_path, capsys):
    for seed in (0, 1):
        keep(f"metasr-cpu-{seed}", "metasr", shelf, seed)
    keep("metasr-smoke", "metasr", shelf, steps=2, tier="smoke")
    keep("metasr-again", "metasr", shelf, 1)  # the same seed twice
    keep("other", "small-denoiser", shelf)
    trials = [trial for trial in paper_c.scale_trials(["set5"], "cpu") if trial.recipe == "metasr"]
    assert {trial.settings["checkpoint"] for trial in trials} == {"metasr-cpu-0", "metasr-again"}
    written = run(paper_c.SCALES_TABLE, tmp_path / "r", sets=["set5"], tier="cpu")
    assert "left out LIIF's authors' network" in capsys.readouterr().err
    records = load_all(tmp_path / "r")
    assert len(written) == len(records) == 3 * 3  # bicubic and two seeds, under three protocols
    rows = ledger.entries(paper_c.SCALES_TABLE.section("diinn"), records, "psnr")
    row = next(r for r in rows if r.line.group == "Set5, Meta-SR" and r.line.condition == "x2.5")
    values = [r.find("x2.5", "psnr").value for r in records if r.recipe == "metasr" and r.protocol == "diinn-scales"]
    assert row.ours.runs == 2 and row.ours.value == pytest.approx(sum(values) / 2, abs=1e-5)
    assert "±" in row.cells()["ours"].text
    rows = ledger.entries(paper_c.SCALES_TABLE.section("borders"), records, "border_jump")
    measured = {r.line.group for r in rows if r.ours}
    assert measured == {"bicubic interpolation", "Meta-SR"}


def test_what_has_been_measured_is_not_measured_again(few, shelf, tmp_path, capsys, monkeypatch):
    keep("diinn-a-cpu", "diinn-a", shelf)
    reports = []
    first = run(paper_c.SCALES_TABLE, tmp_path / "r", sets=["b100"], tier="cpu")
    assert sorted(path.name for path in first) == [
        "bicubic__b100__diinn-scales.json",
        "bicubic__b100__liif-scales.json",
        "diinn-a__b100__diinn-scales__cpu__seed0.json",
    ]
    again = run(
        paper_c.SCALES_TABLE,
        tmp_path / "r",
        sets=["b100"],
        tier="cpu",
        progress=lambda name, total: reports.append((name, total)),
    )
    assert [path.name for path in again] == [path.name for path in first[:2]]
    assert reports[-1] == ("diinn-a has been measured", 6) and len(reports) == 6
    keep("diinn-a-cpu", "diinn-a", shelf, steps=4)  # other weights
    monkeypatch.setattr(paper_c, "PHOTOS", {"b100": 1})  # other photos
    assert len(run(paper_c.SCALES_TABLE, tmp_path / "r", sets=["b100"], tier="cpu")) == 3
    (record,) = (r for r in load_all(tmp_path / "r") if r.recipe == "diinn-a")
    assert record.steps == 4 and list(record.images) == ["b100-0"]


def test_the_authors_network_is_measured_where_it_was_imported(few, shelf, tmp_path, monkeypatch):
    network, weights = implicit.LIIF("edsr-baseline", hidden=[4]).eval(), tmp_path / "liif-authors.safetensors"
    weights.write_bytes(b"weights")
    monkeypatch.setattr(published, "imported", lambda: {"liif-authors": weights})
    monkeypatch.setattr(published, "load_published", lambda name: network)
    run(paper_c.SCALES_TABLE, tmp_path / "r", sets=["set5"], tier="cpu")
    records = [r for r in load_all(tmp_path / "r") if r.recipe == "liif-authors"]
    assert sorted(r.protocol for r in records) == ["cell-borders", "diinn-scales", "liif-scales"]
    assert records[0].settings["sha256"] == files.sha256(weights)
    assert run(paper_c.SCALES_TABLE, tmp_path / "r", sets=["set5"], tier="cpu")[3:] == []


def test_every_line_has_a_method_that_is_measured_there():
    recipes = set(RECIPES)
    assert set(paper_c.WHERE) == recipes | {"bicubic", "liif-authors"}
    lines = paper_c.SCALES_TABLE.lines
    assert len({(x.group, x.condition, x.metric, x.protocol) for x in lines}) == len(lines)
    for line in lines:
        if not line.recipe:
            assert (line.paper or line.log) and not line.comparable and line.why
            continue
        measured = {p.name: p for p in paper_c.WHERE[line.recipe][line.dataset]}
        assert line.condition in measured[line.protocol].conditions
        assert line.paper is None or line.why
    expected = {
        (recipe, dataset, protocol.name)
        for recipe, sets in paper_c.WHERE.items()
        for dataset, protocols in sets.items()
        for protocol in protocols
    }
    assert {(x.recipe, x.dataset, x.protocol) for x in lines if x.recipe} == expected


def test_all_that_was_printed_is_shown():
    table = paper_c.SCALES_TABLE
    papers = {(x.paper.row, x.paper.column) for x in table.lines if x.paper}
    theirs = printed.tables()["liif-benchmarks"]
    assert papers == {(r, c) for r in theirs.rows for c in theirs.columns if printed.number(theirs.name, r, c)}
    logs = {(x.log.table.name, x.log.row, x.log.column) for x in table.lines if x.log}
    ends, steps = (printed.tables()[name] for name in ("diinn-log", "diinn-log-trajectory"))
    assert {key[1:] for key in logs if key[0] == steps.name} == {(r, c) for r in steps.rows for c in steps.columns}
    assert {key[1:] for key in logs if key[0] == ends.name} == {(r, c) for r in ends.rows for c in ("x2", "x3", "x4")}


def test_the_authors_network_alone_is_subtracted_from_the_paper(tmp_path):
    for recipe, steps in (("liif-authors", 0), ("liif", 9)):
        values = {c: {"psnr": [37.987713]} for c in paper_c.LIIF.conditions}
        save(record(values, recipe=recipe, protocol="liif-scales", images=["a"], steps=steps), tmp_path)
    section = paper_c.SCALES_TABLE.section("liif")
    cells = {(r.line.group, r.line.condition): r.cells() for r in ledger.entries(section, load_all(tmp_path))}
    theirs, small = cells["Set5, LIIF, authors' weights", "x2"], cells["Set5, LIIF", "x2"]
    assert (theirs["paper"].text, theirs["ours"].text, theirs["difference"].text) == ("38.17", "37.99", "−0.18")
    assert "EDSR-baseline" in theirs["why"].text
    assert small["difference"].text == "" and "not comparable" in small["why"].text
    assert cells["B100, RDN, one network a scale", "x3"]["paper"].text == "29.26"


def test_no_number_on_the_pages_is_without_a_source(tmp_path):
    values = {c: {"psnr": [31.4], "ssim": [0.9], "lr_psnr": [45.0]} for c in paper_c.DIINN.conditions}
    for name in ("set5", "b100"):
        save(record(values, recipe="diinn", dataset=name, protocol="diinn-scales", images=["a"], steps=9), tmp_path)
    jumps = {c: {"border_jump": [1.25], "border_error": [1.5]} for c in paper_c.BORDERS.conditions}
    save(record(jumps, recipe="metasr", dataset="set5", protocol="cell-borders", images=["a"], steps=9), tmp_path)
    for section in paper_c.SCALES_TABLE.sections:
        shown = pages.ledger if section.published and section.name != "diinn" else pages.section
        html = shown("diinn2023-scales", section.name, folder=tmp_path).html
        assert unbacked_numbers(html, tmp_path) == [], section.name
    html = pages.pivot("diinn2023-scales", "borders", metric="border_jump", folder=tmp_path).html
    assert re.search(r"Jumps across cell borders.*1\.250", html)
