"""Many photos, one after another: read and written beside the computing, each result whole or not there.

::

    pairs = batch.plan(["photos"], "-denoised", out="clean")
    for result in batch.restore(pairs, api.denoised):
        print(result.target, result.error or result.said)
"""

import glob
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from restore_lib import files, images, photos
from restore_lib.api import Restored
from restore_lib.decoders import FORBIDDEN
from restore_lib.errors import ImageError

READ = (*images.FORMATS, ".bmp", ".heic", ".heif", ".avif")  # the last three, photos too, are told to be none of ours
RESULT = r"-denoised|-x\d[\d.]*|-\d+x\d+"  # how names of results end

Pair = tuple[Path, Path]


@dataclass(frozen=True)
class Result:
    """What became of one photo."""

    photo: Path
    target: Path  #: Its result, which is there unless there is an ``error``.
    said: str = ""  #: What was done, and below what should be known of it: see :class:`restore_lib.api.Restored`.
    warning: str = ""
    lost: Sequence[str] = ()  #: What of the photo the result's file does not hold.
    seconds: float = 0.0  #: That the computing took.
    error: ImageError | None = None  #: Why there is no result.


def plan(
    paths: Iterable[str | os.PathLike],
    suffix: str,
    *,
    out: str | os.PathLike | None = None,
    ending: str = ".png",
    recursive: bool = False,
) -> list[Pair]:
    """Which photos are meant, in order, and where the result of each goes.

    Parameters
    ----------
    paths
        Photos, folders (the photos in them; neither hidden files nor earlier results), and patterns such as
        ``"*.jpg"``.
    suffix, ending : str
        What a result's name has after that of its photo, and the ending that says its format.
    out : path, optional
        Folder of the results; beside each photo by default. That of a folder below a given one, too, lies below it.
    recursive : bool
        Whether to take the photos in folders of folders, too, but not those in ``out``.

    Raises
    ------
    ImageError
        There are no photos, or a result would replace a photo or another result.
    """
    if suffix and Path(f"_{suffix}").name != f"_{suffix}":
        raise ImageError(f"--suffix is {suffix}: give a part of a name, without folders.")
    found: dict[str, Pair] = {}
    for path in paths:
        for photo, below in _photos(os.fspath(path), recursive, suffix, out):
            folder = photo.parent if out is None else Path(out) / below
            found.setdefault(_key(photo), (photo, folder / f"{photo.stem}{suffix}{ending}"))
    targets = {_key(target) for _, target in found.values()}
    return checked([pair for key, pair in found.items() if not suffix or key not in targets])  # no earlier results


def checked(pairs: list[Pair]) -> list[Pair]:
    """The same, unless a result would replace a photo or another result: ImageError."""
    sources, taken = {_key(photo) for photo, _ in pairs}, {}
    for photo, target in pairs:
        other = taken.setdefault(_key(target), photo)
        if other is not photo:
            raise ImageError(f"{other} and {photo} would both become {target}: restore them one after the other.")
        if _key(target) in sources:
            raise ImageError(f"{target} is one of the photos, and would be replaced: give another --suffix or --out.")
    return pairs


def _key(path: Path) -> str:
    """Equal for names of one file; elsewhere than on Linux, large letters are usually the same as small ones."""
    return str(path.resolve()) if sys.platform == "linux" else str(path.resolve()).casefold()


def _photos(path: str, recursive: bool, suffix: str, out: str | os.PathLike | None) -> Iterator[tuple[Path, Path]]:
    """The photos that a path means, each with its folder below that path."""
    if not path:
        raise ImageError("One of the names is empty: name a photo, a folder, or a pattern such as *.jpg.")
    if not os.path.isdir(path):
        matches = sorted(glob.glob(path, recursive=True)) if not os.path.lexists(path) else []
        if glob.has_magic(path) and not matches and not os.path.lexists(path):
            raise ImageError(f"No file has a name like {path}: check the pattern.")
        yield from ((Path(match), Path()) for match in matches or [path] if not matches or os.path.isfile(match))
        return
    inside = None if out is None else Path(out).resolve()
    empty = True
    for folder, below, names in os.walk(path, onerror=_refused):
        below[:] = sorted(name for name in below if recursive and (Path(folder) / name).resolve() != inside)
        names = sorted(name for name in names if name[0] != "." and name.lower().endswith(READ))
        stems = {Path(name).stem for name in names}
        for name in names:
            result = re.fullmatch(f"(.+?)(?:{RESULT}|{re.escape(suffix or '-denoised')})", Path(name).stem)
            if not (result and result[1] in stems):
                empty = False
                yield Path(folder) / name, Path(folder).relative_to(path)
    if empty:
        raise ImageError(f"{path} holds no photos: name a photo, or a folder of {', '.join(images.FORMATS)} files.")


def _refused(error: OSError) -> None:
    raise ImageError(f"{error.filename} {FORBIDDEN}") from error


def restore(
    pairs: Sequence[Pair],
    work: Callable[[photos.Photo], Restored],
    *,
    read: Callable[[Path], photos.Photo] = photos.read,
    bits: int | None = None,
    quality: int = 95,
    overwrite: bool = False,
) -> Iterator[Result]:
    """Restore photos that have no result yet, and tell of each when its result is there.

    While one is computed, the next is read and the one before written. Stopped or killed at any moment, the same call
    goes on: a file has its name only when it is whole, and what kills left is deleted first.

    Parameters
    ----------
    pairs
        From :func:`plan`.
    work, read
        What makes a result of a photo, such as :func:`restore_lib.api.denoised`, and a photo of a path.
    bits, quality
        Of the results, as for :func:`restore_lib.photos.write`.
    overwrite : bool
        Make results that are there anew.

    Raises
    ------
    RestoreError
        The disk is full, a folder cannot be written to, a checkpoint is damaged: what would stop all further photos.
    """
    _sweep([target for _, target in pairs])
    todo = iter([pair for pair in pairs if overwrite or not pair[1].exists()])

    def write(photo: Path, target: Path, restored: Restored | ImageError, begun: float, ended: float) -> Result:
        try:
            if isinstance(restored, ImageError):
                raise restored
            lost = photos.write(target, restored.picture, bits=bits, quality=quality)
        except ImageError as error:
            return Result(photo, target, error=error)
        return Result(photo, target, restored.said, restored.warning, lost, ended - begun)

    with ThreadPoolExecutor(1) as reading, ThreadPoolExecutor(1) as writing:

        def ahead():
            pair = next(todo, None)
            return pair and (*pair, reading.submit(read, pair[0]))

        following, last = ahead(), None
        while following:
            photo, target, reader = following
            begun = time.monotonic()
            try:
                source = reader.result()
                following, reader, begun = ahead(), None, time.monotonic()
                restored = work(source)
            except ImageError as error:
                following, restored = following if reader is None else ahead(), error
            except (MemoryError, RuntimeError) as error:
                if "memory" not in str(error) and not isinstance(error, MemoryError):
                    raise
                restored = ImageError(f"{photo} does not fit into memory: give --tile, or use a smaller image.")
            if last is not None:
                yield last.result()
            last = writing.submit(write, photo, target, restored, begun, time.monotonic())
            source = restored = None  # one photo is being written now, and one read
        if last is not None:
            yield last.result()


def _sweep(targets: Sequence[Path]) -> None:
    """Delete what killed processes left of these results."""
    for folder in {target.parent for target in targets if target.parent.is_dir()}:
        stems = {target.stem for target in targets if target.parent == folder}
        for name in os.listdir(folder):
            left = re.fullmatch(rf"\.(.+)\.{files.UNFINISHED}(\.[a-z]+)", name)
            if left and left[1] in stems:
                files.sweep(folder, f".{left[1]}.", left[2])
