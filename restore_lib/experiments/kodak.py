"""Paper A's Table 1: the 24 Kodak photos under noise of sigma 25, 35 and 50, by every method that runs here."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from restore_lib import data, metrics, tiers
from restore_lib.denoising import baselines
from restore_lib.denoising.dncnn import AUTHORS, author_network
from restore_lib.errors import DataError
from restore_lib.experiments import runs
from restore_lib.experiments.keeping import as_model, measure
from restore_lib.experiments.protocols import EvaluationProtocol, Model, gaussian_noise
from restore_lib.experiments.records import save
from restore_lib.pretrained import Card, cards

SIGMAS = (25, 35, 50)
DATASET = "kodak24"
RULE = metrics.Protocol(channels="rgb", border=0, quantize=True)


def kodak_metrics(restored: Tensor, clean: Tensor, sigma: float) -> dict[str, float]:
    """PSNR, SSIM and LPIPS of the clipped result, rounded to 8 bit, without a border of 3 pixels."""
    restored, clean = (x[..., 3:-3, 3:-3] for x in ((restored.clamp(0, 1) * 255).round() / 255, clean))
    return {
        "psnr": metrics.psnr(restored, clean, RULE),
        "ssim": metrics.ssim(restored, clean, RULE),
        "lpips_alex": metrics.lpips(restored, clean, net="alex"),
    }


def protocol(*sigmas: int) -> EvaluationProtocol:
    """The rules of the official code, for some noise levels."""
    plain = gaussian_noise(*sigmas)
    border = {"measured on": "all RGB pixels but a border of 3, which the released network does not return"}
    return replace(
        plain,
        name="liu2018",
        title="paper A's rules for Kodak",
        rules={**plain.rules, **border},
        measure=kodak_metrics,
    )


PROTOCOL = protocol(*SIGMAS)

RECIPES = [f"{variant}-{sigma}" for variant in ("denoiser", "denoiser-paper") for sigma in SIGMAS]


def table1(
    folder: Path | str,
    *,
    sets: Iterable[str] | None = None,
    tier: str | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> list[Path]:
    """Every method that can run here on the Kodak photos; parameters as for `runs.bicubic`.

    Left out, with a line on stderr: CBM3D where its package is not installed, and the authors' DnCNN where their
    weights are not. Networks run from their checkpoints. At tier ``smoke`` only the methods without a network run.

    Raises
    ------
    DataError
        Kodak's photos or the weights of LPIPS are not on this computer.
    CheckpointError
        A checkpoint is damaged.
    """
    if set(sets or [DATASET]) != {DATASET}:
        raise DataError(f"This table is about {DATASET} alone: leave out --sets.")
    quick = (tier or tiers.current()) == "smoke"
    methods = {"noisy": lambda given, size: given, "wavelets": told(baselines.wavelets)}
    if not quick:
        methods |= _cbm3d() | _dncnn()
    trained = [] if quick else checkpoints()
    total = len(data.open(DATASET)) * (len(methods) + len(trained))

    tell = runs.counted(progress, total)
    written = []
    for name, model in methods.items():
        sigmas = (25,) if name == "dncnn-25" else SIGMAS
        record = runs.run(name, model, DATASET, protocol(*sigmas), seed=0, tier=tier, progress=tell)
        written.append(save(record, folder))
    for known in trained:
        found = measure(known.name, [DATASET], protocol(sigma_of(known)), results=folder, progress=tell)
        written += [Path(folder) / record.file for record in found]
    return written


def told(method: Callable[[Tensor, float], Tensor]) -> dict[str, Model]:
    """A method that must know sigma, as one model for each noise level."""
    return {name: lambda given, size, sigma=sigma: method(given, sigma) for name, sigma in PROTOCOL.conditions.items()}


def checkpoints() -> list[Card]:
    """Shipped denoisers for the noise levels of the table."""
    return [known for known in cards() if known.recipe in RECIPES]


def sigma_of(known: Card) -> int:
    """The noise level that a checkpoint was trained for: the end of its recipe's name."""
    return int(known.recipe.rpartition("-")[2])


def _cbm3d() -> dict:
    if find_spec("bm3d"):
        return {"cbm3d": told(baselines.cbm3d)}
    print("restore: left out CBM3D, whose package is not installed: `pip install bm3d`", file=sys.stderr)
    return {}


def _dncnn() -> dict:
    found = {}
    for use in AUTHORS:
        try:
            found[f"dncnn-{use}"] = as_model(author_network(use))
        except DataError as error:
            print(f"restore: left out dncnn-{use}. {error}", file=sys.stderr)
    return found
