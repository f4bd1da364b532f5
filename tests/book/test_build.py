"""The script behind `make book`: chapters side by side, and what it does after a build that failed."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from jupyter_cache import get_cache

SCRIPT = Path(__file__).resolve().parent.parent.parent / "book" / "build.py"


@pytest.fixture
def build(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)  # it imports its neighbour
    spec = importlib.util.spec_from_file_location("build_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "build_script", module)  # where its processes look for what they run
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
    monkeypatch.setattr(build, "execute_all", lambda outputs: [])
    assert build.main() == status
    assert (build.BUILD / ".doctrees").exists() == remembered


def test_a_chapter_that_fails_is_named_with_its_cell_and_the_others_are_kept(build, tmp_path, monkeypatch, capsys):
    (tmp_path / "notebooks").mkdir()
    for name, code in (("good", "print(6 * 7)"), ("bad", "1 / 0")):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python", "language": "python"}
        nbformat.write(notebook, tmp_path / "notebooks" / f"{name}.ipynb")
    monkeypatch.setattr(build, "ROOT", tmp_path)
    (failure,) = build.execute_all(tmp_path / "outputs")
    assert failure.startswith("bad.ipynb: failed after") and "1 / 0" in failure and "ZeroDivisionError" in failure
    assert f"-m jupyter execute {tmp_path / 'notebooks' / 'bad.ipynb'}" in failure
    said = capsys.readouterr().out
    assert "bad.ipynb: failed after" in said and "good.ipynb: " in said and "Traceback" not in said
    kept = get_cache(tmp_path / "outputs")
    (record,) = kept.list_cache_records()
    assert kept.get_cache_bundle(record.pk).nb.cells[0].outputs[0].text == "42\n"
    assert build.execute(tmp_path / "notebooks" / "good.ipynb", tmp_path / "outputs") == "unchanged"


def test_a_failed_chapter_ends_the_build_before_pages_are_written(build, monkeypatch, capsys):
    monkeypatch.setattr(build, "execute_all", lambda outputs: ["bad.ipynb: failed after 1 s: cell"])
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("Jupyter Book was called"))
    assert build.main() == 1
    assert "bad.ipynb: failed after 1 s" in capsys.readouterr().err


def test_a_long_chapter_is_named_while_it_is_waited_for(build, tmp_path, monkeypatch, capsys):
    (tmp_path / "notebooks").mkdir()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import time; time.sleep(2)")])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python", "language": "python"}
    nbformat.write(notebook, tmp_path / "notebooks" / "long.ipynb")
    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setattr(build, "EVERY", 0.5)
    assert build.execute_all(tmp_path / "outputs") == []
    assert "long.ipynb at work" in capsys.readouterr().out
