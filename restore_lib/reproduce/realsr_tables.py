"""The tables of paper B: how far an estimated kernel can be trusted, and what it is worth."""

from restore_lib.reproduce import div2krk, kernel_study, noise_study, published
from restore_lib.reproduce.lines import Line, Section, Table

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
