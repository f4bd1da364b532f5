"""What data sets there are: one card (``sets/NAME.json``) and one list of files (``sets/NAME.tsv``) each.

Five kinds: a ``set`` is fetched file by file from a pinned commit; a ``view`` is part of a set under a name of its own;
``embedded`` pictures came with the installation; a set ``by hand`` has a licence to accept or is too large, so that the
library knows only how to check it; ``weights`` are trained networks. Nothing here touches the network.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatch
from functools import cache, cached_property
from pathlib import Path
from urllib.parse import quote

from restore_lib.errors import DataError
from restore_lib.files import KnownFile

FOLDER = Path(__file__).parent / "sets"
KINDS = ("embedded", "set", "view", "by hand", "weights")


@dataclass(frozen=True)
class DataSet:
    """A data set as its card describes it; the fields are the keys of ``sets/NAME.json``.

    Attributes
    ----------
    name, title : str
        What commands call it, and what people call it.
    kind : str
        One of ``KINDS``.
    purpose, contents, licence, terms, citation : str
        Sentences of the card. ``licence`` is short enough for a table.
    cite : str
        Key in the book's bibliography.
    notes : sequence of str
        What one must know before a number is compared.
    repository, commit : str
        GitHub repository and the commit that serves the files.
    items : str
        Regular expression over paths inside the set: groups ``name``, ``split``, ``part`` and ``label`` say which
        files belong to one item. ``parts`` renames what group ``part`` finds.
    splits : mapping
        Names for several splits together.
    default : str
        Split that is opened when none is named; all of them when empty.
    counts : mapping
        Number of kernels in a file that holds several, by split.
    shared : str
        Split for the parts that every item has, where only some items have all parts (those are split ``pairs``).
    of, members : str, sequence of str
        The set that a view is part of, and patterns of the paths it takes; weights: of the files that will do.
    even : bool
        Read pictures without the last row or column of an odd side.
    pictures : sequence of mapping
        Embedded pictures: path below ``site-packages``, split, credit.
    address, root, layout : str, str, sequence of mapping
        A set by hand: official address, the folder that its archive unpacks to, and what that folder must hold. A
        row with a ``split`` has its pictures in its files; with ``parts``, too, it gives names (of its files, or
        listed in them, without those of the list ``not_in``) and where the files of each name lie.
    trunk : str
        Network of weights, a key of ``metrics.TRUNKS``.
    """

    name: str
    title: str
    kind: str
    purpose: str
    contents: str
    licence: str
    terms: str
    cite: str
    citation: str
    notes: Sequence[str] = ()
    repository: str = ""
    commit: str = ""
    items: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, Sequence[str]] = field(default_factory=dict)
    default: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    shared: str = ""
    of: str = ""
    members: Sequence[str] = ()
    even: bool = False
    pictures: Sequence[Mapping[str, str]] = ()
    address: str = ""
    root: str = ""
    layout: Sequence[Mapping] = ()
    trunk: str = ""

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
            from restore_lib import metrics  # torch comes with it, which listing pictures does not need

            found = metrics.TRUNKS[self.trunk]
            return tuple(f for f in found if not self.members or any(fnmatch(f.path, m) for m in self.members))
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


def _listed(data: DataSet):
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
    """The data set called ``name``; capitals, spaces and dashes do not matter.

    Raises
    ------
    DataError
        There is no such set; the message names the nearest one.
    """
    known = {_plain(path.stem): path for path in FOLDER.glob("*.json")}
    path = known.get(_plain(name))
    if path is None:
        near = get_close_matches(_plain(name), known, n=1)
        hint = f"did you mean {known[near[0]].stem}?" if near else "`restore data list` shows what there is."
        raise DataError(f"There is no data set called {name}: {hint}")
    return DataSet(name=path.stem, **json.loads(path.read_text(encoding="utf-8")))


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def names(kind: str | None = None) -> list[str]:
    """Names of all data sets, or of one kind.

    Parameters
    ----------
    kind : str, optional
        One of ``embedded``, ``set``, ``view``, ``by hand``, ``weights``.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"kind is {kind!r}: choose one of {', '.join(KINDS)}")
    found = [find(path.stem) for path in FOLDER.glob("*.json")]
    return [d.name for d in sorted(found, key=lambda d: (KINDS.index(d.kind), d.name)) if kind in (None, d.kind)]
