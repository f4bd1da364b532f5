"""The tables of paper A: Kodak photo by photo, the ablation, and what networks see in denoised pictures."""

from dataclasses import replace
from fractions import Fraction

from restore_lib.experiments import ablation, kodak, published, sharpness, vision
from restore_lib.experiments.lines import Line, Section, Table

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


def kodak_sharpness() -> Table:
    """What joint training does to photographs: means over Kodak, and photo 5, of which the paper shows a part."""
    protocol, condition = sharpness.PROTOCOL, f"sigma {sharpness.SIGMA}"
    means, fifth = (
        [
            Line(title + after, condition, metric, recipe, kodak.DATASET, protocol.name, image=image)
            for metric in sharpness.METRICS
            for recipe, title in sharpness.CASES.items()
        ]
        for image, after in (("", ""), ("kodim05", ", photo 5"))
    )
    title = "Photographs by denoisers that were trained to be seen through (Kodak)"
    sections = [
        Section("means", protocol.title, protocol.rules, means, published=False),
        Section("photo-5", "photo 5 alone", protocol.rules, fifth, published=False),
    ]
    return Table("kodak-sharpness", title, sections, run=sharpness.table)


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
