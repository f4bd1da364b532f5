"""Paper B's Track 2 on photos of our own: real ones, which nobody degraded for the occasion.

Pairs of a photo and a smaller one of the same place, taken with another zoom, say how near a method comes. Phone photos
have nothing to compare with; what can be measured there is measured on the pairs as well, where it can be seen what it
is worth.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor, nn

from restore_lib import data, images, metrics, tiers
from restore_lib.data.opening import Item
from restore_lib.errors import DataError
from restore_lib.experiments import realsr_experiment, runs
from restore_lib.experiments.protocols import EvaluationProtocol, Model
from restore_lib.experiments.realsr_experiment import CONDITION
from restore_lib.experiments.records import RunRecord, save
from restore_lib.fast.tiling import upscale
from restore_lib.pretrained import load
from restore_lib.realsr import hidden_camera

PAIRS, PHONES = "realsr_x4_crops", "phone_photos"
SIDE = 256  # pixels of a phone photo: each method takes seconds, the authors' networks half a minute
INDICES: Mapping[str, Callable[[Tensor], float]] = MappingProxyType(
    {"brisque": metrics.brisque, "noise_level": metrics.noise_level, "blur": metrics.blur}
)
AUTHORS = realsr_experiment.AUTHORS | {"realsr-df2k-jpeg": "RealSR for JPEG pictures, authors' model"}
WORTH = {
    "result": "clipped and rounded to 8 bit",
    "BRISQUE": "package brisque, lower is better; trained on opinions of noise, blur and JPEG, not of invented texture",
    "noise level": "white noise with as much fine detail, in levels of 255; interpolated noise is not fine",
    "blur index": "0 sharp, 1 blurred; noise and invented texture count as sharp",
}
PAIR_RULES = {
    "low resolution": "128 x 128 pixels from the middle of a photo by a Canon or a Nikon, whose zoom made it small; "
    "25 of the 100 test pairs of the data set RealSR (which is not the method)",
    "high resolution": "the same place with four times the zoom, 512 x 512 pixels",
    "not corrected": "pairs as their authors registered them, to a fraction of a pixel; some differ by several levels "
    "of 255 in brightness",
    "measured on": "RGB without a border of 4 pixels, LPIPS with AlexNet; indices on the whole result",
} | WORTH
PHONE_RULES = {
    "photos": f"{SIDE} x {SIDE} pixels, or what there is, from the middle of each phone photo as it was stored, JPEG",
    "reference": "none",
} | WORTH


def middle(photo: Float[Tensor, "3 h w"], side: int = SIDE) -> Float[Tensor, "3 oh ow"]:
    """The middle of a photo, at most ``side`` pixels wide and high."""
    height, width = (min(n, side) for n in photo.shape[-2:])
    top, left = ((n - size) // 2 for n, size in zip(photo.shape[-2:], (height, width), strict=True))
    return photo[:, top : top + height, left : left + width]


def prepare_pair(item: Item, scale: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The small photo and the large one of the same place."""
    return item.read("lr"), item.image


def prepare_phone(item: Item, scale: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The middle of a phone photo, and a black picture that has the size of the result and no other use."""
    lr = middle(item.image)
    height, width = (hidden_camera.SCALE * n for n in lr.shape[-2:])
    return lr, lr.new_zeros(()).expand(3, height, width)


def measure_pair(sr: Float[Tensor, "3 h w"], hr: Float[Tensor, "3 h w"], scale: float = 4.0) -> dict[str, float]:
    """PSNR, SSIM and LPIPS as in Track 1, and what can be measured without the large photo."""
    return realsr_experiment.measure(sr, hr) | measure_alone(sr, hr)


def measure_alone(sr: Float[Tensor, "3 h w"], hr: Float[Tensor, "3 h w"], scale: float = 4.0) -> dict[str, float]:
    """What can be measured of a result alone; the second argument is not looked at."""
    rounded = images.from_uint8(images.to_uint8(sr.clamp(0, 1)))
    return {name: index(rounded) for name, index in usable().items()}


@cache
def usable() -> dict[str, Callable[[Tensor], float]]:
    """Indices that can run here; says on stderr what cannot."""
    found = dict(INDICES)
    try:
        found["brisque"](torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)))
    except DataError as error:
        print(f"restore: left out BRISQUE. {error}", file=sys.stderr)
        del found["brisque"]
    return found


ONE = {CONDITION: float(hidden_camera.SCALE)}
TITLES = {PAIRS: "pairs by two zooms of a camera (RealSR's test set)", PHONES: "phone photos, without reference"}
PROTOCOLS = {
    PAIRS: EvaluationProtocol("track2-pairs", TITLES[PAIRS], PAIR_RULES, ONE, prepare_pair, measure_pair),
    PHONES: EvaluationProtocol("track2-phones", TITLES[PHONES], PHONE_RULES, ONE, prepare_phone, measure_alone),
}
REFERENCE = replace(
    PROTOCOLS[PAIRS], prepare=lambda item, scale, generator: (item.image, item.image), measure=measure_alone
)


def tables(
    folder: Path | str,
    *,
    sets: Iterable[str] | None = None,
    tier: str | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> list[Path]:
    """Every trained network and authors' model on real photos; parameters as for `runs.bicubic`.

    Left out, with a line on stderr: authors' models that have not been imported, and BRISQUE without its package. At
    tier ``smoke`` only interpolation runs.

    Raises
    ------
    DataError
        Photos or the weights of LPIPS are not on this computer, or a set is none of the two.
    CheckpointError
        A checkpoint is damaged.
    """
    sets = list(sets or PROTOCOLS)
    if not set(sets) <= set(PROTOCOLS):
        raise DataError(f"This table is about {', '.join(PROTOCOLS)}: give some of these to --sets.")
    quickly = (tier or tiers.current()) == "smoke"
    methods = [("bicubic", realsr_experiment.bicubic, {"tier": tier}), *([] if quickly else networks(tier))]
    photos = {name: len(data.open(name)) for name in sets}
    tell = runs.counted(progress, sum(photos.values()) * len(methods) + photos.get(PAIRS, 0))
    written = []
    for name in sets:
        for recipe, model, said in methods:
            written.append(save(run(recipe, model, name, progress=tell, **said), folder))
        if name == PAIRS:
            written.append(save(run("reference", large_itself, name, REFERENCE, tier=tier, progress=tell), folder))
    return written


def networks(tier: str | None = None) -> list[tuple[str, Model, dict[str, object]]]:
    """Name, model and what a record says about it, of authors' models and trained networks on this computer."""
    theirs = realsr_experiment.imported(AUTHORS)
    found = [(name, as_model(network), {"tier": tier}) for name, network in theirs.items()]
    for card in realsr_experiment.trained():
        found.append((card.recipe, as_model(load(card.name)), realsr_experiment.about(card)))
    return found


def as_model(network: nn.Module) -> Model:
    """A network as evaluation calls it, window by window: memory does not grow with the photo."""
    network = network.eval()
    return lambda lr, size: upscale(network, lr)


def large_itself(given: Float[Tensor, "3 h w"], size: tuple[int, int]) -> Float[Tensor, "3 h w"]:
    """The large photo of a pair as it is: what a perfect method would get from the indices."""
    return given


def run(
    recipe: str,
    model: Model,
    dataset: str,
    protocol: EvaluationProtocol | None = None,
    *,
    settings: Mapping[str, object] | None = None,
    **about: object,
) -> RunRecord:
    """One method on one of the two sets; the record says which version of the package judged."""
    judged = {"brisque": version("brisque")} if "brisque" in usable() else {}
    return runs.run(
        recipe, model, dataset, protocol or PROTOCOLS[dataset], settings={**(settings or {}), **judged}, **about
    )
