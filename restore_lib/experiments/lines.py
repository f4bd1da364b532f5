"""What a table of the book is made of, as plain data: lines under a protocol, and how to measure them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from restore_lib.experiments.published import Number, PublishedTable
from restore_lib.experiments.records import RunRecord


@dataclass(frozen=True)
class Line:
    """One line of a ledger: what was published, and which measurement stands beside it.

    Attributes
    ----------
    group, condition, metric : str
        What the line is about: ``"Set5"``, ``"x2"``, ``"psnr"``.
    recipe, dataset, protocol : str
        The records that answer it; no recipe for a method that is not run here.
    image : str
        One picture of the set; empty for the mean over all.
    paper, log : Number or None
        The published number, and that of the official code's own log; None when no source was seen.
    comparable : bool
        False when ours cannot be subtracted from theirs.
    why : str
        Why the two differ, or why one of them is blank.
    """

    group: str
    condition: str
    metric: str
    recipe: str
    dataset: str
    protocol: str
    paper: Number | None = None
    log: Number | None = None
    comparable: bool = True
    why: str = ""
    image: str = ""

    def answered_by(self, records: Sequence[RunRecord]) -> list[RunRecord]:
        """Records of this recipe, set and protocol that measured this metric under this condition."""
        wanted = (self.recipe, self.dataset, self.protocol)
        found = [r for r in records if (r.recipe, r.dataset, r.protocol) == wanted]
        return [r for r in found if r.find(self.condition, self.metric)]


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
    """A table of the book: sections to fill by runs, or a published table that waits for its recipe.

    Attributes
    ----------
    name, title : str
        What commands call it, and what it shows.
    sections : sequence of Section
        Empty as long as no recipe measures it.
    grid : PublishedTable or None
        The published numbers of a table without sections.
    run : callable or None
        ``run(folder, sets=..., tier=..., progress=...)`` measures it.
    """

    name: str
    title: str
    sections: Sequence[Section] = ()
    grid: PublishedTable | None = None
    run: Callable | None = None

    @property
    def lines(self) -> list[Line]:
        """All lines of all sections."""
        return [line for section in self.sections for line in section.lines]

    def __len__(self) -> int:
        return len(self.lines) if self.sections else len(self.grid or ())

    def measured(self, records: Sequence[RunRecord]) -> int:
        """How many of its numbers have a record."""
        return sum(bool(line.answered_by(records)) for line in self.lines)

    def section(self, name: str) -> Section:
        """The section of that name."""
        found = next((s for s in self.sections if s.name == name), None)
        if found is None:
            raise ValueError(f"table {self.name} has sections {', '.join(s.name for s in self.sections)}, not {name!r}")
        return found
