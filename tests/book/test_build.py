"""The script behind `make book`: what it does after a build that failed."""

import importlib.util
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

SCRIPT = Path(__file__).resolve().parent.parent.parent / "book" / "build.py"


@pytest.fixture
def build(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("build_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "BUILD", tmp_path / "_build")
    monkeypatch.setattr(module, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("RESTORE_TIER", "smoke")
    page = tmp_path / "_build" / "html" / "book" / "intro.html"
    (tmp_path / "_build" / ".doctrees").mkdir(parents=True)
    page.parent.mkdir(parents=True)
    page.write_text("a page")
    (tmp_path / "cache" / module.cache_key()).mkdir(parents=True)
    return module


@pytest.mark.parametrize(("status", "remembered"), [(0, True), (1, False)])
def test_a_build_that_warned_reads_all_pages_again(build, status, remembered, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: SimpleNamespace(returncode=status))
    assert build.main() == status
    assert (build.BUILD / ".doctrees").exists() == remembered
