"""What a run reports: a line of progress on a terminal, a file of numbers, TensorBoard. None of it changes a weight."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from torch import Tensor

from restore_lib.files import atomic_write

_LINE = TypeAdapter(dict[str, Any])


class Logger:
    """Writes what a run reports, until it is closed.

    Numbers go to ``metrics.jsonl`` in the run's folder, one line a report, and to ``tensorboard/``; nothing is written
    without a folder, as one of several processes reports for all. ``start`` steps of ``steps`` are done already: lines
    of later ones, which a killed run may have left, are dropped. The line of progress is left out when ``quiet``,
    without a terminal, and where ``CI`` is set. ``on_report(step, numbers)`` is called with each report.
    """

    def __init__(
        self,
        folder: Path | str | None,
        steps: int,
        start: int = 0,
        *,
        quiet: bool = False,
        tensorboard: bool = True,
        on_report: Callable[[int, Mapping[str, float]], None] | None = None,
    ):
        self.on_report, self.latest = on_report, {}
        self.file = self.events = self.progress = None
        self._opened = ExitStack()
        if folder is None:
            return
        path = Path(folder) / "metrics.jsonl"
        earlier = [line for line in read_metrics(path) if start and line["step"] <= start]
        with atomic_write(path) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in earlier), encoding="utf-8")
        self.file = self._opened.enter_context(open(path, "a", encoding="utf-8"))  # noqa: SIM115
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            # What an earlier part of this run wrote beyond the step that it goes on from is hidden, not shown twice.
            events = SummaryWriter(str(path.with_name("tensorboard")), purge_step=start + 1 if start else None)
            self.events = self._opened.enter_context(events)
        if not quiet and sys.stderr.isatty() and not os.environ.get("CI"):
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.completed}/{task.total}"), BarColumn(), TimeRemainingColumn())
            self.progress = self._opened.enter_context(Progress(*columns, TextColumn("{task.description}")))
            self.progress.add_task("", total=steps, completed=start)

    def close(self) -> None:
        self._opened.close()

    def log(self, step: int, numbers: Mapping[str, float | Tensor], *, images_per_second: float | None = None) -> None:
        """Report numbers, or tensors of one number each, that belong to a step."""
        if self.file is None:
            return
        numbers = {name: float(number) for name, number in numbers.items()}
        shown = numbers if images_per_second is None else numbers | {"images_per_second": round(images_per_second, 1)}
        self.file.write(json.dumps({"step": step, **shown}) + "\n")
        self.file.flush()
        if self.events is not None:
            for name, number in shown.items():
                self.events.add_scalar(name, number, step)
        if self.on_report is not None:
            self.on_report(step, numbers)
        self.latest |= shown
        if self.progress is not None:
            words = "  ".join(f"{name} {number:.5g}" for name, number in self.latest.items())
            self.progress.update(self.progress.task_ids[0], completed=step, description=words)


def read_metrics(path: Path | str) -> list[dict[str, Any]]:
    """Lines of a ``metrics.jsonl``; what comes after a line that was cut off by a kill, or is damaged, is left out."""
    lines = []
    if Path(path).exists():
        for text in Path(path).read_bytes().splitlines():
            try:
                lines.append(_LINE.validate_json(text))
            except ValueError:
                break
    return lines
