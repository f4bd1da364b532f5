"""A curve that grows in a notebook while a run goes on."""

from collections.abc import Mapping

from restore_lib import plots


class LiveCurve:
    """Draws the PSNR that a run reports as ``name``; pass it to ``training.fit`` as ``on_report``."""

    def __init__(self, name: str = "psnr"):
        self.name, self.handle = name, None
        self.points: list[tuple[int, float]] = []

    def __call__(self, step: int, numbers: Mapping[str, float]) -> None:
        """Take up a report, and draw anew when the number is in it."""
        from IPython.display import display

        if self.name not in numbers:
            return
        self.points.append((step, float(numbers[self.name])))
        figure = plots.training_curve({self.name: self.points})
        if self.handle:
            self.handle.update(figure)
        else:
            self.handle = display(figure, display_id=True)
