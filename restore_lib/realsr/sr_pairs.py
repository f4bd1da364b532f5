"""Pairs that networks of this room train on, made from degraded sources and clean targets in several ways.

RealSR's Algorithm 1 in pieces that can be left out: LR images reduced bicubically or with estimated kernels, with
collected noise or without; sources cleaned up or taken as they are; the noise of the right cameras or of others.
"""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from restore_lib import files, images
from restore_lib.errors import DataError, TrainingError
from restore_lib.pretrained.architectures import load_network
from restore_lib.realsr import experiment
from restore_lib.realsr.degradation import Degradation, clean_up
from restore_lib.realsr.experiment import RULE, SCALE, dice
from restore_lib.realsr.kernel_estimation import KernelWarning, estimate_kernels
from restore_lib.realsr.kernel_losses import KernelSettings
from restore_lib.realsr.noise_pool import NoisePool, collect
from restore_lib.realsr.pairs import Pair, PairedData
from restore_lib.resampling import imresize

WAYS = ("bicubic", "kernel", "noise", "both", "learned")
CAMERAS = ("right", "wrong")
KERNELS = ("estimated", "true")
SMALLEST = 0.5  # size of the sources at which noise can be collected: patches of 32 pixels are left


@dataclass(frozen=True)
class PairSettings:
    """How pairs are made; recipes say what each field means and where its value comes from."""

    world: str = "photos"
    way: str = "both"
    camera: str = "right"
    kernels: str = "estimated"
    kernel_photos: int = 8
    clean_up: int = 2
    sources: int = 60
    learned: str = ""
    noise_scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        for name, known in (("way", WAYS), ("camera", CAMERAS), ("kernels", KERNELS)):
            if getattr(self, name) not in known:
                raise TrainingError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}.")
        if (self.way == "learned") != bool(self.learned):
            raise TrainingError('The way "learned" needs the checkpoint of a degrading network, and no other way does.')
        if not self.noise_scales or not all(SMALLEST <= scale <= 1 for scale in self.noise_scales):
            raise TrainingError(
                f"noise_scales must be from {SMALLEST} to 1, got {tuple(self.noise_scales)}: smaller patches of noise "
                "than training's crops would never be drawn."
            )
        if self.camera == "wrong" and tuple(self.noise_scales) != (1.0,):
            raise TrainingError("Other cameras' noise is collected at full size alone: leave noise_scales at (1,).")


def make(settings: PairSettings, seed: int = 0) -> PairedData:
    """The paired set: images as levels of 8 bits, as the released code's PNG files; noise is drawn with the crops.

    Parameters
    ----------
    settings : PairSettings
    seed : int
        Of the choice of kernels. The sources are always the same ones.
    """
    degraded = experiment.sources(settings.world, settings.sources)
    pool, kernels = NoisePool(), []
    if settings.way in ("noise", "both"):
        right = settings.camera == "right"
        pool = collect(degraded, RULE, settings.noise_scales) if right else experiment.wrong_noise(settings.world)
        if not len(pool):
            raise DataError("No source has a flat place to collect noise from: take more sources.")
    if settings.way in ("kernel", "both"):
        count = settings.kernel_photos
        chosen = [degraded[i * len(degraded) // count][1] for i in range(min(count, len(degraded)))]
        kernels = estimated(chosen) if settings.kernels == "estimated" else true_kernels(count)
    degradation = Degradation(SCALE, kernels)
    network = load_network(settings.learned) if settings.learned else None
    generator, pairs = torch.Generator().manual_seed(seed), []
    for name, photo in degraded:
        hr = clean_up(photo, settings.clean_up) if settings.clean_up > 1 else images.modcrop(photo, SCALE)
        pairs.append(_pair(name, hr, degradation, network, generator))
    for item in experiment.target_items(settings.world):
        pairs.append(_pair(item.name, images.modcrop(item.image, SCALE), degradation, network, generator))
    return PairedData(pairs, pool, SCALE)


def _pair(name: str, hr: Tensor, degradation: Degradation, network, generator: torch.Generator) -> Pair:
    hr = images.from_uint8(images.to_uint8(hr))  # what LR images are made of is what they are compared with
    if network is None:
        made = degradation.pair(name, hr, generator)
    else:
        with torch.no_grad():
            made = Pair(name, hr, network(imresize(hr, scale=1 / SCALE).clamp(0, 1)[None])[0].clamp(0, 1))
    levels = (torch.from_numpy(images.to_uint8(x)).permute(2, 0, 1).contiguous() for x in (made.hr, made.lr))
    return Pair(name, *levels, made.kernel)


def true_kernels(count: int, seed: int = 1) -> list[Float[Tensor, "_ _"]]:
    """Kernels for x4 drawn from the hidden degradation itself, which no method can do: an upper bound."""
    return [experiment.x4_kernel(experiment.draw_kernel(dice(seed, str(i)))) for i in range(count)]


def estimated(photos: Sequence[Float[Tensor, "3 _ _"]], seed: int = 0) -> list[Float[Tensor, "_ _"]]:
    """KernelGAN's kernels of photos for x4, kept in the cache; without those that its diagnostics complain of.

    About half a minute a photo where they are not in the cache yet. On a noisy photo an estimation may fail: there are
    fewer kernels than photos then.

    Raises
    ------
    DataError
        No estimation succeeded.
    """
    settings = KernelSettings()
    content = hashlib.sha256(f"{settings} {seed} {SCALE}".encode())
    for photo in photos:
        content.update(f"{tuple(photo.shape)}".encode() + photo.contiguous().numpy().tobytes())
    path = files.cache_folder() / "kernelgan" / f"pool-{content.hexdigest()[:32]}.npz"
    kernels = _read(path)
    if kernels is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", KernelWarning)  # those are left out below
            made = [one for one in estimate_kernels(photos, SCALE, seed, settings=settings, strict=False) if one]
        kernels = [one.kernel for one in made if not one.diagnostics.problems] or [one.kernel for one in made]
        if not kernels:
            raise DataError(f"KernelGAN found no kernel in {len(photos)} photos: take more, or less noisy ones.")
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.atomic_write(path) as temporary, Path(temporary).open("wb") as out:
            np.savez(out, **{f"kernel{i}": kernel.numpy() for i, kernel in enumerate(kernels)})
    return kernels


def _read(path: Path) -> list[Tensor] | None:
    """Kept kernels; None where there are none, or the file is damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            return [torch.from_numpy(kept[f"kernel{i}"]) for i in range(len(kept.files))] or None
    except (OSError, ValueError, KeyError, EOFError):
        return None
