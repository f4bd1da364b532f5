"""Run a method over image sets and write what came out as run records."""

import platform
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import Tensor

from restore_lib import __version__, data, tiers
from restore_lib.experiments import protocols
from restore_lib.experiments.protocols import EvaluationProtocol, Model, evaluate
from restore_lib.experiments.records import Measurement, RunRecord, save
from restore_lib.resampling import imresize, resize_antialiased

LIBRARIES = ("torch", "numpy", "pillow", "scipy", "scikit-image", "lpips")
BICUBIC_SETS = ("set5", "set14", "b100", "urban100_every8th")


def run(
    recipe: str,
    model: Model | Mapping[str, Model],
    dataset: str,
    protocol: EvaluationProtocol,
    *,
    seed: int | None = None,
    steps: int = 0,
    settings: Mapping[str, object] | None = None,
    tier: str | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[[str], None] | None = None,
) -> RunRecord:
    """Evaluate a method on an image set and describe the run; nothing is written.

    Parameters
    ----------
    recipe
        Name of the method or training recipe.
    model, dataset, protocol, device, progress
        As for :func:`evaluate`; ``dataset`` is a name that :func:`restore_lib.data.open` knows.
    seed
        Of the run; None for a method without chance.
    steps, settings
        Training steps behind the model, and the recipe's fields.
    tier
        The current one by default.

    Raises
    ------
    DataError
        The image set is not on this computer; the message says how to fetch it.
    """
    begun, pictures = time.monotonic(), data.open(dataset)
    measured = evaluate(model, pictures, protocol, seed=seed or 0, device=device, progress=progress)
    names = [item.name for item in pictures]
    where = {"dataset": dataset, "images": names, "protocol": protocol.name, "rules": protocol.rules}
    return described(
        recipe, measured, begun, **where, seed=seed, steps=steps, settings=settings, tier=tier, device=device
    )


def described(
    recipe: str,
    measured: Sequence[Measurement],
    begun: float,
    *,
    dataset: str,
    images: Sequence[str],
    protocol: str,
    rules: Mapping[str, str],
    seed: int | None = None,
    steps: int = 0,
    settings: Mapping[str, object] | None = None,
    tier: str | None = None,
    device: torch.device | str = "cpu",
) -> RunRecord:
    """Measurements with everything around them that a record wants; ``begun`` is what ``time.monotonic`` said then."""
    pictures = data.open(dataset)
    return RunRecord(
        recipe=recipe,
        tier=tier or tiers.current(),
        seed=seed,
        steps=steps,
        dataset=pictures.name,
        dataset_hash=pictures.digest(),
        images=tuple(images),
        protocol=protocol,
        rules=rules,
        versions=versions(),
        device=device_name(device),
        seconds=round(time.monotonic() - begun, 1),
        finished=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        commit=commit(),
        measurements=tuple(measured),
        settings=settings or {},
    )


def counted(progress: Callable[[str, int], None] | None, total: int) -> Callable[[str], None]:
    """What :func:`evaluate` reports an image to, out of what a table reports images of ``total`` to."""
    return lambda image: progress(image, total) if progress is not None else None


def bicubic_models() -> dict[str, Model]:
    """Bicubic enlargement as each protocol's own code does it: MATLAB's, or that of torchvision and Pillow."""
    return {
        "classic": lambda lr, size: imresize(lr, size=size),
        "liif": lambda lr, size: imresize(lr, size=size),
        "diinn": lambda lr, size: resize_antialiased(lr, size),
    }


def bicubic(
    folder: Path | str,
    *,
    sets: Iterable[str] | None = None,
    tier: str | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> list[Path]:
    """Bicubic interpolation under every protocol, one record for each image set and protocol.

    Parameters
    ----------
    folder
        Where the records go.
    sets
        Names of image sets; by default the four benchmarks, and Set5 alone at tier ``smoke``.
    tier
        The current one by default.
    progress
        Called after each image and protocol, with its name and how many there are in all.

    Returns
    -------
    list of Path
        The files that were written.

    Raises
    ------
    DataError
        A set is not on this computer: said before the first minute of work, not after it.
    """
    sets = list(sets or tiers.pick(smoke=BICUBIC_SETS[:1], cpu=BICUBIC_SETS, tier=tier))
    total = sum(len(data.open(name)) for name in sets) * len(bicubic_models())
    written = []
    for name in sets:
        for protocol, model in bicubic_models().items():

            def tell(image: str, where: str = f"{name}, {protocol}") -> None:
                if progress is not None:
                    progress(f"{where}: {image}", total)

            record = run("bicubic", model, name, protocols.PROTOCOLS[protocol], tier=tier, progress=tell)
            written.append(save(record, folder))
    return written


def equal_error(
    folder: Path | str,
    *,
    sets: Iterable[str] | None = None,
    tier: str | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> list[Path]:
    """Seven distortions of equal squared error, seen by PSNR, SSIM and LPIPS; parameters as for :func:`bicubic`.

    Raises
    ------
    DataError
        A set or the weights of LPIPS are not on this computer; the message says how to fetch them.
    """
    sets = list(sets or ["embedded"])
    total = sum(len(data.open(name)) for name in sets)

    tell = counted(progress, total)

    def as_it_is(given: Tensor, size: tuple[int, int]) -> Tensor:
        return given

    return [save(run("none", as_it_is, name, protocols.EQUAL_ERROR, tier=tier, progress=tell), folder) for name in sets]


def versions() -> dict[str, str]:
    """Versions of Python, of this library and of those that can change a result."""
    found = {"python": platform.python_version(), "restore_lib": __version__}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found | {"torch": torch.__version__}  # which names the build, too: +cpu, +cu130


def device_name(device: torch.device | str) -> str:
    """What computed: the GPU's model, or the CPU's architecture and number of threads."""
    if torch.device(device).type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    return f"{torch.device(device).type}: {platform.machine()}, {torch.get_num_threads()} threads"


def commit() -> str:
    """Commit of the library's code, with ``-dirty`` when its files differ from it; ``unknown`` outside git."""
    package = Path(__file__).resolve().parent.parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(package), *words], capture_output=True, text=True, timeout=30)
        if done.returncode:
            raise OSError(done.stderr)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # else some other project's repository lies around it
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
