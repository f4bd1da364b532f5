"""What data sets there are: one card (``sets/NAME.json``) and one list of files (``sets/NAME.tsv``) each.

A ``set`` is fetched file by file from a pinned commit; a ``view`` is part of a set under a name of its own;
``embedded`` pictures came with the installation; a set ``by hand`` has a licence to accept or is too large, so that the
library knows only how to check it; ``weights`` are trained networks. Nothing here touches the network.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatch
from functools import cache, cached_property
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import quote

from pydantic import ConfigDict, TypeAdapter
from rich import filesize

from restore_lib.errors import DataError
from restore_lib.files import TRUNKS, KnownFile

FOLDER = Path(__file__).parent / "sets"
Kind = Literal["embedded", "set", "view", "by hand", "weights"]
KINDS: tuple[Kind, ...] = get_args(Kind)
STRICT = ConfigDict(strict=True, extra="forbid")


@dataclass(frozen=True)
class LayoutRow:
    """Files that one folder of a set by hand must hold."""

    __pydantic_config__ = STRICT

    folder: str  #: below the set's own
    files: str  #: pattern of names: for ``glob``, or for ``format`` with the numbers from ``first`` to ``last``
    split: str = ""  #: whose pictures these files are, or whose names they give
    first: int | None = None
    last: int = 0
    count: int = 0  #: how many files there are; 0: any number
    lines: int = 0  #: how many lines each list has; 0: any number
    same_names_as: str = ""  #: folder whose files have the same names
    optional: bool = False  #: the set is complete without this folder
    parts: Mapping[str, str] = field(default_factory=dict)  #: paths of each item's parts, its name filled into braces
    not_in: str = ""  #: list of names that are left out

    @property
    def numbered(self) -> list[str]:
        """Paths of the files by their numbers; none when ``files`` is a pattern for ``glob``."""
        numbers = () if self.first is None else range(self.first, self.last + 1)
        return [f"{self.folder}/{self.files.format(number)}" for number in numbers]


@dataclass(frozen=True)
class DataSet:
    """A data set as its card describes it; the fields are the keys of ``sets/NAME.json``."""

    __pydantic_config__ = STRICT

    name: str  #: what commands call it
    title: str  #: what people call it
    kind: Kind
    purpose: str
    contents: str
    licence: str  #: short enough for a table
    terms: str
    cite: str  #: key in the book's bibliography
    citation: str
    notes: Sequence[str] = ()  #: what one must know before a number is compared
    repository: str = ""  #: on GitHub
    commit: str = ""  #: that serves the files
    items: str = ""  #: regular expression of paths: files of equal ``name``, ``split``, ``label`` are parts of one item
    parts: Mapping[str, str] = field(default_factory=dict)  #: names for what group ``part`` finds
    splits: Mapping[str, Sequence[str]] = field(default_factory=dict)  #: names for several splits together
    default: str = ""  #: split that is opened when none is named; empty: all
    counts: Mapping[str, int] = field(default_factory=dict)  #: kernels in a file that holds several, by split
    shared: str = ""  #: split for the parts that every item has, where only some (split ``pairs``) have all
    of: str = ""  #: the set that a view is part of
    members: Sequence[str] = ()  #: patterns of the paths a view takes; weights: of the files that will do
    even: bool = False  #: read pictures without the last row or column of an odd side
    pictures: Sequence[Mapping[str, str]] = ()  #: embedded: path below ``site-packages``, split, credit
    address: str = ""  #: official, of a set by hand
    root: str = ""  #: folder that its archive unpacks to
    layout: Sequence[LayoutRow] = ()  #: what that folder must hold
    trunk: str = ""  #: network of weights, a key of ``files.TRUNKS``

    @property
    def folder(self) -> str:
        """Folder of its files below a data folder; a view lies in its set's."""
        return self.of or self.name

    @cached_property
    def files(self) -> tuple[KnownFile, ...]:
        """Every file with its hash; none for embedded pictures and sets by hand."""
        if self.kind == "set":
            return tuple(_listed(self))
        if self.kind == "view":
            start = len(self.of) + 1
            return tuple(f for f in find(self.of).files if any(fnmatch(f.path[start:], m) for m in self.members))
        if self.kind == "weights":
            members = self.members or ("*",)
            return tuple(f for f in TRUNKS[self.trunk] if any(fnmatch(f.path, m) for m in members))
        return ()

    @cached_property
    def classes(self) -> dict[str, tuple[int, str]]:
        """Label and readable name of each WordNet id; empty for a set without labels."""
        path = FOLDER / f"{self.name}.classes.tsv"
        if not path.exists():
            return {}
        rows = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
        return {wnid: (int(label), name) for wnid, label, name in rows}

    @property
    def size(self) -> int:
        """Bytes of all files whose size is known."""
        return sum(file.size or 0 for file in self.files)


def _listed(data: DataSet) -> Iterator[KnownFile]:
    """Files of ``sets/NAME.tsv``: rows of sha256, bytes and name under lines ``> folder, folder in the repository``."""
    folder = remote = ""
    for line in (FOLDER / f"{data.name}.tsv").read_text(encoding="utf-8").splitlines():
        if line.startswith("> "):
            folder, remote = ("" if part == "." else part + "/" for part in line[2:].split("\t"))
        elif not line.startswith("#"):
            digest, size, name = line.split("\t")
            url = None
            if data.repository:
                place = f"{data.repository}/{data.commit}/{remote}{name}"
                url = "https://raw.githubusercontent.com/" + quote(place)
            yield KnownFile(f"{data.name}/{folder}{name}", digest, url, int(size))


@cache
def find(name: str) -> DataSet:
    """The data set called ``name``; capitals, spaces and dashes do not matter. DataError names the nearest one."""
    cards = {_plain(path.stem): path for path in FOLDER.glob("*.json")}
    path = cards.get(_plain(name))
    if path is None:
        near = get_close_matches(_plain(name), cards, n=1)
        hint = f"did you mean {cards[near[0]].stem}?" if near else "`restore data list` shows what there is."
        raise DataError(f"There is no data set called {name}: {hint}")
    return TypeAdapter(DataSet).validate_json(json.dumps({"name": path.stem} | json.loads(path.read_bytes())))


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def names(kind: str | None = None) -> list[str]:
    """Names of all data sets, or of one kind: ``embedded``, ``set``, ``view``, ``by hand`` or ``weights``."""
    sets = sorted(map(find, (path.stem for path in FOLDER.glob("*.json"))), key=lambda d: (KINDS.index(d.kind), d.name))
    return [data.name for data in sets if kind in (None, data.kind)]


def card(name: str) -> str:
    """What a data set is for, where it comes from, what its licence allows and how to get it, as Markdown."""
    data = find(name)
    amount = f"; {len(data.files):,} files, {filesize.decimal(data.size)}" if data.kind in ("set", "view") else ""
    facts = {"Name": f"`{data.name}` ({data.kind})", "Contents": data.contents + amount}
    facts |= {"Licence": data.licence, "Terms": data.terms, "Source": _source(data)}
    facts |= {"Cite": f"{data.citation} (`{data.cite}`)", "To get it": _how(data)}
    lines = [f"## {data.title}", "", data.purpose, ""]
    lines += [f"- **{title}**: {text}" for title, text in facts.items()]  # lists: not every renderer knows tables
    if data.notes:
        lines += ["", "To know:", "", *(f"- {note}" for note in data.notes)]
    if data.layout:
        lines += ["", "What the folder must hold:", "", *map(_layout_line, data.layout)]
    if data.pictures:
        lines += ["", "Photographs by split, and who made them:", ""]
        lines += [f"- {p['split']}: `{p['file'].rsplit('/')[-1]}`, {p['credit']}" for p in data.pictures]
    return "\n".join(lines) + "\n"


def _source(data: DataSet) -> str:
    if data.of:
        return f"part of `{data.of}`: {_source(find(data.of))}"
    if data.address:
        return f"<{data.address}>"
    if data.repository:
        address = f"https://github.com/{data.repository}/tree/{data.commit}"
        return f"[{data.repository}]({address}) at commit `{data.commit[:7]}`"
    others = {"embedded": "the package scikit-image, and this library", "weights": "download.pytorch.org"}
    return others.get(data.kind, "see the notes")


def _how(data: DataSet) -> str:
    if data.kind == "embedded":
        return "it is there already"
    if data.kind == "by hand":
        return f"download it from the address above, then `restore data verify {data.name} --folder FOLDER`"
    if data.kind != "weights" and not any(file.url for file in data.files):
        return "copies only: put them below the folder that `RESTORE_DATA` names"
    return f"`restore data fetch {data.name}`"


def _layout_line(row: LayoutRow) -> str:
    pattern, amount = f"`{row.files}`", "any number"
    if row.numbered:
        pattern = " to ".join(f"`{row.files.format(number)}`" for number in (row.first, row.last))
    if row.numbered or row.count:
        amount = f"{row.count or len(row.numbered):,} files"
    if row.lines:
        amount = f"{row.lines:,} lines"
    if row.same_names_as:
        amount = f"the names of `{row.same_names_as}`"
    return f"- `{row.folder}`: {pattern}, {amount}{' (optional)' if row.optional else ''}"
