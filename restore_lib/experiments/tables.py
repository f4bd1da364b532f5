"""Which numbers belong side by side: tables of published and measured numbers, as plain data.

A later chapter adds its table here: a function that returns a :class:`Table`, and its name in :func:`all_tables`.
"""

from restore_lib.errors import RecordError
from restore_lib.experiments import (
    anyscale_tables,
    denoising_tables,
    keeping,
    protocols,
    published,
    realsr_tables,
    runs,
)
from restore_lib.experiments.denoising_tables import CASE_TITLES
from restore_lib.experiments.lines import Line, Section, Table

__all__ = ["CASE_TITLES", "Line", "Section", "Table", "all_tables", "find"]

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
    protocol = protocols.EQUAL_ERROR
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
    found += [denoising_tables.liu2018_kodak(), denoising_tables.denoiser_ablation(), denoising_tables.liu2018_vision()]
    found.append(denoising_tables.kodak_sharpness())
    found += [realsr_tables.kernelgan(), realsr_tables.noise_table(), realsr_tables.div2krk_table()]
    found += [realsr_tables.track1_table(), realsr_tables.track2_table()]
    found.append(anyscale_tables.scale_tables())
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
