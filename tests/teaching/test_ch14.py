"""References of chapter 14 against the library's interpolation and PSNR, draws written out, and loops over pairs."""

import copy

import pytest
import torch
from torch import nn

from restore_lib import metrics
from restore_lib.nets.rrdbnet import interpolate_networks
from restore_lib.teaching import check
from restore_lib.teaching.checks import all_exercises

BETWEEN, COSTS, PSNR, FRONT = (all_exercises()[f"14.{number}"] for number in (1, 2, 3, 4))


@pytest.fixture
def drawn(rng):
    """Fresh inputs of an exercise, three times."""
    return lambda exercise: [exercise.inputs(rng) for _ in range(3)]


def test_interpolation_is_the_librarys(drawn):
    network = nn.ModuleDict({"conv": nn.Conv2d(3, 2, 3), "norm": nn.BatchNorm2d(2)})
    for first, second, share in drawn(BETWEEN):
        pair = []
        for state in (first, second):
            pair.append(copy.deepcopy(network))
            pair[-1].load_state_dict(network.state_dict() | state)
        expected = interpolate_networks(*pair, share).state_dict()
        made = BETWEEN.reference(first, second, share)
        assert made.keys() == first.keys()
        for name, value in made.items():
            assert torch.allclose(value, expected[name])
            assert value.dtype == expected[name].dtype


def test_costs_are_sums_over_truths_and_answers(drawn):
    for values, chances in drawn(COSTS):
        mean, draw, likeliest = COSTS.reference(values, chances).tolist()
        assert draw == pytest.approx(2 * mean, rel=1e-9)
        assert mean <= likeliest + 1e-12
        written = [0.0, 0.0]
        for row, weights in zip(values.tolist(), chances.tolist(), strict=True):
            best = row[weights.index(max(weights))]
            for truth, chance in zip(row, weights, strict=True):
                written[0] += chance * (truth - best) ** 2 / len(values)
                written[1] += sum(chance * w * (truth - v) ** 2 for v, w in zip(row, weights, strict=True)) / len(
                    values
                )
        assert [likeliest, draw] == pytest.approx(written, rel=1e-9)


def test_psnr_is_the_protocols(drawn):
    rule = metrics.Protocol("rgb", 4, True)
    for sr, hr in drawn(PSNR):
        assert float(PSNR.reference(sr, hr)) == pytest.approx(metrics.psnr(sr, hr, rule), abs=1e-4)


def test_the_front_by_loops(drawn):
    for psnr, lpips in drawn(FRONT):
        points = list(zip(psnr.tolist(), lpips.tolist(), strict=True))
        kept = [not any(q != p and q[0] >= p[0] and q[1] <= p[1] for q in points) for p in points]
        assert FRONT.reference(psnr, lpips).tolist() == kept
        assert 2 <= sum(kept) < len(kept)


def sorted_front(psnr, lpips):
    kept, best = torch.zeros(len(psnr), dtype=torch.bool), float("inf")
    for at in psnr.argsort(descending=True).tolist():
        kept[at] = lpips[at] < best
        best = min(best, float(lpips[at]))
    return kept


def test_other_ways_to_write_it_pass():
    assert check("14.4", sorted_front).passed


def test_what_is_no_state_is_met_with_one_sentence():
    assert "fails with" in check("14.1", lambda first, second, share: 3).message
