"""Is collected noise like the camera's? Its statistics beside those of true, injected and Gaussian noise."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType

import torch

from restore_lib import data
from restore_lib.errors import DataError
from restore_lib.experiments import runs
from restore_lib.experiments.records import Measurement, save
from restore_lib.realsr.noise_pool import NoiseRule
from restore_lib.realsr.noise_statistics import compare

PROTOCOL = "noise-statistics"
SETS: Mapping[str, NoiseRule] = MappingProxyType(
    {
        "polyu_crops": NoiseRule(patch=64, stride=64),
        "dnd_noisy": NoiseRule(patch=64, stride=64, adaptive=1.5),
        "phone_photos": NoiseRule(patch=64, stride=64),
    }
)
KINDS = {
    "camera": "true noise, everywhere",
    "there": "true noise where the rule keeps patches",
    "collected": "collected",
    "injected": "collected, put into other photos",
    "gaussian": "Gaussian of the same strength",
}
METRICS = {
    "sigma": "Sigma",
    "luma share": "Luma's share of the variance",
    "red-green": "Red with green",
    "green-blue": "Green with blue",
    "across 1": "Next pixel",
    "across 2": "Next but one",
    "fine": "Power in fine details",
    "dark sigma": "Sigma in the dark",
    "bright sigma": "Sigma in the bright",
}
RULES = {
    "patches": "64 x 64 pixels of a grid, luma variance below 20; for DND, the adaptive rule with factor 1.5",
    "measured on": "crops of 32 x 32 pixels, each channel without its mean, at most 1,000 evenly chosen ones",
    "true noise": "noisy photo minus the mean of many exposures; PolyU alone has it",
    "strength": "standard deviation of a channel on the scale 0 to 255; dark and bright: a third of the crops each",
}


def noise_tables(
    folder: Path | str,
    *,
    sets: Iterable[str] | None = None,
    tier: str | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> list[Path]:
    """The statistics of every kind of noise of three sets of photos; parameters as for `runs.bicubic`.

    Raises
    ------
    DataError
        A set is not on this computer, or none of the three.
    """
    sets = list(sets or SETS)
    if not set(sets) <= set(SETS):
        raise DataError(f"This table is about {', '.join(SETS)}: give some of these to --sets.")
    written = []
    for name in sets:
        begun, items = time.monotonic(), data.open(name)
        pairs = all("noisy" in item.parts for item in items)
        found = compare(
            [(item.name, item.read("noisy" if pairs else "image")) for item in items],
            SETS[name],
            means=[item.image for item in items] if pairs else None,
            generator=torch.Generator().manual_seed(0),
        )
        measured = [
            Measurement(kind, metric, round(value, 6))
            for kind, values in found.items()
            for metric, value in values.items()
        ]
        where = {"dataset": name, "images": [item.name for item in items], "protocol": PROTOCOL, "rules": RULES}
        settings = asdict(SETS[name])
        written.append(
            save(runs.described("noise", measured, begun, **where, seed=0, settings=settings, tier=tier), folder)
        )
        if progress:
            progress(name, len(sets))
    return written
