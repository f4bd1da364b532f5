"""What is measured for paper B [ji2020realsr], Section 4: super-resolution of real photos.

Table 1 on a Track 1 of our own, whose degradation no method knows (chapters 13 and 14), and Track 2 on photos that
nobody degraded for the occasion: pairs of one place by two zooms of a camera, and phone photos without a reference.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from importlib.metadata import version

import torch
from jaxtyping import Float
from torch import Tensor, nn

from restore_lib import images, metrics
from restore_lib.data.opening import Item
from restore_lib.experiments import paper_b_kernels, published, runs
from restore_lib.experiments.ledger import WORDS, Line, Section, section
from restore_lib.experiments.protocols import BICUBIC as INTERPOLATIONS
from restore_lib.experiments.protocols import Pair, quality, unchanged
from restore_lib.experiments.records import Measurement, of_set, results_folder
from restore_lib.experiments.runs import EvaluationProtocol, Experiment, Model, Trial, of_checkpoint, trial
from restore_lib.fast.tiling import upscale
from restore_lib.nets.rrdbnet import interpolate_networks
from restore_lib.pretrained import Card, cards, load, load_published, longest
from restore_lib.realsr import hidden_camera
from restore_lib.realsr.recipes import SR
from restore_lib.realsr.recipes import TITLES as PAIR_TITLES
from restore_lib.realsr.zssr import BICUBIC, K_ZSSR, K_ZSSR_REAL, REAL, ZSSRSettings, k_zssr, quick, zssr
from restore_lib.training.precision import has_bfloat16

CONDITION, SCALE = "x4", hidden_camera.SCALE
METRICS = ("psnr", "ssim", "lpips_alex")
bicubic = INTERPOLATIONS["classic"]
AUTHORS = {"realsr-df2k": "RealSR, authors' model", "realesrgan-x4plus": "Real-ESRGAN, authors' model"}


def whole(network: nn.Module) -> Model:
    """A network as evaluation calls it: one photo at a time."""
    return lambda lr, size: network.eval()(lr[None])[0].float()


def in_windows(network: nn.Module) -> Model:
    """The same window by window: memory does not grow with the photo."""
    return lambda lr, size: upscale(network.eval(), lr)


def trained() -> list[Card]:
    """Checkpoints of the experiment's recipes: of each the longest training, with every seed."""
    return longest(cards(), (recipe.name for recipe in SR))


def imported(titles: Mapping[str, str] = AUTHORS) -> dict[str, nn.Module]:
    """Authors' networks that are on this computer; says on stderr which are not."""
    networks = {name: runs.available(title, partial(load_published, name)) for name, title in titles.items()}
    return {name: network for name, network in networks.items() if network is not None}


# Track 1

PHOTO_SETS, WEAK = "photos", "weak noise"
KODAK = hidden_camera.photo_sets(PHOTO_SETS).test[0]
RULE = metrics.Protocol("rgb", 0, True, "the hidden degradation", "track 1")
SPREADS = ("psnr_spread", "lpips_alex_spread")
EDSR, ESRGAN, REALSR, STAGE_1 = "edsr-l1-bicubic", "rrdb-gan-bicubic", "rrdb-gan-both", "rrdb-l1-both"
ENDS = ("rrdb-l1-noise", "rrdb-gan-noise")  # noise alone, as the released code does for Track 1
FEW = 4  # photos that each get a network of their own
CROPS = {"kodim07": (150, 250, 256), "kodim19": (430, 120, 256)}  # top, left and side of what is kept as a picture
ZSSR_SETTINGS: Mapping[str, ZSSRSettings] = {
    "zssr": quick(BICUBIC),
    "zssr-real": quick(REAL),
    "k-zssr": quick(K_ZSSR),
    "k-zssr-real": quick(K_ZSSR_REAL),
}
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def hidden_pair(item: Item, scale: float, generator: torch.Generator) -> Pair:
    """A test photo's degraded reduction, which is always the same one, and the photo."""
    pair = hidden_camera.unseen_pair(item, PHOTO_SETS)
    return pair.lr, pair.hr


def weak_pair(item: Item, scale: float, generator: torch.Generator) -> Pair:
    """The same at the camera with weak noise."""
    pair = hidden_camera.unseen_pair(item, WEAK)
    return pair.lr, pair.hr


def track1_metrics(sr: Float[Tensor, "3 h w"], hr: Float[Tensor, "3 h w"], scale: float = 4.0) -> dict[str, float]:
    """PSNR, SSIM and LPIPS of the rounded result, all without a border of 4 pixels."""
    sr, hr = (((x.clamp(0, 1) * 255).round() / 255)[..., SCALE:-SCALE, SCALE:-SCALE] for x in (sr, hr))
    return quality(METRICS, sr, hr, RULE)


TRACK1 = EvaluationProtocol(
    **WORDS["track1-here"], conditions={CONDITION: 4.0}, prepare=hidden_pair, measure=track1_metrics
)
TRACK1_FEW = replace(TRACK1, **WORDS["track1-few"])
TRACK1_WEAK = replace(TRACK1, **WORDS["track1-weak-few"], prepare=weak_pair)
TRACK1_BETWEEN = replace(TRACK1, **WORDS["track1-between"], conditions={f"share {x:g}": x for x in SHARES})
PRECISIONS = {"exact": 0.0, "bf16": 1.0, "bf16 against exact": 2.0}
TRACK1_PRECISION = replace(TRACK1, **WORDS["track1-precision"], conditions=PRECISIONS)


def with_spreads(measured: list[Measurement]) -> list[Measurement]:
    """Measurements, and the standard deviations over photos as measurements of their own."""
    spreads = {f"{m.metric}_spread": m.spread for m in measured if m.spread is not None}
    return measured + [of_set(CONDITION, name, spreads[name]) for name in SPREADS if name in spreads]


def track1_trials(sets: Sequence[str], tier: str) -> Iterator[Trial]:
    """Every method that can run here on the test photos; at tier ``smoke`` only interpolation."""
    own, networks, single = ([], {}, {}) if tier == "smoke" else (trained(), imported(), ZSSR_SETTINGS)
    yield trial("bicubic", lambda: bicubic, KODAK, TRACK1, summary=with_spreads)
    for name, network in networks.items():
        yield trial(name, partial(whole, network), KODAK, TRACK1, summary=with_spreads)
    for weights in own:
        yield of_checkpoint(weights, whole, KODAK, TRACK1, summary=with_spreads)
    if tier != "smoke":
        yield from between_trials(own)
        yield from precision_trials(own, networks)
    for recipe in ("bicubic", *single):
        yield few_trial(recipe)
    about = {"photos": FEW, "crops": CROPS}
    yield trial("bicubic", lambda: bicubic, KODAK, TRACK1_WEAK, **about)
    for weights in own:
        if weights.recipe in WEAK_ROWS:
            yield of_checkpoint(weights, whole, KODAK, TRACK1_WEAK, **about)
    for name, network in networks.items():
        yield trial(name, partial(whole, network), KODAK, TRACK1_WEAK, **about)
    for recipe in (name for name in WEAK_ROWS if name in single):
        yield few_trial(recipe, protocol=TRACK1_WEAK)


def between_trials(own: Iterable[Card]) -> Iterator[Trial]:
    """Networks between stage 1 and stage 2, where both are there at one tier: a condition for each share."""
    pairs = [(a, b) for a in own for b in own if (a.recipe, b.recipe) == ENDS and a.tier == b.tier]
    for first, second in pairs[:1]:

        def models(first=first, second=second) -> dict[str, Model]:
            ends, shares = (load(first.name), load(second.name)), TRACK1_BETWEEN.conditions
            return {name: whole(interpolate_networks(*ends, share)) for name, share in shares.items()}

        settings = {"first": first.name, "second": second.name, "sha256": second.sha256}
        about = {"settings": settings, **runs.training_of(second)}
        yield trial(f"{ENDS[1]}-between", models, KODAK, TRACK1_BETWEEN, **about)


def precision_trials(own: Iterable[Card], networks: Mapping[str, nn.Module]) -> Iterator[Trial]:
    """RealSR's networks, ours and the authors', exactly and in bfloat16; none where bfloat16 is not native."""
    if not has_bfloat16(torch.device("cpu")):
        runs.left_out("what bfloat16 costs. This processor does not multiply in it.")
        return
    for weights in own:
        if weights.recipe == REALSR:
            settings = {"checkpoint": weights.name, "sha256": weights.sha256}
            yield precision_trial(weights.recipe, load(weights.name), settings=settings, **runs.training_of(weights))
            break  # of several seeds, one
    if "realsr-df2k" in networks:
        yield precision_trial("realsr-df2k", networks["realsr-df2k"])


def precision_trial(recipe: str, network: nn.Module, **about) -> Trial:
    """A network on all test photos exactly and in bfloat16, and how far the two results are from each other."""
    cached = {}  # what belongs to one photo, which is asked for three times in a row

    def prepare(item: Item, value: float, generator: torch.Generator) -> Pair:
        if cached.get("name") != item.name:
            lr, hr = hidden_pair(item, value, generator)
            both = {precision: upscale(network.eval(), lr, precision=precision) for precision in ("exact", "bf16")}
            cached.update(both, name=item.name, lr=lr, hr=hr)
        return cached["lr"], cached["exact" if value == TRACK1_PRECISION.conditions["bf16 against exact"] else "hr"]

    models = {name: lambda lr, size: cached["bf16"] for name in TRACK1_PRECISION.conditions}
    models["exact"] = lambda lr, size: cached["exact"]
    protocol = replace(TRACK1_PRECISION, prepare=prepare)
    return trial(f"{recipe}-precision", lambda: models, KODAK, protocol, **about)


def few_trial(recipe: str, *, protocol: EvaluationProtocol = TRACK1_FEW) -> Trial:
    """A method that trains on each photo, on a few of them, evenly chosen."""
    settings = ZSSR_SETTINGS.get(recipe)
    if settings is None:
        return trial(recipe, lambda: bicubic, KODAK, protocol, photos=FEW)

    @torch.enable_grad()
    def model(lr: Tensor, size: tuple[int, int]) -> Tensor:
        if recipe.startswith("zssr"):
            return zssr(lr, (2, 4), None, settings, seed=0).sr
        return k_zssr(lr, paper_b_kernels.estimated([lr], seed=0)[0].kernel, SCALE, settings, seed=0).sr

    about = {"seed": 0, "steps": settings.steps, "settings": asdict(settings)}
    return trial(recipe, lambda: model, KODAK, protocol, photos=FEW, crops=CROPS, **about)


def pictures(photo: str) -> dict[str, Float[Tensor, "3 h w"]]:
    """Kept results of the methods of Table 1 on a crop of a photo at the camera with weak noise, and the truth."""
    home = results_folder() / runs.PICTURES
    titles = {name: title.partition(",")[0] for name, title in titled(WEAK_ROWS).items()} | {"truth": "truth"}
    paths = {title: home / f"{name}__{TRACK1_WEAK.name}__{photo}.png" for name, title in titles.items()}
    return {title: images.read(path) for title, path in paths.items() if path.exists()}


SMALL = "other photos, another degradation, and networks trained for minutes: not comparable"
THEIRS = "the authors' own weights on our photos and degradation: not comparable"
TRACK1_ROWS = {  # recipe: title, row of the paper's table
    "bicubic": ("bicubic interpolation", ""),
    EDSR: ("EDSR, bicubic pairs", "EDSR"),
    "rrdb-l1-bicubic": ("RRDB, absolute differences, bicubic pairs", ""),
    ESRGAN: ("ESRGAN, bicubic pairs", "ESRGAN"),
    STAGE_1: ("RRDB, absolute differences, kernels and noise", ""),
    REALSR: ("RealSR, kernels and noise", "RealSR"),
    ENDS[0]: ("RRDB, absolute differences, noise alone", ""),
    ENDS[1]: ("RealSR, noise alone as in the code for Track 1", "RealSR"),
    "rrdb-gan-learned": ("as RealSR, pairs by DSGAN", ""),
}
AUTHORS_ROWS = {name: (title, "RealSR" if name == "realsr-df2k" else "") for name, title in AUTHORS.items()}
TRACK1_ROWS |= AUTHORS_ROWS
FEW_ROWS = {
    "bicubic": ("bicubic interpolation", ""),
    "zssr": ("ZSSR", "ZSSR"),
    "zssr-real": ("ZSSR, its settings for real photos", ""),
    "k-zssr": ("K-ZSSR", "K-ZSSR"),
    "k-zssr-real": ("K-ZSSR, its settings for real photos", ""),
}
WEAK_ROWS = {
    "bicubic": ("bicubic interpolation", ""),
    EDSR: ("EDSR (small)", "EDSR"),
    ESRGAN: ("ESRGAN (small)", "ESRGAN"),
    "zssr": ("ZSSR", "ZSSR"),
    "k-zssr": ("K-ZSSR", "K-ZSSR"),
} | AUTHORS_ROWS
WEIGHTS = {
    STAGE_1: "pixels alone (stage 1)",
    "rrdb-gan-both-adversarial-0.02": "little weight on the judgement",
    REALSR: "as in the other sections",
    "rrdb-gan-both-published-weights": "the official code's weights",
    "rrdb-gan-both-vgg-judge": "one judgement a crop, not a patch",
    "rrdb-gan-both-joint-batch": "photos and results in one batch before the discriminator",
}
ROUNDED = {f"{recipe}-precision": TRACK1_ROWS[recipe][0] for recipe in (REALSR, "realsr-df2k")}
PLACE = {KODAK: ""}


def printed_section(
    name: str, protocol: EvaluationProtocol, rows: Mapping[str, tuple[str, str]], names: Sequence[str]
) -> Section:
    """Methods beside the paper's Table 1."""

    def reference(line: Line) -> dict:
        row = rows[line.recipe][1]
        if not row or line.metric not in METRICS:
            return {"comparable": False}
        paper = published.number("ji2020-track1", row, line.metric.removesuffix("_alex").upper())
        return {"paper": paper, "comparable": False, "why": THEIRS if line.recipe in AUTHORS else SMALL}

    return section(protocol, names, titled(rows), PLACE, name=name, reference=reference)


def titled(rows: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    return {recipe: title for recipe, (title, _) in rows.items()}


BY_PAIRS = {
    f"rrdb-{stage}-{variant}": f"{PAIR_TITLES[variant]}, {title}"
    for stage, title in (("l1", "stage 1"), ("gan", "stage 2"))
    for variant in PAIR_TITLES
}
TRACK1_TABLE = Experiment(
    "realsr-track1",
    "Real-world super-resolution on a Track 1 of our own (paper B, Table 1)",
    (
        printed_section("methods", TRACK1, TRACK1_ROWS, (*METRICS, *SPREADS)),
        printed_section("few", TRACK1_FEW, FEW_ROWS, METRICS),
        printed_section("weak", TRACK1_WEAK, WEAK_ROWS, METRICS),
        section(TRACK1, METRICS, BY_PAIRS, PLACE, name="pairs", title="by how LR images are made"),
        section(TRACK1, METRICS, WEIGHTS, PLACE, name="weights", title="by the weights of the losses"),
        section(TRACK1_BETWEEN, METRICS, {f"{ENDS[1]}-between": "RealSR, noise alone"}, PLACE, name="between"),
        section(TRACK1_PRECISION, METRICS, ROUNDED, PLACE, name="precision"),
    ),
    trials=track1_trials,
    sets=(KODAK,),
)

# Track 2

PAIRS, PHONES = "realsr_x4_crops", "phone_photos"
SIDE = 256  # pixels of a phone photo: each method takes seconds, the authors' networks half a minute
INDICES: Mapping[str, Callable[[Tensor], float]] = {
    "brisque": metrics.brisque,
    "noise_level": metrics.noise_level,
    "blur": metrics.blur,
}
TRACK2_AUTHORS = AUTHORS | {"realsr-df2k-jpeg": "RealSR for JPEG pictures, authors' model"}


def prepare_phone(item: Item, scale: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The middle of a phone photo, and a black picture that has the size of the result and no other use."""
    lr = images.centre_crop(item.image, SIDE)
    return lr, lr.new_zeros(()).expand(3, *(SCALE * n for n in lr.shape[-2:]))


def measure_alone(sr: Float[Tensor, "3 h w"], hr: Float[Tensor, "3 h w"], scale: float = 4.0) -> dict[str, float]:
    """What can be measured of a result alone; the second argument is not looked at."""
    rounded = images.from_uint8(images.to_uint8(sr.clamp(0, 1)))
    return {name: index(rounded) for name, index in usable().items()}


@cache
def usable() -> dict[str, Callable[[Tensor], float]]:
    """Indices that can run here; says on stderr what cannot."""
    indices = dict(INDICES)
    example = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    if runs.available("BRISQUE", lambda: indices["brisque"](example)) is None:
        del indices["brisque"]
    return indices


ONE = {CONDITION: float(SCALE)}
TRACK2 = {
    PAIRS: EvaluationProtocol(
        **WORDS["track2-pairs"],
        conditions=ONE,
        prepare=lambda item, scale, generator: (item.read("lr"), item.image),
        measure=lambda sr, hr, scale: track1_metrics(sr, hr) | measure_alone(sr, hr),
    ),
    PHONES: EvaluationProtocol(**WORDS["track2-phones"], conditions=ONE, prepare=prepare_phone, measure=measure_alone),
}
REFERENCE = replace(
    TRACK2[PAIRS], prepare=lambda item, scale, generator: (item.image, item.image), measure=measure_alone
)


def track2_trials(sets: Sequence[str], tier: str) -> Iterator[Trial]:
    """Every trained network and authors' model on real photos; at tier ``smoke`` only interpolation.

    Records say which version of the package measured BRISQUE.
    """
    settings = {"brisque": version("brisque")} if "brisque" in usable() else {}
    networks, own = ({}, []) if tier == "smoke" else (imported(TRACK2_AUTHORS), trained())
    for name in sets:
        yield trial("bicubic", lambda: bicubic, name, TRACK2[name], settings=settings)
        for recipe, network in networks.items():
            yield trial(recipe, partial(in_windows, network), name, TRACK2[name], settings=settings)
        for weights in own:
            yield of_checkpoint(weights, in_windows, name, TRACK2[name], settings=settings)
        if name == PAIRS:  # what a perfect method would get from the indices
            yield trial("reference", lambda: unchanged, name, REFERENCE, settings=settings)


METHODS = {recipe: title for recipe, title in titled(TRACK1_ROWS).items() if recipe not in AUTHORS}
METHODS |= {recipe.name: recipe.title for recipe in SR if recipe.name not in METHODS} | TRACK2_AUTHORS


def has_metric(line: Line) -> bool:
    """Whether a method has the metric of a line: the large photo itself has indices alone."""
    return line.recipe != "reference" or line.metric in INDICES


WITH_REFERENCE, EVERY = METHODS | {"reference": "the large photo itself"}, (*METRICS, *INDICES)
TRACK2_TABLE = Experiment(
    "realsr-track2",
    "Super-resolution of real photos (paper B, Track 2)",
    (
        section(TRACK2[PAIRS], EVERY, WITH_REFERENCE, {PAIRS: ""}, name="pairs", keep=has_metric),
        section(TRACK2[PHONES], tuple(INDICES), METHODS, {PHONES: ""}, name="phones"),
    ),
    trials=track2_trials,
    sets=(PAIRS, PHONES),
)

EXPERIMENTS = (*paper_b_kernels.EXPERIMENTS, TRACK1_TABLE, TRACK2_TABLE)
