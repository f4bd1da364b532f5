"""``restore info``: what is installed, and what this computer has."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from restore_lib import __version__, files, tiers

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-image", "pillow", "lpips", "pooch")


def info() -> None:
    """Versions, device, tier, and where data and weights lie."""
    from restore_lib.data import checking, registry

    print(f"restore_lib {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    print("  " + ", ".join(f"{name} {_version(name)}" for name in PACKAGES))
    print(f"device   {_device()}")
    print(f"tier     {tiers.current()}")
    named = os.environ.get("RESTORE_DATA")
    lost = "" if not named or Path(named).expanduser().is_dir() else "  (not a folder!)"
    print(f"local    {named + lost if named else 'RESTORE_DATA names no folder of copies'}")
    print(f"cache    {files.cache_folder()}")
    sets = [registry.find(name) for name in registry.names()]
    for label, kinds in (("data", ("embedded", "set", "by hand")), ("weights", ("weights",))):
        here = [d.name for d in sets if d.kind in kinds and _whole(checking.status(d))]
        print(f"{label:<8} {', '.join(here) or 'none here; `restore data list` shows what there is'}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        name, memory = torch.cuda.get_device_name(), torch.cuda.get_device_properties(0).total_memory
        half = "with" if torch.cuda.is_bf16_supported() else "without"
        return f"cuda: {name}, {memory / 2**30:.0f} GiB, {half} bfloat16"
    if torch.backends.mps.is_available():
        return "mps: Apple GPU"
    return f"cpu: {torch.get_num_threads()} threads"


def _whole(status: tuple[int, int, str]) -> bool:
    here, total, where = status
    return bool(where) and here == total
