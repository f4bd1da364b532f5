"""Which numbers belong side by side: tables of published and measured numbers, as plain data.

A later chapter adds its table here: a function that returns a :class:`Table`, and its name in :func:`all_tables`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from restore_lib.errors import RecordError
from restore_lib.reproduce import distortions, keeping, protocols, published, runs
from restore_lib.reproduce.published import Number, PublishedTable
from restore_lib.reproduce.records import RunRecord


@dataclass(frozen=True)
class Line:
    """One line of a ledger: what was published, and which measurement stands beside it.

    Attributes
    ----------
    group, condition, metric : str
        What the line is about: ``"Set5"``, ``"x2"``, ``"psnr"``.
    recipe, dataset, protocol : str
        The records that answer it.
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


SETS = {"set5": "Set5", "set14": "Set14", "b100": "B100", "urban100_every8th": "Urban100 (13 of 100)"}
SUBSET = "subset of 13 of 100 images: not comparable"
NO_ROW = "LIIF's Table 2 has no bicubic row"
NOT_SEEN = "printed in DIINN's Tables 1 to 3, which were not seen"


def bicubic() -> Table:
    """Bicubic interpolation on the four benchmarks under three protocols."""
    sections = []
    for protocol in protocols.PROTOCOLS.values():
        metrics = {"classic": ("psnr", "ssim"), "liif": ("psnr",), "diinn": ("psnr", "ssim", "lr_psnr")}[protocol.name]
        lines = [
            _bicubic_line(dataset, condition, metric, protocol.name)
            for metric in metrics
            for dataset in SETS
            for condition in protocol.conditions
        ]
        sections.append(Section(protocol.name, protocol.title, protocol.rules, lines))
    return Table("bicubic", "Bicubic interpolation on Set5, Set14, B100 and Urban100", sections, run=runs.bicubic)


def _bicubic_line(dataset: str, condition: str, metric: str, protocol: str) -> Line:
    paper, why = None, {"classic": "", "liif": NO_ROW, "diinn": NOT_SEEN}[protocol]
    subset = dataset == "urban100_every8th"
    if protocol == "classic":
        source = "bicubic-x2x4" if condition != "x3" else "bicubic-x3-urban" if subset else "bicubic-x3"
        paper = published.number(source, condition, f"{SETS[dataset].split()[0]} {metric.upper()}")
    if subset:
        why = SUBSET
    return Line(SETS[dataset], condition, metric, "bicubic", dataset, protocol, paper, None, not subset, why)


def equal_error() -> Table:
    """What three metrics say about seven distortions that have the same squared error."""
    protocol = distortions.PROTOCOL
    lines = [
        Line("embedded photos", name, metric, "none", "embedded", protocol.name)
        for metric in ("psnr", "ssim", "lpips_alex", "lpips_vgg")
        for name in protocol.conditions
    ]
    section = Section(protocol.name, protocol.title, protocol.rules, lines, published=False)
    return Table("equal-error", protocol.title, [section], run=runs.equal_error)


def small_denoiser() -> Table:
    """The denoiser that a laptop trains in half an hour, beside doing nothing."""
    protocol = protocols.gaussian_noise(25)
    lines = [
        Line(f"{title}, {recipe}", name, metric, recipe, dataset, protocol.name)
        for metric in ("psnr", "ssim")
        for dataset, title in zip(keeping.SMALL_DENOISER_SETS, ("CBSD68", "Kodak24"), strict=True)
        for recipe in ("noisy", "small-denoiser")
        for name in protocol.conditions
    ]
    section = Section(protocol.name, protocol.title, protocol.rules, lines, published=False)
    return Table("small-denoiser", "A small denoiser, trained on a laptop", [section], run=keeping.small_denoiser)


def all_tables() -> dict[str, Table]:
    """Every table by name: those that a recipe can fill first, then published ones that wait for theirs."""
    found = [bicubic(), equal_error(), small_denoiser()]
    used = {line.paper.table.name for table in found for line in table.lines if line.paper}
    waiting = [Table(t.name, t.title, grid=t) for t in published.tables().values() if t.name not in used]
    return {table.name: table for table in [*found, *waiting]}


def find(name: str) -> Table:
    """The table of that name.

    Raises
    ------
    RecordError
        There is none, or its numbers were never seen.
    """
    tables = all_tables()
    if name in tables:
        return tables[name]
    lost = published.missing().get(name)
    if lost is not None:
        raise RecordError(
            f"{lost.title} ({lost.where}) is not available here: its numbers were not seen in any source."
        )
    raise RecordError(f"There is no table called {name}: `restore reproduce list` shows what there is.")
