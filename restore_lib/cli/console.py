"""What the commands share: consoles, progress bars, and refusing in time what would fail after the work."""

import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from restore_lib.errors import ImageError, ResultWarning
from restore_lib.files import LONGEST_NAME

if TYPE_CHECKING:
    from rich.console import Console

    from restore_lib.batch import Result

SPARE = 2**20  # bytes that a result may need at least
LONG = 20  # seconds after which people want to know how long it still takes


def console(width: int = 160) -> "Console":
    """A console as wide as the terminal; a pipe has no width, and nothing is cut there."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else width, highlight=False)


@contextmanager
def progress_bar(text: str, shown: bool = True) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal while the block runs; call what it gives with (done, total)."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), disable=not (shown and sys.stderr.isatty())) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def counted(total: int) -> Iterator[Callable[[float], None]]:
    """Show how many of several photos are done, and the time left: a bar on a terminal, else a line now and then.

    What it gives is called after each photo with the seconds that it took.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    done, spent, said = 0, 0.0, time.monotonic()
    columns, quiet = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()), total < 2 or not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), disable=quiet, redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task("", total=total)

        def advance(seconds: float) -> None:
            nonlocal done, spent, said
            done, spent = done + 1, spent + (seconds if done else 0)  # the first one waits for the network
            bar.advance(task)
            left = spent / max(done - 1, 1) * (total - done)
            if (done == 2 and left > LONG) or (quiet and 2 < done < total and time.monotonic() - said > LONG):
                said = time.monotonic()
                words = f"{left:.0f} seconds" if left < 99 else f"{left / 60:.0f} minutes"
                print(f"restore: {done:,} of {total:,} photos done, about {words} left.", file=sys.stderr)

        yield advance


@contextmanager
def interruptible(sentence: str | Callable[[], str] = "stopped; nothing was written.") -> Iterator[None]:
    """Ctrl-C ends the command in one sentence and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"restore: {sentence if isinstance(sentence, str) else sentence()}", file=sys.stderr)
        raise SystemExit(130) from None


def check_picture_name(target: Path, bits: int | None = None) -> None:
    """Refuse an ending of no kind of picture that can be written, or that does not hold so many bits a sample."""
    from restore_lib.images import DEEP, FORMATS

    form = FORMATS.get(target.suffix.lower())
    if form is None:
        raise ImageError(f"{target} cannot be written: choose a name that ends in {', '.join(FORMATS)}.")
    if bits not in (None, 8) and (bits != 16 or form not in DEEP):
        raise ImageError(f"--bits is {bits} for {form}: give 8, or 16 with PNG and TIFF.")


def check_targets(targets: list[Path], overwrite: bool, kind: str = "folder") -> None:
    """Refuse, before the work, what would fail after it; ``kind`` is what --out names."""
    for target in targets:
        if len(os.fsencode(target.name)) > LONGEST_NAME:
            raise ImageError(f"{target} has a name of more than {LONGEST_NAME} bytes: name another {kind} with --out.")
        if target.is_dir():
            raise ImageError(f"{target} is a folder: name another {kind} with --out.")
        if target.exists() and not overwrite:
            raise ImageError(f"{target} exists already: add --overwrite, or name another {kind} with --out.")
    for folder in {target.parent: None for target in targets}:
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


def tell(result: "Result", alone: bool) -> None:
    """One line on stdout for a photo that is restored; on stderr, what its result lacks, and why another has none."""
    about = "" if alone else f"{result.photo}: "
    if result.lost:
        lost = "; ".join(result.lost)
        print(f"restore: {result.target} does not hold all of the photo: {lost}.", file=sys.stderr)
    if result.warning:
        print(f"restore: {about}{result.warning}", file=sys.stderr)
    if result.error is None:
        print(f"{result.target}: {result.said}")
    elif not alone:
        print(f"restore: {result.error}", file=sys.stderr)
