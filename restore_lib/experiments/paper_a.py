"""What is measured for paper A [liu2018], first half: its denoiser.

A small denoiser first (chapter 3), then Table 1 (the Kodak photos, chapter 5), and the choices of Section 3.1 undone
one by one. The ablation trains; everything else runs networks from their checkpoints.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor, nn

from restore_lib import images, noise, training
from restore_lib.denoising import baselines, denoise
from restore_lib.denoising.dncnn import AUTHORS, author_network
from restore_lib.denoising.recipes import ABLATIONS, CHOICES
from restore_lib.experiments import published, runs
from restore_lib.experiments.ledger import Line, Section, section
from restore_lib.experiments.protocols import RGB, gaussian_noise, quality, unchanged
from restore_lib.experiments.records import RunRecord, save
from restore_lib.experiments.runs import EvaluationProtocol, Experiment, Model, Models, Trial, of_checkpoint, trial
from restore_lib.fast.folding import folded
from restore_lib.pretrained import build, card, cards
from restore_lib.training.precision import best_device, fastest


def as_model(network: nn.Module, protocol: EvaluationProtocol | None = None) -> Models:
    """A denoiser as evaluation calls it: one photo at a time, as large as it came; told sigma, if it asks for it."""
    quick = folded(network)
    if protocol and getattr(network, "noise_map", False):
        return given_sigma(lambda given, sigma: denoise(quick, given, sigma), protocol)
    return lambda given, size: denoise(quick, given)


def evaluate_denoiser(
    name: str,
    sets: Iterable[str],
    protocol: EvaluationProtocol,
    *,
    folder: Path | str | None = None,
    results: Path | str,
    device: str = "cpu",
) -> list[RunRecord]:
    """Evaluate a checkpoint, write a run record for each image set, and note the means on its card."""
    weights = card(name, folder=folder)
    model = partial(as_model, protocol=protocol)
    trials = [of_checkpoint(weights, model, s, protocol, folder=folder, device=device) for s in sets]
    records = [one.record() for one in trials]
    for record in records:
        save(record, results)
    runs.note_means(name, records, folder)
    return records


# A small denoiser (chapter 3)

AWGN_25 = gaussian_noise(25)
SMALL_SETS = {"cbsd68": "CBSD68", "kodak24": "Kodak24"}
SMALL_METHODS = {"noisy": "noisy", "small-denoiser": "small-denoiser"}


def small_denoiser_trials(sets: Sequence[str], tier: str) -> Iterator[Trial]:
    """Noisy pictures as they are, and the small denoiser on them."""
    for name in sets:
        yield trial("noisy", lambda: unchanged, name, AWGN_25, seed=0)
    weights = card("small-denoiser-cpu")
    for name in sets:
        yield of_checkpoint(weights, as_model, name, AWGN_25, checkpoint=weights.name)


SMALL_DENOISER = Experiment(
    "small-denoiser",
    "A small denoiser, trained on a laptop",
    (section(AWGN_25, ("psnr", "ssim"), SMALL_METHODS, SMALL_SETS),),
    trials=small_denoiser_trials,
    sets=tuple(SMALL_SETS),
    other_sets=True,
)

# Table 1: the 24 Kodak photos under noise of sigma 25, 35 and 50, by every method that runs here

KODAK = "kodak24"
KODAK_SIGMAS = (25, 35, 50)
QUALITY = ("psnr", "ssim", "lpips_alex")
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


def kodak_metrics(restored: Tensor, clean: Tensor, sigma: float) -> dict[str, float]:
    """PSNR, SSIM and LPIPS of the clipped result, rounded to 8 bit, without a border of 3 pixels."""
    restored, clean = (x[..., 3:-3, 3:-3] for x in ((restored.clamp(0, 1) * 255).round() / 255, clean))
    return quality(QUALITY, restored, clean, RGB)


def kodak_protocol(*sigmas: int) -> EvaluationProtocol:
    """The rules of the official code, for some noise levels."""
    plain = gaussian_noise(*sigmas)
    border = {"measured on": "all RGB pixels but a border of 3, which the released network does not return"}
    title, rules = "paper A's rules for Kodak", {**plain.rules, **border}
    return replace(plain, name="liu2018", title=title, rules=rules, measure=kodak_metrics)


KODAK_PROTOCOL = kodak_protocol(*KODAK_SIGMAS)


def given_sigma(
    method: Callable[[Tensor, float], Tensor], protocol: EvaluationProtocol = KODAK_PROTOCOL
) -> dict[str, Model]:
    """A method that must know sigma, as one model for each noise level."""
    levels = protocol.conditions.items()
    return {name: lambda given, size, sigma=sigma: method(given, sigma) for name, sigma in levels}


def kodak_trials(sets: Sequence[str], tier: str) -> Iterator[Trial]:
    """Every method that can run here; at tier ``smoke`` only those without a network."""
    yield trial("noisy", lambda: unchanged, KODAK, KODAK_PROTOCOL, seed=0)
    yield trial("wavelets", lambda: given_sigma(baselines.wavelets), KODAK, KODAK_PROTOCOL, seed=0)
    if tier == "smoke":
        return
    if has_cbm3d():
        yield trial("cbm3d", lambda: given_sigma(baselines.cbm3d), KODAK, KODAK_PROTOCOL, seed=0)
    for use in AUTHORS:
        network = runs.available(f"dncnn-{use}", partial(author_network, use))
        if network is not None:
            sigmas = (25,) if use == "25" else KODAK_SIGMAS
            yield trial(f"dncnn-{use}", partial(as_model, network), KODAK, kodak_protocol(*sigmas), seed=0)
    for weights in cards():
        variant, _, sigma = weights.recipe.rpartition("-")
        if variant in ("denoiser", "denoiser-paper") and sigma.isdigit() and int(sigma) in KODAK_SIGMAS:
            yield of_checkpoint(weights, as_model, KODAK, kodak_protocol(int(sigma)), checkpoint=weights.name)


def has_cbm3d() -> bool:
    """Whether CBM3D's package is installed; says on stderr that it is left out where not."""
    if find_spec("bm3d"):
        return True
    runs.left_out("CBM3D, whose package is not installed: `pip install bm3d`")
    return False


def kodak_lines(metric: str, image: str = "") -> Iterator[Line]:
    """Means over the photos, or one photo, by every method at every noise level."""
    row = image.removeprefix("kodim") or "average"
    for recipe, title, column, why in KODAK_METHODS:
        for sigma in KODAK_SIGMAS:
            if (recipe == "dncnn-25" and sigma != 25) or (column, sigma) == ("TNRD", 35):
                continue  # no such network
            if (not recipe and metric != "psnr") or (image and not (recipe and column)):
                continue  # nothing to show
            name = f"{recipe}-{sigma}" if recipe.startswith("denoiser") else recipe
            paper = None
            if column and metric == "psnr":
                paper = published.number("liu2018-kodak", row, f"sigma {sigma} {column}")
                reason = STRONGER if recipe == "cbm3d" and sigma == 35 else why
            else:
                reason = "the paper prints PSNR only" if column else why
            group = f"{title}, photo {row}" if image else title
            place = name, KODAK, KODAK_PROTOCOL.name
            yield Line(group, f"sigma {sigma}", metric, *place, paper, why=reason, image=image)


KODAK_TABLE = Experiment(
    "liu2018-kodak",
    "Denoising of 24 Kodak photos (paper A, Table 1)",
    (
        Section(
            "means",
            KODAK_PROTOCOL.title,
            KODAK_PROTOCOL.rules,
            [line for metric in QUALITY for line in kodak_lines(metric)],
        ),
        Section(
            "photos",
            "photo by photo",
            KODAK_PROTOCOL.rules,
            [line for number in range(1, 25) for line in kodak_lines("psnr", f"kodim{number:02}")],
        ),
    ),
    trials=kodak_trials,
    sets=(KODAK,),
)

# One network for all strengths of noise, on photos as files hold them

ALL_SIGMAS = (2, 3, 5, 10, 15, 25, 35, 50, 75)
ALL_METHODS = {
    "noisy": "noisy photo",
    "dncnn-blind": "DnCNN for any sigma",
    "denoiser-25": "paper A, for sigma 25",
    "denoiser-35": "paper A, for sigma 35",
    "denoiser-50": "paper A, for sigma 50",
    "denoiser-all": "paper A's network, told sigma",
}


def files_protocol(*sigmas: int) -> EvaluationProtocol:
    """Middles of photos under noise of some levels, clipped and rounded as a file holds them; so many suffice."""
    plain = gaussian_noise(*sigmas)
    rules = {
        "input": "the middle 256 x 256 pixels plus Gaussian noise, clipped and rounded to 8 bit",
        "result": "clipped and rounded to 8 bit",
        "measured on": "all RGB pixels, no border",
    }

    def prepare(item, sigma, generator):
        clean = images.centre_crop(item.image, 256)
        return images.from_uint8(images.to_uint8(noise.gaussian(clean, sigma, generator))), clean

    def measure(restored, clean, sigma):
        return quality(("psnr",), restored, clean, RGB)

    title = "photos with noise, as files hold them"
    return replace(plain, name="noisy-files", title=title, rules=rules, prepare=prepare, measure=measure)


FILES_PROTOCOL = files_protocol(*ALL_SIGMAS)


def all_strengths_trials(sets: Sequence[str], tier: str) -> Iterator[Trial]:
    """The network for all strengths, those for one, CBM3D, DnCNN for any sigma, and nothing; the last at ``smoke``."""
    yield trial("noisy", lambda: unchanged, KODAK, FILES_PROTOCOL, seed=0)
    if tier == "smoke":
        return
    for weights in cards():
        if weights.recipe == "denoiser-all":
            told = partial(as_model, protocol=FILES_PROTOCOL)
            yield of_checkpoint(weights, told, KODAK, FILES_PROTOCOL, checkpoint=weights.name)
        elif weights.recipe in ALL_METHODS:
            protocol = files_protocol(int(weights.recipe.rpartition("-")[2]))
            yield of_checkpoint(weights, as_model, KODAK, protocol, checkpoint=weights.name)
    network = runs.available("dncnn-blind", partial(author_network, "blind"))
    if network is not None:
        yield trial("dncnn-blind", partial(as_model, network), KODAK, FILES_PROTOCOL, seed=0)
    if has_cbm3d():
        yield trial("cbm3d", lambda: given_sigma(baselines.cbm3d, FILES_PROTOCOL), KODAK, FILES_PROTOCOL, seed=0)


ALL_STRENGTHS_TABLE = Experiment(
    "denoiser-all",
    "One denoiser for all strengths of noise (Kodak)",
    (
        section(
            FILES_PROTOCOL,
            ("psnr",),
            ALL_METHODS,
            {KODAK: ""},
            keep=lambda line: not line.recipe[9:].isdigit() or line.condition == f"sigma {line.recipe[9:]}",
        ),
    ),
    trials=all_strengths_trials,
    sets=(KODAK,),
)

# Section 3.1: what the choices are worth, each undone alone and trained again with several seeds

ABLATION_SEEDS = (0, 1, 2)
ABLATION_TITLES = {
    "as-it-is": "the paper's choices",
    "sum": "fusion by sum",
    "pool": "max pooling",
    "two-scales": "two scales",
    "one-scale": "one scale",
    "no-residual": "predicts the image itself",
}


def ablation_trials(sets: Sequence[str], tier: str) -> Iterator[Trial]:
    """Every choice with every seed; a training that was stopped goes on where it was, in ``runs/``."""
    for seed in ABLATION_SEEDS:  # outside, so that a stopped command leaves all choices equally far
        for name, recipe in zip(CHOICES, ABLATIONS, strict=True):
            own = training.at_tier(recipe, tier)
            size = sum(p.numel() for p in build(own.architecture()).parameters())

            def model(own=own, seed=seed) -> Models:
                home = Path("runs") / f"{own.name}__{tier}__seed{seed}"
                run = training.fit(own, home, seed=seed, speed=fastest(best_device()), quiet=True)
                return as_model(run.averaged["denoiser"].cpu())

            settings = {"choice": ABLATION_TITLES[name], "parameters": size}
            for dataset in sets:
                yield trial(own.name, model, dataset, AWGN_25, seed=seed, steps=own.steps, settings=settings)


ABLATION_TABLE = Experiment(
    "denoiser-ablation",
    "Choices of the multi-scale denoiser, undone one by one (CBSD68)",
    (section(AWGN_25, ("psnr", "ssim"), {f"ablation-{n}": t for n, t in ABLATION_TITLES.items()}, {"cbsd68": ""}),),
    trials=ablation_trials,
    sets=("cbsd68",),
    other_sets=True,
)

EXPERIMENTS = (SMALL_DENOISER, KODAK_TABLE, ALL_STRENGTHS_TABLE, ABLATION_TABLE)
