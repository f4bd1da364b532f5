"""Tables as HTML for the book's pages and chapters; notebooks show what these functions return.

:func:`ledger` shows a section of a table beside what was published, :func:`section` and :func:`pivot` show our numbers
alone. Every number names the record or source behind it, in an attribute that :func:`unbacked_numbers` checks.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from html.parser import HTMLParser
from itertools import groupby
from pathlib import Path
from typing import TypeVar

from restore_lib import experiments
from restore_lib.experiments import published
from restore_lib.experiments.ledger import (
    BLANK,
    Cell,
    Entry,
    Line,
    Section,
    columns_of,
    decimals_of,
    entries,
    subtract,
    title_of,
)
from restore_lib.experiments.ledger import pivot as arrange
from restore_lib.experiments.records import OverSeeds, RunRecord, load_all, over_seeds, results_folder

PLAIN = 'style="background: none"'  # stripes are no help where a cell spans several lines
Folder = Path | str | None
T = TypeVar("T")


@dataclass(frozen=True)
class Page:
    """A piece of a page that notebooks display."""

    html: str

    def _repr_html_(self) -> str:
        return self.html


def td(cell: Cell, span: int = 1) -> str:
    """A table cell; a number names the record or source behind it."""
    attributes = f' data-source="{escape(cell.source)}" title="{escape(readable(cell.source))}"' if cell.source else ""
    attributes += f' rowspan="{span}"' if span > 1 else ""
    return f"<td{attributes}>{escape(cell.text)}</td>"


def readable(source: str) -> str:
    """A reference in words, for a tooltip."""
    kind, _, rest = source.partition(":")
    place = rest.partition("#")[0]
    if kind == "published":
        return published.tables()[place].source
    return {"record": f"results/{place}", "difference": "ours minus theirs"}.get(kind, "computed from run records")


def framed(caption: str, head: Sequence[str], body: str) -> str:
    """A table that scrolls sideways on a narrow screen instead of breaking the page.

    The theme gives notebook outputs a light ground in dark mode unless they hold a table of class ``dataframe``.
    """
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    return (
        f'<div class="ledger" role="region" tabindex="0" aria-label="{escape(caption)}" style="overflow-x: auto">'
        f'<table class="table dataframe"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{columns}</tr></thead>{body}</table></div>"
    )


def plain_rows(rows: Iterable[tuple[str, Sequence[Cell]]]) -> str:
    """A table's body with one label a row."""
    lines = (f'<tr><th scope="row">{escape(name)}</th>{"".join(map(td, cells))}</tr>' for name, cells in rows)
    return f"<tbody>{''.join(lines)}</tbody>"


def condition_title(name: str) -> str:
    """A condition as printed: scales get a times sign."""
    return re.sub(r"^x(?=[0-9])", "×", name)


def group_rows(group: str, rows: Sequence[tuple[str, Mapping[str, Cell]]], once: Iterable[str] = ()) -> str:
    """Rows of one image set: its title, then a condition and cells for each row; columns in ``once`` span them all."""
    lines = []
    for number, (condition, cells) in enumerate(rows):
        first = f'<th scope="rowgroup" rowspan="{len(rows)}">{escape(group)}</th>' if number == 0 else ""
        label = f'<th scope="row">{escape(condition_title(condition))}</th>'
        shown = [td(cells[c], len(rows) if c in once else 1) for c in cells if number == 0 or c not in once]
        lines.append(f"<tr {PLAIN}>{first}{label}{''.join(shown)}</tr>")
    return f"<tbody>{''.join(lines)}</tbody>"


def ledger(table: str, section: str, folder: Folder = None) -> Page:
    """One section of a table as the book shows it: protocol, numbers, differences and reasons, provenance.

    Parameters
    ----------
    table, section : str
        Names, such as ``"bicubic"`` and ``"liif"``.
    folder : path, optional
        Where the records are; the repository's ``results`` by default.
    """
    part, records = chosen(table, section, folder)
    columns, parts = columns_of(part), []
    for metric in part.metrics:
        body = ""
        for group, lines in groupby(entries(part, records, metric), lambda entry: entry.line.group):
            rows = [(entry.line.condition, {c: entry.cells()[c] for c in columns}) for entry in lines]
            # a cell that says the same words in every line is written once
            once = {c for c in columns if not rows[0][1][c].source and len({cells[c] for _, cells in rows}) == 1}
            body += group_rows(group, rows, once)
        html = framed(f"{title_of(metric)}, {part.title}", ("set", "condition", *columns), body)
        parts.append(folded(title_of(metric), html) if parts else html)
    return Page(protocol(part) + "".join(parts) + provenance(entries(part, records)))


def pivot(
    table: str,
    section: str,
    *,
    rows: str = "group",
    columns: str = "condition",
    metric: str | Sequence[str] | None = None,
    folder: Folder = None,
) -> Page:
    """Our numbers of a section: by default a row for each method and a column for each condition, by one metric.

    Parameters
    ----------
    table, section
        As for :func:`ledger`.
    rows, columns, metric
        As for :func:`restore_lib.experiments.ledger.pivot`; ``columns="metric"`` puts several metrics side by side.
    """
    part, records = chosen(table, section, folder)
    metric = metric or part.metrics[:1]
    answers = arrange(part, records, rows=rows, columns=columns, metric=metric)
    names = [str(name) for name in dict.fromkeys(name for line in answers.values() for name in line)]
    ours = [
        (str(row), [line[n].cells()["ours"] if n in line else Cell("") for n in names]) for row, line in answers.items()
    ]
    heads = [title_of(name) if columns == "metric" else condition_title(name) for name in names]
    single = metric if isinstance(metric, str) else metric[0]
    caption = part.title if columns == "metric" else f"{title_of(single)}, {part.title}"
    return Page(framed(caption, ("", *heads), plain_rows(ours)))


def section(
    table: str,
    section: str,
    *,
    columns: str = "condition",
    metrics: Sequence[str] | None = None,
    folder: Folder = None,
) -> Page:
    """A section with its protocol above and its provenance below.

    A table for each metric, the first one open; with ``columns="metric"`` one table of all metrics, or of those named.
    """
    part, records = chosen(table, section, folder)
    metrics = metrics or part.metrics
    if columns == "metric":
        html = pivot(table, section, columns=columns, metric=metrics, folder=folder).html
    else:
        tables = [pivot(table, section, columns=columns, metric=metric, folder=folder).html for metric in metrics]
        html = tables[0] + "".join(folded(title_of(m), text) for m, text in zip(metrics[1:], tables[1:], strict=True))
    return Page(protocol(part) + html + provenance(entries(part, records)))


def photos(table: str, condition: str, folder: Folder = None) -> Page:
    """A section ``photos`` at one condition: a row for each picture, published and measured columns for each method."""
    part, records = chosen(table, "photos", folder)
    part = Section(part.name, part.title, part.rules, [x for x in part.lines if x.condition == condition])
    answers = arrange(part, records, rows="image", columns=lambda line: line.group.partition(", photo ")[0])
    methods = [m for m in next(iter(answers.values())) if any(line[m].ours for line in answers.values())][::-1]
    head = ["photo", *(f"{method}: {column}" for method in methods for column in ("paper", "ours"))]
    rows = [
        (str(image), [line[method].cells()[column] for method in methods for column in ("paper", "ours")])
        for image, line in answers.items()
    ]
    return Page(framed(f"PSNR in dB, {condition}, photo by photo", head, plain_rows(rows)))


def comparison(table: str, metric: str, conditions: Sequence[str], folder: Folder = None) -> Page:
    """The same method, metric and photos under every protocol: what convention alone does to a number."""
    entry, records = experiments.find(table), load_all(folder or results_folder())
    every = Section("", "", {}, [line for line in entry.lines if line.condition in conditions])
    names = [part.name for part in entry.sections]

    def place(line: Line) -> tuple[str, str]:
        return line.group, line.condition

    answers = arrange(every, records, rows=place, columns="protocol", metric=metric)
    body = ""
    for group, keys in groupby(answers, lambda key: key[0]):  # pyright: ignore[reportIndexIssue]
        rows = []
        for key in keys:
            ours = {name: answers[key][name].cells()["ours"] for name in names}
            rows.append((key[1], {**ours, "apart": spread(list(answers[key].values()))}))  # pyright: ignore[reportIndexIssue]
        body += group_rows(group, rows)
    title = f"{title_of(metric)} of one method under {len(names)} protocols"
    return Page(framed(title, ("set", "scale", *names, "apart"), body))


def spread(shown: Sequence[Entry]) -> Cell:
    """The distance between the largest and the smallest of our numbers."""
    measured = [entry for entry in shown if entry.ours is not None]
    if len(measured) < 2:
        return Cell("")
    digits = decimals_of(measured[0].line.metric)
    values = [round(entry.ours.value, digits) for entry in measured if entry.ours]
    source = f"range:{digits}:" + "|".join(entry.record_key for entry in measured)
    return Cell(f"{max(values) - min(values):.{digits}f}", source)


def chosen(table: str, section: str, folder: Folder) -> tuple[Section, list[RunRecord]]:
    """A section by name, and the records that may answer it."""
    return experiments.find(table).section(section), load_all(folder or results_folder())


def protocol(part: Section) -> str:
    """The rules of a section as a list."""
    items = [f"<li><strong>{escape(rule)}</strong>: {escape(text)}</li>" for rule, text in part.rules.items()]
    return f'<ul class="protocol">{"".join(items)}</ul>'


def folded(title: str, html: str) -> str:
    """A part that opens on demand."""
    return f"<details><summary>{escape(title)}</summary>{html}</details>"


def provenance(shown: Sequence[Entry]) -> str:
    """Which records and which sources stand behind a section."""
    sources = {n.table.name: n.table for entry in shown for n in (entry.line.paper, entry.line.log) if n}
    records = {record.file: record for entry in shown for record in entry.records}
    items = [f"{escape(t.title)}: {escape(t.where)} ({escape(t.kind)}), {code(t.seen)}" for t in sources.values()]
    items += [record_html(record) for record in records.values()]
    lines = "".join(f"<li>{item}</li>" for item in items)
    return folded("Where these numbers come from", f"<ul>{lines}</ul>") if lines else ""


def record_html(record: RunRecord) -> str:
    """One line on a run. Versions and hashes are code: they are names, not results."""
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    trained = f"{record.steps:,} steps at tier {record.tier}, " if record.steps else ""
    return (
        f"{code('results/' + record.file)}: {len(record.images)} images of {escape(record.dataset)} "
        f"(sha256 {code(record.dataset_hash[:12])}), {trained}{round(record.seconds)} s on {code(record.device)}, "
        f"{record.finished[:10]}, commit {code(record.commit[:12])}, {code(versions)}"
    )


def code(text: str) -> str:
    """A name, hash or version."""
    return f"<code>{escape(text)}</code>"


def printed(name: str) -> Page:
    """A published table that waits for its recipe, as printed."""
    table = published.tables()[name]
    numbers = {row: [published.number(name, row, column) for column in table.columns] for row in table.rows}
    rows = [(row, [Cell(n.text, n.key) if n else Cell("") for n in cells]) for row, cells in numbers.items()]
    note = f"<p>{escape(table.note)}</p>" if table.note else ""
    html = framed(table.title, ("", *table.columns), plain_rows(rows))
    return Page(f"<p>{escape(table.protocol)}.</p>{html}{note}<p>{escape(table.where)}; {code(table.seen)}</p>")


def waiting() -> Page:
    """Every published table that no recipe measures yet, folded."""
    tables = [table.printed for table in experiments.all_tables().values() if table.printed]
    return Page("".join(folded(t.title, printed(t.name).html) for t in tables))


def index(folder: Folder = None) -> Page:
    """Every table with the part of its numbers that has been measured."""
    shown = overview(load_all(folder or results_folder()))
    head = ("table", "shows", "source", "measured")
    return listing("Tables, and how many of their numbers have been measured", head, [tuple(e.values()) for e in shown])


def listing(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> Page:
    """A table of words."""
    return Page(framed(caption, head, plain_rows((first, list(map(Cell, rest))) for first, *rest in rows)))


def cited(table: published.PublishedTable | published.Missing) -> str:
    """Where a table was printed, in a few words."""
    return f"{table.citation}: {table.where}" if table.citation else table.where


def overview(records: Sequence[RunRecord]) -> list[Mapping[str, str]]:
    """One entry for each table: its name, what it shows, where from, and how many numbers have been measured."""
    shown = []
    for table in experiments.all_tables().values():
        count = len(table.sections)
        kind = cited(table.printed) if table.printed else f"{count} protocol{'s' * (count > 1)}"
        measured = f"{table.measured(records)} of {len(table)}"
        shown.append({"table": table.name, "shows": table.title, "source": kind, "measured": measured})
    for lost in published.missing().values():
        shown.append({"table": lost.name, "shows": lost.title, "source": cited(lost), "measured": BLANK})
    return shown


# Is every number on a page backed?

RESULT = re.compile(r"(?<!×)(?<!\bx)(?<![\d.])\d+(?:\.\d+)+|(?<![\d.])\d+(?=\s*(?:dB\b|%))")
NUMBER = re.compile(r"[-−+]?\d+(?:\.\d+)?")
LONE = re.compile(r"\s*[-−+±]?\s*\d+\s*")
SKIPPED = {"code", "pre", "script", "style", "math", "svg", "kbd"}
INLINE = {"a", "abbr", "b", "em", "i", "small", "span", "strong", "sub", "sup", "u", "q", "cite", "wbr", "font", "mark"}
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class _Reader(HTMLParser):
    """Splits a page into pieces of running text: (text, data-source, whether in a table cell)."""

    def __init__(self):
        super().__init__()
        self.pieces: list[tuple[str, str, bool]] = []
        self.open: list[tuple[str, str]] = []  # tag and data-source of each open element
        self.text = ""

    @property
    def skipping(self) -> bool:
        return any(tag in SKIPPED or tag.startswith("math ") for tag, _ in self.open)

    def flush(self):
        if self.text.strip():
            source = next((source for _, source in reversed(self.open) if source), "")
            self.pieces.append((self.text, source, any(tag == "td" for tag, _ in self.open)))
        self.text = ""

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        source = attributes.get("data-source") or ""
        if tag not in INLINE or source:
            self.flush()
        if tag not in VOID:
            is_math = "math" in (attributes.get("class") or "").split()
            self.open.append((f"math {tag}" if is_math else tag, source))

    def handle_endtag(self, tag):
        names = [name.removeprefix("math ") for name, _ in self.open]
        if tag not in names:
            return
        last = len(names) - 1 - names[::-1].index(tag)
        if tag not in INLINE or self.open[last][1]:
            self.flush()
        del self.open[last:]

    def handle_data(self, data):
        if not self.skipping:
            self.text += data

    def close(self):
        super().close()
        self.flush()


def unbacked_numbers(html: str, folder: Path | str | None = None) -> list[str]:
    """Numbers on a page that neither a record nor a published source backs; an empty list is what one wants.

    Numbers that must be backed: those with a decimal point, whole ones followed by ``dB`` or ``%``, and table cells
    that hold nothing but a number. What backs them: the ``data-source`` of their element, a record or a published
    number whose digits must agree; outside of tables, also the same digits as some published number or mean of a
    record. Scales (×2.5, x2.5), other whole numbers in sentences, code and formulas are not results.

    Parameters
    ----------
    html : str
        A page, or a part of one.
    folder : path, optional
        Where the records are; the repository's ``results`` by default.

    Returns
    -------
    list of str
        Offending numbers in the order of the page, as they stand there.
    """
    reader, sources = _Reader(), Sources(load_all(folder or results_folder()))
    reader.feed(html)
    reader.close()
    return [number for piece in reader.pieces for number in _offending(*piece, sources)]


def _offending(text: str, source: str, in_cell: bool, sources: "Sources") -> Iterator[str]:
    if source:
        allowed = sources.numbers(source)
        yield from (n for n in NUMBER.findall(text) if not any(_agrees(n, value) for value in allowed))
        return
    if in_cell and LONE.fullmatch(text):
        yield text.strip()
    for number in RESULT.findall(text):
        if in_cell or not sources.hold(number):
            yield number


def _agrees(printed: str, value: float | Decimal) -> bool:
    """Whether ``printed`` is ``value`` rounded to as many digits as are printed; a Decimal has all its digits."""
    printed = printed.replace("−", "-")
    digits = len(printed.partition(".")[2])
    if isinstance(value, Decimal) and digits != -int(value.as_tuple().exponent):
        return False
    return Decimal(printed) == Decimal(f"{value:.{digits}f}")


class Sources:
    """All numbers that may be printed: means of records, and what others published."""

    def __init__(self, records: Sequence[RunRecord]):
        self.records = {record.file: record for record in records}
        self.means = [m.value for record in records for m in record.measurements]
        self.printed = {cell for t in published.tables().values() for row in t.rows.values() for cell in row if cell}

    def hold(self, number: str) -> bool:
        """Whether some published number has these digits, or the mean of some record rounds to them."""
        return number in self.printed or ("." in number and any(_agrees(number, mean) for mean in self.means))

    def numbers(self, source: str) -> list[float | Decimal]:
        """What a reference stands for; an empty list when it points nowhere."""
        kind, _, rest = source.partition(":")
        try:
            if kind == "published":
                return [Decimal(self._published(rest).text)]
            if kind == "record":
                ours = self._record(rest)
                return [ours.value] if ours.spread is None else [ours.value, ours.spread]
            if kind == "difference":
                theirs, ours = (part.partition(":")[2] for part in rest.split("|"))
                return [subtract(self._record(ours).value, self._published(theirs))]
            if kind == "range":
                digits, _, parts = rest.partition(":")
                values = [self._record(part.partition(":")[2]).value for part in parts.split("|")]
                return [round(max(values), int(digits)) - round(min(values), int(digits))]
        except (KeyError, ValueError, TypeError):  # a reference to nothing backs nothing
            return []
        return []

    def _published(self, reference: str) -> published.Number:
        table, _, place = reference.partition("#")
        return present(published.number(table, *place.split("/")))

    def _record(self, reference: str) -> OverSeeds:
        names, _, place = reference.partition("#")
        return present(over_seeds([self.records[name] for name in names.split(",")], *place.split("/")))


def present(number: T | None) -> T:
    """A number that must be there."""
    if number is None:
        raise ValueError("a reference to a blank")
    return number
