"""Files on this computer: where local copies lie, hashes, and writing that never leaves half a file behind."""

import contextlib
import errno
import glob
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import metadata
from pathlib import Path

import platformdirs

from restore_lib.errors import RestoreError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LONGEST_NAME = 255  # bytes, on every usual file system
UNFINISHED = "[a-z0-9_]" * 8  # what Python puts into names of temporary files


@dataclass(frozen=True)
class KnownFile:
    """A file whose content is known in advance."""

    path: str  #: Below a data or cache folder, with forward slashes: ``"set5/baby.png"``.
    sha256: str  #: Hexadecimal. Fewer than 64 digits are a published prefix, and only these are compared.
    url: str | None = None  #: Address that serves exactly these bytes; None when it can only be copied by hand.
    size: int | None = None  #: Bytes, when known.


TORCHVISION = "https://download.pytorch.org/models/"

#: Files that hold the network under LPIPS (its trunk), any one of which will do. PyTorch publishes the first eight
#: digits of a file's hash, in its name; the files without an address hold the same weights in less space.
TRUNKS = {
    "alex": (
        KnownFile("lpips_alex/lpips_alex_v0.1.pth", "58aef7cfcb2f06aef7a4c0b5c32608d114ab7676d7aba57069ea52b378c74431"),
        KnownFile("torchvision/alexnet-owt-7be5be79.pth", "7be5be79", TORCHVISION + "alexnet-owt-7be5be79.pth"),
    ),
    "vgg": (
        KnownFile(
            "lpips_vgg/lpips_vgg_v0.1_fp16w.pth", "3a2f50d6910fc7c6e1a01ef7be4e303fdbe487af264b6388b8ac18e324d3e4c9"
        ),
        KnownFile("torchvision/vgg16-397923af.pth", "397923af", TORCHVISION + "vgg16-397923af.pth"),
    ),
    "squeeze": (
        KnownFile("torchvision/squeezenet1_1-b8a52dc0.pth", "b8a52dc0", TORCHVISION + "squeezenet1_1-b8a52dc0.pth"),
    ),
}


def repository_url(path: str) -> str:
    """Address of a file of this library's repository, as it was when the installed version was released."""
    about = metadata("restore_lib")
    links = dict(link.split(", ", 1) for link in about.get_all("Project-URL") or ())
    return f"{links['Repository']}/raw/v{about['Version']}/{path}"


def cache_folder() -> Path:
    """Folder that downloads go to: ``RESTORE_CACHE``, or the user's cache folder. Not created here."""
    return Path(os.environ.get("RESTORE_CACHE") or platformdirs.user_cache_dir("restore_lib")).expanduser()


def local_folders() -> list[Path]:
    """Folders that hold local copies: ``RESTORE_DATA``, ``weights`` in it or beside it, and :func:`cache_folder`."""
    folders = [cache_folder()]
    if named := os.environ.get("RESTORE_DATA"):
        data = Path(named).expanduser()
        folders = [data, data / "weights", data.parent / "weights", *folders]
    return [folder for folder in folders if folder.is_dir()]


def locate(path: str, folders: Iterable[Path] | None = None) -> Path | None:
    """First copy of a :class:`KnownFile`'s path, here or in some folders, or None. Its content is not checked."""
    places = (folder / path for folder in (local_folders() if folders is None else folders))
    return next((place for place in places if place.exists()), None)


def sha256(path: Path | str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def matches(path: Path | str, digest: str) -> bool:
    """Whether the file's SHA-256 begins with ``digest`` (a whole digest or a published prefix of it)."""
    return sha256(path).startswith(digest.lower())


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Give a temporary path in the same folder and rename it to ``path`` when the block ends well.

    Whatever stops the block (an exception, Ctrl-C, a full disk) leaves ``path`` as it was. The temporary name keeps the
    suffix. RestoreError where the disk is full or the folder cannot be written to.
    """
    path = Path(path)
    temporary, handle = None, -1
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        room = LONGEST_NAME - len(os.fsencode(path.suffix)) - len("..") - 8
        prefix = f".{os.fsencode(path.stem)[:room].decode(errors='ignore')}."
        sweep(path.parent, prefix, path.suffix)
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=path.suffix, dir=path.parent)
        temporary = Path(name)
        handle = handle if _locked(handle) else os.close(handle) or -1
        yield temporary
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes private files; ours are ordinary ones
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None:  # not the operating system's: an encoder or a network library speaks here
            raise
        raise writing_failed(path, error) from error
    finally:
        if handle >= 0:
            os.close(handle)
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def temporary_folder(place: Path, prefix: str) -> Iterator[Path]:
    """A folder in ``place`` that is deleted with all it holds, unless it was renamed, when the block ends."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        sweep(place, prefix)
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
    except OSError as error:
        raise writing_failed(place, error) from error
    try:
        with locked(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path, prefix: str, suffix: str = "") -> None:
    """Delete the temporary files and folders that killed processes left; those of running ones are locked, and stay."""
    for path in folder.glob(f"{glob.escape(prefix)}{UNFINISHED}{glob.escape(suffix)}"):
        with contextlib.suppress(OSError), locked(path) as free:
            if free and path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif free:
                path.unlink()


@contextmanager
def locked(path: Path | str) -> Iterator[bool]:
    """Lock a file or folder while the block runs; gives False where another process has it, or there are no locks."""
    handle = os.open(path, os.O_RDONLY)
    try:
        yield _locked(handle)
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    """Lock an open file until it is closed, as it is when its process ends, however it ends."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # pyright: ignore[reportOptionalMemberAccess]
    except (OSError, AttributeError):  # another has locked it; the file system has no locks; there is no fcntl
        return False
    return True


def writing_failed(path: Path, error: OSError) -> RestoreError:
    """The sentence for an operating system error met while writing ``path``."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return RestoreError(f"The disk is full: {path} was not written; free some space and run the command again.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return RestoreError(f"{path} cannot be written: check the permissions of {path.parent} or use another folder.")
    reason = error.strerror or str(error)
    return RestoreError(f"{path} was not written ({reason}): choose another place for it or mend the folder.")
