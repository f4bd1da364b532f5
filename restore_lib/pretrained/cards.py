"""The card of a checkpoint: what was trained, on what, how far, and how well it does. One JSON file beside the weights.

A card is read as strictly as a run record: a field that is missing, unknown or of the wrong kind is refused, so that
whatever carries a card can be compared, listed and trusted.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path

from restore_lib import tiers
from restore_lib.errors import CheckpointError

NAME = re.compile(r"[a-z0-9][a-z0-9._+-]*")
MENDING = "get it again from where it came, or train it again"


@dataclass(frozen=True)
class Score:
    """What the network reached on an image set.

    Attributes
    ----------
    dataset, protocol, condition, metric : str
        As in run records: ``"set12"``, ``"gray"``, ``"sigma 25"``, ``"psnr"``.
    value : float
    record : str
        File name of the run record in ``results/`` that proves it; empty where it was measured while training.
    """

    dataset: str
    protocol: str
    condition: str
    metric: str
    value: float
    record: str = ""


@dataclass(frozen=True)
class Card:
    """Everything needed to use weights, to continue them, or to doubt them.

    The last three fields describe the file of weights; :func:`restore_lib.pretrained.checkpoints.save_checkpoint`
    fills them in.

    Attributes
    ----------
    name : str
        Of the checkpoint and of its two files: small letters, digits and ``. _ + -``.
    recipe, tier : str
        What was run, and how much work it was allowed.
    steps : int
        Updates of the weights that were done.
    seed : int or None
        None where nothing was random.
    dataset, dataset_hash : str
        Name of the training set, and SHA-256 over its files.
    architecture : mapping
        ``{"builder": ..., "arguments": {...}}``, see :mod:`restore_lib.pretrained.architectures`.
    versions : mapping
        Of the libraries that can change the result.
    device : str
        Where it was trained.
    date : str
        When it was saved, as an ISO date and time in UTC.
    commit : str
        Of the library; ends in ``-dirty`` when its files differed from that commit, ``unknown`` outside git.
    licence : str
        Of the weights.
    metrics : sequence of Score
    note : str
        What a user should know; may be empty.
    parameters : int
        Trainable numbers of the network.
    sha256 : str
        Of the file of weights.
    bytes : int
        Its size.
    """

    name: str
    recipe: str
    tier: str
    steps: int
    seed: int | None
    dataset: str
    dataset_hash: str
    architecture: Mapping[str, object]
    versions: Mapping[str, str]
    device: str
    date: str
    commit: str
    licence: str
    metrics: Sequence[Score] = ()
    note: str = ""
    parameters: int = 0
    sha256: str = ""
    bytes: int = 0

    @property
    def network(self) -> str:
        """Name of the network's class, such as ``"DIINN"``."""
        return str(self.architecture["builder"]).rpartition(".")[2]

    @property
    def builder(self) -> str:
        """The call that builds the network, for people: ``nets.dncnn.DnCNN(channels=64)``."""
        words = ", ".join(f"{key}={value!r}" for key, value in self.architecture["arguments"].items())
        return f"{self.architecture['builder']}({words})"


NUMBERS = ("steps", "parameters", "bytes")
OBJECTS = ("architecture", "versions")
MAY_BE_EMPTY = ("note", "metrics", "record")


def longest(known: Iterable[Card], recipes: Iterable[str]) -> list[Card]:
    """Cards of each recipe's longest training, one for every seed, in the order of the recipes and of seeds."""
    known, found = list(known), []
    for recipe in recipes:
        mine = [one for one in known if one.recipe == recipe]
        best = max(mine, key=lambda one: one.steps, default=None)
        alike = [one for one in mine if (one.tier, one.steps) == (best.tier, best.steps)]
        seeds = {one.seed: one for one in reversed(alike)}  # of several with one seed, the first
        found += sorted(seeds.values(), key=lambda one: one.seed or 0)
    return found


def card_text(card: Card) -> str:
    """The JSON of a card, one line a metric, so that a file and its diff stay short.

    Raises
    ------
    CheckpointError
        The card holds something that could not be read back.
    """
    content = asdict(card)
    content["metrics"] = [asdict(score) for score in card.metrics]
    check(content, f"The card of {card.name}")
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    scores = ",\n".join("  " + json.dumps(score, ensure_ascii=False) for score in content["metrics"])
    if scores:
        text = re.sub(r'"metrics": \[.*?\n \]', lambda _: f'"metrics": [\n{scores}\n ]', text, flags=re.DOTALL)
    return text + "\n"


def read_card(path: Path | str, name: str) -> Card:
    """Read the card of the checkpoint ``name``, strictly.

    Raises
    ------
    CheckpointError
        The file is missing, damaged, another checkpoint's, or does not hold what a card must hold.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_not_a_number)
    except OSError as error:
        raise CheckpointError(
            f"{path}, the card of {name}, cannot be read ({error.strerror}): weights without a card are not used; "
            f"{MENDING}."
        ) from error
    except (ValueError, RecursionError) as error:  # truncated JSON, NaN, bytes that are no text, endless brackets
        raise CheckpointError(f"{path} is damaged ({error}): {MENDING}.") from error
    check(content, path)
    if content["name"] != name:
        raise CheckpointError(f"{path} is the card of {content['name']}: give both files that name, or delete them.")
    content |= {"metrics": tuple(Score(**score | {"value": float(score["value"])}) for score in content["metrics"])}
    return Card(**content)


def check(content: object, what: Path | str) -> None:
    """Refuse what is not the content of a card.

    Raises
    ------
    CheckpointError
        One sentence that names the file and the first thing that is wrong.
    """
    problem = next(_problems(content), None)
    if problem:
        raise CheckpointError(f"{what} is not a good card: {problem}; mend it, or {MENDING}.")


def _problems(content):
    """What is wrong with the JSON content of a card, in words."""
    if not isinstance(content, dict):
        yield "it is not one JSON object"
        return
    yield from _field_problems(content, Card)
    if not NAME.fullmatch(content["name"]):
        yield f"the name {content['name']!r} has signs other than small letters, digits and . _ + -"
    if content["tier"] not in tiers.TIERS:
        yield f"the tier {content['tier']!r} is none of {', '.join(tiers.TIERS)}"
    for name in ("dataset_hash", "sha256"):
        if not re.fullmatch(r"[0-9a-f]{64}", content[name]):
            yield f"{name} is not a SHA-256"
    if not _is_date(content["date"]):
        yield f"the date {content['date']!r} is not like 2026-01-31T12:00:00Z"
    if not all(isinstance(value, str) for value in content["versions"].values()):
        yield "a version is not a text"
    architecture = content["architecture"]
    if not isinstance(architecture.get("builder"), str) or not isinstance(architecture.get("arguments"), dict):
        yield "the architecture needs a builder and its arguments"
    for number, score in enumerate(content["metrics"], 1):
        for problem in _score_problems(score):
            yield f"metric {number}: {problem}"


def _field_problems(content, kind):
    for known in fields(kind):
        name = known.name
        if name not in content:
            yield f"the field {name} is missing"
        elif not _is_kind(name, content[name]):
            yield f"the field {name} is {content[name]!r}"
        elif content[name] in ("", {}) and name not in MAY_BE_EMPTY:
            yield f"the field {name} is empty"
    unknown = sorted(set(content) - {f.name for f in fields(kind)})
    if unknown:
        yield f"the field {unknown[0]} is unknown"


def _is_kind(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return False
    if name in NUMBERS:
        return isinstance(value, int) and value >= 0
    if name in OBJECTS:
        return isinstance(value, dict)
    if name == "seed":
        return value is None or isinstance(value, int)
    if name == "metrics":
        return isinstance(value, list | tuple)
    if name == "value":
        return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, str)


def _score_problems(score):
    if not isinstance(score, dict):
        yield "it is not an object"
        return
    yield from _field_problems(score, Score)
    if score["record"] and not re.fullmatch(r"[^/\\]+\.json", score["record"]):
        yield f"the record {score['record']!r} is not a file name of results/"


def _is_date(text: str) -> bool:
    try:
        return bool(datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        return False


def _not_a_number(text: str):
    raise ValueError(f"{text} is no number")
