"""Whether a data set is on this computer, complete and undamaged."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from restore_lib import files
from restore_lib.data import registry
from restore_lib.data.registry import DataSet, LayoutRow
from restore_lib.errors import DataError
from restore_lib.files import KnownFile

SAMPLE = 5  # pictures of each folder that are decoded when a set by hand is checked


@dataclass(frozen=True)
class Report:
    """Result of a check."""

    title: str
    lines: Sequence[str]  #: what was looked at: a line for the set, or one for each folder of a set by hand
    problems: Sequence[str]  #: what is wrong, as parts of a sentence
    advice: str  #: what to do about it

    def sentence(self) -> str:
        """The outcome in one sentence."""
        if not self.problems:
            return f"{self.title} is complete and undamaged."
        return f"{self.title} is not as it should be, {'; '.join(self.problems)}: {self.advice}"


def some(names: Sequence[str], most: int = 3) -> str:
    """The first few of many names."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def needed(data: DataSet, folders: Sequence[Path]) -> Sequence[KnownFile]:
    """Files that make a data set complete: all, but of weights, which several files may hold, the one that is here."""
    if data.kind != "weights":
        return data.files
    here = [file for file in data.files if files.locate(file.path, folders) is not None]
    return (here or [file for file in data.files if file.url])[:1]


def home(data: DataSet, folder: Path | None = None) -> Path | None:
    """Folder that holds a data set's own paths: ``folder`` or what it unpacked to, else the first local one."""
    starts = [folder] if folder is not None else files.local_folders()
    inside = [data.folder, data.title]
    if data.root:  # the folder that its archive makes, before the one it was unpacked in
        inside = [f"{name}/{data.root}" for name in (*inside, ".")] + inside
    return next((start / name for start in starts for name in inside if (start / name).is_dir()), folder)


def require(data: DataSet, paths: Sequence[Path]) -> None:
    """DataError that says how to get what is missing of ``paths``; a set without paths is not there."""
    absent = [path for path in paths if not path.exists()]
    if paths and not absent:
        return
    state = f"{data.title} is not on this computer"
    if len(absent) < len(paths):
        names = some(["/".join(path.parts[-2:]) for path in absent])
        state = f"{data.title} is not complete, {len(absent):,} of {len(paths):,} files are missing ({names})"
    named, lost = os.environ.get("RESTORE_DATA"), ""
    if named and not Path(named).expanduser().is_dir():
        lost = f" (RESTORE_DATA names {named}, which is not a folder.)"
    raise DataError(f"{state}: {advice(data)}{lost}")


def advice(data: DataSet) -> str:
    """What to do to get a data set."""
    if data.kind == "by hand":
        return (
            f"download it at {data.address} (its licence or size needs you), put it below a folder that RESTORE_DATA "
            f"names, as {data.folder}, and check it with `restore data verify {data.name}`."
        )
    if data.kind != "weights" and not any(file.url for file in data.files):
        return f"no address serves it; put a copy below a folder that RESTORE_DATA names, as {data.folder}."
    return f"run `restore data fetch {data.name}`, or name a folder that holds it in RESTORE_DATA."


def status(data: DataSet) -> tuple[int, int, str]:
    """How many files are here, how many belong to the set, and where the first lies, without reading any.

    The place is ``installed``, ``local`` (below ``RESTORE_DATA``), ``cache``, ``found`` (a set by hand) or empty.
    """
    if data.kind == "embedded":
        return len(data.pictures), len(data.pictures), "installed"
    if data.kind == "by hand":
        return 0, 0, "found" if home(data) else ""
    folders = files.local_folders()
    wanted = needed(data, folders)
    here = [path for file in wanted if (path := files.locate(file.path, folders)) is not None]
    where = "" if not here else "cache" if files.cache_folder() in here[0].parents else "local"
    return len(here), len(wanted), where


def holders(data: DataSet) -> list[Path]:
    """Folders that hold files of a data set; raises DataError when there are none."""
    if data.kind == "by hand":
        holding = list(filter(None, [home(data)]))
    elif data.kind == "embedded":
        holding = [path.parent for path in installed(data)]
    else:
        folders = files.local_folders()
        paths = {file.path: files.locate(file.path, folders) for file in needed(data, folders)}
        # the folder of the set itself, whatever folders lie inside it
        holding = [path.parents[max(name.count("/") - 1, 0)] for name, path in paths.items() if path is not None]
    if not holding:
        require(data, [])
    return list(dict.fromkeys(holding))


def verify(name: str, folder: Path | str | None = None) -> Report:
    """Compare a data set on this computer with what the library knows about it.

    Files with a known hash are read in full. A set by hand is compared with its card's layout (names or counts), and
    ``SAMPLE`` pictures of each folder are decoded. ``folder``, the set's own or the one above it, is looked in instead
    of ``RESTORE_DATA`` and the cache. DataError for no such set or folder, or nothing of the set on this computer.
    """
    data = registry.find(name)
    folder = Path(folder).expanduser() if folder is not None else None
    if folder is not None and not folder.is_dir():
        raise DataError(f"{folder} is not a folder: name the one that holds {data.title}.")
    if data.kind == "by hand":
        return _verify_layout(data, folder)
    if data.kind == "embedded":
        damaged = [path.name for path in installed(data) if not _decodes(path)]
        line = f"{data.name}: {len(data.pictures) - len(damaged)} of {len(data.pictures)} pictures can be read"
        problems = _problem(damaged, "damaged")
        return Report(data.title, (line,), problems, "install scikit-image and restore_lib again.")
    folders = files.local_folders()
    if folder is not None:  # the set's own, or the one above it
        inside = (folder / data.folder).is_dir() or data.kind == "weights"
        if not inside and folder.name != data.folder:
            raise DataError(f"{folder} holds no {data.folder}: name a folder called {data.folder} or the one above it.")
        folders = [folder if inside else folder.parent]
    paths = {file: files.locate(file.path, folders) for file in needed(data, folders)}
    if not any(paths.values()):
        require(data, [])
    absent = [file.path for file, path in paths.items() if path is None]
    damaged = [file.path for file, path in paths.items() if path is not None and not files.matches(path, file.sha256)]
    good = len(paths) - len(absent) - len(damaged)
    problems = _problem(absent, "missing") + _problem(damaged, "damaged")
    say = f"delete what is damaged, then {advice(data)}" if damaged else advice(data)
    line = f"{data.name}: {good:,} of {len(paths):,} files have the right hash"
    return Report(data.title, (line,), problems, say)


def _problem(names: Sequence[str], word: str) -> list[str]:
    """That these files are missing or damaged, as a part of a sentence; nothing for no files."""
    return [f"{len(names):,} {'file is' if len(names) == 1 else 'files are'} {word} ({some(names)})"] if names else []


def installed(data: DataSet) -> list[Path]:
    """Pictures inside installed packages, which are not imported: none of them gets to reach for a network."""
    paths = []
    for picture in data.pictures:
        package, _, rest = picture["file"].partition("/")
        spec = find_spec(package)
        folders = (spec.submodule_search_locations if spec else None) or [package]
        paths.append(Path(folders[0]) / rest)
        if not paths[-1].exists():
            raise DataError(f"{package} lacks its picture {paths[-1].name}: install {package} again.")
    return paths


def _verify_layout(data: DataSet, folder: Path | None) -> Report:
    base = home(data, folder) or holders(data)[0]
    here = [row for row in data.layout if (base / row.folder).is_dir()]
    wanted = [row.folder for row in data.layout if not row.optional]
    if not here:
        folders = some(wanted or [row.folder for row in data.layout], 4)
        raise DataError(f"{base} holds nothing of {data.title}: name the folder that holds {folders}.")
    problems = [f"folder {name} is missing" for name in sorted(set(wanted) - {row.folder for row in here})]
    lines = [_verify_row(base, row, problems) for row in here]
    say = f"copy what is missing or damaged from its archives ({data.address})."
    return Report(data.title, lines, problems, say)


def _verify_row(base: Path, row: LayoutRow, problems: list[str]) -> str:
    """A line about one folder of a layout; what is wrong with it is added to ``problems``."""
    wanted, before = [base / path for path in row.numbered], len(problems)
    paths = [path for path in wanted if path.is_file()] if wanted else sorted((base / row.folder).glob(row.files))
    absent = [path.name for path in wanted if not path.is_file()]
    if row.same_names_as:
        others = {path.name for path in (base / row.same_names_as).glob(row.files)}
        absent = sorted(others - {path.name for path in paths})
    if absent:
        problems.append(f"{len(absent):,} missing in {row.folder} ({some(absent)})")
    amount = row.count or len(wanted)
    if row.count and row.count != len(paths):
        problems.append(f"{row.folder} holds {len(paths):,} {row.files}, {amount:,} belong there")
    if not paths and len(problems) == before:
        problems.append(f"{row.folder} holds no {row.files}")
    if row.lines:
        damaged = [p.name for p in paths if len(p.read_text(encoding="utf-8", errors="replace").split()) != row.lines]
    else:
        damaged = [path.name for path in paths[:: max(1, -(-len(paths) // SAMPLE))] if not _decodes(path)]
    if damaged:
        problems.append(f"damaged in {row.folder}: {some(damaged)}")
    return f"{row.folder}: {len(paths):,}{f' of {amount:,}' if amount else ''} files"


def _decodes(path: Path) -> bool:
    """Whether Pillow reads a picture to its end."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            picture.load()
    except (OSError, SyntaxError, ValueError):  # what Pillow's formats raise for a damaged file
        return False
    return True
