"""Run records: what was run, on what, and what came out, one JSON file a run.

A number that is not in a record does not exist: tables, pages and chapters read these files and nothing else.
"""

import json
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated

import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from restore_lib import metrics
from restore_lib.errors import RecordError
from restore_lib.files import atomic_write

DECIMALS = 6  # what is kept of a value: far below what any metric means
STRICT = ConfigDict(strict=True, extra="forbid")
Text = Annotated[str, Field(min_length=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Words = Annotated[Mapping[str, str], Field(min_length=1)]


@dataclass(frozen=True)
class Measurement:
    """One metric under one condition."""

    __pydantic_config__ = STRICT

    condition: Text  #: What varies inside a run: ``"x2"`` for a scale, ``"sigma 25"`` for a noise level.
    metric: Text  #: ``"psnr"``, ``"ssim"``, ``"accuracy"``, ...
    value: Finite  #: For tables: the mean of ``per_image`` where the metric is one number an image.
    per_image: tuple[Finite, ...] = ()  #: In the order of the record's images; empty for metrics of a whole set.

    @property
    def spread(self) -> float | None:
        """Standard deviation over images; None where there are fewer than two."""
        return stdev(self.per_image)


def measurement(condition: str, metric: str, per_image: Iterable[float]) -> Measurement:
    """A measurement from one value an image: rounded, and averaged."""
    values = tuple(round(float(value), DECIMALS) for value in per_image)
    return Measurement(condition, metric, mean(values), values)


def of_set(condition: str, metric: str, value: float) -> Measurement:
    """A measurement that is one number for the whole set, rounded."""
    return Measurement(condition, metric, round(float(value), DECIMALS))


def mean(values: Sequence[float]) -> float:
    return round(math.fsum(values) / len(values), DECIMALS)


def stdev(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None


@dataclass(frozen=True)
class RunRecord:
    """Everything needed to believe a number, or to doubt it."""

    __pydantic_config__ = STRICT

    recipe: Text  #: A training recipe, or the name of a method without training.
    tier: Text  #: How much work it was allowed (see ``restore_lib.tiers``).
    seed: int | None  #: Of everything random. Each seed has a record of its own, see :func:`over_seeds`.
    steps: Annotated[int, Field(ge=0)]  #: Of training.
    dataset: Text
    dataset_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]  #: SHA-256 over its files.
    images: Annotated[tuple[str, ...], Field(min_length=1)]  #: Pictures in the order of ``per_image`` values.
    protocol: Text
    rules: Words  #: The protocol spelled out, so that a record can be read without the code.
    versions: Words  #: Of the libraries that can change the result.
    device: Text
    seconds: Annotated[Finite, Field(ge=0)]  #: Wall time.
    finished: Text  #: ISO date and time in UTC.
    commit: Text  #: Of the library; ``-dirty`` when files differed from it, ``unknown`` outside git.
    measurements: Annotated[tuple[Measurement, ...], Field(min_length=1)]
    settings: Mapping[str, object] = field(default_factory=dict)  #: Fields of the recipe that were used.

    @property
    def file(self) -> str:
        """Name of its file. A repetition overwrites; another set, protocol, seed or amount of training does not."""
        parts = [self.recipe, self.dataset, self.protocol, *([self.tier] if self.steps else [])]
        parts += [] if self.seed is None else [f"seed{self.seed}"]
        return "__".join(re.sub(r"[^a-z0-9._+-]+", "-", part.lower()) for part in parts) + ".json"

    def find(self, condition: str, metric: str) -> Measurement | None:
        """The measurement of ``metric`` under ``condition``, or None."""
        return next((m for m in self.measurements if (m.condition, m.metric) == (condition, metric)), None)

    @property
    def conditions(self) -> list[str]:
        """Conditions in the order in which they were run."""
        return list(dict.fromkeys(m.condition for m in self.measurements))


RECORD = TypeAdapter(RunRecord)


def save(record: RunRecord, folder: Path | str) -> Path:
    """Write a record into ``folder`` under its own name; never leaves half a file.

    RecordError where it could not be read back (NaN, a mean that is not the mean, ...), RestoreError for a full disk.
    """
    path = Path(folder) / record.file
    text = json.dumps(asdict(record), indent=1, ensure_ascii=False)
    parse(text, path)
    # One line for each list of numbers or names: a file of a hundred images stays readable, and so does its diff.
    text = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda m: "[" + re.sub(r",\n\s+", ", ", m[1]) + "]", text)
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return path


def load(path: Path | str) -> RunRecord:
    """Read one record, strictly; RecordError where it is missing, damaged, renamed or not what a record must be."""
    path = Path(path)
    try:
        record = parse(path.read_bytes(), path)
    except OSError as error:
        raise RecordError(f"{path} cannot be read ({error.strerror}): run its table again.") from error
    if path.name != record.file:
        raise RecordError(f"{path} holds the record of {record.file}: give it that name, or delete it.")
    return record


def load_all(folder: Path | str | None = None) -> list[RunRecord]:
    """All records of a folder (:func:`results_folder` by default), by file name, read as by :func:`load`."""
    paths = sorted(Path(folder or results_folder()).glob("*.json"))
    return [_unchanged(path, path.stat().st_mtime_ns) for path in paths]


@cache
def _unchanged(path: Path, modified: int) -> RunRecord:
    """A record that pages ask for many times, read once as long as its file stays the same."""
    return load(path)


def results_folder() -> Path:
    """``results/`` of the repository, or that came with the installed library, or else of the current folder."""
    package = Path(__file__).resolve().parent.parent
    if (package.parent / "pyproject.toml").exists():
        return package.parent / "results"
    return package / "results" if (package / "results").is_dir() else Path.cwd() / "results"


def parse(text: str | bytes, path: Path) -> RunRecord:
    """The record that a file's text holds; RecordError names the file and the first thing that is wrong."""
    try:
        record = RECORD.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}".lstrip(": ")
    else:
        problem = inconsistency(record)
        if not problem:
            return record
    raise RecordError(f"{path} is damaged ({problem}): restore it from version control or run it again.")


def inconsistency(record: RunRecord) -> str:
    """What does not agree inside a record, in words; empty where all does."""
    names = [f"{m.metric} under {m.condition}" for m in record.measurements]
    if len(set(record.images)) != len(record.images) or len(set(names)) != len(names):
        return "two images or two measurements have the same name"
    for name, m in zip(names, record.measurements, strict=True):
        if m.per_image and len(m.per_image) != len(record.images):
            return f"{name} has {len(m.per_image)} values for {len(record.images)} images"
        if m.per_image and m.value != mean(m.per_image):
            return f"{name} is {m.value}, not the mean {mean(m.per_image)} of its images"
    return ""


@dataclass(frozen=True)
class OverSeeds:
    """Mean and standard deviation over runs that differ in their seed (``spread`` is None for a single run)."""

    value: float
    spread: float | None
    runs: int


def over_seeds(records: Iterable[RunRecord], condition: str, metric: str, image: str = "") -> OverSeeds | None:
    """What repeated runs say about a number together, or None when none of them measured it.

    The number is the mean over the set, or that of one picture when ``image`` names it. ValueError where records differ
    in more than their seed, so that averaging them means nothing.
    """
    records = list(records)
    kinds = {(r.recipe, r.tier if r.steps else "", r.dataset, r.dataset_hash, r.protocol) for r in records}
    if len(kinds) > 1:
        raise ValueError(f"records to be averaged may differ in their seed only, got {sorted(kinds)}")
    measured = [(record, m) for record in records if (m := record.find(condition, metric))]
    values = [m.value for _, m in measured]
    if image:
        values = [m.per_image[r.images.index(image)] for r, m in measured if m.per_image and image in r.images]
    return OverSeeds(mean(values), stdev(values), len(values)) if values else None


@dataclass(frozen=True)
class PairedDifference:
    """The first method's mean minus the second's, in units of the metric."""

    mean: float
    low: float  #: Of the 95 % bootstrap interval over pictures.
    high: float
    pictures: int  #: How many both methods were measured on.

    @property
    def sure(self) -> bool:
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return f"{self.mean:+.1f} ({self.low:+.1f} to {self.high:+.1f})"


def paired_difference(
    records: Sequence[RunRecord], first: str, second: str, dataset: str, condition: str, metric: str
) -> PairedDifference | None:
    """Which of two methods is better on the same pictures: a paired comparison, picture by picture.

    ``first`` and ``second`` are recipes (``"joint+classifier-tiny"``); the metric must have one value a picture
    (``"top1_each"``), and values over draws of the noise are averaged first. None when one of the two was not measured;
    ValueError where the records hold the metric under more than one protocol.
    """
    one, two = (by_picture(records, name, dataset, condition, metric) for name in (first, second))
    shared = [name for name in one if name in two]
    if not shared:
        return None
    differences = torch.tensor([one[name] - two[name] for name in shared], dtype=torch.float64)
    low, high = metrics.bootstrap(differences, torch.mean)
    return PairedDifference(float(differences.mean()), low, high, len(shared))


def by_picture(
    records: Sequence[RunRecord], recipe: str, dataset: str, condition: str, metric: str
) -> dict[str, float]:
    """One value for each picture: the mean over the records, which differ in their draw of the noise."""
    found = [(r, m) for r in records if (r.recipe, r.dataset) == (recipe, dataset) and (m := r.find(condition, metric))]
    if len(protocols := sorted({record.protocol for record, _ in found})) > 1:
        raise ValueError(f"{metric} of {recipe} under {' and '.join(protocols)}: give the records of one")
    values: dict[str, list[float]] = {}
    for record, m in found:
        for name, value in zip(record.images, m.per_image, strict=True):
            values.setdefault(name, []).append(value)
    return {name: sum(each) / len(each) for name, each in values.items()}
