"""Every recipe of super-resolution by name: one for each kind of pairs and stage, and what changes one thing.

A name says the network, the stage, and how LR images are made. ``rrdb-gan-bicubic`` is ESRGAN in the small,
``rrdb-gan-both`` RealSR, ``edsr-l1-bicubic`` EDSR; the others leave something out, or change one thing.
"""

from collections.abc import Mapping
from typing import Any

from restore_lib.realsr.sr_recipes import GAN, PIXELS, PUBLISHED, GANRecipe, SRRecipe
from restore_lib.training.recipes import Kind, variant


def recipe(
    base: Kind, name: str, title: str, start: str = "", tiers: Mapping[str, Mapping] | None = None, **values
) -> Kind:
    """A recipe that starts from what another recipe kept at the same tier.

    Parameters
    ----------
    base, name, title
        As for :func:`restore_lib.training.recipes.variant`.
    start : str
        Name of that recipe; empty: fresh weights. At tier smoke they are fresh in any case.
    tiers : mapping, optional
        Further values at some tiers.
    **values : (value, source)
        Fields that differ at every tier that does not set them.
    """
    if start:
        values["start"] = (f"{start}-cpu", "official code: ESRGAN's weights for PSNR, here our own stage before")
    own = {}
    for tier, fields in base.tiers.items():
        begun = {"start": f"{start}-{tier}"} if start and tier in ("gpu", "paper") else {}
        own[tier] = {**fields, **begun, **(tiers or {}).get(tier, {})}
    return variant(base, name, title, own, **values)


TITLES = {
    "bicubic": "bicubic pairs",
    "kernel": "estimated kernels, no noise",
    "noise": "collected noise, bicubic reduction",
    "both": "estimated kernels and collected noise",
    "wrong-noise": "estimated kernels and other cameras' noise",
    "uncleaned": "as both, sources not cleaned up",
    "learned": "pairs made by DSGAN",
    "scales": "as both, noise collected at two sizes",
}
CHANGED = {
    "wrong-noise": {"camera": ("wrong", "ours: what is tried out")},
    "uncleaned": {"clean_up": (1, "ours: what is tried out")},
    "learned": {"way": ("learned", "ours: the other way that the paper names"), "learned": ("dsgan-cpu", "ours")},
    "scales": {"noise_scales": ((1.0, 0.5), "ours: what is tried out")},
}
LARGER = {"learned": {tier: {"learned": f"dsgan-{tier}"} for tier in ("gpu", "paper")}}


def _values(pairs: str) -> dict[str, tuple[Any, str]]:
    return CHANGED.get(pairs, {"way": (pairs, "paper Table 1 and its ablation")})


def _stage_1(pairs: str) -> SRRecipe:
    """Stage 1 on one kind of pairs; all but the bicubic ones go on from the bicubic one."""
    name, title = f"rrdb-l1-{pairs}", f"RRDB, absolute differences, {TITLES[pairs]}"
    if pairs == "bicubic":
        return recipe(PIXELS, name, title, **_values(pairs))
    further = {"steps": (500, "ours: goes on from bicubic pairs"), "learning_rate": (5e-4, "ours: goes on")}
    tiers = {tier: dict(LARGER.get(pairs, {}).get(tier, {})) for tier in ("gpu", "paper")}
    tiers["gpu"]["steps"] = 10_000
    return recipe(PIXELS, name, title, "rrdb-l1-bicubic", tiers, **_values(pairs), **further)


def _stage_2(pairs: str, suffix: str = "", words: str = "", **values: tuple[Any, str]) -> GANRecipe:
    """Stage 2 on one kind of pairs, from stage 1 on the same kind; as released, from that on bicubic pairs."""
    name = "-".join(filter(None, ["rrdb-gan", pairs, suffix]))
    title = ", ".join(filter(None, [f"RRDB, GAN, {TITLES[pairs]}", words]))
    paper: dict[str, Any] = {"start": "rrdb-l1-bicubic-paper"}
    if pairs == "bicubic":  # ESRGAN
        paper |= {"judge": "vgg", "steps": 400_000, "halved": (50_000, 100_000, 200_000, 300_000), "decay": 0.999}
    changed = {field: value for field, (value, _) in values.items()}
    learned = LARGER.get(pairs, {})
    tiers = {"gpu": {**learned.get("gpu", {}), **changed}, "paper": {**learned.get("paper", {}), **paper, **changed}}
    return recipe(GAN, name, title, f"rrdb-l1-{pairs}", tiers, **_values(pairs), **values)


STAGE_1 = tuple(_stage_1(pairs) for pairs in TITLES)
STAGE_2 = tuple(_stage_2(pairs) for pairs in TITLES)
"""One recipe of each stage for each kind of pairs: what the table compares."""

EDSR_BICUBIC = recipe(
    PIXELS,
    "edsr-l1-bicubic",
    "EDSR, absolute differences, bicubic pairs",
    tiers={
        "gpu": {"blocks": 16, "width": 64},
        "paper": {
            "blocks": 32,
            "width": 256,
            "size": 192,
            "steps": 300_000,
            "learning_rate": 1e-4,
            "beta2": 0.99,
            "restarts": 1,
            "halved": (200_000,),
        },
    },
    network=("edsr", "paper Table 1"),
    way=("bicubic", "paper Table 1"),
    blocks=(8, "ours; EDSR has 32, its baseline 16"),
    steps=(4000, "ours: half of an RRDB's time; EDSR has 300,000"),
)
JUDGES = (
    _stage_2(
        "both", "vgg-judge", "one judgement a crop", judge=("vgg", "official code of track 1; the paper has patch")
    ),
    _stage_2(
        "both", "joint-batch", "photos and results judged in one batch", together=(True, "ours: what is tried out")
    ),
)
WEIGHTS = (
    _stage_2(
        "both",
        "published-weights",
        "the official code's weights of the losses",
        **{field: (value, "official code") for field, value in PUBLISHED.items()},
    ),
    _stage_2(
        "both", "adversarial-0.02", "weight 0.02 on the judgement", adversarial_weight=(0.02, "ours: what is tried out")
    ),
)
"""Other weights of the losses, for the trade between PSNR and LPIPS."""

SR = (*STAGE_1, *STAGE_2, EDSR_BICUBIC, *JUDGES, *WEIGHTS)

RECIPES = {recipe.name: recipe for recipe in SR}
