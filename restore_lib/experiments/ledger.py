"""The ledger: paper | official code's own log | ours | difference | why.

A :class:`Section` of a table says which numbers belong side by side; :func:`entries` joins its lines with the records
that answer them. Every number keeps a reference to where it comes from, which the tests of the book follow.
"""

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import combinations
from operator import attrgetter
from pathlib import Path
from typing import Any

from restore_lib.experiments.published import Claim, Number, PublishedTable
from restore_lib.experiments.records import OverSeeds, RunRecord, over_seeds, paired_difference

BLANK = "not available here"
NOT_RUN = "not run yet"
PUBLISHED_ONLY = "not run here"
SAME = "same digits"
UNEXPLAINED = "not explained yet"
COLUMNS = ("paper", "official log", "ours", "difference", "why")

#: Title and decimals of each metric; a metric that is not there has its own name and three decimals.
METRICS: Mapping[str, tuple[str, int]] = json.loads(Path(__file__).with_name("metrics.json").read_text("utf-8"))
LOWER_IS_BETTER = ("lpips_alex", "lpips_vgg", "brisque", "kernel_error", "kernel_error_median", "kernel_error_worst")


#: Name, title and rules of each protocol.
WORDS: Mapping[str, Mapping[str, Any]] = {
    name: {"name": name, **words}
    for name, words in json.loads(Path(__file__).with_name("protocols.json").read_text("utf-8")).items()
}


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
        return {section.name: section for section in self.sections}[name]


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
    def theirs(self) -> Number | None:
        return self.line.paper or self.line.log

    @property
    def decimals(self) -> int:
        """As many as were published; else what is usual for the metric."""
        return self.theirs.decimals if self.theirs else decimals_of(self.line.metric)

    @property
    def record_key(self) -> str:
        """Reference of our number: ``record:FILE,FILE#CONDITION/METRIC``, and ``/IMAGE`` for one picture."""
        place = "/".join(filter(None, (self.line.condition, self.line.metric, self.line.image)))
        return f"record:{','.join(r.file for r in self.records)}#{place}"

    @property
    def difference(self) -> Decimal | None:
        """Ours minus theirs, both as printed, so that the line adds up; None where they cannot be compared."""
        if self.ours is None or self.theirs is None or not self.line.comparable:
            return None
        return subtract(self.ours.value, self.theirs)

    @property
    def why(self) -> str:
        """The reason for the difference; nothing needs one where the digits agree."""
        if self.difference is None:
            return self.line.why
        return SAME if self.difference == 0 else self.line.why or UNEXPLAINED

    def cells(self) -> Mapping[str, Cell]:
        """The columns of the ledger."""
        ours, difference = Cell(NOT_RUN if self.line.recipe else PUBLISHED_ONLY), Cell("")
        if self.ours:
            spread = f" ± {self.ours.spread:.{self.decimals}f}" if self.ours.spread is not None else ""
            ours = Cell(f"{self.ours.value:.{self.decimals}f}{spread}", self.record_key)
        if self.difference is not None and self.theirs:
            difference = Cell(signed(self.difference), f"difference:{self.theirs.key}|{self.record_key}")
        blank = Cell(BLANK if self.theirs or self.line.why else "")
        paper, log = (Cell(n.text, n.key) if n else blank for n in (self.line.paper, self.line.log))
        return dict(zip(COLUMNS, (paper, log, ours, difference, Cell(self.why)), strict=True))


def subtract(ours: float, theirs: Number) -> Decimal:
    """Ours minus theirs, after rounding ours to the digits that were published."""
    return Decimal(f"{ours:.{theirs.decimals}f}") - Decimal(theirs.text)


def signed(number: Decimal) -> str:
    """A difference as it is printed: with its sign, a true minus, and none for zero."""
    return f"{number:+}".replace("-", "−") if number else f"{abs(number)}"


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
    rows: str | Callable[[Line], Hashable] = "group",
    columns: str | Callable[[Line], Hashable] = "condition",
    metric: str | Sequence[str] | None = None,
) -> dict[Hashable, dict[Hashable, Entry]]:
    """A section as a table: entries by row and column.

    ``rows`` and ``columns`` name an attribute of a :class:`Line`, or are a function of it; ``metric`` is one metric, or
    several in the order wanted, or all.
    """
    row, column = (attrgetter(key) if isinstance(key, str) else key for key in (rows, columns))
    table: dict[Hashable, dict[Hashable, Entry]] = {}
    for one in [metric] if metric is None or isinstance(metric, str) else metric:
        for entry in entries(section, records, one):
            table.setdefault(row(entry.line), {})[column(entry.line)] = entry
    return table


@dataclass(frozen=True)
class Ranking:
    """Methods in the order of a published table, beside the order that was measured here."""

    metric: str
    entries: Sequence[Entry]  #: The published best one first; each has a published number and one of ours.

    @property
    def ours(self) -> list[float]:
        """Our values in the published order, those of metrics whose lower values are better with the other sign."""
        return [better_is_more(self.metric, entry.ours.value) for entry in self.entries if entry.ours]

    @property
    def places(self) -> list[int]:
        """Our places, from 1, in the published order."""
        return [1 + sum(other > mine for other in self.ours) for mine in self.ours]

    @property
    def pairs(self) -> int:
        return len(self.entries) * (len(self.entries) - 1) // 2

    @property
    def reversed_pairs(self) -> list[tuple[Entry, Entry]]:
        """Pairs whose published order is the other way round here: the published better one first."""
        ranked = combinations(zip(self.entries, self.ours, strict=True), 2)
        return [(a, b) for (a, first), (b, second) in ranked if second > first]

    @property
    def tau(self) -> float:
        """Kendall's rank correlation: 1 for the same order, -1 for the reversed one, about 0 for unrelated ones."""
        return 1 - 2 * len(self.reversed_pairs) / self.pairs


def better_is_more(metric: str, value: float) -> float:
    return -value if metric in LOWER_IS_BETTER else value


def ranking(section: Section, records: Sequence[RunRecord], metric: str) -> Ranking:
    """The methods of a section that have a published number and one of ours; of two with the same one, the first."""
    answered: dict[str, tuple[float, Entry]] = {}
    for entry in entries(section, records, metric):
        if entry.line.paper and entry.ours:
            answered.setdefault(entry.line.paper.key, (better_is_more(metric, entry.line.paper.value), entry))
    best_first = sorted(answered.values(), key=lambda pair: pair[0], reverse=True)
    return Ranking(metric, [entry for _, entry in best_first])


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
                cells["why"] = "" if now == before else cells["why"]  # a reason is given once a group
                group = "" if now[0] == before[0] else now[0]
                grid.add_row(group, entry.line.condition, *(cells[column] for column in shown))
                before = now
            console.print(grid)


@dataclass(frozen=True)
class Comparison:
    """The two methods of a pair under one condition."""

    better: Entry
    worse: Entry
    gap: float = field(kw_only=True)  #: Above 0 where it is as the paper says.
    clear: bool = field(kw_only=True)


def judge(claim: Claim, tables: Mapping[str, Table], records: Sequence[RunRecord]) -> list[Comparison]:
    """Every pair of a claim that was measured, under every condition."""
    compared = []
    for table, name, metric in claim.places:
        part = tables[table].section(name)
        measured = {(e.line.group, e.line.condition): e for e in entries(part, records, metric) if e.ours}
        conditions = claim.conditions or list(dict.fromkeys(line.condition for line in part.lines))
        for better, worse in claim.pairs:
            for condition in conditions:
                one, two = measured.get((better, condition)), measured.get((worse, condition))
                if one and two:
                    compared.append(compare(one, two))
    return compared


def compare(better: Entry, worse: Entry) -> Comparison:
    """How far the first of two methods is ahead, and whether photos and runs leave no doubt of the sign."""
    line, a, b = better.line, better.ours, worse.ours
    if a is None or b is None:
        raise ValueError("both methods must have been measured")
    sign = -1 if line.metric in LOWER_IS_BETTER else 1
    gap, limits = sign * (a.value - b.value), []
    if a.spread is not None and b.spread is not None:
        limits.append(abs(gap) > 2 * (a.spread**2 / a.runs + b.spread**2 / b.runs) ** 0.5)
    every = [*better.records, *worse.records]
    for metric in (line.metric, f"{line.metric}_each"):
        each = [m.per_image if (m := record.find(line.condition, metric)) else () for record in every]
        if all(each) and worse.line.dataset == line.dataset:
            names = line.recipe, worse.line.recipe, line.dataset, line.condition, metric
            over = paired_difference(every, *names)
            limits.append(over is not None and over.sure)
    return Comparison(better, worse, gap=gap, clear=bool(limits) and all(limits))


def verdict(compared: Sequence[Comparison]) -> str:
    """In two words at most, from the signs and from how many of them are clear."""
    held = [c.gap > 0 for c in compared]
    if not held:
        return "not measured"
    if all(held):
        return "holds" if all(c.clear for c in compared) else "holds mostly"
    return "in part" if any(held) else "does not hold"
