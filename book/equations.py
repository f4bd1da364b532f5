"""Write ``equations.md``: every numbered equation, table and algorithm of the three papers, and where it is.

python book/equations.py
"""

import importlib
import inspect
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
DIINN = "implicit.diinn:DIINNDecoder.forward"
LIIF = "implicit.liif:LIIFDecoder.forward"
METASR = "implicit.metasr:MetaSRDecoder.forward"
KERNELGAN = "realsr.kernelgan:generator_terms"


class Place(NamedTuple):
    """An item of a paper: its number there, what it says, what implements it (module:name), and the chapter."""

    number: str
    content: str
    code: str
    chapter: int


PAPERS = {
    "A. Liu et al., IJCAI 2018": [
        Place(
            "Figure 2", "the denoiser: three scales, encoding and decoding modules", "denoising.denoiser:Denoiser", 4
        ),
        Place(
            "Figure 2",
            "one module: 128, 32, 32, 128 channels, kernels 3, 1, 3, 1",
            "denoising.denoiser:FeatureModule",
            4,
        ),
        Place("$F_D$", "the residual that the denoiser predicts", "denoising.denoiser:Denoiser.forward", 4),
        Place("$F(x) = F_H(F_D(x))$", "denoiser, then a frozen network", "denoising.cascade:Cascade.forward", 6),
        Place("$L_D$", "mean squared error", "denoising.losses:denoising_loss", 4),
        Place("$L_H$", "cross entropy of a class", "denoising.losses:classification_loss", 6),
        Place("$L_H$", "cross entropy of every pixel", "denoising.losses:segmentation_loss", 7),
        Place(
            "$L = L_D + \\lambda L_H$", "a training step through the frozen network", "denoising.losses:joint_step", 6
        ),
        Place("Table 1", "PSNR on 24 Kodak photos", "experiments.paper_a:kodak_trials", 5),
        Place("Table 2", "classification of denoised pictures", "experiments.paper_a_vision:vision_trials", 6),
        Place("Table 3", "segmentation of denoised pictures", "experiments.paper_a_vision:vision_trials", 7),
    ],
    "B. Ji et al., CVPRW 2020 (RealSR), with KernelGAN": [
        Place(
            "$I_{LR} = (I_{HR} * k)\\downarrow_s + n$", "the degradation", "realsr.degradation:Degradation.degrade", 10
        ),
        Place(
            "$I_{HR} = (I_{src} * k_{bic})\\downarrow$", "clean-up of noisy photos", "realsr.degradation:clean_up", 10
        ),
        Place("Algorithm 1", "kernel pool, noise pool, pairs", "realsr.degradation:algorithm_1", 10),
        Place("Eq. 4", "kernel estimation, RealSR's four terms", KERNELGAN, 8),
        Place("KernelGAN", "its five terms", KERNELGAN, 8),
        Place("KernelGAN", "the generator: a deep linear network", "realsr.kernelgan:KernelGenerator.forward", 8),
        Place("KernelGAN", "one training step", "realsr.kernelgan:step", 8),
        Place("Eq. 7", "the rule for noise patches", "realsr.noise_pool:find_patches", 9),
        Place(
            "$L_{total}$", "pixels, features and judgement: the generator's step", "realsr.losses:generator_step", 12
        ),
        Place("$L_{per}$", "distance of VGG features", "realsr.losses:perceptual_loss", 12),
        Place("$L_{adv}$", "relativistic adversarial loss", "realsr.losses:generator_loss", 12),
        Place("patch D", "the patch discriminator, 70 x 70 pixels", "realsr.losses:PatchDiscriminator", 12),
        Place("Table 1", "Track 1: EDSR, ESRGAN, ZSSR, K-ZSSR, RealSR", "experiments.paper_b:track1_trials", 13),
    ],
    "C. Nguyen & Beksi, WACV 2023 (DIINN)": [
        Place("Eq. 1", "a picture as a function of features and place", DIINN, 16),
        Place("Eq. 2", "modulation branch, first layer", DIINN, 16),
        Place("Eq. 3", "synthesis branch, first layer", DIINN, 16),
        Place("Eq. 4", "modulation branch: reads synthesis and content", DIINN, 16),
        Place("Eq. 5", "synthesis branch: a modulated sine", DIINN, 16),
        Place("Eq. 6", "ablation: modulation reads itself", DIINN, 16),
        Place("Eq. 7", "ablation: modulation reads itself and content", DIINN, 16),
        Place("Eq. 8", "ablation: the positional layer", DIINN, 16),
        Place("Eq. 9", "ablation: content times position", DIINN, 16),
        Place("Table 1", "scales 2, 3, 4", "experiments.paper_c:scale_trials", 17),
        Place("Table 2", "scales 2.5, 3.5", "experiments.paper_c:scale_trials", 17),
        Place("Table 3", "scales 6, 8, 10, 15", "experiments.paper_c:scale_trials", 17),
        Place("Table 4", "inference time: `benchmarks/bench_implicit.py`", "fast.decoders", 17),
        Place("Table 5", "ablation (a) to (f)", "experiments.paper_c:scale_trials", 17),
    ],
    "Baselines of paper C": [
        Place("LIIF, Eqs. 1, 3, 4, 5", "local implicit image function, ensemble and cells", LIIF, 15),
        Place("Meta-SR, Eqs. 3 to 6", "filters predicted for each pixel", METASR, 17),
    ],
}


def code_of(place: Place) -> object:
    """The function, class or module that implements an item."""
    module, _, name = place.code.partition(":")
    thing = importlib.import_module(f"restore_lib.{module}")
    for part in name.split(".") if name else ():
        thing = getattr(thing, part)
    return thing


def source_page(place: Place) -> str:
    """Address of its source on the built pages, relative to ``book/``."""
    module, _, name = place.code.partition(":")
    return f"../_modules/restore_lib/{module.replace('.', '/')}.html" + (f"#{name}" if name else "")


def chapter_file(number: int) -> Path:
    """The chapter's notebook."""
    return next((HERE.parent / "notebooks").glob(f"{number:02d}_*.ipynb"))


def page() -> str:
    """The page as Markdown."""
    lines = [
        "# Index of equations",
        "",
        "Every numbered equation, table and algorithm of the three papers: what it says, the code that implements it,",
        "and the chapter that explains it. The third column leads to the source. Items without a number in the paper",
        "stand under their symbol.",
    ]
    for paper, places in PAPERS.items():
        lines += ["", f"## {paper}", "", "| in the paper | what it is | code | chapter |", "|---|---|---|---|"]
        for place in places:
            name = place.code.partition(":")[2] or place.code
            link = f'<a href="{source_page(place)}"><code>{name}</code></a>'
            chapter = f"[{place.chapter}](../notebooks/{chapter_file(place.chapter).name})"
            lines.append(f"| {place.number} | {place.content} | {link} | {chapter} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for every in PAPERS.values():
        for item in every:
            assert inspect.ismodule(code_of(item)) or callable(code_of(item)), item
    (HERE / "equations.md").write_text(page(), encoding="utf-8")
