"""What ends a run early: a loss that went wrong, or a signal that asks to stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from restore_lib.errors import TrainingError
from restore_lib.training.state import states

EXPLODED = 1e4  # a loss this many times its running mean is no loss any more


class Health:
    """Notices a loss that is NaN or has exploded without making the device wait in every step."""

    def __init__(self, device: torch.device):
        self.mean = torch.zeros((), device=device)
        self.bad = torch.zeros((), dtype=torch.int64, device=device)  # the first bad step, or 0

    def note(self, step: int, loss: Tensor) -> None:
        size = loss.detach().float().abs()
        wrong = ~torch.isfinite(size) | ((self.mean > 0) & (size > EXPLODED * self.mean))
        self.bad = torch.where((self.bad == 0) & wrong, step, self.bad)
        self.mean = torch.where(self.mean > 0, self.mean.lerp(size, 0.05), size)

    def check(self, folder: Path) -> None:
        """Stop the run with a TrainingError that names the bad step, if one was noted, and the state before it."""
        step = int(self.bad)
        if step:
            saved = states(folder)
            kept = f"the state before it is kept ({saved[-1]})" if saved else "no state had been saved before it"
            raise TrainingError(
                f"The loss became NaN or exploded in step {step}; {kept}. Lower the learning rate, clip the gradient, "
                "or train in float32."
            )


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM instead of dying of them; a second one is obeyed at once."""
    signals: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield signals  # signals reach the main thread only
        return

    def note(number, frame):
        if signals:
            stop_as_asked(number)
        signals.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_as_asked(number: int) -> None:
    """Stop as a signal asks: Ctrl-C as KeyboardInterrupt, others by leaving with 128 + their number."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
