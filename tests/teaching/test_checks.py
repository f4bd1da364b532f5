"""Checks: right answers pass, each known mistake gets its own hint, and everything else is said in one sentence."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from restore_lib.teaching import check, check_network, hint
from restore_lib.teaching.checks import ROUNDS, CheckResult, all_exercises

EXERCISES = all_exercises()
MISTAKES = [(number, i) for number, exercise in EXERCISES.items() for i in range(len(exercise.mistakes))]


def test_each_chapter_has_exercises():
    chapters = {number.split(".")[0] for number in EXERCISES}
    assert chapters == {str(int(path.name[:2])) for path in (Path(__file__).parents[2] / "notebooks").glob("*.ipynb")}
    assert all(sum(number.startswith(c + ".") for number in EXERCISES) >= 3 for c in chapters)


@pytest.mark.parametrize("number", EXERCISES)
def test_the_librarys_answer_passes(number):
    result = check(number, EXERCISES[number].reference)
    assert result.passed, repr(result)
    assert result.message == f"{number}: correct on {ROUNDS} of {ROUNDS} fresh inputs."


@pytest.mark.parametrize(("number", "index"), MISTAKES)
def test_each_known_mistake_gets_its_own_hint(number, index):
    mistake, words = EXERCISES[number].mistakes[index]
    for _ in range(3):  # fresh inputs each time: no mistake may pass by luck, or be taken for another
        result = check(number, mistake)
        assert not result.passed
        assert words in result.message


@pytest.mark.parametrize("number", EXERCISES)
def test_hints_go_step_by_step(number):
    assert hint(number) == EXERCISES[number].hints[0]
    with pytest.raises(ValueError, match="has hints 1 to"):
        hint(number, len(EXERCISES[number].hints) + 1)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda mse: None, "returns nothing"),
        (lambda mse: "twelve", "a tensor, an array or a number is asked for"),
        (lambda mse: mse, "should have shape ()"),
        (lambda mse: mse.mean() * torch.nan, "NaN"),
        (lambda mse: mse.no_such_thing(), "stopped with AttributeError"),
        (lambda mse, more: 0, "stopped with TypeError"),
        (lambda mse: mse.mul_(2).mean(), "changes its input in place"),
        (lambda mse: 3.0, "differs by up to"),
    ],
)
def test_other_answers_are_met_with_one_sentence(answer, words):
    result = check("2.4", answer)
    assert not result.passed
    assert words in result.message
    assert "\n" not in result.message


def test_arrays_and_numbers_are_welcome():
    assert check("2.4", lambda mse: np.float64(-10 * np.log10(mse.numpy()).mean())).passed
    assert check("2.4", lambda mse: float((-10 * mse.log10()).mean())).passed


def test_a_failed_check_can_be_repeated():
    message = check("2.4", lambda mse: 3.0 + 0 * mse.sum()).message
    seed = int(message.split("seed=")[1].rstrip("."))
    assert check("2.4", lambda mse: 3.0, seed=seed).message == message


def test_inputs_are_fresh_every_time():
    seen = []
    for _ in range(2):
        check("2.4", lambda mse: seen.append(mse) or (-10 * mse.log10()).mean())
    assert len(seen) == 2 * ROUNDS
    assert not any(torch.equal(a, b) for i, a in enumerate(seen) for b in seen[:i])


def test_an_unknown_exercise_suggests_the_nearest():
    with pytest.raises(ValueError, match=r"did you mean '2\.4'"):
        check("2.44", print)


def test_a_result_prints_in_lines_that_a_page_shows_whole():
    text = repr(CheckResult(False, "word " * 60 + "https://example.org/" + "x" * 90))
    lines = text.splitlines()
    assert len(lines) > 4 and all(len(line) <= 76 for line in lines[:-1])
    assert lines[-1].startswith("https://"), "a long word is not cut"


class TestNetworks:
    def reference(self):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))

    def test_another_order_of_names_is_the_same_network(self):
        class Mine(nn.Module):
            def __init__(self):
                super().__init__()
                self.norm = nn.BatchNorm2d(4)
                self.first, self.second = (nn.Conv2d(n, 4, 3, padding=1) for n in (3, 4))

            def forward(self, x):
                return self.second(self.norm(self.first(x)).relu())

        mine, theirs = Mine(), self.reference()
        theirs[1].running_mean.uniform_()
        found = check_network(mine, theirs, torch.rand(1, 3, 8, 8))
        assert found.passed and "268 parameters in 3 layers, an output of 1 x 4 x 8 x 8" in found.message
        assert mine.training and torch.equal(mine.first.weight, theirs[0].weight)

    @pytest.mark.parametrize(("layers", "words"), [
        ((nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1)), "one more layer like BatchNorm2d"),
        ((nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1)), "outputs differ by up to"),
        ((nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1)), "with shape (1, 4, 6, 6)"),
        ((nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.Linear(2, 2)), "your network has one more"),
        ((nn.Flatten(), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3)), "stopped with"),
    ])  # fmt: skip
    def test_what_differs_is_said(self, layers, words):
        found = check_network(nn.Sequential(*layers), self.reference(), torch.rand(1, 3, 8, 8))
        assert not found.passed and words in found.message
