"""Importing torchvision beside any torch, a CPU-only one included."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import torch

from restore_lib.errors import RestoreError

# Operators whose shapes torchvision describes to torch while it is imported, with the schemas of its own C++ code.
SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_declared: list[torch.library.Library] = []  # a Library that nothing refers to takes its declarations with it


def import_torchvision() -> ModuleType:
    """Import torchvision, also where its compiled part does not fit this torch; RestoreError where it is not installed.

    The build of torchvision in the Python registry expects CUDA. Beside a torch without CUDA its compiled operators
    (``torchvision.ops.nms``, ``torchvision.io``) cannot be loaded, and the import stops at the first operator it wants
    to describe. Models and transforms need none of them, so their schemas, and nothing else, are declared here.
    """
    if "torchvision" in sys.modules:
        return sys.modules["torchvision"]
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise RestoreError("torchvision is not installed: run `pip install torchvision` in this environment.")
    if not _operators_load(Path(spec.origin).parent):
        for name, schema in SCHEMAS.items():
            if not hasattr(torch.ops.torchvision, name):
                library = torch.library.Library("torchvision", "FRAGMENT")
                library.define(schema)
                _declared.append(library)
    return importlib.import_module("torchvision")


def _operators_load(folder: Path) -> bool:
    """Whether torchvision's compiled operators can be loaded into this torch (it will load them again itself)."""
    for binary in [*folder.glob("_C*.so"), *folder.glob("_C*.pyd")]:
        try:
            torch.ops.load_library(str(binary))
            return True
        except OSError:
            continue
    return False
