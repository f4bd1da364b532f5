"""Data sets: what there is, where it lies, how to get it, and opening it.

``open`` gives a sequence of pictures; ``names`` and ``card`` say what there is; ``fetch`` downloads and ``verify``
checks. Nothing is downloaded on import or by opening. ``scenes`` are labelled pictures that the library draws.
"""

import importlib
from typing import TYPE_CHECKING

from restore_lib.data.checking import verify
from restore_lib.data.registry import card, find, names

if TYPE_CHECKING:
    from restore_lib.data.downloading import fetch, fetch_files
    from restore_lib.data.opening import ImageSet, Item, open

__all__ = ["ImageSet", "Item", "card", "fetch", "fetch_files", "find", "names", "open", "verify"]

# Reading pictures needs torch (seconds), downloading needs requests: only whoever uses them waits for the import.
_LATER = {name: "opening" for name in ("open", "ImageSet", "Item")}
_LATER |= {name: "downloading" for name in ("fetch", "fetch_files")}


def __getattr__(name: str):
    if name == "scenes":
        return importlib.import_module("restore_lib.data.scenes")
    if name in _LATER:
        return getattr(importlib.import_module(f"restore_lib.data.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(set(globals()) | set(__all__))
