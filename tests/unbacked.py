"""Is every number on a page of the book backed by a record or a published source?"""

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import TypeVar

from scipy.stats import kendalltau

from restore_lib.experiments import published
from restore_lib.experiments.ledger import LOWER_IS_BETTER, subtract
from restore_lib.experiments.records import OverSeeds, RunRecord, load_all, over_seeds, results_folder

T = TypeVar("T")
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
            if kind == "tau":  # the published best one is named first
                metric, _, parts = rest.partition(":")
                sign = 1 if metric in LOWER_IS_BETTER else -1
                values = [sign * self._record(part.partition(":")[2]).value for part in parts.split("|")]
                return [float(kendalltau(range(len(values)), values).statistic)]
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
