"""Tables as HTML for the book's results page; notebooks show what these functions return."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path

from restore_lib.experiments import published, tables
from restore_lib.experiments.ledger import BLANK, DECIMALS, TITLES, Cell, Row, columns, rows
from restore_lib.experiments.records import RunRecord, load_all, results_folder

PLAIN = 'style="background: none"'  # stripes are no help where a cell spans several lines


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


def condition(name: str) -> str:
    """A condition as printed: scales get a times sign."""
    return re.sub(r"^x(?=[0-9])", "×", name)


def group_html(group: str, found: Sequence[Row], shown: Sequence[str]) -> str:
    """The lines of one image set. A cell that says the same words in every line is written once."""
    by_column = [row.cells() for row in found]
    once = {c for c in shown if not by_column[0][c].source and len({line[c] for line in by_column}) == 1}
    lines = []
    for number, (row, line) in enumerate(zip(found, by_column, strict=True)):
        first = f'<th scope="rowgroup" rowspan="{len(found)}">{escape(group)}</th>' if number == 0 else ""
        label = f'<th scope="row">{escape(condition(row.line.condition))}</th>'
        cells = [td(line[c], len(found) if c in once else 1) for c in shown if number == 0 or c not in once]
        lines.append(f"<tr {PLAIN}>{first}{label}{''.join(cells)}</tr>")
    return f"<tbody>{''.join(lines)}</tbody>"


def ledger(table: str, section: str, folder: Path | str | None = None) -> Page:
    """One section of a table as the book shows it: protocol, numbers, differences and reasons, provenance.

    Parameters
    ----------
    table, section : str
        Names, such as ``"bicubic"`` and ``"liif"``.
    folder : path, optional
        Where the records are; the repository's ``results`` by default.
    """
    found, records = tables.find(table).section(section), load_all(folder or results_folder())
    parts = [protocol(found)]
    for number, metric in enumerate(found.metrics):
        lines = rows(found, records, metric)
        groups = groupby(lines, lambda row: row.line.group)
        body = "".join(group_html(name, list(group), columns(found)) for name, group in groups)
        title = TITLES.get(metric, metric)
        html = framed(f"{title}, {found.title}", ("set", "condition", *columns(found)), body)
        parts.append(html if number == 0 else folded(title, html))
    return Page("".join(parts) + provenance(rows(found, records)))


def protocol(found: tables.Section) -> str:
    """The rules of a section as a list."""
    items = [f"<li><strong>{escape(rule)}</strong>: {escape(text)}</li>" for rule, text in found.rules.items()]
    return f'<ul class="protocol">{"".join(items)}</ul>'


def folded(title: str, html: str) -> str:
    """A part that opens on demand."""
    return f"<details><summary>{escape(title)}</summary>{html}</details>"


def provenance(found: Iterable[Row]) -> str:
    """Which records and which sources stand behind a section."""
    found = list(found)
    sources = {n.table.name: n.table for row in found for n in (row.line.paper, row.line.log) if n}
    records = {record.file: record for row in found for record in row.records}
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


def comparison(table: str, metric: str, conditions: Sequence[str], folder: Path | str | None = None) -> Page:
    """The same method, metric and photos under every protocol: what convention alone does to a number."""
    found, records = tables.find(table), load_all(folder or results_folder())
    answers: dict[tuple[str, str], dict[str, Row]] = {}
    for section in found.sections:
        for row in rows(section, records, metric):
            if row.line.condition in conditions:
                answers.setdefault((row.line.group, row.line.condition), {})[section.name] = row
    names = [section.name for section in found.sections]
    body = ""
    for group, keys in groupby(answers, lambda key: key[0]):
        keys = list(keys)
        lines = []
        for number, key in enumerate(keys):
            first = f'<th scope="rowgroup" rowspan="{len(keys)}">{escape(group)}</th>' if number == 0 else ""
            label = f'<th scope="row">{escape(condition(key[1]))}</th>'
            cells = [answers[key][name].cells()["ours"] for name in names] + [apart(list(answers[key].values()))]
            lines.append(f"<tr {PLAIN}>{first}{label}{''.join(td(cell) for cell in cells)}</tr>")
        body += f"<tbody>{''.join(lines)}</tbody>"
    title = f"{TITLES.get(metric, metric)} of one method under {len(names)} protocols"
    return Page(framed(title, ("set", "scale", *names, "apart"), body))


def photos(table: str, condition: str, folder: Path | str | None = None) -> Page:
    """A section ``photos`` at one condition: a row for each picture, published and measured columns for each method."""
    section, records = tables.find(table).section("photos"), load_all(folder or results_folder())
    answers: dict[str, dict[str, Row]] = {}
    for row in rows(section, records):
        if row.line.condition == condition:
            method = row.line.group.partition(", photo ")[0]
            answers.setdefault(row.line.image, {})[method] = row
    methods = [m for m in next(iter(answers.values())) if any(line[m].ours for line in answers.values())][::-1]
    head = ["photo", *(f"{method}: {part}" for method in methods for part in ("paper", "ours"))]
    body = ""
    for image, line in answers.items():
        cells = [line[method].cells()[part] for method in methods for part in ("paper", "ours")]
        shown = "".join(td(cell) for cell in cells)
        body += f'<tr><th scope="row">{escape(image)}</th>{shown}</tr>'
    return Page(framed(f"PSNR in dB, {condition}, photo by photo", head, f"<tbody>{body}</tbody>"))


def grid(table: str, section: str, metric: str, folder: Path | str | None = None) -> Page:
    """One metric of a section: a row for each group, a column for each condition."""
    found, records = tables.find(table).section(section), load_all(folder or results_folder())
    answers: dict[str, dict[str, Row]] = {}
    for row in rows(found, records, metric):
        answers.setdefault(row.line.group, {})[row.line.condition] = row
    conditions = list(dict.fromkeys(name for line in answers.values() for name in line))
    body = ""
    for group, line in answers.items():
        cells = "".join(td(line[name].cells()["ours"] if name in line else Cell("")) for name in conditions)
        body += f'<tr><th scope="row">{escape(group)}</th>{cells}</tr>'
    title = f"{TITLES.get(metric, metric)}, {found.title}"
    return Page(framed(title, ("", *map(condition, conditions)), f"<tbody>{body}</tbody>"))


def grids(table: str, section: str, folder: Path | str | None = None) -> Page:
    """A section with a grid for each metric, the first one open: protocol, numbers, provenance."""
    found, records = tables.find(table).section(section), load_all(folder or results_folder())
    parts = [protocol(found)]
    for number, metric in enumerate(found.metrics):
        html = grid(table, section, metric, folder).html
        parts.append(html if number == 0 else folded(TITLES.get(metric, metric), html))
    return Page("".join(parts) + provenance(rows(found, records)))


def across(
    table: str, section: str, metrics: Sequence[str], folder: Path | str | None = None, *, whole: bool = False
) -> Page:
    """A section under one condition: a row for each group, a column for each of these metrics.

    With ``whole``, the protocol stands above, and where the numbers come from below.
    """
    found, records = tables.find(table).section(section), load_all(folder or results_folder())
    answers: dict[str, dict[str, Row]] = {}
    for metric in metrics:
        for row in rows(found, records, metric):
            answers.setdefault(row.line.group, {})[metric] = row
    body = ""
    for group, line in answers.items():
        cells = "".join(td(line[name].cells()["ours"] if name in line else Cell("")) for name in metrics)
        body += f'<tr><th scope="row">{escape(group)}</th>{cells}</tr>'
    head = ("", *(TITLES.get(metric, metric) for metric in metrics))
    html = framed(found.title, head, f"<tbody>{body}</tbody>")
    return Page(protocol(found) + html + provenance(rows(found, records)) if whole else html)


def apart(found: Sequence[Row]) -> Cell:
    """The distance between the largest and the smallest of our numbers."""
    known = [row for row in found if row.ours is not None]
    if len(known) < 2:
        return Cell("")
    digits = DECIMALS.get(known[0].line.metric, 3)
    values = [round(row.ours.value, digits) for row in known]
    source = f"range:{digits}:" + "|".join(row.record_key for row in known)
    return Cell(f"{max(values) - min(values):.{digits}f}", source)


def printed(name: str) -> Page:
    """A published table that waits for its recipe, as printed."""
    table = published.tables()[name]
    body = ""
    for row in table.rows:
        cells = [published.number(name, row, column) for column in table.columns]
        shown = "".join(td(Cell(n.text, n.key) if n else Cell("")) for n in cells)
        body += f'<tr><th scope="row">{escape(row)}</th>{shown}</tr>'
    note = f"<p>{escape(table.note)}</p>" if table.note else ""
    html = framed(table.title, ("", *table.columns), f"<tbody>{body}</tbody>")
    return Page(f"<p>{escape(table.protocol)}.</p>{html}{note}<p>{escape(table.where)}; {code(table.seen)}</p>")


def waiting() -> Page:
    """Every published table that no recipe measures yet, folded."""
    parts = [folded(t.title, printed(t.name).html) for t in tables.all_tables().values() if t.grid]
    return Page("".join(parts))


def index(folder: Path | str | None = None) -> Page:
    """Every table with the part of its numbers that has been measured."""
    found = overview(load_all(folder or results_folder()))
    head = ("table", "shows", "source", "measured")
    return listing("Tables, and how many of their numbers have been measured", head, [tuple(e.values()) for e in found])


def listing(caption: str, head: Sequence[str], found: Iterable[Sequence[str]]) -> Page:
    """A table of words."""
    lines = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(td(Cell(text)) for text in rest)}</tr>'
        for first, *rest in found
    )
    return Page(framed(caption, head, f"<tbody>{lines}</tbody>"))


def cited(table: published.PublishedTable | published.Missing) -> str:
    """Where a table was printed, in a few words."""
    return f"{table.citation}: {table.where}" if table.citation else table.where


def overview(records: Sequence[RunRecord]) -> list[Mapping[str, str]]:
    """One entry for each table: its name, what it shows, where from, and how many numbers have been measured."""
    found = []
    for table in tables.all_tables().values():
        kind = cited(table.grid) if table.grid else f"{len(table.sections)} protocol{'s' * (len(table.sections) > 1)}"
        measured = f"{table.measured(records)} of {len(table)}"
        found.append({"table": table.name, "shows": table.title, "source": kind, "measured": measured})
    for lost in published.missing().values():
        found.append({"table": lost.name, "shows": lost.title, "source": cited(lost), "measured": BLANK})
    return found
