"""What the papers say, put to the records: which way each comparison came out, and whether it is beyond doubt."""

import re

import pytest
from made_up import record
from unbacked import unbacked_numbers

from restore_lib import experiments
from restore_lib.experiments import ledger, load_all, pages, published, results_folder, save
from restore_lib.experiments.paper_a import KODAK_PROTOCOL

PAPERS = ("a", "b", "c")
EVERY = [claim for paper in PAPERS for claim in published.claims()[paper]]


@pytest.mark.parametrize("claim", EVERY, ids=lambda claim: claim.says)
def test_a_claim_names_methods_and_conditions_that_are_there(claim):
    named = set()
    for table, name, metric in claim.places:
        lines = [line for line in experiments.find(table).section(name).lines if line.metric == metric]
        groups = {line.group for line in lines}
        assert set(claim.conditions) & {line.condition for line in lines} or not claim.conditions
        assert any(set(pair) <= groups for pair in claim.pairs), (table, name)
        named |= {pair for pair in claim.pairs if set(pair) <= groups}
    assert named == set(claim.pairs)


@pytest.mark.parametrize("paper", PAPERS)
def test_the_page_backs_each_number_and_counts_what_it_lists(paper):
    html = pages.judged(paper).html
    assert unbacked_numbers(html) == []
    table, _, details = html.partition("<summary>Every comparison</summary>")
    for claim in published.claims()[paper]:
        row = table.split(claim.says.replace("'", "&#x27;"))[1].split("</tr>")[0]
        counts = r">(\d+) of (\d+)<.*?>(\d+) of \d+<.*?>(\d+) clearly<"
        held, total, clear, against = map(int, re.findall(counts, row)[0])
        listed = details.split(f"<summary>{claim.says.replace(chr(39), '&#x27;')}</summary>")[1].split("</details>")[0]
        ways = re.findall(r"<td>(ahead|behind)(, clearly)?</td></tr>", listed)
        assert len(ways) == total and sum(way == "ahead" for way, _ in ways) == held
        assert (ways.count(("ahead", ", clearly")), ways.count(("behind", ", clearly"))) == (clear, against)
        word = re.search(r"</th><td>([a-z ]+)</td>", row)
        assert word and (word[1] == "not measured") == (total == 0)
        assert word[1].startswith("holds") == (held == total > 0)
        assert (word[1] == "does not hold") == (held == 0 < total)


def kodak(folder, recipe, values, seed=0):
    made = {"sigma 25": {"psnr": values}}
    images = [f"kodim{i:02d}" for i in range(len(values))]
    save(record(made, images=images, recipe=recipe, dataset="kodak24", protocol=KODAK_PROTOCOL.name, seed=seed), folder)


def compared(folder):
    (one,) = ledger.judge(published.claims()["a"][0], experiments.EXPERIMENTS, load_all(folder))
    return one


def test_a_gain_on_every_photo_is_clear_and_one_that_photos_contradict_is_not(tmp_path, recipes):
    ours, theirs = recipes
    kodak(tmp_path, theirs, [30.0, 31, 32, 33, 34, 35])
    kodak(tmp_path, ours, [30.2, 31.3, 32.1, 33.2, 34.3, 35.1])
    assert compared(tmp_path).gap == pytest.approx(0.2) and compared(tmp_path).clear
    kodak(tmp_path, ours, [33.2, 29.3, 35.1, 30.2, 37.3, 31.1])
    assert compared(tmp_path).gap == pytest.approx(0.2) and not compared(tmp_path).clear
    kodak(tmp_path, ours, [29.8, 30.7, 31.9, 32.8, 33.7, 34.9])
    assert compared(tmp_path).gap == pytest.approx(-0.2) and compared(tmp_path).clear


def test_runs_that_differ_more_than_the_methods_leave_a_doubt(tmp_path, recipes):
    ours, theirs = recipes
    for seed, (a, b) in enumerate([(0.0, 0.9), (1.5, 0.1), (0.3, 0.2)]):
        kodak(tmp_path, theirs, [30 + b, 31 + b, 32 + b, 33 + b], seed)
        kodak(tmp_path, ours, [30 + a, 31 + a, 32 + a, 33 + a], seed)
    one = compared(tmp_path)
    assert one.gap == pytest.approx(0.2) and not one.clear  # on every photo alike, by the luck of a run


@pytest.fixture
def recipes():
    """Recipes behind the first claim: the better method's and the other's."""
    (pair,) = published.claims()["a"][0].pairs
    lines = experiments.find("liu2018-kodak").section("means").lines
    return [next(x.recipe for x in lines if (x.group, x.condition) == (group, "sigma 25")) for group in pair]


def test_a_smaller_lpips_is_better():
    claim = published.claims()["b"][0]  # RealSR has the best LPIPS
    for one in ledger.judge(claim, experiments.EXPERIMENTS, load_all(results_folder())):
        assert (one.gap > 0) == (one.better.ours.value < one.worse.ours.value)


def test_on_an_encoder_that_stays_as_it_is_metasr_is_last():
    """The pages of paper C say so, and why."""
    part = experiments.find("diinn2023-scales").section("full")
    ours = {(e.line.group, e.line.condition): e.ours for e in ledger.entries(part, load_all(results_folder()), "psnr")}
    places = [(name, at) for name, at in ours if "Meta-SR" in name and ours[name, at]]
    assert len(places) >= 10
    for name, at in places:
        others = [
            name.replace("Meta-SR, full size", other)
            for other in ("LIIF, full size, trained again", "DIINN, full size")
        ]
        assert all(ours[other, at].value > ours[name, at].value for other in others)
