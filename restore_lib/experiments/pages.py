"""Tables as HTML for the book's pages and chapters; notebooks show what these functions return.

:func:`ledger` shows a section of a table beside what was published, :func:`section` and :func:`pivot` our numbers
alone. Records lie in ``folder``, the repository's ``results`` by default.
"""

import base64
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import groupby
from pathlib import Path
from textwrap import fill
from types import SimpleNamespace

from restore_lib import experiments, plots
from restore_lib.experiments import ledger as ledgers
from restore_lib.experiments import published
from restore_lib.experiments.ledger import BLANK, Cell, Entry, Section, decimals_of, entries, title_of
from restore_lib.experiments.records import RunRecord, load_all, results_folder

PLAIN = 'style="background: none"'  # stripes are no help where a cell spans several lines
Folder = Path | str | None
Names = Sequence[str] | None


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
    """A table that scrolls sideways on a narrow screen; class ``dataframe`` suits the theme's dark mode."""
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
    """A condition as tables call it: ×2 for x2."""
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
    """One section of a table as the book shows it: protocol, numbers, differences and reasons, provenance."""
    part, records = chosen(table, section, folder)
    columns, parts = ledgers.columns_of(part), []
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
    table: str, section: str, *, columns: str = "condition", metric: str | Names = None, folder: Folder = None
) -> Page:
    """Our numbers of a section: a row for each method, and a column for each condition by one metric.

    ``columns="metric"`` puts several metrics side by side.
    """
    part, records = chosen(table, section, folder)
    metrics = [metric] if isinstance(metric, str) else metric or part.metrics[:1]
    answers = ledgers.pivot(part, records, columns=columns, metric=metrics)
    names = [str(name) for name in dict.fromkeys(name for line in answers.values() for name in line)]
    cells = [[line[n].cells()["ours"] if n in line else Cell("") for n in names] for line in answers.values()]
    heads = [title_of(name) if columns == "metric" else condition_title(name) for name in names]
    caption = part.title if columns == "metric" else f"{title_of(metrics[0])}, {part.title}"
    return Page(framed(caption, ("", *heads), plain_rows(zip(map(str, answers), cells, strict=True))))


def ranking(table: str, section: str, metrics: Sequence[str], folder: Folder = None) -> Page:
    """Is the published order of the methods ours, too? Places by each metric, and Kendall's rank correlation."""
    part, records = chosen(table, section, folder)
    parts = []
    for metric in metrics:
        order, rows = ledgers.ranking(part, records, metric), []
        for place, (entry, ours) in enumerate(zip(order.entries, order.places, strict=True), 1):
            cells = entry.cells()
            rows.append((entry.line.group, [cells["paper"], Cell(f"{place}."), cells["ours"], Cell(f"{ours}.")]))
        parts.append(framed(title_of(metric), ("", "paper", "place", "ours", "place"), plain_rows(rows)))
        if not order.pairs:
            parts.append("<p>Fewer than two of the published methods have been measured here.</p>")
            continue
        other = [f"{a.line.group} and {b.line.group}" for a, b in order.reversed_pairs]
        source = f"tau:{metric}:" + "|".join(entry.record_key for entry in order.entries)
        parts.append(
            f"<p>{order.pairs - len(other)} of {order.pairs} pairs of methods stand in the published order, "
            f"Kendall's τ is {span(Cell(f'{order.tau:.2f}'.replace('-', '−'), source))}. "
            f"The other way round here: {escape('; '.join(other)) or 'none'}.</p>"
        )
    return Page("".join(parts))


def order(
    text: str, table: str, section: str, metric: str, condition: str, groups: Names = None, folder: Folder = None
) -> Page:
    """A sentence: ``text``, then the methods of a section, or ``groups`` of them, in our order, the best one first."""
    part, records = chosen(table, section, folder)
    lines = [x for x in part.lines if x.condition == condition and x.group in (groups or [x.group])]
    measured = [e for e in entries(replace(part, lines=lines), records, metric) if e.ours]
    measured.sort(key=lambda e: ledgers.better_is_more(metric, e.ours.value) if e.ours else 0, reverse=True)
    places = "; ".join(f"{escape(e.line.group)}, {span(e.cells()['ours'])}" for e in measured)
    return Page(f"<p>{escape(text)}, best first: {places}.</p>")


def sentence(text: str, table: str, section: str, metric: str, folder: Folder = None, **lines: tuple[str, str]) -> Page:
    """A sentence with numbers of a section in it.

    ``lines`` name places of the section by group and condition, and ``text`` has ``{name.ours}``, ``{name.paper}`` or
    ``{name.difference}`` for each. KeyError for a place that the section does not have.
    """
    part, records = chosen(table, section, folder)
    found = {(entry.line.group, entry.line.condition): entry.cells() for entry in entries(part, records, metric)}
    numbers = {name: SimpleNamespace(**{k: span(c) for k, c in found[at].items()}) for name, at in lines.items()}
    return Page(f"<p>{text.format(**numbers)}</p>")


def span(cell: Cell) -> str:
    """A number within a sentence, with the record or source behind it."""
    return f'<span data-source="{escape(cell.source)}">{escape(cell.text)}</span>' if cell.source else cell.text


def chart(
    table: str,
    section: str,
    *,
    columns: str = "condition",
    metrics: Names = None,
    conditions: Names = None,
    groups: Names = None,
    folder: Folder = None,
) -> Page:
    """A section as a picture: a row for each method, ours as filled marks, published numbers as open ones.

    A panel for each condition, or, with ``columns="metric"``, for each metric; of those named, or of all. Bars are the
    spread over trainings.
    """
    part, records = chosen(table, section, folder)
    metrics = metrics or part.metrics[: None if columns == "metric" else 1]
    lines = [line for line in part.lines if line.condition in (conditions or [line.condition])]
    lines = [line for line in lines if line.group in (groups or [line.group])]
    shown = ledgers.pivot(replace(part, lines=lines), records, columns=columns, metric=metrics)
    panels = {}
    for name in dict.fromkeys(str(getattr(line, columns)) for line in part.lines):
        if not any(name in cells for cells in shown.values()):
            continue
        at = [cells.get(name) for cells in shown.values()]
        ours = [(e.ours.value, e.ours.spread or math.nan) if e and e.ours else None for e in at]
        paper = [(e.line.paper.value, math.nan) if e and e.line.paper else None for e in at]
        title = fill(title_of(name if columns == "metric" else metrics[0]), 12)
        title = title if columns == "metric" else f"{condition_title(name)}\n{title}"
        panels[title] = {"ours": ours} | ({"paper": paper} if any(line.paper for line in lines) else {})
    drawn = io.BytesIO()
    plots.dot_plot([str(row) for row in shown], panels).savefig(drawn, format="svg", metadata={"Date": None})
    source = f"data:image/svg+xml;base64,{base64.b64encode(drawn.getvalue()).decode()}"
    alt = f"{part.title}: {', '.join(panels)}. The tables below hold the same numbers.".replace("\n", " ")
    image = f'<img style="width: 100%; min-width: 34em; max-width: 46em" src="{source}" alt="{escape(alt)}">'
    return Page(f'<div class="chart" style="overflow-x: auto">{image}</div>')


def section(
    table: str, section: str, *, columns: str = "condition", metrics: Names = None, folder: Folder = None
) -> Page:
    """A section with its protocol above and its provenance below.

    A table for each metric, the first one open; with ``columns="metric"`` one table of all metrics, or of those named.
    """
    part, records = chosen(table, section, folder)
    metrics = metrics or part.metrics
    together = [metrics] if columns == "metric" else [[metric] for metric in metrics]
    first, *others = (pivot(table, section, columns=columns, metric=some, folder=folder).html for some in together)
    html = first + "".join(folded(title_of(m), text) for m, text in zip(metrics[1:], others, strict=False))
    return Page(protocol(part) + html + provenance(entries(part, records)))


def photos(table: str, condition: str, folder: Folder = None) -> Page:
    """A section ``photos`` at one condition: a row for each picture, published and measured columns for each method."""
    part, records = chosen(table, "photos", folder)
    part = replace(part, lines=[line for line in part.lines if line.condition == condition])
    answers = ledgers.pivot(part, records, rows="image", columns=lambda line: line.group.partition(", photo ")[0])
    methods = [m for m in next(iter(answers.values())) if any(line[m].ours for line in answers.values())][::-1]
    shown = [(method, column) for method in methods for column in ("paper", "ours")]
    head = ["photo", *(f"{method}: {column}" for method, column in shown)]
    rows = [(str(image), [line[m].cells()[column] for m, column in shown]) for image, line in answers.items()]
    return Page(framed(f"PSNR in dB, {condition}, photo by photo", head, plain_rows(rows)))


def comparison(table: str, metric: str, conditions: Sequence[str], folder: Folder = None) -> Page:
    """The same method, metric and photos under every protocol: what convention alone does to a number."""
    entry, records = experiments.find(table), load_all(folder or results_folder())
    names, body = [part.name for part in entry.sections], ""
    every = [line for line in entry.lines if line.condition in conditions]
    for group in dict.fromkeys(line.group for line in every):
        part = Section("", "", {}, [line for line in every if line.group == group])
        rows = []
        for condition, answers in ledgers.pivot(part, records, "condition", "protocol", metric).items():
            ours = {name: answers[name].cells()["ours"] for name in names}
            rows.append((str(condition), {**ours, "apart": spread(list(answers.values()))}))
        body += group_rows(group, rows)
    title = f"{title_of(metric)} of one method under {len(names)} protocols"
    return Page(framed(title, ("set", "scale", *names, "apart"), body))


def spread(shown: Sequence[Entry]) -> Cell:
    """The distance between the largest and the smallest of our numbers."""
    measured = [entry for entry in shown if entry.ours]
    if len(measured) < 2:
        return Cell("")
    digits = decimals_of(measured[0].line.metric)
    values = [round(entry.ours.value, digits) for entry in measured if entry.ours]
    source = f"range:{digits}:" + "|".join(entry.record_key for entry in measured)
    return Cell(f"{max(values) - min(values):.{digits}f}", source)


def chosen(table: str, section: str, folder: Folder) -> tuple[Section, list[RunRecord]]:
    """A section by its names, without groups of lines of which no number is known, and the records of the folder."""
    part, records = experiments.find(table).section(section), load_all(folder or results_folder())
    known = {e.line.group for e in entries(part, records) if e.ours or e.line.paper or e.line.log}
    return replace(part, lines=[x for x in part.lines if x.group in known or not known]), records


def protocol(part: Section) -> str:
    """The rules of a section as a list."""
    items = [f"<li><strong>{escape(rule)}</strong>: {escape(text)}</li>" for rule, text in part.rules.items()]
    return f'<ul class="protocol">{"".join(items)}</ul>'


def folded(title: str, html: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{html}</details>"


def fold(title: str, page: Page) -> Page:
    """A long table behind its title."""
    return Page(folded(title, page.html))


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


def unmeasured(folder: Folder = None) -> Page:
    """Lines of the tables that no record answers and no published number alone is shown for, by table and section."""
    records, rows = load_all(folder or results_folder()), []
    for table in experiments.EXPERIMENTS.values():
        for part in table.sections:
            blank = [e.line for e in entries(part, records, part.metrics[0]) if e.line.recipe and not e.ours]
            waiting = [line for line in blank if not line.image]  # photos of a set are measured with the set
            for group, lines in groupby(waiting, lambda line: line.group):
                rows.append((table.title, part.title, group, ", ".join(condition_title(x.condition) for x in lines)))
    return listing("Not measured yet", ("table", "section", "set and method", "conditions"), rows)


def index(folder: Folder = None) -> Page:
    """Every table with the part of its numbers that has been measured."""
    shown = overview(load_all(folder or results_folder()))
    head = ("table", "shows", "source", "measured")
    return listing("Tables, and how many of their numbers have been measured", head, [tuple(e.values()) for e in shown])


def listing(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> Page:
    """A table of words."""
    return Page(framed(caption, head, plain_rows((first, list(map(Cell, rest))) for first, *rest in rows)))


def overview(records: Sequence[RunRecord]) -> list[Mapping[str, str]]:
    """One entry for each table: its name, what it shows, where from, and how many numbers have been measured."""

    def cited(table: published.Missing) -> str:
        return f"{table.citation}: {table.where}" if table.citation else table.where

    rows = []
    for table in experiments.all_tables().values():
        count = len(table.sections)
        source = cited(table.printed) if table.printed else f"{count} protocol{'s' * (count > 1)}"
        rows.append((table.name, table.title, source, f"{table.measured(records)} of {len(table)}"))
    rows += [(lost.name, lost.title, cited(lost), BLANK) for lost in published.missing().values()]
    return [dict(zip(("table", "shows", "source", "measured"), row, strict=True)) for row in rows]


def judged(paper: str, folder: Folder = None) -> Page:
    """What paper ``"a"``, ``"b"`` or ``"c"`` says about its methods, and how often it came out so here."""
    records, rows, details = load_all(folder or results_folder()), [], ""
    for claim in published.claims()[paper]:
        compared = ledgers.judge(claim, experiments.EXPERIMENTS, records)
        held, clear = [c for c in compared if c.gap > 0], [c for c in compared if c.clear]
        against = len(clear) - len([c for c in held if c.clear])
        counts = f"{len(held)} of {len(compared)}", f"{len(clear) - against} of {len(compared)}", f"{against}"
        link = f'<a href="../notebooks/{claim.chapter}.html">chapter {int(claim.chapter[:2])}</a>'
        cells = "".join(f"<td>{text}</td>" for text in (ledgers.verdict(compared), *counts[:2], f"{counts[2]} clearly"))
        rows.append(
            f'<tr><th scope="row">{escape(claim.says)}<br><small>{escape(claim.where)}</small></th>{cells}'
            f"<td>{link}</td></tr>"
        )
        shown = (
            (
                f"{c.better.line.group} / {c.worse.line.group}",
                [
                    Cell(condition_title(c.better.line.condition)),
                    Cell(title_of(c.better.line.metric)),
                    *(entry.cells()["ours"] for entry in (c.better, c.worse)),
                    Cell(f"{'ahead' if c.gap > 0 else 'behind'}{', clearly' if c.clear else ''}"),
                ],
            )
            for c in compared
        )
        head = (
            "the better one, as the paper has it / the other",
            "condition",
            "metric",
            "first",
            "second",
            "the first",
        )
        details += folded(claim.says, framed(claim.says, head, plain_rows(shown)))
    head = ("the paper says", "here", "comparisons as it says", "clearly so", "the other way", "more")
    caption = f"What paper {paper.upper()} says, put to the records"
    return Page(framed(caption, head, f"<tbody>{''.join(rows)}</tbody>") + folded("Every comparison", details))
