"""Where a number or a checkpoint comes from: versions of libraries, the device, the commit of the code."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from restore_lib import __version__

LIBRARIES = ("torch", "numpy", "pillow", "scipy", "scikit-image", "lpips")


def versions() -> dict[str, str]:
    """Versions of Python, of this library and of those that can change a result."""
    numbers = {"python": platform.python_version(), "restore_lib": __version__}
    for name in LIBRARIES:
        try:
            numbers[name] = version(name)
        except PackageNotFoundError:
            numbers[name] = "missing"
    return numbers | {"torch": torch.__version__}  # which names the build, too: +cpu, +cu130


def device_name(device: torch.device | str) -> str:
    """What computed: the GPU's model, or the CPU's architecture and number of threads."""
    if torch.device(device).type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    return f"{torch.device(device).type}: {platform.machine()}, {torch.get_num_threads()} threads"


def commit() -> str:
    """Commit of the library's code, with ``-dirty`` when its files differ from it; ``unknown`` outside git."""
    package = Path(__file__).resolve().parent.parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(package), *words], capture_output=True, text=True, timeout=30)
        if done.returncode:
            raise OSError(done.stderr)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # else some other project's repository lies around it
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
