"""What keeps a run from harm: a loss that went wrong, a folder that is another run's, a signal that asks to stop."""

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from restore_lib.errors import TrainingError
from restore_lib.files import atomic_write
from restore_lib.training.recipes import Recipe, fingerprint, values
from restore_lib.training.state import states

EXPLODED = 1e4  # a loss this many times its running mean is no loss any more


class Health:
    """Notices a loss that is NaN or has exploded without making the device wait in every step."""

    def __init__(self, device: torch.device):
        self.mean = torch.zeros((), device=device)
        self.bad = torch.zeros((), dtype=torch.int64, device=device)  # the first bad step, or 0

    def note(self, step: int, loss: Tensor) -> None:
        """Look at the loss of a step, on the device."""
        loss = loss.detach().float()
        exploded = (self.mean > 0) & (loss.abs() > EXPLODED * self.mean)
        wrong = ~torch.isfinite(loss) | exploded
        self.bad = torch.where((self.bad == 0) & wrong, step, self.bad)
        self.mean = torch.where(self.mean > 0, self.mean.lerp(loss.abs(), 0.05), loss.abs())

    def check(self, folder: Path) -> None:
        """Stop the run when a bad step was noted.

        Raises
        ------
        TrainingError
            It names the step, and the state before it.
        """
        step = int(self.bad)
        if step:
            last = states(folder)
            kept = f"the state before it is kept ({last[-1]})" if last else "no state had been saved before it"
            raise TrainingError(
                f"The loss became NaN or exploded in step {step}; {kept}. Lower the learning rate, clip the gradient, "
                "or train in float32."
            )


def claim(folder: Path, recipe: Recipe, seed: int) -> None:
    """Make a folder this run's own, or refuse it when it is another's.

    Raises
    ------
    TrainingError
        The folder holds a run of another recipe, of other values, or of another seed.
    """
    path = folder / "run.json"
    mine = {"recipe": recipe.name, "seed": seed, "fingerprint": fingerprint(recipe)}
    if path.exists():
        try:
            theirs = json.loads(path.read_text(encoding="utf-8"))
            same = {key: theirs[key] for key in mine} == mine
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"{path} is damaged: train in another folder, or delete this one.") from error
        if not same:
            known = theirs["recipe"], theirs["seed"]
            changed = "whose values have changed since" if known == (recipe.name, seed) else "which is another run"
            raise TrainingError(
                f"{folder} holds a run of recipe {known[0]} with seed {known[1]}, {changed}: train in another folder, "
                "or delete this one to start again."
            )
        return
    settings = {f: str(v) for f, v in values(recipe).items()}
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(mine | {"values": settings}, indent=1) + "\n", encoding="utf-8")


@contextmanager
def asked_to_stop() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM instead of dying of them; a second one is obeyed at once."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked  # signals reach the main thread only
        return

    def note(number, frame):
        if asked:
            obey(number)
        asked.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def obey(number: int) -> None:
    """Stop as the signal asked: Ctrl-C as KeyboardInterrupt, others by leaving with 128 + their number."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
