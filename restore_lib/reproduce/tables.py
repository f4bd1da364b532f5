"""Which numbers belong side by side: tables of published and measured numbers, as plain data.

A later chapter adds its table here: a function that returns a :class:`Table`, and its name in :func:`all_tables`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from restore_lib.errors import RecordError
from restore_lib.reproduce import ablation, distortions, keeping, kodak, protocols, published, runs, vision
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


WHICH_DNCNN = "authors' weights; the paper does not say which of their networks it used"
STRONGER = "not explained: ours is better on every photo; with the package's settings for strong noise it is worse"
LESS = "a fraction of the paper's training"
KODAK_METHODS = (  # recipe, title, the paper's column, why ours differs
    ("noisy", "noisy photo", "", ""),
    ("wavelets", "wavelets (BayesShrink)", "", ""),
    ("", "TNRD", "TNRD", "published number only"),
    ("", "MCWNNM", "MCWNNM", "published number only"),
    ("cbm3d", "CBM3D", "CBM3D", "another draw of the noise, and the authors' Python package"),
    ("dncnn-25", "DnCNN for sigma 25", "DnCNN", WHICH_DNCNN),
    ("dncnn-blind", "DnCNN for any sigma", "DnCNN", WHICH_DNCNN),
    ("denoiser", "paper A, as released", "proposed", LESS),
    ("denoiser-paper", "paper A, Figure 2", "proposed", LESS),
)


def liu2018_kodak() -> Table:
    """Paper A's Table 1: means over the photos by three metrics, and PSNR photo by photo."""
    columns = [(method, sigma) for method in KODAK_METHODS for sigma in kodak.SIGMAS]
    means = [
        _kodak_line(*method, sigma, metric)
        for metric in ("psnr", "ssim", "lpips_alex")
        for method, sigma in columns
        if _has_number(*method, sigma, metric)
    ]
    photos = [
        _kodak_line(*method, sigma, "psnr", f"kodim{number:02}")
        for number in range(1, 25)
        for method, sigma in columns
        if method[0] and method[2] and _has_number(*method, sigma, "psnr")
    ]
    title, rules = kodak.PROTOCOL.title, kodak.PROTOCOL.rules
    sections = [Section("means", title, rules, means), Section("photos", "photo by photo", rules, photos)]
    return Table("liu2018-kodak", "Denoising of 24 Kodak photos (paper A, Table 1)", sections, run=kodak.table1)


def _has_number(recipe: str, title: str, column: str, why: str, sigma: int, metric: str) -> bool:
    """Whether a method has a number at this noise level, measured or printed."""
    if recipe:
        return recipe != "dncnn-25" or sigma == 25
    return metric == "psnr" and (column, sigma) != ("TNRD", 35)


def _kodak_line(recipe: str, title: str, column: str, why: str, sigma: int, metric: str, image: str = "") -> Line:
    condition, row = f"sigma {sigma}", image.removeprefix("kodim") or "average"
    paper = published.number("liu2018-kodak", row, f"{condition} {column}") if column and metric == "psnr" else None
    if recipe == "cbm3d" and sigma == 35:
        why = STRONGER
    if column and metric != "psnr":
        why = "the paper prints PSNR only"
    name = f"{recipe}-{sigma}" if recipe.startswith("denoiser") else recipe
    title = f"{title}, photo {row}" if image else title
    return Line(title, condition, metric, name, kodak.DATASET, kodak.PROTOCOL.name, paper, why=why, image=image)


def denoiser_ablation() -> Table:
    """Paper A's choices undone one by one: mean and spread over three trainings each."""
    protocol = ablation.PROTOCOL
    lines = [
        Line(title, "sigma 25", metric, f"ablation-{name}", ablation.DATASET, protocol.name)
        for metric in ("psnr", "ssim")
        for name, title in ablation.TITLES.items()
    ]
    section = Section(protocol.name, protocol.title, protocol.rules, lines, published=False)
    title = "Choices of the multi-scale denoiser, undone one by one (CBSD68)"
    return Table("denoiser-ablation", title, [section], run=ablation.denoiser_ablation)


SOURCE_TITLES = {
    "scenes": "drawn scenes",
    "tiny": "Tiny ImageNet, 10 classes",
    "camvid": "CamVid",
    "camvid-train": "CamVid's training pictures",
    "imagenet": "200 ImageNet photos",
}
CASE_TITLES = {
    "clean": "clean picture",
    "noisy": "noisy picture",
    "cbm3d": "CBM3D",
    "photos": "denoiser of photos",
    "separate": "trained separately",
    "joint": "trained jointly",
    "cross": "trained jointly, other task",
    "elsewhere": "trained separately, pictures of the other task",
}
CASE_TITLES |= {f"lambda-{weight}": f"task weight {Fraction(str(weight))}" for weight in vision.TASK_WEIGHTS}
CASE_TITLES |= {"official": "official code's weights"}
NETWORK_TITLES = {"noisy": "network trained on noise", "resnet": "unseen network"}


def liu2018_vision() -> Table:
    """Paper A's Tables 2 and 3 in the small: accuracies and mean IoU, case by case and sigma by sigma."""
    sections = []
    for source, goal in vision.CROSS:
        looks = [look for look in vision.LOOKS if (look.source, look.goal) == (source, goal)]
        looks = [look for look in looks if look.cases != vision.WEIGHTED]
        seen = {"classify": ("top1", "top1_low", "top1_high", "top5")}
        seen |= {"segment": ("miou", "miou_low", "miou_high", "pixel_accuracy")}
        lines = [line for metric in seen[goal] for look in looks for line in _vision_lines(look, metric)]
        if not any(
            section.name.startswith(f"{source}-") for section in sections
        ):  # the same pictures, whatever is seen
            lines += [line for metric in ("psnr", "ssim", "lpips_alex") for line in _vision_lines(looks[0], metric)]
        title = f"{SOURCE_TITLES[source]}, {'classified' if goal == 'classify' else 'segmented'}"
        sections.append(Section(f"{source}-{goal}", title, vision.RULES, lines, published=False))
    sections.append(_weights())
    title = "What networks see in denoised pictures (as paper A's Tables 2 and 3, on smaller sets)"
    return Table("liu2018-vision", title, sections, run=vision.tables)


def _weights() -> Section:
    """How much the classifier's loss counts, from nothing to everything."""
    cases = ("separate", *vision.WEIGHTED[:2], "joint", *vision.WEIGHTED[2:])
    look = vision.Look("scenes", "classify", "classifier-scenes-cpu", cases, (30,))
    seen = ("top1", "top1_low", "top1_high", "psnr", "ssim", "lpips_alex")
    lines = [line for metric in seen for line in _vision_lines(look, metric)]
    lines = [replace(line, group="task weight 1/4") if line.group == CASE_TITLES["joint"] else line for line in lines]
    return Section("scenes-lambda", "drawn scenes, by the weight of the task", vision.RULES, lines, published=False)


def _vision_lines(look: vision.Look, metric: str) -> list[Line]:
    kind = look.network.removesuffix("-cpu").rpartition("-")[2]
    after = f", {NETWORK_TITLES[kind]}" if kind in NETWORK_TITLES else ""
    dataset = vision.DATASETS[look.source]
    return [
        Line(
            CASE_TITLES[case] + after, condition, metric, vision.recipe_of(case, look.network), dataset, vision.PROTOCOL
        )
        for case in look.cases
        if case != "clean" or metric not in ("psnr", "ssim", "lpips_alex")
        for condition in (["clean"] if case == "clean" else [f"sigma {sigma}" for sigma in look.sigmas])
    ]


def all_tables() -> dict[str, Table]:
    """Every table by name: those that a recipe can fill first, then published ones that wait for theirs."""
    found = [bicubic(), equal_error(), small_denoiser(), liu2018_kodak(), denoiser_ablation(), liu2018_vision()]
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
