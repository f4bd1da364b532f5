"""Whether a data set is on this computer, complete and undamaged, said in sentences."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from restore_lib import files
from restore_lib.data import registry
from restore_lib.data.registry import DataSet
from restore_lib.errors import DataError
from restore_lib.files import KnownFile

SAMPLE = 5  # pictures of each folder that are decoded when a set by hand is checked


@dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes
    ----------
    name, title : str
        The data set.
    lines : sequence of str
        What was looked at: a line for the set, or one for each folder of a set by hand.
    problems : sequence of str
        What is wrong, as parts of a sentence; empty for a set that is complete and undamaged.
    advice : str
        What to do about it.
    """

    name: str
    title: str
    lines: Sequence[str]
    problems: Sequence[str]
    advice: str

    def sentence(self) -> str:
        """The outcome in one sentence."""
        if not self.problems:
            return f"{self.title} is complete and undamaged."
        return f"{self.title} is not as it should be, {'; '.join(self.problems)}: {self.advice}"


def some(found: Sequence[str], most: int = 3) -> str:
    """The first few of many names."""
    return ", ".join(found[:most]) + (", ..." if len(found) > most else "")


def place(file: KnownFile, folders: Sequence[Path]) -> Path | None:
    """First copy of a file in ``folders``."""
    return next((folder / file.path for folder in folders if (folder / file.path).exists()), None)


def needed(data: DataSet, folders: Sequence[Path]) -> Sequence[KnownFile]:
    """Files that make a data set complete.

    All of them; but of weights, where several files hold the same network, the one that is here, else the one that an
    address serves.
    """
    if data.kind != "weights":
        return data.files
    here = [file for file in data.files if place(file, folders) is not None]
    return (here or [file for file in data.files if file.url])[:1]


def home(data: DataSet, folder: Path | None = None) -> Path | None:
    """Folder that holds a data set's own paths: ``folder`` or what it unpacked to, else the first local one."""
    starts = [folder] if folder is not None else files.local_folders()
    inside = [data.folder, data.title]
    if data.root:  # the folder that its archive makes, before the one it was unpacked in
        inside = [f"{name}/{data.root}" for name in (*inside, ".")] + inside
    found = [start / name for start in starts for name in inside if (start / name).is_dir()]
    return found[0] if found else folder


def require(data: DataSet, paths: Sequence[Path]) -> None:
    """Raise the sentence that says how to get what is missing of ``paths``; a set without paths is not there."""
    if not paths or not all(path.exists() for path in paths):
        raise missing(data, paths)


def missing(data: DataSet, paths: Sequence[Path]) -> DataError:
    """The sentence that says how to get what is missing of ``paths``."""
    absent = [path for path in paths if not path.exists()]
    state = f"{data.title} is not on this computer"
    if len(absent) < len(paths):
        names = some(["/".join(path.parts[-2:]) for path in absent])
        state = f"{data.title} is not complete, {len(absent):,} of {len(paths):,} files are missing ({names})"
    return DataError(f"{state}: {advice(data)}{_lost_folder()}")


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


def _lost_folder() -> str:
    """A word on RESTORE_DATA when it names nothing."""
    named = os.environ.get("RESTORE_DATA")
    return (
        f" (RESTORE_DATA names {named}, which is not a folder.)"
        if named and not Path(named).expanduser().is_dir()
        else ""
    )


def status(data: DataSet) -> tuple[int, int, str]:
    """Files found, files known, and where the first of them lies, without reading any.

    The place is ``installed``, ``local`` (below ``RESTORE_DATA``), ``cache``, ``found`` (a set by hand) or empty.
    """
    if data.kind == "embedded":
        return len(data.pictures), len(data.pictures), "installed"
    if data.kind == "by hand":
        return 0, 0, "found" if home(data) is not None else ""
    folders = files.local_folders()
    wanted = needed(data, folders)
    found = [path for file in wanted if (path := place(file, folders)) is not None]
    where = "" if not found else "cache" if files.cache_folder() in found[0].parents else "local"
    return len(found), len(wanted), where


def holders(data: DataSet) -> list[Path]:
    """Folders that hold files of a data set; raises DataError when there are none."""
    if data.kind == "by hand":
        found = [folder for folder in [home(data)] if folder is not None]
    elif data.kind == "embedded":
        found = [path.parent for path in installed(data)]
    else:
        folders = files.local_folders()
        paths = {file.path: place(file, folders) for file in needed(data, folders)}
        # the folder of the set itself, whatever folders lie inside it
        found = [path.parents[max(name.count("/") - 1, 0)] for name, path in paths.items() if path is not None]
    if not found:
        require(data, [])
    return list(dict.fromkeys(found))


def verify(name: str, folder: Path | str | None = None) -> Report:
    """Compare a data set on this computer with what the library knows about it.

    Files with a known hash are read in full. A set by hand is compared with its card's layout (names or counts), and
    ``SAMPLE`` pictures of each folder are decoded.

    Parameters
    ----------
    name : str
        A name that :func:`names` lists.
    folder : path, optional
        Folder to look in, instead of ``RESTORE_DATA`` and the cache: the set's own or the one above it.

    Raises
    ------
    DataError
        No such set, no such folder, or nothing of the set on this computer.
    """
    data = registry.find(name)
    folder = Path(folder).expanduser() if folder is not None else None
    if folder is not None and not folder.is_dir():
        raise DataError(f"{folder} is not a folder: name the one that holds {data.title}.")
    if data.kind == "embedded":
        return _verify_embedded(data)
    return _verify_layout(data, folder) if data.kind == "by hand" else _verify_hashes(data, folder)


def _verify_hashes(data: DataSet, folder: Path | None) -> Report:
    folders = files.local_folders()
    if folder is not None:  # the set's own, or the one above it
        inside = (folder / data.folder).is_dir() or data.kind == "weights"
        if not inside and folder.name != data.folder:
            raise DataError(f"{folder} holds no {data.folder}: name a folder called {data.folder} or the one above it.")
        folders = [folder if inside else folder.parent]
    paths = {file: place(file, folders) for file in needed(data, folders)}
    if not any(paths.values()):
        require(data, [])
    missing = [file.path for file, path in paths.items() if path is None]
    damaged = [file.path for file, path in paths.items() if path is not None and not files.matches(path, file.sha256)]
    good = len(paths) - len(missing) - len(damaged)
    problems = [_count(missing, "missing")] if missing else []
    problems += [_count(damaged, "damaged")] if damaged else []
    say = f"delete what is damaged, then {advice(data)}" if damaged else advice(data)
    line = f"{data.name}: {good:,} of {len(paths):,} files have the right hash"
    return Report(data.name, data.title, (line,), problems, say)


def _count(found: Sequence[str], word: str) -> str:
    return f"{len(found):,} {'file is' if len(found) == 1 else 'files are'} {word} ({some(found)})"


def _verify_embedded(data: DataSet) -> Report:
    damaged = [path.name for path in installed(data) if not _decodes(path)]
    line = f"{data.name}: {len(data.pictures) - len(damaged)} of {len(data.pictures)} pictures can be read"
    problems = [_count(damaged, "damaged")] if damaged else []
    return Report(data.name, data.title, (line,), problems, "install scikit-image and scikit-learn again.")


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


def expected(home: Path, entry) -> list[Path]:
    """The numbered files of one row of a layout; none when the row gives a pattern instead."""
    if "first" not in entry:
        return []
    return [home / entry["folder"] / entry["files"].format(n) for n in range(entry["first"], entry["last"] + 1)]


def _verify_layout(data: DataSet, folder: Path | None) -> Report:
    base = home(data, folder)
    if base is None:
        raise missing(data, [])
    here = [entry for entry in data.layout if (base / entry["folder"]).is_dir()]
    wanted = [entry["folder"] for entry in data.layout if not entry.get("optional")]
    if not here:
        folders = some(wanted or [entry["folder"] for entry in data.layout], 4)
        raise DataError(f"{base} holds nothing of {data.title}: name the folder that holds {folders}.")
    rows = [_verify_row(base, entry) for entry in here]
    absent = sorted(set(wanted) - {entry["folder"] for entry in here})
    problems = [f"folder {name} is missing" for name in absent] + [text for _, found in rows for text in found]
    say = f"copy what is missing or damaged from its archives ({data.address})."
    return Report(data.name, data.title, [line for line, _ in rows], problems, say)


def _verify_row(base: Path, entry) -> tuple[str, list[str]]:
    """A line about one folder of a layout, and what is wrong with it."""
    folder, pattern = entry["folder"], entry["files"]
    wanted, problems = expected(base, entry), []
    found = [path for path in wanted if path.is_file()] if wanted else sorted((base / folder).glob(pattern))
    missing = [path.name for path in wanted if not path.is_file()]
    if "same_names_as" in entry:
        missing = sorted(
            {path.name for path in (base / entry["same_names_as"]).glob(pattern)} - {path.name for path in found}
        )
    if missing:
        problems.append(f"{len(missing):,} missing in {folder} ({some(missing)})")
    amount = entry.get("count") or len(wanted)
    if entry.get("count", len(found)) != len(found):
        problems.append(f"{folder} holds {len(found):,} {pattern}, {amount:,} belong there")
    if not found and not problems:
        problems.append(f"{folder} holds no {pattern}")
    damaged = [path.name for path in _faulty(found, entry)]
    if damaged:
        problems.append(f"damaged in {folder}: {some(damaged)}")
    return f"{folder}: {len(found):,}{f' of {amount:,}' if amount else ''} files", problems


def _faulty(found: Sequence[Path], entry) -> Iterator[Path]:
    """Lists of the wrong length, and pictures of an even sample that cannot be decoded."""
    if "lines" in entry:
        yield from (
            path for path in found if len(path.read_text(encoding="utf-8", errors="replace").split()) != entry["lines"]
        )
        return
    step = max(1, -(-len(found) // SAMPLE))
    yield from (path for path in found[::step] if not _decodes(path))


def _decodes(path: Path) -> bool:
    """Whether Pillow reads a picture to its end."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            picture.load()
    except (OSError, SyntaxError, ValueError):  # what Pillow's formats raise for a damaged file
        return False
    return True
