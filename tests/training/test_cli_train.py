"""`restore train` and `restore evaluate` as a user meets them."""

import os
import subprocess
import sys

import pytest

from restore_lib import cli
from restore_lib.experiments import load
from restore_lib.pretrained import checkpoints
from restore_lib.recipes import RECIPES, missing
from restore_lib.training import at_tier, read_metrics


@pytest.fixture
def restore(tmp_path):
    def call(*words: str, code: int = 0) -> str:
        environment = os.environ | {"RESTORE_CACHE": str(tmp_path / "cache"), "CI": "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "restore_lib", *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stderr

    return call


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """The sentence with which a command is refused; in this process, because starting one takes seconds."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> str:
        with pytest.raises(SystemExit) as end:
            cli.main(list(words))
        assert end.value.code == 2
        return capsys.readouterr().err

    return call


def test_a_run_in_two_pieces_kept_and_measured(restore, tmp_path):
    words = ("train", "small-denoiser", "--tier", "smoke", "--seed", "4", "--keep", "--checkpoints", "checkpoints")
    assert "the time is up; the same command goes on" in restore(*words, "--max-minutes", "0")
    folder = tmp_path / "runs" / "small-denoiser__smoke__seed4"
    assert read_metrics(folder / "metrics.jsonl")[-1]["step"] < 40
    out = restore(*words)
    assert "step 40 of 40, finished" in out and "checkpoint small-denoiser-smoke-seed4" in out
    assert list((folder / "tensorboard").iterdir())
    card = checkpoints.card("small-denoiser-smoke-seed4", folder=tmp_path / "checkpoints")
    assert card.steps == 40 and card.seed == 4 and card.dataset == "embedded"
    assert "already" in restore(*words, "--fresh", code=2)
    where = ("--folder", "checkpoints", "--results", "results")
    out = restore("evaluate", "small-denoiser-smoke-seed4", "--sets", "embedded", "--sigma", "25,50", *where)
    assert "sigma 25: psnr" in out
    (path,) = (tmp_path / "results").glob("*.json")
    record = load(path)
    measured = checkpoints.card("small-denoiser-smoke-seed4", folder=tmp_path / "checkpoints")
    assert measured.sha256 == card.sha256 == record.settings["sha256"]
    scores = {(s.condition, s.metric): s.value for s in measured.metrics}
    assert scores["sigma 25", "psnr"] == record.find("sigma 25", "psnr").value
    assert scores["sigma 25", "psnr"] > scores["sigma 50", "psnr"] > 10


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("train", "nothing"), "There is no recipe called nothing: `restore recipes` shows what there is"),
        (("train", "small-denoiser", "--tier", "huge"), "There is no tier huge"),
        (("train", "small-denoiser", "--set", "steps"), "--set wants FIELD=VALUE"),
        (("train", "small-denoiser", "--devices", "none"), "--devices wants a number"),
        (("train", "small-denoiser", "--keep", "--set", "steps=3"), "--keep wants the recipe's own values"),
        (("train", "small-denoiser", "--set", "depht=3"), "has no field depht"),
        (("train", "small-denoiser", "--set", "steps=many"), "is of type int"),
        (("evaluate", "nothing"), "nothing"),
        (("evaluate", "nothing", "--sigma", "x"), "--sigma wants numbers"),
    ],
)
def test_mistakes_get_one_sentence(refused, words, sentence):
    error = refused(*words)
    assert sentence in error and error.startswith("restore: ") and len(error.strip().splitlines()) == 1


def test_recipes_are_listed_with_their_cost(restore):
    out = restore("recipes")
    assert "small-denoiser" in out and "8,000 steps" in out


def test_checkpoints_that_it_begins_with_are_trained_first(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RESTORE_CHECKPOINTS", str(tmp_path / "checkpoints"))
    words = ["train", "rrdb-gan-both", "--tier", "smoke", "--quiet", "--set", "start=rrdb-l1-both-smoke"]

    def main(*more: str) -> None:
        with pytest.raises(SystemExit) as end:
            cli.main([*words, *more])
        assert end.value.code == 0

    main("--max-minutes", "0")
    out = capsys.readouterr().out
    assert "trained and kept first, in this order: rrdb-l1-both at tier smoke (12 steps)" in out
    assert "rrdb-gan-both__smoke__seed0: step" not in out, "the time is up before its turn"
    main("--set", "steps=6")
    out = capsys.readouterr().out
    assert "checkpoint rrdb-l1-both-smoke" in out and "rrdb-gan-both__smoke__seed0: step 6 of 6, finished" in out
    assert checkpoints.names() and missing(at_tier(RECIPES["rrdb-gan-both"], "smoke", start="rrdb-l1-both-smoke")) == []


def test_chains_are_in_order(tmp_path, monkeypatch):
    monkeypatch.setenv("RESTORE_CHECKPOINTS", str(tmp_path))
    assert missing(at_tier(RECIPES["rrdb-gan-learned"], "gpu")) == [
        ("rrdb-l1-bicubic", "gpu"),
        ("dsgan", "gpu"),
        ("rrdb-l1-learned", "gpu"),
    ]
    here = set(checkpoints.names())
    for recipe in RECIPES.values():
        for tier in ("smoke", "cpu", "gpu"):
            made = here.copy()
            for name, at in [*missing(at_tier(recipe, tier)), (recipe.name, tier)]:
                own = at_tier(RECIPES[name], at)
                needs = {getattr(own, field, "") for field in ("start", "learned", "vision")} - {"", "vgg16"}
                assert needs <= made, f"{recipe.name} at {tier}"
                made.add(f"{name}-{at}")
