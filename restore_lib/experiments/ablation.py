"""What paper A's choices are worth: each undone alone, trained again with several seeds, all for equally many steps."""

from collections.abc import Callable, Iterable
from pathlib import Path

from restore_lib import data, tiers, training
from restore_lib.denoising.recipes import ABLATIONS, CHOICES
from restore_lib.experiments import protocols, runs
from restore_lib.experiments.keeping import as_model
from restore_lib.experiments.records import save
from restore_lib.training.precision import best_device, fastest

DATASET = "cbsd68"
SEEDS = (0, 1, 2)
PROTOCOL = protocols.gaussian_noise(25)
TITLES = {
    "as-it-is": "the paper's choices",
    "sum": "fusion by sum",
    "pool": "max pooling",
    "two-scales": "two scales",
    "one-scale": "one scale",
    "no-residual": "predicts the image itself",
}


def denoiser_ablation(
    folder: Path | str,
    *,
    sets: Iterable[str] | None = None,
    tier: str | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> list[Path]:
    """Train every choice with every seed, or go on where training stopped, and measure; as for `runs.bicubic`.

    Runs lie in ``runs/``: stopped at any time, the same command goes on.

    Raises
    ------
    TrainingError
        A run's folder holds another run.
    DataError
        The photos are not on this computer.
    """
    tier = tier or tiers.current()
    sets = list(sets or [DATASET])
    speed, written = fastest(best_device()), []
    total = len(ABLATIONS) * len(SEEDS) * sum(len(data.open(name)) for name in sets)

    for seed in SEEDS:  # outside, so that a stopped command leaves all choices equally far
        for name, recipe in zip(CHOICES, ABLATIONS, strict=True):
            own = training.at_tier(recipe, tier)
            home = Path("runs") / f"{recipe.name}__{tier}__seed{seed}"
            run = training.fit(own, home, seed=seed, speed=speed, quiet=True)
            network = run.averaged["denoiser"].cpu()
            settings = {"choice": TITLES[name], "parameters": sum(p.numel() for p in network.parameters())}
            for dataset in sets:
                record = runs.run(
                    recipe.name,
                    as_model(network),
                    dataset,
                    PROTOCOL,
                    seed=seed,
                    steps=own.steps,
                    settings=settings,
                    tier=tier,
                    progress=runs.counted(progress, total),
                )
                written.append(save(record, folder))
    return written
