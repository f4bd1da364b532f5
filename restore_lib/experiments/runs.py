"""Run experiments: measure methods on image sets, and write what came out as run records.

:func:`evaluate` measures a method on images under an :class:`EvaluationProtocol`. An :class:`Experiment` is a table of
the book that can be measured: it lists its :class:`Trial` s, one for each record, and :func:`run` goes through them.
"""

import sys
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from restore_lib import data, images, tiers
from restore_lib.errors import DataError
from restore_lib.experiments.ledger import Protocol, Table
from restore_lib.experiments.records import Measurement, RunRecord, load_all, measurement, save
from restore_lib.pretrained import Card, Score, card, provenance, update_card
from restore_lib.pretrained import load as load_network

Model = Callable[[Float[Tensor, "c h w"], tuple[int, int]], Float[Tensor, "c H W"]]
Models = Model | Mapping[str, Model]
Tell = Callable[[str], None]
T = TypeVar("T")
PICTURES = "pictures"  # folder of kept results, beside the records


@dataclass(frozen=True)
class EvaluationProtocol(Protocol):
    """How a method is tested: the same pair of images can differ by 2 dB under two of these."""

    #: ``prepare(item, value, generator)`` reads an item of a data set and returns the method's input and the target,
    #: (c, h, w) and (c, H, W) in [0, 1], for one value of ``conditions``; the generator is for random parts.
    prepare: Callable
    #: ``measure(restored, target, value)`` returns metrics by name.
    measure: Callable[[Tensor, Tensor, float], Mapping[str, float]]


def evaluate(
    model: Models,
    dataset: Iterable,
    protocol: EvaluationProtocol,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Tell | None = None,
    keep: Callable[[str, Tensor, Tensor], None] | None = None,
) -> list[Measurement]:
    """Run a method over a data set and measure what comes out, one value an image for each condition and metric.

    ``model(given, size)`` returns the restored image (c, H, W) from ``given`` (c, h, w) in [0, 1], which is put on
    ``device``, and ``size`` (H, W); values may leave [0, 1]. Or one model for each condition: ``{"sigma 25": ...}``. An
    image, an item of ``data.open``, gets the same noise by the same ``seed`` whichever others are tested. ``progress``
    is called after each image with its name, ``keep`` with its name, each result and what it should have been.
    ValueError for a result of the wrong size.
    """
    values: dict[tuple[str, str], list[float]] = {}
    for item in dataset:
        for condition, value in protocol.conditions.items():
            generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {item.name} {condition}".encode()))
            given, target = protocol.prepare(item, value, generator)
            method = model[condition] if isinstance(model, Mapping) else model
            with torch.no_grad():
                restored = method(given.to(device), tuple(target.shape[-2:])).to("cpu", target.dtype)
            if restored.shape != target.shape:
                shapes = f"{tuple(restored.shape)}, the protocol expects {tuple(target.shape)}"
                raise ValueError(f"{item.name} at {condition}: the method returned {shapes}")
            if keep:
                keep(item.name, restored, target)
            for metric, number in protocol.measure(restored, target, value).items():
                values.setdefault((condition, metric), []).append(number)
        if progress:
            progress(item.name)
    return [measurement(condition, metric, each) for (condition, metric), each in values.items()]


@dataclass(frozen=True)
class Trial:
    """One run record to be: a method on pictures under a protocol; see :class:`RunRecord` for what is not said here."""

    recipe: str
    dataset: str
    images: Sequence[str]
    protocol: Protocol
    measure: Callable[[Tell], Sequence[Measurement]]  #: Does the work and tells the name of each picture that is done.
    seed: int | None = None
    steps: int = 0
    settings: Mapping[str, object] = field(default_factory=dict)
    tier: str | None = None  #: That of the run where none is named.
    device: torch.device | str = "cpu"
    digest: str = ""  #: SHA-256 of the pictures, where ``data.open`` does not know them.
    ticks: int | None = None  #: How often it tells of progress: once for each picture by default.
    checkpoint: str = ""  #: The checkpoint whose card gets the means.
    pictures: dict[str, Tensor] = field(default_factory=dict)  #: Results that are kept, by file name.

    def record(self, tier: str | None = None, tell: Tell = lambda picture: None) -> RunRecord:
        """Do the work and describe it; nothing is written."""
        begun = time.monotonic()
        measurements = tuple(self.measure(tell))
        return RunRecord(
            recipe=self.recipe,
            tier=self.tier or tier or tiers.current(),
            seed=self.seed,
            steps=self.steps,
            dataset=self.dataset,
            dataset_hash=self.digest or data.open(self.dataset).digest(),
            images=tuple(self.images),
            protocol=self.protocol.name,
            rules=self.protocol.rules,
            versions=provenance.versions(),
            device=provenance.device_name(self.device),
            seconds=round(time.monotonic() - begun, 1),
            finished=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            commit=provenance.commit(),
            measurements=measurements,
            settings=self.settings,
        )

    def recorded_in(self, records: Sequence[RunRecord]) -> bool:
        """Whether there is a record of the same weights on the same pictures by the same rules."""
        digest, protocol = self.settings.get("sha256"), self.protocol
        return bool(digest) and any(
            (r.recipe, r.dataset, r.protocol) == (self.recipe, self.dataset, protocol.name)
            and (r.settings.get("sha256"), r.rules) == (digest, dict(protocol.rules))
            and (list(r.images), r.conditions) == (list(self.images), list(protocol.conditions))
            and r.dataset_hash == (self.digest or data.open(self.dataset).digest())
            for r in records
        )


def trial(
    recipe: str,
    model: Callable[[], Models],
    dataset: str,
    protocol: EvaluationProtocol,
    *,
    photos: int | None = None,
    summary: Callable[[list[Measurement]], list[Measurement]] = list,
    crops: Mapping[str, tuple[int, int, int]] | None = None,
    **about: Any,
) -> Trial:
    """A method that :func:`evaluate` measures on an image set that ``data.open`` knows.

    ``model`` makes the model, or one for each condition, when its turn comes; so many ``photos`` of the set are evenly
    chosen; ``summary`` is what a record keeps of the measurements; ``crops`` are (top, left, side) of pieces that are
    kept as pictures, by the photo's name; ``about`` are further fields of :class:`Trial`.
    """
    items, pictures = evenly(data.open(dataset), photos), {}
    seed, device = about.get("seed") or 0, about.get("device", "cpu")

    def keep(name: str, restored: Tensor, target: Tensor) -> None:
        if crops and name in crops:
            top, left, side = crops[name]
            for who, image in ((recipe, restored), ("truth", target)):
                pictures[f"{who}__{protocol.name}__{name}.png"] = image[:, top : top + side, left : left + side]

    def measure(tell: Tell) -> list[Measurement]:
        return summary(evaluate(model(), items, protocol, seed=seed, device=device, progress=tell, keep=keep))

    names = [item.name for item in items]
    return Trial(recipe, dataset, names, protocol, measure, pictures=pictures, **about)


def of_checkpoint(
    weights: Card,
    as_model: Callable[[nn.Module], Models],
    dataset: str,
    protocol: EvaluationProtocol,
    *,
    folder: Path | str | None = None,
    settings: Mapping[str, object] | None = None,
    **about: Any,
) -> Trial:
    """The network of a checkpoint, as ``as_model`` calls it; further parameters as for :func:`trial`."""

    def model() -> Models:
        return as_model(load_network(weights.name, folder=folder).to(about.get("device", "cpu")))

    settings = {"checkpoint": weights.name, "sha256": weights.sha256, **(settings or {})}
    about = {**training_of(weights), "settings": settings, **about}
    return trial(weights.recipe, model, dataset, protocol, **about)


def training_of(weights: Card) -> dict[str, Any]:
    return {"seed": weights.seed, "steps": weights.steps, "tier": weights.tier}


def evenly(items: Sequence, count: int | None) -> list:
    """So many of a sequence, evenly chosen; all by default, or where there are fewer."""
    count = len(items) if count is None else min(count, len(items))
    return [items[number * len(items) // count] for number in range(count)]


def left_out(what: str) -> None:
    """Say on stderr what a run leaves out, and why."""
    print(f"restore: left out {what}", file=sys.stderr)


def available(what: str, load_files: Callable[[], T]) -> T | None:
    """What a function loads; None, and a line on stderr, where its files are not on this computer."""
    try:
        return load_files()
    except DataError as error:
        left_out(f"{what}. {error}")
        return None


@dataclass(frozen=True)
class Experiment(Table):
    """A table of the book that can be measured."""

    #: Lists what is to be measured, in order, for image sets and a tier; says on stderr what it must leave out.
    trials: Callable[[Sequence[str], str], Iterable[Trial]] = lambda sets, tier: ()
    sets: Sequence[str] = ()  #: Image sets that it measures by default.
    quick_sets: Sequence[str] = ()  #: Those at tier ``smoke``, where they are fewer.
    other_sets: bool = False  #: Whether further image sets may be named.
    resumes: bool = False  #: Whether weights that have a record on the same pictures are not measured again.

    def choose(self, sets: Iterable[str] | None, tier: str) -> list[str]:
        """The image sets that are asked for, or those of the tier; DataError for what the table is not about."""
        if sets is None:
            return list(self.quick_sets if tier == "smoke" and self.quick_sets else self.sets)
        sets = list(sets)
        if not self.other_sets and not set(sets) <= set(self.sets):
            raise DataError(f"This table is about {', '.join(self.sets)}: give some of these, or leave out --sets.")
        return sets


def run(
    experiment: Experiment,
    folder: Path | str,
    *,
    sets: Iterable[str] | None = None,
    tier: str | None = None,
    progress: Callable[[str, int], None] = lambda picture, total: None,
) -> list[Path]:
    """Measure an experiment and write its run records into ``folder``; returns the files.

    ``progress`` is called after each picture, with its name and how many there are in all. DataError where a set is not
    on this computer or the table is not about it, before any work; CheckpointError for a missing or damaged checkpoint.
    """
    tier = tier or tiers.current()
    trials = list(experiment.trials(experiment.choose(sets, tier), tier))
    before = load_all(folder) if experiment.resumes else []
    total = sum(len(one.images) if one.ticks is None else one.ticks for one in trials)
    written = []
    for one in trials:
        if one.recorded_in(before):
            for _ in one.images:
                progress(f"{one.recipe} has been measured", total)
            continue
        record = one.record(tier, lambda picture: progress(picture, total))
        written.append(save(record, folder))
        for name, picture in one.pictures.items():
            images.write(Path(folder) / PICTURES / name, picture.clamp(0, 1))
        if one.checkpoint:
            note_means(one.checkpoint, [record])
    return written


def note_means(name: str, records: Iterable[RunRecord], folder: Path | str | None = None) -> None:
    """Note on a checkpoint's card what has been measured; older means of the same sets and protocols give way."""
    scores = [
        Score(record.dataset, record.protocol, m.condition, m.metric, m.value, record.file)
        for record in records
        for m in record.measurements
    ]
    renewed = {(score.dataset, score.protocol) for score in scores}
    others = [s for s in card(name, folder=folder).metrics if (s.dataset, s.protocol) not in renewed]
    update_card(name, folder=folder, metrics=(*others, *scores))
