"""A wheel brings what the face, the commands and the chapters need: nothing of the repository is at hand there."""

import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYPI_LIMIT = 100e6  # bytes a file


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder that holds what a wheel of this library installs."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # building leaves files behind
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "restore_lib", "checkpoints"):
        (source / name).symlink_to(ROOT / name)
    (source / "results").symlink_to(ROOT / "results")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*command, "--wheel-dir", folder, source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = folder.glob("*.whl")
    assert wheel.stat().st_size < PYPI_LIMIT
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def answer(installed: Path, folder: Path, code: str) -> str:
    """What Python prints, with the installed library, in a folder outside the repository."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RESTORE_")}
    environment |= {"PYTHONPATH": str(installed), "RESTORE_CACHE": str(folder / "cache")}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_networks_and_records_come_along(installed, tmp_path):
    code = """if True:
        import pathlib, torch, restore_lib
        from restore_lib import experiments, pretrained
        assert pathlib.Path(restore_lib.__file__).parts[-3] == "installed", restore_lib.__file__
        network = pretrained.load("diinn-cpu")
        assert network(torch.rand(1, 3, 8, 9), size=(20, 31)).shape == (1, 3, 20, 31)
        assert pretrained.verify("denoiser-25-cpu") and pretrained.card("diinn-cpu-seed1")
        print(len(pretrained.names()), len(experiments.load_all()))
    """
    cards, records = len(list(ROOT.glob("checkpoints/*.json"))), len(list(ROOT.glob("results/*.json")))
    assert answer(installed, tmp_path, code) == f"{cards} {records}"
    assert list(tmp_path.iterdir()) == []  # nothing was downloaded or written


def test_other_weights_have_an_address(installed, tmp_path):
    code = """if True:
        import sys
        from restore_lib.pretrained import checkpoints
        from restore_lib.data import downloading
        downloading.fetch_files = lambda known: sys.exit(print(known[0].url))
        checkpoints.load("diinn-cpu-seed1")
    """
    url = answer(installed, tmp_path, code)
    assert url.startswith("https://") and url.endswith("/checkpoints/diinn-cpu-seed1.safetensors")


README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line.split(" #")[0].strip() for line in README.splitlines() if line.startswith(".venv/bin/restore ")]


@pytest.mark.parametrize("command", [command for command in COMMANDS if " fetch " not in command])
def test_commands_of_the_readme_run(installed, tmp_path, command):
    words = shlex.split(command)[1:]
    code = f"from restore_lib.cli import main; main({words!r})"
    assert answer(installed, tmp_path, code)


def test_examples_of_the_readme_run(installed, tmp_path):
    code = "\n".join(re.findall(r"```python\n(.*?)```", README, re.S))
    assert " dB" in answer(installed, tmp_path, code)
