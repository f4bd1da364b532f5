"""Importing torchvision beside any torch, a CPU-only one included."""

import importlib
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
    to describe. Models and transforms need none of them, so their schemas, and nothing else, are declared then.
    """
    try:
        return importlib.import_module("torchvision")
    except ModuleNotFoundError as error:
        raise RestoreError("torchvision is not installed: run `pip install torchvision`.") from error
    except RuntimeError:
        for name, schema in SCHEMAS.items():
            if not hasattr(torch.ops.torchvision, name):
                _declared.append(torch.library.Library("torchvision", "FRAGMENT"))
                _declared[-1].define(schema)
        return importlib.import_module("torchvision")
