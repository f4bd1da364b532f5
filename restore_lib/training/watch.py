"""Watching a run: a line of progress on a terminal, a file of numbers, TensorBoard. None of it changes a weight."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from numbers import Real
from pathlib import Path
from typing import Any

from restore_lib.files import atomic_write


class Watch:
    """Writes what a run reports; a context manager.

    Parameters
    ----------
    folder : path
        The run's: numbers go to ``metrics.jsonl``, one line a report, and to ``tensorboard/``.
    steps : int
        Of the whole run.
    start : int
        Steps done already. Lines of later steps, which a killed run may have left, are dropped: the file is what an
        unbroken run would have written, but for the times.
    quiet : bool
        No line of progress; it is left out anyway where nobody watches (no terminal, or ``CI`` is set).
    tensorboard : bool
        Write event files, too.
    on_report : callable, optional
        Called as ``on_report(step, numbers)`` with each report.
    """

    def __init__(
        self,
        folder: Path | str,
        steps: int,
        start: int = 0,
        *,
        quiet: bool = False,
        tensorboard: bool = True,
        on_report: Callable[[int, Mapping[str, Real]], None] | None = None,
    ):
        self.on_report = on_report
        self.folder, self.steps, self.start = Path(folder), steps, start
        self.shown = not quiet and sys.stderr.isatty() and not os.environ.get("CI")
        self.tensorboard = tensorboard
        self.latest: dict[str, float] = {}

    def __enter__(self) -> "Watch":
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "metrics.jsonl"
        kept = [line for line in read_metrics(path) if line["step"] <= self.start]
        with atomic_write(path) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        self.file = open(path, "a", encoding="utf-8")  # closed by __exit__
        self.writer = self._writer() if self.tensorboard else None
        if self.shown:
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.completed}/{task.total}"), BarColumn(), TimeRemainingColumn())
            self.bar = Progress(*columns, TextColumn("{task.description}"), transient=False)
            self.bar.start()
            self.task = self.bar.add_task("", total=self.steps, completed=self.start)
        self.clock = time.monotonic()
        return self

    def __exit__(self, *exception) -> None:
        if self.shown:
            self.bar.stop()
        if self.writer is not None:
            self.writer.close()
        self.file.close()

    def report(self, step: int, numbers: Mapping[str, Real], images_per_second: float | None = None) -> None:
        """Note numbers that belong to a step."""
        line = {"step": step, **numbers}
        if images_per_second is not None:
            line["images_per_second"] = round(images_per_second, 1)
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()
        if self.writer is not None:
            for name, number in line.items():
                if name != "step":
                    self.writer.add_scalar(name, number, step)
        self.latest |= line
        if self.on_report is not None:
            self.on_report(step, numbers)
        if self.shown:
            words = "  ".join(f"{name} {value:.5g}" for name, value in self.latest.items() if name != "step")
            self.bar.update(self.task, completed=step, description=words)

    def _writer(self):
        from torch.utils.tensorboard import SummaryWriter

        # What an earlier life of this run wrote beyond the step it goes on from is hidden, not shown twice.
        return SummaryWriter(str(self.folder / "tensorboard"), purge_step=self.start + 1 if self.start else None)


def read_metrics(path: Path | str) -> list[dict[str, Any]]:
    """Lines of a ``metrics.jsonl``; a last line that was cut off by a kill is left out."""
    lines = []
    if Path(path).exists():
        for text in Path(path).read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                break
    return lines
