"""What the commands share: consoles, progress bars, and refusing in time what would fail after the work."""

import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from restore_lib.errors import ImageError, ResultWarning
from restore_lib.files import LONGEST_NAME

if TYPE_CHECKING:
    from rich.console import Console

SPARE = 2**20  # bytes that a result may need at least


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
    folder = targets[0].parent
    for target in targets:
        if len(os.fsencode(target.name)) > LONGEST_NAME:
            raise ImageError(f"{target} has a name of more than {LONGEST_NAME} bytes: name another {kind} with --out.")
        if target.is_dir():
            raise ImageError(f"{target} is a folder: name another {kind} with --out.")
        if target.exists() and not overwrite:
            raise ImageError(f"{target} exists already: add --overwrite, or name another {kind} with --out.")
    above = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise ImageError(f"{folder} cannot be written to: name another {kind} with --out.")
    if shutil.disk_usage(above).free < SPARE:
        raise ImageError(f"The disk of {above} is full: free some space, or name another {kind} with --out.")


@contextmanager
def warnings_told() -> Iterator[None]:
    """Print the warnings of the library, one line each on stderr, when the block ends well."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResultWarning)
        yield
    for warning in caught:
        if issubclass(warning.category, ResultWarning):
            print(f"restore: {warning.message}", file=sys.stderr)


def tell_lost(target: Path, lost: list[str]) -> None:
    """Say in one line on stderr what of a photo its result does not hold, if anything."""
    if lost:
        print(f"restore: {target} does not hold all of the photo: {'; '.join(lost)}.", file=sys.stderr)
