"""Numbers that others printed, each with the place where it was seen: ``published.json``; claims: ``claims.json``.

Digits are text, so that ``30.90`` keeps them. Numbers recalled from memory are not in it; tables whose numbers were
never seen are listed as missing, so that nobody fills them in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter


@dataclass(frozen=True)
class Missing:
    """A table that is known to exist and whose numbers were not seen in any source."""

    name: str  #: What commands call it.
    title: str
    citation: str  #: Key in the book's bibliography; empty for a source that is not a paper.
    where: str  #: Which table, figure or file of that source.


@dataclass(frozen=True)
class PublishedTable(Missing):
    """A table that somebody printed."""

    kind: str  #: Of source: ``"picture of the paper's table"``, ``"official README"``.
    seen: str  #: Where these digits were read.
    protocol: str  #: How the numbers were measured, as far as the source says.
    columns: Sequence[str]
    rows: Mapping[str, Sequence[str | None]]  #: Digits as printed; None where the source prints nothing.
    note: str = ""  #: What a reader must know about it.

    @property
    def source(self) -> str:
        """One line that says where a number comes from."""
        return f"{self.where} ({self.kind}); seen in {self.seen}"

    def __len__(self) -> int:
        return sum(cell is not None for row in self.rows.values() for cell in row)


@dataclass(frozen=True)
class Claim:
    """Something that a paper says about methods, as pairs of groups of a ledger, the better one first."""

    says: str
    where: str  #: In the paper, or who says it.
    chapter: str  #: The notebook that discusses it.
    places: Sequence[tuple[str, str, str]]  #: Table, section and metric.
    pairs: Sequence[tuple[str, str]]
    conditions: Sequence[str] = ()  #: All those of the sections where none is named.


@dataclass(frozen=True)
class Number:
    """One printed number: its digits, and the table, row and column they stand in."""

    text: str
    table: PublishedTable
    row: str
    column: str

    @property
    def value(self) -> float:
        return float(self.text)

    @property
    def decimals(self) -> int:
        """Digits after the point, as printed."""
        return len(self.text.partition(".")[2])

    @property
    def key(self) -> str:
        """Reference for pages: ``published:TABLE#ROW/COLUMN``."""
        return f"published:{self.table.name}#{self.row}/{self.column}"


@dataclass(frozen=True)
class _File:
    __pydantic_config__ = ConfigDict(strict=True, extra="forbid")

    tables: Sequence[PublishedTable]
    missing: Sequence[Missing]


@cache
def _content() -> _File:
    return TypeAdapter(_File).validate_json(Path(__file__).with_name("published.json").read_bytes())


@cache
def tables() -> Mapping[str, PublishedTable]:
    """All published tables by name."""
    return {table.name: table for table in _content().tables}


def missing() -> Mapping[str, Missing]:
    """Tables whose numbers are not available, by name."""
    return {table.name: table for table in _content().missing}


def number(table: str, row: str, column: str) -> Number | None:
    """One published number; None where the table prints nothing there, KeyError or ValueError where it has no place."""
    printed = tables()[table]
    text = printed.rows[row][printed.columns.index(column)]
    return None if text is None else Number(text, printed, row, column)


@cache
def claims() -> Mapping[str, Sequence[Claim]]:
    """What papers ``"a"``, ``"b"`` and ``"c"`` say about which method is better."""
    said = Path(__file__).with_name("claims.json").read_bytes()
    return TypeAdapter(Mapping[str, Sequence[Claim]]).validate_json(said)
