"""The card of a checkpoint: what was trained, on what, how far, and how well it does. One JSON file beside the weights.

Cards are read strictly: a field that is missing, unknown or of the wrong kind is refused.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, StrictInt, StrictStr, TypeAdapter, ValidationError
from pydantic_core import from_json

from restore_lib import tiers
from restore_lib.errors import CheckpointError

NAME = re.compile(r"[a-z0-9][a-z0-9._+-]*")
GET_AGAIN = "get it again from where it came, or train it again"


def _network(architecture: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(architecture.get("builder"), str) or not isinstance(architecture.get("arguments"), dict):
        raise ValueError("it needs a builder and its arguments")
    return architecture


Text = Annotated[str, Field(strict=True, min_length=1)]
Count = Annotated[int, Field(strict=True, ge=0)]
Date = Annotated[str, Field(strict=True, pattern=r"^\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\dZ$")]
Tier = Annotated[str, Field(strict=True, pattern=f"^({'|'.join(tiers.TIERS)})$")]
Sha256 = Annotated[str, Field(strict=True, pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class Score:
    """What the network reached on an image set; names as in run records."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    dataset: Text
    protocol: Text
    condition: Text
    metric: Text
    value: Annotated[float, Field(strict=True, allow_inf_nan=False)]
    #: File in ``results/`` of the run record that proves it; empty where it was measured while training.
    record: Annotated[str, Field(strict=True, pattern=r"^([^/\\]+\.json)?$")] = ""


@dataclass(frozen=True)
class Card:
    """Everything needed to use weights, to continue them, or to doubt them."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: Annotated[str, Field(strict=True, pattern=f"^{NAME.pattern}$")]
    recipe: Text
    tier: Tier  #: How much work it was allowed.
    steps: Count  #: Updates of the weights that were done.
    seed: StrictInt | None  #: None where nothing was random.
    dataset: Text  #: Of training.
    dataset_hash: Sha256
    #: ``{"builder": ..., "arguments": {...}}``, see :mod:`restore_lib.pretrained.networks`.
    architecture: Annotated[Mapping[str, Any], AfterValidator(_network)]
    versions: Annotated[Mapping[str, StrictStr], Field(min_length=1)]  #: Libraries that can change the result.
    device: Text  #: Where it was trained.
    date: Date  #: When it was saved, ISO date and time in UTC.
    commit: Text  #: Of the library; ``-dirty`` when files differed from it, ``unknown`` outside git.
    licence: Text  #: Of the weights.
    metrics: Annotated[Sequence[Score], AfterValidator(tuple)] = ()
    note: StrictStr = ""  #: What a user should know.
    parameters: Count = 0  #: Trainable numbers; this and what follows is filled in when weights are saved.
    sha256: Sha256 = ""  #: Of the file of weights.
    bytes: Count = 0

    @property
    def network(self) -> str:
        """Name of the network's class, such as ``"DIINN"``."""
        return str(self.architecture["builder"]).rpartition(".")[2]

    @property
    def builder(self) -> str:
        """The call that builds the network, for people: ``nets.dncnn.DnCNN(channels=64)``."""
        words = ", ".join(f"{key}={value!r}" for key, value in self.architecture["arguments"].items())
        return f"{self.architecture['builder']}({words})"


_CARD = TypeAdapter(Card)


def longest(cards: Iterable[Card], recipes: Iterable[str]) -> list[Card]:
    """Cards of each recipe's longest training, one for every seed, in the order of the recipes and of seeds."""
    cards, chosen = list(cards), []
    for recipe in recipes:
        trained = [card for card in cards if card.recipe == recipe]
        if not trained:
            continue
        best = max(trained, key=lambda card: card.steps)
        alike = [card for card in trained if (card.tier, card.steps) == (best.tier, best.steps)]
        seeds = {card.seed: card for card in reversed(alike)}  # of several with one seed, the first
        chosen += sorted(seeds.values(), key=lambda card: card.seed or 0)
    return chosen


def card_text(card: Card) -> str:
    """The JSON of a card, one line a metric; CheckpointError where it could not be read back."""
    content = asdict(card)
    _checked(content, f"The card of {card.name}")
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    scores = ",\n".join("  " + json.dumps(score, ensure_ascii=False) for score in content["metrics"])
    if scores:
        text = re.sub(r'"metrics": \[.*?\n \]', lambda _: f'"metrics": [\n{scores}\n ]', text, flags=re.DOTALL)
    return text + "\n"


def read_card(path: Path | str, name: str) -> Card:
    """Read the card of the checkpoint ``name``, strictly.

    CheckpointError where the file is missing, damaged, another checkpoint's, or does not hold what a card must hold.
    """
    try:
        content = from_json(Path(path).read_bytes(), allow_inf_nan=False)
    except OSError as error:
        raise CheckpointError(
            f"{path}, the card of {name}, cannot be read ({error.strerror}): weights without a card are not used; "
            f"{GET_AGAIN}."
        ) from error
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged ({error}): {GET_AGAIN}.") from error
    card = _checked(content, path)
    if card.name != name:
        raise CheckpointError(f"{path} is the card of {card.name}: give both files that name, or delete them.")
    return card


def _checked(content: Any, what: Path | str) -> Card:
    """The card with this content; CheckpointError names the first thing that is wrong."""
    try:
        card = _CARD.validate_python(content)
        parts = [(Card, content), *((Score, score) for score in content.get("metrics", ()))]
        # defaults are for code: a file has to say everything
        missing = [field.name for kind, part in parts for field in fields(kind) if field.name not in part]
        if not missing:
            return card
        problem = f"the field {missing[0]} is missing"
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        reason = f"is {first['input']!r:.60} ({first['msg'][0].lower()}{first['msg'][1:]})"
        reason = {"missing": "is missing", "unexpected_keyword_argument": "is unknown"}.get(first["type"], reason)
        problem = f"the field {field} {reason}" if field else "it is not one JSON object"
    raise CheckpointError(f"{what} is not a good card: {problem}; mend it, or {GET_AGAIN}.")
