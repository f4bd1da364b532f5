"""Run records: what was run, on what, and what came out, one JSON file a run.

A number that is not in a record does not exist: tables, pages and chapters read these files and nothing else.
"""

import json
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from restore_lib.errors import RecordError
from restore_lib.files import atomic_write

DECIMALS = 6  # what is kept of a value: far below what any metric means


@dataclass(frozen=True)
class Measurement:
    """One metric under one condition.

    Attributes
    ----------
    condition : str
        What varies inside a run: ``"x2"`` for a scale, ``"sigma 25"`` for a noise level.
    metric : str
        Name of the metric: ``"psnr"``, ``"ssim"``, ``"lr_psnr"``, ``"accuracy"``, ...
    value : float
        The number for tables: the mean of ``per_image`` where the metric is one number an image.
    per_image : sequence of float
        In the order of the record's ``images``; empty for metrics of a whole set (mean IoU, accuracy).
    """

    condition: str
    metric: str
    value: float
    per_image: Sequence[float] = ()

    @property
    def spread(self) -> float | None:
        """Standard deviation over images; None where there are fewer than two."""
        return statistics.stdev(self.per_image) if len(self.per_image) > 1 else None


def measurement(condition: str, metric: str, per_image: Iterable[float]) -> Measurement:
    """A measurement from one value an image: rounded, and averaged."""
    kept = tuple(round(float(value), DECIMALS) for value in per_image)
    return Measurement(condition, metric, mean(kept), kept)


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean as records store it."""
    return round(math.fsum(values) / len(values), DECIMALS)


@dataclass(frozen=True)
class RunRecord:
    """Everything needed to believe a number, or to doubt it.

    Attributes
    ----------
    recipe : str
        What was run: the name of a method without training, or of a training recipe.
    tier : str
        How much work it was allowed (see ``restore_lib.tiers``).
    seed : int or None
        Of everything random; None where nothing is. Each seed has a record of its own, see :func:`over_seeds`.
    steps : int
        Training steps that were done; 0 without training.
    dataset, dataset_hash : str
        Name of the image set, and SHA-256 over its files.
    images : sequence of str
        Names of its pictures in the order of ``per_image`` values.
    protocol : str
        Name of the evaluation protocol.
    rules : mapping
        The protocol spelled out, so that a record can be read without the code.
    versions : mapping
        Of the libraries that can change the result.
    device : str
        Where it ran.
    seconds : float
        Wall time.
    finished : str
        When, as an ISO date and time in UTC.
    commit : str
        Of the library; ends in ``-dirty`` when its files differed from that commit, ``unknown`` outside git.
    measurements : sequence of Measurement
    settings : mapping
        Fields of the recipe that were used; empty for a method without any.
    """

    recipe: str
    tier: str
    seed: int | None
    steps: int
    dataset: str
    dataset_hash: str
    images: Sequence[str]
    protocol: str
    rules: Mapping[str, str]
    versions: Mapping[str, str]
    device: str
    seconds: float
    finished: str
    commit: str
    measurements: Sequence[Measurement]
    settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def file(self) -> str:
        """Name of its file. A repetition overwrites; another set, protocol, seed or amount of training does not."""
        parts = [self.recipe, self.dataset, self.protocol]
        if self.steps:
            parts.append(self.tier)
        if self.seed is not None:
            parts.append(f"seed{self.seed}")
        return "__".join(re.sub(r"[^a-z0-9._+-]+", "-", part.lower()) for part in parts) + ".json"

    def find(self, condition: str, metric: str) -> Measurement | None:
        """The measurement of ``metric`` under ``condition``, or None."""
        return next((m for m in self.measurements if (m.condition, m.metric) == (condition, metric)), None)

    @property
    def conditions(self) -> list[str]:
        """Conditions in the order in which they were run."""
        return list(dict.fromkeys(m.condition for m in self.measurements))


@dataclass(frozen=True)
class OverSeeds:
    """Mean and standard deviation over runs that differ in their seed (``spread`` is None for a single run)."""

    value: float
    spread: float | None
    runs: int


def over_seeds(records: Iterable[RunRecord], condition: str, metric: str, image: str = "") -> OverSeeds | None:
    """What repeated runs say about a number together, or None when none of them measured it.

    The number is the mean over the set, or that of one picture when ``image`` names it.

    Raises
    ------
    ValueError
        The records differ in more than their seed, so that averaging them means nothing.
    """
    records = list(records)
    kinds = {(r.recipe, r.tier if r.steps else "", r.dataset, r.dataset_hash, r.protocol) for r in records}
    if len(kinds) > 1:
        raise ValueError(f"records to be averaged may differ in their seed only, got {sorted(kinds)}")
    measured = [(record, m) for record in records if (m := record.find(condition, metric)) is not None]
    if image:
        measured = [(record, m) for record, m in measured if m.per_image and image in record.images]
        found = [m.per_image[record.images.index(image)] for record, m in measured]
    else:
        found = [m.value for _, m in measured]
    if not found:
        return None
    return OverSeeds(mean(found), statistics.stdev(found) if len(found) > 1 else None, len(found))


def save(record: RunRecord, folder: Path | str) -> Path:
    """Write a record into ``folder`` under its own name; never leaves half a file.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    RecordError
        The record holds something that could not be read back (NaN, a mean that is not the mean, ...).
    RestoreError
        The disk is full or the folder cannot be written to.
    """
    path = Path(folder) / record.file
    content = asdict(record)
    check(content, path)
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    # One line for each list of numbers or names: a file of a hundred images stays readable, and so does its diff.
    text = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda m: "[" + re.sub(r",\n\s+", ", ", m[1]) + "]", text)
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return path


def load(path: Path | str) -> RunRecord:
    """Read one record, strictly.

    Raises
    ------
    RecordError
        The file is missing, damaged, renamed, or does not hold what a record must hold.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_not_a_number)
    except OSError as error:
        raise RecordError(f"{path} cannot be read ({error.strerror}): run its table again.") from error
    except ValueError as error:  # truncated JSON, NaN, bytes that are no text
        raise RecordError(f"{path} is damaged ({error}): restore it from version control or run it again.") from error
    check(content, path)
    measurements = tuple(
        Measurement(m["condition"], m["metric"], float(m["value"]), tuple(float(v) for v in m["per_image"]))
        for m in content["measurements"]
    )
    content |= {"measurements": measurements, "images": tuple(content["images"]), "seconds": float(content["seconds"])}
    record = RunRecord(**content)
    if path.name != record.file:
        raise RecordError(f"{path} holds the record of {record.file}: give it that name, or delete it.")
    return record


def load_all(folder: Path | str) -> list[RunRecord]:
    """All records of a folder, by file name; an empty list when it does not exist.

    Raises
    ------
    RecordError
        One of the files is not a good record.
    """
    return [load(path) for path in sorted(Path(folder).glob("*.json"))]


def results_folder() -> Path:
    """Where records are kept: ``results/`` of the repository that holds this library, else of the current folder."""
    root = Path(__file__).resolve().parent.parent.parent
    return (root if (root / "pyproject.toml").exists() else Path.cwd()) / "results"


def _not_a_number(text: str):
    raise ValueError(f"{text} is no result")


def check(content: object, path: Path | str) -> None:
    """Refuse what is not the content of a record.

    Raises
    ------
    RecordError
        One sentence that names the file and the first thing that is wrong.
    """
    problem = next(_problems(content), None)
    if problem:
        raise RecordError(f"{path} is not a good run record: {problem}. Run it again, or mend the file.")


KINDS = {"seed": (int, type(None)), "steps": int, "seconds": (int, float)}
KINDS |= dict.fromkeys(("images", "measurements"), (list, tuple)) | dict.fromkeys(
    ("rules", "versions", "settings"), dict
)


def _problems(content):
    """What is wrong with the JSON content of a record, in words."""
    if not isinstance(content, dict):
        yield "it is not one JSON object"
        return
    for known in fields(RunRecord):
        if known.name not in content:
            yield f"the field {known.name} is missing"
            continue
        value = content[known.name]
        if not isinstance(value, KINDS.get(known.name, str)) or isinstance(value, bool):
            yield f"the field {known.name} is {value!r}"
        elif known.name != "settings" and value in ("", [], (), {}):
            yield f"the field {known.name} is empty"
    unknown = sorted(set(content) - {f.name for f in fields(RunRecord)})
    if unknown:
        yield f"the field {unknown[0]} is unknown"
    if not (math.isfinite(content["seconds"]) and content["seconds"] >= 0 and content["steps"] >= 0):
        yield "seconds and steps must not be negative"
    if not re.fullmatch(r"[0-9a-f]{64}", content["dataset_hash"]):
        yield "dataset_hash is not a SHA-256"
    if len(set(content["images"])) != len(content["images"]):
        yield "two images have the same name"
    seen = set()
    for number, found in enumerate(content["measurements"], 1):
        for problem in _measurement_problems(found, len(content["images"])):
            yield f"measurement {number}: {problem}"
        if (found["condition"], found["metric"]) in seen:
            yield f"measurement {number}: {found['metric']} under {found['condition']} is there twice"
        seen.add((found["condition"], found["metric"]))


def _measurement_problems(found, images: int):
    wanted = {f.name for f in fields(Measurement)}
    if not isinstance(found, dict) or set(found) != wanted:
        yield f"it must have the fields {', '.join(sorted(wanted))}"
        return
    numbers = [found["value"], *found["per_image"]]
    if any(isinstance(n, bool) or not isinstance(n, int | float) or not math.isfinite(n) for n in numbers):
        yield "a value is not a finite number"
    elif found["per_image"] and len(found["per_image"]) != images:
        yield f"{len(found['per_image'])} values for {images} images"
    elif found["per_image"] and found["value"] != mean(found["per_image"]):
        yield f"value {found['value']} is not the mean {mean(found['per_image'])} of its images"
