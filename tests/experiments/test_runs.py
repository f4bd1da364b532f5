"""What a run says about itself."""

import subprocess
from dataclasses import replace

import pytest
import torch

from restore_lib import data
from restore_lib.errors import DataError
from restore_lib.experiments import load, run, runs, save
from restore_lib.experiments.protocols import LIIF

QUICK = replace(LIIF, conditions={"x2": 2.0}, prepare=lambda item, scale, generator: (torch.zeros(1, 2, 2),) * 2)
QUICK = replace(QUICK, measure=lambda sr, hr, scale: {"psnr": 30.0})


def test_a_run_is_described_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("RESTORE_TIER", "smoke")
    seen = []
    found = run("Zeros", lambda lr, size: lr, "embedded", QUICK, seed=7, steps=12, progress=seen.append)
    pictures = data.open("embedded")
    assert found.images == [item.name for item in pictures] == seen
    assert found.dataset_hash == pictures.digest()
    assert (found.recipe, found.tier, found.seed, found.steps) == ("Zeros", "smoke", 7, 12)
    assert found.versions["torch"] == torch.__version__ and found.rules == LIIF.rules
    path = save(found, tmp_path)
    assert path.name == "zeros__embedded__liif__smoke__seed7.json"
    assert load(path).find("x2", "psnr").per_image == (30.0,) * len(pictures)


def test_a_missing_set_is_said_before_any_work(tmp_path):
    with pytest.raises(DataError, match="restore data fetch set14"):
        runs.bicubic(tmp_path, sets=["embedded", "set14"])
    assert not list(tmp_path.iterdir())


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A repository with a library in it, taken for this one."""
    package = tmp_path / "library" / "reproduce"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("")
    monkeypatch.setattr(runs, "__file__", str(package / "runs.py"))

    def git(*words):
        settings = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
        done = subprocess.run(["git", *settings, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return git


def test_the_commit_is_that_of_the_library_and_says_when_files_differ(library, tmp_path):
    assert runs.commit() == "unknown"  # no repository
    library("init", "-q")
    (tmp_path / "notes.txt").write_text("someone else's project")
    library("add", "notes.txt")
    library("commit", "-qm", "other")
    assert runs.commit() == "unknown"  # a repository that does not hold the library
    library("add", "library")
    library("commit", "-qm", "library")
    assert runs.commit() == library("rev-parse", "HEAD")
    (tmp_path / "notes.txt").write_text("changed")
    assert not runs.commit().endswith("-dirty")  # not the library's
    (tmp_path / "library" / "new.py").write_text("")
    assert runs.commit() == library("rev-parse", "HEAD") + "-dirty"


def test_without_git_the_commit_is_unknown(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert runs.commit() == "unknown"


def test_devices_and_versions_have_names():
    assert runs.device_name("cpu").startswith("cpu: ")
    assert {"python", "restore_lib", *runs.LIBRARIES} == set(runs.versions())
    assert "missing" not in runs.versions().values()
