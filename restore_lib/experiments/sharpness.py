"""What joint training does to photographs: Kodak by denoisers that learnt with a network that sees, or alone."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from restore_lib import data, tiers
from restore_lib.denoising import denoise
from restore_lib.errors import DataError
from restore_lib.experiments import kodak, runs, vision
from restore_lib.experiments.records import save
from restore_lib.pretrained import card

SIGMA = 30
CASES = {
    f"half-denoiser-{SIGMA}": "denoiser of photos",
    f"scenes-separate-{SIGMA}": "drawn scenes, trained separately",
    f"scenes-classify-{SIGMA}": "drawn scenes, jointly, to classify",
    f"scenes-segment-{SIGMA}": "drawn scenes, jointly, to segment",
    f"tiny-separate-{SIGMA}": "Tiny ImageNet, trained separately",
    f"tiny-classify-{SIGMA}": "Tiny ImageNet, jointly, to classify",
    f"camvid-separate-{SIGMA}": "CamVid, trained separately",
    f"camvid-segment-{SIGMA}": "CamVid, jointly, to segment",
}
"""Recipes whose checkpoints the table compares, and what they were trained on."""
METRICS = ("psnr", "ssim", "lpips_alex", "detail", "fine_power")


def fine(x: Float[Tensor, "*c h w"]) -> Float[Tensor, "*c h w"]:
    """What is left of a picture without its averages over 5 x 5 pixels; at the border over those there are."""
    return x - functional.avg_pool2d(x, 5, 1, 2, count_include_pad=False)


def detail_metrics(restored: Tensor, clean: Tensor, sigma: float) -> dict[str, float]:
    """The metrics of `kodak.kodak_metrics`, and two about detail, in percent.

    ``detail`` is how much of the clean photo's fine structure is in the result, by regression: 100 for the photo
    itself, 0 for a blur, whatever else is in it. ``fine_power`` is the power of the result's own fine structure, right
    or wrong, as a share of the clean photo's.
    """
    ours, true = (fine(x[..., 3:-3, 3:-3].double()) for x in (restored.clamp(0, 1), clean))
    power = true.square().sum()
    shares = {"detail": (ours * true).sum() / power, "fine_power": ours.square().sum() / power}
    return kodak.kodak_metrics(restored, clean, sigma) | {name: 100 * float(share) for name, share in shares.items()}


PROTOCOL = replace(
    kodak.protocol(SIGMA),
    name="kodak-sharpness",
    title="paper A's rules for Kodak, and how much detail is left",
    measure=detail_metrics,
)


def table(
    folder: Path | str,
    *,
    sets: Iterable[str] | None = None,
    tier: str | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> list[Path]:
    """Every denoiser on the Kodak photos; parameters as for `runs.bicubic`. At tier ``smoke`` only one.

    Raises
    ------
    DataError
        Kodak's photos or the weights of LPIPS are not on this computer.
    CheckpointError
        A checkpoint is missing or damaged.
    """
    if set(sets or [kodak.DATASET]) != {kodak.DATASET}:
        raise DataError(f"This table is about {kodak.DATASET} alone: leave out --sets.")
    recipes = list(CASES)[: 1 if (tier or tiers.current()) == "smoke" else None]
    tell = runs.counted(progress, len(recipes) * len(data.open(kodak.DATASET)))
    written = []
    for recipe in recipes:
        known = card(f"{recipe}-cpu")
        network = vision.network(known.name)
        record = runs.run(
            recipe,
            lambda given, size, network=network: denoise(network, given),
            kodak.DATASET,
            PROTOCOL,
            seed=0,
            steps=known.steps,
            tier=known.tier,
            settings={"checkpoint": known.name, "sha256": known.sha256},
            progress=tell,
        )
        written.append(save(record, folder))
    return written
