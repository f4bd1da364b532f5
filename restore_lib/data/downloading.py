"""Fetch data sets with pooch: several files at a time, tried again when the network fails, checked before use."""

import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pooch
import requests

from restore_lib import files
from restore_lib.data import checking, registry
from restore_lib.errors import DataError
from restore_lib.files import KnownFile

WORKERS = 8
TRIES = 4
TIMEOUT = (10.0, 20.0)  # seconds to connect, and without a byte arriving
BLOCK = 1 << 16
FINAL = {400, 401, 403, 404, 405, 410, 451}  # answers that another try does not change


def fetch(*names: str, quiet: bool = False) -> list[Path]:
    """Download what is missing of data sets, and check every file's hash; returns every file, where it now lies.

    Files that lie undamaged below ``RESTORE_DATA`` or in the cache are left alone; the others go to the cache.
    DataError for a set that does not exist or cannot be downloaded, or for a download that failed, with the reason.
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


def fetch_files(wanted: Sequence[KnownFile], *, quiet: bool = False, workers: int = WORKERS) -> list[Path]:
    """Download what is missing of single files, ``workers`` at a time; see :func:`fetch`.

    A hash of fewer than 64 digits is a published prefix.
    """
    at_hand = {file: _undamaged_copy(file) for file in wanted}
    missing = [file for file, path in at_hand.items() if path is None]
    if missing:
        _download(missing, quiet, workers)
    return [at_hand[file] or files.cache_folder() / file.path for file in wanted]


def _undamaged_copy(file: KnownFile) -> Path | None:
    """Where the file lies with the right hash, or None when it has to be downloaded."""
    path = files.locate(file.path)
    if path is None:
        return None
    if files.matches(path, file.sha256):
        return path
    if files.cache_folder() in path.parents:  # ours to replace
        path.unlink(missing_ok=True)
        return None
    raise DataError(f"{path} is damaged or another file of that name: delete it and run the command again.")


class _Stopped(Exception):
    """The user, or a failure of another file, asked all downloads to end."""


class _Progress:
    """What pooch reports blocks of bytes to; ends its download when ``stop`` is set."""

    def __init__(self, stop: threading.Event, advance: Callable[[int], None]):
        self.stop, self.advance, self.total, self.sent = stop, advance, 0, 0

    def update(self, count: int) -> None:
        """``count`` bytes more have arrived; pooch counts whole blocks."""
        if self.stop.is_set():
            raise _Stopped
        count = min(count, max(self.total - self.sent, 0))
        self.sent += count
        self.advance(count)

    def reset(self) -> None:
        """Begin to count again."""
        self.advance(-self.sent)
        self.sent = 0

    def close(self) -> None:
        """The file is here."""


def _download(missing: Sequence[KnownFile], quiet: bool, workers: int) -> None:
    """Fetch files side by side; the first failure ends all and is raised."""
    pooch.get_logger().setLevel("WARNING")
    for folder in {(files.cache_folder() / file.path).parent for file in missing}:
        files.sweep(folder, "tmp")  # what a killed download left
    stop = threading.Event()
    with _shown(missing, quiet) as (advance, finished), ThreadPoolExecutor(workers) as pool:
        jobs = [pool.submit(_fetch_one, file, stop, advance, finished) for file in missing]
        try:
            wait(jobs, return_when=FIRST_EXCEPTION)
        finally:  # also on Ctrl-C
            stop.set()
            pool.shutdown(cancel_futures=True)
    errors = [job.exception() for job in jobs if not job.cancelled()]
    causes = [error for error in errors if error is not None and not isinstance(error, _Stopped)]
    if causes:
        raise causes[0]


def _fetch_one(
    file: KnownFile, stop: threading.Event, advance: Callable[[int], None], finished: Callable[[], None]
) -> None:
    """Download one file into its place in the cache; DataError says what went wrong and what to do."""
    folder, url = files.cache_folder(), str(file.url)
    whole = file.sha256 if len(file.sha256) == 64 else None  # pooch compares whole hashes only
    progress = _Progress(stop, advance)

    def download(url: str, output_file: Any, pooch_: Any, check_only: bool | None = None) -> None:
        if stop.is_set():
            raise _Stopped
        progress.reset()
        answers: list[requests.Response] = []  # pooch leaves them open when a download ends early
        options = {"timeout": TIMEOUT, "headers": {"Accept-Encoding": "identity"}}
        options["hooks"] = {"response": lambda answer, **_: answers.append(answer)}
        try:
            with files.locked(output_file):  # else another process's start would sweep it away
                pooch.HTTPDownloader(cast(bool, progress), BLOCK, **options)(url, output_file, pooch_)
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            if status in FINAL:
                raise DataError(_refusal(file, url, status)) from error
            raise
        finally:
            for answer in answers:
                answer.close()
        with open(output_file, "rb") as stream:
            start = stream.read(512).lstrip().lower()
        if start.startswith((b"<!doctype html", b"<html", b"<!--")):
            raise DataError(
                f"{file.path} was not downloaded, a web page came in its place (a proxy's or a login page?): open "
                f"{url} in a browser to see it, then run the command again."
            )
        if whole is None and not files.matches(output_file, file.sha256):
            raise ValueError("the published prefix of the hash differs")

    registry = cast(dict[str, str], {file.path: f"sha256:{whole}" if whole else None})
    box = pooch.Pooch(folder, "", registry, {file.path: url}, TRIES - 1)
    target = folder / file.path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)  # pooch would trip over another worker's
        box.fetch(file.path, downloader=cast(Any, download))
        target.chmod(0o644)  # pooch's temporary files are private
        finished()
    except ValueError as error:
        raise DataError(
            f"{file.path} came with a wrong hash {TRIES} times, it is not the file this library knows: look for a "
            "proxy that changes files, or put a copy below a folder that RESTORE_DATA names."
        ) from error
    except requests.RequestException as error:
        raise DataError(f"{file.path} was not downloaded in {TRIES} tries: {_network_words(error, url)}") from error
    except OSError as error:
        raise files.writing_failed(target, error) from error
    finally:
        if not target.exists():
            stop.set()  # at once, before this worker takes the next file


def _refusal(file: KnownFile, url: str, status: int) -> str:
    reason = {404: "does not have it (404)", 410: "no longer has it (410)", 403: "refuses it (403)"}
    words = reason.get(status, f"answers {status}")
    return (
        f"{file.path} was not downloaded, the server {words}: open {url} in a browser to see why, or put a "
        "copy of the file below a folder that RESTORE_DATA names."
    )


def _network_words(error: requests.RequestException, url: str) -> str:
    """What a network error means to the user, and what to do."""
    host = urlsplit(url).netloc
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code}; wait some minutes and run the command again."
    if isinstance(error, requests.exceptions.ProxyError):
        return f"the proxy does not let {host} through; check HTTPS_PROXY and HTTP_PROXY."
    if isinstance(error, requests.exceptions.SSLError):
        return f"the certificate of {host} is not trusted; check the clock, the proxy, or REQUESTS_CA_BUNDLE."
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return f"{host} does not answer; check the network or the proxy (HTTPS_PROXY)."
    if isinstance(error, requests.exceptions.Timeout) or "timed out" in str(error):
        return f"{host} stopped sending; run the command again."
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return f"{host} broke off; run the command again."
    if isinstance(error, requests.exceptions.ConnectionError):
        return f"there is no connection to {host}; check the network, or name a folder with copies in RESTORE_DATA."
    return f"the request to {host} failed ({type(error).__name__}); run the command again."


@contextmanager
def _shown(missing: Sequence[KnownFile], quiet: bool):
    """One bar of bytes and files on the terminal; silent where nobody looks."""
    if quiet or os.environ.get("CI") or not sys.stderr.isatty():
        yield (lambda count: None), (lambda: None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = [TextColumn("{task.fields[done]} of " + f"{len(missing)} files"), BarColumn(), DownloadColumn()]
    bar = Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=Console(stderr=True))
    sizes = [file.size or 0 for file in missing]
    with bar:
        task = bar.add_task("", total=sum(sizes) if all(sizes) else None, done=0)
        lock, count = threading.Lock(), [0]

        def finished() -> None:
            with lock:
                count[0] += 1
                bar.update(task, done=count[0])

        yield (lambda arrived: bar.advance(task, arrived)), finished
