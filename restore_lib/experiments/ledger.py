"""The ledger: paper | official code's own log | ours | difference | why.

A :class:`Section` of a table says which numbers belong side by side; :func:`entries` joins its lines with the records
that answer them. Every number keeps a reference to where it comes from, which the tests of the book follow.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from restore_lib.experiments.published import Number, PublishedTable
from restore_lib.experiments.records import OverSeeds, RunRecord, over_seeds

BLANK = "not available here"
NOT_RUN = "not run yet"
PUBLISHED_ONLY = "not run here"
SAME = "same digits"
UNEXPLAINED = "not explained yet"
COLUMNS = ("paper", "official log", "ours", "difference", "why")

#: Title and decimals of each metric; a metric that is not here has its own name and three decimals.
METRICS: Mapping[str, tuple[str, int]] = {
    "psnr": ("PSNR in dB", 2),
    "lr_psnr": ("LR-PSNR in dB", 2),
    "ssim": ("SSIM", 4),
    "psnr_y": ("PSNR-Y in dB", 2),
    "ssim_y": ("SSIM-Y", 4),
    "lpips_alex": ("LPIPS with AlexNet", 4),
    "lpips_vgg": ("LPIPS with VGG-16", 4),
    "psnr_spread": ("PSNR in dB, spread over photos", 2),
    "lpips_alex_spread": ("LPIPS, spread over photos", 4),
    "top1": ("Top-1 accuracy in %", 1),
    "top1_low": ("Top-1, lower end of the interval", 1),
    "top1_high": ("Top-1, upper end of the interval", 1),
    "top5": ("Top-5 accuracy in %", 1),
    "miou": ("Mean IoU in %", 1),
    "miou_low": ("Mean IoU, lower end of the interval", 1),
    "miou_high": ("Mean IoU, upper end of the interval", 1),
    "pixel_accuracy": ("Pixel accuracy in %", 1),
    "detail": ("Detail kept in %", 1),
    "fine_power": ("Power of fine structure, % of the clean photo's", 1),
    "kernel_error": ("Kernel error, mean", 3),
    "kernel_error_median": ("Kernel error, median", 3),
    "kernel_error_worst": ("Kernel error, worst", 3),
    "psnr_worst": ("PSNR in dB, worst", 2),
    "off_centre": ("Cells off the centre", 2),
    "sum": ("Sum of the raw kernel", 3),
    "switch_step": ("Step of the second phase", 0),
    "distrusted": ("Share with a warning", 2),
    "sigma": ("Sigma", 2),
    "luma share": ("Luma's share of the variance", 2),
    "red-green": ("Red with green", 2),
    "green-blue": ("Green with blue", 2),
    "across 1": ("Next pixel", 2),
    "across 2": ("Next but one", 2),
    "fine": ("Power in fine details", 2),
    "dark sigma": ("Sigma in the dark", 2),
    "bright sigma": ("Sigma in the bright", 2),
    "brisque": ("BRISQUE", 1),
    "noise_level": ("Noise level", 2),
    "blur": ("Blur index", 3),
    "border_jump": ("Jumps across cell borders, relative", 3),
    "border_error": ("Error at cell borders, relative", 3),
}


LOWER_IS_BETTER = ("lpips_alex", "lpips_vgg", "brisque", "kernel_error", "kernel_error_median", "kernel_error_worst")


def title_of(metric: str) -> str:
    """A metric as headings call it."""
    return METRICS.get(metric, (metric, 3))[0]


def decimals_of(metric: str) -> int:
    """How many decimals a metric is printed with."""
    return METRICS.get(metric, (metric, 3))[1]


@dataclass(frozen=True)
class Protocol:
    """The conventions behind a number, in words."""

    name: str  #: Part of a record's file name.
    title: str
    rules: Mapping[str, str]  #: Printed above every table and kept in every record.
    conditions: Mapping[str, float]  #: What is varied, by name: ``{"x2": 2.0}``, ``{"sigma 25": 25.0}``.


@dataclass(frozen=True)
class Line:
    """One line of a ledger: what was published, and which measurement stands beside it."""

    group: str  #: ``"Set5"``
    condition: str  #: ``"x2"``
    metric: str  #: ``"psnr"``
    recipe: str  #: Of the records that answer it; empty for a method that is not run here.
    dataset: str
    protocol: str
    paper: Number | None = None  #: The published number; None when no source was seen.
    log: Number | None = None  #: That of the official code's own log.
    comparable: bool = True  #: Whether ours can be subtracted from theirs.
    why: str = ""  #: Why the two differ, or why one of them is blank.
    image: str = ""  #: One picture of the set; empty for the mean over all.

    def answered_by(self, records: Sequence[RunRecord]) -> list[RunRecord]:
        """Records of this recipe, set and protocol that measured this metric under this condition."""
        wanted = (self.recipe, self.dataset, self.protocol)
        answers = [r for r in records if (r.recipe, r.dataset, r.protocol) == wanted]
        return [r for r in answers if r.find(self.condition, self.metric)]


@dataclass(frozen=True)
class Section:
    """Lines under one protocol; ``published`` is False for the book's own experiments, which nobody else printed."""

    name: str
    title: str
    rules: Mapping[str, str]
    lines: Sequence[Line]
    published: bool = True

    @property
    def metrics(self) -> list[str]:
        """Metrics of the section, the most important one first."""
        return list(dict.fromkeys(line.metric for line in self.lines))


@dataclass(frozen=True)
class Table:
    """A table of the book: sections, or a published table (``printed``) that no recipe measures yet."""

    name: str
    title: str
    sections: Sequence[Section] = ()
    printed: PublishedTable | None = None

    @property
    def lines(self) -> list[Line]:
        return [line for section in self.sections for line in section.lines]

    def __len__(self) -> int:
        return len(self.lines) if self.sections else len(self.printed or ())

    def measured(self, records: Sequence[RunRecord]) -> int:
        """How many of its numbers have a record."""
        return sum(bool(line.answered_by(records)) for line in self.lines)

    def section(self, name: str) -> Section:
        for section in self.sections:
            if section.name == name:
                return section
        raise ValueError(f"table {self.name} has sections {', '.join(s.name for s in self.sections)}, not {name!r}")


def section(
    protocol: Protocol,
    metrics: Sequence[str],
    methods: Mapping[str, str],
    sets: Mapping[str, str],
    *,
    name: str = "",
    title: str = "",
    keep: Callable[[Line], bool] | None = None,
    reference: Callable[[Line], Mapping[str, object]] | None = None,
) -> Section:
    """A line for each metric, image set, method and condition, in this order.

    ``methods`` and ``sets`` are titles by name, which may be empty; name and title are the protocol's by default;
    ``keep`` says which lines belong into the table, and ``reference`` gives fields of a line about what was published:
    ``paper``, ``log``, ``comparable``, ``why``.
    """
    lines = [
        Line(", ".join(filter(None, (place, method))), condition, metric, recipe, dataset, protocol.name)
        for metric in metrics
        for dataset, place in sets.items()
        for recipe, method in methods.items()
        for condition in protocol.conditions
    ]
    lines = [line for line in lines if keep is None or keep(line)]
    if reference:
        lines = [replace(line, **reference(line)) for line in lines]  # pyright: ignore[reportArgumentType]
    return Section(name or protocol.name, title or protocol.title, protocol.rules, lines, reference is not None)


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and for a number the reference that backs it."""

    text: str
    source: str = ""


@dataclass(frozen=True)
class Entry:
    """A line of a table with what records say about it."""

    line: Line
    ours: OverSeeds | None
    records: Sequence[RunRecord]

    @property
    def decimals(self) -> int:
        """As many as were published; else what is usual for the metric."""
        printed = self.line.paper or self.line.log
        return printed.decimals if printed else decimals_of(self.line.metric)

    @property
    def record_key(self) -> str:
        """Reference of our number: ``record:FILE,FILE#CONDITION/METRIC``, and ``/IMAGE`` for one picture."""
        place = "/".join(filter(None, (self.line.condition, self.line.metric, self.line.image)))
        return f"record:{','.join(r.file for r in self.records)}#{place}"

    @property
    def difference(self) -> Decimal | None:
        """Ours minus theirs, both as printed, so that the line adds up; None where they cannot be compared."""
        theirs = self.line.paper or self.line.log
        if self.ours is None or theirs is None or not self.line.comparable:
            return None
        return subtract(self.ours.value, theirs)

    def cells(self) -> Mapping[str, Cell]:
        theirs = self.line.paper or self.line.log
        blank = BLANK if theirs or self.line.why else ""
        difference = Cell("")
        if self.ours is None:
            ours = Cell(NOT_RUN if self.line.recipe else PUBLISHED_ONLY)
        else:
            spread = f" ± {self.ours.spread:.{self.decimals}f}" if self.ours.spread is not None else ""
            ours = Cell(f"{self.ours.value:.{self.decimals}f}{spread}", self.record_key)
        if self.difference is not None and theirs is not None:
            difference = Cell(signed(self.difference), f"difference:{theirs.key}|{self.record_key}")
        return {
            "paper": published_cell(self.line.paper, blank),
            "official log": published_cell(self.line.log, blank),
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


def published_cell(number: Number | None, blank: str) -> Cell:
    """A published number as it was printed, or the word for a blank."""
    return Cell(number.text, number.key) if number else Cell(blank)


def entries(section: Section, records: Sequence[RunRecord], metric: str | None = None) -> list[Entry]:
    """Lines of a section, or of one metric in it, joined with the records that answer them."""
    joined, places = [], {}  # records are many, and few of them answer a line
    for record in records:
        places.setdefault((record.recipe, record.dataset, record.protocol), []).append(record)
    for line in section.lines:
        if metric in (None, line.metric):
            answers = newest(line.answered_by(places.get((line.recipe, line.dataset, line.protocol), [])))
            joined.append(Entry(line, over_seeds(answers, line.condition, line.metric, line.image), answers))
    return joined


def newest(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Of records that may not be averaged, those of the largest run: most steps, then latest."""
    if not records:
        return []
    best = max(records, key=lambda r: (r.steps, r.finished))
    return [r for r in records if (r.tier, r.steps, r.dataset_hash) == (best.tier, best.steps, best.dataset_hash)]


def pivot(
    section: Section,
    records: Sequence[RunRecord],
    *,
    rows: str | Callable[[Line], Hashable] = "group",
    columns: str | Callable[[Line], Hashable] = "condition",
    metric: str | Sequence[str] | None = None,
) -> dict[Hashable, dict[Hashable, Entry]]:
    """A section as a table: entries by row and column.

    ``rows`` and ``columns`` name an attribute of a :class:`Line`, or are a function of it; ``metric`` is one metric, or
    several in the order wanted, or all.
    """

    def name(line: Line, key: str | Callable[[Line], Hashable]) -> Hashable:
        return getattr(line, key) if isinstance(key, str) else key(line)

    table: dict[Hashable, dict[Hashable, Entry]] = {}
    for one in [metric] if metric is None or isinstance(metric, str) else metric:
        for entry in entries(section, records, one):
            table.setdefault(name(entry.line, rows), {})[name(entry.line, columns)] = entry
    return table


@dataclass(frozen=True)
class Ranking:
    """Methods in the order of a published table, beside the order that was measured here."""

    metric: str
    entries: Sequence[Entry]  #: The published best one first; each has a published number and one of ours.

    def better(self, a: Entry, b: Entry) -> bool:
        """Whether the first of two did better here."""
        sign = -1 if self.metric in LOWER_IS_BETTER else 1
        return bool(a.ours and b.ours and sign * (a.ours.value - b.ours.value) > 0)

    @property
    def places(self) -> list[int]:
        """Our places, from 1, in the published order."""
        return [1 + sum(self.better(other, entry) for other in self.entries) for entry in self.entries]

    @property
    def reversed_pairs(self) -> list[tuple[Entry, Entry]]:
        """Pairs whose published order is the other way round here: the published better one first."""
        pairs = [(a, b) for i, a in enumerate(self.entries) for b in self.entries[i + 1 :]]
        return [(a, b) for a, b in pairs if self.better(b, a)]

    @property
    def pairs(self) -> int:
        return len(self.entries) * (len(self.entries) - 1) // 2

    @property
    def tau(self) -> float:
        """Kendall's rank correlation: 1 for the same order, -1 for the reversed one, about 0 for unrelated ones."""
        return 1 - 2 * len(self.reversed_pairs) / self.pairs


def ranking(section: Section, records: Sequence[RunRecord], metric: str) -> Ranking:
    """The methods of a section that have a published number and one of ours; of two with the same one, the first."""
    answered: dict[str, Entry] = {}
    for entry in entries(section, records, metric):
        if entry.line.paper and entry.ours:
            answered.setdefault(entry.line.paper.key, entry)
    sign = 1 if metric in LOWER_IS_BETTER else -1
    return Ranking(
        metric, sorted(answered.values(), key=lambda e: sign * float(e.line.paper.text if e.line.paper else 0))
    )


def columns_of(section: Section) -> tuple[str, ...]:
    """Columns that a section needs: ours alone where nothing was published, no log where none was seen."""
    if not section.published:
        return ("ours",)
    logged = any(line.log for line in section.lines)
    return tuple(column for column in COLUMNS if logged or column != "official log")


def print_table(table: Table, records: Sequence[RunRecord], console) -> None:
    """Print a table on a console of rich: protocols, numbers, differences and reasons."""
    from rich.table import Table as Grid

    console.print(f"[bold]{table.title}[/bold]")
    if table.printed:
        grid = Grid("", *table.printed.columns, caption=f"{table.printed.protocol}\n{table.printed.source}")
        for name, values in table.printed.rows.items():
            grid.add_row(name, *("-" if value is None else value for value in values))
        console.print(grid)
    for section in table.sections:
        console.print(f"\n[bold]{section.title}[/bold]")
        for rule, text in section.rules.items():
            console.print(f"  {rule}: {text}", markup=False)
        for metric in section.metrics:
            shown = columns_of(section)
            grid = Grid("set", "condition", *shown, title=title_of(metric))
            before = "", ""
            for entry in entries(section, records, metric):
                cells = {column: cell.text for column, cell in entry.cells().items()}
                now = entry.line.group, cells["why"]
                group = entry.line.group if now[0] != before[0] else ""
                cells["why"] = "" if now == before else cells["why"]  # a reason is given once a group
                grid.add_row(group, entry.line.condition, *(cells[column] for column in shown))
                before = now
            console.print(grid)
