"""What the commands share: consoles, progress bars, and refusing in time what would fail after the work."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from restore_lib.errors import ImageError

if TYPE_CHECKING:
    from rich.console import Console


def console(width: int = 160) -> "Console":
    """A console as wide as the terminal; a pipe has no width, and nothing is cut there."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else width, highlight=False)


@contextmanager
def progress_bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal while the block runs; call what it gives with (done, total)."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as shown:
        task = shown.add_task(text, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


@contextmanager
def interruptible(sentence: str = "stopped; nothing was written.") -> Iterator[None]:
    """Ctrl-C ends the command in one sentence and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"restore: {sentence}", file=sys.stderr)
        raise typer.Exit(130) from None


def check_picture_name(target: Path) -> Path:
    """The same path, if its ending is that of a kind of picture that can be written."""
    from restore_lib.images import FORMATS

    if target.suffix.lower() not in FORMATS:
        raise ImageError(f"{target} cannot be written: choose a name that ends in {', '.join(FORMATS)}.")
    return target


def check_targets(targets: list[Path], overwrite: bool, kind: str = "folder") -> None:
    """Refuse, before the work, what would fail after it; ``kind`` is what --out names."""
    for target in targets:
        if target.exists() and not overwrite:
            raise ImageError(f"{target} exists already: add --overwrite, or name another {kind} with --out.")
    folder = targets[0].parent
    above = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise ImageError(f"{folder} cannot be written to: name another {kind} with --out.")


def tell_lost(target: Path, lost: list[str]) -> None:
    """Say in one line on stderr what of a photo its result does not hold, if anything."""
    if lost:
        print(f"restore: {target} does not hold all of the photo: {'; '.join(lost)}.", file=sys.stderr)
