"""The ledger: paper | official code's own log | ours | difference | why, in the terminal and on the book's page.

Every number keeps a reference to where it comes from, in a form that :mod:`restore_lib.experiments.audit` can check.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from restore_lib.experiments.noise_study import METRICS
from restore_lib.experiments.published import Number
from restore_lib.experiments.records import OverSeeds, RunRecord, over_seeds
from restore_lib.experiments.tables import Line, Section, Table

BLANK = "not available here"
NOT_RUN = "not run yet"
PUBLISHED_ONLY = "not run here"
SAME = "same digits"
UNEXPLAINED = "not explained yet"
DECIMALS = {"psnr": 2, "lr_psnr": 2, "ssim": 4, "lpips_alex": 4, "lpips_vgg": 4}
TITLES = {"psnr": "PSNR in dB", "lr_psnr": "LR-PSNR in dB", "ssim": "SSIM"}
DECIMALS |= {"top1": 1, "top1_low": 1, "top1_high": 1, "top5": 1}
DECIMALS |= {"miou": 1, "miou_low": 1, "miou_high": 1, "pixel_accuracy": 1}
TITLES |= {"top1": "Top-1 accuracy in %", "top1_low": "Top-1, lower end of the interval"}
TITLES |= {"top1_high": "Top-1, upper end of the interval", "top5": "Top-5 accuracy in %"}
TITLES |= {"miou": "Mean IoU in %", "miou_low": "Mean IoU, lower end of the interval"}
TITLES |= {"miou_high": "Mean IoU, upper end of the interval", "pixel_accuracy": "Pixel accuracy in %"}
TITLES |= {"lpips_alex": "LPIPS with AlexNet", "lpips_vgg": "LPIPS with VGG-16"}
DECIMALS |= {"psnr_worst": 2, "off_centre": 2, "switch_step": 0, "distrusted": 2, "psnr_y": 2, "ssim_y": 4}
TITLES |= {"kernel_error": "Kernel error, mean", "kernel_error_median": "Kernel error, median"}
TITLES |= {"kernel_error_worst": "Kernel error, worst", "psnr_worst": "PSNR in dB, worst"}
TITLES |= {"off_centre": "Cells off the centre", "sum": "Sum of the raw kernel", "distrusted": "Share with a warning"}
TITLES |= {"switch_step": "Step of the second phase", "psnr_y": "PSNR-Y in dB", "ssim_y": "SSIM-Y"}
DECIMALS |= {"psnr_spread": 2, "lpips_alex_spread": 4}
TITLES |= {"psnr_spread": "PSNR in dB, spread over photos", "lpips_alex_spread": "LPIPS, spread over photos"}
DECIMALS |= {"detail": 1, "fine_power": 1}
TITLES |= {"detail": "Detail kept in %", "fine_power": "Power of fine structure, % of the clean photo's"}
DECIMALS |= {"brisque": 1, "noise_level": 2, "blur": 3}
TITLES |= {"brisque": "BRISQUE", "noise_level": "Noise level", "blur": "Blur index"}
TITLES |= {"border_jump": "Jumps across cell borders, relative", "border_error": "Error at cell borders, relative"}
TITLES |= METRICS
DECIMALS |= dict.fromkeys(METRICS, 2)


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and for a number the reference that backs it."""

    text: str
    source: str = ""


@dataclass(frozen=True)
class Row:
    """A line of a table with what records say about it."""

    line: Line
    ours: OverSeeds | None
    records: Sequence[RunRecord]

    @property
    def decimals(self) -> int:
        """As many as were published; else what is usual for the metric."""
        printed = self.line.paper or self.line.log
        return printed.decimals if printed else DECIMALS.get(self.line.metric, 3)

    @property
    def record_key(self) -> str:
        """Reference of our number: ``record:FILE,FILE#CONDITION/METRIC``, and ``/IMAGE`` for one picture."""
        place = "/".join(filter(None, (self.line.condition, self.line.metric, self.line.image)))
        return f"record:{','.join(r.file for r in self.records)}#{place}"

    @property
    def difference(self) -> Decimal | None:
        """Ours minus theirs, both as printed, so that the row adds up; None where they cannot be compared."""
        theirs = self.line.paper or self.line.log
        if self.ours is None or theirs is None or not self.line.comparable:
            return None
        return subtract(self.ours.value, theirs)

    def cells(self) -> Mapping[str, Cell]:
        """Cells by column."""
        theirs = self.line.paper or self.line.log
        ours = difference = Cell("")
        if self.ours is None:
            ours = Cell(NOT_RUN if self.line.recipe else PUBLISHED_ONLY)
        else:
            spread = f" ± {self.ours.spread:.{self.decimals}f}" if self.ours.spread is not None else ""
            ours = Cell(f"{self.ours.value:.{self.decimals}f}{spread}", self.record_key)
        if self.difference is not None:
            difference = Cell(signed(self.difference), f"difference:{theirs.key}|{self.record_key}")
        return {
            "paper": published_cell(self.line.paper) if theirs or self.line.why else Cell(""),
            "official log": published_cell(self.line.log) if theirs or self.line.why else Cell(""),
            "ours": ours,
            "difference": difference,
            "why": Cell(self.why),
        }

    @property
    def why(self) -> str:
        """The reason for the difference; nothing needs one where the digits agree."""
        if self.difference is None:
            return self.line.why
        return SAME if self.difference == 0 else self.line.why or UNEXPLAINED


def subtract(ours: float, theirs: Number) -> Decimal:
    """Ours minus theirs, after rounding ours to the digits that were published."""
    return Decimal(f"{ours:.{theirs.decimals}f}") - Decimal(theirs.text)


def signed(number: Decimal) -> str:
    """A difference as it is printed: with its sign, a true minus, and none for zero."""
    return f"{number:+}".replace("-", "−") if number else f"{abs(number)}"


def published_cell(number: Number | None) -> Cell:
    """A published number, or the words for a blank."""
    return Cell(BLANK) if number is None else Cell(number.text, number.key)


def rows(section: Section, records: Sequence[RunRecord], metric: str | None = None) -> list[Row]:
    """Lines of a section, or of one metric in it, joined with the records that answer them."""
    found = []
    for line in section.lines:
        if metric in (None, line.metric):
            answers = newest(line.answered_by(records))
            found.append(Row(line, over_seeds(answers, line.condition, line.metric, line.image), answers))
    return found


def newest(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Of records that may not be averaged, those of the largest run: most steps, then latest."""
    if not records:
        return []
    best = max(records, key=lambda r: (r.steps, r.finished))
    return [r for r in records if (r.tier, r.steps, r.dataset_hash) == (best.tier, best.steps, best.dataset_hash)]


COLUMNS = ("paper", "official log", "ours", "difference", "why")


def columns(section: Section) -> tuple[str, ...]:
    """Columns that a section needs: ours alone where nothing was published, no log where none was seen."""
    if not section.published:
        return ("ours",)
    logged = any(line.log for line in section.lines)
    return tuple(column for column in COLUMNS if logged or column != "official log")


def print_table(table: Table, records: Sequence[RunRecord], console) -> None:
    """Print a table on a ``rich`` console."""
    from rich.table import Table as Grid

    console.print(f"[bold]{table.title}[/bold]")
    if table.grid:
        grid = Grid("", *table.grid.columns, caption=f"{table.grid.protocol}\n{table.grid.source}")
        for name, values in table.grid.rows.items():
            grid.add_row(name, *("-" if value is None else value for value in values))
        console.print(grid)
    for section in table.sections:
        console.print(f"\n[bold]{section.title}[/bold]")
        for rule, text in section.rules.items():
            console.print(f"  {rule}: {text}", markup=False)
        for metric in section.metrics:
            shown = columns(section)
            grid = Grid("set", "condition", *shown, title=TITLES.get(metric, metric))
            before = "", ""
            for row in rows(section, records, metric):
                cells = {column: cell.text for column, cell in row.cells().items()}
                now = row.line.group, cells["why"]
                group = row.line.group if now[0] != before[0] else ""
                cells["why"] = "" if now == before else cells["why"]  # a reason is given once a group
                grid.add_row(group, row.line.condition, *(cells[column] for column in shown))
                before = now
            console.print(grid)
