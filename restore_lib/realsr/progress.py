"""A progress bar for what takes a photo's minute: estimating its kernel, or training ZSSR on it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar while the block runs; call what it gives with (done, total).

    Examples
    --------
    >>> with bar("Estimating the kernel") as progress:  # doctest: +SKIP
    ...     estimate_kernel(photo, progress=progress)
    """
    from rich.progress import Progress

    with Progress() as shown:
        task = shown.add_task(text, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
