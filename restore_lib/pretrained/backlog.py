"""The checkpoints that the book wants, most valuable first: how far each is trained, and what continues it."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from restore_lib import tiers
from restore_lib.errors import CheckpointError
from restore_lib.files import atomic_write
from restore_lib.pretrained.cards import NAME
from restore_lib.pretrained.checkpoints import checkpoints_folder

FILE, PAGE = "backlog.json", "BACKLOG.md"


@dataclass(frozen=True)
class Wanted:
    """A checkpoint that the book wants.

    Attributes
    ----------
    name : str
        Of the checkpoint.
    recipe, tier, seed
        What trains it.
    why : str
        Which chapter or table needs it.
    steps_wanted, steps_done : int
        Updates of the weights: in all, and so far.
    """

    name: str
    recipe: str
    tier: str
    seed: int
    why: str
    steps_wanted: int
    steps_done: int = 0

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.steps_done >= self.steps_wanted

    @property
    def command(self) -> str:
        """The command that begins or continues it."""
        return f"restore train {self.recipe} --tier {self.tier} --seed {self.seed} --resume"


def load(folder: Path | str | None = None) -> list[Wanted]:
    """Read ``backlog.json``, in order of value; an empty list where there is none.

    Raises
    ------
    CheckpointError
        The file is damaged, or an entry is not a good one.
    """
    path = _home(folder) / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}): mend its permissions.") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged ({error}): restore it from version control.") from error
    problem = next(_problems(content), None)
    if problem:
        raise CheckpointError(f"{path} is not a good backlog: {problem}; mend it, or restore it from version control.")
    return [Wanted(**entry) for entry in content]


def save(wanted: Sequence[Wanted], folder: Path | str | None = None) -> None:
    """Write ``backlog.json``, one line an entry, and ``BACKLOG.md``.

    Raises
    ------
    CheckpointError
        An entry is not a good one.
    RestoreError
        The disk is full or the folder cannot be written to.
    """
    home = _home(folder)
    content = [asdict(entry) for entry in wanted]
    problem = next(_problems(content), None)
    if problem:
        raise CheckpointError(f"The backlog was not written: {problem}.")
    lines = ",\n".join(" " + json.dumps(entry, ensure_ascii=False) for entry in content)
    for name, text in ((FILE, f"[\n{lines}\n]\n" if lines else "[]\n"), (PAGE, markdown(wanted))):
        with atomic_write(home / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def advance(name: str, steps_done: int, folder: Path | str | None = None) -> None:
    """Note how far a checkpoint has got, in both files; names that are not in the backlog change nothing."""
    wanted = load(folder)
    if any(entry.name == name and entry.steps_done != steps_done for entry in wanted):
        save([replace(e, steps_done=steps_done) if e.name == name else e for e in wanted], folder)


def next_unfinished(wanted: Iterable[Wanted] | None = None) -> Wanted | None:
    """The most valuable entry with something left to do, of :func:`load` by default; None when all are finished."""
    return next((entry for entry in (load() if wanted is None else wanted) if not entry.finished), None)


def markdown(wanted: Sequence[Wanted] | None = None) -> str:
    """The page ``BACKLOG.md``: one row a checkpoint, most valuable first."""
    wanted = load() if wanted is None else wanted
    done = sum(entry.finished for entry in wanted)
    lines = [
        "# Checkpoints that the book wants",
        "",
        f"Most valuable first; {done} of {len(wanted)} finished. `make train-backlog MINUTES=9` goes on with the first "
        f"unfinished one. This page is written from `{FILE}` and the runs themselves: change that file, not this one.",
        "",
        "| checkpoint | why | steps | done | continue with |",
        "|---|---|--:|--:|---|",
    ]
    for e in wanted:
        share = "yes" if e.finished else f"{e.steps_done:,} ({int(100 * e.steps_done / e.steps_wanted)} %)"
        command = "" if e.finished else f"`{e.command}`"
        lines.append(f"| {e.name} | {e.why.replace('|', '&#124;')} | {e.steps_wanted:,} | {share} | {command} |")
    return "\n".join(lines) + "\n"


def _home(folder: Path | str | None) -> Path:
    return Path(folder) if folder is not None else checkpoints_folder()


def _problems(content):
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        yield "it is not a list of objects"
        return
    kinds = {f.name: f.type for f in fields(Wanted)}
    for number, entry in enumerate(content, 1):
        for name in kinds.keys() ^ entry.keys():
            yield f"entry {number}: the field {name} is {'missing' if name in kinds else 'unknown'}"
        for name, kind in kinds.items():
            if type(entry[name]) is not kind or (kind is str and (not entry[name].strip() or "\n" in entry[name])):
                yield f"entry {number}: the field {name} is {entry[name]!r}"
        if not NAME.fullmatch(entry["name"]) or entry["tier"] not in tiers.TIERS:
            yield f"entry {number}: no checkpoint can be {entry['name']!r} at tier {entry['tier']!r}"
        if entry["steps_wanted"] < 1 or entry["steps_done"] < 0:
            yield f"entry {number}: steps must not be negative, and some must be wanted"
    every = [entry["name"] for entry in content]
    if len(set(every)) < len(every):
        yield "two entries have the same name"
