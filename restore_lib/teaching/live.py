"""A curve that grows in a notebook while a run goes on."""

from collections.abc import Mapping

from restore_lib import plots


class LiveCurve:
    """Draws the number ``name`` of a run's reports; pass it to ``training.fit`` as ``on_report``.

    ``quantity`` is written at the axis, whose scale may be logarithmic.
    """

    def __init__(self, name: str = "psnr", quantity: str = "PSNR in dB", *, log: bool = False):
        self.name, self.quantity, self.log = name, quantity, log
        self.points: list[tuple[int, float]] = []
        self.handle = None

    def __call__(self, step: int, numbers: Mapping[str, float]) -> None:
        """Take up a report, and draw anew when the number is in it."""
        from IPython.display import display

        if self.name not in numbers:
            return
        self.points.append((step, float(numbers[self.name])))
        figure = plots.training_curve({self.name: self.points}, self.quantity, log=self.log)
        if self.handle is None:
            self.handle = display(figure, display_id=True)
        else:
            self.handle.update(figure)
