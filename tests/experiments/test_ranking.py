"""Rank tables: the published order beside ours, with a correlation that counts pairs."""

import re

import pytest
import torch
from made_up import record
from unbacked import unbacked_numbers

from restore_lib import experiments
from restore_lib.experiments import ledger, load_all, pages, save
from restore_lib.experiments.paper_b import TRACK1_WEAK, WEAK_ROWS

METHODS = [name for name, (_, row) in WEAK_ROWS.items() if row]
PUBLISHED = {  # the paper's Table 1, best first
    "psnr": ["EDSR (small)", "ZSSR", "RealSR, authors' model", "ESRGAN (small)", "K-ZSSR"],
    "lpips_alex": ["RealSR, authors' model", "EDSR (small)", "ZSSR", "ESRGAN (small)", "K-ZSSR"],
}


@pytest.fixture
def results(tmp_path, rng):
    for name in (*METHODS, "bicubic"):
        psnr, lpips = (float(torch.rand((), generator=rng)) for _ in range(2))
        values = {"x4": {"psnr": [20 + psnr], "ssim": [0.5], "lpips_alex": [lpips]}}
        save(record(values, images=["a"], recipe=name, dataset="kodak24", protocol=TRACK1_WEAK.name), tmp_path)
    return tmp_path


def order(results, metric):
    return ledger.ranking(experiments.find("realsr-track1").section("weak"), load_all(results), metric)


@pytest.mark.parametrize("metric", ["psnr", "lpips_alex"])
def test_the_correlation_counts_pairs(results, metric):
    found = order(results, metric)
    assert {entry.line.recipe for entry in found.entries} == set(METHODS)  # bicubic has no published row
    sign = 1 if metric == "psnr" else -1
    theirs = [sign * float(entry.line.paper.text) for entry in found.entries]
    ours = [sign * entry.ours.value for entry in found.entries]
    assert theirs == sorted(theirs, reverse=True)
    pairs = [(i, j) for i in range(5) for j in range(i)]
    agreeing = sum((theirs[i] - theirs[j]) * (ours[i] - ours[j]) > 0 for i, j in pairs)
    assert found.tau == pytest.approx((agreeing - (10 - agreeing)) / 10)
    assert len(found.reversed_pairs) == 10 - agreeing
    assert found.places == [1 + sum(other > mine for other in ours) for mine in ours]


def test_the_page_says_what_is_the_other_way_round_and_backs_each_number(results):
    html = pages.ranking("realsr-track1", "weak", ["psnr", "lpips_alex"], results).html
    assert unbacked_numbers(html, results) == []
    for metric in ("psnr", "lpips_alex"):
        found = order(results, metric)
        assert f">{found.tau:.2f}<".replace("-", "−") in html
        for better, worse in found.reversed_pairs:
            assert f"{better.line.group} and {worse.line.group}".replace("'", "&#x27;") in html
    changed = re.sub(r"(<span data-source=\"tau:[^>]*>)[^<]*", r"\g<1>0.77", html, count=1)
    assert unbacked_numbers(changed, results) == ["0.77"]


@pytest.mark.parametrize(("metric", "names"), PUBLISHED.items())
def test_the_published_order_is_the_paper_s(results, metric, names):
    shown = [entry.line.group for entry in order(results, metric).entries]
    assert set(shown) == set(names) and shown[0] == names[0]
    assert shown.index("ESRGAN (small)") > shown.index("EDSR (small)")  # in both of the paper's metrics


def test_without_records_no_order_is_claimed(tmp_path):
    html = pages.ranking("realsr-track1", "weak", ["psnr"], tmp_path).html
    assert "Fewer than two" in html and "τ" not in html
