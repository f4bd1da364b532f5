"""Paper B's Table 1 on an experiment of our own: photos degraded in a way that no method knows."""

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor, nn

from restore_lib import data, metrics, tiers
from restore_lib.data.opening import Item
from restore_lib.errors import DataError
from restore_lib.experiments import kernel_study, runs
from restore_lib.experiments.protocols import EvaluationProtocol, Model, evaluate
from restore_lib.experiments.records import Measurement, RunRecord, save
from restore_lib.fast.tiling import upscale
from restore_lib.pretrained import Card, cards, load, load_published, longest
from restore_lib.realsr import hidden_camera
from restore_lib.realsr.recipes import SR
from restore_lib.realsr.rrdbnet import interpolate_networks
from restore_lib.realsr.zssr import k_zssr, zssr
from restore_lib.realsr.zssr_settings import BICUBIC, K_ZSSR, K_ZSSR_REAL, REAL, ZSSRSettings, quick
from restore_lib.resampling import imresize
from restore_lib.training.precision import has_bfloat16

WORLD = "photos"
DATASET = hidden_camera.photo_sets(WORLD).test[0]
RULE = metrics.Protocol("rgb", hidden_camera.SCALE, True, "the hidden degradation", "track 1")
CONDITION = "x4"
METRICS = ("psnr", "ssim", "lpips_alex")
SPREADS = ("psnr_spread", "lpips_alex_spread")
EDSR, ESRGAN, REALSR, STAGE_1 = "edsr-l1-bicubic", "rrdb-gan-bicubic", "rrdb-gan-both", "rrdb-l1-both"
ENDS = ("rrdb-l1-noise", "rrdb-gan-noise")  # noise alone: the released code's way for Track 1
AUTHORS = {"realsr-df2k": "RealSR, authors' model", "realesrgan-x4plus": "Real-ESRGAN, authors' model"}
FEW = 4  # photos that each get a network of their own
SETTINGS: Mapping[str, ZSSRSettings] = MappingProxyType(
    {
        "zssr": quick(BICUBIC),
        "zssr-real": quick(REAL),
        "k-zssr": quick(K_ZSSR),
        "k-zssr-real": quick(K_ZSSR_REAL),
    }
)
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
RULES = {
    "high resolution": "Kodak's photos, cut to a multiple of 4",
    "low resolution": "MATLAB's bicubic reduction by 4, a blur by an anisotropic Gaussian (standard deviations of 0.4 "
    "to 1 pixel), half of the noise of photos of DND that training never sees, 8 bit; another blur and noise for each",
    "result": "clipped and rounded to 8 bit",
    "measured on": "RGB without a border of 4 pixels, LPIPS with AlexNet",
}


def prepare(item, scale: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A test photo's degraded reduction, which is always the same one, and the photo."""
    pair = hidden_camera.unseen_pair(item, WORLD)
    return pair.lr, pair.hr


def measure(sr: Float[Tensor, "3 h w"], hr: Float[Tensor, "3 h w"], scale: float = 4.0) -> dict[str, float]:
    """PSNR, SSIM and LPIPS of the rounded result, all without the border."""
    b = hidden_camera.SCALE
    sr, hr = (((x.clamp(0, 1) * 255).round() / 255)[..., b:-b, b:-b] for x in (sr, hr))
    rule = replace(RULE, border=0)
    return {
        "psnr": metrics.psnr(sr, hr, rule),
        "ssim": metrics.ssim(sr, hr, rule),
        "lpips_alex": metrics.lpips(sr, hr, net="alex"),
    }


PROTOCOL = EvaluationProtocol("track1-here", "a Track 1 of our own (Kodak)", RULES, {CONDITION: 4.0}, prepare, measure)
FEW_PROTOCOL = replace(
    PROTOCOL,
    name="track1-few",
    title=f"methods that train on each photo ({FEW} of 24)",
    rules=RULES | {"photos": f"{FEW} of 24, because each gets a training of its own"},
)
BETWEEN = replace(
    PROTOCOL,
    name="track1-between",
    title="between the network of absolute differences and the GAN's",
    rules=RULES | {"share": "of the GAN generator in each weight"},
    conditions={f"share {share:g}": share for share in SHARES},
)


PRECISION = replace(
    PROTOCOL,
    name="track1-precision",
    title="what bfloat16 costs",
    rules=RULES
    | {
        "bf16": "convolutions multiply in bfloat16, everything else in float32",
        "bf16 against exact": "measured against the exact result, not the photo",
    },
    conditions={"exact": 0.0, "bf16": 1.0, "bf16 against exact": 2.0},
)


def tables(
    folder: Path | str,
    *,
    sets: Iterable[str] | None = None,
    tier: str | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> list[Path]:
    """Every method that can run here on the test photos; parameters as for `runs.bicubic`.

    Left out, with a line on stderr: authors' models that have not been imported. At tier ``smoke`` only interpolation
    runs.

    Raises
    ------
    DataError
        Photos or the weights of LPIPS are not on this computer.
    CheckpointError
        A checkpoint is damaged.
    """
    if set(sets or [DATASET]) != {DATASET}:
        raise DataError(f"This table is about {DATASET} alone: leave out --sets.")
    quickly = (tier or tiers.current()) == "smoke"
    known = [] if quickly else trained()
    networks = {} if quickly else imported()
    ends = [] if quickly else between(known)
    rounded = [] if quickly else to_round(known, networks)
    few = [] if quickly else list(SETTINGS)
    count = len(data.open(DATASET))
    whole = 1 + len(known) + len(networks) + len(ends) + len(rounded)
    total = count * whole + min(FEW, count) * (1 + len(few))
    tell = runs.counted(progress, total)
    written = [save(run("bicubic", bicubic, tier=tier, progress=tell), folder)]
    for name, network in networks.items():
        written.append(save(run(name, as_model(network), tier=tier, progress=tell), folder))
    for one in known:
        written.append(save(run_checkpoint(one, progress=tell), folder))
    for first, second in ends:
        written.append(save(run_between(first, second, progress=tell), folder))
    for recipe, network, said in rounded:
        written.append(save(run_precision(recipe, network, progress=tell, **{"tier": tier} | said), folder))
    for recipe in ["bicubic", *few]:
        written.append(save(run_few(recipe, tier=tier, progress=tell), folder))
    return written


def bicubic(lr: Float[Tensor, "3 h w"], size: tuple[int, int]) -> Float[Tensor, "3 oh ow"]:
    """Bicubic interpolation."""
    return imresize(lr, size=size)


def as_model(network: nn.Module) -> Model:
    """A network as evaluation calls it: one photo at a time."""
    network = network.eval()
    return lambda lr, size: network(lr[None])[0].float()


def run(recipe: str, model: Model, **about: object) -> RunRecord:
    """One method on all test photos, with the spread over photos."""
    return spread(runs.run(recipe, model, DATASET, PROTOCOL, **about))


def spread(record: RunRecord) -> RunRecord:
    """A record with the standard deviations over photos as measurements of their own."""
    more = []
    for name in SPREADS:
        found = record.find(CONDITION, name.removesuffix("_spread"))
        if found and len(found.per_image) > 1:
            more.append(Measurement(CONDITION, name, round(statistics.stdev(found.per_image), 6)))
    return replace(record, measurements=(*record.measurements, *more))


def trained() -> list[Card]:
    """Checkpoints of the experiment's recipes: of each the longest training, with every seed."""
    return longest(cards(), (recipe.name for recipe in SR))


def about(card: Card) -> dict[str, object]:
    """What a record says about a checkpoint."""
    return {
        "seed": card.seed,
        "steps": card.steps,
        "tier": card.tier,
        "settings": {"checkpoint": card.name, "sha256": card.sha256},
    }


def run_checkpoint(card: Card, progress: Callable[[str], None] | None = None) -> RunRecord:
    """A trained network on all test photos."""
    return run(card.recipe, as_model(load(card.name)), progress=progress, **about(card))


def imported(titles: Mapping[str, str] | None = None) -> dict[str, nn.Module]:
    """Authors' networks that are on this computer; ``titles`` says which to look for."""
    found = {}
    for name, title in (AUTHORS if titles is None else titles).items():
        try:
            found[name] = load_published(name)
        except DataError as error:
            print(f"restore: left out {title}. {error}", file=sys.stderr)
    return found


def between(known: Iterable[Card]) -> list[tuple[Card, Card]]:
    """The two ends of the curve between networks, where both are there at one tier."""
    known = list(known)
    ends = [(a, b) for a in known for b in known if (a.recipe, b.recipe) == ENDS and a.tier == b.tier]
    return ends[:1]


def run_between(first: Card, second: Card, progress: Callable[[str], None] | None = None) -> RunRecord:
    """Networks between stage 1 and stage 2 on all test photos: a condition for each share."""
    ends = load(first.name), load(second.name)
    models = {name: as_model(interpolate_networks(*ends, share)) for name, share in BETWEEN.conditions.items()}
    said = about(second) | {"settings": {"first": first.name, "second": second.name, "sha256": second.sha256}}
    return runs.run(f"{ENDS[1]}-between", models, DATASET, BETWEEN, progress=progress, **said)


def to_round(known: Iterable[Card], networks: Mapping[str, nn.Module]) -> list[tuple[str, nn.Module, dict]]:
    """RealSR's networks, ours and the authors', with what a record says; none where bfloat16 is not native."""
    if not has_bfloat16(torch.device("cpu")):
        print("restore: left out what bfloat16 costs. This processor does not multiply in it.", file=sys.stderr)
        return []
    ours = next((card for card in known if card.recipe == REALSR), None)  # of several seeds, one
    found = [] if ours is None else [(ours.recipe, load(ours.name), about(ours))]
    return found + [(name, network, {}) for name, network in networks.items() if name == "realsr-df2k"]


def run_precision(recipe: str, network: nn.Module, **about: object) -> RunRecord:
    """A network on all test photos exactly and in bfloat16, and how far the two results are from each other."""
    network, kept = network.eval(), {}  # what belongs to one photo, which is asked for three times in a row

    def prepared(item: Item, way: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        if kept.get("name") != item.name:
            kept.clear()
            kept["name"], kept["pair"] = item.name, prepare(item, way, generator)
        lr, hr = kept["pair"]
        return (lr, enlarged(lr, "exact")) if way == PRECISION.conditions["bf16 against exact"] else (lr, hr)

    def enlarged(lr: Tensor, precision: str) -> Tensor:
        if precision not in kept:
            kept[precision] = upscale(network, lr, precision=precision)
        return kept[precision]

    models = {
        name: lambda lr, size, p=precision: enlarged(lr, p)
        for name, precision in zip(PRECISION.conditions, ("exact", "bf16", "bf16"), strict=True)
    }
    return runs.run(f"{recipe}-precision", models, DATASET, replace(PRECISION, prepare=prepared), **about)


def run_few(
    recipe: str,
    *,
    seed: int = 0,
    tier: str | None = None,
    settings: ZSSRSettings | None = None,
    progress: Callable[[str], None] | None = None,
) -> RunRecord:
    """A method that trains on each photo, on a few of them, evenly chosen."""
    begun, photos = time.monotonic(), data.open(DATASET)
    count = min(FEW, len(photos))
    chosen = [photos[i * len(photos) // count] for i in range(count)]
    settings = settings or SETTINGS.get(recipe)
    model = bicubic if settings is None else lambda lr, size: enlarged(recipe, lr, settings, seed)
    measured = evaluate(model, chosen, FEW_PROTOCOL, progress=progress)
    return runs.described(
        recipe,
        measured,
        begun,
        dataset=DATASET,
        images=[item.name for item in chosen],
        protocol=FEW_PROTOCOL.name,
        rules=FEW_PROTOCOL.rules,
        seed=seed if settings else None,
        steps=settings.steps if settings else 0,
        settings=asdict(settings) if settings else {},
        tier=tier,
    )


@torch.enable_grad()
def enlarged(
    recipe: str, lr: Float[Tensor, "3 h w"], settings: ZSSRSettings, seed: int = 0
) -> Float[Tensor, "3 oh ow"]:
    """A photo enlarged by ZSSR, with bicubic's kernel or KernelGAN's."""
    if recipe.startswith("zssr"):
        return zssr(lr, (2, 4), None, settings, seed=seed).sr
    kernel = kernel_study.estimated([lr], seed=seed)[0].kernel
    return k_zssr(lr, kernel, hidden_camera.SCALE, settings, seed=seed).sr
