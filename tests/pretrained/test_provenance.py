"""Versions, devices and commits that records and cards name."""

import subprocess

import pytest

from restore_lib.pretrained import provenance


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A repository with a library in it, taken for this one."""
    package = tmp_path / "library"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(provenance, "__file__", str(package / "pretrained" / "provenance.py"))

    def git(*words):
        settings = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
        done = subprocess.run(["git", *settings, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return git


def test_the_commit_is_that_of_the_library_and_says_when_files_differ(library, tmp_path):
    assert provenance.commit() == "unknown"  # no repository
    library("init", "-q")
    (tmp_path / "notes.txt").write_text("someone else's project")
    library("add", "notes.txt")
    library("commit", "-qm", "other")
    assert provenance.commit() == "unknown"  # a repository that does not hold the library
    library("add", "library")
    library("commit", "-qm", "library")
    assert provenance.commit() == library("rev-parse", "HEAD")
    (tmp_path / "notes.txt").write_text("changed")
    assert not provenance.commit().endswith("-dirty")  # not the library's
    (tmp_path / "library" / "new.py").write_text("")
    assert provenance.commit() == library("rev-parse", "HEAD") + "-dirty"


def test_without_git_the_commit_is_unknown(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.commit() == "unknown"


def test_devices_and_versions_have_names():
    assert provenance.device_name("cpu").startswith("cpu: ")
    assert {"python", "restore_lib", *provenance.LIBRARIES} == set(provenance.versions())
    assert "missing" not in provenance.versions().values()
