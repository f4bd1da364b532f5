"""The tables of paper B: how far an estimated kernel can be trusted, and what it is worth."""

from restore_lib.experiments import div2krk, kernel_study, noise_study, published, real_photos, realsr_experiment
from restore_lib.experiments.lines import Line, Section, Table
from restore_lib.realsr.recipes import SR
from restore_lib.realsr.recipes import TITLES as PAIRS

KERNEL_SETS = {"div2krk": "DIV2KRK (4 of 100)", "kodak24": "Kodak (4 of 24)"}
KERNEL_METRICS = (
    "kernel_error",
    "kernel_error_median",
    "kernel_error_worst",
    "psnr",
    "psnr_worst",
    "off_centre",
    "sum",
    "switch_step",
    "distrusted",
)


def kernelgan() -> Table:
    """KernelGAN on photos of known kernels: one run, a choice among four, and each constraint left out."""
    title = "How far an estimated kernel can be trusted"
    sections = [
        _kernel_section("known-kernels", title, ["bicubic-kernel", *kernel_study.METHODS]),
        _kernel_section("constraints", "What each constraint is for", ["kernelgan", *kernel_study.ABLATION]),
    ]
    return Table("kernelgan", f"{title} (KernelGAN, paper B)", sections, run=kernel_study.kernel_tables)


def _kernel_section(name: str, title: str, recipes: list[str]) -> Section:
    lines = [
        Line(f"{set_title}, {kernel_study.TITLES[recipe]}", "x2", metric, recipe, dataset, kernel_study.PROTOCOL)
        for metric in KERNEL_METRICS
        for dataset, set_title in KERNEL_SETS.items()
        for recipe in recipes
        if recipe != "bicubic-kernel" or metric.startswith(("kernel", "psnr"))
    ]
    return Section(name, title, kernel_study.RULES, lines, published=False)


FOUR = "4 of 100 photos, the quick settings: not comparable"


def div2krk_table() -> Table:
    """ZSSR with every kind of kernel on DIV2KRK, and where noise leads."""
    titles = {"x2": "x2", "x4": "x4", "x4-noisy": f"x4, noise of sigma {div2krk.SIGMA} on the photo"}
    sections = [
        Section(
            condition,
            f"DIV2KRK, {titles[condition]}",
            div2krk.RULES | (div2krk.NOISY if sigma else {}),
            [
                _div2krk_line(recipe, condition, metric)
                for metric in ("psnr_y", "ssim_y")
                for recipe in ("bicubic", *div2krk.methods(condition))
            ],
        )
        for condition, (_, sigma) in div2krk.CONDITIONS.items()
    ]
    return Table("div2krk", "What an estimated kernel is worth (DIV2KRK)", sections, run=div2krk.div2krk_tables)


def _div2krk_line(recipe: str, condition: str, metric: str) -> Line:
    paper, why = None, ""
    if recipe == "k-zssr" and condition != "x4-noisy":
        column = f"{condition} {'PSNR' if metric == 'psnr_y' else 'SSIM'}"
        paper, why = published.number("div2krk-rerun", "KernelGAN + ZSSR", column), FOUR
    title, protocol = div2krk.TITLES[recipe], f"{div2krk.DATASET}-{condition}"
    return Line(title, condition, metric, recipe, div2krk.DATASET, protocol, paper, None, False, why)


NOISE_SETS = {"polyu_crops": "PolyU", "dnd_noisy": "DND", "phone_photos": "phones"}


def noise_table() -> Table:
    """Collected noise beside the camera's own."""
    lines = [
        Line(f"{title}: {kind_title}", kind, metric, "noise", dataset, noise_study.PROTOCOL)
        for metric in noise_study.METRICS
        for dataset, title in NOISE_SETS.items()
        for kind, kind_title in noise_study.KINDS.items()
        if dataset == "polyu_crops" or kind not in ("camera", "there")
    ]
    title = "Is collected noise like the camera's?"
    section = Section("statistics", title, noise_study.RULES, lines, published=False)
    return Table("noise", title, [section], run=noise_study.noise_tables)


SMALL = "other photos, another degradation, and networks trained for minutes: not comparable"
THEIRS = "the authors' own weights on our photos, whose degradation they were not trained for: not comparable"
TRACK1 = {  # recipe: title, row of the paper's table
    "bicubic": ("bicubic interpolation", ""),
    realsr_experiment.EDSR: ("EDSR, bicubic pairs", "EDSR"),
    "rrdb-l1-bicubic": ("RRDB, absolute differences, bicubic pairs", ""),
    realsr_experiment.ESRGAN: ("ESRGAN, bicubic pairs", "ESRGAN"),
    realsr_experiment.STAGE_1: ("RRDB, absolute differences, kernels and noise", ""),
    realsr_experiment.REALSR: ("RealSR, kernels and noise", "RealSR"),
    realsr_experiment.ENDS[0]: ("RRDB, absolute differences, noise alone", ""),
    realsr_experiment.ENDS[1]: ("RealSR, noise alone as in the code for Track 1", "RealSR"),
    "rrdb-gan-learned": ("as RealSR, pairs by DSGAN", ""),
}
TRACK1 |= {
    name: (title, "RealSR" if name == "realsr-df2k" else "") for name, title in realsr_experiment.AUTHORS.items()
}
FEW = {
    "bicubic": ("bicubic interpolation", ""),
    "zssr": ("ZSSR", "ZSSR"),
    "zssr-real": ("ZSSR, its settings for real photos", ""),
    "k-zssr": ("K-ZSSR", "K-ZSSR"),
    "k-zssr-real": ("K-ZSSR, its settings for real photos", ""),
}
WEIGHTS = {
    realsr_experiment.STAGE_1: "pixels alone (stage 1)",
    "rrdb-gan-both-adversarial-0.02": "little weight on the judgement",
    realsr_experiment.REALSR: "as in the other sections",
    "rrdb-gan-both-published-weights": "the official code's weights",
    "rrdb-gan-both-vgg-judge": "one judgement a crop, not a patch",
    "rrdb-gan-both-joint-batch": "photos and results in one batch before the discriminator",
}


ROUNDED = {recipe: TRACK1[recipe][0] for recipe in (realsr_experiment.REALSR, "realsr-df2k")}


def track1_table() -> Table:
    """Paper B's Table 1 on our own degradation, its ablation, and the way between two networks."""
    main, metrics = realsr_experiment.PROTOCOL, realsr_experiment.METRICS
    every = (*metrics, *realsr_experiment.SPREADS)
    lines = [_track1_line(recipe, metric, main.name, *TRACK1[recipe]) for metric in every for recipe in TRACK1]
    few_rule = realsr_experiment.FEW_PROTOCOL
    few = [_track1_line(recipe, metric, few_rule.name, *FEW[recipe]) for metric in metrics for recipe in FEW]
    pairs = [
        _track1_line(f"rrdb-{stage}-{variant}", metric, main.name, f"{PAIRS[variant]}, {title}")
        for metric in metrics
        for stage, title in (("l1", "stage 1"), ("gan", "stage 2"))
        for variant in PAIRS
    ]
    weights = [
        _track1_line(recipe, metric, main.name, title) for metric in metrics for recipe, title in WEIGHTS.items()
    ]
    between = realsr_experiment.BETWEEN
    curve = [
        Line(
            "RealSR, noise alone",
            condition,
            metric,
            f"{realsr_experiment.ENDS[1]}-between",
            realsr_experiment.DATASET,
            between.name,
        )
        for metric in metrics
        for condition in between.conditions
    ]
    precision = realsr_experiment.PRECISION
    rounded = [
        Line(title, condition, metric, f"{recipe}-precision", realsr_experiment.DATASET, precision.name)
        for metric in metrics
        for recipe, title in ROUNDED.items()
        for condition in precision.conditions
    ]
    sections = [
        Section("methods", main.title, main.rules, lines),
        Section("few", few_rule.title, few_rule.rules, few),
        Section("pairs", "by how LR images are made", main.rules, pairs, published=False),
        Section("weights", "by the weights of the losses", main.rules, weights, published=False),
        Section("between", between.title, between.rules, curve, published=False),
        Section("precision", precision.title, precision.rules, rounded, published=False),
    ]
    title = "Real-world super-resolution on a Track 1 of our own (paper B, Table 1)"
    return Table("realsr-track1", title, sections, run=realsr_experiment.tables)


def _track1_line(recipe: str, metric: str, protocol: str, title: str, row: str = "") -> Line:
    paper, why = None, ""
    if row and metric in realsr_experiment.METRICS:
        paper = published.number("ji2020-track1", row, metric.removesuffix("_alex").upper())
        why = THEIRS if recipe in realsr_experiment.AUTHORS else SMALL
    condition, dataset = realsr_experiment.CONDITION, realsr_experiment.DATASET
    return Line(title, condition, metric, recipe, dataset, protocol, paper, None, False, why)


TRACK2 = {recipe: title for recipe, (title, _) in TRACK1.items() if recipe not in real_photos.AUTHORS}
TRACK2 |= {recipe.name: recipe.title for recipe in SR if recipe.name not in TRACK2} | real_photos.AUTHORS
REFERENCE = {"reference": "the large photo itself"}


def track2_table() -> Table:
    """Paper B's Track 2 on our own photos: real pairs with a reference, phone photos without."""
    sections = []
    for name, dataset, metrics in (
        ("pairs", real_photos.PAIRS, (*realsr_experiment.METRICS, *real_photos.INDICES)),
        ("phones", real_photos.PHONES, tuple(real_photos.INDICES)),
    ):
        protocol = real_photos.PROTOCOLS[dataset]
        lines = [
            Line(title, realsr_experiment.CONDITION, metric, recipe, dataset, protocol.name)
            for metric in metrics
            for recipe, title in (TRACK2 | REFERENCE).items()
            if recipe != "reference" or (name == "pairs" and metric in real_photos.INDICES)
        ]
        sections.append(Section(name, protocol.title, protocol.rules, lines, published=False))
    return Table(
        "realsr-track2", "Super-resolution of real photos (paper B, Track 2)", sections, run=real_photos.tables
    )
