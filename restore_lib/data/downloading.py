"""Fetch data sets with pooch: several files at a time, tried again when the network fails, checked before use."""

import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pooch
import requests
from requests import exceptions

from restore_lib import files
from restore_lib.data import checking, registry
from restore_lib.errors import DataError
from restore_lib.files import KnownFile

WORKERS = 8
TRIES = 4
TIMEOUT = (10.0, 20.0)  # seconds to connect, and without a byte arriving
BLOCK = 1 << 16
#: Answers that another try does not change, in words.
FINAL = {status: f"answers {status}" for status in (400, 401, 405, 451)}
FINAL |= {403: "refuses it (403)", 404: "does not have it (404)", 410: "no longer has it (410)"}
REASONS = {  # the first that an error is one of
    exceptions.ProxyError: "the proxy does not let {} through; check HTTPS_PROXY and HTTP_PROXY.",
    exceptions.SSLError: "the certificate of {} is not trusted; check the clock, the proxy, or REQUESTS_CA_BUNDLE.",
    exceptions.ConnectTimeout: "{} does not answer; check the network or the proxy (HTTPS_PROXY).",
    exceptions.Timeout: "{} stopped sending; run the command again.",
    exceptions.ChunkedEncodingError: "{} broke off; run the command again.",
    exceptions.ConnectionError: "there is no connection to {}; check the network, or name a folder with copies in "
    "RESTORE_DATA.",
    exceptions.RequestException: "the request to {} failed; run the command again.",
}


def fetch(*names: str, quiet: bool = False) -> list[Path]:
    """Download what is missing of data sets, and check every file's hash; returns every file, where it now lies.

    Files that lie undamaged below ``RESTORE_DATA`` or in the cache are left alone; the others go to the cache.
    DataError for a set that does not exist or cannot be downloaded, or for a download that failed, with the reason.
    """
    wanted, folders = [], files.local_folders()
    for data in map(registry.find, names):
        if data.kind == "by hand":
            raise DataError(f"{data.title} cannot be fetched for you: {checking.advice(data)}")
        needed = checking.needed(data, folders)
        if any(file.url is None for file in needed):
            checking.require(data, [files.locate(f.path, folders) or files.cache_folder() / f.path for f in needed])
        wanted += needed
    return fetch_files(list(dict.fromkeys(wanted)), quiet=quiet)


def fetch_files(wanted: Sequence[KnownFile], *, quiet: bool = False, workers: int = WORKERS) -> list[Path]:
    """Download what is missing of single files, ``workers`` at a time; see :func:`fetch`."""
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
        self.stop, self.advance, self.sent = stop, advance, 0

    def update(self, count: int) -> None:
        if self.stop.is_set():
            raise _Stopped
        self.sent += count
        self.advance(count)

    def reset(self) -> None:
        self.advance(-self.sent)
        self.sent = 0

    def close(self) -> None:
        """Pooch calls it when the file is here."""


def _download(missing: Sequence[KnownFile], quiet: bool, workers: int) -> None:
    """Fetch files side by side, with a bar on a terminal; the first failure ends all and is raised."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    pooch.get_logger().setLevel("WARNING")
    for folder in {(files.cache_folder() / file.path).parent for file in missing}:
        files.sweep(folder, "tmp")  # what a killed download left
    columns = [TextColumn(f"{{task.fields[done]}} of {len(missing)} files"), BarColumn(), DownloadColumn()]
    columns += [TransferSpeedColumn(), TimeRemainingColumn()]
    hidden = quiet or bool(os.environ.get("CI")) or not sys.stderr.isatty()
    sizes = [file.size or 0 for file in missing]
    stop = threading.Event()
    with Progress(*columns, console=Console(stderr=True), disable=hidden) as bar, ThreadPoolExecutor(workers) as pool:
        task = bar.add_task("", total=sum(sizes) if all(sizes) else None, done=0)
        jobs = [pool.submit(_fetch_one, file, stop, lambda count: bar.advance(task, count)) for file in missing]
        try:
            for done, job in enumerate(as_completed(jobs), 1):
                if not isinstance(job.exception(), _Stopped):  # else the failure that stopped it comes soon
                    job.result()
                bar.update(task, done=done)
        finally:  # also on Ctrl-C
            stop.set()
            pool.shutdown(cancel_futures=True)


def _fetch_one(file: KnownFile, stop: threading.Event, advance: Callable[[int], None]) -> None:
    """Download one file into its place in the cache; DataError says what went wrong and what to do."""
    folder, url = files.cache_folder(), str(file.url)
    whole = file.sha256 if len(file.sha256) == 64 else None  # pooch compares whole hashes only
    progress = _Progress(stop, advance)

    def download(url: str, output_file: Any, pooch_: Any, check_only: bool | None = None) -> None:
        if stop.is_set():
            raise _Stopped
        progress.reset()
        options = {"timeout": TIMEOUT, "headers": {"Accept-Encoding": "identity"}}
        try:
            # Locked, else another process's start would sweep it away; pooch does not close what ends early.
            with files.locked(output_file), ExitStack() as answers:
                options["hooks"] = {"response": lambda answer, **_: answers.enter_context(answer)}
                pooch.HTTPDownloader(cast(bool, progress), BLOCK, **options)(url, output_file, pooch_)
        except requests.HTTPError as error:
            if words := FINAL.get(getattr(error.response, "status_code", 0)):
                raise DataError(
                    f"{file.path} was not downloaded, the server {words}: open {url} in a browser to see why, or put a "
                    "copy of the file below a folder that RESTORE_DATA names."
                ) from error
            raise
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


def _network_words(error: requests.RequestException, url: str) -> str:
    """What a network error means to the user, and what to do."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code}; wait some minutes and run the command again."
    stalled = exceptions.Timeout if "timed out" in str(error) else ()  # which urllib3 calls a ConnectionError, too
    words = next(words for kind, words in REASONS.items() if isinstance(error, kind) or kind is stalled)
    return words.format(urlsplit(url).netloc)
