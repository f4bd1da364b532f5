"""Recipes: frozen dataclasses whose every value says what it means and where it comes from."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, TypeVar

from restore_lib import data
from restore_lib import tiers as known_tiers
from restore_lib.data import Item
from restore_lib.errors import TrainingError
from restore_lib.training.task import Task


def sourced(default: Any, source: str, doc: str) -> Any:
    """A dataclass field with its source (``paper Sec. 4``, ``official code``, ``ours: why``) and its meaning."""
    return field(default=default, metadata={"source": source, "doc": doc})


@dataclass(frozen=True)
class Recipe:
    """What every recipe has; a paper's room adds fields of its own and the method :meth:`task`."""

    name: str = ""
    title: str = ""
    tiers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)  #: Values that differ at a tier.
    cost: Mapping[str, str] = field(default_factory=dict, hash=False)  #: How long a run takes at a tier, in words.
    stored: str = "float32"  #: Number format of the weights in its checkpoints.
    licence: str = "MIT"  #: Of its checkpoints.
    remark: str = ""  #: What users of its checkpoints should know.
    #: Of a field's value, where it is not the one that the class states.
    source_of: Mapping[str, str] = field(default_factory=dict, hash=False)

    steps: int = sourced(1000, "ours", "Updates of the weights.")
    batch_size: int = sourced(32, "ours", "Patches in a step, over all devices together.")
    validate_every: int = sourced(500, "ours", "Steps between two validations.")

    def task(self, seed: int) -> Task:
        """Networks, optimisers, batches and step for :func:`restore_lib.training.fit`."""
        raise NotImplementedError


Kind = TypeVar("Kind", bound=Recipe)


def variant(base: Kind, name: str, title: str, tiers: Mapping | None = None, **changes: tuple[Any, str]) -> Kind:
    """A recipe that differs from ``base`` in some fields, each given as ``field=(value, source)``.

    ``tiers`` are those of ``base`` by default; a tier's values come before ``changes``.
    """
    values = {key: value for key, (value, _) in changes.items()}
    source_of = {**base.source_of, **{key: source for key, (_, source) in changes.items()}}
    tiers = base.tiers if tiers is None else tiers
    return replace(base, name=name, title=title, tiers=tiers, source_of=source_of, **values)


def photos_of(recipe: Any) -> tuple[list[Item], list[Item]]:
    """What a recipe trains on, and what it holds back: the last ``held`` photos of its ``dataset`` and ``split``.

    All photos of the set ``also`` are trained on, where the recipe names one.
    """
    photos, also = list(data.open(recipe.dataset, recipe.split or None)), getattr(recipe, "also", "")
    return photos[: -recipe.held] + (list(data.open(also)) if also else []), photos[-recipe.held :]


def warm_cosine(steps: int, warmup: int) -> Callable[[int], float]:
    """Factor of the learning rate: up to 1 in a line over ``warmup`` steps, then down to 0 along half a cosine."""
    return lambda step: min((step + 1) / warmup, 0.5 * (1 + math.cos(math.pi * min(step / steps, 1))))


def at_tier(recipe: Kind, tier: str | None = None, **changes: Any) -> Kind:
    """A recipe with the values of a tier, or of the next smaller one that has some, and with ``changes`` on top.

    TrainingError where there is no such tier or field.
    """
    tier = tier or known_tiers.current()
    if tier not in known_tiers.TIERS:
        raise TrainingError(f"There is no tier {tier}: choose one of {', '.join(known_tiers.TIERS)}.")
    smaller = known_tiers.TIERS[: known_tiers.TIERS.index(tier) + 1]
    own = next((recipe.tiers[name] for name in reversed(smaller) if name in recipe.tiers), {})
    present = values(recipe)
    for name, value in changes.items():
        if name not in present:
            raise TrainingError(f"Recipe {recipe.name} has no field {name}: it has {', '.join(sorted(present))}.")
        wanted = type(present[name])
        fits = (int, float) if wanted is float else wanted
        if not isinstance(value, fits) or isinstance(value, bool) != (wanted is bool):
            raise TrainingError(f"Field {name} of recipe {recipe.name} is of type {wanted.__name__}, got {value!r}.")
    return replace(recipe, **{**own, **changes})


def values(recipe: Any) -> dict[str, Any]:
    """The values of a recipe, or of another dataclass with sourced fields, by field."""
    return {f.name: getattr(recipe, f.name) for f in _sourced_fields(recipe)}


def fingerprint(recipe: Recipe) -> str:
    """Hash of a recipe's name and values: two runs with the same one may be continued by each other."""
    content = {"name": recipe.name, **values(recipe)}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def provenance(recipe: Any) -> list[dict[str, str]]:
    """One entry a value: its field, value, source and meaning, for the book's tables."""
    entries = []
    for f in _sourced_fields(recipe):
        source = getattr(recipe, "source_of", {}).get(f.name, f.metadata.get("source", ""))
        value, meaning = str(getattr(recipe, f.name)), f.metadata.get("doc", "")
        entries.append({"field": f.name, "value": value, "source": source, "meaning": meaning})
    return entries


def _sourced_fields(recipe: Any) -> list[Field]:
    plain = ("name", "title", "tiers", "cost", "stored", "licence", "remark", "source_of")
    return [f for f in fields(recipe) if f.name not in plain or not isinstance(recipe, Recipe)]
