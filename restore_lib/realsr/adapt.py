"""Adapt a published network to a camera: RealSR's method on one's own photos [ji2020realsr].

The photos give what Algorithm 1 needs: blur kernels (Sec. 3.2), noise (Sec. 3.3) and, reduced by 2, images to enlarge
to. The network goes on from its published weights with the three losses of Sec. 3.4; pairs of photos that are kept from
training say when to stop, and which weights were best. On a CPU the first blocks stay as they were published.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from restore_lib import files, images, tiers
from restore_lib.errors import CheckpointError, DataError, ImageError
from restore_lib.nets.rrdbnet import RRDBNet
from restore_lib.pretrained import Card, Score, card, checkpoints, load, load_published, published, save_run
from restore_lib.pretrained.model_card import NAME
from restore_lib.realsr.degradation import Degradation, PairedData, clean_up
from restore_lib.realsr.hidden_camera import RULE as ADAPTIVE
from restore_lib.realsr.hidden_camera import SCALE, estimated_kernels, levels, pair_in_levels, thinned
from restore_lib.realsr.kernelgan import KernelSettings
from restore_lib.realsr.losses import LossWeights, PatchDiscriminator, perceptual_network, stage_2_step
from restore_lib.realsr.noise_pool import NoisePool, NoiseRule
from restore_lib.realsr.recipes import LPIPS_NET, validation
from restore_lib.training import fit, read_metrics
from restore_lib.training.precision import best_device, fastest
from restore_lib.training.recipes import Recipe, at_tier, sourced
from restore_lib.training.state import states
from restore_lib.training.task import Task

SMALLEST = 88  # pixels each way of a photo that KernelGAN needs
SMALLEST_HR = 64  # of an HR image: its kernels for x4 have up to 57 cells
PATCHES = 32  # of noise, at most, from one photo: sky fills whole photos
WINDOW = 256  # pixels of a held image each way, at most
HELD = 5  # every fifth photo is held

Tell = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Material:
    """What photos of a camera give to a training."""

    digest: str = ""  #: SHA-256 over the photos
    pairs: PairedData = field(default_factory=lambda: PairedData([], NoisePool()), repr=False)  #: of Algorithm 1
    held: Sequence[tuple[Tensor, Tensor]] = field(default=(), repr=False)  #: (hr, lr) that training does not see
    photos: int = 0  #: how many
    kernels: int = 0

    def __str__(self) -> str:
        return self.digest  # which a run compares before it goes on


def choose(folder: Path, most: int, smallest: int, tell: Tell) -> list[Path]:
    """At most so many photos of a folder, evenly chosen; tells which it leaves out. DataError when none fits."""
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}: name one that holds photos of the camera.")
    fitting, skipped = [], []
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in images.FORMATS):
        try:
            large = min(images.size(path)) >= smallest
        except ImageError:
            large = False
        (fitting if large else skipped).append(path)
    if skipped:
        names = ", ".join(path.name for path in skipped[:5]) + (", ..." if len(skipped) > 5 else "")
        tell(f"Left out, damaged or less than {smallest} pixels wide or high: {names}")
    if not fitting:
        raise DataError(f"{folder} holds no photo of at least {smallest} x {smallest} pixels: name another folder.")
    return thinned(fitting, most)


def prepare(
    recipe: "AdaptRecipe", folder: Path, clean: Path | None = None, *, seed: int = 0, tell: Tell = lambda sentence: None
) -> Material:
    """Kernels, noise and pairs of the photos in a folder: Algorithm 1, photo by photo in little memory.

    ``clean`` is a folder of sharp photos without noise, Algorithm 1's second set. ``seed`` is that of which photo gets
    which kernel, and of the held pairs' noise. ``tell`` is called with a sentence on each step that takes time, and on
    what was left out. DataError when there are too few photos, or no noise in them.
    """
    smallest_hr = max(recipe.size, SMALLEST_HR)
    photos = choose(folder, recipe.most_photos, SMALLEST if clean else recipe.clean_up * smallest_hr, tell)
    if len(photos) < 2:
        raise DataError(f"{folder} holds one photo that is large enough: take two at least, one to train, one to test.")
    others = choose(clean, recipe.most_photos, smallest_hr, tell) if clean else []
    held = {*photos[::-HELD], *others[::-HELD]}
    training = [path for path in photos if path not in held]
    tell(f"Reading {len(photos)} photos of the camera" + (f" and {len(others)} clean ones" if others else ""))
    # The released rule, and for photos that are noisier or smaller an adaptive one with ever smaller patches.
    crop = recipe.size // SCALE
    smallest = replace(ADAPTIVE, patch=min(crop, ADAPTIVE.patch), stride=max(crop // 2, 1))
    pools, windows, sharp = [(rule, NoisePool()) for rule in (NoiseRule(), ADAPTIVE, smallest)], [], []
    for path in photos:
        photo = images.read(path)
        if path in training:
            for rule, pool in pools:
                collect_some(pool, photo, rule, path.name)  # Eq. 7
            if path in thinned(training, recipe.kernel_photos):
                windows.append(images.sharpest_window(photo))
        sharp.append((path, levels(clean_up(photo, recipe.clean_up))))
    sharp += [(path, levels(images.modcrop(images.read(path), SCALE))) for path in others]

    enough = [(rule, pool) for rule, pool in pools if len(pool) >= len(training)]
    rule, pool = enough[0] if enough else max(pools, key=lambda pair: len(pair[1]))
    if not len(pool):
        raise DataError(f"No photo in {folder} has a flat place to collect noise from: add some of sky or walls.")
    if rule != pools[0][0]:
        tell(f"The released rule finds too little noise; taking flat patches of {rule.patch} pixels instead of 256.")
    kernels = camera_kernels(windows, recipe.kernel_steps, tell)  # Eq. 4
    generator = torch.Generator().manual_seed(seed)
    degradation = Degradation(SCALE, kernels, pool)
    pairs = [
        pair_in_levels(path.name, image / 255, degradation, generator)
        for path, image in sharp
        if path not in held and min(image.shape[1:]) >= smallest_hr
    ]
    tiles = [tile for path, image in sharp if path in held for tile in tiled(image / 255)]
    if not (pairs and tiles):
        raise DataError(f"Too few photos have {smallest_hr} pixels each way after the clean-up: add clean photos.")
    content = "".join(f"{path.name} {files.sha256(path)}\n" for path in [*photos, *others])
    return Material(
        digest=hashlib.sha256(content.encode()).hexdigest(),
        pairs=PairedData(pairs, pool, SCALE),
        held=[(hr, degradation.degrade(hr, generator)) for hr in thinned(tiles, recipe.held)],
        photos=len(photos),
        kernels=len(kernels),
    )


def collect_some(pool: NoisePool, photo: Tensor, rule: NoiseRule, name: str) -> None:
    """Add a photo's patches of noise to a pool, at most ``PATCHES`` of them."""
    own = NoisePool()
    own.add(photo, rule, name)
    pool.patches += thinned(own.patches, PATCHES)
    pool.sources += thinned(own.sources, PATCHES)


def camera_kernels(windows: Sequence[Tensor], steps: int, tell: Tell) -> list[Tensor]:
    """KernelGAN's kernels of photos for x4, kept in the cache; none where it finds none: pairs are bicubic then."""
    if not windows:
        return []
    tell(f"Estimating the blur of {len(windows)} photos, about half a minute each, once for all")
    settings = KernelSettings(steps=steps, check_every=max(steps // 15, 1), rate_every=max(steps // 4, 1))
    try:
        return estimated_kernels(windows, settings=settings)
    except DataError as error:
        tell(f"{error} Pairs are reduced bicubically, as in the published training.")
        return []


def tiled(hr: Tensor) -> list[Tensor]:
    """An image in tiles of ``WINDOW`` pixels; all of a smaller one, but none of one that is too small for kernels."""
    if min(hr.shape[1:]) < SMALLEST_HR:
        return []
    rows, columns = (range(0, max(side - WINDOW, 0) + 1, WINDOW) for side in hr.shape[1:])
    return [hr[:, top : top + WINDOW, left : left + WINDOW] for top in rows for left in columns]


@dataclass(frozen=True)
class AdaptRecipe(Recipe):
    """Stage 2 of RealSR from published weights, on pairs of the user's own photos."""

    material: Material = sourced(Material(), "the user's photos", "Pairs to train and to validate with.")
    steps: int = sourced(1000, "ours; the official code has 60,001", "Updates of the weights, at most.")
    batch_size: int = sourced(4, "ours; the official code has 16", "Crops in a step.")
    size: int = sourced(128, "official code", "Side of an HR crop in pixels.")
    start: str = sourced("realsr-df2k", "ours; the official code starts from ESRGAN's", "Weights that it begins with.")
    trained_blocks: int = sourced(5, "ours: no gradient passes the others", "Last blocks that are trained, and after.")
    learning_rate: float = sourced(5e-5, "ours; the official code has 1e-4 from ESRGAN's weights", "Adam's step.")
    warmup: int = sourced(100, "ours: the discriminator is new", "Steps in which the learning rate rises from zero.")
    decay: float = sourced(0.99, "ours", "Of the averaged weights.")
    pixel_weight: float = sourced(0.01, "official code", "Of the absolute differences.")
    feature_weight: float = sourced(1.0, "official code", "Of the loss on features.")
    adversarial_weight: float = sourced(0.005, "official code", "Of the adversarial loss.")
    features: str = sourced("vgg16", "ours: comes with LPIPS; the official code has vgg19", "Of the loss on features.")
    judge_layers: int = sourced(3, "official code: patches of 70 pixels", "Halvings of the discriminator.")
    judge_width: int = sourced(32, "ours; the official code has 64", "Channels of its first convolution.")
    judge_learning_rate: float = sourced(1e-4, "official code", "Of its Adam.")
    clean_up: int = sourced(2, "official code", "Photos are reduced by this to serve as HR images.")
    most_photos: int = sourced(24, "ours", "Photos of the camera, and clean ones, at most.")
    kernel_photos: int = sourced(4, "ours: half a minute each; the paper has all", "Photos whose kernel is estimated.")
    kernel_steps: int = sourced(3000, "official code of KernelGAN", "Of each estimation.")
    held: int = sourced(8, "ours", "Held pairs.")
    validate_every: int = sourced(100, "ours", "Steps between two validations.")
    patience: int = sourced(4, "ours", "Validations in a row without a better one that end the training.")

    def architecture(self) -> Mapping[str, object]:
        """The network as plain data, for the checkpoint's card."""
        return published.architecture_of(begin(self.start))

    def task(self, seed: int) -> Task:
        """Networks, two optimisers, batches and step for the loop."""
        network, judge = begin(self.start), PatchDiscriminator(self.judge_layers, self.judge_width)
        if self.trained_blocks < len(network.blocks):
            network.requires_grad_(False)
            last = network.blocks[-self.trained_blocks :]
            for part in (last, network.body, network.ups, network.detail, network.last):
                part.requires_grad_(True)
        trained = [weight for weight in network.parameters() if weight.requires_grad]
        optimizers: dict[str, torch.optim.Optimizer] = {
            "generator": torch.optim.Adam(trained, self.learning_rate),
            "discriminator": torch.optim.Adam(judge.parameters(), self.judge_learning_rate),
        }
        rate = LambdaLR(optimizers["generator"], lambda step: min((step + 1) / self.warmup, 1.0))
        untrained = self.features == "untrained"  # a try, which needs no published weights
        weights = LossWeights(self.pixel_weight, self.feature_weight, self.adversarial_weight)
        return Task(
            networks={"generator": network, "discriminator": judge},
            optimizers=optimizers,
            schedulers={"generator": rate},
            step=partial(stage_2_step, weights=weights),
            batches=partial(self.material.pairs.crops, batch=self.batch_size, size=self.size, seed=seed),
            validate=validation(self.material.held, "" if untrained else LPIPS_NET),
            frozen={"features": perceptual_network(self.features)},
            average={"generator": self.decay},
            best=("psnr", max) if untrained else ("lpips", min),
            patience=self.patience,
        )


def begin(model: str) -> RRDBNet:
    """The published network or checkpoint that an adaptation begins with; CheckpointError unless an RRDBNet for x4."""
    theirs = {*published.PUBLISHED, *published.imported()}
    network = load_published(model) if model in theirs else load(model)
    if not isinstance(network, RRDBNet) or network.scale != SCALE:
        raise CheckpointError(f"{model} is no RRDBNet that enlarges by {SCALE}: adapt one such as realsr-df2k.")
    return network.train()


SMOKE = {"steps": 4, "batch_size": 2, "size": 32, "trained_blocks": 1, "kernel_photos": 1, "kernel_steps": 30}
SMOKE |= {"features": "untrained", "judge_layers": 2, "judge_width": 8, "held": 2, "validate_every": 2}
GPU = {"steps": 4000, "batch_size": 16, "trained_blocks": 23, "judge_width": 64, "validate_every": 200}
GPU |= {"most_photos": 100, "kernel_photos": 16, "held": 16}
ADAPT = AdaptRecipe(
    name="adapt",
    title="RRDB, GAN, a published network on one's own photos",
    tiers={"smoke": SMOKE, "cpu": {}, "gpu": GPU},
    cost={"smoke": "seconds", "cpu": "an hour or two"},
    stored="float16",
)


def adapt(
    photos: Path | str,
    name: str = "",
    *,
    model: str = "realsr",
    clean: Path | str | None = None,
    tier: str | None = None,
    seed: int = 0,
    max_minutes: float | None = None,
    folder: Path | str | None = None,
    run: Path | str | None = None,
    quiet: bool = True,
    tell: Tell = lambda sentence: None,
    **changes: object,
) -> Card | None:
    """Adapt a published network to the camera of some photos, and keep the result as a named checkpoint.

    Stopped at any moment, the same call goes on where it was.

    Parameters
    ----------
    photos : path
        Folder of photos of one camera as it gives them; two at least, better twenty.
    name : str
        Of the checkpoint, which ``upscale`` takes; by default model and folder, ``"realsr-df2k-FOLDER"``.
    model : str
        A published RRDBNet (``restore weights list``), or a checkpoint of one.
    clean : path, optional
        Folder of sharp photos without noise, of anything. Needed where the camera's are smaller than twice a crop.
    tier : str, optional
        ``"cpu"`` trains the last blocks, ``"gpu"`` all; ``RESTORE_TIER`` by default.
    max_minutes : float, optional
        Train at most so long, and keep the best weights until then.
    folder, run : path, optional
        Where checkpoints are kept, and folder of the training; ``runs/adapt-NAME`` by default.
    tell : callable
        Called with a sentence on each step.
    **changes
        Other values of :class:`AdaptRecipe`'s fields.

    Returns
    -------
    Card or None
        None where no weights were better on the held pairs than those it began with: nothing is kept then.
    """
    photos, tier, model = Path(photos).expanduser(), tier or tiers.current(), published.SHORT_NAMES.get(model, model)
    name = name or f"{model}-{re.sub('[^a-z0-9._+-]+', '-', photos.resolve().name.lower()).strip('-')}"
    if not NAME.fullmatch(name):
        raise CheckpointError(f"A checkpoint cannot be called {name}: use small letters, digits and . _ + -")
    if name in {*checkpoints.names(folder), *published.PUBLISHED, *published.imported()}:
        raise CheckpointError(f"There is a model {name} already: choose another name, or delete it first.")
    begin(model)  # what would fail later fails now
    others = Path(clean).expanduser() if clean else None
    recipe = at_tier(ADAPT, tier, start=model, **changes)
    material = prepare(recipe, photos, others, seed=seed, tell=tell)
    recipe = replace(recipe, material=material, licence=licence(model))
    run = Path(run or f"runs/adapt-{name}")
    used = f"{material.photos} photos, {material.kernels} kernels, {len(material.pairs.noises)} patches of noise"
    tell(f"{used}. Training in {run}: {recipe.steps:,} steps at most, {recipe.cost.get(tier, 'not timed yet')}")
    trained = fit(recipe, run, seed=seed, speed=fastest(best_device()), max_minutes=max_minutes, quiet=quiet)
    if not trained.best or not trained.best["step"]:
        return None
    held = {line["step"]: line for line in read_metrics(run / "metrics.jsonl") if "psnr" in line}
    kept = save_run(
        run,
        recipe,
        tier,
        name,
        (f"photos in {photos.resolve().name}", str(material)),
        folder,
        metrics=[
            Score("held photos", f"{len(material.held)} pairs of Algorithm 1", condition, metric, value)
            for condition, step in ((model, 0), ("adapted", trained.best["step"]))
            for metric, value in held[step].items()
            if metric in ("psnr", "lpips")
        ],
        note=f"{model} adapted to a camera with {used}; the best of {trained.step:,} steps on held photos.",
    )
    for state in states(run):
        state.unlink()
    return kept


def licence(model: str) -> str:
    """The licence of the weights that an adaptation begins with, which is that of the result."""
    if model in published.PUBLISHED:
        return published.PUBLISHED[model].licence
    return card(model).licence if model in checkpoints.names() else "that of the imported file"
