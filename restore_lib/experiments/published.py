"""Numbers that others printed, each with the place where it was seen.

They lie in one file, ``published.json``, as printed: text, so that ``30.90`` keeps its digits. Numbers recalled from
memory are not in it; tables whose numbers were never seen are listed there as missing, so that nobody fills them in.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

FILE = Path(__file__).with_name("published.json")
KINDS = (
    "picture of the paper's table",
    "picture in the official repository",
    "official code's own log",
    "official README",
    "third-party README",
    "third-party notes",
    "issue thread",
)
LOG = "official code's own log"


@dataclass(frozen=True)
class PublishedTable:
    """A table that somebody printed.

    Attributes
    ----------
    name, title : str
        What commands call it, and what it shows.
    citation : str
        Key in the book's bibliography; empty for a source that is not a paper.
    where : str
        Which table, figure or file of that source.
    kind : str
        One of ``KINDS``.
    seen : str
        Where these digits were read.
    protocol : str
        How the numbers were measured, as far as the source says.
    columns : sequence of str
    rows : mapping of str to sequence of (str or None)
        Digits as printed; None where the source prints nothing.
    note : str
        What a reader must know about it.
    """

    name: str
    title: str
    citation: str
    where: str
    kind: str
    seen: str
    protocol: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[str | None]]
    note: str = ""

    @property
    def source(self) -> str:
        """One line that says where a number comes from."""
        return f"{self.where} ({self.kind}); seen in {self.seen}"

    def __len__(self) -> int:
        return sum(cell is not None for row in self.rows.values() for cell in row)


@dataclass(frozen=True)
class Missing:
    """A table that is known to exist and whose numbers were not seen in any source."""

    name: str
    title: str
    citation: str
    where: str


@dataclass(frozen=True)
class Number:
    """One printed number: its digits, and the table, row and column they stand in."""

    text: str
    table: PublishedTable
    row: str
    column: str

    @property
    def value(self) -> float:
        """The number."""
        return float(self.text)

    @property
    def decimals(self) -> int:
        """Digits after the point, as printed."""
        return len(self.text.partition(".")[2])

    @property
    def key(self) -> str:
        """Reference for pages: ``published:TABLE#ROW/COLUMN``."""
        return f"published:{self.table.name}#{self.row}/{self.column}"


@lru_cache(maxsize=1)
def _content() -> tuple[dict[str, PublishedTable], dict[str, Missing]]:
    content = json.loads(FILE.read_text(encoding="utf-8"))
    tables = {table["name"]: PublishedTable(**table) for table in content["tables"]}
    return tables, {table["name"]: Missing(**table) for table in content["missing"]}


def tables() -> Mapping[str, PublishedTable]:
    """All published tables by name."""
    return _content()[0]


def missing() -> Mapping[str, Missing]:
    """Tables whose numbers are not available, by name."""
    return _content()[1]


def number(table: str, row: str, column: str) -> Number | None:
    """One published number; None where the table prints nothing there.

    Raises
    ------
    ValueError
        There is no such table, row or column: a blank is said by None, a typing error is not.
    """
    found = tables().get(table)
    if found is None:
        raise ValueError(f"no published table is called {table!r}: choose one of {', '.join(tables())}")
    if row not in found.rows or column not in found.columns:
        raise ValueError(f"{table} has no row {row!r} with a column {column!r}")
    text = found.rows[row][found.columns.index(column)]
    return None if text is None else Number(text, found, row, column)
