"""The tables of paper C: every scale under two protocols, the authors' logs, the ablation, and the grid that shows."""

from restore_lib.experiments import published
from restore_lib.experiments.anyscale_experiment import (
    ABLATION_SET,
    AUTHORS,
    BORDER_SET,
    BORDERS,
    DIINN,
    LIIF,
    METHODS,
    PHOTOS,
    WHERE,
    WHOLE,
    tables,
)
from restore_lib.experiments.lines import Line, Section, Table

SETS = {"set5": ("Set5", 5), "set14": ("Set14", 14), "b100": ("B100", 100), "urban100_every8th": ("Urban100", 100)}
TITLES = {
    "bicubic": "bicubic interpolation",
    "metasr": "Meta-SR",
    "liif": "LIIF",
    "diinn": "DIINN",
    AUTHORS: "LIIF, authors' weights",
}
ABLATION = {
    "diinn-a": "(a) modulation by itself, positional layer",
    "diinn-b": "(b) modulation by itself",
    "diinn-c": "(c) modulation and content, positional layer",
    "diinn-d": "(d) modulation and content",
    "diinn-e": "(e) synthesis and content, positional layer",
    "diinn": "(f) synthesis and content: DIINN",
    "diinn-side": "(f), told 1/s instead of 1/s²",
    "diinn-light": "(f), lighter decoder",
    "liif": "LIIF",
    "liif-no-ensemble": "LIIF without local ensemble",
    "liif-continuous": "LIIF, scales drawn from ×1 to ×4",
    "metasr": "Meta-SR",
}
WITHOUT_ENSEMBLE = "liif-no-ensemble"
PAPER = {"metasr": "RDN-MetaSR", "liif": "RDN-LIIF", AUTHORS: "RDN-LIIF"}  # rows of LIIF's Table 2
NOT_SEEN = "printed in DIINN's Tables 1 to 3, which were not seen"
NOT_PRINTED = "LIIF's Table 2 has no such row"
SMALL = "a smaller encoder and a fraction of the training: not comparable"
SUBSET = "some photos of the set: not comparable"
ENCODER = "EDSR-baseline as encoder; the paper prints RDN"
LOG = "diinn-log"
STEPS = "diinn-log-trajectory"
LOGGED = "published number only: DIV2K's validation photos have to be fetched"
LOG_RULES = {
    "photos": "DIV2K 0801 to 0900",
    "low resolution": "8-bit RGB, antialiased bicubic",
    "measured on": "RGB, without a border of s + 6 pixels",
    "trained on": "DIV2K 0001 to 0800, 48 pairs a step, 50,000 steps, RDN as encoder; all methods alike",
}


def scale_tables() -> Table:
    """DIINN, LIIF, Meta-SR and bicubic interpolation at every scale, on four sets, and what their parts are worth."""
    sections = [
        Section(
            "diinn",
            f"{DIINN.title}, every scale",
            DIINN.rules,
            [line for metric in ("psnr", "ssim", "lr_psnr") for line in _diinn_lines(metric)],
        ),
        Section("liif", f"{LIIF.title}, every scale", LIIF.rules, _liif_lines()),
        Section("logs", "the authors' own training, at its end", LOG_RULES, _log_lines()),
        Section("steps", "the authors' own training, on its way", LOG_RULES, _step_lines()),
        Section("ablation", "what each part is worth", DIINN.rules, _ablation_lines(), published=False),
        Section("borders", BORDERS.title, BORDERS.rules, _border_lines(), published=False),
    ]
    return Table(
        "diinn2023-scales", "Super-resolution at any scale (paper C, Tables 1 to 3 and 5)", sections, run=tables
    )


def set_title(dataset: str) -> str:
    """A set's name, and how much of it is looked at."""
    title, count = SETS[dataset]
    return title if dataset in WHOLE else f"{title} ({PHOTOS[dataset]} of {count})"


def _measured(dataset: str, protocol) -> list[str]:
    """Methods that are measured on a set under a protocol, in the order of the tables."""
    return [recipe for recipe in TITLES if protocol in WHERE[recipe].get(dataset, ())]


def _diinn_lines(metric: str) -> list[Line]:
    """Nothing of this was seen in print."""
    return [
        Line(f"{set_title(dataset)}, {TITLES[recipe]}", condition, metric, recipe, dataset, DIINN.name, why=NOT_SEEN)
        for dataset in SETS
        for recipe in _measured(dataset, DIINN)
        for condition in DIINN.conditions
    ]


def _liif_lines() -> list[Line]:
    """LIIF's Table 2 beside ours; its networks for one scale are there as printed."""
    lines = []
    for dataset, (title, _) in SETS.items():
        for recipe in _measured(dataset, LIIF):
            lines += [_liif_line(recipe, dataset, condition) for condition in LIIF.conditions]
        for condition in LIIF.conditions:
            paper = published.number("liif-benchmarks", f"{title} RDN", condition)
            if paper:
                group = f"{title}, RDN, one network a scale"
                lines.append(Line(group, condition, "psnr", "", dataset, LIIF.name, paper, None, False, "not run here"))
    return lines


def _liif_line(recipe: str, dataset: str, condition: str) -> Line:
    paper, why = None, NOT_PRINTED
    if recipe in PAPER:
        paper = published.number("liif-benchmarks", f"{SETS[dataset][0]} {PAPER[recipe]}", condition)
        why = ENCODER if recipe == AUTHORS else SMALL
    if paper and dataset not in WHOLE:
        why = SUBSET
    comparable = recipe == AUTHORS and dataset in WHOLE
    group = f"{set_title(dataset)}, {TITLES[recipe]}"
    return Line(group, condition, "psnr", recipe, dataset, LIIF.name, paper, None, comparable, why)


def _log_lines() -> list[Line]:
    """The last validation of each network that the authors trained."""
    rows = published.tables()[LOG].rows
    return [_logged(LOG, row, scale, row, scale) for row in rows for scale in ("x2", "x3", "x4")]


def _step_lines() -> list[Line]:
    """Validation on the way: an epoch of the log is a thousand steps."""
    found = published.tables()[STEPS]
    return [
        _logged(
            STEPS,
            row,
            column,
            row.rpartition(" ")[0],
            f"{row.rpartition(' ')[2]}, {1000 * int(column.split()[1]):,} steps",
        )
        for row in found.rows
        for column in found.columns
    ]


def _logged(table: str, row: str, column: str, group: str, condition: str) -> Line:
    log = published.number(table, row, column)
    return Line(group, condition, "psnr", "", "div2k", "diinn-log", None, log, False, LOGGED)


def _ablation_lines() -> list[Line]:
    return [
        Line(title, condition, metric, recipe, ABLATION_SET, DIINN.name)
        for metric in ("psnr", "ssim", "lr_psnr")
        for recipe, title in ABLATION.items()
        for condition in DIINN.conditions
    ]


def _border_lines() -> list[Line]:
    methods = {name: TITLES[name] for name in ("bicubic", *METHODS)}
    methods |= {WITHOUT_ENSEMBLE: ABLATION[WITHOUT_ENSEMBLE], AUTHORS: TITLES[AUTHORS]}
    return [
        Line(title, condition, metric, recipe, BORDER_SET, BORDERS.name)
        for metric in ("border_jump", "border_error")
        for recipe, title in methods.items()
        for condition in BORDERS.conditions
    ]
