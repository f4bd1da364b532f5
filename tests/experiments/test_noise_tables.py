"""The statistics of collected noise as run records."""

import pytest

from restore_lib.errors import DataError
from restore_lib.experiments import load_all, run
from restore_lib.experiments.paper_b_kernels import NOISE_TABLE


def test_the_sets_become_records(photos, tmp_path):
    reports = []
    tell = lambda name, total: reports.append((name, total))  # noqa: E731
    run(NOISE_TABLE, tmp_path, sets=["dnd_noisy"], progress=tell)
    (record,) = load_all(tmp_path)
    assert reports == [("dnd_noisy", 1)] and record.conditions == ["collected", "injected", "gaussian"]
    white = record.find("gaussian", "luma share").value
    # independent colours: 0.299^2 + 0.587^2 + 0.114^2
    assert white == pytest.approx(0.447, abs=0.02) and record.find("gaussian", "across 1").value == pytest.approx(
        0, abs=0.02
    )
    assert record.find("collected", "across 1").value > 0.3  # neighbours share what demosaicing made of them
    lines = NOISE_TABLE.sections[0].lines
    assert {line.condition for line in lines if line.answered_by([record])} == set(record.conditions)
    assert all(line.answered_by([record]) for line in lines if line.dataset == "dnd_noisy")


def test_other_sets_are_refused():
    with pytest.raises(DataError, match="give some of these"):
        run(NOISE_TABLE, "unused", sets=["set5"])
