"""What is measured for paper C [nguyen2023diinn]: every scale (Tables 1 to 3), and what its parts are worth (Table 5).

Beside them the logs of the authors' own training, and whether the small picture's grid shows in the large one: jumps
and errors where cells meet, the s x s large pixels that lie on one small pixel at a whole scale s.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from restore_lib import files, images
from restore_lib.experiments import protocols, published
from restore_lib.experiments.ledger import WORDS, Line, Section, section
from restore_lib.experiments.protocols import BICUBIC, NOT_SEEN, antialiased_pair, scales
from restore_lib.experiments.runs import EvaluationProtocol, Experiment, Model, Trial, left_out, of_checkpoint, trial
from restore_lib.implicit.recipes import TRUNK_ABLATION
from restore_lib.pretrained import cards, longest
from restore_lib.pretrained import published as authors
from restore_lib.training.precision import best_device

SMALLEST = 4  # pixels of a cell that has an inside
TINY = 1e-6  # so that pictures without any jump have none at borders either


def border_jump(image: Float[Tensor, "c h w"], cell: int) -> float:
    """How much more a picture jumps where cells meet than inside cells: 1 where the grid cannot be seen, as in photos.

    A jump between two neighbours is their difference, less the mean of the differences on either side of it: nothing on
    a slope, however steep. The result is the mean size of jumps across borders, divided by the mean size of those whose
    three differences all lie within one cell; along rows and columns, over all channels. At x4 these are only those in
    a cell's middle, where two pieces of a bicubic interpolation meet and jumps cancel in part, so that it has more.
    ValueError for cells smaller than 4 pixels, which have no inside, and pictures of less than two cells.
    """
    if cell < SMALLEST or min(image.shape[1:]) < 2 * cell:
        raise ValueError(f"cells of {cell} on {tuple(image.shape[1:])} pixels: need {SMALLEST} or more, two each way")
    borders, insides = [], []
    for along in (image.double(), image.double().transpose(1, 2)):
        step = along.diff(dim=2)  # between pixel i and i + 1
        jump = (step[..., 1:-1] - (step[..., :-2] + step[..., 2:]) / 2).abs()  # the first one is at i = 1
        phase = (torch.arange(jump.shape[2]) + 1) % cell
        borders.append(jump[..., phase == cell - 1].flatten())
        insides.append(jump[..., (phase >= 1) & (phase <= cell - 3)].flatten())
    return (float(torch.cat(borders).mean()) + TINY) / (float(torch.cat(insides).mean()) + TINY)


def border_error(sr: Float[Tensor, "c h w"], hr: Float[Tensor, "c h w"], cell: int) -> float:
    """Root mean square error of the pixels that touch a cell's border, divided by that of all others.

    Interpolation of any kind has more than 1: pixels at borders are the furthest from what was measured.
    """
    if cell < SMALLEST:
        raise ValueError(f"cells of {cell} pixels: need at least {SMALLEST}")
    squared = (sr.double() - hr.double()).square().mean(0)  # (h, w)
    touches = [(torch.arange(n) + 1) % cell <= 1 for n in squared.shape]
    border = touches[0][:, None] | touches[1]
    return ((float(squared[border].mean()) + TINY**2) / (float(squared[~border].mean()) + TINY**2)) ** 0.5


def border_metrics(sr: Float[Tensor, "3 h w"], hr: Float[Tensor, "3 h w"], scale: float) -> dict[str, float]:
    """Jumps and errors at borders, of the clipped, unrounded result."""
    sr = sr.clamp(0, 1)
    return {"border_jump": border_jump(sr, int(scale)), "border_error": border_error(sr, hr, int(scale))}


BORDERS = EvaluationProtocol(
    **WORDS["cell-borders"],
    conditions=scales(4, 6, 8),
    prepare=lambda item, scale, generator: antialiased_pair(images.modcrop(item.image, int(scale)), scale),
    measure=border_metrics,
)
DIINN = replace(protocols.DIINN, name="diinn-scales", conditions=scales(2, 2.5, 3, 3.5, 4, 6, 8, 10, 15))
LIIF = replace(protocols.LIIF, name="liif-scales")
SETS = {"set5": ("Set5", 5), "set14": ("Set14", 14), "b100": ("B100", 100), "urban100_every8th": ("Urban100", 100)}
#: How many photos of a set are measured, evenly chosen: one core makes some hundred thousand pixels a second with a
#: decoder of 64 channels, thirty thousand with one of 256, and fourteen results are wanted of each photo.
PHOTOS: Mapping[str, int] = {"set5": 5, "set14": 14, "b100": 20, "urban100_every8th": 3}
WHOLE = ("set5", "set14")
QUALITY = ("psnr", "ssim", "lr_psnr")
ABLATION_SET, BORDER_SET = "b100", "set5"

AUTHORS = "liif-authors"
TRUNK = {  # decoders of full size on the encoder of LIIF's authors
    "metasr-trunk": "Meta-SR, full size",
    "liif-trunk": "LIIF, full size, trained again",
    "diinn-trunk": "DIINN, full size",
}
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
#: Which protocols each method is measured under, by image set. Networks of full size take longer: fewer sets.
WHERE: Mapping[str, Mapping[str, Sequence[EvaluationProtocol]]] = (
    {name: {ABLATION_SET: (DIINN,)} for name in ABLATION}
    | {
        name: {dataset: (DIINN, LIIF, BORDERS) if dataset == BORDER_SET else (DIINN, LIIF) for dataset in SETS}
        for name in ("bicubic", "metasr", "liif", "diinn")
    }
    | {WITHOUT_ENSEMBLE: {ABLATION_SET: (DIINN,), BORDER_SET: (BORDERS,)}}
    | {AUTHORS: {"set5": (DIINN, LIIF, BORDERS), "set14": (LIIF,)}}
    | {name: {"set5": (DIINN, LIIF), "set14": (LIIF,)} for name in TRUNK}
    | {recipe.name: {} for recipe in TRUNK_ABLATION}
)


def set_title(dataset: str) -> str:
    """A set's name, and how much of it is measured."""
    title, count = SETS[dataset]
    return title if dataset in WHOLE else f"{title} ({PHOTOS[dataset]} of {count})"


def on_set(protocol: EvaluationProtocol, dataset: str) -> EvaluationProtocol:
    """The protocol, with what is left out of the set in its rules."""
    left = {} if dataset in WHOLE else {"photos": f"{PHOTOS[dataset]} of the set, evenly chosen"}
    return replace(protocol, rules={**protocol.rules, **left})


def as_model(network: nn.Module) -> Model:
    """A network as evaluation calls it: one photo at a time, and the size that is wanted."""
    return lambda lr, size: network(lr[None], size)[0].float()


def scale_trials(sets: Sequence[str], tier: str) -> Iterator[Trial]:
    """Every method that can run here; at tier ``smoke`` interpolation only.

    Of each recipe the checkpoints of the longest training are measured, with every seed; LIIF's authors' network where
    it was imported.
    """
    trained, path = ([], None) if tier == "smoke" else (longest(cards(), WHERE), authors.imported().get(AUTHORS))
    if path is None and tier != "smoke":
        left_out(f"LIIF's authors' network. {authors.not_here(AUTHORS)}")
    imported = {"model": AUTHORS, "sha256": files.sha256(path) if path else ""}
    for name in sets:
        about = {"photos": PHOTOS[name], "device": best_device()}
        for protocol in WHERE["bicubic"].get(name, ()):
            model = BICUBIC["liif" if protocol is LIIF else "diinn"]
            yield trial("bicubic", lambda model=model: model, name, on_set(protocol, name), photos=PHOTOS[name])
        for weights in trained:
            for protocol in WHERE[weights.recipe].get(name, ()):
                settings = {"parameters": weights.parameters}
                yield of_checkpoint(weights, as_model, name, on_set(protocol, name), settings=settings, **about)
        for protocol in WHERE[AUTHORS].get(name, ()) if path else ():
            model = lambda: as_model(authors.load_published(AUTHORS).to(best_device()))  # noqa: E731
            yield trial(AUTHORS, model, name, on_set(protocol, name), settings=imported, **about)


# The table: who is measured where, and what was printed

PAPER = {"metasr": "RDN-MetaSR", "liif": "RDN-LIIF", AUTHORS: "RDN-LIIF"}  # rows of LIIF's Table 2
NOT_PRINTED = "LIIF's Table 2 has no such row"
SMALL = "a smaller encoder and a fraction of the training: not comparable"
SUBSET = "some photos of the set: not comparable"
ENCODER = "EDSR-baseline as encoder; the paper prints RDN"
LOGGED = "published number only: DIV2K's validation photos have to be fetched"
LOG, STEPS = "diinn-log", "diinn-log-trajectory"
LOG_RULES = WORDS[LOG]["rules"]
SET_TITLES = {dataset: set_title(dataset) for dataset in SETS}


def measured(line: Line) -> bool:
    """Whether a method is measured on a set under a protocol."""
    return line.protocol in {protocol.name for protocol in WHERE[line.recipe].get(line.dataset, ())}


def not_seen(line: Line) -> dict:
    return {"why": NOT_SEEN}


def liif_reference(line: Line) -> dict:
    if line.recipe not in PAPER:
        return {"comparable": False, "why": NOT_PRINTED}
    row = f"{SETS[line.dataset][0]} {PAPER[line.recipe]}"
    paper, whole = published.number("liif-benchmarks", row, line.condition), line.dataset in WHOLE
    why = SUBSET if paper and not whole else ENCODER if line.recipe == AUTHORS else SMALL
    return {"paper": paper, "comparable": line.recipe == AUTHORS and whole, "why": why}


def liif_lines() -> Iterator[Line]:
    """Ours beside LIIF's Table 2; its networks for one scale are there as printed."""
    for dataset, (title, _) in SETS.items():
        place = {dataset: SET_TITLES[dataset]}
        yield from section(LIIF, ("psnr",), TITLES, place, keep=measured, reference=liif_reference).lines
        for condition in LIIF.conditions:
            if paper := published.number("liif-benchmarks", f"{title} RDN", condition):
                group = f"{title}, RDN, one network a scale"
                yield Line(group, condition, "psnr", "", dataset, LIIF.name, paper, None, False, "not run here")


def log_line(table: str, row: str, column: str, group: str, condition: str) -> Line:
    log = published.number(table, row, column)
    return Line(group, condition, "psnr", "", "div2k", LOG, None, log, False, LOGGED)


LOG_LINES = [log_line(LOG, row, x, row, x) for row in published.tables()[LOG].rows for x in ("x2", "x3", "x4")]


def step_lines() -> Iterator[Line]:
    """Validation on the way: an epoch of the log is a thousand steps."""
    table = published.tables()[STEPS]
    for row in table.rows:
        group, _, scale = row.rpartition(" ")
        for column in table.columns:
            yield log_line(STEPS, row, column, group, f"{scale}, {1000 * int(column.split()[1]):,} steps")


EVERY = f"{DIINN.title}, every scale"
FULL_SETS = {name: SET_TITLES[name] for name in WHOLE}
FULL_TITLES = {AUTHORS: "LIIF, as its authors trained it"} | TRUNK
FULL_SIZE = "decoders of full size on the encoder of LIIF's authors"
BORDER_TITLES = {name: title for name, title in TITLES.items() if name != AUTHORS}
BORDER_TITLES |= {WITHOUT_ENSEMBLE: ABLATION[WITHOUT_ENSEMBLE], AUTHORS: TITLES[AUTHORS]}
SCALES_TABLE = Experiment(
    "diinn2023-scales",
    "Super-resolution at any scale (paper C, Tables 1 to 3 and 5)",
    (
        section(DIINN, QUALITY, TITLES, SET_TITLES, name="diinn", title=EVERY, keep=measured, reference=not_seen),
        Section("liif", f"{LIIF.title}, every scale", LIIF.rules, list(liif_lines())),
        section(LIIF, ("psnr",), FULL_TITLES, FULL_SETS, name="full", title=FULL_SIZE, keep=measured),
        section(DIINN, QUALITY, FULL_TITLES, FULL_SETS, name="full-rgb", title=FULL_SIZE, keep=measured),
        Section("logs", "the authors' own training, at its end", LOG_RULES, LOG_LINES),
        Section("steps", "the authors' own training, on its way", LOG_RULES, list(step_lines())),
        section(DIINN, QUALITY, ABLATION, {ABLATION_SET: ""}, name="ablation", title="what each part is worth"),
        section(BORDERS, ("border_jump", "border_error"), BORDER_TITLES, {BORDER_SET: ""}, name="borders"),
    ),
    trials=scale_trials,
    sets=tuple(SETS),
    quick_sets=("set5",),
    resumes=True,
)

EXPERIMENTS = (SCALES_TABLE,)
