"""For chapters: exercises that check themselves, the library's own source, labs, and pictures that move."""

from restore_lib.teaching.checks import check, check_network, hint
from restore_lib.teaching.choice import Shown, chooser
from restore_lib.teaching.labs import lab
from restore_lib.teaching.live import LiveCurve
from restore_lib.teaching.source import show_source
from restore_lib.teaching.sweep import sweep
from restore_lib.teaching.widgets import before_after, frames, loupe

__all__ = [
    "LiveCurve",
    "Shown",
    "before_after",
    "check",
    "check_network",
    "chooser",
    "frames",
    "hint",
    "lab",
    "loupe",
    "show_source",
    "sweep",
]
