"""Recipes: frozen dataclasses whose every field says what it means and where its value comes from."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, make_dataclass, replace
from typing import Any, ClassVar, TypeVar

from restore_lib import tiers
from restore_lib.errors import TrainingError


def sourced(default: Any, source: str, doc: str) -> Any:
    """A dataclass field with its source (``paper Sec. 4``, ``official code``, ``ours: why``) and its meaning."""
    return field(default=default, metadata={"source": source, "doc": doc})


@dataclass(frozen=True)
class Recipe:
    """What every recipe has; a paper's room adds its own fields and a method ``task(seed) -> Task``.

    Class attributes ``name``, ``title`` and ``tiers`` belong to the recipe as a whole: ``tiers`` maps a tier to the
    fields that differ there, and ``cost`` to a word on what a run costs; kept checkpoints have weights of the kind
    ``stored``.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    tiers: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    cost: ClassVar[Mapping[str, str]] = {}
    stored: ClassVar[str] = "float32"

    steps: int = sourced(1000, "ours", "Updates of the weights.")
    batch_size: int = sourced(32, "ours", "Patches in a step, over all devices together.")
    validate_every: int = sourced(500, "ours", "Steps between two looks at the validation images.")


Kind = TypeVar("Kind", bound=Recipe)


def named(base: type[Kind], name: str, title: str, **values: tuple[Any, str]) -> type[Kind]:
    """A recipe of its own name, in which some fields have other values: each ``field=(value, source)``."""
    known = {f.name: f for f in fields(base)}
    changed = [
        (key, known[key].type, sourced(value, source, known[key].metadata["doc"]))
        for key, (value, source) in values.items()
    ]
    own = {"name": name, "title": title, "__doc__": f"{title}.", "__module__": base.__module__}
    return make_dataclass(f"Recipe_{name.replace('-', '_')}", changed, bases=(base,), namespace=own, frozen=True)


def at_tier(recipe: type[Recipe] | Recipe, tier: str | None = None, **changes: Any) -> Recipe:
    """A recipe with the values of a tier, and with ``changes`` on top.

    A tier without values of its own takes those of the next smaller one that has some, as
    :func:`restore_lib.tiers.pick` does.

    Raises
    ------
    TrainingError
        No such tier, or no such field.
    """
    tier = tier or tiers.current()
    if tier not in tiers.TIERS:
        raise TrainingError(f"There is no tier {tier}: choose one of {', '.join(tiers.TIERS)}.")
    plain = recipe() if isinstance(recipe, type) else recipe
    smaller = tiers.TIERS[: tiers.TIERS.index(tier) + 1]
    own = next((plain.tiers[name] for name in reversed(smaller) if name in plain.tiers), {})
    known = {f.name for f in fields(plain)}
    unknown = sorted(set(changes) - known)
    if unknown:
        raise TrainingError(f"Recipe {plain.name} has no field {unknown[0]}: it has {', '.join(sorted(known))}.")
    for name, value in changes.items():
        wanted = type(getattr(plain, name))
        fits = (int, float) if wanted is float else wanted
        if not isinstance(value, fits) or isinstance(value, bool) != (wanted is bool):
            raise TrainingError(f"Field {name} of recipe {plain.name} is of type {wanted.__name__}, got {value!r}.")
    return replace(plain, **{**own, **changes})


def fingerprint(recipe: Recipe) -> str:
    """Hash of a recipe's name and values: two runs with the same one may be continued by each other."""
    content = {"name": recipe.name, **asdict(recipe)}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def provenance(recipe: Recipe) -> list[dict[str, str]]:
    """One entry a field: its name, value, source and meaning, for the book's tables."""
    return [
        {
            "field": f.name,
            "value": str(getattr(recipe, f.name)),
            "source": f.metadata.get("source", ""),
            "meaning": f.metadata.get("doc", ""),
        }
        for f in fields(recipe)
    ]
