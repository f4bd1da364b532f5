"""Fetch data sets: many files at a time, each continued where it stopped, checked, and only then given its name."""

import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

import pooch
import requests
from requests.adapters import HTTPAdapter

from restore_lib import files
from restore_lib.data import checking, registry
from restore_lib.data.transfer import Stopped, Transfer
from restore_lib.errors import DataError
from restore_lib.files import KnownFile

WORKERS = 8


def fetch(*names: str, quiet: bool = False) -> list[Path]:
    """Download what is missing of data sets, and check every file's hash.

    Files that lie undamaged below ``RESTORE_DATA`` or in the cache are left alone; the others go to the cache.

    Parameters
    ----------
    *names : str
        Names that :func:`names` lists.
    quiet : bool
        Show no progress.

    Returns
    -------
    list of Path
        Every file of the sets, where it now lies.

    Raises
    ------
    DataError
        No such set, a set that cannot be downloaded, or a download that failed for the reason given.
    RestoreError
        The disk is full or the cache cannot be written.
    """
    wanted = [file for name in names for file in _fetchable(registry.find(name))]
    return fetch_files(list(dict.fromkeys(wanted)), quiet=quiet)


def _fetchable(data: registry.DataSet) -> Sequence[KnownFile]:
    """Files of a set that can be downloaded or are here; else the sentence that says why not."""
    if data.kind == "by hand":
        raise DataError(f"{data.title} cannot be fetched for you: {checking.advice(data)}")
    folders = files.local_folders()
    wanted = checking.needed(data, folders)
    if any(file.url is None for file in wanted):
        checking.require(data, [checking.place(file, folders) or files.cache_folder() / file.path for file in wanted])
    return wanted


def fetch_files(known: Sequence[KnownFile], *, quiet: bool = False, workers: int = WORKERS) -> list[Path]:
    """Download what is missing of single files; see :func:`fetch`.

    Parameters
    ----------
    known : sequence of KnownFile
        Files with their addresses; a hash of fewer than 64 digits is a published prefix.
    quiet : bool
        Show no progress.
    workers : int
        Files that are downloaded at the same time.
    """
    at_hand = {file: _undamaged_copy(file) for file in known}
    todo = [file for file, path in at_hand.items() if path is None]
    if todo:
        _download(todo, quiet, workers)
    return [at_hand[file] or files.cache_folder() / file.path for file in known]


def _undamaged_copy(file: KnownFile) -> Path | None:
    """Where the file lies with the right hash, or None when it has to be downloaded."""
    path = files.locate(file.path)
    if path is None:
        return None
    if files.matches(path, file.sha256):
        return path
    if files.cache_folder() in path.parents:  # ours to replace
        return None
    raise DataError(f"{path} is damaged or another file of that name: delete it and run the command again.")


def _download(todo: Sequence[KnownFile], quiet: bool, workers: int) -> None:
    """Run the transfers; the first failure ends them all and is raised."""
    pooch.get_logger().setLevel("WARNING")
    folder, stop = files.cache_folder(), threading.Event()
    # pooch compares whole digests; the transfer itself compares a prefix
    hashes = {file.path: f"sha256:{file.sha256}" if len(file.sha256) == 64 else None for file in todo}
    box = pooch.Pooch(folder, base_url="", registry=hashes, urls={file.path: file.url for file in todo})
    with (
        requests.Session() as session,
        _progress(todo, quiet) as (moved, finished),
        ThreadPoolExecutor(workers) as pool,
    ):
        session.mount("https://", HTTPAdapter(pool_maxsize=workers))
        transfers = [Transfer(file, Path(f"{folder / file.path}.part"), session, stop, moved) for file in todo]
        jobs = [pool.submit(_fetch_one, box, transfer, finished) for transfer in transfers]
        try:
            wait(jobs, return_when=FIRST_EXCEPTION)
        finally:  # also on Ctrl-C: what has arrived stays as .part files, which the next run continues
            stop.set()
            pool.shutdown(cancel_futures=True)
    errors = [job.exception() for job in jobs if not job.cancelled() and job.exception()]
    causes = [error for error in errors if not isinstance(error, Stopped)]
    if causes:
        raise causes[0]


def _fetch_one(box: pooch.Pooch, transfer: Transfer, finished: Callable) -> None:
    """Download one file into its place; a wrong hash after a continued download gets one fresh start."""
    file = transfer.file
    target = box.abspath / file.path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if box.registry[file.path] is None:
            target.unlink(missing_ok=True)  # without a whole digest pooch takes any file of that name for the right one
        for last in (False, True):
            try:
                box.fetch(file.path, downloader=transfer)
                break
            except ValueError as error:  # the hash differs, and what came is gone
                if last or not transfer.resumed:
                    raise DataError(
                        f"{file.path} came with a wrong hash and was removed, it is not the file this library knows: "
                        "run the command again, and if that does not help look for a proxy that changes files."
                    ) from error
        finished()
    except Exception as error:
        transfer.stop.set()  # at once, before this worker takes the next file
        if isinstance(error, OSError):
            raise files.writing_failed(target, error) from error
        raise


@contextmanager
def _progress(todo: Sequence[KnownFile], quiet: bool):
    """One bar of bytes and files on the terminal; silent where nobody watches."""
    if quiet or os.environ.get("CI") or not sys.stderr.isatty():
        yield (lambda count: None), (lambda: None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = [TextColumn("{task.fields[done]} of " + f"{len(todo)} files"), BarColumn(), DownloadColumn()]
    bar = Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=Console(stderr=True))
    sizes = [file.size for file in todo]
    with bar:
        task = bar.add_task("", total=None if None in sizes else sum(sizes), done=0)
        lock, count = threading.Lock(), [0]

        def finished():
            with lock:
                count[0] += 1
                bar.update(task, done=count[0])

        yield (lambda moved: bar.advance(task, moved)), finished
