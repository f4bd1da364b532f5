"""Paper C's tables: every scale, under DIINN's protocol and LIIF's, and what its parts are worth."""

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import torch
from torch import nn

from restore_lib import data, files, tiers
from restore_lib.errors import DataError
from restore_lib.experiments import cell_borders, protocols, runs
from restore_lib.experiments.protocols import EvaluationProtocol, Model, evaluate
from restore_lib.experiments.records import RunRecord, load_all, save
from restore_lib.pretrained import Card, cards, load, longest, published
from restore_lib.training.precision import best_device

#: How many photos of a set are looked at, evenly chosen: one core makes some hundred thousand pixels a second with a
#: decoder of 64 channels, thirty thousand with one of 256, and fourteen results are wanted of each photo.
PHOTOS: Mapping[str, int] = MappingProxyType({"set5": 5, "set14": 14, "b100": 20, "urban100_every8th": 3})
WHOLE = ("set5", "set14")
DIINN = replace(protocols.DIINN, name="diinn-scales", conditions=protocols.scales(2, 2.5, 3, 3.5, 4, 6, 8, 10, 15))
LIIF = replace(protocols.LIIF, name="liif-scales")
BORDERS = cell_borders.PROTOCOL
METHODS = ("metasr", "liif", "diinn")
VARIANTS = tuple(f"diinn-{row}" for row in "abcde")
OTHERS = ("diinn-side", "diinn-light", "liif-no-ensemble", "liif-continuous")
AUTHORS = "liif-authors"
ABLATION_SET, BORDER_SET = "b100", "set5"

#: Which protocols each method is measured under, by image set. The authors' network is large: fewer sets.
EVERYWHERE: Mapping[str, Sequence[EvaluationProtocol]] = {name: (DIINN, LIIF) for name in PHOTOS}
WITH_BORDERS = EVERYWHERE | {BORDER_SET: (DIINN, LIIF, BORDERS)}
WHERE: Mapping[str, Mapping[str, Sequence[EvaluationProtocol]]] = MappingProxyType(
    {name: WITH_BORDERS for name in ("bicubic", *METHODS)}
    | {name: {ABLATION_SET: (DIINN,)} for name in (*VARIANTS, *OTHERS)}
    | {"liif-no-ensemble": {ABLATION_SET: (DIINN,), BORDER_SET: (BORDERS,)}}
    | {AUTHORS: {"set5": (DIINN, LIIF, BORDERS), "set14": (LIIF,)}}
)


@dataclass(frozen=True)
class Method:
    """A method that can be measured here.

    Attributes
    ----------
    recipe : str
        Its name in records and in ``WHERE``.
    network : callable or None
        Makes the network; None for bicubic interpolation.
    about : mapping
        What a record says of it: seed, steps, tier, settings.
    """

    recipe: str
    network: Callable[[], nn.Module] | None = None
    about: Mapping[str, object] = field(default_factory=dict)


def chosen(dataset: str) -> list:
    """The photos of a set that are looked at, see ``PHOTOS``."""
    photos = data.open(dataset)
    count = min(PHOTOS[dataset], len(photos))
    return [photos[i * len(photos) // count] for i in range(count)]


def tables(
    folder: Path | str,
    *,
    sets: Iterable[str] | None = None,
    tier: str | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> list[Path]:
    """Every method that can run here on the test photos; parameters as for `runs.bicubic`.

    A checkpoint that has a record on the same photos already is not measured again: stopped at any time, the same
    command goes on. Delete records to have them made anew. Left out, with a line on stderr, is the authors' model where
    it has not been imported. At tier ``smoke`` only interpolation of Set5 runs.

    Raises
    ------
    DataError
        Photos are not on this computer, or ``sets`` names others than this table has.
    CheckpointError
        A checkpoint is damaged.
    """
    quickly = (tier or tiers.current()) == "smoke"
    sets = list(sets or (("set5",) if quickly else PHOTOS))
    if unknown := set(sets) - set(PHOTOS):
        raise DataError(f"This table knows {', '.join(PHOTOS)}, not {min(unknown)}: name other --sets.")
    methods = [Method("bicubic", about={"tier": tier})] + ([] if quickly else [*trained(), *imported()])
    jobs = [
        (method, name, protocol)
        for name in sets
        for method in methods
        for protocol in WHERE[method.recipe].get(name, ())
    ]
    photos, before = {name: len(chosen(name)) for name in sets}, load_all(folder) if Path(folder).is_dir() else []
    tell, written = runs.counted(progress, sum(photos[name] for _, name, _ in jobs)), []
    for method, name, protocol in jobs:
        record = already(before, method, name, protocol)
        if record is None:
            written.append(save(run(method, name, protocol, progress=tell), folder))
            continue
        for _ in range(photos[name]):
            tell(f"{method.recipe} has been measured")
    return written


def run(
    method: Method, dataset: str, protocol: EvaluationProtocol, *, progress: Callable[[str], None] | None = None
) -> RunRecord:
    """One method on the chosen photos of a set."""
    begun, photos = time.monotonic(), chosen(dataset)
    device = "cpu" if method.network is None else best_device()
    measured = evaluate(model_of(method, protocol, device), photos, protocol, device=device, progress=progress)
    return runs.described(
        method.recipe,
        measured,
        begun,
        dataset=dataset,
        images=[photo.name for photo in photos],
        protocol=protocol.name,
        rules=rules_of(protocol, dataset),
        device=device,
        **method.about,
    )


def rules_of(protocol: EvaluationProtocol, dataset: str) -> Mapping[str, str]:
    """The protocol in words, with what was left out of the set."""
    left = {} if dataset in WHOLE else {"photos": f"{PHOTOS[dataset]} of the set, evenly chosen"}
    return {**protocol.rules, **left}


def model_of(method: Method, protocol: EvaluationProtocol, device: torch.device | str) -> Model:
    """A method as evaluation calls it: one photo at a time, and the size that is wanted."""
    if method.network is None:
        known = runs.bicubic_models()
        return known["liif"] if protocol is LIIF else known["diinn"]
    network = method.network().to(device)
    return lambda lr, size: network(lr[None], size)[0].float()


def already(
    records: Sequence[RunRecord], method: Method, dataset: str, protocol: EvaluationProtocol
) -> RunRecord | None:
    """The record of the same weights on the same photos by the same rules; none of bicubic, which takes seconds."""
    digest = dict(method.about.get("settings", {})).get("sha256")
    for record in records if digest else ():
        same = (record.recipe, record.dataset, record.protocol) == (method.recipe, dataset, protocol.name)
        same = same and record.settings.get("sha256") == digest and record.rules == rules_of(protocol, dataset)
        same = same and record.conditions == list(protocol.conditions)
        same = same and list(record.images) == [photo.name for photo in chosen(dataset)]
        if same and record.dataset_hash == data.open(dataset).digest():
            return record
    return None


def trained() -> list[Method]:
    """Checkpoints of the recipes of ``WHERE``: of each the longest training, with every seed."""
    return [checkpoint(card) for card in longest(cards(), WHERE)]


def checkpoint(card: Card) -> Method:
    """The network of a checkpoint, and what records say about it."""
    settings = {"checkpoint": card.name, "sha256": card.sha256, "parameters": card.parameters}
    about = {"seed": card.seed, "steps": card.steps, "tier": card.tier, "settings": settings}
    return Method(card.recipe, lambda: load(card.name), about)


def imported() -> list[Method]:
    """LIIF's authors' model, if it is on this computer."""
    path = published.imported().get(AUTHORS)
    if path is None:
        print(f"restore: left out LIIF's authors' network. {published.missing(AUTHORS)}", file=sys.stderr)
        return []
    settings = {"model": AUTHORS, "sha256": files.sha256(path)}
    return [Method(AUTHORS, lambda: published.load_published(AUTHORS), {"settings": settings})]
